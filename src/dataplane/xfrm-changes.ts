// Our changes of SAD and SPD as requests to the kernel.

import type { Change, Policy, SaParameters } from '../policy/sad.ts';
import { addSa, deleteSa, toXfrmAddress, updateSa, type XfrmSa } from '../wire/xfrm.ts';
import { DataPlaneError } from './dataplane.ts';
import { demand, ERRNO, isOurReqid, standingSa } from './xfrm-kernel.ts';
import { withOffload } from './xfrm-offload.ts';
import { type KernelSide, kernelSa, saId, sameSa, withPorts } from './xfrm-sa.ts';
import {
  forget,
  type Known,
  keyOf,
  lookupIn,
  remember,
  reqidOf,
  restate,
  startUsing,
  stopUsing,
  type Tables,
  usersOf,
} from './xfrm-tables.ts';
import { together, type Work } from './xfrm-work.ts';

/** A moved SA goes on under its key behind everything that may still be sent from its old place. */
const SEQUENCE_JUMP = 2 ** 20;
const SEQUENCES = 2 ** 32;

/** Of one change set, side by side. */
const MOST_TOGETHER = 32;

/** What they touch: sets that have none of it in common may be applied side by side. */
export function subjectsOf(tables: Tables, changes: readonly Change[]): string[] {
  return changes.flatMap((change) => touchedBy(tables, change));
}

function touchedBy(tables: Tables, change: Change): string[] {
  switch (change.type) {
    case 'add-policy':
      return [change.policy.id];
    case 'remove-policy':
      return [change.policy];
    case 'add-inbound':
    case 'add-outbound':
      return [change.sa.policy, keyOf(change.sa.direction, change.sa.spi)];
    case 'use-outbound':
      return [change.policy, keyOf('out', change.spi)];
    case 'move':
    case 'remove': {
      const key = keyOf(change.direction, change.spi);
      return [key, tables.sas.get(key)?.policy ?? key, ...usersOf(tables, change)];
    }
    case 'expect-inbound':
    case 'forget-inbound':
      return [];
  }
}

/** `mark`: on what outbound SAs send. Throws DataPlaneError, and then neither that change nor one behind it is there. */
export function* applyChanges(tables: Tables, changes: readonly Change[], mark: number): Work {
  for (const group of groupsOf(tables, changes)) {
    const undoings = group.map((change) => undoingOf(tables, change));
    const outcomes = yield* together(group.map((change) => applyChange(tables, change, mark)));
    const failed = outcomes.findIndex((outcome) => 'error' in outcome);
    if (failed < 0) continue;
    for (let index = group.length - 1; index > failed; index--) {
      const undoing = undoings[index];
      if (undoing && !('error' in outcomes[index]!)) yield* applyChange(tables, undoing, mark);
    }
    throw (outcomes[failed] as { error: unknown }).error;
  }
}

/** What is only added, and has nothing in common, goes together; all else by itself. */
function groupsOf(tables: Tables, changes: readonly Change[]): Change[][] {
  const groups: Change[][] = [];
  let taken = new Set<string>();
  for (const change of changes) {
    const subjects = subjectsOf(tables, [change]);
    const last = groups.at(-1);
    const joins =
      last &&
      last.length < MOST_TOGETHER &&
      [last[0]!, change].every(({ type }) => type.startsWith('add-')) &&
      !subjects.some((one) => taken.has(one));
    if (joins) last.push(change);
    else groups.push([change]);
    taken = joins ? new Set([...taken, ...subjects]) : new Set(subjects);
  }
  return groups;
}

/** What takes back a change that adds something; undefined where it was there before. */
function undoingOf(tables: Tables, change: Change): Change | undefined {
  if (change.type === 'add-policy') {
    const old = tables.policies.get(change.policy.id);
    return old ? { type: 'add-policy', policy: old } : { type: 'remove-policy', policy: change.policy.id };
  }
  if (change.type !== 'add-inbound' && change.type !== 'add-outbound') return undefined;
  const { direction, spi } = change.sa;
  return tables.sas.has(keyOf(direction, spi)) ? undefined : { type: 'remove', direction, spi };
}

function* applyChange(tables: Tables, change: Change, mark: number): Work {
  switch (change.type) {
    case 'add-policy':
      return yield* putPolicy(tables, change.policy);
    case 'remove-policy':
      tables.policies.delete(change.policy);
      stopUsing(tables, change.policy);
      return yield* restate(tables, change.policy);
    case 'add-inbound':
    case 'add-outbound':
      return yield* install(tables, change.sa, mark);
    case 'use-outbound':
      return yield* use(tables, change.policy, change.spi);
    case 'move':
      return yield* move(tables, change);
    case 'remove':
      return yield* remove(tables, change.direction, change.spi);
    case 'expect-inbound':
    case 'forget-inbound':
      return;
  }
}

function* putPolicy(tables: Tables, policy: Policy): Work {
  const old = tables.policies.get(policy.id);
  tables.policies.set(policy.id, policy);
  try {
    yield* restate(tables, policy.id);
  } catch (error) {
    if (old) tables.policies.set(policy.id, old);
    else tables.policies.delete(policy.id);
    yield* restate(tables, policy.id);
    throw error;
  }
}

/** Adding what is there already does nothing: its sequence number and its window stay as they are. */
function* install(tables: Tables, sa: SaParameters, mark: number): Work {
  if (sa.protocol === 'ah' ? !sa.integrity || sa.udp : !sa.encryption)
    throw new DataPlaneError(
      'refused',
      'AH needs an integrity algorithm and no UDP, ESP an encryption algorithm',
    );
  const key = keyOf(sa.direction, sa.spi);
  const known = tables.sas.get(key);
  if (known && known.remote !== sa.remote) throw taken();
  const policy = tables.policies.get(sa.policy);
  const lookup = known?.lookup ?? lookupIn(tables, policy);
  const side = { reqid: reqidOf(tables, sa.policy), mark, lookup, wishes: policy?.kernel };
  const { encryption: _keys, integrity: _more, ...parameters } = sa;
  const added: Known = { ...parameters, lookup, softTold: false, stopped: false };
  const place = (offload?: KernelSide['offload']) =>
    isThere(added, wantedSa(sa, { ...side, ...(offload ? { offload } : {}) }), known !== undefined);
  const placed = yield* withOffload(added, policy?.kernel?.offload ?? 'off', place);
  if (placed === 'before') return;
  remember(tables, { ...added, ...(placed ? { offload: placed } : {}) });
  if (sa.direction === 'in') yield* restate(tables, sa.policy);
}

/** Whether it was there before; it is afterwards. Throws DataPlaneError where another SA is. */
function* isThere(sa: Known, wanted: XfrmSa, known: boolean): Work<boolean> {
  if ((yield* demand(addSa(wanted), `SA ${sa.direction}`, ERRNO.EEXIST)) === 0) return false;
  const standing = yield* standingSa(saId(sa));
  if (standing && isQuestion(standing)) {
    yield* demand(deleteSa(saId(sa)), 'SA', ERRNO.ESRCH);
    if ((yield* demand(addSa(wanted), `SA ${sa.direction}`, ERRNO.EEXIST)) === 0) return false;
  }
  if (!known || !standing || !sameSa(standing, wanted)) throw taken();
  return true;
}

/** What the kernel keeps for a while where a packet was to be sent with an SA of ours that is gone. */
function isQuestion({ info, attributes: { aead, encryption, integrity } }: XfrmSa): boolean {
  return isOurReqid(info.reqid) && !aead && !encryption && !integrity;
}

function wantedSa(sa: SaParameters, side: KernelSide): XfrmSa {
  try {
    return kernelSa(sa, side);
  } catch (error) {
    throw error instanceof RangeError ? new DataPlaneError('refused', error.message) : error;
  }
}

function taken(): DataPlaneError {
  return new DataPlaneError('exists', 'that SPI is in use with other keys');
}

function* use(tables: Tables, policy: string, spi: number): Work {
  const sa = tables.sas.get(keyOf('out', spi));
  if (!sa || sa.stopped || !tables.policies.has(policy))
    throw new DataPlaneError('refused', 'there is no such SA or no such policy');
  startUsing(tables, policy, spi);
  yield* restate(tables, policy);
}

/** Nothing asks for an SA that is being removed: its policies turn away from it first. */
function* remove(tables: Tables, direction: 'in' | 'out', spi: number): Work {
  const sa = tables.sas.get(keyOf(direction, spi));
  if (!sa) return;
  const concerned = direction === 'in' ? [sa.policy] : usersOf(tables, sa);
  forget(tables, sa);
  if (direction === 'out') for (const policy of concerned) stopUsing(tables, policy);
  yield* restate(tables, ...concerned);
  yield* demand(deleteSa(saId(sa)), `SA ${keyOf(direction, spi)}`, ERRNO.ESRCH);
}

/** Ports change in place; so does the sender of an inbound SA, whom the kernel does not look at. */
function* move(
  tables: Tables,
  { direction, spi, remote, remotePort }: Extract<Change, { type: 'move' }>,
): Work {
  const sa = tables.sas.get(keyOf(direction, spi));
  const standing = sa && (yield* standingSa(saId(sa)));
  if (!sa || !standing) throw new DataPlaneError('refused', 'there is no such SA to move');
  const moved: Known = { ...sa, remote, ...(sa.udp ? { udp: { ...sa.udp, remotePort } } : {}) };
  const changed = withPorts(standing, moved);
  const away = direction === 'out' && remote !== sa.remote;
  if (away) yield* demand(addSa(elsewhere(changed, moved)), 'moved SA');
  else yield* demand(updateSa(changed), 'moved SA');
  forget(tables, sa);
  remember(tables, moved);
  if (away) yield* restate(tables, ...usersOf(tables, sa));
  if (away) yield* demand(deleteSa(saId(sa)), 'SA before its move', ERRNO.ESRCH);
}

/** The same SA to another address, with its counters. The old one stays until the policies have turned to this one. */
function elsewhere({ info, attributes }: XfrmSa, { remote }: Known): XfrmSa {
  const { replay } = attributes;
  if (!replay) throw new DataPlaneError('refused', 'the SA has no sequence numbers to go on from');
  const sent = replay.sent + SEQUENCE_JUMP;
  const sentHigh = replay.sentHigh + (sent >= SEQUENCES ? 1 : 0);
  return {
    info: { ...info, id: { ...info.id, destination: toXfrmAddress(remote) } },
    attributes: {
      ...attributes,
      counters: info.counters,
      replay: { ...replay, sent: sent % SEQUENCES, sentHigh },
    },
  };
}

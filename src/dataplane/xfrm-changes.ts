// Our changes of SAD and SPD, one at a time, as requests to the kernel.

import type { Change, Policy, SaParameters } from '../policy/sad.ts';
import { addSa, deleteSa, toXfrmAddress, updateSa, type XfrmSa } from '../wire/xfrm.ts';
import { DataPlaneError } from './dataplane.ts';
import { ERRNO, isOurReqid } from './xfrm-kernel.ts';
import { type KernelSide, kernelSa, saId, sameSa, withPorts } from './xfrm-sa.ts';
import {
  type Known,
  keyOf,
  lookupIn,
  reqidOf,
  restate,
  stopUsing,
  type Tables,
  usersOf,
} from './xfrm-tables.ts';

/** A moved SA goes on under its key behind everything that may still be sent from its old place. */
const SEQUENCE_JUMP = 2 ** 20;
const SEQUENCES = 2 ** 32;

/** `mark`: on what outbound SAs send. Throws DataPlaneError, and then the change is not there. */
export function applyChange(tables: Tables, change: Change, mark: number): void {
  switch (change.type) {
    case 'add-policy':
      return putPolicy(tables, change.policy);
    case 'remove-policy':
      tables.policies.delete(change.policy);
      stopUsing(tables, change.policy);
      return restate(tables, change.policy);
    case 'add-inbound':
    case 'add-outbound':
      return install(tables, change.sa, mark);
    case 'use-outbound':
      return use(tables, change.policy, change.spi);
    case 'move':
      return move(tables, change);
    case 'remove':
      return remove(tables, change.direction, change.spi);
  }
}

function putPolicy(tables: Tables, policy: Policy): void {
  const old = tables.policies.get(policy.id);
  tables.policies.set(policy.id, policy);
  try {
    restate(tables, policy.id);
  } catch (error) {
    if (old) tables.policies.set(policy.id, old);
    else tables.policies.delete(policy.id);
    restate(tables, policy.id);
    throw error;
  }
}

/** Adding what is there already does nothing: its sequence number and its window stay as they are. */
function install(tables: Tables, sa: SaParameters, mark: number): void {
  if (sa.protocol === 'ah' ? !sa.integrity || sa.udp : !sa.encryption)
    throw new DataPlaneError(
      'refused',
      'AH needs an integrity algorithm and no UDP, ESP an encryption algorithm',
    );
  const key = keyOf(sa.direction, sa.spi);
  const known = tables.sas.get(key);
  if (known && known.remote !== sa.remote) throw taken();
  const lookup = known?.lookup ?? lookupIn(tables, tables.policies.get(sa.policy));
  const wanted = wantedSa(sa, { reqid: reqidOf(tables, sa.policy), mark, lookup });
  const { encryption: _keys, integrity: _more, ...parameters } = sa;
  const added: Known = { ...parameters, lookup, softTold: false, stopped: false };
  if (isThere(tables, added, wanted, known !== undefined)) return;
  tables.sas.set(key, added);
  if (sa.direction === 'in') restate(tables, sa.policy);
}

/** Whether it was there before; it is afterwards. Throws DataPlaneError where another SA is. */
function isThere({ kernel }: Tables, sa: Known, wanted: XfrmSa, known: boolean): boolean {
  if (kernel.demand(addSa(wanted), `SA ${sa.direction}`, ERRNO.EEXIST) === 0) return false;
  const standing = kernel.sa(saId(sa));
  if (standing && isQuestion(standing)) {
    kernel.demand(deleteSa(saId(sa)), 'SA', ERRNO.ESRCH);
    if (kernel.demand(addSa(wanted), `SA ${sa.direction}`, ERRNO.EEXIST) === 0) return false;
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

function use(tables: Tables, policy: string, spi: number): void {
  const sa = tables.sas.get(keyOf('out', spi));
  if (!sa || sa.stopped || !tables.policies.has(policy))
    throw new DataPlaneError('refused', 'there is no such SA or no such policy');
  tables.uses.set(policy, spi);
  restate(tables, policy);
}

/** Nothing asks for an SA that is being removed: its policies turn away from it first. */
function remove(tables: Tables, direction: 'in' | 'out', spi: number): void {
  const sa = tables.sas.get(keyOf(direction, spi));
  if (!sa) return;
  tables.sas.delete(keyOf(direction, spi));
  const concerned = direction === 'in' ? [sa.policy] : usersOf(tables, spi);
  if (direction === 'out') for (const policy of concerned) stopUsing(tables, policy);
  restate(tables, ...concerned);
  tables.kernel.demand(deleteSa(saId(sa)), `SA ${keyOf(direction, spi)}`, ERRNO.ESRCH);
}

/** Ports change in place; so does the sender of an inbound SA, whom the kernel does not look at. */
function move(
  tables: Tables,
  { direction, spi, remote, remotePort }: Extract<Change, { type: 'move' }>,
): void {
  const sa = tables.sas.get(keyOf(direction, spi));
  const standing = sa && tables.kernel.sa(saId(sa));
  if (!sa || !standing) throw new DataPlaneError('refused', 'there is no such SA to move');
  const moved: Known = { ...sa, remote, ...(sa.udp ? { udp: { ...sa.udp, remotePort } } : {}) };
  const changed = withPorts(standing, moved);
  const away = direction === 'out' && remote !== sa.remote;
  if (away) tables.kernel.demand(addSa(elsewhere(changed, moved)), 'moved SA');
  else tables.kernel.demand(updateSa(changed), 'moved SA');
  tables.sas.set(keyOf(direction, spi), moved);
  if (away) restate(tables, ...usersOf(tables, spi));
  if (away) tables.kernel.demand(deleteSa(saId(sa)), 'SA before its move', ERRNO.ESRCH);
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

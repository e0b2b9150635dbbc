// The first rekey, rehearsed. A child of IKE_AUTH has never negotiated a key exchange of its own (RFC 7296 §1.2), nor has the
// peer shown what else it wants of a rekey: a difference would come to light hours later, at night, with the keys running out.
// So that rekey is made for real within seconds, and what came of it is kept.

import { KEY_EXCHANGE, keyExchangeRow } from '../crypto/suites.ts';
import { type ProposalTemplate, suiteText, templateText } from '../policy/proposal.ts';
import type { Instant, SelectorSet } from '../policy/sad.ts';
import { contains, type Selector } from '../policy/selector.ts';
import type { ChildTemplate } from '../policy/tunnel.ts';
import { findNotify, type Payload } from '../wire/ikev2.ts';
import { NOTIFY, nameOf } from '../wire/numbers.ts';
import { childBySpi, selectorsText } from './child.ts';
import { type Context, jittered, reportFailure, type TunnelState } from './context.ts';
import type { ReportCode } from './errors.ts';
import type { ChildSa, Established, IkeSa, Task } from './sa.ts';

/** What the last rekey of a child showed, by whomever it was. */
export interface Rehearsal {
  child: string;
  at: Instant;
  /** Another peer would be another rehearsal. */
  peer: string;
  /** Why it came to nothing. */
  refusal?: { code: ReportCode; detail: Record<string, unknown> };
}

type RekeyTask = Extract<Task, { type: 'rekey-child' }>;

/** Whoever began the IKE SA rehearses; the other side only if nothing came by then, still within the first minute. */
const OWN_TURN = 6000;
const OTHERS_TURN = 30_000;
const TURN_JITTER = 0.3;
/** Many tunnels that came up together are spread: rehearsals give way to what is still to come up. */
const EACH = 2;
const MOST_SPREAD = 15_000;
/** An unchanged peer is believed for so long, however often it is connected again. */
const BELIEVED = 86_400_000;
/** After so long what was refused is tried once more: somebody may have mended it. */
const REFUSED_AGAIN = 600_000;
/** A verdict is news for so long: nobody has to find the same again. */
const NEWS = 60_000;
/** What was refused is followed by a question within this time. */
const ASKING = 5000;

/** A child of IKE_AUTH is there, or will be when the data plane has it. */
export function planRehearsal(
  context: Context,
  sa: IkeSa,
  established: Established,
  child: Pick<ChildSa, 'name' | 'spiIn'>,
): void {
  const state = context.tunnels.get(established.tunnel)!;
  if (!state.tunnel.rehearsal || isBelieved(context, state, child.name, peerOf(sa, established))) return;
  rehearseAfter(context, established, child, sa.initiator ? OWN_TURN : OTHERS_TURN);
}

/** The configuration changed: what was shown with the old one counts no more. */
export function rehearseAnew(context: Context, state: TunnelState, established: Established): void {
  delete state.rehearsals;
  if (!state.tunnel.rehearsal) return;
  for (const child of established.children)
    if (child.used) rehearseAfter(context, established, child, OWN_TURN);
}

function rehearseAfter(
  context: Context,
  { tasks }: Established,
  { name, spiIn }: Pick<ChildSa, 'name' | 'spiIn'>,
  after: number,
): void {
  const spread = Math.min(context.tunnels.size() * EACH, MOST_SPREAD);
  const notBefore = context.now + jittered(context, after + spread, TURN_JITTER);
  tasks.push({ type: 'rekey-child', spiIn, child: name, rehearsal: 'rekey', notBefore });
}

/** What the last rekey of a child showed. */
export function rehearsalOf({ rehearsals }: TunnelState, child: string): Rehearsal | undefined {
  return rehearsals?.find((one) => one.child === child);
}

function isBelieved(context: Context, state: TunnelState, child: string, peer: string): boolean {
  const known = rehearsalOf(state, child);
  return known?.peer === peer && !known.refusal && context.now - known.at < BELIEVED;
}

function peerOf({ remote }: IkeSa, { peer }: Established): string {
  return `${remote.address} ${peer.identity.value}`;
}

/** A rehearsal is idle when the peer's own has just come to nothing. */
export function isIdle(context: Context, { tunnel }: Established, { rehearsal, child }: RekeyTask): boolean {
  const known = rehearsalOf(context.tunnels.get(tunnel)!, child);
  return rehearsal === 'rekey' && known?.refusal !== undefined && context.now - known.at < NEWS;
}

/** A child was negotiated by CREATE_CHILD_SA, in place of `old` where there was one: whatever a rekey needs, both sides have. */
export function noteRekeyed(
  context: Context,
  sa: IkeSa,
  established: Established,
  child: ChildSa,
  old?: ChildSa,
): void {
  if (!old || coversAll(child.selectors, old.selectors))
    return note(context, sa, established, child.name, undefined);
  // RFC 7296 §2.9.2: a rekeyed SA should not be narrower, or packets that passed with the old one are lost.
  const detail = {
    remote: sa.remote.address,
    child: child.name,
    agreed: selectorsText(old.selectors),
    left: selectorsText(child.selectors),
  };
  reportFailure(context, 'PEER_REKEY_NARROWER', established.tunnel, detail);
  note(context, sa, established, child.name, { code: 'PEER_REKEY_NARROWER', detail });
}

function coversAll(wider: SelectorSet, narrower: SelectorSet): boolean {
  const covered = (outer: readonly Selector[], inner: readonly Selector[]) =>
    inner.every((one) => outer.some((other) => contains(other, one)));
  return covered(wider.local, narrower.local) && covered(wider.remote, narrower.remote);
}

/** A rekey came to nothing, ours or the peer's; the reason is the failure reported last. */
export function noteRefused(
  context: Context,
  sa: IkeSa,
  established: Established,
  { child, spiIn, rehearsal }: Pick<RekeyTask, 'child' | 'rehearsal'> & { spiIn?: number },
): void {
  const { at, tunnel, code, detail } = context.failures.at(-1) ?? {};
  if (!code || !detail || at !== context.now || tunnel !== established.tunnel) return;
  const known = rehearsalOf(context.tunnels.get(established.tunnel)!, child);
  // What the peer asks next, to learn what we would take, is not what it offers.
  if (spiIn === undefined && known?.refusal && context.now - known.at < ASKING) return;
  note(context, sa, established, child, { code, detail });
  if (rehearsal && spiIn !== undefined)
    rehearseAfter(context, established, { name: child, spiIn }, REFUSED_AGAIN);
}

function note(
  context: Context,
  sa: IkeSa,
  established: Established,
  child: string,
  refusal: Rehearsal['refusal'],
): void {
  const state = context.tunnels.get(established.tunnel)!;
  const peer = peerOf(sa, established);
  const others = (state.rehearsals ?? []).filter((one) => one.child !== child);
  state.rehearsals = [...others, { child, at: context.now, peer, ...(refusal ? { refusal } : {}) }];
}

/**
 * What a rehearsal offers. After a refusal it asks: with every group there is, so that the peer names the one it wants
 * (RFC 7296 §1.3). Only our own groups come with a value, and only they are accepted.
 */
export function askedProposals(templates: readonly ProposalTemplate[], task: Task): ProposalTemplate[] {
  if (task.type !== 'rekey-child' || task.rehearsal !== 'ask') return [...templates];
  const known = KEY_EXCHANGE.map(({ name }) => name);
  return templates
    .filter(({ keyExchange }) => keyExchange.length > 0)
    .map((template) => ({ ...template, keyExchange: [...new Set([...template.keyExchange, ...known])] }));
}

/** The peer refuses the rehearsed rekey: the child stays, and it is said what differs, once. */
export function rehearsalRefused(
  context: Context,
  sa: IkeSa,
  established: Established,
  task: RekeyTask,
  error: number,
  payloads: Payload[],
): void {
  const { tunnel } = context.tunnels.get(established.tunnel)!;
  const template = tunnel.children.find(({ name }) => name === task.child);
  const child = childBySpi(established, task.spiIn);
  if (!template || !child) return;
  if (error === NOTIFY.NO_PROPOSAL_CHOSEN && task.rehearsal === 'rekey' && hasGroups(template))
    return void established.tasks.unshift({
      type: 'rekey-child',
      spiIn: child.spiIn,
      child: child.name,
      rehearsal: 'ask',
    });
  const [code, detail] = difference(template, child, error, payloads);
  const refusal = { code, detail: { remote: sa.remote.address, child: child.name, ...detail } };
  const known = rehearsalOf(context.tunnels.get(established.tunnel)!, child.name)?.refusal;
  if (JSON.stringify(known) !== JSON.stringify(refusal))
    reportFailure(context, code, established.tunnel, refusal.detail);
  note(context, sa, established, child.name, refusal);
  rehearseAfter(context, established, child, REFUSED_AGAIN);
}

function hasGroups({ proposals }: ChildTemplate): boolean {
  return proposals.some(({ keyExchange }) => keyExchange.length > 0);
}

type Difference = ['PEER_REKEY_PFS' | 'PEER_REKEY_SELECTORS' | 'PEER_REKEY_REFUSED', Record<string, unknown>];

function difference(template: ChildTemplate, child: ChildSa, error: number, payloads: Payload[]): Difference {
  const agreed = suiteText(child.suite);
  switch (error) {
    case NOTIFY.INVALID_KE_PAYLOAD:
    case NOTIFY.NO_PROPOSAL_CHOSEN: {
      const configured = template.proposals.map(templateText).join(' or ');
      return ['PEER_REKEY_PFS', { agreed, configured, ...wishOf(template, payloads) }];
    }
    case NOTIFY.TS_UNACCEPTABLE: {
      const [had, configured] = [selectorsText(child.selectors), selectorsText(template.selectors)];
      return ['PEER_REKEY_SELECTORS', { agreed: had, configured }];
    }
    default:
      return ['PEER_REKEY_REFUSED', { notify: nameOf(NOTIFY, error) }];
  }
}

/** What the peer wants of the key exchange, as far as it shows, and what to change on which side. */
function wishOf(template: ChildTemplate, payloads: Payload[]): { wanted: string; change: string } {
  const ours = [...new Set(template.proposals.flatMap(({ keyExchange }) => keyExchange))];
  const suites = `${template.protocol}-suites`;
  const data = findNotify(payloads, NOTIFY.INVALID_KE_PAYLOAD)?.data;
  if (data?.length === 2) return groupWish((data[0]! << 8) | data[1]!, ours.join('|'), suites);
  if (ours.length === 0)
    return {
      wanted: 'a key exchange with every rekey (PFS)',
      change: `add their group to a suite of ${suites} here, such as "/ x25519", or switch PFS off there`,
    };
  const further = template.proposals.some(({ additionalKeyExchange }) => additionalKeyExchange.length > 0);
  return further
    ? {
        wanted:
          'none of that: most likely no additional key exchange (RFC 9370), or no key exchange at all (no PFS)',
        change: `give both sides the same, or add a suite without what stands behind + to ${suites} here`,
      }
    : {
        wanted:
          'none of the groups that we know: most likely no key exchange at all (no PFS), or additional ones (RFC 9370)',
        change: `switch PFS on there with ${ours[0]} alone, or add a suite without a group to ${suites} here`,
      };
}

function groupWish(group: number, ours: string, suites: string): { wanted: string; change: string } {
  const row = KEY_EXCHANGE.find(({ id }) => id === group);
  const wanted = row ? `${row.name} (group ${group})` : `group ${group}`;
  const there =
    ours === '' ? 'switch PFS off there' : `set the PFS group there to ${ours.replaceAll('|', ' or ')}`;
  const usable = row && keyExchangeRow(row.name).status === 'implemented';
  return { wanted, change: usable ? `add ${row.name} to ${suites} here, or ${there}` : there };
}

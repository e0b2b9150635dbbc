// What should be there, what is there, and the mending of the difference: children that are missing, children that are there
// twice, IKE SAs that are there twice. Looked at after every event that may have changed an IKE SA, and at the moments it names.

import type { Instant } from '../policy/sad.ts';
import { createLater, isLeaving, selectorsText } from './child.ts';
import { type Context, onlyDelete, report, type TunnelState } from './context.ts';
import type { ChildSa, Established, IkeSa } from './sa.ts';
import { isSilent } from './window.ts';

/** A child that went is made anew after about that time: whoever took it away, or began, may have the same in mind. */
const MISSED = 5000;
/** Two of a kind are let be for so long: a rekey, a renewal or a simultaneous start has its own rules for which one goes. */
const SETTLED = 30_000;

/** The children that should be there: all but those that the operator took down. */
export function wantedChildren({ tunnel, wanted, down = [] }: TunnelState): string[] {
  return wanted ? tunnel.children.map(({ name }) => name).filter((name) => !down.includes(name)) : [];
}

/** The names of `wanted` that none of `held` has, and all but one of those in `held` that are of a kind. */
export function difference(
  wanted: readonly string[],
  held: readonly ChildSa[],
): { missing: string[]; surplus: ChildSa[] } {
  const names = new Set(held.map(({ name }) => name));
  return {
    missing: wanted.filter((name) => !names.has(name)),
    surplus: held.length < 2 ? [] : notKept(held),
  };
}

function notKept(held: readonly ChildSa[]): ChildSa[] {
  const kept = new Map<string, ChildSa>();
  for (const child of held) {
    const other = kept.get(kindOf(child));
    if (!other || isKept(child, other)) kept.set(kindOf(child), child);
  }
  return held.filter((child) => kept.get(kindOf(child)) !== child);
}

function kindOf({ name, selectors }: ChildSa): string {
  return `${name} ${selectorsText(selectors)}`;
}

/** Both sides see the same two numbers, so both would keep the same one. */
function isKept(a: ChildSa, b: ChildSa): boolean {
  return Math.max(a.spiIn, a.spiOut) > Math.max(b.spiIn, b.spiOut);
}

/** The next moment at which two of a kind have been there for long enough. */
export function supervisedAt(context: Context, sa: IkeSa, established: Established): Instant | undefined {
  if (!carries(established) || context.tunnels.peek(established.tunnel)?.removed) return undefined;
  const doubled = surplusOf(sa, established).length > 0 || olderOf(context, sa, established).length > 0;
  const youngest = Math.max(established.since, ...established.children.map(({ since }) => since));
  return doubled ? youngest + SETTLED : undefined;
}

export function supervise(context: Context, sa: IkeSa, established: Established): void {
  const tunnel = context.tunnels.get(established.tunnel);
  if (!tunnel || tunnel.removed || !carries(established)) return;
  makeMissing(context, established, tunnel);
  const at = supervisedAt(context, sa, established);
  if (at === undefined || at > context.now) return;
  for (const child of surplusOf(sa, established)) removeSurplus(context, established, child);
  for (const older of olderOf(context, sa, established)) removeOlder(context, older, established.tunnel);
}

/** Neither replaced nor renewed nor about to go. */
export function carries({ replacedBy, renewedBy, tasks, own }: Established): boolean {
  const going = own?.task.type === 'delete-ike' || tasks.some(({ type }) => type === 'delete-ike');
  return replacedBy === undefined && renewedBy === undefined && !going;
}

function makeMissing(context: Context, established: Established, state: TunnelState): void {
  const { children, own, serving } = established;
  const coming = [own, serving].flatMap((exchange) =>
    exchange?.step === 'installing' ? [exchange.child] : [],
  );
  const { missing } = difference(wantedChildren(state), [...children, ...coming]);
  const asked = own?.task.type === 'create' ? own.task.child : undefined;
  for (const name of missing) if (name !== asked) createLater(context, established, name, MISSED);
}

/** The original initiator deletes, so that not each side deletes one. */
function surplusOf({ initiator }: IkeSa, established: Established): ChildSa[] {
  const { children, own, serving } = established;
  if (!initiator || children.length < 2 || own || serving) return [];
  const held = children.filter((child) => !child.replaced && !isLeaving(established, child));
  return difference([], held).surplus;
}

function removeSurplus(context: Context, established: Established, { name, spiIn }: ChildSa): void {
  report(context, 'CHILD_DUPLICATE', established.tunnel, { child: name, spiIn });
  established.tasks.push({ type: 'delete-child', spiIn });
}

/** SPIs of the IKE SAs of the same tunnel that this one, which is the newest, makes superfluous. */
function olderOf(context: Context, sa: IkeSa, { tunnel, renews }: Established): string[] {
  const state = context.tunnels.peek(tunnel);
  if (!state || state.sas.length < 2 || state.tunnel.unique === 'never' || renews) return [];
  const others = state.sas.filter((spi) => {
    const other = context.sas.peek(spi);
    return other?.state.name === 'established' && carries(other.state) && !isSilent(other);
  });
  return others.at(-1) === sa.spi ? others.slice(0, -1) : [];
}

function removeOlder(context: Context, spi: string, tunnel: string): void {
  const older = context.sas.get(spi);
  if (older?.state.name !== 'established') return;
  report(context, 'IKE_DUPLICATE', tunnel, { remote: older.remote.address, spi });
  onlyDelete(context, older.state);
}

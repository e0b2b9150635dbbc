// A peer that is known by a DNS name: looked up again before each attempt, and now and then while the tunnel is up.

import { familyOf } from '../wire/address.ts';
import type { Context, TunnelState } from './context.ts';

/** While a tunnel is up, its peer's name is looked up this often; a name that has moved is followed. */
const WATCH = 300_000;

/** Asks for all the names of a tunnel; true where the answers have to be waited for. */
export function mustLookUp(
  context: Context,
  state: TunnelState,
  purpose: NonNullable<TunnelState['lookup']>['purpose'],
): boolean {
  const { names } = state.tunnel.remote;
  if (!names || state.known) return false;
  if (state.lookup) return true;
  state.lookup = { left: [...names], found: [], purpose };
  const { name: tunnel, local } = state.tunnel;
  for (const name of names)
    context.actions.push({ type: 'resolve', tunnel, name, family: familyOf(local.address) });
  return true;
}

export function watchName(context: Context, state: TunnelState): void {
  delete state.watchAt;
  if (state.sas.length === 0 || state.removed) return;
  state.watchAt = context.now + WATCH;
  mustLookUp(context, state, 'watch');
}

/** From here on the name is watched. */
export function beginWatch(context: Context, state: TunnelState): void {
  if (state.tunnel.remote.names) state.watchAt ??= context.now + WATCH;
}

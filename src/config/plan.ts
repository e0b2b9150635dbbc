// What a reload will do to each tunnel, before it does it.

import type { ConfigChange } from '../ike/boundary.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import type { Config } from './config.ts';

export type Effect = 'untouched' | 'new' | 'removed' | 'rekey' | 'restart';

export interface Plan {
  tunnel: string;
  effect: Effect;
  changes: ConfigChange[];
}

export function planReload(before: Config, after: Config): Plan[] {
  const gone = before.tunnels.filter(({ name }) => !after.tunnels.some((tunnel) => tunnel.name === name));
  return [
    ...gone.map(({ name }): Plan => ({ tunnel: name, effect: 'removed', changes: [remove(name)] })),
    ...after.tunnels.map((tunnel) => {
      const effect = effectOn(tunnel, before, after);
      return { tunnel: tunnel.name, effect, changes: changesFor(tunnel, effect) };
    }),
  ];
}

function effectOn(tunnel: Tunnel, before: Config, after: Config): Effect {
  const old = before.tunnels.find(({ name }) => name === tunnel.name);
  if (!old) return 'new';
  const sameSecret = sameBytes(before.secrets.get(tunnel.name)?.(), after.secrets.get(tunnel.name)?.());
  if (sameSecret && textOf(old) === textOf(tunnel)) return 'untouched';
  return sameSecret && textOf(mustStay(old)) === textOf(mustStay(tunnel)) ? 'rekey' : 'restart';
}

/** What an established IKE SA was made with and cannot change: who, where, and which packets. */
function mustStay({ local, remote, auth, encapsulation, fragmentation, children }: Tunnel): unknown {
  return {
    local,
    remote,
    auth,
    encapsulation,
    fragmentation,
    children: children.map(({ name, selectors }) => ({ name, selectors })),
  };
}

function changesFor(tunnel: Tunnel, effect: Effect): ConfigChange[] {
  if (effect === 'untouched') return [];
  const set: ConfigChange = { type: 'set-tunnel', tunnel };
  return effect === 'restart' ? [remove(tunnel.name), set] : [set];
}

function remove(tunnel: string): ConfigChange {
  return { type: 'remove-tunnel', tunnel };
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, inner) => (typeof inner === 'bigint' ? `${inner}` : inner));
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
}

// What a reload will do to each tunnel, before it does it.

import type { ConfigChange } from '../ike/boundary.ts';
import { ownProof, peerProof, type Tunnel } from '../policy/tunnel.ts';
import type { Keyring } from './auth.ts';
import type { Config } from './config.ts';

/** `renewed`: another certificate or key of ours from the next authentication on. */
export type Effect = 'untouched' | 'new' | 'removed' | 'renewed' | 'rekey' | 'restart';

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

function effectOn(next: Tunnel, before: Config, after: Config): Effect {
  const found = before.tunnels.find(({ name }) => name === next.name);
  if (!found) return 'new';
  const [old, tunnel] = [negotiated(found), negotiated(next)];
  if (!sameProof(tunnel, before, after)) return 'restart';
  if (textOf(old) === textOf(tunnel)) return sameKeys(tunnel, before, after) ? 'untouched' : 'renewed';
  const ours = { auth: undefined };
  if (textOf({ ...old, ...ours }) === textOf({ ...tunnel, ...ours }) && sameDemands(old, tunnel))
    return 'renewed';
  return textOf(mustStay(old)) === textOf(mustStay(tunnel)) ? 'rekey' : 'restart';
}

/** Probes look at a tunnel and change nothing of it; addresses and routes of its interface are the machine's. */
function negotiated({ link, findPathMtu: _, ...tunnel }: Tunnel): Tunnel {
  return {
    ...tunnel,
    children: tunnel.children.map(({ probe: _, ...child }) => child),
    ...(link ? { link: { name: link.name, id: link.id, addresses: [], routes: [], metric: 0 } } : {}),
  };
}

/** What the peer must prove, and by which secrets. Revocation lists change daily and count from the next time on. */
function sameProof({ auth, ppk }: Tunnel, before: Config, after: Config): boolean {
  const [was, is] = [before.keyring, after.keyring];
  const secrets = [ownProof(auth), peerProof(auth)].flatMap((one) =>
    one.method === 'psk' ? one.secret : [],
  );
  if (ppk) secrets.push(ppk.secret);
  const peer = peerProof(auth);
  const demand = ({ trust }: Keyring) => {
    if (peer.method === 'psk') return undefined;
    const { crls: _, ...rest } = trust.get(peer.trust)?.() ?? { crls: [] };
    return textOf(rest);
  };
  return (
    secrets.every((name) => sameBytes(was.secrets.get(name)?.(), is.secrets.get(name)?.())) &&
    demand(was) === demand(is)
  );
}

/** Both sign with certificates or keys before and after, and the peer's side is the same. */
function sameDemands(old: Tunnel, tunnel: Tunnel): boolean {
  const signs = [old, tunnel].every(({ auth }) => ownProof(auth).method === 'signature');
  return signs && textOf(peerProof(old.auth)) === textOf(peerProof(tunnel.auth));
}

function sameKeys({ auth }: Tunnel, before: Config, after: Config): boolean {
  const own = ownProof(auth);
  const names = own.method === 'signature' ? own.keys.map(({ key }) => key) : [];
  return names.every((name) => {
    const [was, is] = [before, after].map(({ keyring }) => keyring.keys.get(name)?.());
    return was && is?.equals(was);
  });
}

/** What an established IKE SA was made with and cannot change: who, where, and which packets. */
function mustStay(tunnel: Tunnel): unknown {
  const { local, remote, auth, encapsulation, fragmentation, kernel, children, link } = tunnel;
  return {
    link: link && { name: link.name, id: link.id },
    local,
    remote,
    auth,
    encapsulation,
    fragmentation,
    kernel,
    children: children.map(({ name, protocol, mode, selectors }) => ({ name, protocol, mode, selectors })),
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
  return JSON.stringify(value, (_key, inner) => {
    if (inner instanceof Uint8Array) return Buffer.from(inner).toString('base64');
    return typeof inner === 'bigint' ? `${inner}` : inner;
  });
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
}

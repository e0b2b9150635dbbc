// The interfaces of route-based tunnels in the kernel: made where they are the kernel's, marked, addressed, up or dormant.

import { writeFileSync } from 'node:fs';
import type { LinkKind } from '../policy/sad.ts';
import { familyOf } from '../wire/address.ts';
import {
  type Answer,
  addAddress,
  addLink,
  deleteAddress,
  deleteLink,
  type IpsecLink,
  type Link,
  type LinkAddress,
  setLink,
  setOperation,
  setUpOnWord,
} from '../wire/rtnetlink.ts';
import { HostError } from './host-error.ts';
import type { WantedLink } from './links.ts';
import { OURS } from './wanted.ts';

export const EEXIST = 17;
const ALIAS = `${OURS.aliasPrefix}packets for a tunnel`;
/** Comes and goes while it is found out what this kernel has. */
const TRIED = { name: 'isthmus-probe', id: 0xffffff };

/** A request, what it is about, and what it means when the kernel says that there is such a thing already. */
export interface Step {
  bytes: Uint8Array;
  what: string;
  taken?: string;
}

interface Parts {
  askAll(steps: readonly Step[]): Answer[];
  links(): Link[];
  addresses(): LinkAddress[];
}

export interface Interfaces {
  /** Each stands as wanted, but for whether it is up; others of ours are gone. `shared`: the device of all other tunnels. */
  apply(wanted: readonly WantedLink[], shared: string): void;
  /** Up or dormant. */
  operate(wanted: readonly WantedLink[]): void;
  kind(): LinkKind | undefined;
}

export function isOurs({ alias }: Link): boolean {
  return alias?.startsWith(OURS.aliasPrefix) === true;
}

export function createInterfaces({ askAll, links, addresses }: Parts): Interfaces {
  function remove(link: Link): void {
    askAll([{ bytes: deleteLink(link.index), what: `old interface ${link.name}` }]);
  }

  /** The interface of that name that is right as it is; one of ours that is not makes room. */
  function standing({ name, ipsec }: WantedLink, all: readonly Link[]): Link | undefined {
    const found = all.find((link) => link.name === name);
    if (!found) return undefined;
    if (!isOurs(found)) throw taken(name);
    if (sameIpsec(found.ipsec, ipsec)) return found;
    if (ipsec) remove(found);
    return undefined;
  }

  function make({ name, ipsec }: WantedLink): Link {
    if (!ipsec) throw new HostError('HOST_NETLINK', `the interface ${name} is missing`);
    askAll([
      {
        bytes: addLink(name, ipsec),
        what: `interface ${name} (${ipsec.kind})`,
        taken: sameEnds(name, ipsec),
      },
    ]);
    const made = links().find((link) => link.name === name);
    if (!made) throw new HostError('HOST_NETLINK', `the interface ${name} is missing`);
    return made;
  }

  /** In one step, so that nobody sees it half made. */
  function set({ name, mtu, addresses: wanted, up }: WantedLink, { index }: Link): void {
    const have = addresses().filter(({ link, protocol }) => link === index && protocol === OURS.protocol);
    const target = wanted.map((one): LinkAddress => ({ ...one, link: index, protocol: OURS.protocol }));
    const known = (all: readonly LinkAddress[]) => new Set(all.map(textOf));
    const [there, right] = [known(have), known(target)];
    askAll([
      { bytes: setUpOnWord(index, up), what: `mode of ${name}` },
      { bytes: setLink(index, mtu, ALIAS), what: `interface ${name}` },
      ...have
        .filter((one) => !right.has(textOf(one)))
        .map((one) => ({ bytes: deleteAddress(one), what: `old address ${textOf(one)} of ${name}` })),
      ...target
        .filter((one) => !there.has(textOf(one)))
        .map((one) => ({ bytes: addAddress(one), what: `address ${textOf(one)} of ${name}` })),
    ]);
  }

  return {
    apply(wanted, shared) {
      const all = links();
      const names = new Set(wanted.map(({ name }) => name));
      for (const link of all) if (isOurs(link) && link.name !== shared && !names.has(link.name)) remove(link);
      for (const one of wanted) {
        const link = standing(one, all) ?? make(one);
        set(one, link);
        if (one.ipsec?.kind.startsWith('vti')) leavePolicyToVti(one.name);
      }
    },
    operate(wanted) {
      const all = new Map(links().map((link) => [link.name, link]));
      const changed = wanted.flatMap(({ name, up }) => {
        const link = all.get(name);
        if (!link || (up ? link.saidUp : !link.running)) return [];
        return [{ bytes: setOperation(link.index, up ? 'up' : 'dormant'), what: `state of ${name}` }];
      });
      askAll(changed);
    },
    kind() {
      const kinds = [
        ['xfrm', { kind: 'xfrm', id: TRIED.id }],
        ['vti', { kind: 'vti', key: TRIED.id, local: '127.0.0.1', remote: '127.0.0.2' }],
      ] as const;
      return kinds.find(([, ipsec]) => isKnown(ipsec))?.[0];
    },
  };

  function isKnown(ipsec: IpsecLink): boolean {
    try {
      askAll([{ bytes: addLink(TRIED.name, ipsec), what: `a ${ipsec.kind} interface` }]);
    } catch (error) {
      if (error instanceof HostError && error.message.includes('not supported')) return false;
      throw error;
    }
    const made = links().find(({ name }) => name === TRIED.name);
    if (made) remove(made);
    return true;
  }
}

/** What the packet carries inside is held against the policy when it leaves the interface; on its further way it has no mark. */
function leavePolicyToVti(name: string): void {
  for (const family of ['ipv4', 'ipv6']) {
    try {
      writeFileSync(`/proc/sys/net/${family}/conf/${name}/disable_policy`, '1');
    } catch (error) {
      // IPv6 may be switched off.
      if (family === 'ipv4')
        throw new HostError('HOST_NETLINK', `disable_policy of ${name}: ${(error as Error).message}`);
    }
  }
}

function taken(name: string): HostError {
  return new HostError(
    'HOST_TAKEN',
    `there is an interface ${name} already and it is not ours: choose another interface.name`,
  );
}

function sameEnds(name: string, ipsec: IpsecLink): string {
  return ipsec.kind === 'xfrm'
    ? `interface ${name}: another XFRM interface has the if_id ${ipsec.id}: remove it, or rename the tunnel`
    : `interface ${name}: another VTI goes from ${ipsec.local} to ${ipsec.remote}, and this kernel can tell only one by its outer addresses: use dataplane: engine, or an outer address of its own`;
}

function sameIpsec(a: IpsecLink | undefined, b: IpsecLink | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function textOf({ address, length }: LinkAddress): string {
  return `${address}/${length} (IPv${familyOf(address)})`;
}

// What of the machine's own settings would keep tunnels from working: named with the fix, never changed.

import { readFileSync } from 'node:fs';
import type { Addon } from '../native.ts';
import type { TunnelLink } from '../policy/tunnel.ts';
import type { Rule } from '../wire/rtnetlink.ts';
import { sharedMarks } from './marks.ts';
import { createKernel } from './netlink.ts';
import { reversePath } from './reverse-path.ts';
import { OURS } from './wanted.ts';

export interface Finding {
  code: string;
  problem: string;
  fix: string;
}

/** What preflight looks at, so that a test can give it any machine. */
export interface Machine {
  /** Content of a file, or undefined where there is none. */
  read(file: string): string | undefined;
  /** `nft -j list ruleset`, parsed. */
  ruleset(): NftEntry[];
  /** Of others. */
  rules(): Rule[];
}

/** What of a configuration the machine's settings may be in the way of. */
export interface Needs {
  /** Of the protected networks. */
  families: ReadonlySet<4 | 6>;
  /** UDP ports of ours. */
  ports: readonly number[];
  /** Of the children. */
  protocols: ReadonlySet<'esp' | 'ah'>;
  /** Bits of outer packets. */
  mark: number;
  /** Of route-based tunnels, but for those whose packets the kernel does not filter. */
  links: readonly TunnelLink[];
}

export interface NftEntry {
  chain?: { family: string; table: string; name: string; type?: string; hook?: string; policy?: string };
  rule?: { family: string; table: string; chain: string; expr: Record<string, unknown>[] };
}

export function thisMachine(addon: Addon): Machine {
  return {
    read(file) {
      try {
        return readFileSync(file, 'utf8');
      } catch {
        return undefined;
      }
    },
    ruleset() {
      const [done, answer] = addon.nftables(new TextEncoder().encode('list ruleset'));
      return done && answer !== '' ? JSON.parse(answer).nftables : [];
    },
    rules: () =>
      createKernel(addon)
        .everyRule()
        .filter(({ protocol }) => protocol !== OURS.protocol),
  };
}

export function preflight(machine: Machine, { families, ports, protocols, mark, links }: Needs): Finding[] {
  const ruleset = machine.ruleset().filter((entry) => (entry.rule ?? entry.chain)?.table !== OURS.nftables);
  return [
    ...forwarding(machine, families),
    ...reversePath(machine, links),
    ...masquerading(ruleset),
    ...firewall(ruleset, ports, protocols),
    ...sharedMarks(mark, machine.rules(), ruleset),
  ];
}

function forwarding(machine: Machine, families: ReadonlySet<4 | 6>): Finding[] {
  const settings = [
    [4, '/proc/sys/net/ipv4/ip_forward', 'net.ipv4.ip_forward'],
    [6, '/proc/sys/net/ipv6/conf/all/forwarding', 'net.ipv6.conf.all.forwarding'],
  ] as const;
  return settings
    .filter(([family, file]) => families.has(family) && machine.read(file)?.trim() === '0')
    .map(([family, , name]) => ({
      code: 'HOST_FORWARDING_OFF',
      problem: `this machine does not forward IPv${family} packets, so no host behind it can use a tunnel`,
      fix: `sysctl -w ${name}=1`,
    }));
}

/** A masquerade rule in postrouting that does not name another device than ours. */
function masquerading(ruleset: readonly NftEntry[]): Finding[] {
  const chains = ruleset.flatMap(({ chain }) =>
    chain?.type === 'nat' && chain.hook === 'postrouting' ? [chain] : [],
  );
  const rewriting = ruleset.flatMap(({ rule }) => (rule && rewrites(rule.expr) ? [rule] : []));
  return rewriting
    .filter((rule) => chains.some(({ table, name }) => table === rule.table && name === rule.chain))
    .map(({ table, chain }) => ({
      code: 'HOST_MASQUERADE',
      problem: `a rule in ${table}/${chain} rewrites the source of what goes into the tunnels, so it no longer fits their selectors`,
      fix: `nft insert rule ${table === 'nat' ? 'ip nat' : table} ${chain} oifname ${OURS.device} accept`,
    }));
}

function rewrites(expressions: readonly Record<string, unknown>[]): boolean {
  const translates = expressions.some((one) => 'masquerade' in one || 'snat' in one);
  return translates && !expressions.some(namesOtherDevice);
}

function namesOtherDevice(expression: Record<string, unknown>): boolean {
  const match = expression.match as { left?: { meta?: { key?: string } }; right?: unknown } | undefined;
  return /^oif/.test(match?.left?.meta?.key ?? '') && match?.right !== OURS.device;
}

/** An input chain that drops by default and nowhere mentions our ports and protocols. */
function firewall(
  ruleset: readonly NftEntry[],
  ports: readonly number[],
  protocols: ReadonlySet<'esp' | 'ah'>,
): Finding[] {
  const closed = ruleset.flatMap(({ chain }) =>
    chain?.hook === 'input' && chain.policy === 'drop' ? [chain] : [],
  );
  return closed.flatMap(({ family, table, name }) => {
    const text = JSON.stringify(ruleset.filter(({ rule }) => rule?.table === table));
    const shut = [
      ...ports.filter((port) => !new RegExp(`\\b${port}\\b`).test(text)).map((port) => `udp dport ${port}`),
      ...[...protocols].filter((name) => !mentions(text, name)).map((name) => `meta l4proto ${name}`),
    ];
    return shut.map((what) => ({
      code: 'HOST_FIREWALL',
      problem: `the firewall chain ${table}/${name} drops ${what}`,
      fix: `nft insert rule ${family} ${table} ${name} ${what} accept`,
    }));
  });
}

function mentions(text: string, protocol: 'esp' | 'ah'): boolean {
  return new RegExp(`"${protocol}"|"right": ?${protocol === 'ah' ? 51 : 50}\\b`).test(text);
}

/** Who holds a UDP port: its process name where it can be known. */
export function holderOf(machine: Machine, port: number): string | undefined {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const tables = ['/proc/net/udp', '/proc/net/udp6'].map((file) => machine.read(file) ?? '');
  const taken = tables
    .join('\n')
    .split('\n')
    .some((line) => new RegExp(`^\\s*\\d+: [0-9A-F]+:${wanted} `).test(line));
  if (!taken) return undefined;
  return (
    ['charon', 'pluto', 'iked', 'racoon'].find((name) => machine.read(`/run/${name}.pid`) !== undefined) ??
    'another process'
  );
}

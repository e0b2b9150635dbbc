// Which data plane protects packets where the configuration leaves it open, and what the kernel lacks for its tunnels.

import { encryptionRow, integrityRow } from '../crypto/suites.ts';
import { DataPlaneError } from '../dataplane/dataplane.ts';
import { modulesOf } from '../dataplane/xfrm-probe.ts';
import { HostError } from '../host/host-error.ts';
import type { PlaneName } from '../host/wanted.ts';
import { capable, type ProposalTemplate } from '../policy/proposal.ts';
import type { Capabilities } from '../policy/sad.ts';
import type { ChildTemplate, Tunnel } from '../policy/tunnel.ts';

/** What the choice depends on. */
export interface Choosing {
  dataplane: PlaneName;
  /** `dataplane: auto` stands in the file. */
  automatic: boolean;
  tunnels: readonly Pick<Tunnel, 'name' | 'children' | 'kernel' | 'link'>[];
}

export interface Choice {
  name: PlaneName;
  /** A sentence for the operator. */
  why: string;
  /** Algorithms that tunnels name and the kernel does not have, where the kernel protects packets. */
  lost: Lost[];
}

/** One sentence each. */
export interface Lost {
  problem: string;
  fix: string;
}

/** `ask`: what the kernel can do; throws DataPlaneError. Throws HostError where the kernel is demanded and cannot. */
export function choose(config: Choosing, ask: () => Capabilities): Choice {
  if (config.automatic) return chooseFreely(config, ask);
  if (config.dataplane === 'engine') return { name: 'engine', why: 'the configuration says so', lost: [] };
  const kernel = demanded(ask);
  const unable = firstUnable(config, kernel);
  if (unable) throw new HostError('HOST_IPSEC', `${unable}, or use dataplane: engine`);
  return { name: 'xfrm', why: 'the configuration says so', lost: lostBy(config, kernel) };
}

/** Only a choice that was left open falls back. */
function chooseFreely(config: Choosing, ask: () => Capabilities): Choice {
  let kernel: Capabilities;
  try {
    kernel = ask();
  } catch (error) {
    if (!(error instanceof DataPlaneError)) throw error;
    return engineInstead(config, error.message);
  }
  const unable = firstUnable(config, kernel);
  if (unable) return engineInstead(config, unable);
  const why = 'the kernel can do all that the tunnels ask for';
  return { name: 'xfrm', why, lost: lostBy(config, kernel) };
}

/** Not where a tunnel would lose what it says of the kernel: which packets are its own, and how they leave. */
function engineInstead({ tunnels }: Choosing, why: string): Choice {
  const bound = tunnels.find(({ kernel }) => kernel && (kernel.mark ?? kernel.outputMark));
  if (bound)
    throw new HostError('HOST_IPSEC', `${why}; ${bound.name} has marks, which need the kernel's IPsec`);
  return { name: 'engine', why, lost: [] };
}

function demanded(ask: () => Capabilities): Capabilities {
  try {
    return ask();
  } catch (error) {
    throw error instanceof DataPlaneError ? new HostError('HOST_IPSEC', error.message) : error;
  }
}

const NO_LINKS = 'and the kernel has neither XFRM interfaces nor VTI: modprobe xfrm_interface ip_vti';

/** The first child that would not work with the kernel's IPsec, and why. */
function firstUnable({ tunnels }: Pick<Choosing, 'tunnels'>, kernel: Capabilities): string | undefined {
  for (const { name, children, link } of tunnels) {
    if (link && !kernel.links) return `${name} needs an interface, ${NO_LINKS}`;
    for (const child of children) {
      const lack = lackOf(child, kernel);
      if (lack) return `${name}/${child.name} needs ${lack}`;
    }
  }
  return undefined;
}

function lackOf(
  { protocol, mode, outer, proposals }: ChildTemplate,
  kernel: Capabilities,
): string | undefined {
  if (mode === 'tunnel' && outer.df === 'set') return 'df: set, and the kernel copies DF or clears it';
  if (mode === 'tunnel' && outer.dscp !== 'copy' && outer.dscp !== 0)
    return `dscp: ${outer.dscp}, and the kernel copies DSCP or leaves it 0`;
  if (protocol === 'ah' && kernel.authentication.length === 0)
    return 'AH, which the kernel does not have: modprobe ah4 ah6';
  if (capable(proposals, kernel).length > 0) return undefined;
  const missing = missingOf(proposals, kernel);
  return `${missing.map(({ name }) => name).join(' or ')}, which the kernel does not have: modprobe ${modulesText(missing)}`;
}

/** An algorithm: its name in the configuration, and in the kernel. */
interface Algorithm {
  name: string;
  kernel: string;
}

function missingOf(
  proposals: readonly ProposalTemplate[],
  { encryption, integrity, authentication }: Capabilities,
): Algorithm[] {
  const missing = new Map<string, Algorithm>();
  for (const proposal of proposals) {
    const codes = proposal.encryption.length === 0 ? authentication : integrity;
    for (const { name } of proposal.encryption)
      if (!encryption.includes(name)) missing.set(name, { name, kernel: encryptionRow(name).kernel });
    for (const name of proposal.integrity)
      if (!codes.includes(name)) missing.set(name, { name, kernel: integrityRow(name).kernel });
  }
  return [...missing.values()];
}

function modulesText(missing: readonly Algorithm[]): string {
  return [...new Set(missing.flatMap(({ kernel }) => modulesOf(kernel)))].join(' ');
}

/** What children go on without: they have other suites left. Each algorithm once, with the first children that name it. */
function lostBy({ tunnels }: Pick<Choosing, 'tunnels'>, kernel: Capabilities): Lost[] {
  const losers = new Map<string, { algorithm: Algorithm; children: string[] }>();
  for (const { name, children } of tunnels)
    for (const child of children)
      for (const algorithm of missingOf(child.proposals, kernel)) {
        const row = losers.get(algorithm.name) ?? { algorithm, children: [] };
        row.children.push(`${name}/${child.name}`);
        losers.set(algorithm.name, row);
      }
  return [...losers.values()].map(({ algorithm, children }) => ({
    problem: `the kernel does not have ${algorithm.name} (${algorithm.kernel}): ${someOf(children)} offers its other suites only`,
    fix: `modprobe ${modulesText([algorithm])} and restart, or use dataplane: engine`,
  }));
}

function someOf(names: readonly string[]): string {
  return names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
}

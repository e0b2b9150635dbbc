// What is checked of a tunnel to another implementation, whoever protects the packets: establishing in both roles, traffic,
// rekeys under traffic, deletion. One row of results a check.

import {
  type By,
  deleted,
  establish,
  installed,
  type Rekeyed,
  rekeyOnce,
  shown,
  signedWith,
} from './acts.ts';
import type { Peer } from './peers/peer.ts';
import type { StrongswanTunnel } from './peers/strongswan-conf.ts';
import type { Site } from './site.ts';
import { demand, outcomeOf } from './steps.ts';
import { ourFile, theirTunnel } from './suite-ends.ts';
import { passes, underTraffic } from './suite-traffic.ts';
import { besides } from './ways.ts';

export interface Suite {
  name: string;
  feature?: string;
  outer: 4 | 6;
  /** Of the protected networks; 4 where nothing is said. */
  inner?: 4 | 6;
  /** Several, in order of preference, with a comma between them. */
  ike: string;
  esp: string;
  /** Then `esp` is a suite of AH. */
  protocol?: 'ah';
  /** Between the gateways themselves, all of it or GRE alone. */
  transport?: true | 'gre';
  /** Route-based here and there: an interface of ours, a VTI of theirs. */
  route?: true;
  /** Transport mode, with a translator before each gateway. */
  translated?: true;
  /** Of the child; what the laboratory uses where nothing is said. */
  encapsulation?: 'udp' | 'auto';
  /** It names a group that only `legacy` lets be named. */
  legacy?: true;
  /** Its SAs are rekeyed, too. */
  rekeys?: true;
  /** How strongSwan shows the child; unchecked where nothing is said. */
  shown?: string;
  /** Of our tunnel: keys of the configuration beside or instead of the usual ones. */
  ours?: Record<string, unknown>;
  /** What the peer signs with, by our name. */
  scheme?: string;
  /** Of their tunnel, beside or instead of what follows from ours. */
  theirs?: Partial<StrongswanTunnel>;
}

export interface Result {
  peer: string;
  /** What of ours it is about: a row of docs/interop.md. */
  feature: string;
  dataplane: 'engine' | 'xfrm';
  /** `neither` where there is no IKE. */
  role: 'initiator' | 'responder' | 'neither';
  suite: string;
  check: string;
  result: 'pass' | 'fail';
  detail: string;
}

export type Role = Exclude<Result['role'], 'neither'>;

export interface ChecksOptions {
  site: Site;
  peer: Peer;
  peerName: string;
  /** Of a suite that has none of its own. */
  feature: string;
  dataplane: Result['dataplane'];
  encapsulation: 'esp' | 'auto';
  psk: string;
  /** Of each stream under a rekey, packets per second. */
  rate: number;
  /** Hears every result. */
  tell: (result: Result) => void;
}

const REKEYS = 3;

export type Checks = ReturnType<typeof createChecks>;

export function createChecks(options: ChecksOptions) {
  const { site, peer, peerName, dataplane, psk } = options;
  const results: Result[] = [];

  /** What a check found, or throws with what was wrong. */
  async function check(role: Role, suite: Suite, name: string, run: () => Promise<string>): Promise<void> {
    const { feature = options.feature } = suite;
    const common = { peer: peerName, feature, dataplane, role, suite: suite.name, check: name };
    const result: Result = { ...common, ...(await outcomeOf(run)) };
    results.push(result);
    options.tell(result);
  }

  const checks = {
    results,
    check,
    configure: (suite: Suite) => site.configure(ourFile(suite, site.folder, options)),
    theirs: (suite: Suite, changed?: Partial<StrongswanTunnel>) => theirTunnel(suite, psk, changed),
    establish: (role: Role) => establish(options, role),
    installed: () => installed(site),
    passes,
    deleted: (role: Role) => deleted(options, role),
    underTraffic: (suite: Suite, act: () => Promise<void>) => underTraffic(suite, options.rate, act),
    rekeyOnce: (what: Rekeyed, by: By) => rekeyOnce(options, what, by),
  };

  async function rekeys(suite: Suite): Promise<void> {
    for (const by of ['us', 'them'] as const) {
      for (const what of ['child', 'IKE SA'] as const) {
        await check('initiator', suite, `${REKEYS} rekeys ${what} by ${by}`, () =>
          checks.underTraffic(suite, async () => {
            for (let i = 0; i < REKEYS; i++) await checks.rekeyOnce(what, by);
          }),
        );
      }
    }
  }

  async function oneRole(role: Role, suite: Suite): Promise<void> {
    await check(role, suite, 'established', async () => {
      await establish(options, role);
      const { vendor } = await site.tunnel('office');
      demand(vendor === peer.vendor, `the peer is taken for ${vendor}`);
      if (peer.vendor === 'strongSwan') await shown(peer, suite);
      if (suite.scheme !== undefined) await signedWith(site, suite.scheme);
      return `IKE_SA_INIT, IKE_AUTH, ${vendor} by its vendor id`;
    });
    await check(role, suite, 'ping, TCP', () => passes(suite));
    if (suite.rekeys && role === 'initiator') await rekeys(suite);
    await check(role, suite, 'deleted', () => deleted(options, role));
  }

  /** Both roles of one suite, from the first message to the last. */
  async function wholeSuite(suite: Suite): Promise<void> {
    const beside = besides(suite);
    beside.open();
    checks.configure(suite);
    await site.start();
    await peer.configure(checks.theirs(suite));
    for (const role of ['initiator', 'responder'] as const) await oneRole(role, suite);
    await site.kill('SIGTERM');
    beside.close();
  }

  return { ...checks, wholeSuite };
}

export function resultLine({ dataplane, role, suite, check: name, result, detail }: Result): string {
  const columns = [result.padEnd(4), dataplane.padEnd(6), role.padEnd(9), suite.padEnd(41), name.padEnd(22)];
  return `${columns.join('  ')}  ${detail.replace(/\n/g, ' ').slice(0, 400)}`;
}

/** The last line that the sentence fits. */
export function sentenceIn(output: string, sentence: RegExp): string {
  const found = output.split('\n').findLast((one) => sentence.test(one));
  demand(found !== undefined, `no sentence that fits ${sentence}: ${output}`);
  return found.trim();
}

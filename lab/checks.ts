// What is checked of a tunnel to another implementation, whoever protects the packets: establishing in both roles, traffic,
// rekeys under traffic, deletion. One row of results a check.

import { dropsSince, kernelDrops } from './drops.ts';
import type { Peer } from './peers/peer.ts';
import type { StrongswanTunnel } from './peers/strongswan-conf.ts';
import { type Answer, pause, type Site } from './site.ts';
import { type Numbered, ping, startNumbered, tcpTransfer, unanswered } from './traffic.ts';
import { besides, linkedBy, OUTER, type Way, wayOf } from './ways.ts';

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

type Role = Exclude<Result['role'], 'neither'>;

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
const TRANSFER = 4 << 20; // bytes of TCP each way: some thousand packets

export type Checks = ReturnType<typeof createChecks>;

export function createChecks(options: ChecksOptions) {
  const { site, peer, peerName, dataplane, psk } = options;
  const results: Result[] = [];

  function configure(suite: Suite): void {
    const { outer, ike, esp, legacy, encapsulation, protocol, transport, route, ours } = suite;
    const { local, remote } = wayOf(suite);
    const [address, peerAddress] = OUTER[outer];
    const office = {
      peer: peerAddress,
      auth: { psk: { file: `${site.folder}/office.psk` } },
      ...(route ? { mode: 'route', interface: { routes: remote } } : { local, remote }),
      start: 'wait',
      encapsulation: encapsulation ?? options.encapsulation,
      'ike-suites': ike.split(', '),
      ...(protocol ? { protocol, 'ah-suites': [esp] } : { 'esp-suites': [esp] }),
      ...(transport ? { transport: true } : {}),
      legacy: legacy === true,
      rehearsal: false,
      ...ours,
    };
    // JSON is YAML.
    site.configure(
      JSON.stringify({ gateway: { name: 'a', address, dataplane }, tunnels: { office } }, null, 2),
    );
  }

  function theirs(suite: Suite, changed: Partial<StrongswanTunnel> = {}): StrongswanTunnel {
    const [remoteAddress, localAddress] = OUTER[suite.outer];
    const { local, remote } = wayOf(suite);
    return {
      localAddress,
      remoteAddress,
      psk,
      ...(suite.route ? linkedBy(suite) : { local: remote, remote: local }),
      ...(suite.protocol ? { protocol: suite.protocol } : {}),
      ...(suite.transport ? { transport: true } : {}),
      ike: suite.ike.split(', '),
      esp: [suite.esp],
      ...suite.theirs,
      ...changed,
    };
  }

  /** What a check found, or throws with what was wrong. */
  async function check(role: Role, suite: Suite, name: string, run: () => Promise<string>): Promise<void> {
    const { feature = options.feature } = suite;
    const common = { peer: peerName, feature, dataplane, role, suite: suite.name, check: name };
    let result: Result;
    try {
      result = { ...common, result: 'pass', detail: await run() };
    } catch (error) {
      result = { ...common, result: 'fail', detail: error instanceof Error ? error.message : String(error) };
    }
    results.push(result);
    options.tell(result);
  }

  async function establish(role: Role): Promise<void> {
    if (role === 'initiator') obeyed(await site.command('up', 'office'));
    else {
      const { status, output } = await peer.initiate();
      demand(status === 0, `not established: ${output.trim().split('\n').at(-1)}`);
    }
    await installed();
  }

  /** What the peer has, or what was promised, our data plane has a moment later; until then it drops (`start: wait`). */
  async function installed(): Promise<void> {
    for (let attempt = 0; (await site.tunnel('office')).children.length === 0; attempt++) {
      demand(attempt < 40, 'the child is not there');
      await pause(50);
    }
  }

  /** strongSwan says that a child is there a moment before its data plane lets anything through. */
  async function open({ ours, theirs }: Way): Promise<void> {
    const before = kernelDrops();
    for (let attempt = 0; (await ping(ours.namespace, theirs.address, 1)) === 0; attempt++) {
      demand(attempt < 5, `no ping answered; ${dropsSince(before)}`);
    }
  }

  async function signedWith(scheme: string): Promise<void> {
    const sas: { peer?: { scheme: string } }[] = JSON.parse(
      (await site.isthmus('show', 'sa', '--json')).output,
    );
    demand(
      sas.length > 0 && sas.every(({ peer: by }) => by?.scheme === scheme),
      `not by ${scheme}: ${JSON.stringify(sas)}`,
    );
  }

  async function shown(suite: Suite): Promise<void> {
    const listed = await peer.sas();
    demand(listed.includes(suite.shown ?? ''), `strongSwan does not show ${suite.shown}: ${listed}`);
  }

  async function passes(suite: Suite): Promise<string> {
    const way = wayOf(suite);
    const { ours, theirs } = way;
    await open(way);
    const there = await unanswered(ours.namespace, theirs.address, 10);
    const back = await unanswered(theirs.namespace, ours.address, 10);
    demand(
      there.length + back.length === 0,
      `of 10 pings of each side not answered: ${there.join(' ') || 'none'}, and ${back.join(' ') || 'none'}`,
    );
    await tcpTransfer(ours.namespace, theirs.namespace, theirs.address, TRANSFER);
    await tcpTransfer(ours.namespace, theirs.namespace, theirs.address, TRANSFER, true);
    return `20 of 20 pings, ${TRANSFER >> 20} MB by TCP each way`;
  }

  async function deleted(role: Role): Promise<string> {
    const { output } =
      role === 'initiator' ? { output: (await site.command('down', 'office')).code } : await peer.terminate();
    for (let attempt = 0; attempt < 40; attempt++) {
      const listed = await peer.sas();
      if (listed === '' && (await site.tunnel('office')).state === 'down') return 'gone on both sides';
      await pause(50);
    }
    throw new Error(`still there: ${output}`);
  }

  async function underTraffic(suite: Suite, act: () => Promise<void>): Promise<string> {
    const { ours: here, theirs: there } = wayOf(suite);
    const streams = await Promise.all([
      startNumbered(here.namespace, there.namespace, there.address, 7101, options.rate),
      startNumbered(there.namespace, here.namespace, here.address, 7102, options.rate),
    ]);
    await pause(200);
    const before = kernelDrops();
    await act();
    await pause(300);
    const counted: Numbered[] = [];
    for (const stream of streams) counted.push(await stream.stop());
    const [ours, theirs] = counted.map(({ lost }) => lost);
    const sent = sum(counted.map((one) => one.sent));
    const which = counted.map(({ missing, sent: all }) => `${missing.join(' ')} of ${all}`).join('; ');
    demand(
      ours === 0 && theirs === 0,
      `of ${sent} packets ${ours} of ours and ${theirs} of theirs lost: ${which}; ${dropsSince(before)}`,
    );
    return `none of ${sent} packets lost`;
  }

  async function rekeys(suite: Suite): Promise<void> {
    for (const by of ['us', 'them'] as const) {
      for (const what of ['child', 'IKE SA'] as const) {
        await check('initiator', suite, `${REKEYS} rekeys ${what} by ${by}`, () =>
          underTraffic(suite, async () => {
            for (let i = 0; i < REKEYS; i++) await rekeyOnce(what, by);
          }),
        );
      }
    }
  }

  async function rekeyOnce(what: 'child' | 'IKE SA', by: 'us' | 'them'): Promise<void> {
    const before = await peer.generation(what);
    await rekey(what, by);
    for (let attempt = 0; (await peer.generation(what)) === before; attempt++) {
      demand(attempt < 40, `the ${what} is the same as before`);
      await pause(50);
    }
    await pause(150);
  }

  async function rekey(what: 'child' | 'IKE SA', by: 'us' | 'them'): Promise<void> {
    if (by === 'us')
      return obeyed(await site.command('rekey', 'office', what === 'child' ? 'office' : undefined));
    const { status, output } = await peer.rekey(what);
    demand(status === 0, output);
  }

  /** Both roles of one suite, from the first message to the last. */
  async function wholeSuite(suite: Suite): Promise<void> {
    const beside = besides(suite);
    beside.open();
    configure(suite);
    await site.start();
    await peer.configure(theirs(suite));
    for (const role of ['initiator', 'responder'] as const) {
      await check(role, suite, 'established', async () => {
        await establish(role);
        const { vendor } = await site.tunnel('office');
        demand(vendor === peer.vendor, `the peer is taken for ${vendor}`);
        if (peer.vendor === 'strongSwan') await shown(suite);
        if (suite.scheme !== undefined) await signedWith(suite.scheme);
        return `IKE_SA_INIT, IKE_AUTH, ${vendor} by its vendor id`;
      });
      await check(role, suite, 'ping, TCP', () => passes(suite));
      if (suite.rekeys && role === 'initiator') await rekeys(suite);
      await check(role, suite, 'deleted', () => deleted(role));
    }
    await site.kill('SIGTERM');
    beside.close();
  }

  return {
    results,
    configure,
    theirs,
    check,
    establish,
    installed,
    passes,
    deleted,
    underTraffic,
    rekeyOnce,
    wholeSuite,
  };
}

export function resultLine({ dataplane, role, suite, check: name, result, detail }: Result): string {
  const columns = [result.padEnd(4), dataplane.padEnd(6), role.padEnd(9), suite.padEnd(41), name.padEnd(22)];
  return `${columns.join('  ')}  ${detail.replace(/\n/g, ' ').slice(0, 400)}`;
}

function obeyed({ code, sentence }: Answer): void {
  demand(code === 'OK', `${sentence} [${code}]`);
}

/** The last line that the sentence fits. */
export function sentenceIn(output: string, sentence: RegExp): string {
  const found = output.split('\n').findLast((one) => sentence.test(one));
  demand(found !== undefined, `no sentence that fits ${sentence}: ${output}`);
  return found.trim();
}

export function demand(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}

// What goes wrong on real machines, done on purpose: each must end in a sentence that says what to do, and lose nothing
// that was running. `-- --json` prints an array of `{check, result, detail}`.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isolate } from './isolate.ts';
import { build, type Finished, run, runAsync, start } from './netns.ts';
import { createSite, type Site } from './site.ts';
import { createSteps, demand } from './steps.ts';
import { ping } from './traffic.ts';
import { TWO_SITES } from './two-sites.ts';

isolate();

const PSK = randomBytes(24).toString('base64url');
const ISTHMUS = [process.execPath, '--disable-warning=ExperimentalWarning', 'src/cli/isthmus.ts'];
const OUR_FAULT = 5;
const { check: fault, finish } = createSteps(34);

const a: Site = createSite('gw-a', { 'office.psk': PSK });
const b: Site = createSite('gw-b', { 'office.psk': PSK });

function configuration(
  site: Site,
  own: string,
  peer: string,
  local: string,
  remote: string,
  more = '',
): string {
  return `gateway: { name: ${site.namespace}, address: ${own} }
tunnels:
  office: { peer: ${peer}, auth: { psk: { file: ${site.folder}/office.psk } }, local: ${local}, remote: ${remote} }
${more}`;
}

const GOOD = configuration(a, '192.0.2.1', '198.51.100.1', '10.1.0.0/16', '10.2.0.0/16');

const NO_CAPABILITIES: [string, ...string[]] = [
  'setpriv',
  '--bounding-set=-all',
  '--inh-caps=-all',
  '--reuid=0',
  '--clear-groups',
];
const NO_ESP = /the kernel has no (XFRM|ESP|algorithm for ESP).*: modprobe .*esp4 esp6/;

/** Asked by another program than ours. */
function kernelDoesEsp(): boolean {
  const sa =
    'src 127.0.0.1 dst 127.0.0.1 proto esp spi 0x777 mode tunnel enc ecb(cipher_null) 0x auth hmac(sha1) 0x11';
  const { status } = spawnSync('ip', ['-n', 'gw-a', 'xfrm', 'state', 'add', ...sa.split(' ')]);
  if (status === 0)
    spawnSync('ip', [
      '-n',
      'gw-a',
      'xfrm',
      'state',
      'delete',
      'dst',
      '127.0.0.1',
      'proto',
      'esp',
      'spi',
      '0x777',
    ]);
  return status === 0;
}

/** The command fails with this exit code and a sentence, not with a stack. */
function says({ status, output }: Finished, code: number, sentence: RegExp): string {
  demand(status === code, `exit ${status}, expected ${code}: ${output}`);
  demand(sentence.test(output) && status !== OUR_FAULT && !/^\s+at /m.test(output), `it said: ${output}`);
  return output.split('\n').find((line) => sentence.test(line)) ?? output;
}

/** `isthmus run` in gw-a, which is expected to end by itself; `prefix` changes its surroundings. */
function runOnce(...prefix: string[]): Promise<Finished> {
  const file = `${a.folder}/isthmus.yaml`;
  return runAsync(
    'gw-a',
    'timeout',
    '10',
    ...prefix,
    ...ISTHMUS,
    'run',
    file,
    '--socket',
    `${a.folder}/once.sock`,
  );
}

/** With something mounted over a folder, in a mount namespace of its own. */
function hiding(folder: string): string[] {
  return ['unshare', '--mount', 'sh', '-c', `mount -t tmpfs tmpfs ${folder} && exec "$@"`, 'sh'];
}

async function passing(): Promise<void> {
  const answered = await ping('host-a', '10.2.0.10', 5);
  demand(answered === 5, `${answered} of 5 pings answered`);
}

async function beforeItRuns(): Promise<void> {
  a.configure(GOOD);
  await fault('port in use', async () => {
    const holder = start('gw-a', [
      process.execPath,
      '-e',
      "require('dgram').createSocket('udp4').bind(500,'192.0.2.1',()=>console.log('bound'))",
    ]);
    await new Promise((resolve) => holder.stdout!.once('data', resolve));
    const detail = says(await runOnce(), 3, /UDP port 500.*in use.*stop the other IKE daemon/);
    holder.kill('SIGKILL');
    return detail;
  });
  await fault('no permission', async () => says(await runOnce(...NO_CAPABILITIES), 3, /permi|CAP_NET_ADMIN/));
  await fault('no TUN', async () => says(await runOnce(...hiding('/dev/net')), 3, /tun.*modprobe tun/i));
  await fault('addon not built', async () => {
    const finished = await runOnce(...hiding('native/build'));
    return says(finished, 3, /addon is not built; build it: make -C/);
  });
  await fault('dataplane: xfrm without ESP in the kernel', async () => {
    if (kernelDoesEsp()) return 'not tried: this kernel has ESP';
    a.configure(GOOD.replace('192.0.2.1 }', '192.0.2.1, dataplane: xfrm }'));
    const file = `${a.folder}/isthmus.yaml`;
    const standing = () => [run('gw-a', 'ip', 'link'), run('gw-a', 'ip', 'rule')].join('\n');
    const before = standing();
    const checked = await runAsync('gw-a', 'env', ...ISTHMUS, 'check', file);
    says(checked, 3, NO_ESP);
    const detail = says(await runOnce(), 3, NO_ESP);
    demand(standing() === before, `left behind: ${standing()}`);
    return detail;
  });
  await fault('dataplane: xfrm without permission', async () =>
    says(await runOnce(...NO_CAPABILITIES), 3, /CAP_NET_ADMIN/),
  );
  await fault('dataplane: auto without ESP in the kernel', async () => {
    if (kernelDoesEsp()) return 'not tried: this kernel has ESP';
    a.configure(GOOD.replace('192.0.2.1 }', '192.0.2.1, dataplane: auto }'));
    await a.start();
    const { dataplane, dataplaneWhy } = JSON.parse((await a.isthmus('status', '--json')).output);
    await a.kill('SIGTERM');
    demand(dataplane === 'engine' && NO_ESP.test(dataplaneWhy), `${dataplane}: ${dataplaneWhy}`);
    return `engine, because ${dataplaneWhy}`;
  });
  await fault('address of another machine', async () => {
    a.configure(GOOD.replace('192.0.2.1', '192.0.2.77'));
    return says(await runOnce(), 3, /gateway\.address is not an address of this machine/);
  });
  await fault('a kernel that refuses a route', async () => {
    run('gw-a', 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1');
    a.configure(configuration(a, '192.0.2.1', '198.51.100.1', 'fd01::/64', 'fd02::/64'));
    const detail = says(await runOnce(), 3, /IPv6 is switched off.*sysctl/);
    return detail;
  });
}

async function whileItRuns(): Promise<void> {
  a.configure(GOOD);
  b.configure(configuration(b, '198.51.100.1', '192.0.2.1', '10.2.0.0/16', '10.1.0.0/16'));
  await Promise.all([a.start(), b.start()]);
  await a.isthmus('up', 'office');
  await passing();
  const state = async () => JSON.parse((await a.isthmus('status', '--json')).output);

  await fault('reload of a broken file', async () => {
    a.configure(`${GOOD}  second: { peer: 256.1.1.1, lokal: 10.9.0.0/16 }\n`);
    const detail = says(await a.isthmus('reload'), 2, /unknown key lokal; did you mean local/);
    await passing();
    return detail;
  });
  await fault('reload that the kernel refuses', async () => {
    const psk = `{ psk: { file: ${a.folder}/office.psk } }`;
    a.configure(`${GOOD}  six: { peer: 198.51.100.1, auth: ${psk}, local: fd01::/64, remote: fd02::/64 }\n`);
    const detail = says(await a.isthmus('reload'), 2, /IPv6 is switched off.*sysctl/);
    await passing();
    const { tunnels } = await state();
    demand(tunnels.length === 1, 'the new tunnel is there all the same');
    a.configure(GOOD);
    return detail;
  });
  await fault('secret removed while in use', async () => {
    const file = `${a.folder}/office.psk`;
    rmSync(file);
    const detail = says(await a.isthmus('reload'), 2, /isthmus\.yaml:3:\d+: .*office\.psk/);
    const { status, output } = await a.isthmus('rekey', 'office');
    demand(status === 0, output);
    await passing();
    writeFileSync(file, `${PSK}\n`, { mode: 0o600 });
    return detail;
  });
  await fault('a second daemon', async () => {
    const detail = says(await runOnce(), 3, /another isthmus daemon runs/);
    await passing();
    return detail;
  });
  await fault('unknown tunnel', async () =>
    says(await a.isthmus('up', 'nowhere'), 1, /no tunnel of that name/),
  );
  await fault('flush under a running daemon', async () => says(await a.isthmus('flush'), 2, /stop it first/));
  await fault('garbage on both ports', async () => {
    const sent = await garbage();
    await passing();
    const { tunnels } = await state();
    demand(tunnels[0].state === 'passing', JSON.stringify(tunnels));
    const lines = a.log().split('\n').length;
    demand(lines < 100, `${lines} lines in the log after ${sent} datagrams`);
    return `${sent} datagrams, the tunnel passes, ${lines} lines in the log`;
  });
  await fault('memory', async () => {
    const kilobytes = Number(
      /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${(await state()).pid}/status`, 'utf8'))?.[1],
    );
    // Some 30 MB of it is what Node needs to run TypeScript as it stands; the built package does without.
    demand(kilobytes < 136 * 1024, `${kilobytes} kB`);
    return `${Math.round(kilobytes / 1024)} MB resident with one tunnel`;
  });
  await fault('killed: nothing leaves in the clear', async () => {
    await a.kill('SIGKILL');
    const answered = await ping('host-a', '10.2.0.10', 3);
    const dropped = run('gw-a', 'nft', 'list', 'counter', 'inet', 'isthmus', 'out');
    demand(answered === 0, `${answered} pings answered without a daemon`);
    demand(existsSync('/run/lab'), 'the laboratory is gone');
    return `no answer, guards stand: ${dropped.replace(/\s+/g, ' ').slice(0, 80)}`;
  });
  await fault('no daemon', async () =>
    says(await a.isthmus('status'), 4, /no daemon answers on .*isthmus run FILE/),
  );
  await fault('flush', async () => {
    const detail = says(await a.isthmus('flush'), 0, /\d+ objects removed/);
    const left = [
      run('gw-a', 'nft', 'list', 'ruleset'),
      run('gw-a', 'ip', 'rule'),
      run('gw-a', 'ip', 'route', 'show', 'table', 'all'),
      run('gw-a', 'ip', 'link'),
    ].join('\n');
    demand(!/isthmus|450[01]/.test(left), `left behind: ${left}`);
    return detail;
  });
  await b.kill('SIGTERM');
}

/** Random bytes of every length, and headers that begin like IKE, at both ports of gw-a. */
function garbage(): Promise<number> {
  const script = `
    const { createSocket } = require('dgram');
    const { randomBytes, randomInt } = require('crypto');
    const socket = createSocket('udp4');
    const COUNT = 20000;
    let sent = 0;
    const one = () => {
      if (sent === COUNT) return setTimeout(() => { console.log(sent); process.exit(0); }, 200);
      const bytes = randomBytes(randomInt(0, 1400));
      if (sent % 2 && bytes.length > 40) {
        const at = sent % 4 === 1 ? 0 : 4;
        if (at) bytes.fill(0, 0, 4);
        bytes[at + 17] = 0x20; bytes[at + 18] = 34 + sent % 5; bytes[at + 19] = sent % 3 ? 8 : 0x20;
        bytes.writeUInt32BE(bytes.length - at, at + 24);
      }
      socket.send(bytes, sent++ % 2 ? 4500 : 500, '192.0.2.1', sent % 50 ? one : () => setTimeout(one, 1));
    };
    one();`;
  const sender = start('internet', [process.execPath, '-e', script]);
  return new Promise((resolve, reject) => {
    sender.stdout!.once('data', (chunk) => resolve(Number(chunk)));
    sender.stderr!.once('data', (chunk) => reject(new Error(`the sender failed: ${chunk}`)));
  });
}

try {
  build(TWO_SITES);
  writeFileSync(`${a.folder}/isthmus.yaml`, GOOD);
  await beforeItRuns();
  await whileItRuns();
} catch (error) {
  console.error(`the laboratory failed: ${error instanceof Error ? error.stack : error}\n${a.log()}`);
  process.exit(1);
}
finish('faults end as they should');

// ML-KEM beside the usual groups: what the defaults become with a peer that has none, and two of ours with tshark as the witness.

import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Suite, sentenceIn } from '../checks.ts';
import { createSite, pause, type Site } from '../site.ts';
import { demand } from '../steps.ts';
import { ping } from '../traffic.ts';
import { capture, readCapture, readCodes } from '../tshark.ts';
import type { Group, Lab } from './group.ts';

/** No suites named: ML-KEM is offered first. */
const DEFAULTS: Suite = {
  name: 'defaults, strongSwan without ML-KEM',
  outer: 4,
  ike: '',
  esp: '',
  ours: { 'ike-suites': undefined, 'esp-suites': undefined },
  theirs: { ike: ['aes-gcm-16-256 / prf-hmac-sha2-256 / x25519'], esp: ['aes-gcm-16-256 / x25519'] },
};

const PPK_ID = 'office-2026';
const CLASSICAL = 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519';
const SUITES = [
  `${CLASSICAL} + ml-kem-768`,
  `${CLASSICAL} + ml-kem-1024`,
  `${CLASSICAL} + ml-kem-512 + x448`,
  'aes-cbc-256 / hmac-sha2-256-128 / prf-hmac-sha2-256 / ecp-384 + ml-kem-768',
];

export const postQuantum: Group = {
  name: 'post-quantum',
  async run(lab) {
    await fallsBack(lab);
    await lab.peer.stop();
    for (const suite of lab.short ? SUITES.slice(0, 1) : SUITES) await witnessed(lab, suite, false);
    for (const suite of lab.short ? [] : SUITES.slice(0, 1)) await witnessed(lab, suite, true);
    await lab.peer.start();
  },
};

async function fallsBack(lab: Lab): Promise<void> {
  const { site, peer, configure, theirs, check, establish, passes, rekeyOnce, deleted } = lab;
  configure(DEFAULTS);
  await site.start();
  await peer.configure(theirs(DEFAULTS));
  for (const role of ['initiator', 'responder'] as const) {
    await check(role, DEFAULTS, 'classical, and told', async () => {
      const before = site.log().length;
      await establish(role);
      const { algorithms, postQuantum } = await site.tunnel('office');
      demand(postQuantum === false, `status says post-quantum of ${algorithms}`);
      sentenceIn(site.log().slice(before), /\[IKE_CLASSICAL\]/);
      return `${algorithms}, IKE_CLASSICAL; ${await passes(DEFAULTS)}`;
    });
    await check(role, DEFAULTS, 'rekeys', async () => {
      for (const by of ['us', 'them'] as const)
        for (const what of ['IKE SA', 'child'] as const) await rekeyOnce(what, by);
      return `each SA by each side; ${await passes(DEFAULTS)}`;
    });
    await check(role, DEFAULTS, 'deleted', () => deleted(role));
  }
  await site.kill('SIGTERM');
}

/** Two of ours; what tshark opens with our keys. */
async function witnessed(lab: Lab, suite: string, ppk: boolean): Promise<void> {
  const { site, check } = lab;
  const psk = readFileSync(join(site.folder, 'office.psk'), 'utf8').trim();
  const secret = randomBytes(32).toString('base64url');
  const other = createSite('gw-b', { 'office.psk': psk, 'office.ppk': secret });
  writeFileSync(join(site.folder, 'office.ppk'), secret, { mode: 0o600 });
  const [keys, file] = [join(site.folder, 'keys'), join(site.folder, 'capture.pcapng')];
  configureBoth(site, other, suite, ppk);
  await Promise.all([site.start('--export-keys', keys), other.start()]);
  const row: Suite = {
    name: ppk ? `${suite}, PPK` : suite,
    outer: 4,
    ike: suite,
    esp: '',
  };
  await check('initiator', row, 'two of ours, tshark opens', async () => {
    const running = await capture('gw-a', 'wan', file);
    const { code, sentence } = await site.command('up', 'office');
    demand(code === 'OK', `${sentence} [${code}]`);
    const { algorithms, postQuantum, ppk: id } = await site.tunnel('office');
    demand(postQuantum === true && algorithms === suite, `the SA has ${algorithms}`);
    demand(id === (ppk ? PPK_ID : undefined), `status names the PPK ${id}`);
    demand((await ping('host-a', '10.2.0.10', 5)) === 5, 'pings are lost');
    await site.command('rekey', 'office');
    await site.command('rekey', 'office', 'office');
    demand((await ping('host-a', '10.2.0.10', 5)) === 5, 'pings are lost after the rekeys');
    await site.command('down', 'office');
    await pause(300);
    await running.stop();
    return `${ppk ? 'a PPK, ' : ''}${judged(file, keys, suite)}`;
  });
  await Promise.all([site.kill('SIGTERM'), other.kill('SIGTERM')]);
  // Guards outlive their daemon, and the next in that namespace is strongSwan.
  await other.isthmus('flush');
  rmSync(keys, { recursive: true });
  rmSync(file);
}

function configureBoth(site: Site, other: Site, suite: string, ppk: boolean): void {
  const common = {
    'ike-suites': [suite],
    // Wireshark 4.0 cannot be told the upper half of extended numbers.
    'esp-suites': ['aes-gcm-16-256 / x25519 + ml-kem-768 / no-esn'],
    start: 'wait',
    'post-quantum': 'required',
  };
  const write = (one: Site, name: string, address: string, tunnel: Record<string, unknown>) => {
    const auth = { psk: { file: join(one.folder, 'office.psk') } };
    const held = ppk ? { ppk: { id: PPK_ID, file: join(one.folder, 'office.ppk') } } : {};
    const office = { ...common, auth, ...held, ...tunnel };
    one.configure(JSON.stringify({ gateway: { name, address }, tunnels: { office } }, null, 2));
  };
  write(site, 'a', '192.0.2.1', { peer: '198.51.100.1', local: '10.1.0.0/16', remote: '10.2.0.0/16' });
  write(other, 'b', '198.51.100.1', { peer: '192.0.2.1', local: '10.2.0.0/16', remote: '10.1.0.0/16' });
}

/**
 * After each additional key exchange an IKE SA has other keys under the same SPIs, and Wireshark's table holds one row for
 * them: it is asked once for each generation of keys, and each message is opened by one of them.
 */
function judged(file: string, keys: string, suite: string): string {
  const rounds = generations(join(keys, 'ikev2_decryption_table'));
  const seen = rounds.map((rows, index) => {
    const folder = join(keys, `generation-${index}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'ikev2_decryption_table'), `${rows.join('\n')}\n`);
    writeFileSync(join(folder, 'esp_sa'), readFileSync(join(keys, 'esp_sa')));
    return { ...readCapture(file, folder), ...readCodes(file, folder) };
  });
  const exchanges = suite.split('+').length - 1;
  demand(
    rounds.length === exchanges + 1,
    `${rounds.length} generations of keys, and ${exchanges} further exchanges`,
  );
  const opened = seen.flatMap(({ right }) => right);
  const { all, esp, good } = seen.at(-1)!;
  demand(
    opened.length === all.length && new Set(opened).size === all.length,
    `${opened} of ${all} have the right code`,
  );
  demand(
    seen.every(({ right }) => right.length >= 2),
    `of each generation of keys there are messages: ${seen.map(({ right }) => right.length)}`,
  );
  demand(esp >= 20 && good === esp, `${good} of ${esp} ESP packets have the right code`);
  return `${exchanges} exchanges more; ${opened.length} IKE messages under ${rounds.length} generations of keys, ${good} ESP packets, every code right`;
}

/** The rows of the table: of each pair of SPIs the first, then the second; SAs with fewer are in the last round. */
function generations(table: string): string[][] {
  const bySpis = new Map<string, string[]>();
  for (const row of readFileSync(table, 'utf8').trim().split('\n')) {
    const spis = row.split(',').slice(0, 2).join();
    bySpis.set(spis, [...(bySpis.get(spis) ?? []), row]);
  }
  const most = Math.max(...[...bySpis.values()].map((rows) => rows.length));
  return Array.from({ length: most }, (_, round) =>
    [...bySpis.values()].flatMap((rows) => rows[round - (most - rows.length)] ?? []),
  );
}

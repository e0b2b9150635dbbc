// A kernel without the module of an algorithm: `isthmus check` and the start name what is missing and what to do. `npm run modules`;
// `-- --json` prints an array of `{check, result, detail}`; in user-mode Linux, or with `--guest qemu` in a Debian kernel whose modprobe
// is told to refuse the module. Ends with the guest, so that nothing needs to be put back.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { enterChosenGuest } from './choose-guest.ts';
import { insideGuest } from './guest.ts';
import { build, type Finished, run } from './netns.ts';
import { createSite } from './site.ts';
import { createSteps, demand } from './steps.ts';
import { TWO_SITES } from './two-sites.ts';

await enterChosenGuest(true);

const MODULE = 'chacha20poly1305';
const ALGORITHM = 'chacha20-poly1305';
const { check: step, whole } = createSteps(56);
const site = createSite('gw-a', { psk: randomBytes(24).toString('base64url') });
const FILE = `${site.folder}/isthmus.yaml`;

function configure(dataplane: 'xfrm' | 'auto', suites: string): void {
  site.configure(`gateway: { name: gw-a, address: 192.0.2.1, dataplane: ${dataplane} }
tunnels:
  office:
    peer: 198.51.100.1
    auth: { psk: { file: psk } }
    local: 10.1.0.0/16
    remote: 10.2.0.0/16
    esp-suites: [${suites}]
    start: wait
`);
}

/** Keeps the module from the kernel, and gives the way to have it again. */
function withhold(): () => void {
  const modprobe = (...words: string[]) => execFileSync('modprobe', ['-d', '/run/modules', ...words]);
  if (insideGuest() !== 'qemu') {
    modprobe('-r', MODULE);
    return () => modprobe(MODULE);
  }
  const file = '/run/modprobe.d/lab.conf';
  mkdirSync('/run/modprobe.d', { recursive: true });
  writeFileSync(file, `install ${MODULE} /bin/false\n`);
  return () => rmSync(file);
}

const check = () => site.isthmus('check', FILE);

/** The command ends with that code and says so. */
function says({ status, output }: Finished, code: number, sentence: RegExp): string {
  demand(status === code, `exit ${status}, expected ${code}: ${output}`);
  const line = output.split('\n').find((one) => sentence.test(one));
  demand(line !== undefined, `it said: ${output}`);
  return line.replace(/^(\S+Z \w+ +|\S+isthmus\.yaml: )/, '');
}

/** What a gateway changes on its machine. */
function standing(): string {
  return [['link'], ['rule'], ['route', 'show', 'table', 'all'], ['xfrm', 'policy'], ['xfrm', 'state']]
    .map((words) => run('gw-a', 'ip', ...words))
    .join('\n');
}

const ONLY = new RegExp(
  `office/office needs ${ALGORITHM}, which the kernel does not have: modprobe ${MODULE}, or use dataplane: engine`,
);
const OTHERS = new RegExp(
  `the kernel does not have ${ALGORITHM} .*: office/office offers its other suites only; to mend it: modprobe ${MODULE}`,
);

async function withoutIt(): Promise<void> {
  await step('the only suite needs it: check', async () => {
    configure('xfrm', ALGORITHM);
    return says(await check(), 3, ONLY);
  });
  await step('the only suite needs it: start', async () => {
    const before = standing();
    const detail = says(await site.isthmus('run', FILE), 3, ONLY);
    demand(standing() === before, `left behind: ${standing()}`);
    return `${detail}; nothing of ours is left`;
  });
  await step('the only suite needs it, dataplane: auto: check', async () => {
    configure('auto', ALGORITHM);
    return says(
      await check(),
      0,
      new RegExp(`data plane: engine, because .*${ALGORITHM}.*modprobe ${MODULE}`),
    );
  });
  await step('other suites are left: check', async () => {
    configure('xfrm', `aes-gcm-16-256, ${ALGORITHM}`);
    return says(await check(), 0, OTHERS);
  });
  await step('other suites are left: start', async () => {
    await site.start();
    const { status, output } = await site.isthmus('status');
    await site.kill('SIGTERM');
    demand(/data plane: xfrm/.test(output), `${status}: ${output}`);
    return says({ status: 0, output: site.log() }, 0, OTHERS);
  });
}

async function withIt(): Promise<void> {
  await step('the module is there again: check', async () => {
    configure('xfrm', ALGORITHM);
    return says(await check(), 0, /data plane: xfrm, because the configuration says so/);
  });
}

const log = () => site.log();
await whole('steps as they should be', log, async () => {
  build(TWO_SITES);
  const giveBack = withhold();
  await withoutIt();
  giveBack();
  await withIt();
});

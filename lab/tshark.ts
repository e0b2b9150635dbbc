// What tshark, which we did not write, makes of a capture when it is given our keys.

import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { start } from './netns.ts';
import { pause } from './site.ts';

export function tsharkIsMissing(): string | undefined {
  return existsSync('/usr/bin/tshark') ? undefined : 'tshark is missing: apt-get install tshark';
}

export interface Capture {
  stop(): Promise<void>;
}

/** Everything on a device of a namespace, into a file. */
export async function capture(namespace: string, device: string, file: string): Promise<Capture> {
  const dumpcap: ChildProcess = start(namespace, ['dumpcap', '-q', '-i', device, '-w', file]);
  let said = '';
  dumpcap.stderr!.on('data', (chunk) => (said += chunk));
  for (let attempt = 0; !existsSync(file) || statSync(file).size === 0; attempt++) {
    if (attempt > 100 || dumpcap.exitCode !== null) throw new Error(`dumpcap does not start: ${said}`);
    await pause(50);
  }
  return {
    async stop() {
      await written(file);
      const exited = once(dumpcap, 'exit');
      dumpcap.kill('SIGINT');
      await exited;
    },
  };
}

/** dumpcap writes late and forgets what it has not written: wait until nothing is added any more. */
async function written(file: string): Promise<void> {
  let size = -1;
  while (size !== statSync(file).size) {
    size = statSync(file).size;
    await pause(500);
  }
}

export interface Seen {
  /** IKE messages that carry an encrypted payload, and how many of them tshark opened. */
  encrypted: number;
  opened: number;
  /** ESP packets, and those whose code tshark computed to be the same. */
  esp: number;
  good: number;
  /** What was inside ESP, by protocol. */
  inner: string[];
}

/** `keys`: the folder of `--export-keys`. */
export function readCapture(file: string, keys: string): Seen {
  const fields = [
    'frame.protocols',
    'isakmp.exchangetype',
    'isakmp.enc.data',
    'isakmp.enc.decrypted',
    'esp.spi',
    'esp.icv_good',
  ];
  const { stdout, stderr, status } = spawnSync(
    'tshark',
    [
      ...['-r', file, '-T', 'fields', '-E', 'separator=;', '-o', 'esp.enable_encryption_decode:TRUE'],
      ...['-o', 'esp.enable_authentication_check:TRUE', ...fields.flatMap((name) => ['-e', name])],
    ],
    { encoding: 'utf8', maxBuffer: 1 << 26, env: { ...process.env, WIRESHARK_CONFIG_DIR: keys } },
  );
  if (status !== 0) throw new Error(`tshark: ${stderr}`);
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(';'));
  const esp = rows.filter((row) => row[4]);
  const encrypted = rows.filter((row) => row[1] && row[1] !== '34');
  return {
    encrypted: encrypted.length,
    opened: encrypted.filter((row) => row[3]).length,
    esp: esp.length,
    good: esp.filter((row) => row[5] === '1').length,
    inner: [...new Set(esp.map((row) => row[0]!.split('esp:')[1] ?? ''))],
  };
}

/** The numbers of the IKE messages behind IKE_SA_INIT, and of those among them whose code tshark finds right. */
export function readCodes(file: string, keys: string): { all: string[]; right: string[] } {
  const { stdout, stderr, status } = spawnSync('tshark', ['-r', file, '-Y', 'isakmp', '-V'], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: { ...process.env, WIRESHARK_CONFIG_DIR: keys },
  });
  if (status !== 0) throw new Error(`tshark: ${stderr}`);
  const frames = stdout.split(/^Frame /m).filter((text) => /Exchange type: (?!IKE_SA_INIT)/.test(text));
  const number = (text: string) => text.split(':')[0]!;
  const isRight = (text: string) => /Integrity Checksum Data: .*\[correct\]/.test(text);
  return { all: frames.map(number), right: frames.filter(isRight).map(number) };
}

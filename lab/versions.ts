// What stood on either side when docs/interop.md was written.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export function versions(): string[] {
  const own: { version: string } = JSON.parse(readFileSync('package.json', 'utf8'));
  const commit = output('git', 'rev-parse', '--short', 'HEAD');
  return [
    `Isthmus ${own.version}, commit ${commit}, Node.js ${process.versions.node}`,
    `strongSwan ${/[\d.]+/.exec(output('/usr/lib/ipsec/charon', '--version'))?.[0]}, its own ESP and the kernel's`,
    `libreswan ${/[\d.]+/.exec(output(...PLUTO))?.[0]}, with the kernel's ESP`,
    `Linux ${output('linux.uml', '--version').trim()} in user mode: the kernel's ESP, ours and theirs`,
  ];
}

const PLUTO = [
  'env',
  'LD_LIBRARY_PATH=.lab/libreswan/usr/lib/x86_64-linux-gnu',
  '.lab/libreswan/usr/libexec/ipsec/pluto',
  '--version',
] as const;

function output(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' }).trim();
}

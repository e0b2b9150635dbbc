// A Debian kernel in qemu, for what user-mode Linux lacks: XFRM interfaces, nftables, modules that may be missing, and netdevsim. It
// boots in some seconds and is slow, since every instruction is translated: the machine's own virtualization is not asked for.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Guest, INIT, machineLacks, SHARED } from './guest.ts';

const EMULATOR = '/usr/bin/qemu-system-x86_64';
/** scripts/setup-qemu.sh brings it. */
const ROOT = fileURLToPath(new URL('../.lab/qemu', import.meta.url));

/** What is loaded before anybody asks for it; the kernel loads the rest itself, as on any machine. */
const MODULES: Record<string, string> = {
  tun: 'its device node stands once it is loaded',
};

const COMMAND_LINE = [
  ...['console=ttyS0', 'quiet', 'loglevel=1', 'panic=-1', `then=${INIT}`, 'guest=qemu'],
  // Guards against spying processes cost half the time here, and there is nobody to guard against.
  ...['mitigations=off', 'no5lvl'],
];

/** `release`: of the kernel, as `uname -r` says it. */
export function qemuCommand(root: string, release: string): string[] {
  return [
    ...[EMULATOR, '-no-user-config', '-nodefaults', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2048'],
    ...['-kernel', `${root}/boot/vmlinuz-${release}`, '-initrd', `${root}/first-root`],
    ...['-append', COMMAND_LINE.join(' ')],
    ...shared('/', 'machine', 'readonly=on'),
    ...shared(SHARED, 'guest', 'readonly=off'),
  ];
}

/** A folder of the machine that the guest mounts by its tag, by the protocol 9P. */
function shared(path: string, tag: string, access: string): string[] {
  return ['-virtfs', `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap,${access}`];
}

/** `netdevsim`: whether that module is needed too. */
export function qemuGuest({ netdevsim = false } = {}): Guest {
  return {
    name: 'qemu',
    goal: netdevsim ? 'netdevsim' : 'qemu',
    missing: () => qemuIsMissing(netdevsim),
    library: `${ROOT}/lib/modules`,
    modules: [...Object.keys(MODULES), ...(netdevsim ? ['netdevsim'] : [])],
    boot: () => qemuCommand(ROOT, releaseIn(ROOT) ?? ''),
  };
}

function releaseIn(root: string): string | undefined {
  return existsSync(`${root}/release`) ? readFileSync(`${root}/release`, 'utf8').trim() : undefined;
}

/** Why no guest can be booted here, and what to do. */
function qemuIsMissing(netdevsim = false): string | undefined {
  if (!existsSync(EMULATOR)) return 'qemu is missing: apt-get install qemu-system-x86';
  const release = releaseIn(ROOT);
  if (release === undefined || !existsSync(`${ROOT}/first-root`))
    return 'there is no kernel for qemu here: sh scripts/setup.sh qemu';
  if (netdevsim && !existsSync(`${ROOT}/lib/modules/${release}/extra/netdevsim.ko`))
    return 'netdevsim is not built for that kernel: sh scripts/setup.sh netdevsim';
  return machineLacks();
}

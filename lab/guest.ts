// A guest: a kernel of its own over the machine's file system, which it reads and never writes. What it writes is its own memory
// and ends with it. Which kernel, and how it is booted, say uml.ts and qemu.ts.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface Guest {
  name: 'uml' | 'qemu';
  /** The argument of scripts/setup.sh that brings it. */
  goal: string;
  /** Why none can be booted here, and what to do. */
  missing(): string | undefined;
  /** Folder of the modules of its kernel, as in /lib/modules. */
  library: string;
  /** Loaded before the command runs. */
  modules: readonly string[];
  /** The command that boots it, with its console on standard output. */
  boot(): readonly string[];
}

export interface GuestOptions {
  environment?: Record<string, string>;
  /** Where the guest's console goes; `pipe` is read by the caller. */
  output?: 'inherit' | 'pipe';
}

const INSIDE = 'ISTHMUS_GUEST';
const MODPROBE = '/sbin/modprobe';
/** Of the guest, as a path of the machine: its first process. */
export const INIT = fileURLToPath(new URL('./guest-init.sh', import.meta.url));
/** What both sides of a guest see: files of lab/guest-init.sh. */
export const SHARED = '/run/guest';

/** In which guest of ours this process runs. */
export function insideGuest(): Guest['name'] | undefined {
  const name = process.env[INSIDE];
  return name === 'uml' || name === 'qemu' ? name : undefined;
}

/** How many times as long as on the machine itself things may take here. */
export function slowness(): number {
  return SLOWNESS[insideGuest() ?? 'machine'];
}

/** A guest has the time of one processor; in qemu each instruction is translated besides. */
const SLOWNESS = { machine: 1, uml: 4, qemu: 16 };

/** What every guest needs besides its kernel. */
export function machineLacks(): string | undefined {
  if (!existsSync(MODPROBE)) return 'modprobe is missing: apt-get install kmod';
  // In a user namespace mount(8), which is set-user-id, would belong to nobody, in the guest as well.
  if (process.getuid?.() !== 0) return 'guests run here for root only';
  if (spawnSync('unshare', [...UNSHARE, 'true']).status !== 0)
    return 'this system allows no namespaces; give the container the right to make them';
  return undefined;
}

/** Returns inside a guest; outside it boots one that runs this very command, and exits as that does. Installs what is missing. */
export async function enterGuest(guest: Guest): Promise<void> {
  if (insideGuest()) return;
  if (guest.missing() !== undefined)
    spawnSync('sh', ['scripts/setup.sh', guest.goal], { stdio: ['ignore', 2, 2] });
  const missing = guest.missing();
  if (missing !== undefined) {
    console.error(missing);
    process.exit(3);
  }
  const own = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const running = startGuest(guest, own, { output: 'inherit' });
  process.on('SIGINT', () => {}); // the guest gets it too, and ends first
  process.exit(await new Promise<number>((resolve) => running.once('close', (code) => resolve(code ?? 130))));
}

/**
 * Boots a guest that runs one command in the current folder; exits as the command does, 125 when the guest broke down.
 * It ends with this process, however that ends, and with it all that runs in it: it is the first of a PID namespace.
 */
export function startGuest(
  { name, library, modules, boot }: Guest,
  command: readonly string[],
  { environment = {}, output = 'pipe' }: GuestOptions = {},
): ChildProcess {
  // What one process compiled the next one finds: a guest is slow.
  const exported = { NODE_COMPILE_CACHE: '/var/tmp/node', ...environment, [INSIDE]: name };
  const files = [script(command, exported), process.cwd(), library, modules.join('\n')];
  const inNamespaces = ['--pdeathsig', 'KILL', 'unshare', ...UNSHARE, 'sh', '-c', BOOT, 'sh'];
  return spawn('setpriv', [...inNamespaces, ...files, ...boot()], { stdio: ['ignore', output, 'inherit'] });
}

function script(command: readonly string[], exported: Record<string, string>): string {
  return [
    ...Object.entries(exported).map(([name, value]) => `export ${name}=${quoted(value)}`),
    `cd ${quoted(process.cwd())} && exec ${command.map(quoted).join(' ')}`,
  ].join('\n');
}

/** The guest's folder lies in a /run of its own, which goes away with the mount namespace. */
const BOOT = `mount -t tmpfs tmpfs /run && mkdir ${SHARED} && cd ${SHARED} && echo 125 > status &&
for file in command folder library modules; do printf '%s\\n' "$1" > $file; shift; done &&
TMPDIR=${SHARED} "$@" | sed -u '/^\\(\\[[ .0-9]*] \\)\\?\\(sysrq: Power Off\\|reboot: Power down\\)/d'
exit "$(cat status)"`;

const UNSHARE = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// User-mode Linux: a kernel as an ordinary process, for what the machine's own kernel lacks (ESP). It boots in a second with
// the machine's file system as its root, read-only; everything it writes is its own memory and ends with it.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const KERNEL = '/usr/bin/linux.uml';
const MODPROBE = '/sbin/modprobe';
const INIT = fileURLToPath(new URL('./uml-init.sh', import.meta.url));
const INSIDE = 'ISTHMUS_IN_UML';

/** What the guest loads before the command runs, and what for. Nothing is loaded later: each try would cost a process. */
const MODULES: Record<string, string> = {
  xfrm_user: 'the netlink family',
  esp4: 'ESP over IPv4, plain and in UDP',
  esp6: 'ESP over IPv6',
  esp4_offload: 'ESP by an interface, and its segments at once',
  esp6_offload: 'the same over IPv6',
  ah4: 'AH over IPv4',
  ah6: 'AH over IPv6',
  ip_vti: 'interfaces of route-based tunnels over IPv4',
  ip6_vti: 'interfaces of route-based tunnels over IPv6',
  authenc: 'encryption and integrity as one transform',
  authencesn: 'the same with extended sequence numbers',
  seqiv: 'initialization vectors of combined modes',
  echainiv: 'initialization vectors of CBC',
  gcm: 'AES-GCM and AES-GMAC',
  ccm: 'AES-CCM',
  ctr: 'AES-CTR, and counters for GCM and CCM',
  cbc: 'AES-CBC',
  ghash_generic: 'authentication in GCM',
  chacha20poly1305: 'ChaCha20-Poly1305',
  chacha_generic: 'its cipher',
  poly1305_generic: 'its authentication',
  hmac: 'HMAC of any digest',
  xcbc: 'AES-XCBC',
  cmac: 'AES-CMAC',
  sha512_generic: 'HMAC-SHA2-384 and 512',
  jitterentropy_rng: 'entropy for the next',
  drbg: 'random numbers for the first initialization vector',
  ip_gre: 'GRE, which transport mode protects',
  veth: 'links between namespaces',
  vrf: 'a table of its own for some devices',
  tun: 'devices whose packets a program reads and writes',
  sch_ingress: 'counting what passes a device',
  cls_flower: 'by address and protocol',
  act_gact: 'and letting it pass',
};

export interface GuestOptions {
  environment?: Record<string, string>;
  /** Where the guest's console goes; `pipe` is read by the caller. */
  output?: 'inherit' | 'pipe';
}

/** Why no guest can be booted here, and what to do. */
export function umlIsMissing(): string | undefined {
  if (!existsSync(KERNEL)) return 'user-mode Linux is missing: apt-get install user-mode-linux';
  if (!existsSync(MODPROBE)) return 'modprobe is missing: apt-get install kmod';
  // In a user namespace mount(8), which is set-user-id, would belong to nobody, in the guest as well.
  if (process.getuid?.() !== 0) return 'user-mode Linux runs here for root only';
  if (spawnSync('unshare', [...UNSHARE, 'true']).status !== 0)
    return 'this system allows no namespaces; give the container the right to make them';
  return undefined;
}

/** Whether this process runs in a guest of ours. */
export function insideUml(): boolean {
  return process.env[INSIDE] === '1';
}

/** Returns inside a guest; outside it boots one that runs this very command, and exits as that does. Installs what is missing. */
export async function enterUml(): Promise<void> {
  if (insideUml()) return;
  if (umlIsMissing() !== undefined) spawnSync('sh', ['scripts/setup.sh', 'uml'], { stdio: 'inherit' });
  const missing = umlIsMissing();
  if (missing !== undefined) {
    console.error(missing);
    process.exit(3);
  }
  const own = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const guest = startUml(own, { output: 'inherit' });
  process.on('SIGINT', () => {}); // the guest gets it too, and ends first
  process.exit(await new Promise<number>((resolve) => guest.once('close', (code) => resolve(code ?? 130))));
}

/**
 * Boots a guest that runs one command in the current folder; exits as the command does, 125 when the guest broke down.
 * It ends with this process, however that ends, and with it all that runs in it: it is the first of a PID namespace.
 */
export function startUml(
  command: readonly string[],
  { environment = {}, output = 'pipe' }: GuestOptions = {},
): ChildProcess {
  // What one process compiled the next one finds: a guest is slow.
  const exported = Object.entries({ NODE_COMPILE_CACHE: '/var/tmp/node', ...environment, [INSIDE]: '1' });
  const script = [
    ...exported.map(([name, value]) => `export ${name}=${quoted(value)}`),
    `cd ${quoted(process.cwd())} && exec ${command.map(quoted).join(' ')}`,
  ].join('\n');
  return spawn(
    'setpriv',
    [
      '--pdeathsig',
      'KILL',
      'unshare',
      ...UNSHARE,
      'sh',
      '-c',
      BOOT,
      'sh',
      script,
      Object.keys(MODULES).join('\n'),
      INIT,
      process.cwd(),
    ],
    {
      stdio: ['ignore', output, 'inherit'],
    },
  );
}

/** The guest's folder lies in a /run of its own, which goes away with the mount namespace. */
const BOOT = `mount -t tmpfs tmpfs /run && mkdir /run/uml && cd /run/uml &&
printf '%s\\n' "$1" > command && printf '%s\\n' "$2" > modules && printf '%s' "$4" > folder && echo 125 > status &&
TMPDIR=/run/uml ${KERNEL} mem=1024M root=/dev/root rootfstype=hostfs rootflags=/ ro init="$3" \\
  con=null con0=fd:0,fd:1 quiet loglevel=1 uml_dir=/run/uml | sed -u '/^sysrq: Power Off/d;/^reboot: Power down/d'
exit "$(cat status)"`;

const UNSHARE = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// Runs a laboratory in namespaces of its own, so that nothing can be left behind: when the first process of the PID
// namespace ends, however it ends, the kernel takes its processes, its networks and its mounts with it.

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';

const INSIDE = 'ISTHMUS_LAB_INSIDE';

/** Returns inside the namespaces; outside it runs this very command inside, and exits as that does. */
export function isolate(): void {
  if (process.env[INSIDE] === '1') return;
  const missing = whatIsMissing();
  if (missing.length > 0) {
    for (const line of missing) console.error(line);
    process.exit(3);
  }
  process.on('SIGINT', () => {}); // the child gets it too, and ends first
  const result = spawnSync(
    'unshare',
    [...unshareFlags(), 'sh', '-c', PREPARE, 'sh', process.execPath, ...ownArguments()],
    {
      stdio: 'inherit',
      env: { ...process.env, [INSIDE]: '1' },
    },
  );
  process.exit(result.status ?? 130);
}

/** A private /run holds the network namespaces' names; loopback is up as on any host. */
const PREPARE = 'mount -t tmpfs tmpfs /run && mkdir -p /run/netns && ip link set dev lo up && exec "$@"';

function ownArguments(): string[] {
  return [...process.execArgv, ...process.argv.slice(1)];
}

function unshareFlags(): string[] {
  const flags = ['--mount', '--net', '--pid', '--ipc', '--fork', '--kill-child', '--mount-proc'];
  return process.getuid?.() === 0 ? flags : ['--user', '--map-root-user', ...flags];
}

/** One sentence for each thing that the laboratory needs and does not find, with how to get it. */
export function whatIsMissing(): string[] {
  const missing: string[] = [];
  for (const [file, debianPackage] of [
    ['/usr/sbin/nft', 'nftables'],
    ['/sbin/ip', 'iproute2'],
    ['/usr/bin/iperf3', 'iperf3'],
    ['/bin/ping', 'iputils-ping'],
    ['/sbin/sysctl', 'procps'],
  ] as const) {
    if (!existsSync(file)) missing.push(`${file} is missing; install it: apt-get install ${debianPackage}`);
  }
  if (!canOpen('/dev/net/tun')) {
    missing.push('/dev/net/tun cannot be opened; load it (modprobe tun) or give this container the device');
  }
  if (spawnSync('unshare', [...unshareFlags(), 'true']).status !== 0) {
    missing.push(
      'this system allows no namespaces to this user; run as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1',
    );
  }
  return missing;
}

function canOpen(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

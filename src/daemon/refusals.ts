// What the machine answers when it refuses the daemon its ground, with what to do about it.

import { HostError } from '../host/host-error.ts';
import { holderOf, type Machine } from '../host/preflight.ts';

/** Throws HostError where opening the shared device failed. */
export function demandDevice(failed: string): void {
  if (failed === '') return;
  const fix = failed.includes('busy')
    ? 'another isthmus daemon runs here: isthmus status'
    : failed.includes('not permitted')
      ? 'run as root, or give CAP_NET_ADMIN'
      : 'load the driver: modprobe tun';
  throw new HostError('HOST_TUN', `${failed}; ${fix}`);
}

export function socketRefused(machine: Machine, failed: string): HostError {
  return new HostError('HOST_SOCKET', explained(machine, failed));
}

function explained(machine: Machine, failed: string): string {
  const port = Number(/UDP port (\d+)/.exec(failed)?.[1] ?? 0);
  if (!failed.includes('in use')) return `${failed}${hintOf(failed)}`;
  const holder = holderOf(machine, port) ?? 'another process';
  return `${failed}: ${holder} holds it; stop the other IKE daemon first (systemctl stop strongswan ipsec)`;
}

function hintOf(failed: string): string {
  if (failed.includes('assign')) return ': gateway.address is not an address of this machine (ip address)';
  return failed.includes('ermission') || failed.includes('permitted')
    ? ': run as root, or give CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE'
    : '';
}

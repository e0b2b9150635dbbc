// The outer sockets, as the daemon uses them: endpoints in, datagrams out. What they are made of is in native/.

import { unhex } from '../crypto/bytes.ts';
import type { Endpoint } from '../ike/boundary.ts';
import type { Addon, Plane } from '../native.ts';
import { addressBytes, formatAddress, type IpAddress } from '../wire/address.ts';

/** UDP ports of IKE and of IKE and ESP behind NAT (RFC 7296 §2.23). */
export const IKE_PORT = 500;
export const NAT_PORT = 4500;

export interface ArrivedDatagram {
  bytes: Uint8Array;
  local: Endpoint;
  remote: Endpoint;
}

export interface Port {
  /** Whether it left; `whole`: in one piece or not at all. */
  send(datagram: ArrivedDatagram & { whole?: true }): boolean;
  take(): ArrivedDatagram[];
  /** Our IKE SPIs: their datagrams wait in a queue of their own, which strangers cannot fill. */
  know(changes: { came: readonly string[]; went: readonly string[] }): void;
}

/** A sentence when a socket cannot be opened. */
export function openPort(
  addon: Addon,
  plane: Plane,
  addresses: readonly IpAddress[],
  mark: number,
  kernelEsp: boolean,
  trains: boolean,
): Port | { failed: string } {
  const failed = addon.openPort(
    plane,
    addresses.map(addressBytes),
    IKE_PORT,
    NAT_PORT,
    mark,
    kernelEsp,
    trains,
  );
  return failed === '' ? createPort(addon, plane) : { failed };
}

function createPort(addon: Addon, plane: Plane): Port {
  return {
    send({ bytes, local, remote, whole = false }) {
      const [from, to] = [addressBytes(local.address), addressBytes(remote.address)];
      return addon.send(plane, from, local.port, to, remote.port, bytes, whole);
    },
    take() {
      const fields = addon.take(plane);
      return Array.from({ length: fields.length / 5 }, (_, index) => {
        const [local, localPort, remote, remotePort, bytes] = fields.slice(5 * index, 5 * index + 5);
        return {
          local: endpoint(local as Uint8Array, localPort as number),
          remote: endpoint(remote as Uint8Array, remotePort as number),
          bytes: bytes as Uint8Array,
        };
      });
    },
    know({ came, went }) {
      if (came.length + went.length > 0) addon.know(plane, unhex(came.join('')), unhex(went.join('')));
    },
  };
}

function endpoint(address: Uint8Array, port: number): Endpoint {
  return { transport: 'udp', address: formatAddress(address), port };
}

// Two translators at once, for kernels that have none: `translator.ts ADDRESS PEER ADDRESS PEER` takes what either peer sends to
// the address on its side, ports 500 and 4500, and sends it on from the other one to the other peer. Until SIGTERM.

import { createSocket, type Socket } from 'node:dgram';

const [nearAddress, nearPeer, farAddress, farPeer] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
];

for (const port of [500, 4500]) {
  const [near, far] = [open(nearAddress, port), open(farAddress, port)];
  translate(near, far, farPeer, port);
  translate(far, near, nearPeer, port);
}

function open(address: string, port: number): Socket {
  const socket = createSocket('udp4');
  socket.bind(port, address, () => socket.setRecvBufferSize(4 << 20));
  return socket;
}

function translate(from: Socket, to: Socket, peer: string, port: number): void {
  from.on('message', (datagram) => to.send(datagram, port, peer, () => {}));
}

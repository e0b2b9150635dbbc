// Numbered UDP: `numbered.ts send ADDRESS PORT RATE BYTES` sends until SIGTERM, then prints how many;
// `numbered.ts receive ADDRESS PORT` counts what comes to any address of that family until SIGTERM, then prints it, as one JSON line.

import { createSocket } from 'node:dgram';

const [role, address, port, rate, bytes] = process.argv.slice(2);
const socket = createSocket(address!.includes(':') ? 'udp6' : 'udp4');
const TICK = 5; // ms

if (role === 'send') send(Number(rate), Number(bytes));
else receive();

/** Sends what is due by the clock on every tick, so a late tick catches up. */
function send(perSecond: number, size: number): void {
  let sent = 0;
  const start = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - start) / 1000) * perSecond);
    for (; sent < due; sent++) {
      const datagram = Buffer.alloc(size);
      datagram.writeUInt32BE(sent);
      socket.send(datagram, Number(port), address, () => {}); // an unreachable route is a loss like any other
    }
  }, TICK);
  process.on('SIGTERM', () => {
    clearInterval(timer);
    setTimeout(() => finish({ sent }), 50);
  });
}

function receive(): void {
  const seen = new Set<number>();
  let duplicates = 0;
  let received = 0;
  let lastAt = 0;
  let longestGap = 0;
  socket.on('message', (datagram) => {
    const now = performance.now();
    if (lastAt > 0) longestGap = Math.max(longestGap, now - lastAt);
    lastAt = now;
    received++;
    const number = datagram.readUInt32BE();
    if (seen.has(number)) duplicates++;
    seen.add(number);
  });
  socket.on('error', () => {});
  socket.bind(Number(port), () => {
    // Other processes may have the processor for a second: what waits meanwhile is not lost.
    socket.setRecvBufferSize(4 << 20);
    console.log('ready');
  });
  process.on('SIGTERM', () =>
    finish({
      received,
      distinct: seen.size,
      duplicates,
      longestGap: Math.round(longestGap),
      missing: missing(seen),
    }),
  );
}

/** The first of those that did not come though a later one did. */
function missing(seen: ReadonlySet<number>): number[] {
  const last = [...seen].reduce((most, number) => Math.max(most, number), -1);
  const absent: number[] = [];
  for (let number = 0; number < last && absent.length < 10; number++)
    if (!seen.has(number)) absent.push(number);
  return absent;
}

function finish(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

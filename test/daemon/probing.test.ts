import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { unhex } from '../../src/crypto/bytes.ts';
import { createProbing } from '../../src/daemon/probing.ts';
import type { Report } from '../../src/daemon/report.ts';
import type { Addon, Plane } from '../../src/native.ts';
import type { TooBig } from '../../src/wire/too-big.ts';
import { tunnel } from '../sim/sites.ts';

const PROBED = tunnel('a', {
  children: tunnel('a').children.map((child) => ({
    ...child,
    probe: { to: '10.2.0.1', every: 1000, lost: 4 },
  })),
});

/** ICMPv6: no more than 1380 bytes of a packet from ::1 to ::2, ESP with the SPI 300. */
const TOO_BIG = unhex(
  `0200000000000564 6000000000643240 ${'0'.repeat(31)}1 ${'0'.repeat(31)}2 0000012c`.replaceAll(' ', ''),
);

/** The machine's sockets: what was sent comes back changed as `answer` has it, two milliseconds later. */
function machine(
  t: TestContext,
  answer: (reply: Uint8Array) => Uint8Array | undefined,
  failure?: string,
  longest: () => number = () => 1400,
  from?: Uint8Array,
  narrows?: (limit: number | undefined) => void,
) {
  const waiting: (Uint8Array | number)[] = [];
  const sent: Uint8Array[] = [];
  const sizes: number[] = [];
  const reports: Report[] = [];
  const tooBig: TooBig[] = [];
  let now = 5000;
  const wall = () => Date.now() * 1000;
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  const addon = {
    sendEcho(
      _plane: Plane,
      _source: Uint8Array,
      destination: Uint8Array,
      message: Uint8Array,
      whole: boolean,
    ) {
      if (failure !== undefined) return failure;
      if (whole) sizes.push(message.length + 20);
      else sent.push(message);
      if (message.length + 20 > longest()) return 'Message too long';
      const reply = answer(Uint8Array.of(0, ...message.subarray(1)));
      if (reply)
        waiting.push(
          whole ? (from ?? destination) : destination,
          Uint8Array.of(0x45, ...new Uint8Array(19), ...reply),
          wall() + 2000,
        );
      return wall();
    },
    takeEchoes: () => waiting.splice(0),
  } as unknown as Addon;
  const probing = createProbing({
    addon,
    plane: {} as Plane,
    clock: () => now,
    log: (report) => void reports.push(report),
    upSince: () => 1000,
    silent: () => {},
    kernelEsp: narrows !== undefined,
    resized: () => narrows?.(probing.pathMtus.limit('t/net')),
    tooBig(message) {
      tooBig.push(message);
      probing.pathMtus.hint('t/net', message.mtu, now);
    },
  });
  const run = (seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      now += 1000;
      t.mock.timers.tick(1000);
    }
    probing.look();
  };
  probing.configure([PROBED], ['10.1.0.1'], () => 1400);
  return {
    probing,
    sent,
    sizes,
    reports,
    tooBig,
    /** Something else comes to the same sockets. */
    deliver: (source: Uint8Array, bytes: Uint8Array) => void waiting.push(source, bytes, wall()),
    mtu: () => probing.pathMtus.of('t/net', now)?.mtu,
    run,
    status: () => probing.of('t/net', now)!,
  };
}

test('requests go out in their interval, and answers count with their time there and back', (t) => {
  const { sent, run, status, reports, probing } = machine(t, (reply) => reply);
  run(5);
  assert.ok(sent.length >= 5, `${sent.length} sent`);
  assert.deepEqual([status().verdict, status().rtt, status().answered], ['answered', 2, sent.length]);
  assert.deepEqual(
    reports.map(({ code }) => code),
    ['PROBE_ANSWERED'],
  );
  probing.stop();
  run(5);
  assert.equal(status().sent, sent.length);
});

test('who does not know the sixteen bytes answers for nobody', (t) => {
  const guessed = (reply: Uint8Array) => reply.with(12, reply[12]! ^ 1);
  const { run, status } = machine(t, guessed);
  run(5);
  assert.equal(status().answered, 0);
});

test('an answer that is cut off is none', (t) => {
  const { run, status } = machine(t, (reply) => reply.subarray(0, 20));
  run(5);
  assert.equal(status().answered, 0);
});

test('a machine that cannot send says so once', (t) => {
  const { run, reports } = machine(t, (reply) => reply, 'Operation not permitted');
  run(3);
  assert.deepEqual(
    reports.filter(({ code }) => code === 'HOST_REFUSED').map(({ detail }) => detail?.message),
    ['a probe to 10.2.0.1: Operation not permitted'],
  );
});

test('larger requests never go in fragments, and say how much passes', (t) => {
  const { sizes, run, mtu } = machine(t, (reply) => reply);
  run(5);
  assert.deepEqual([sizes[0], mtu()], [1400, 1400]);
});

test('what is too large to leave here is too large', (t) => {
  const { sizes, run, mtu, reports } = machine(
    t,
    (reply) => reply,
    undefined,
    () => 1000,
  );
  run(30);
  assert.equal(sizes[0], 1400);
  assert.equal(mtu(), 1000);
  assert.deepEqual(
    reports.map(({ code }) => code),
    ['PROBE_ANSWERED', 'PATH_MTU'],
  );
});

test('an answer to a large request that comes from somewhere else is none', (t) => {
  const { run, mtu, sizes } = machine(t, (reply) => reply, undefined, undefined, Uint8Array.of(10, 2, 0, 9));
  run(40);
  assert.deepEqual([sizes.length > 10, mtu()], [true, 576]);
});

test('what a router says of a packet that is too big is handed on, anything else is not', (t) => {
  const { deliver, run, tooBig } = machine(t, (reply) => reply);
  deliver(new Uint8Array(16), TOO_BIG);
  deliver(new Uint8Array(16), TOO_BIG.with(0, 1));
  run(1);
  assert.deepEqual(tooBig, [{ mtu: 1380, source: '::1', destination: '::2', spi: 300 }]);
});

test('what a router says is asked about at once, also where it is not a probe that is due which reads it', (t) => {
  const { run, deliver, probing, sizes } = machine(t, (reply) => reply);
  run(30);
  const before = sizes.length;
  deliver(new Uint8Array(16), TOO_BIG);
  probing.look();
  t.mock.timers.tick(1);
  assert.equal(sizes.length, before + 1);
});

test('a child that comes into being while the daemon ends is not probed, and nothing is left that keeps it', (t) => {
  const { run, probing, sent, sizes } = machine(t, (reply) => reply);
  run(5);
  const before = sent.length + sizes.length;
  probing.stop();
  probing.hasten('t', 'net');
  run(5);
  assert.equal(sent.length + sizes.length, before);
});

test('with the IPsec of the kernel, which refuses what a route has no room for, room is made before more is tried', (t) => {
  let [route, path] = [1400, 1200];
  const { run, mtu } = machine(
    t,
    (reply) => (reply.length + 20 <= path ? reply : undefined),
    undefined,
    () => route,
    undefined,
    (limit) => {
      route = limit ?? 1400;
    },
  );
  run(60);
  assert.deepEqual([mtu(), route], [1200, 1200]);
  path = 1400;
  run(700);
  assert.deepEqual([mtu(), route], [1400, 1400]);
});

// Who protects packets: as the configuration says, or where it leaves that open, as the kernel can.

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { choose } from '../../src/daemon/plane-choice.ts';
import { DataPlaneError } from '../../src/dataplane/dataplane.ts';
import { askKernel } from '../../src/dataplane/xfrm.ts';
import { HostError } from '../../src/host/host-error.ts';
import type { Addon } from '../../src/native.ts';
import type { Capabilities } from '../../src/policy/sad.ts';
import { viewOf } from '../../src/wire/ip.ts';
import { folder, goodFile, PSK } from '../config/files.ts';
import { MODEST } from '../policy/capabilities.ts';

const KERNEL: Capabilities = {
  ...MODEST,
  encryption: ['aes-gcm-16', 'aes-cbc', 'chacha20-poly1305'],
  integrity: ['hmac-sha2-256-128', 'hmac-sha2-384-192', 'hmac-sha2-512-256'],
  modes: ['tunnel', 'transport'],
  firstInbound: false,
};
const SMALL: Capabilities = {
  ...KERNEL,
  encryption: ['aes-gcm-16', 'aes-cbc'],
  integrity: ['hmac-sha2-256-128'],
};
const NOT_HERE = 'the kernel has no ESP: modprobe esp4 esp6; or use dataplane: engine';

function configured(t: TestContext, dataplane: string, more = ''): Config {
  const files = folder(t);
  const psk = files.write('office.psk', `${PSK}\n`);
  const text = goodFile(psk, more).replace('192.0.2.1 }', `192.0.2.1, dataplane: ${dataplane} }`);
  const { config, complaints } = loadConfig(files.write('isthmus.yaml', text));
  assert.deepEqual(complaints, []);
  return config!;
}

const notHere = (): never => {
  throw new DataPlaneError('refused', NOT_HERE);
};

test('auto: the kernel where it can do all that the tunnels ask for', (t) => {
  assert.deepEqual(
    choose(configured(t, 'auto'), () => KERNEL),
    {
      name: 'xfrm',
      why: 'the kernel can do all that the tunnels ask for',
      lost: [],
    },
  );
});

test('auto: the engine where the kernel has no IPsec, with what is missing and what to load', (t) => {
  assert.deepEqual(choose(configured(t, 'auto'), notHere), { name: 'engine', why: NOT_HERE, lost: [] });
});

// biome-ignore format: one row a line
const BEYOND: [more: string, why: RegExp][] = [
  ['    dscp: 46\n', /^office\/office needs dscp: 46, and the kernel copies DSCP or leaves it 0$/],
  ['    df: set\n', /^office\/office needs df: set/],
  ['    esp-suites: [chacha20-poly1305 / ecp-256]\n', /^office\/office needs chacha20-poly1305, which the kernel does not have: modprobe chacha20poly1305$/],
  ['    esp-suites: [aes-cbc-128 / hmac-sha2-512-256 / ecp-256]\n', /^office\/office needs hmac-sha2-512-256, .*: modprobe hmac sha512_generic$/],
];

test('auto: the engine where a tunnel needs what the kernel cannot, and it is said what', (t) => {
  for (const [more, why] of BEYOND) {
    const choice = choose(configured(t, 'auto', more), () => SMALL);
    assert.equal(choice.name, 'engine', more);
    assert.match(choice.why, why);
  }
});

test('auto: a tunnel with an interface wants a kernel that has some', (t) => {
  const config = configured(t, 'auto', '    mode: route\n');
  assert.equal(choose(config, () => ({ ...KERNEL, links: true })).name, 'xfrm');
  const { name, why } = choose(config, () => KERNEL);
  assert.equal(name, 'engine');
  assert.match(why, /^office needs an interface.*modprobe xfrm_interface ip_vti$/);
});

test('xfrm: without the kernel nothing starts, nobody falls back', (t) => {
  const refused = (sentence: RegExp) => (error: unknown) =>
    error instanceof HostError && error.code === 'HOST_IPSEC' && sentence.test(error.message);
  assert.throws(() => choose(configured(t, 'xfrm'), notHere), refused(/modprobe esp4 esp6/));
  const narrow = '    esp-suites: [chacha20-poly1305 / ecp-256]\n';
  assert.throws(
    () => choose(configured(t, 'xfrm', narrow), () => SMALL),
    refused(/office\/office needs chacha20-poly1305.*modprobe chacha20poly1305, or use dataplane: engine/),
  );
});

test('xfrm: a suite whose algorithm the kernel does not have is named, and the others are offered', (t) => {
  const suites = '    esp-suites: [aes-gcm-16-256 / ecp-256, chacha20-poly1305 / ecp-256]\n';
  const choice = choose(configured(t, 'xfrm', suites), () => SMALL);
  assert.deepEqual([choice.name, choice.why], ['xfrm', 'the configuration says so']);
  assert.deepEqual(choice.lost, [
    {
      problem:
        'the kernel does not have chacha20-poly1305 (rfc7539esp(chacha20,poly1305)): office/office offers its other suites only',
      fix: 'modprobe chacha20poly1305 and restart, or use dataplane: engine',
    },
  ]);
});

test('engine: the kernel is not asked', (t) => {
  const choice = choose(configured(t, 'engine'), () => assert.fail('asked'));
  assert.equal(choice.name, 'engine');
});

// What the addon says where the kernel has no such family, and the errno of its answers otherwise.
test('a kernel that cannot: what it answers becomes a sentence that names the module', () => {
  const answering = (errno: number | string) =>
    ({
      netlink: (_family: number, request: Uint8Array) =>
        typeof errno === 'string' ? errno : acknowledgement(request, errno),
    }) as unknown as Addon;
  const says = (errno: number | string, sentence: RegExp) =>
    assert.throws(() => askKernel(answering(errno)), sentence);
  says('netlink socket: Protocol not supported', /the kernel has no XFRM .*modprobe xfrm_user esp4 esp6/);
  says(93, /the kernel has no ESP: modprobe esp4 esp6/);
  says(38, /no algorithm for ESP .*error 38.*modprobe esp4 esp6 gcm/);
  says(1, /needs CAP_NET_ADMIN: run as root/);
});

/** NLMSG_ERROR for the request. */
function acknowledgement(request: Uint8Array, errno: number): Uint8Array {
  const answer = new Uint8Array(36);
  const view = viewOf(answer);
  view.setUint32(0, answer.length, true);
  view.setUint16(4, 2, true);
  answer.set(request.subarray(8, 12), 8);
  view.setInt32(16, -errno, true);
  answer.set(request.subarray(0, 16), 20);
  return answer;
}

test('auto: a tunnel with marks is not carried out by the engine, which knows none', (t) => {
  const config = configured(t, 'auto');
  const [first, ...others] = config.tunnels;
  const marked = { ...first!, kernel: { mark: { value: 7, mask: 255 }, offload: 'off' } as const };
  assert.throws(
    () => choose({ ...config, tunnels: [marked, ...others] }, notHere),
    (error) => error instanceof HostError && /has marks, which need the kernel/.test(error.message),
  );
  assert.equal(choose(config, notHere).name, 'engine');
});

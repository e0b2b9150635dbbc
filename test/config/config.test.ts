import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { type TestContext, test } from 'node:test';
import { complaintText } from '../../src/config/complaint.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { planReload } from '../../src/config/plan.ts';
import { templateText } from '../../src/policy/proposal.ts';
import { folder, goodFile, PSK } from './files.ts';

/** Every complaint about a text, as `line:column: …`. `@PSK` stands for a good secret's file. */
function complaints(t: TestContext, text: string): string[] {
  const files = folder(t);
  const psk = files.write('good.psk', PSK);
  const file = files.write('isthmus.yaml', text.replaceAll('@PSK', psk));
  return loadConfig(file).complaints.map((one) => complaintText({ ...one, file: basename(one.file) }));
}

function good(t: TestContext, more = '', top = ''): Config {
  const files = folder(t);
  const file = files.write('isthmus.yaml', goodFile(files.write('good.psk', PSK), more, top));
  const { config, complaints: found } = loadConfig(file);
  assert.ok(config, found.map(complaintText).join('\n'));
  return config;
}

const TUNNEL = 'peer: 198.51.100.1, auth: { psk: { file: "@PSK" } }';

for (const [what, text, complaint] of [
  [
    'an unknown key, with the one that was meant',
    'gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t:\n    per: 198.51.100.1\n',
    'isthmus.yaml:4:5: unknown key per; did you mean peer?',
  ],
  [
    'a table among the kernel’s own',
    'gateway: { name: a, address: 192.0.2.1, routing: { table: 254 } }\ntunnels:\n  t: {}\n',
    'isthmus.yaml:1:59: table: Too small: expected number to be >=256',
  ],
  [
    'an address that is none',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { peer: 256.1.1.1, auth: { psk: { file: "@PSK" } }, local: 10.1.0.0/16, remote: 10.2.0.0/16 }\n`,
    'isthmus.yaml:3:14: "256.1.1.1" is neither an IP address nor a DNS name',
  ],
  [
    'a network with bits of a host',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.5/16, remote: 10.2.0.0/16 }\n`,
    'is an address inside a network; the network is 10.1.0.0/16',
  ],
  [
    'a peer of a family that we have no address of',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { peer: "2001:db8::1", auth: { psk: { file: "@PSK" } }, local: 10.1.0.0/16, remote: 10.2.0.0/16 }\n`,
    'gateway.address has no address of the family of this peer',
  ],
  [
    'a tunnel that stands twice',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16 }\n  t: { ${TUNNEL}, local: 10.3.0.0/16, remote: 10.4.0.0/16 }\n`,
    'isthmus.yaml:4:3: Map keys must be unique',
  ],
  [
    'a proof that would not outlive its renewal',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16, reauthentication: 30s }\n`,
    '"30s" is neither never nor 5m or more, such as 24h',
  ],
  [
    'an algorithm that nobody knows',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16, esp-suites: [des-56] }\n`,
    'unknown algorithm "des-56"',
  ],
  [
    'an algorithm that is known and not there yet',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16, ike-suites: [aes-cbc-256 / aes-128-gmac] }\n`,
    'aes-128-gmac belongs to AH',
  ],
  [
    'a group that needs legacy: why, where, and how to allow it',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t:\n    ${TUNNEL.replace(', auth', '\n    auth')}\n    local: 10.1.0.0/16\n    remote: 10.2.0.0/16\n    ike-suites:\n      - aes-gcm-16-256 / modp-1024\n`,
    'isthmus.yaml:9:9: modp-1024 is weak: RFC 8247 §2.4: a group of 1024 bits is within reach of a rich attacker; "legacy: true" in this tunnel allows it',
  ],
  [
    'a group that nothing allows',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16, legacy: true, ike-suites: [aes-gcm-16-256 / modp-768] }\n`,
    'modp-768 is refused: RFC 8247 §2.4: MUST NOT',
  ],
  [
    'a peer’s fault that is not asked for',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16, esp-suites: [aes-cbc-256 / hmac-sha2-256-96] }\n`,
    '"quirks: [hmac-sha2-256-96]" in this tunnel allows it',
  ],
  [
    'a duration without a unit',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16, lifetime: "3600" }\n`,
    '"3600" is not a duration; write 30s, 10m, 4h or 1d',
  ],
  [
    'networks in the tunnel and in its children',
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, children: { x: { local: 10.1.0.0/16, remote: 10.2.0.0/16 } } }\n`,
    'write local and remote either in the tunnel or in its children',
  ],
  ['a YAML that is none', 'gateway: { name: a\n', 'isthmus.yaml:2:1:'],
  ['no tunnels at all', 'gateway: { name: a, address: 192.0.2.1 }\n', 'tunnels is missing'],
  [
    'peer any without a name for the peer',
    'gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { peer: any, auth: { psk: { file: "@PSK" } }, local: 10.1.0.0/16, remote: 10.2.0.0/16 }\n',
    'a tunnel with peer: any needs peer-id',
  ],
] as const) {
  test(`${what}: said at its place`, (t) => {
    const found = complaints(t, text);
    assert.ok(
      found.some((line) => line.includes(complaint)),
      found.join('\n'),
    );
    for (const line of found) assert.match(line, /^isthmus\.yaml:\d+:\d+: /);
  });
}

test('legacy and quirks allow what they name, in their tunnel or by the defaults', (t) => {
  const more = '    legacy: true\n    ike-suites: [aes-cbc-128 / hmac-sha1-96 / prf-hmac-sha1 / modp-1024]\n';
  assert.deepEqual(good(t, more).tunnels[0]!.ike.proposals[0]!.keyExchange, ['modp-1024']);
  const quirk = 'defaults: { quirks: [hmac-sha2-256-96] }\n';
  const named = '    esp-suites: [aes-cbc-256 / hmac-sha2-256-128]\n';
  const integrity = (config: Config) => config.tunnels[0]!.children[0]!.proposals[0]!.integrity;
  assert.deepEqual(integrity(good(t, named, quirk)), ['hmac-sha2-256-96']);
  assert.deepEqual(integrity(good(t, named)), ['hmac-sha2-256-128']);
});

test('every complaint at once, not the first alone', (t) => {
  const found = complaints(
    t,
    `gateway: { name: a, address: nowhere }
tunnels:
  one: { peer: 1.2.3, auth: { psk: { file: "@PSK" } }, local: 10.1.0.0/33, remote: 10.2.0.0/16 }
  two: { peer: 198.51.100.1, auth: { psk: { file: /none } }, local: 10.1.0.0/16, remote: 10.2.0.0/16, start: later }
`,
  );
  assert.ok(found.length >= 1, found.join('\n'));
  const semantic = complaints(
    t,
    `gateway: { name: a, address: 192.0.2.1 }
tunnels:
  one: { peer: 1.2.3, auth: { psk: { file: "@PSK" } }, local: 10.1.0.0/33, remote: 10.2.0.0/16 }
  two: { peer: 198.51.100.1, auth: { psk: { file: /none } }, local: 10.1.0.0/16, remote: 10.2.0.0/16, replay-window: 33 }
`,
  );
  for (const part of [
    '"1.2.3" is neither an IP address nor a DNS name',
    '10.1.0.0/33',
    '/none',
    '33 is not a multiple',
  ])
    assert.ok(
      semantic.some((line) => line.includes(part)),
      `${part}\n${semantic.join('\n')}`,
    );
});

for (const [what, text, mode, complaint] of [
  ['missing', undefined, 0o600, /there is no such file/],
  ['readable by others', PSK, 0o644, /others can read the secret .* chmod 600/],
  ['short', 'short', 0o600, /is weak \(5 bytes/],
  ['long but all the same', 'a'.repeat(40), 0o600, /is weak/],
  ['said to be hex, and not', 'hex:0g'.padEnd(40, '0'), 0o600, /not the hex that it says/],
] as const) {
  test(`a secret that is ${what} refuses the file`, (t) => {
    const files = folder(t);
    const psk = text === undefined ? '/nowhere/a.psk' : files.write('a.psk', text, mode);
    const { config, complaints: found } = loadConfig(files.write('isthmus.yaml', goodFile(psk)));
    assert.equal(config, undefined);
    assert.match(found[0]!.problem, complaint);
    assert.equal(found[0]!.line, 6);
    assert.ok(!found.some(({ problem }) => text !== undefined && text.length > 8 && problem.includes(text)));
  });
}

test('a secret is the same as text, hex and base64', (t) => {
  const files = folder(t);
  const forms = [
    PSK,
    `${PSK}\n`,
    `hex:${Buffer.from(PSK).toString('hex')}\n`,
    `base64:${Buffer.from(PSK).toString('base64')}\n`,
  ];
  const secrets = forms.map((form, index) => {
    const file = files.write(`${index}.yaml`, goodFile(files.write(`${index}.psk`, form)));
    return Buffer.from(loadConfig(file).config!.keyring.secrets.get('office')!()).toString();
  });
  assert.deepEqual(secrets, [PSK, PSK, PSK, PSK]);
});

test('an included file brings tunnels; its complaints name it', (t) => {
  const files = folder(t);
  const psk = files.write('good.psk', PSK);
  files.write('more.yaml', 'tunnels:\n  office: { peer: 198.51.100.2 }\n');
  const file = files.write('isthmus.yaml', goodFile(psk, '', 'include: [more.yaml]'));
  const found = loadConfig(file).complaints.map((one) => `${basename(one.file)}:${one.line} ${one.problem}`);
  assert.ok(found.includes('more.yaml:2 there is a tunnel office already'), found.join('\n'));
});

test('two tunnels that want the same packets: a warning says who gets them', (t) => {
  const files = folder(t);
  const psk = files.write('good.psk', PSK);
  const second = `  branch: { peer: 198.51.100.2, auth: { psk: { file: ${psk} } }, local: 10.1.0.0/16, remote: 10.2.3.0/24 }\n`;
  const { config, complaints: found } = loadConfig(files.write('isthmus.yaml', goodFile(psk, second)));
  assert.ok(config);
  assert.deepEqual(
    found.map(({ level }) => level),
    ['warning'],
  );
  assert.match(found[0]!.problem, /overlaps office.*go to office, which stands first/);
});

test('defaults serve every tunnel; networks among them only those without children', (t) => {
  const config = good(
    t,
    '  south:\n    peer: 198.51.100.2\n    children: { x: { local: 10.7.0.0/16, remote: 10.8.0.0/16 } }\n    auth: { psk: { file: PSKFILE } }\n'.replace(
      'PSKFILE',
      folder(t).write('b.psk', PSK),
    ),
    'defaults: { lifetime: 2h, local: 10.9.0.0/16 }',
  );
  assert.deepEqual(
    config.tunnels.map(({ children }) => children[0]!.lifetime.time),
    [7_200_000, 7_200_000],
  );
  assert.equal(config.tunnels[1]!.children[0]!.selectors.local[0]!.start, '10.7.0.0');
});

for (const [what, more, effect] of [
  ['nothing', '', 'untouched'],
  ['a lifetime', '    lifetime: 2h\n', 'rekey'],
  ['the algorithms', '    esp-suites: [aes-gcm-16-256]\n', 'rekey'],
  ['who we are', '    id: other.example\n', 'restart'],
  ['whether messages are cut', '    fragmentation: off\n', 'restart'],
] as const) {
  test(`a reload that changes ${what} leaves the tunnel ${effect}`, (t) => {
    const files = folder(t);
    const psk = files.write('good.psk', PSK);
    const load = (name: string, text: string) => loadConfig(files.write(name, goodFile(psk, text))).config!;
    const plan = planReload(load('before.yaml', ''), load('after.yaml', more));
    assert.deepEqual(
      plan.map((one) => one.effect),
      [effect],
    );
  });
}

test('retransmission is set by the tunnel, each number by itself', (t) => {
  const config = good(t, '    retransmit: { first: 250ms, sends: 5 }\n');
  const { first, factor, cap, sends } = config.tunnels[0]!.retransmit;
  assert.deepEqual([first, factor, cap, sends], [250, 1.5, 16_000, 5]);
});

test('post-quantum: by default ML-KEM is offered first and classical behind, each a proposal of its own', (t) => {
  const texts = (more: string) => good(t, more).tunnels[0]!.ike.proposals.map(templateText);
  const [hybrid, ...classical] = texts('');
  assert.match(hybrid!, /x25519\|.* \+ ml-kem-768\|ml-kem-1024$/);
  assert.ok(classical.length === 2 && classical.every((text) => !text.includes('ml-kem')));
  assert.deepEqual(texts('    post-quantum: off\n'), classical);
  assert.deepEqual(texts('    post-quantum: required\n'), [hybrid]);
});

for (const [mode, suite, complaint] of [
  ['required', 'aes-gcm-16-256 / x25519', /can end without ML-KEM.*post-quantum is required/],
  ['required', 'aes-gcm-16-256 / x25519 + ml-kem-768 | none', /can end without ML-KEM/],
  ['required', 'aes-gcm-16-256 / x25519 + ml-kem-768 | x448', /can end without ML-KEM/],
  ['required', 'aes-gcm-16-256 / x25519 + x448 + ml-kem-768', undefined],
  ['required', 'aes-gcm-16-256 / ml-kem-512', undefined],
  ['off', 'aes-gcm-16-256 / x25519 + ml-kem-768', /names ML-KEM; post-quantum is off/],
  ['off', 'aes-gcm-16-256 / x25519 + x448', undefined],
  ['preferred', 'aes-gcm-16-256 / x25519', undefined],
] as const) {
  test(`post-quantum: ${mode} ${complaint ? 'refuses' : 'takes'} ${suite}`, (t) => {
    const more = `    post-quantum: ${mode}\n    ike-suites: ["${suite}"]\n`;
    const files = folder(t);
    const { complaints: found } = loadConfig(
      files.write('a.yaml', goodFile(files.write('good.psk', PSK), more)),
    );
    if (complaint) assert.match(found.map(complaintText).join(), complaint);
    else assert.deepEqual(found, []);
  });
}

test('a PPK: required where nothing is said, off is none, its secret under a name of its own', (t) => {
  const files = folder(t);
  const secret = files.write(
    'good.ppk',
    'hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n',
  );
  const config = good(t, `    ppk: { id: site-1, file: ${secret} }\n`);
  assert.deepEqual(config.tunnels[0]!.ppk, { id: 'site-1', secret: 'office/ppk', use: 'required' });
  assert.equal(config.keyring.secrets.get('office/ppk')!().length, 32);
  assert.equal(good(t, `    ppk: { id: site-1, file: ${secret}, use: off }\n`).tunnels[0]!.ppk, undefined);
});

test('a PPK of less than 256 bits is warned of; one that is not there is refused', (t) => {
  const files = folder(t);
  const short = files.write('short.ppk', 'correct-horse-battery\n');
  const complaintsOf = (file: string) =>
    loadConfig(
      files.write(
        'a.yaml',
        goodFile(files.write('good.psk', PSK), `    ppk: { id: site-1, file: ${file} }\n`),
      ),
    ).complaints.map(complaintText);
  assert.match(complaintsOf(short).join(), /warning.*21 bytes; 32 random ones/);
  assert.match(complaintsOf('/nowhere/ppk').join(), /there is no such file/);
});

test('fragments of IKE messages: as the path carries them, never, or of so many bytes', (t) => {
  assert.equal(good(t).tunnels[0]!.fragmentation, 'auto');
  assert.equal(good(t, '    fragmentation: off\n').tunnels[0]!.fragmentation, undefined);
  assert.equal(good(t, '    fragmentation: 576\n').tunnels[0]!.fragmentation, 576);
});

test('a reload names what is new and what is gone', (t) => {
  const files = folder(t);
  const psk = files.write('good.psk', PSK);
  const before = loadConfig(files.write('before.yaml', goodFile(psk))).config!;
  const after = loadConfig(files.write('after.yaml', goodFile(psk).replace('office:', 'branch:'))).config!;
  assert.deepEqual(
    planReload(before, after).map(({ tunnel, effect }) => `${tunnel} ${effect}`),
    ['office removed', 'branch new'],
  );
});

test('the outer header and the engine: defaults, and what a file says', (t) => {
  const plain = good(t);
  assert.deepEqual(plain.engine, { workers: 1, spin: 0 });
  assert.deepEqual(plain.tunnels[0]!.children[0]!.outer, { df: 'clear', dscp: 'copy' });
  const said = good(t, '    df: copy\n    dscp: 46\n');
  assert.deepEqual(said.tunnels[0]!.children[0]!.outer, { df: 'copy', dscp: 46 });
});

for (const [what, gateway, complaint] of [
  ['more threads than there may be', 'engine: { workers: 17 }', /3:\d+: .*workers/],
  ['a key of the engine that is none', 'engine: { threads: 2 }', /unknown key threads/],
] as const) {
  test(`${what} is refused`, (t) => {
    const text = `gateway:\n  { name: a, address: 192.0.2.1,\n    ${gateway} }\ntunnels: { t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16 } }\n`;
    const [first] = complaints(t, text);
    assert.match(first ?? '', complaint);
  });
}

test('what the kernel cannot do with outer headers is refused, with the way out', (t) => {
  const text = `gateway: { name: a, address: 192.0.2.1, dataplane: xfrm }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16, remote: 10.2.0.0/16, dscp: 46 }\n`;
  assert.deepEqual(complaints(t, text), [
    'isthmus.yaml:3:6: t: with dataplane: xfrm, dscp can only be copy or 0, and df clear or copy; leave them out or use dataplane: engine',
  ]);
});

test('one selector pair per child: n × m networks become children of one pair each, named after the two', (t) => {
  const files = folder(t);
  const text = goodFile(
    files.write('good.psk', PSK),
    '    vendor: aws\n    children: { many: { local: [10.1.0.0/24, 10.1.1.0/24], remote: [10.2.0.0/24, 10.2.1.0/24] }, lab: { local: 10.1.9.0/24, remote: 10.2.9.0/24 } }\n',
  ).replace(/ {4}local: .*\n {4}remote: .*\n/, '');
  const { config, complaints: found } = loadConfig(files.write('isthmus.yaml', text));
  assert.ok(config, found.map(complaintText).join('\n'));
  const children = config.tunnels[0]!.children.map(
    ({ name, order, selectors }) =>
      `${order} ${name} ${selectors.local.length}×${selectors.remote.length} ${selectors.local[0]!.start} ${selectors.remote[0]!.start}`,
  );
  assert.deepEqual(children, [
    '0 many.1.1 1×1 10.1.0.0 10.2.0.0',
    '1 many.1.2 1×1 10.1.0.0 10.2.1.0',
    '2 many.2.1 1×1 10.1.1.0 10.2.0.0',
    '3 many.2.2 1×1 10.1.1.0 10.2.1.0',
    '4 lab 1×1 10.1.9.0 10.2.9.0',
  ]);
});

test('a vendor whose ESP goes in UDP only gets it so', (t) => {
  assert.equal(good(t, '    vendor: ibm\n').tunnels[0]!.encapsulation, 'udp');
  assert.equal(good(t).tunnels[0]!.encapsulation, 'auto');
  assert.equal(good(t, '    vendor: ibm\n    encapsulation: esp\n').tunnels[0]!.encapsulation, 'esp');
});

test('a type of ICMP is no port', (t) => {
  const found = complaints(
    t,
    `gateway: { name: a, address: 192.0.2.1 }\ntunnels:\n  t: { ${TUNNEL}, local: 10.1.0.0/16 icmp 8, remote: 10.2.0.0/16 }\n`,
  );
  assert.match(found.join(), /types of ICMP are not told apart; write icmp alone/);
});

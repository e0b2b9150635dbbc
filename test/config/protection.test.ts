// `protocol`, `transport`, `pad-to` and `ah-suites`: what they become, and every combination that is none.

import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { type TestContext, test } from 'node:test';
import { complaintText } from '../../src/config/complaint.ts';
import { loadConfig } from '../../src/config/load.ts';
import { planReload } from '../../src/config/plan.ts';
import { templateText } from '../../src/policy/proposal.ts';
import { selectorText } from '../../src/policy/selector.ts';
import { folder, PSK } from './files.ts';

/** A tunnel whose keys are `lines`, from line 5 on. */
function load(t: TestContext, lines: string[], top = '', plane = '') {
  const files = folder(t);
  const psk = files.write('good.psk', PSK);
  const text = [
    `gateway: { name: a, address: 192.0.2.1${plane} }`,
    `defaults: { auth: { psk: { file: ${psk} } }${top} }`,
    'tunnels:',
    '  t:',
    ...lines.map((line) => `    ${line}`),
  ].join('\n');
  const { config, complaints } = loadConfig(files.write('isthmus.yaml', text));
  const texts = complaints.map((one) => complaintText({ ...one, file: basename(one.file) }));
  return { config, texts };
}

const PEER = 'peer: 198.51.100.1';
const NETS = ['local: 10.1.0.0/16', 'remote: 10.2.0.0/16'];

test('protocol: ah takes the suites of AH, with a key exchange where the peer has one, and check warns that nothing is secret', (t) => {
  const { config, texts } = load(t, [PEER, ...NETS, 'protocol: ah']);
  const [child] = config!.tunnels[0]!.children;
  assert.deepEqual([child!.protocol, child!.mode], ['ah', 'tunnel']);
  assert.deepEqual(child!.proposals.map(templateText), [
    'ah hmac-sha2-256-128|hmac-sha2-512-256|hmac-sha2-384-192 / x25519|ecp-256|ecp-384|modp-2048',
    'ah hmac-sha2-256-128|hmac-sha2-512-256|hmac-sha2-384-192',
  ]);
  assert.deepEqual(texts, [
    'isthmus.yaml:8:15: warning: protocol: ah keeps nothing secret: everybody on the way can read the packets',
  ]);
});

test('AES-GMAC only where it is named', (t) => {
  const { config } = load(t, [PEER, ...NETS, 'protocol: ah', 'ah-suites: [aes-256-gmac / x25519]']);
  assert.deepEqual(config!.tunnels[0]!.children[0]!.proposals.map(templateText), [
    'ah aes-256-gmac / x25519',
  ]);
});

test("the kernel's AH has no AES-GMAC: refused where nothing else is named", (t) => {
  const of = (suites: string) =>
    load(t, [PEER, ...NETS, 'protocol: ah', `ah-suites: [${suites}]`], '', ', dataplane: xfrm');
  const { config, texts } = of('aes-128-gmac | aes-256-gmac');
  assert.equal(config, undefined);
  assert.match(texts.join(), /isthmus\.yaml:9:16: the AH of the kernel has no AES-GMAC: name another/);
  assert.ok(of('aes-128-gmac | hmac-sha2-256-128').config);
  assert.ok(of('aes-128-gmac, hmac-sha2-256-128').config);
});

test('a child says otherwise than its tunnel', (t) => {
  const { config } = load(t, [
    PEER,
    'protocol: ah',
    'children:',
    '  open: { local: 10.1.1.0/24, remote: 10.2.0.0/16 }',
    '  secret: { local: 10.1.2.0/24, remote: 10.2.0.0/16, protocol: esp, pad-to: 1300 }',
  ]);
  assert.deepEqual(
    config!.tunnels[0]!.children.map(({ protocol, padTo }) => [protocol, padTo]),
    [
      ['ah', undefined],
      ['esp', 1300],
    ],
  );
});

test('transport: the outer addresses, all of their packets or those of one protocol', (t) => {
  const whole = load(t, [PEER, 'transport: true']).config!.tunnels[0]!.children[0]!;
  assert.equal(whole.mode, 'transport');
  assert.equal(whole.selectors.local.map(selectorText).join(), '192.0.2.1/32');
  assert.equal(whole.selectors.remote.map(selectorText).join(), '198.51.100.1/32');
  const gre = load(t, [PEER, 'transport: true', 'local: 192.0.2.1 gre', 'remote: 198.51.100.1 gre']);
  const { selectors } = gre.config!.tunnels[0]!.children[0]!;
  assert.equal(selectors.remote.map(selectorText).join(), '198.51.100.1/32 protocol 47');
});

test('another protocol or mode is another tunnel: reload restarts it', (t) => {
  const of = (...more: string[]) => load(t, [PEER, ...NETS, ...more]).config!;
  const effect = (before: string[], after: string[]) => {
    const [old, next] = [of(...before), of(...after)];
    return planReload(old, { ...next, keyring: old.keyring })[0]!.effect;
  };
  assert.equal(effect([], ['protocol: ah']), 'restart');
  assert.equal(effect(['pad-to: 1300'], ['pad-to: 1200']), 'rekey');
});

test('vendor: libreswan is known for how it deletes children of AH, and IKE knows of it', (t) => {
  const { config } = load(t, [PEER, ...NETS, 'vendor: libreswan']);
  assert.deepEqual(config!.tunnels[0]!.quirks, ['ah-deleted-by-zero']);
});

for (const [what, lines, complaint] of [
  [
    'pad-to with AH',
    [PEER, ...NETS, 'protocol: ah', 'pad-to: 1300'],
    '9:13: pad-to hides the size of packets, and AH hides nothing: leave it out',
  ],
  [
    'pad-to in transport mode',
    [PEER, 'transport: true', 'pad-to: 1300'],
    '7:13: pad-to needs tunnel mode: without an inner header the peer cannot tell where a packet ends',
  ],
  ['more than fits', [PEER, ...NETS, 'pad-to: 1480'], '8:13: 1480 bytes do not fit into an outer packet: 14'],
  ['padding of no size', [PEER, ...NETS, 'pad-to: 3'], '8:13: pad-to: '],
  [
    'ah-suites without AH',
    [PEER, ...NETS, 'ah-suites: [hmac-sha2-256-128]'],
    '8:16: no child of this tunnel has protocol: ah: leave ah-suites out, or write it',
  ],
  [
    'esp-suites without ESP',
    [PEER, ...NETS, 'protocol: ah', 'esp-suites: [aes-gcm-16-256]'],
    '9:17: no child of this tunnel has protocol: esp: leave esp-suites out, or write it',
  ],
  [
    'encryption in AH',
    [PEER, ...NETS, 'protocol: ah', 'ah-suites: [aes-gcm-16-256]'],
    '9:17: aes-gcm-16-256 is encryption, and AH has none: protocol: esp encrypts',
  ],
  [
    'AH in UDP',
    [PEER, ...NETS, 'protocol: ah', 'encapsulation: udp'],
    '9:20: AH does not travel in UDP: leave encapsulation out, or write protocol: esp',
  ],
  [
    'AH for a vendor that takes UDP only',
    [PEER, ...NETS, 'protocol: ah', 'vendor: ibm'],
    '9:13: AH does not travel in UDP, and such a peer takes nothing else: write protocol: esp',
  ],
  [
    'networks in transport mode',
    [PEER, ...NETS, 'transport: true'],
    '6:12: 10.1.0.0/16 is not 192.0.2.1/32: transport mode is for packets of the outer addresses alone; leave local out, or name a protocol of it: 192.0.2.1 gre',
  ],
  [
    'another host in transport mode',
    [PEER, 'transport: true', 'remote: 198.51.100.2'],
    '7:13: 198.51.100.2/32 is not 198.51.100.1/32',
  ],
  [
    'transport mode with anybody',
    ['peer: any', 'peer-id: gw.example.org', 'transport: true'],
    '5:11: transport mode is between two addresses',
  ],
  [
    'transport mode with several addresses of the peer',
    ['peer: [198.51.100.1, 198.51.100.2]', 'transport: true'],
    '5:11: transport mode is between two addresses',
  ],
  [
    'transport mode by routes',
    [PEER, 'mode: route', 'transport: true'],
    '7:16: transport mode is for packets of the outer addresses, and an interface takes those of others',
  ],
  ['no networks at all', [PEER], '5:5: local is missing: the networks on this side'],
  [
    'a child without networks',
    [PEER, 'children:', '  c: { local: 10.1.0.0/16 }'],
    '7:10: remote is missing: the networks on the other side',
  ],
  ['a protocol that is none', [PEER, ...NETS, 'protocol: ipcomp'], '8:15: protocol: '],
] as const) {
  test(`refused: ${what}`, (t) => {
    const { config, texts } = load(t, [...lines]);
    assert.equal(config, undefined);
    assert.ok(
      texts.some((text) => text.startsWith(`isthmus.yaml:${complaint}`)),
      texts.join('\n'),
    );
  });
}

test('what stands in the tunnel is told once, however many children it is wrong for', (t) => {
  const children = [
    'children:',
    ...[1, 2, 3].map((n) => `  c${n}: { local: 10.${n}.0.0/16, remote: 10.9.0.0/16 }`),
  ];
  const { texts } = load(t, [PEER, 'protocol: ah', 'pad-to: 1300', ...children]);
  assert.equal(texts.length, 2, texts.join('\n'));
});

test('transport mode by routes is one complaint', (t) => {
  assert.equal(load(t, [PEER, 'mode: route', 'transport: true']).texts.length, 1);
});

test('suites in the defaults serve those who need them, and no other is told', (t) => {
  const both = ', ah-suites: [hmac-sha2-512-256], esp-suites: [aes-gcm-16-128]';
  const { config, texts } = load(t, [PEER, ...NETS], both);
  assert.ok(config, texts.join('\n'));
});

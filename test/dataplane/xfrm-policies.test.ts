import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claim, newClaims, winnerOf } from '../../src/dataplane/xfrm-claims.ts';
import { lookupOf, portBlocks, type Spd } from '../../src/dataplane/xfrm-policies.ts';
import { selectorOf } from '../../src/policy/selector.ts';
import { fromXfrmAddress, type XfrmPolicy } from '../../src/wire/xfrm.ts';
import { policy, range } from './packets.ts';

const NET = { local: [selectorOf('10.1.0.0/16')!], remote: [selectorOf('10.2.0.0/16')!] };
const CARRIED = { protocol: 'esp', mode: 'tunnel', selectors: NET } as const;
const SA = { ...CARRIED, spi: 1000, local: '192.0.2.1', remote: '198.51.100.1' };

function entry(changes: Partial<Spd> = {}): Spd {
  const asking = policy('t/net', { selectors: NET, acquire: true });
  return { policy: asking, lookup: {}, reqid: 7, acquireReqid: 8, stopped: false, inbound: [], ...changes };
}

/** `out 10.1.0.0/16>10.2.0.0/16 allow 7:1000`: direction, selector, action, reqid and SPI of the template. */
function said(entries: Spd[]): string[] {
  return table(entries)
    .map(({ policy: one }) => textOf(one))
    .sort();
}

function table(entries: Spd[]) {
  const claims = newClaims();
  for (const one of entries) claim(claims, one.policy.id, one);
  return [...claims.byKey.keys()].map((key) => winnerOf(claims, key)!);
}

function textOf({
  info: { selector: s, direction, action },
  attributes: { templates = [] },
}: XfrmPolicy): string {
  const side = (address: Uint8Array, length: number, port: number, mask: number) =>
    `${fromXfrmAddress(address, s.family)}/${length}${mask === 0 ? '' : `:${port}/${mask.toString(16)}`}`;
  const from = side(s.source, s.sourceLength, s.sourcePort, s.sourcePortMask);
  const to = side(s.destination, s.destinationLength, s.destinationPort, s.destinationPortMask);
  const template = templates.map(({ reqid, id }) => ` ${reqid}:${id.spi}`).join('');
  const protocol = s.protocol === 0 ? '' : ` protocol ${s.protocol}`;
  return `${['in', 'out', 'fwd'][direction]} ${from}>${to}${protocol} ${['allow', 'block'][action]}${template}`;
}

test('a policy without an SA asks for one, or drops; nothing comes in', () => {
  const inward = ['fwd 10.2.0.0/16>10.1.0.0/16 block', 'in 10.2.0.0/16>10.1.0.0/16 block'];
  assert.deepEqual(said([entry()]), [...inward, 'out 10.1.0.0/16>10.2.0.0/16 allow 8:0']);
  const silent = policy('t/net', { selectors: NET });
  assert.deepEqual(said([entry({ policy: silent })]), [...inward, 'out 10.1.0.0/16>10.2.0.0/16 block']);
});

test('the template names the SA in use, and inbound every SA of the policy', () => {
  assert.deepEqual(said([entry({ outbound: SA, inbound: [CARRIED] })]), [
    'fwd 10.2.0.0/16>10.1.0.0/16 allow 7:0',
    'in 10.2.0.0/16>10.1.0.0/16 allow 7:0',
    'out 10.1.0.0/16>10.2.0.0/16 allow 7:1000',
  ]);
});

test('an SA that may carry less than its policy: the rest is dropped and never asked for', () => {
  const narrow = { ...NET, remote: [selectorOf('10.2.3.0/24')!] };
  const lines = said([entry({ outbound: { ...SA, selectors: narrow } })]);
  assert.ok(lines.includes('out 10.1.0.0/16>10.2.3.0/24 allow 7:1000'));
  assert.ok(lines.includes('out 10.1.0.0/16>10.2.0.0/16 block'));
});

test('an SA at its hard limit: dropped, not asked for', () => {
  assert.ok(said([entry({ stopped: true })]).includes('out 10.1.0.0/16>10.2.0.0/16 block'));
});

test('the same selectors twice: the lower order has them, and the other when it goes', () => {
  const second = entry({
    policy: policy('u/net', { selectors: NET, order: 2 }),
    reqid: 9,
    outbound: { ...SA, spi: 2000 },
  });
  const out = (entries: Spd[]) => said(entries).find((line) => line.startsWith('out'));
  assert.equal(out([second, entry({ outbound: SA })]), 'out 10.1.0.0/16>10.2.0.0/16 allow 7:1000');
  assert.equal(out([second]), 'out 10.1.0.0/16>10.2.0.0/16 allow 9:2000');
});

test('a policy that changes touches its own places only', () => {
  const claims = newClaims();
  const other = entry({
    policy: policy('u/net', { selectors: { ...NET, remote: [selectorOf('10.9.0.0/16')!] } }),
  });
  claim(claims, 'u/net', other);
  assert.equal(claim(claims, 't/net', entry()).size, 3);
  const touched = claim(claims, 't/net', entry({ outbound: SA }));
  assert.equal(touched.size, 3);
  assert.equal(claim(claims, 't/net', undefined).size, 3);
  assert.deepEqual([...claims.byOwner.keys()], ['u/net']);
  assert.equal(claims.byKey.size, 3);
});

test('the lower order, and within it what an SA carries, comes first in the kernel', () => {
  const narrow = { ...NET, remote: [selectorOf('10.2.3.0/24')!] };
  const first = entry({ outbound: { ...SA, selectors: narrow } });
  const second = entry({
    policy: policy('u/net', { order: 1, selectors: { ...NET, remote: [selectorOf('10.2.0.0/15')!] } }),
  });
  const rows = table([second, first]).map(({ owner, policy: { info } }) => [
    info.priority,
    owner,
    info.selector.destinationLength,
  ]);
  const out = rows.sort((a, b) => Number(a[0]) - Number(b[0]));
  assert.deepEqual(out[0], [10_001, 't/net', 24]);
  assert.ok(out.filter(([, owner]) => owner === 'u/net').every(([priority]) => Number(priority) > 10_003));
});

test('everything as remote network: the local one and the link stay out of the tunnel', () => {
  const everything = { local: NET.local, remote: [selectorOf('0.0.0.0/0')!] };
  const lines = said([entry({ policy: policy('t/net', { selectors: everything }) })]);
  for (const line of [
    'out 10.1.0.0/16>10.1.0.0/16 allow',
    'fwd 10.1.0.0/16>10.1.0.0/16 allow',
    'out 10.1.0.0/16>224.0.0.0/24 allow',
    'out 10.1.0.0/16>0.0.0.0/0 block',
  ])
    assert.ok(lines.includes(line), line);
});

test('policies of links are apart by the interface or the mark, and before all others', () => {
  const any = { local: [selectorOf('0.0.0.0/0')!], remote: [selectorOf('0.0.0.0/0')!] };
  for (const links of ['xfrm', 'vti'] as const) {
    const entries = [1, 2].map((id) => {
      const routed = policy(`t${id}/net`, { selectors: any, order: 7, link: { name: `t${id}`, id } });
      return entry({ policy: routed, lookup: lookupOf(routed, links) });
    });
    const rows = table(entries).map(({ policy: { attributes } }) => attributes);
    assert.equal(rows.length, 6);
    const seen = new Set(rows.map(({ ifId, mark }) => ifId ?? `${mark!.value.toString(16)}/${mark!.mask}`));
    assert.deepEqual([...seen], links === 'xfrm' ? [1, 2] : ['2d000001/4294967295', '2d000002/4294967295']);
    assert.ok(table(entries).every(({ policy: { info } }) => info.priority < 10_000));
  }
  assert.throws(() => lookupOf(policy('t/net', { link: { name: 't', id: 1 } }), undefined), RangeError);
});

test('everything to everything has nothing local; two hosts of IPv6 may find each other', () => {
  const any = { local: [selectorOf('0.0.0.0/0')!], remote: [selectorOf('0.0.0.0/0')!] };
  const lines = said([entry({ policy: policy('t/net', { selectors: any }) })]);
  assert.ok(!lines.includes('out 0.0.0.0/0>0.0.0.0/0 allow'));
  const hosts = { local: [selectorOf('2001:db8::1')!], remote: [selectorOf('2001:db8::2')!] };
  assert.deepEqual(said([entry({ policy: policy('t/net', { selectors: hosts }) })]), [
    'fwd 2001:db8::2/128:135/ffff>2001:db8::1/128 protocol 58 allow',
    'fwd 2001:db8::2/128:136/ffff>2001:db8::1/128 protocol 58 allow',
    'fwd 2001:db8::2/128>2001:db8::1/128 block',
    'in 2001:db8::2/128:135/ffff>2001:db8::1/128 protocol 58 allow',
    'in 2001:db8::2/128:136/ffff>2001:db8::1/128 protocol 58 allow',
    'in 2001:db8::2/128>2001:db8::1/128 block',
    'out 2001:db8::1/128:135/ffff>2001:db8::2/128 protocol 58 allow',
    'out 2001:db8::1/128:136/ffff>2001:db8::2/128 protocol 58 allow',
    'out 2001:db8::1/128>2001:db8::2/128 block',
  ]);
});

test('bypass and discard need no SA', () => {
  const plain = entry({ policy: policy('t/net', { selectors: NET, action: 'bypass' }) });
  assert.ok(said([plain]).every((line) => line.endsWith('allow')));
  const none = entry({ policy: policy('t/net', { selectors: NET, action: 'discard' }) });
  assert.ok(said([none]).every((line) => line.endsWith('block')));
});

test('a range of addresses and ports becomes the prefixes and masks that it is made of', () => {
  assert.deepEqual(portBlocks(0, 65535), [[0, 65535]]);
  assert.deepEqual(portBlocks(80, 90), [
    [80, 87],
    [88, 89],
    [90, 90],
  ]);
  const odd = {
    local: NET.local,
    remote: [range('10.2.0.5', '10.2.0.7', { protocol: 6, startPort: 80, endPort: 83 })],
  };
  const out = said([entry({ policy: policy('t/net', { selectors: odd }) })]).filter((line) =>
    line.startsWith('out'),
  );
  assert.deepEqual(out, [
    'out 10.1.0.0/16>10.2.0.5/32:80/fffc protocol 6 block',
    'out 10.1.0.0/16>10.2.0.6/31:80/fffc protocol 6 block',
  ]);
});

test('what the kernel cannot say is refused', () => {
  const types = {
    local: NET.local,
    remote: [range('10.2.0.0', '10.2.0.255', { protocol: 1, startPort: 8, endPort: 8 })],
  };
  assert.throws(() => said([entry({ policy: policy('t/net', { selectors: types }) })]), RangeError);
  const many = {
    local: NET.local,
    remote: [range('10.2.0.1', '10.2.255.254', { startPort: 1, endPort: 65534 })],
  };
  const wide = { ...many, local: Array.from({ length: 9 }, (_, n) => selectorOf(`10.1.${n}.0/24`)!) };
  assert.throws(
    () => said([entry({ policy: policy('t/net', { selectors: wide }) })]),
    /policies of the kernel/,
  );
});

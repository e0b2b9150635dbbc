// `xfrm` of a tunnel: marks and offload, and what of them is none.

import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { type TestContext, test } from 'node:test';
import { complaintText } from '../../src/config/complaint.ts';
import { loadConfig } from '../../src/config/load.ts';
import { planReload } from '../../src/config/plan.ts';
import { folder, PSK } from './files.ts';

/** A tunnel whose last key, in line 5, is `xfrm`. */
function load(t: TestContext, xfrm: string, dataplane = 'xfrm', more = '') {
  const files = folder(t);
  const text = `gateway: { name: a, address: 192.0.2.1, dataplane: ${dataplane} }
tunnels:
  t: { peer: 198.51.100.1, auth: { psk: { file: ${files.write('good.psk', PSK)} } }, local: 10.1.0.0/16,
    remote: 10.2.0.0/16${more},
    xfrm: ${xfrm} }
`;
  const { config, complaints } = loadConfig(files.write('isthmus.yaml', text));
  return { config, texts: complaints.map((one) => complaintText({ ...one, file: basename(one.file) })) };
}

test('marks are decimal or hexadecimal, with a mask or the whole mark', (t) => {
  const kernelOf = (xfrm: string) => load(t, xfrm).config!.tunnels[0]!.kernel;
  assert.deepEqual(kernelOf('{ mark: 42 }'), { mark: { value: 42, mask: 0xffffffff }, offload: 'off' });
  assert.deepEqual(kernelOf('{ mark: 0x2a/0xff, output-mark: 0x80000000/0xf0000000, offload: auto }'), {
    mark: { value: 42, mask: 255 },
    outputMark: { value: 0x80000000, mask: 0xf0000000 },
    offload: 'auto',
  });
});

for (const [xfrm, complaint] of [
  ['{ mark: blue }', '5:19: "blue" is not a mark; write 42, 0x2a or 0x2a/0xff'],
  ['{ mark: 1/2/3 }', '5:19: "1/2/3" is not a mark; write 42, 0x2a or 0x2a/0xff'],
  ['{ mark: 0x1ff/0xff }', '5:19: "0x1ff/0xff" has bits that its mask leaves out'],
  ['{ mark: 0/0 }', '5:19: "0/0" has an empty mask, which every packet fits'],
  [
    '{ output-mark: 7 }',
    '5:26: the bits 0x2d00000 are ours, on every outer packet; leave them out of the mask, or choose another gateway.routing.mark',
  ],
] as const) {
  test(`${xfrm} is refused where it stands`, (t) => {
    assert.deepEqual(load(t, xfrm).texts, [`isthmus.yaml:${complaint}`]);
  });
}

test('the engine knows of none of it, and interfaces do no AH', (t) => {
  assert.deepEqual(load(t, '{ mark: 7 }', 'engine').texts, [
    'isthmus.yaml:5:11: only the IPsec of the kernel knows of it: gateway: { dataplane: xfrm }',
  ]);
  const { texts } = load(t, '{ offload: crypto }', 'xfrm', ', protocol: ah');
  assert.ok(texts.includes('isthmus.yaml:5:22: interfaces do ESP only, not AH'), texts.join('\n'));
  assert.ok(
    !load(t, '{ offload: auto }', 'xfrm', ', protocol: ah').texts.some((one) => one.includes('ESP only')),
  );
});

test('another mark is another tunnel: it starts again', (t) => {
  const [before, after] = ['{ mark: 7 }', '{ mark: 8 }'].map((xfrm) => load(t, xfrm).config!);
  assert.deepEqual(
    planReload(before!, after!).map(({ effect }) => effect),
    ['restart'],
  );
});

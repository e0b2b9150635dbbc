import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { planReload } from '../../src/config/plan.ts';
import { folder, PSK } from './files.ts';

function load(t: TestContext, networks: string): { config: Config | undefined; problems: string[] } {
  const files = folder(t);
  const psk = files.write('good.psk', PSK);
  const file = files.write(
    'isthmus.yaml',
    `gateway: { name: a, address: 192.0.2.1 }
tunnels:
  t: { peer: 198.51.100.1, auth: { psk: { file: "${psk}" } }, ${networks} }
`,
  );
  const { config, complaints } = loadConfig(file);
  return { config, problems: complaints.map(({ problem }) => problem) };
}

const ONE = 'local: 10.1.0.0/16, remote: 10.2.0.0/16';
const probeOf = (config: Config | undefined, child = 0) => config?.tunnels[0]?.children[child]?.probe;

test('a probe: where to, from where, how often; a second and four are what is not said', (t) => {
  const short = load(t, `${ONE}, probe: { to: 10.2.0.1 }`);
  assert.deepEqual(probeOf(short.config), { to: '10.2.0.1', every: 1000, lost: 4 }, short.problems.join());
  const long = load(t, `${ONE}, probe: { to: 10.2.0.1, from: 10.1.0.1, every: 200ms, lost: 3 }`);
  assert.deepEqual(probeOf(long.config), { to: '10.2.0.1', from: '10.1.0.1', every: 200, lost: 3 });
  assert.equal(probeOf(load(t, ONE).config), undefined);
});

test('of several children the one is probed that the address goes through, or each by its own', (t) => {
  const children = (own: string) =>
    `children: { a: { local: 10.1.0.0/16, remote: 10.2.0.0/16 }, b: { local: 10.1.0.0/16, remote: 10.3.0.0/16${own} } }`;
  const shared = load(t, `${children('')}, probe: { to: 10.3.0.1 }`).config;
  assert.deepEqual([probeOf(shared, 0), probeOf(shared, 1)?.to], [undefined, '10.3.0.1']);
  const own = load(t, `${children(', probe: { to: 10.3.0.2 }')}, probe: { to: 10.2.0.1 }`).config;
  assert.deepEqual([probeOf(own, 0)?.to, probeOf(own, 1)?.to], ['10.2.0.1', '10.3.0.2']);
});

for (const [what, probe, problem] of [
  ['outside remote', '{ to: 10.9.0.1 }', '10.9.0.1 is not an address inside remote'],
  ['no address', '{ to: gw }', 'gw is not an address inside remote'],
  [
    'from outside local',
    '{ to: 10.2.0.1, from: 10.9.0.1 }',
    '10.9.0.1 is not an address inside local (10.1.0.0/16)',
  ],
  ['too often', '{ to: 10.2.0.1, every: 10ms }', '"10ms" is not from 100ms to 1h'],
  ['no duration', '{ to: 10.2.0.1, every: often }', '"often" is not from 100ms to 1h'],
] as const)
  test(`a probe is refused: ${what}`, (t) => {
    const { config, problems } = load(t, `${ONE}, probe: ${probe}`);
    assert.equal(config, undefined);
    assert.ok(
      problems.some((one) => one.includes(problem)),
      problems.join('\n'),
    );
  });

test('where icmp does not go through, no probe does', (t) => {
  const { problems } = load(t, 'local: 10.1.0.0/16 tcp, remote: 10.2.0.0/16 tcp, probe: { to: 10.2.0.1 }');
  assert.ok(
    problems.some((one) => one.includes('lets icmp through')),
    problems.join('\n'),
  );
});

test('a reload that changes only a probe leaves the tunnel untouched', (t) => {
  const [before, after] = ['1s', '200ms'].map((every) =>
    load(t, `${ONE}, probe: { to: 10.2.0.1, every: ${every} }`),
  );
  assert.deepEqual(
    planReload(before!.config!, after!.config!).map(({ effect }) => effect),
    ['untouched'],
  );
});

test('liveness goes down to a tenth of a second', (t) => {
  assert.equal(load(t, `${ONE}, liveness: 500ms`).config!.tunnels[0]!.liveness, 500);
  assert.ok(load(t, `${ONE}, liveness: 50ms`).problems.some((one) => one.includes('100ms at least')));
  assert.equal(load(t, `${ONE}, liveness: 0s`).config!.tunnels[0]!.liveness, 0);
});

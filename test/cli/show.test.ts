import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { printStatus } from '../../src/cli/show.ts';
import type { Ending } from '../../src/daemon/expiry.ts';
import type { ChildStatus, Status, TunnelStatus } from '../../src/daemon/status.ts';
import { explainDrops } from '../../src/dataplane/xfrm-statistics.ts';

/** What is printed, line by line, and the exit code. */
function shown(
  t: TestContext,
  status: Status,
  name?: string,
  json = false,
): { lines: string[]; exit: number } {
  const written: string[] = [];
  const mock = t.mock.method(process.stdout, 'write', (text: string) => written.push(text) > 0);
  const exit = printStatus(status, name, json);
  mock.mock.restore();
  return { lines: written.join('').trimEnd().split('\n'), exit };
}

function child(changes: Partial<ChildStatus> = {}): ChildStatus {
  return {
    name: 'net',
    state: 'passing',
    spiIn: 1,
    spiOut: 2,
    algorithms: 'aes-gcm-16-256',
    transport: false,
    age: 5000,
    rekeyIn: 1e6,
    rekey: { verdict: 'rehearsed', age: 100 },
    local: ['10.1.0.0/16'],
    remote: ['10.2.0.0/16'],
    in: { packets: 1, bytes: 2000, age: 3000 },
    out: { packets: 1, bytes: 100, age: 3000 },
    ...changes,
  };
}

function status(...tunnels: (Partial<TunnelStatus> & { name: string })[]): Status {
  const common = { state: 'passing', peer: '198.51.100.1', age: 60_000 } as const;
  return {
    name: 'a',
    pid: 1,
    dataplane: 'engine',
    dataplaneWhy: 'the configuration says so',
    tunnels: tunnels.map((one) => ({ ...common, children: [child()], ...one })),
    certificates: [],
    drops: {},
    explained: [],
  };
}

test('a row a tunnel and a child: proof with round trip and loss, the verdict of the rehearsal', (t) => {
  const probe = { to: '10.2.0.1', every: 200, sent: 99, answered: 90, verdict: 'answered' } as const;
  const probed = child({ probe: { ...probe, age: 150, rtt: 1.25, loss: 0.031 } });
  const { lines, exit } = shown(t, status({ name: 'office', children: [probed] }));
  assert.match(lines[0]!, /^TUNNEL +STATE .* LAST PROOF +REKEY +ALGORITHMS$/);
  assert.match(lines[2]!, /^ {2}net +passing .* 150 ms ago, 1\.3 ms, 3 % lost +rehearsed +aes-gcm-16-256$/);
  assert.equal(exit, 0);
});

test('under the table: why, refused rekeys, certificates that end soon', (t) => {
  const refused = child({ rekey: { verdict: 'refused', sentence: 'they want ecp-384' } });
  const ending = (days: number): Ending => ({
    whose: 'own',
    subject: 'CN=gw',
    fingerprint: 'ff',
    notAfter: 0,
    days,
    tunnels: ['office'],
  });
  const all = status({ name: 'office', state: 'degraded', why: 'look there', children: [refused] });
  all.certificates = [6, 60].map(ending);
  const { lines, exit } = shown(t, all);
  assert.deepEqual(lines.slice(3), [
    'certificate CN=gw ends in 6 days (office)',
    'office: look there',
    'office: rekey refused: they want ecp-384',
    'data plane: engine, because the configuration says so',
  ]);
  assert.equal(exit, 1);
});

test('what the network card does, each way, and why not more; nothing where nobody asked', (t) => {
  const by = (offload: ChildStatus['in']['offload']) => ({
    packets: 1,
    bytes: 1,
    ...(offload ? { offload } : {}),
  });
  const reason = 'it does not encrypt';
  const children = [
    child({ name: 'lan', in: by({ by: 'crypto' }), out: by({ by: 'off', reason }) }),
    child({ name: 'dmz', in: by(undefined), out: by(undefined) }),
  ];
  const alone = child({ in: by({ by: 'packet' }), out: by({ by: 'packet' }) });
  const { lines } = shown(t, status({ name: 'office', children }, { name: 'lab', children: [alone] }));
  assert.deepEqual(
    lines.filter((line) => line.includes('offload')),
    ['office/lan: offload: in crypto, out off (it does not encrypt)', 'lab: offload: in packet, out packet'],
  );
});

test('packets that the kernel dropped: what each counter means, whose fault it is, what to do', (t) => {
  const all = status({ name: 'office' });
  all.dataplane = 'xfrm';
  all.dataplaneWhy = 'the kernel can do all that the tunnels ask for';
  all.drops = { 'inbound-replay': 3, XfrmInTomorrow: 1 };
  all.explained = explainDrops({ 'inbound-replay': 3n, XfrmInTomorrow: 1n });
  assert.deepEqual(shown(t, all).lines.slice(3), [
    'dropped: inbound-replay 3, XfrmInTomorrow 1',
    '  inbound-replay 3: a packet came twice, or later than the replay window reaches (the network between); a path that reorders much wants a larger replay-window; copies of packets are an attack or a broken network',
    'data plane: xfrm, because the kernel can do all that the tunnels ask for',
  ]);
});

test('one tunnel by name, as JSON; negotiated is enough for exit code 0', (t) => {
  const all = status({ name: 'office', state: 'negotiated' }, { name: 'lab', state: 'down' });
  const { lines, exit } = shown(t, all, 'office', true);
  const { tunnels } = JSON.parse(lines[0]!) as Status;
  assert.deepEqual([tunnels.length, tunnels[0]!.name, exit], [1, 'office', 0]);
  assert.equal(shown(t, all).exit, 1);
  assert.throws(() => shown(t, all, 'nobody'), /there is no tunnel nobody/);
});

test('a hundred thousand rows are printed', (t) => {
  const many = Array.from({ length: 50_000 }, (_, index) => ({ name: `t${index}` }));
  assert.equal(shown(t, status(...many)).lines.length, 100_002);
});

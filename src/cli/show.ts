// What a daemon knows, as tables and as JSON.

import type { createClient } from '../control/client.ts';
import type { ChildStatus, Status, TunnelStatus } from '../daemon/status.ts';
import { EXIT, UsageError } from './exit.ts';
import { size, span, table } from './table.ts';

type Client = ReturnType<typeof createClient>;

/** Exit code 0 when every tunnel (or the named one) is negotiated or better. */
export function printStatus(status: Status, name: string | undefined, json: boolean): number {
  const tunnels = status.tunnels.filter((tunnel) => name === undefined || tunnel.name === name);
  if (name !== undefined && tunnels.length === 0) throw new UsageError(`there is no tunnel ${name}`);
  if (json) print(JSON.stringify({ ...status, tunnels }));
  else printTunnels({ ...status, tunnels });
  const fine = tunnels.every(({ state }) => state === 'passing' || state === 'negotiated');
  return fine ? EXIT.yes : EXIT.no;
}

/** Days before the end of a certificate that it is shown. */
const SOON = 30;

const WHOSE = {
  peer: 'the peer',
  network: 'the network between',
  host: 'this machine',
  nobody: "nobody's fault",
};

function printTunnels({
  tunnels,
  certificates,
  drops,
  explained,
  exportsKeys,
  dataplane,
  dataplaneWhy,
}: Status): void {
  if (exportsKeys !== undefined) print(`WARNING: every key is written to ${exportsKeys}`);
  const rows = tunnels.flatMap((tunnel) => [tunnelRow(tunnel), ...tunnel.children.map(childRow)]);
  print(
    table(
      ['TUNNEL', 'STATE', 'SINCE', 'PEER / NETWORKS', 'IN', 'OUT', 'LAST PROOF', 'REKEY', 'ALGORITHMS'],
      rows,
    ),
  );
  for (const { subject, days, tunnels: resting } of certificates.filter((one) => one.days < SOON))
    print(
      `certificate ${subject} ${days < 0 ? 'has ended' : `ends in ${days} days`} (${resting.slice(0, 5).join(', ')})`,
    );
  for (const { name, interface: link } of tunnels) if (link) print(`${name}: ${linkText(link)}`);
  for (const { name, children } of tunnels)
    for (const child of children) if (child.pathMtu) print(`${name}: ${pathMtuText(child)}`);
  for (const { name, why } of tunnels) if (why) print(`${name}: ${why}`);
  for (const { name, children } of tunnels)
    for (const child of children) printOffload(children.length > 1 ? `${name}/${child.name}` : name, child);
  for (const { name, children } of tunnels)
    for (const { rekey } of children) if (rekey.sentence) print(`${name}: rekey refused: ${rekey.sentence}`);
  const dropped = Object.entries(drops).filter(([, count]) => count > 0);
  if (dropped.length > 0)
    print(`dropped: ${dropped.map(([cause, count]) => `${cause} ${count}`).join(', ')}`);
  for (const { name, count, fault, meaning, advice } of explained)
    print(`  ${name} ${count}: ${meaning} (${WHOSE[fault]}); ${advice}`);
  print(`data plane: ${dataplane}, because ${dataplaneWhy}`);
}

function linkText({ name, state, mtu, addresses }: NonNullable<TunnelStatus['interface']>): string {
  const own = addresses.length > 0 ? `, ${addresses.join(', ')}` : '';
  return `interface ${name} is ${state}, MTU ${mtu}${own}`;
}

/** Only where it was asked for. */
function printOffload(name: string, child: ChildStatus): void {
  const ways = (['in', 'out'] as const).flatMap((way) => {
    const { offload } = child[way];
    return offload ? [`${way} ${offload.by}${offload.reason ? ` (${offload.reason})` : ''}`] : [];
  });
  if (ways.length > 0) print(`${name}: offload: ${ways.join(', ')}`);
}

function tunnelRow({ name, state, age, peer, vendor, algorithms }: TunnelStatus): string[] {
  const who = vendor === undefined ? peer : `${peer} (${vendor})`;
  return [name, state, span(age), who, '', '', '', '', algorithms ?? ''];
}

function childRow(child: ChildStatus): string[] {
  const { name, state, age, local, remote, algorithms, transport } = child;
  const networks = `${local.join(', ')} to ${remote.join(', ')}${transport ? ', transport' : ''}`;
  return [
    `  ${name}`,
    state,
    span(age),
    networks,
    size(child.in.bytes),
    size(child.out.bytes),
    proofText(child),
    child.rekey.verdict,
    algorithms,
  ];
}

/** When the last authenticated packet came in; of a probe how long it took, and how many are lost. */
function proofText({ in: into, probe }: ChildStatus): string {
  const age = Math.min(into.age ?? Number.POSITIVE_INFINITY, probe?.age ?? Number.POSITIVE_INFINITY);
  const parts = [Number.isFinite(age) ? `${span(age)} ago` : 'none'];
  if (probe?.rtt !== undefined) parts.push(`${probe.rtt.toFixed(1)} ms`);
  if (probe?.loss) parts.push(`${Math.round(probe.loss * 100)} % lost`);
  return parts.join(', ');
}

function pathMtuText({ name, pathMtu }: ChildStatus): string {
  const { mtu, by, estimate } = pathMtu!;
  const how = by === 'probe' ? 'as probes show' : 'as IKE shows for our direction';
  const doubt = estimate ? ', an estimate: packets of the tunnel travel another way than IKE' : '';
  return `packets of up to ${mtu} bytes pass through ${name}, ${how}${doubt}`;
}

export const SHOW = {
  async sa(client: Client, json: boolean) {
    const sas = await (await client.sa.$get()).json();
    return show(sas, json, () =>
      table(
        ['SPI', 'DIRECTION', 'CHILD', 'IN USE', 'PACKETS', 'BYTES'],
        sas.map((sa) => [
          sa.spi.toString(16).padStart(8, '0'),
          sa.direction,
          sa.policy,
          sa.inUse ? 'yes' : 'no',
          `${sa.packets}`,
          size(sa.bytes),
        ]),
      ),
    );
  },
  async policy(client: Client, json: boolean) {
    const policies = await (await client.policy.$get()).json();
    return show(policies, json, () =>
      table(
        ['ORDER', 'CHILD', 'ACTION', 'LOCAL', 'REMOTE'],
        policies.map(({ order, id, action, selectors }) => [
          `${order}`,
          id,
          action,
          selectors.local.map(rangeText).join(', '),
          selectors.remote.map(rangeText).join(', '),
        ]),
      ),
    );
  },
  async config(client: Client, _json: boolean) {
    print(JSON.stringify(await (await client.config.$get()).json(), undefined, 2));
    return EXIT.yes;
  },
  async failures(client: Client, json: boolean) {
    const failures = await (await client.failures.$get()).json();
    return show(failures, json, () =>
      failures
        .map(
          ({ ago, tunnel, sentence, code }) =>
            `${span(ago)} ago  ${tunnel ?? 'stranger'}: ${sentence} [${code}]`,
        )
        .join('\n'),
    );
  },
};

export type ShowWhat = keyof typeof SHOW;

function show(value: unknown, json: boolean, text: () => string): number {
  print(json ? JSON.stringify(value) : text());
  return EXIT.yes;
}

function rangeText({ start, end }: { start: string; end: string }): string {
  return start === end ? start : `${start}-${end}`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

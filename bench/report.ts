// docs/performance.md and its pictures, from the results that are kept.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Judged } from './goals.ts';
import type { Limited, Result, Table } from './result.ts';
import { rounded } from './statistics.ts';
import { kept } from './store.ts';
import { type Bar, barChart } from './svg.ts';
import { GOAL_COLUMNS, goalCells, limitText } from './text.ts';

const PAGE = 'docs/performance.md';

const TITLES: Record<Result['subject'], string> = {
  throughput: 'One TCP stream',
  pps: 'Small packets',
  latency: 'Round trips',
  crypto: 'Cryptography and framing',
  lookup: 'Lookup',
  rekey: 'Rekeys',
  handshakes: 'Handshakes and many tunnels',
  xfrm: "The kernel's tables",
};

const METHOD = `Each contender has two sites of its own: a host, a gateway, "the internet" between the gateways, a gateway, a host, as
network namespaces of one machine, joined by veth pairs of 1500 bytes. All contenders are up at once and idle but for the one
that is measured; the rounds alternate (A B C A B C), so that what disturbs the machine falls on all. A ratio is taken within a
round; what is shown is the median of the rounds and how far they lie apart. The two cores carry everything: both ends of the
traffic, both gateways, the kernel. TCP segments are cut to the same size for all.

Handshakes are counted at a responder, which is one process pinned to one core: 64 sites in a process on another core open an
IKE SA with its first child and delete it, again and again, first with the one responder, then with the other. What is shown is
how many there were in a second of the responder's own CPU time, so that a slow load generator makes no difference; the deletes
are part of it. strongSwan is Debian's charon with its userspace data plane, 16 threads and no log.
The kernel's tables are those of user-mode Linux, where system calls cost many times what they do elsewhere, reading the clock among
them, and garbage collection takes longer: delays of the event loop there are more than elsewhere. \`ip -batch\` makes the same SAs and policies once; we state the
policies before there are SAs, and again with them. A round of 10,000 takes some ten minutes, so there are three at most.
Memory is the difference of two populations in a process that holds one side: heap and buffers after garbage collection.

"Offloads on" is how Linux comes: a packet of up to 64 KB crosses a veth whole. "Off between the gateways" switches TSO, GSO,
GRO and UDP segmentation off on the links between the gateways, "offloads off" on every link: each packet of 1500 bytes crosses
by itself, as on wires without help from the network card.`;

const RUN = `\`npm run bench -- throughput\`, \`pps\`, \`latency\`, \`crypto\`, \`lookup\`, \`rekey\`, \`handshakes\`, \`xfrm\`, or \`all\`; as root on Debian 12, it installs what it
needs. \`--json\` prints one object a subject, \`--rounds N\` and \`--seconds S\` change how long, \`--short\` measures the main four
twice, \`--write\` keeps the results and makes this page, \`--assert\` exits with 1 when a floor is missed. Everything runs in
namespaces of its own and leaves nothing behind.

\`--peer NAME=COMMAND\` measures one more: COMMAND is run by \`sh -c\` in the namespace of each gateway and must make 10.1.0.0/16
and 10.2.0.0/16 reach each other within 15 s; its process group is killed at the end. Its environment has \`SIDE\` (a or b),
\`ADDRESS\` and \`PEER\` (outer addresses), \`LOCAL\` and \`REMOTE\` (networks), \`WAN\` and \`LAN\` (devices), \`NAME\`, and \`SHARED\`, a folder
that both sides see.`;

const LIMITS = `A limit is computed from what the same run measured: how fast one core copies, encrypts at a given size, makes a system call,
wakes another thread, and what the plain path without a tunnel costs. It counts only work that no gateway of this kind can leave
out, at the full speed of its part, on cores that are never idle; so it is not a promise but a bound.

- One TCP stream: cores / (plain path + 2 gateways × (2 copies + 1 AES-GCM at 1420 bytes + 2 calls each 64 KB)), all for a byte.
- Small packets: cores / (plain path + 2 gateways × (1 AES-GCM at 64 bytes + 1 call, with offloads on one for 16 packets)), all
  for a packet.
- Round trips: 4 wake-ups, for two gateways on the way there and two on the way back.
- Cryptography: the library alone at that size, without framing.
- Lookup: no dependence on the number of policies.
- Handshakes: what the responder's public-key operations cost here by themselves.`;

/** One complaint a file that is not what the results give. */
export function checkPerformance(): string[] {
  return Object.entries(files(kept()))
    .filter(([file, text]) => !existsSync(file) || readFileSync(file, 'utf8') !== text)
    .map(([file]) => `${file} is not what its results give: npm run bench -- report`);
}

/** The files written. */
export function writeReport(): string[] {
  const all = Object.entries(files(kept()));
  for (const [file, text] of all) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return all.map(([file]) => file);
}

/** Text by file. None where nothing was kept. */
export function files(results: readonly Result[]): Record<string, string> {
  if (results.length === 0) return {};
  const pictures = results.flatMap(({ subject, tables }) =>
    tables.flatMap((table, index) =>
      table.picture ? [[`docs/${pictureName(subject, index)}`, chartOf(table, table.picture)]] : [],
    ),
  );
  return { [PAGE]: page(results), ...Object.fromEntries(pictures) };
}

function page(results: readonly Result[]): string {
  const goals = results.flatMap((result) => result.goals);
  return `${[
    '# Performance',
    `Made by \`npm run bench -- report\` from the results in [performance/](performance/); do not edit. ${machineOf(results)}`,
    goalsTable(goals),
    '## How it is measured',
    METHOD,
    '## Run it yourself',
    RUN,
    '## Limits',
    LIMITS,
    costsTable(results),
    ...results.flatMap(sectionOf),
  ].join('\n\n')}\n`;
}

function machineOf(results: readonly Result[]): string {
  const { cpu, cores, memoryGb, kernel, node, openssl, system } = results[0]!.about;
  return `Machine: ${cores} cores of ${cpu}, ${memoryGb} GB, virtual; ${system}, Linux ${kernel}, Node ${node}, OpenSSL ${openssl}.`;
}

function goalsTable(goals: readonly Judged[]): string {
  return markdown(GOAL_COLUMNS, goals.map(goalCells));
}

function costsTable(results: readonly Result[]): string {
  return markdown(
    [
      'Run',
      'copy GB/s',
      'AES-256-GCM GB/s at 64',
      'at 1420',
      'at 16384 bytes',
      'system call ns',
      'wake-up ns',
    ],
    results.map(({ subject, costs: { copy, aes64, aes1420, aes16384, call, wake } }) => [
      subject,
      ...[copy, aes64, aes1420, aes16384, call, wake].map(rounded),
    ]),
  );
}

function sectionOf(result: Result): string[] {
  const { subject, about, tables, limits, rounds, seconds } = result;
  return [
    `## ${TITLES[subject]}`,
    `\`${about.command}\`, ${about.date}, ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, ${seconds} s each.`,
    ...ratiosOf(result),
    ...tables.flatMap((table, index) => tableOf(subject, table, index)),
    limits.map((one) => `- ${sentence(one)}`).join('\n'),
  ];
}

function ratiosOf({ ratios }: Result): string[] {
  const rows = Object.entries(ratios).map(([name, { median, min, max, quartiles }]) => [
    ...[name, rounded(median), rounded(min), rounded(max), quartiles.map(rounded).join(' to ')],
  ]);
  return rows.length === 0 ? [] : [markdown(['Ratio', 'median', 'least', 'most', 'quartiles'], rows)];
}

function tableOf(subject: string, { title, columns, rows, picture }: Table, index: number): string[] {
  return [
    `### ${title}`,
    ...(picture ? [`![${title}](${pictureName(subject, index)})`] : []),
    markdown(columns, rows),
  ];
}

function sentence(limit: Limited): string {
  return `${limitText(limit)}.`;
}

function pictureName(subject: string, index: number): string {
  return `performance/${subject}-${index + 1}.svg`;
}

function chartOf({ title, rows }: Table, { column, spread, unit }: NonNullable<Table['picture']>): string {
  const bars = rows.map((row): Bar => {
    const label = String(row[0]);
    const between = spread ? { low: Number(row[spread[0]]), high: Number(row[spread[1]]) } : {};
    return { label, value: Number(row[column]), ours: label.startsWith('isthmus'), ...between };
  });
  return barChart(title, unit, bars);
}

function markdown(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]) => `| ${cells.map(cell).join(' | ')} |`;
  const rule = columns.map((_, index) =>
    rows.every((row) => typeof row[index] === 'number') ? '---:' : '---',
  );
  return [line(columns), line(rule), ...rows.map(line)].join('\n');
}

function cell(value: string | number): string {
  return typeof value === 'number'
    ? value.toLocaleString('en', { maximumFractionDigits: 4 })
    : value.replaceAll('|', '\\|');
}

#!/usr/bin/env -S node --max-semi-space-size=2
// The command line: every command, its words, its exit code.

import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { complaintText } from '../config/complaint.ts';
import { loadConfig } from '../config/load.ts';
import { createClient, NoDaemon } from '../control/client.ts';
import { type Prospect, prospectOf, takenFrom } from '../daemon/prospect.ts';
import { flushHost } from '../daemon/run.ts';
import { dump } from '../wire/dump.ts';
import { EXIT, exitCodeOf, explain, UsageError } from './exit.ts';
import { pki } from './pki.ts';
import { run } from './run.ts';
import { printStatus, SHOW, type ShowWhat } from './show.ts';

const USAGE = `usage: isthmus COMMAND [--json] [--socket PATH]

  check FILE              every complaint about a configuration file
  run FILE                the daemon; SIGHUP reads FILE again, SIGTERM ends it
  status [TUNNEL]         which tunnels pass traffic, since when, and why not
  up TUNNEL [--child NAME]    bring it up and keep it up
  down TUNNEL [--child NAME]  take it, or one child of it, down; its networks stay guarded
  rekey TUNNEL [--child NAME]
  reauthenticate TUNNEL   both sides prove again who they are; no packet is lost
  reload [--dry-run]      read the file again; prints what happens to each tunnel
  show sa|policy|config|failures
  dump [--port 500|4500]  a datagram in hex from standard input, every field named
  pki COMMAND             certificates for a laboratory and a first site: ca, issue, request, show, verify
  flush                   remove every device, route, rule and guard of ours

  --log error|warn|info|debug, with run: how much it says
  --export-keys FOLDER, with run: every key in Wireshark's tables, for a diagnosis
  exit codes: 0 yes, 1 no, 2 unusable input, 3 missing permission or kernel feature, 4 no daemon, 5 our fault`;

const OPTIONS = {
  json: { type: 'boolean', default: false },
  socket: { type: 'string', default: '/run/isthmus/control.sock' },
  child: { type: 'string' },
  port: { type: 'string', default: '500' },
  'dry-run': { type: 'boolean', default: false },
  log: { type: 'string', default: 'info' },
  'export-keys': { type: 'string' },
  version: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parse>['values'];
type Command = (operands: string[], options: Values) => Promise<number> | number;

const COMMANDS: Record<string, Command> = {
  check,
  run: ([file], { socket, json, log, 'export-keys': exportKeys }) => {
    const level = (['error', 'warn', 'info', 'debug'] as const).find((one) => one === log);
    if (!level) throw new UsageError(`--log ${log}: write error, warn, info or debug`);
    const options = { file: operand(file, 'FILE'), socket, json, level };
    return run(exportKeys === undefined ? options : { ...options, exportKeys });
  },
  status: async ([name], { socket, json }) => {
    const answer = await createClient(socket).status.$get();
    const status = await answer.json();
    return printStatus(status, name, json);
  },
  up: tunnelCommand('up'),
  down: tunnelCommand('down'),
  rekey: tunnelCommand('rekey'),
  reauthenticate: tunnelCommand('reauthenticate'),
  reload,
  show: async ([what], { socket, json }) => {
    if (!what || !(what in SHOW)) throw new UsageError(`show what? ${Object.keys(SHOW).join(', ')}`);
    return SHOW[what as ShowWhat](createClient(socket), json);
  },
  dump: (_, { port }) => {
    if (port !== '500' && port !== '4500') throw new UsageError(`--port ${port}: write 500 or 4500`);
    const digits = readFileSync(0, 'utf8').replace(/[\s:]|0x/g, '');
    if (!/^([0-9a-f]{2})+$/i.test(digits)) throw new UsageError('standard input is not a datagram in hex');
    const text = dump(Uint8Array.from(Buffer.from(digits, 'hex')), port === '500' ? 500 : 4500);
    print(text);
    return /^! /m.test(text) ? EXIT.no : EXIT.yes;
  },
  flush,
};

function check([file]: string[], { json }: Values): number {
  const { config, complaints } = loadConfig(operand(file, 'FILE'));
  const plane = config && prospectOf(config);
  const taken = config && takenFrom(config);
  if (json) print(JSON.stringify({ usable: config !== undefined, complaints, plane, taken }));
  else for (const complaint of complaints) print(complaintText(complaint));
  if (!config) return EXIT.input;
  if (plane && !json) for (const line of planeLines(plane)) print(`${file}: ${line}`);
  if (taken !== undefined && !json) print(`${file}: ${taken}`);
  if (plane?.refused !== undefined || taken !== undefined) return EXIT.permission;
  const { length } = config.tunnels;
  if (!json) print(`${file}: good, ${length} ${length === 1 ? 'tunnel' : 'tunnels'}`);
  return EXIT.yes;
}

function planeLines({ choice, refused, unknown }: Prospect): string[] {
  if (!choice) return [refused ?? `whether this machine can do it is not known: ${unknown}`];
  const lost = choice.lost.map(({ problem, fix }) => `${problem}; to mend it: ${fix}`);
  return [`data plane: ${choice.name}, because ${choice.why}`, ...lost];
}

function tunnelCommand(command: 'up' | 'down' | 'rekey' | 'reauthenticate'): Command {
  return async ([name], { socket, json, child }) => {
    const param = { name: operand(name, 'TUNNEL'), command };
    const one = createClient(socket).tunnels[':name'][':command'];
    const answer = await (child === undefined
      ? one.$post({ param })
      : one[':child'].$post({ param: { ...param, child } }));
    const outcome = await answer.json();
    print(json ? JSON.stringify(outcome) : `${name}: ${outcome.sentence}`);
    return outcome.code === 'OK' ? EXIT.yes : EXIT.no;
  };
}

async function reload(_: string[], { socket, json, 'dry-run': dryRun }: Values): Promise<number> {
  const client = createClient(socket);
  const answer = await (dryRun ? client.plan.$get() : client.reload.$post());
  const reloaded = await answer.json();
  if (json) print(JSON.stringify(reloaded));
  else if ('refused' in reloaded) for (const problem of reloaded.refused) print(problem);
  else for (const { tunnel, effect } of reloaded.tunnels) print(`${tunnel}: ${effect}`);
  return 'refused' in reloaded ? EXIT.input : EXIT.yes;
}

async function flush(_: string[], { socket, json }: Values): Promise<number> {
  if (await answers(socket)) throw new UsageError('a daemon runs and would lose its ground: stop it first');
  const removed = flushHost();
  print(json ? JSON.stringify({ removed }) : `${removed} objects removed`);
  return EXIT.yes;
}

async function answers(socket: string): Promise<boolean> {
  if (!existsSync(socket)) return false;
  try {
    await createClient(socket).config.$get();
    return true;
  } catch (error) {
    if (error instanceof NoDaemon) return false;
    throw error;
  }
}

function operand(value: string | undefined, name: string): string {
  if (value === undefined) throw new UsageError(`${name} is missing\n\n${USAGE}`);
  return value;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function parse() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n\n${USAGE}`);
  }
}

function version(): string {
  const file = ['../../package.json', '../../../package.json']
    .map((place) => new URL(place, import.meta.url))
    .find((url) => existsSync(url))!;
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

async function main(): Promise<number> {
  if (process.argv[2] === 'pki') {
    const { exit, text } = await pki(process.argv.slice(3));
    print(text);
    return exit;
  }
  const { values, positionals } = parse();
  const [name, ...operands] = positionals;
  if (values.version) {
    print(version());
    return EXIT.yes;
  }
  if (values.help || name === undefined) {
    print(USAGE);
    return values.help ? EXIT.yes : EXIT.input;
  }
  const command = COMMANDS[name];
  if (!command) throw new UsageError(`there is no command ${name}\n\n${USAGE}`);
  return command(operands, values);
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${explain(error)}\n`);
  process.exitCode = exitCodeOf(error);
}

// The command line of the bench.

import { parseArgs } from 'node:util';
import { UsageError } from '../src/cli/exit.ts';

export const SUBJECTS = [
  'throughput',
  'pps',
  'latency',
  'crypto',
  'lookup',
  'rekey',
  'handshakes',
  'xfrm',
] as const;
export type Subject = (typeof SUBJECTS)[number];

export interface Options {
  what: Subject | 'all' | 'report';
  json: boolean;
  /** Keeps the result for `report`. */
  write: boolean;
  /** The exit code says whether every floor was reached. */
  assert: boolean;
  short: boolean;
  rounds: number;
  /** Of one measurement. */
  seconds: number;
  peers: { name: string; command: string }[];
}

export const USAGE = `usage: npm run bench -- throughput|pps|latency|crypto|lookup|rekey|handshakes|xfrm|all [--json] [--write]
                        [--assert] [--rounds N] [--seconds S] [--short] [--peer NAME=COMMAND]…
       npm run bench -- report`;

/** Throws UsageError. */
export function parseOptions(words: readonly string[]): Options {
  const { values, positionals } = parse(words);
  const [what, ...more] = positionals;
  if (what === undefined || more.length > 0 || !(what === 'report' || what === 'all' || isSubject(what)))
    throw new UsageError(USAGE);
  const short = values.short ?? false;
  return {
    what,
    short,
    json: values.json ?? false,
    write: values.write ?? false,
    assert: values.assert ?? false,
    rounds: positive('--rounds', values.rounds, short ? 2 : 7),
    seconds: positive('--seconds', values.seconds, short ? 1 : 2),
    peers: (values.peer ?? []).map(readPeer),
  };
}

function parse(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        json: { type: 'boolean' },
        write: { type: 'boolean' },
        assert: { type: 'boolean' },
        short: { type: 'boolean' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        peer: { type: 'string', multiple: true },
      },
    });
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${USAGE}`);
  }
}

function isSubject(word: string): word is Subject {
  return (SUBJECTS as readonly string[]).includes(word);
}

function positive(flag: string, given: string | undefined, otherwise: number): number {
  const value = given === undefined ? otherwise : Number(given);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`${flag}: ${given} is not a whole number above 0`);
  return value;
}

function readPeer(text: string): { name: string; command: string } {
  const [, name, command] = /^([a-z][a-z0-9_]{0,11})=(.+)$/s.exec(text) ?? [];
  if (name === undefined || command === undefined)
    throw new UsageError(
      `--peer ${text}: write NAME=COMMAND; a name has up to 12 small letters, digits or underscores`,
    );
  return { name, command };
}

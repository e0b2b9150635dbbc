// The kernel's tables with ten thousand tunnels, in user-mode Linux: in batches against one by one and against iproute2, how
// long the event loop is kept, and what it costs to look at them every second.
//
// The guest has one processor, which V8's threads share with the event loop, and page faults that cost hundredfold; how long
// the loop is kept is therefore asked of the machine itself, with the guest's kernel replaced by the times that it usually took.

import { spawnSync } from 'node:child_process';
import { startUml, umlIsMissing } from '../lab/uml.ts';
import { HostError } from '../src/host/host-error.ts';
import { judge } from './goals.ts';
import type { Options } from './options.ts';
import { measureCosts } from './parts.ts';
import { frame, type Result } from './result.ts';
import { tell } from './rig.ts';
import { median, medians, ratios, rounded, spread } from './statistics.ts';
import { type Exchanges, MARK, type Paced, type Round, type Told } from './xfrm-mark.ts';

const TUNNELS = 10_000;
const SHORT = 1000;
/** One takes minutes: the kernel takes the longer over a policy the more there are. */
const MOST_ROUNDS = 3;

export async function xfrm(options: Options): Promise<Result> {
  const missing = umlIsMissing();
  if (missing !== undefined) throw new HostError('HOST_IPSEC', missing);
  const costs = measureCosts();
  const tunnels = options.short ? SHORT : TUNNELS;
  const rounds = await measure(tunnels, Math.min(options.rounds, MOST_ROUNDS));
  const of = (key: keyof Round) => rounds.map((round) => round[key]);
  const found = {
    xfrm_install: ratios(of('oneByOne'), of('batched')),
    xfrm_ip_batch: ratios(of('batched'), of('ipBatch')),
    xfrm_kernel_share: ratios(of('inKernel'), of('batched')),
    xfrm_start_stall: spread(of('startStall')),
    xfrm_stop_stall: spread(of('stopStall')),
    xfrm_look: spread(of('look')),
  };
  return {
    ...frame({ ...options, rounds: rounds.length }, 'xfrm', costs, 0),
    ratios: found,
    fields: {
      xfrm_tunnels: tunnels,
      ...Object.fromEntries(KEYS.map((key) => [`xfrm_${key}`, rounded(median(of(key)))])),
    },
    goals: judge('xfrm', medians(found)),
    limits: [],
    tables: [
      {
        title: `${tunnels} tunnels of two SAs each in the kernel of a guest; (*) on the machine itself, with a kernel that takes as long as the guest's`,
        columns: ['what', 'unit', 'median', 'least', 'most'],
        rows: KEYS.map((key) => {
          const { median: middle, min, max } = spread(of(key));
          return [...MEANING[key], ...[middle, min, max].map(rounded)];
        }),
      },
    ],
  };
}

const MEANING: Record<keyof Round, [what: string, unit: string]> = {
  batched: ['installed in batches', 's'],
  inKernel: ['of that in the kernel', 's'],
  longestCall: ['its longest call', 'ms'],
  ipBatch: ['the same SAs and policies by `ip -batch`', 's'],
  oneByOne: ['installed one by one', 's'],
  startStall: ['longest delay of the event loop while they are installed (*)', 'ms'],
  startTurn: ['the longest turn (*), CPU time', 'ms'],
  stopStall: ['longest delay while they are removed (*)', 'ms'],
  stopTurn: ['the longest turn (*), CPU time', 'ms'],
  look: ['one look at all of them (*), CPU time', 's'],
  lookStall: ['longest delay while they are looked at (*)', 'ms'],
  guestStart: ['longest delay while they are installed, in the guest', 'ms'],
  guestStop: ['while they are removed', 'ms'],
  guestLook: ['one look at all of them, CPU time in the guest', 's'],
  restart: ['after SIGKILL, until nothing of them is left', 's'],
};

const KEYS = Object.keys(MEANING) as (keyof Round)[];

function textOf(round: Round): string {
  return KEYS.map((key) => `${key} ${rounded(round[key])} ${MEANING[key][1]}`).join(', ');
}

/** What one after the other says, so that neither disturbs the other. */
async function measure(tunnels: number, rounds: number): Promise<Round[]> {
  const found = await askGuest(tunnels, rounds);
  return found.map(({ round, exchanges }, index) => {
    const whole = { ...round, ...paceAs(exchanges, tunnels) };
    tell(`round ${index + 1} of ${rounds}: ${textOf(whole)}`);
    return whole;
  });
}

function askGuest(tunnels: number, rounds: number): Promise<Told[]> {
  const guest = startUml([
    process.execPath,
    ...process.execArgv,
    '--expose-gc',
    'bench/xfrm-guest.ts',
    `${tunnels}`,
    `${rounds}`,
  ]);
  const found: Told[] = [];
  let rest = '';
  let said = '';
  guest.stdout!.on('data', (chunk) => {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith(MARK)) {
        said += `${line}\n`;
        continue;
      }
      const { progress, told } = JSON.parse(line.slice(MARK.length));
      if (progress) tell(progress);
      if (told) found.push(told);
    }
  });
  return new Promise((resolve, reject) => {
    guest.once('close', (code) => {
      if (code === 0 && found.length === rounds) resolve(found);
      else reject(new Error(`the guest ended with ${code}: ${said}`));
    });
  });
}

function paceAs(exchanges: Exchanges, tunnels: number): Paced {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [...process.execArgv, '--expose-gc', 'bench/xfrm-paced.ts', `${tunnels}`],
    { input: JSON.stringify(exchanges), encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`bench/xfrm-paced.ts: ${stderr}`);
  return JSON.parse(stdout);
}

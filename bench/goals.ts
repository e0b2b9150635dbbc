// What the bench is asked to show: floors and aims as rows.

import type { Subject } from './options.ts';

export interface Goal {
  key: string;
  of: Subject;
  what: string;
  floor: number;
  aim: number;
  better: 'higher' | 'lower';
}

const SEGMENTED = 0.7;

// biome-ignore format: one row a line
export const GOALS: readonly Goal[] = [
  { key: 'tcp_strongswan', of: 'throughput', what: 'one TCP stream, engine / strongSwan kernel-libipsec', floor: 10, aim: 14, better: 'higher' },
  { key: 'tcp_wireguard', of: 'throughput', what: "one TCP stream, engine / Debian's wireguard-go", floor: 8, aim: 12, better: 'higher' },
  { key: 'tcp_plain', of: 'throughput', what: 'one TCP stream, engine / plain veth', floor: 0.38, aim: 0.45, better: 'higher' },
  { key: 'tcp_strongswan_segmented', of: 'throughput', what: 'the same with offloads off, engine / strongSwan kernel-libipsec', floor: 10 * SEGMENTED, aim: 14 * SEGMENTED, better: 'higher' },
  { key: 'tcp_wireguard_segmented', of: 'throughput', what: "the same with offloads off, engine / Debian's wireguard-go", floor: 8 * SEGMENTED, aim: 12 * SEGMENTED, better: 'higher' },
  { key: 'tcp_plain_segmented', of: 'throughput', what: 'the same with offloads off, engine / plain veth', floor: 0.38 * SEGMENTED, aim: 0.45 * SEGMENTED, better: 'higher' },
  { key: 'pps_strongswan', of: 'pps', what: '64-byte UDP received without loss, engine / kernel-libipsec', floor: 4, aim: 8, better: 'higher' },
  { key: 'rtt_wireguard', of: 'latency', what: 'added round trip, engine / wireguard-go', floor: 1, aim: 0.6, better: 'lower' },
  { key: 'esp_64', of: 'crypto', what: 'crypto and framing alone, 64 B, one core, million packets per second', floor: 3, aim: 6, better: 'higher' },
  { key: 'lookup_cached', of: 'lookup', what: 'lookup at 10,000 / at 10 selectors, cached', floor: 2, aim: 1.2, better: 'lower' },
  { key: 'lookup_random', of: 'lookup', what: 'lookup at 10,000 / at 10 selectors, not cached', floor: 10, aim: 5, better: 'lower' },
  { key: 'rekey_lost', of: 'rekey', what: 'lost in 100 child and 20 IKE rekeys at half the saturation rate', floor: 0, aim: 0, better: 'lower' },
  { key: 'psk_ratio', of: 'handshakes', what: 'handshakes per CPU second of the responder, pre-shared keys, ours / charon', floor: 0.5, aim: 1, better: 'higher' },
  { key: 'ecdsa_ratio', of: 'handshakes', what: 'the same with ECDSA P-256 certificates, ours / charon', floor: 0.7, aim: 1, better: 'higher' },
  { key: 'kb_per_tunnel', of: 'handshakes', what: 'memory of an established tunnel among 10,000, KB', floor: 20, aim: 8, better: 'lower' },
  { key: 'up_turn', of: 'handshakes', what: 'longest turn of the event loop while 10,000 tunnels come up, CPU ms', floor: 50, aim: 20, better: 'lower' },
  { key: 'down_turn', of: 'handshakes', what: 'the same while they are taken down', floor: 50, aim: 20, better: 'lower' },
  { key: 'status_seconds', of: 'handshakes', what: 'status of 10,000 tunnels, seconds', floor: 1, aim: 0.5, better: 'lower' },
  { key: 'xfrm_install', of: 'xfrm', what: '10,000 tunnels into the kernel, one by one / in batches, seconds', floor: 1, aim: 2, better: 'higher' },
  { key: 'xfrm_start_stall', of: 'xfrm', what: 'longest delay of the event loop meanwhile, ms', floor: 50, aim: 20, better: 'lower' },
  { key: 'xfrm_stop_stall', of: 'xfrm', what: 'the same while they are removed, ms', floor: 50, aim: 20, better: 'lower' },
  { key: 'xfrm_look', of: 'xfrm', what: 'a look at the counters of 20,000 SAs, CPU seconds', floor: 1, aim: 0.25, better: 'lower' },
];

/** `out of reach`: below the floor, and so is the limit that the run computed for any gateway on this machine. */
export type Verdict = 'aim reached' | 'floor reached' | 'below the floor' | 'out of reach' | 'not measured';

export interface Judged extends Goal {
  measured: number | undefined;
  /** What no gateway can exceed here, in the same terms. */
  limit: number | undefined;
  verdict: Verdict;
}

type ByKey = Readonly<Record<string, number>>;

export function judge(subject: Subject, measured: ByKey, limits: ByKey = {}): Judged[] {
  return GOALS.filter((goal) => goal.of === subject).map((goal) => {
    const [value, limit] = [measured[goal.key], limits[goal.key]];
    return { ...goal, measured: value, limit, verdict: verdictOf(goal, value, limit) };
  });
}

function verdictOf(goal: Goal, value: number | undefined, limit: number | undefined): Verdict {
  if (value === undefined || Number.isNaN(value)) return 'not measured';
  if (reaches(goal, value, goal.aim)) return 'aim reached';
  if (reaches(goal, value, goal.floor)) return 'floor reached';
  return limit === undefined || reaches(goal, limit, goal.floor) ? 'below the floor' : 'out of reach';
}

function reaches({ better }: Goal, value: number, bound: number): boolean {
  return better === 'higher' ? value >= bound : value <= bound;
}

// A CPU profile of V8, summed up by the part of the program that ran.

export interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string } }[];
  /** Ids of nodes, and the microseconds before each. */
  samples: number[];
  timeDeltas: number[];
}

export interface Share {
  part: string;
  /** Of the time that was not idle. */
  share: number;
}

/** By what stands in the file's name, or in the function's where there is no file; the first that fits. */
const PARTS: readonly (readonly [part: string, where: RegExp])[] = [
  ['garbage', /^\(garbage collector\)$/],
  ['nothing', /^\((idle|program|root)\)$/],
  ['cryptography', /\/src\/crypto\/|^node:(internal\/)?crypto/],
  ['messages, read and written', /\/src\/wire\//],
  ['negotiation', /\/src\/(ike|policy)\//],
  ['sockets and data plane', /\/src\/(daemon|dataplane|host|native)/],
];
const OTHER = 'the runtime and the rest';

/** Of the last so many microseconds; the largest first. */
export function shares({ nodes, samples, timeDeltas }: Profile, last: number): Share[] {
  const parts = new Map(nodes.map(({ id, callFrame }) => [id, partOf(callFrame)]));
  const spent = new Map<string, number>();
  for (let [at, left] = [samples.length - 1, last]; at >= 0 && left > 0; at--) {
    const part = parts.get(samples[at]!)!;
    const delta = Math.min(timeDeltas[at]!, left);
    left -= delta;
    if (part !== 'nothing') spent.set(part, (spent.get(part) ?? 0) + delta);
  }
  const sum = [...spent.values()].reduce((total, value) => total + value, 0);
  return [...spent].map(([part, value]) => ({ part, share: value / sum })).sort((a, b) => b.share - a.share);
}

function partOf({ functionName, url }: Profile['nodes'][number]['callFrame']): string {
  const name = url === '' ? functionName : url;
  return PARTS.find(([, where]) => where.test(name))?.[0] ?? OTHER;
}

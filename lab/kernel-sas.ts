// What the kernel says of the SAs in a namespace, by ip(8): asked by another program than ours.

import { runAsync } from './netns.ts';
import { pause } from './site.ts';

export interface KernelCount {
  packets: number;
  bytes: number;
}

/** By SPI, of the SAs to an address. */
export type KernelCounts = ReadonlyMap<number, KernelCount>;

/** `text`: of `ip -s xfrm state`. */
export function countsTo(destination: string, text: string): KernelCounts {
  const counts = new Map<number, KernelCount>();
  for (const sa of text.split(/^(?=src )/m)) {
    if (!sa.split('\n')[0]!.endsWith(` dst ${destination}`)) continue;
    const spi = /spi (0x[0-9a-f]+)/.exec(sa)?.[1];
    const current = /lifetime current:\s+(\d+)\(bytes\), (\d+)\(packets\)/.exec(sa);
    if (spi && current) counts.set(Number(spi), { bytes: Number(current[1]), packets: Number(current[2]) });
  }
  return counts;
}

export async function kernelCounts(namespace: string, destination: string): Promise<KernelCounts> {
  return countsTo(destination, (await runAsync(namespace, 'ip', '-s', 'xfrm', 'state')).output);
}

/** The most that each SA was seen with, looked at five times a second until `stop`. */
export function watchCounts(namespace: string, destination: string): { stop(): Promise<KernelCounts> } {
  const most = new Map<number, KernelCount>();
  let stopped = false;
  const watching = (async () => {
    do {
      for (const [spi, count] of await kernelCounts(namespace, destination)) most.set(spi, count);
      await pause(200);
    } while (!stopped);
  })();
  return {
    async stop() {
      stopped = true;
      await watching;
      return most;
    },
  };
}

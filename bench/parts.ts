// The addon of bench/native: parts of native/core by themselves, and what this machine costs.

import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { AddonError } from '../src/native.ts';
import type { Costs } from './limits.ts';

/** Times are nanoseconds. `milliseconds`: how long to measure. */
interface Parts {
  /**
   * A packet sealed and opened, in batches of 64; zeros where the cipher is refused. Numbers of transform types 1 and 3; the
   * key has its salt behind it.
   */
  esp(
    encryption: number,
    keyBytes: number,
    integrity: number,
    icvBytes: number,
    integrityKeyBytes: number,
    bytes: number,
    milliseconds: number,
  ): [seal: number, open: number];
  /** One lookup; negative when a flow found no policy. */
  lookup(policies: number, flows: number, milliseconds: number): [nanoseconds: number];
  /** Copying and AES-256-GCM in GB/s. */
  machine(): [copy: number, aes64: number, aes1420: number, aes16384: number, call: number, wake: number];
}

const FILE = fileURLToPath(new URL('../native/build/bench.node', import.meta.url));

export function loadParts(): Parts {
  if (!existsSync(FILE)) throw new AddonError('what measures is not built; build it: make -C bench/native');
  const module: { exports: unknown } = { exports: {} };
  process.dlopen(module, FILE);
  return module.exports as Parts;
}

/** Takes two seconds, and wants the machine for itself. */
export function measureCosts(): Costs {
  const [copy, aes64, aes1420, aes16384, call, wake] = loadParts().machine();
  return { cores: cpus().length, copy, aes64, aes1420, aes16384, call, wake };
}

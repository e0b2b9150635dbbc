// What every data plane promises. The contract is test/dataplane.suite.ts.

import type { Capabilities, Change, DataPlaneEvent, Snapshot } from '../policy/sad.ts';

export interface DataPlane {
  readonly name: 'engine' | 'xfrm' | 'memory';
  readonly capabilities: Capabilities;
  /**
   * In order, also of the calls; idempotent. Rejects with a DataPlaneError, then nothing behind the failed change of this
   * call was applied.
   */
  apply(changes: readonly Change[]): Promise<void>;
  /** What is installed, with counters: status, drift, clean-up after a crash. */
  snapshot(): Promise<Snapshot>;
  onEvent(listener: (event: DataPlaneEvent) => void): void;
  /** Removes own objects only. `keep` leaves the guards standing and is the default. */
  close(options?: { guards: 'keep' | 'remove' }): Promise<void>;
}

/** Why a change was not applied. `exists` is EEXIST: the SPI is taken by other keys. */
export class DataPlaneError extends Error {
  readonly reason: 'exists' | 'refused';
  constructor(reason: 'exists' | 'refused', message: string) {
    super(message);
    this.name = 'DataPlaneError';
    this.reason = reason;
  }
}

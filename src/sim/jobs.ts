// Jobs as the simulation does them: a key exchange that only counts, and the real arithmetic of pre-shared keys.

import type { Provider } from '../crypto/provider.ts';
import type { Job, JobResult } from '../ike/boundary.ts';

/** What jobs leave behind; plain data. */
export interface JobState {
  serial: number;
  /** Private halves that are still kept. */
  handles: Set<string>;
}

const PAD = new TextEncoder().encode('Key Pad for IKEv2');

export function doJob(provider: Provider, state: JobState, job: Job): JobResult {
  switch (job.type) {
    case 'offer': {
      const handle = String(++state.serial);
      state.handles.add(handle);
      return { type: 'offer', public: value(state.serial), handle };
    }
    case 'answer':
      state.serial++;
      return {
        type: 'answer',
        public: value(state.serial),
        secret: value(state.serial * 1000 + number(job.public)),
      };
    case 'finish':
      return { type: 'finish', secret: value(number(job.public) * 1000 + Number(job.handle)) };
    case 'forget':
      state.handles.delete(job.handle);
      return { type: 'forget' };
    case 'psk-sign':
      return { type: 'psk-sign', auth: sign(provider, job) };
    case 'psk-verify':
      return { type: 'psk-verify', valid: provider.equal(sign(provider, job), job.auth) };
  }
}

function value(number: number): Uint8Array {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

function number(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

function sign(provider: Provider, job: Job & { type: 'psk-sign' | 'psk-verify' }): Uint8Array {
  const inner = provider.prf(job.prf, new TextEncoder().encode(job.secret), PAD);
  return provider.prf(job.prf, inner, job.octets);
}

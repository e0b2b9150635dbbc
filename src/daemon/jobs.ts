// Carries out the core's jobs: key exchanges and everything that needs a long-term secret.

import type { KeyExchanges } from '../crypto/node-key-exchange.ts';
import { pskAuth } from '../crypto/node-provider.ts';
import type { Provider } from '../crypto/provider.ts';
import type { Job, JobResult } from '../ike/boundary.ts';

export interface JobParts {
  provider: Provider;
  keyExchanges: KeyExchanges;
  /** The secret of that name, or undefined. */
  secret: (name: string) => Uint8Array | undefined;
}

/** Never rejects: whatever goes wrong is a `failed` result that names who is at fault. */
export function createJobs(parts: JobParts): (job: Job) => Promise<JobResult> {
  return async (job) => {
    try {
      return await carryOut(job, parts);
    } catch (error) {
      return failure(error);
    }
  };
}

async function carryOut(job: Job, { provider, keyExchanges, secret }: JobParts): Promise<JobResult> {
  switch (job.type) {
    case 'offer':
      return { type: 'offer', ...(await keyExchanges.offer(job.group)) };
    case 'answer':
      return { type: 'answer', ...(await keyExchanges.answer(job.group, job.public)) };
    case 'finish':
      return { type: 'finish', secret: await keyExchanges.finish(job.handle, job.group, job.public) };
    case 'forget':
      keyExchanges.forget(job.handle);
      return { type: 'forget' };
    case 'psk-sign':
      return { type: 'psk-sign', auth: pskAuth(provider, job.prf, known(secret, job.secret), job.octets) };
    case 'psk-verify': {
      const auth = pskAuth(provider, job.prf, known(secret, job.secret), job.octets);
      return { type: 'psk-verify', valid: provider.equal(auth, job.auth) };
    }
  }
}

class UnknownSecret extends Error {}

function known(secret: JobParts['secret'], name: string): Uint8Array {
  const value = secret(name);
  if (!value) throw new UnknownSecret(`no pre-shared key for ${name}`);
  return value;
}

function failure(error: unknown): JobResult {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof UnknownSecret) return { type: 'failed', fault: 'secret', message };
  const fault = error instanceof Error && 'fault' in error && error.fault === 'peer' ? 'peer' : 'ours';
  return { type: 'failed', fault, message };
}

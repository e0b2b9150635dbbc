// Carries out the core's jobs: key exchanges and everything that needs a long-term secret.

import type { KeyObject } from 'node:crypto';
import { mixPpk, ppkConfirmation, ppkSkeyseed } from '../crypto/keymat.ts';
import type { KeyExchanges } from '../crypto/node-key-exchange.ts';
import { pskAuth } from '../crypto/node-provider.ts';
import { signOctets } from '../crypto/node-signatures.ts';
import type { Provider } from '../crypto/provider.ts';
import { schemeRow } from '../crypto/signature-schemes.ts';
import type { Job, JobResult } from '../ike/boundary.ts';

export interface JobParts {
  provider: Provider;
  keyExchanges: KeyExchanges;
  /** The secret of that name, or undefined. */
  secret: (name: string) => Uint8Array | undefined;
  /** The private key of that name, or undefined. */
  key?: (name: string) => KeyObject | undefined;
  /** Whether a peer is who it says. */
  judge?: (question: Job & { type: 'verify' }) => Promise<JobResult & { type: 'verify' }>;
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

async function carryOut(job: Job, parts: JobParts): Promise<JobResult> {
  const { provider, keyExchanges, secret } = parts;
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
    case 'ppk':
      return { type: 'ppk', keys: mixPpk(provider, job.prf, known(secret, job.secret), job.keys) };
    case 'ppk-int': {
      const ppk = known(secret, job.secret);
      return {
        type: 'ppk-int',
        confirmation: ppkConfirmation(provider, job.prf, ppk, job.seed),
        skeyseed: ppkSkeyseed(provider, job.prf, ppk, job.skD),
      };
    }
    case 'psk-sign':
      return { type: 'psk-sign', auth: pskAuth(provider, job.prf, known(secret, job.secret), job.octets) };
    case 'psk-verify': {
      const auth = pskAuth(provider, job.prf, known(secret, job.secret), job.octets);
      return { type: 'psk-verify', valid: provider.equal(auth, job.auth) };
    }
    case 'sign': {
      const key = parts.key?.(job.key);
      if (!key) throw new UnknownSecret(`no private key for ${job.key}`);
      return { type: 'sign', signature: await signOctets(key, schemeRow(job.scheme), job.octets) };
    }
    case 'verify': {
      if (!parts.judge) throw new UnknownSecret(`no trust anchors for ${job.trust}`);
      return await parts.judge(job);
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

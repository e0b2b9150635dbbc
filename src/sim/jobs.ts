// Jobs as the simulation does them: a key exchange that only counts, the real arithmetic of pre-shared keys, and
// certificates that are plain text.

import { mixPpk, ppkConfirmation, ppkSkeyseed } from '../crypto/keymat.ts';
import type { Provider } from '../crypto/provider.ts';
import type { Job, JobResult } from '../ike/boundary.ts';
import type { ReportCode } from '../ike/errors.ts';
import type { Identity } from '../policy/tunnel.ts';

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
    case 'ppk':
      return { type: 'ppk', keys: mixPpk(provider, job.prf, new TextEncoder().encode(job.secret), job.keys) };
    case 'ppk-int': {
      const ppk = new TextEncoder().encode(job.secret);
      return {
        type: 'ppk-int',
        confirmation: ppkConfirmation(provider, job.prf, ppk, job.seed),
        skeyseed: ppkSkeyseed(provider, job.prf, ppk, job.skD),
      };
    }
    case 'psk-sign':
      return { type: 'psk-sign', auth: sign(provider, job) };
    case 'psk-verify':
      return { type: 'psk-verify', valid: provider.equal(sign(provider, job), job.auth) };
    case 'sign':
      return { type: 'sign', signature: signWith(provider, job.key, job.octets) };
    case 'verify':
      return judge(provider, job);
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

/** What a simulated certificate says. `padding` makes it as large as a real one. */
export interface PaperCertificate {
  key: string;
  identity: Identity;
  issuer: string;
  padding?: string;
}

export function paperCertificate(certificate: PaperCertificate): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(certificate));
}

function readPaper(data: Uint8Array): PaperCertificate | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    return undefined;
  }
}

/** Who knows the name of the key can sign with it: nobody in the simulation forges. */
function signWith(provider: Provider, key: string, octets: Uint8Array): Uint8Array {
  return provider.prf('hmac-sha2-256', new TextEncoder().encode(key), octets);
}

function judge(provider: Provider, job: Job & { type: 'verify' }): JobResult {
  const paper = job.certificates[0] && readPaper(job.certificates[0].data);
  if (!paper) return refused('PEER_NO_CERTIFICATE', 'none that can be read');
  if (paper.issuer !== job.trust) return refused('PEER_CERTIFICATE_UNTRUSTED', `issued by ${paper.issuer}`);
  const { type, value: name } = paper.identity;
  if (type !== job.identity.type || name !== job.identity.value)
    return refused('PEER_CERTIFICATE_NAME', `it names ${name}`);
  return provider.equal(signWith(provider, paper.key, job.octets), job.signature)
    ? { type: 'verify', valid: true, reasons: [] }
    : refused('PEER_SIGNATURE_INVALID', 'the signature does not verify');
}

function refused(code: ReportCode, message: string): JobResult {
  return { type: 'verify', valid: false, reasons: [{ code, message }] };
}

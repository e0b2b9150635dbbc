// Our names of algorithms in the words of peers. A suite is our text: `aes-gcm-16-256 / prf-hmac-sha2-256 / x25519`.

export type PeerKind = 'strongSwan' | 'libreswan';

/** Cipher with its key length, if it has any. */
const ENCRYPTION: Record<PeerKind, Record<string, (bits: string) => string>> = {
  strongSwan: {
    'aes-gcm-16': (bits) => `aes${bits}gcm16`,
    'aes-gcm-12': (bits) => `aes${bits}gcm12`,
    'aes-gcm-8': (bits) => `aes${bits}gcm8`,
    'aes-ccm-16': (bits) => `aes${bits}ccm16`,
    'aes-ccm-12': (bits) => `aes${bits}ccm12`,
    'aes-ccm-8': (bits) => `aes${bits}ccm8`,
    'aes-cbc': (bits) => `aes${bits}`,
    'aes-ctr': (bits) => `aes${bits}ctr`,
    'aes-gmac': (bits) => `aes${bits}gmac`,
    'chacha20-poly1305': () => 'chacha20poly1305',
    null: () => 'null',
  },
  libreswan: {
    'aes-gcm-16': (bits) => `aes_gcm_c${bits}`,
    'aes-gcm-12': (bits) => `aes_gcm_b${bits}`,
    'aes-gcm-8': (bits) => `aes_gcm_a${bits}`,
    'aes-ccm-16': (bits) => `aes_ccm_c${bits}`,
    'aes-ccm-12': (bits) => `aes_ccm_b${bits}`,
    'aes-ccm-8': (bits) => `aes_ccm_a${bits}`,
    'aes-cbc': (bits) => `aes${bits}`,
    'aes-ctr': (bits) => `aes_ctr${bits}`,
    'aes-gmac': (bits) => `null_auth_aes_gmac${bits}`,
    'chacha20-poly1305': () => 'chacha20_poly1305',
    null: () => 'null',
  },
};

/** Everything but ciphers. libreswan's `-none` stands for the integrity that a combined mode has in itself. */
const OTHERS: Record<PeerKind, Record<string, string>> = {
  strongSwan: {
    'hmac-sha1-96': 'sha1',
    'hmac-sha2-256-128': 'sha256',
    'hmac-sha2-384-192': 'sha384',
    'hmac-sha2-512-256': 'sha512',
    'aes-xcbc-96': 'aesxcbc',
    'aes-cmac-96': 'aescmac',
    'prf-hmac-sha1': 'prfsha1',
    'prf-hmac-sha2-256': 'prfsha256',
    'prf-hmac-sha2-384': 'prfsha384',
    'prf-hmac-sha2-512': 'prfsha512',
    'prf-aes128-xcbc': 'prfaesxcbc',
    'prf-aes128-cmac': 'prfaescmac',
    x25519: 'x25519',
    x448: 'x448',
    'ecp-256': 'ecp256',
    'ecp-384': 'ecp384',
    'ecp-521': 'ecp521',
    'brainpool-256': 'ecp256bp',
    'brainpool-384': 'ecp384bp',
    'brainpool-512': 'ecp512bp',
    'modp-1024': 'modp1024',
    'modp-1536': 'modp1536',
    'modp-2048': 'modp2048',
    'modp-3072': 'modp3072',
    'modp-4096': 'modp4096',
    'modp-6144': 'modp6144',
    'modp-8192': 'modp8192',
    esn: 'esn',
    'no-esn': 'noesn',
  },
  libreswan: {
    'hmac-sha1-96': 'sha1',
    'hmac-sha2-256-128': 'sha2_256',
    'hmac-sha2-384-192': 'sha2_384',
    'hmac-sha2-512-256': 'sha2_512',
    'aes-xcbc-96': 'aes_xcbc',
    'aes-cmac-96': 'aes_cmac',
    'prf-hmac-sha1': 'sha1',
    'prf-hmac-sha2-256': 'sha2_256',
    'prf-hmac-sha2-384': 'sha2_384',
    'prf-hmac-sha2-512': 'sha2_512',
    'prf-aes128-xcbc': 'aes_xcbc',
    x25519: 'dh31',
    'ecp-256': 'dh19',
    'ecp-384': 'dh20',
    'ecp-521': 'dh21',
    'modp-1536': 'modp1536',
    'modp-2048': 'modp2048',
    'modp-3072': 'modp3072',
    'modp-4096': 'modp4096',
    'modp-6144': 'modp6144',
    'modp-8192': 'modp8192',
  },
};

/** One word of a suite; throws with the peer's name where it has none for it. */
export function wordOf(peer: PeerKind, word: string): string {
  const cipher = /^(.+?)(?:-(128|192|256))?$/.exec(word)!;
  const found =
    OTHERS[peer][word] ?? (ENCRYPTION[peer][word] ?? ENCRYPTION[peer][cipher[1]!])?.(cipher[2] ?? '');
  if (found === undefined) throw new RangeError(`${peer} has no word for ${word}`);
  return found;
}

export interface SuiteWords {
  encryption?: string;
  integrity?: string;
  prf?: string;
  group?: string;
  esn?: 'esn' | 'no-esn';
}

/** The words of a suite by what they are. */
export function partsOf(suite: string): SuiteWords {
  const parts: SuiteWords = {};
  for (const word of suite.split(' / ')) {
    if (word === 'esn' || word === 'no-esn') parts.esn = word;
    else if (word.startsWith('prf-')) parts.prf = word;
    else if (/^(hmac-|aes-(xcbc|cmac)-|aes-\d+-gmac$)/.test(word)) parts.integrity = word;
    else if (/^(x25519|x448|ecp-|brainpool-|modp-)/.test(word)) parts.group = word;
    else parts.encryption = word;
  }
  return parts;
}

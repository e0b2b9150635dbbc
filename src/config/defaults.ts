// Every default in one table, with its reason.

export const DEFAULTS = {
  mode: 'policy',
  /** Better than what a routing daemon finds (zebra's `kernel` routes), worse than what is written by hand without one. */
  'route-metric': 100,
  start: 'now',
  encapsulation: 'auto',
  /** RFC 6023: few peers can, and those that begin so should be met. */
  childless: 'allow',
  /** Between two sites one IKE SA is meant; an older one beside it is a leftover of a restart or a lost message. */
  unique: 'replace',
  /** AES-GCM first: fastest here and met by every current box; AES-CBC with HMAC for the older ones. */
  'ike-suites': [
    'aes-gcm-16-256 | aes-gcm-16-128 | chacha20-poly1305',
    'aes-cbc-256 | aes-cbc-128 / hmac-sha2-256-128 | hmac-sha2-384-192 | hmac-sha2-512-256',
  ],
  /** docs/decisions/0004-post-quantum.md */
  'post-quantum': 'preferred',
  /** Of a PPK: whoever writes one down wants it used. */
  use: 'required',
  /** With a key exchange of its own (PFS) where the peer has one, and without where it has not. */
  'esp-suites': [
    'aes-gcm-16-256 | aes-gcm-16-128 | chacha20-poly1305 / x25519 | ecp-256 | ecp-384 | modp-2048',
    'aes-gcm-16-256 | aes-gcm-16-128 | chacha20-poly1305',
    'aes-cbc-256 | aes-cbc-128 / hmac-sha2-256-128 | hmac-sha2-384-192 | hmac-sha2-512-256',
  ],
  /** What every implementation of AH must have, and longer codes (RFC 8221 §6); AES-GMAC, fast and rare, is for those who name it. */
  'ah-suites': [
    'hmac-sha2-256-128 | hmac-sha2-512-256 | hmac-sha2-384-192 / x25519 | ecp-256 | ecp-384 | modp-2048',
    'hmac-sha2-256-128 | hmac-sha2-512-256 | hmac-sha2-384-192',
  ],
  /** What AH does, ESP does too, and it keeps packets secret. */
  protocol: 'esp',
  transport: false,
  legacy: false,
  /** A CA that is down for an hour does not take the tunnels down with it; what is known to be revoked is refused. */
  revocation: 'soft',
  /** A certificate's text must not choose what we talk to inside (CVE-2022-40617). */
  'fetch-from': 'public',
  /** Vendors' usual values: 8 h or 24 h for IKE, 1 h for children; the earlier side rekeys. */
  'ike-lifetime': '4h',
  /** A rekey renews the keys; who is there is asked again only where a rule demands it. */
  reauthentication: 'never',
  lifetime: '1h',
  /** Reordering on fast links easily passes 64 packets. */
  'replay-window': 1024,
  liveness: '30s',
  /** A difference that shows at the first rekey only would show hours later. */
  rehearsal: true,
  /** RFC 3948 §4: 20 seconds. */
  keepalive: '20s',
  /** Only what is larger than a fragment is cut, and only where the peer can join it. */
  fragmentation: 'auto',
  /** Where a path is narrower than the links at its ends, nobody else says so in time; peers without IKE fragments are not asked. */
  'path-mtu': 'find',
  mtu: 1500,
  /** Needs no ESP in the kernel, and waits for an SA instead of dropping. */
  dataplane: 'engine',
  /** Hardware with faults of its own is for those who name it. */
  offload: 'off',
  /** Fragments arrive where a path is narrower than we think, until it is known how narrow. */
  df: 'clear',
  /** RFC 4301 §5.1.2: copied, so that voice stays voice on the way. */
  dscp: 'copy',
  /** Two cores carry a gateway with one pair of threads best; sleeping at once leaves them to others. */
  workers: 1,
  spin: 0,
} as const;

/** In front of `ike-suites` where nobody names any: docs/decisions/0004-post-quantum.md */
export const POST_QUANTUM_SUITES = [
  'aes-gcm-16-256 | aes-gcm-16-128 | chacha20-poly1305 / + ml-kem-768 | ml-kem-1024',
] as const;

/** A second finds out soon and costs nothing; four in a row are no chance loss. */
export const PROBE = { every: '1s', lost: 4 } as const;

/** docs/decisions/0001-retransmission.md */
export const RETRANSMIT = { first: 500, factor: 1.5, cap: 16_000, sends: 12, jitter: 0.1 } as const;

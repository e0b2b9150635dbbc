// The suites that are run against strongSwan, in both sides' words.

import type { Suite } from './checks.ts';

/** Every implemented family, integrity, PRF and group at least once. For every data plane of strongSwan. */
export const SUITES: Suite[] = [
  {
    name: 'aes-gcm-256 x25519',
    outer: 4,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-gcm-16-256 / x25519',
    strongswanIke: 'aes256gcm16-prfsha256-x25519',
    strongswanEsp: 'aes256gcm16-x25519',
  },
  {
    name: 'aes-cbc-256 sha2-512 modp-2048',
    outer: 6,
    ike: 'aes-cbc-256 / hmac-sha2-512-256 / prf-hmac-sha2-512 / modp-2048',
    esp: 'aes-cbc-256 / hmac-sha2-512-256 / modp-2048',
    strongswanIke: 'aes256-sha512-prfsha512-modp2048',
    strongswanEsp: 'aes256-sha512-modp2048',
  },
  {
    name: 'aes-gcm-128 ecp-256',
    outer: 6,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'aes-gcm-16-128 / ecp-256',
    strongswanIke: 'aes128gcm16-prfsha256-ecp256',
    strongswanEsp: 'aes128gcm16-ecp256',
  },
  {
    name: 'chacha20-poly1305 ecp-384',
    outer: 4,
    ike: 'chacha20-poly1305 / prf-hmac-sha2-384 / ecp-384',
    esp: 'chacha20-poly1305 / ecp-384',
    strongswanIke: 'chacha20poly1305-prfsha384-ecp384',
    strongswanEsp: 'chacha20poly1305-ecp384',
  },
  {
    name: 'aes-cbc-128 sha2-256 ecp-256',
    outer: 4,
    ike: 'aes-cbc-128 / hmac-sha2-256-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'aes-cbc-128 / hmac-sha2-256-128',
    strongswanIke: 'aes128-sha256-prfsha256-ecp256',
    strongswanEsp: 'aes128-sha256',
  },
  {
    name: 'aes-cbc-192 sha2-384 x25519, aes-gcm-192',
    outer: 4,
    ike: 'aes-cbc-192 / hmac-sha2-384-192 / prf-hmac-sha2-384 / x25519',
    esp: 'aes-gcm-16-192',
    strongswanIke: 'aes192-sha384-prfsha384-x25519',
    strongswanEsp: 'aes192gcm16',
  },
];

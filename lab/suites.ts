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

/** What strongSwan does with the kernel's data plane only: AES-CCM, XCBC, CMAC, extended numbers, plain ESP. */
export const KERNEL_SUITES: Suite[] = [
  {
    name: 'aes-gcm-256 x25519 esn, v4 in v4',
    outer: 4,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-gcm-16-256 / x25519 / esn',
    strongswanIke: 'aes256gcm16-prfsha256-x25519',
    strongswanEsp: 'aes256gcm16-x25519-esn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_GCM_16-256/ESN',
  },
  {
    name: 'aes-ccm-16-128, v4 in v6',
    outer: 6,
    ike: 'aes-cbc-256 / hmac-sha2-256-128 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-ccm-16-128 / no-esn',
    strongswanIke: 'aes256-sha256-prfsha256-x25519',
    strongswanEsp: 'aes128ccm16-noesn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_CCM_16-128',
  },
  {
    name: 'aes-ccm-8-256 esn, v6 in v4',
    outer: 4,
    inner: 6,
    ike: 'aes-cbc-256 / hmac-sha2-256-128 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-ccm-8-256 / esn',
    strongswanIke: 'aes256-sha256-prfsha256-x25519',
    strongswanEsp: 'aes256ccm8-esn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_CCM_8-256/ESN',
  },
  {
    name: 'aes-cbc-256 aes-xcbc-96, v6 in v6',
    outer: 6,
    inner: 6,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'aes-cbc-256 / aes-xcbc-96 / no-esn',
    strongswanIke: 'aes128gcm16-prfsha256-ecp256',
    strongswanEsp: 'aes256-aesxcbc-noesn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_CBC-256/AES_XCBC_96',
  },
  {
    name: 'aes-cbc-128 aes-cmac-96 esn, v4 in v4',
    outer: 4,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'aes-cbc-128 / aes-cmac-96 / esn',
    strongswanIke: 'aes128gcm16-prfsha256-ecp256',
    strongswanEsp: 'aes128-aescmac-esn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_CBC-128/AES_CMAC_96/ESN',
  },
  {
    name: 'chacha20-poly1305 in UDP, v4 in v4',
    outer: 4,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'chacha20-poly1305 / no-esn',
    strongswanIke: 'aes128gcm16-prfsha256-ecp256',
    strongswanEsp: 'chacha20poly1305-noesn',
    encapsulation: 'udp',
    shown: 'INSTALLED, TUNNEL-in-UDP, ESP:CHACHA20_POLY1305',
  },
];

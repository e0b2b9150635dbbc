// The suites that are run against strongSwan, in both sides' words.

import type { Suite } from './checks.ts';
import { OUTER } from './two-sites.ts';
import { SEEN } from './ways.ts';

/**
 * Every implemented encryption with every key length, every PRF, integrity algorithm and group, in IKE or in ESP, at least
 * once (test/lab/suites.test.ts). For every data plane of strongSwan; the first two are the slice of `npm test`.
 */
// biome-ignore format: one row a line, ours over theirs
export const SUITES: Suite[] = [
  { name: 'aes-gcm-256 x25519', outer: 4, rekeys: true,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / x25519' },
  { name: 'aes-cbc-256 sha2-512 modp-2048', outer: 6,
    ike: 'aes-cbc-256 / hmac-sha2-512-256 / prf-hmac-sha2-512 / modp-2048', esp: 'aes-cbc-256 / hmac-sha2-512-256 / modp-2048' },
  { name: 'aes-gcm-128 ecp-256', outer: 6,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256', esp: 'aes-gcm-16-128 / ecp-256' },
  { name: 'chacha20-poly1305 ecp-384', outer: 4, rekeys: true,
    ike: 'chacha20-poly1305 / prf-hmac-sha2-384 / ecp-384', esp: 'chacha20-poly1305 / ecp-384' },
  { name: 'aes-cbc-128 sha2-256 modp-3072', outer: 4,
    ike: 'aes-cbc-128 / hmac-sha2-256-128 / prf-hmac-sha2-256 / modp-3072', esp: 'aes-cbc-128 / hmac-sha2-256-128' },
  { name: 'aes-cbc-192 sha2-384 ecp-521, aes-gcm-192', outer: 4,
    ike: 'aes-cbc-192 / hmac-sha2-384-192 / prf-hmac-sha2-384 / ecp-521', esp: 'aes-gcm-16-192 / ecp-521' },
  { name: 'aes-gcm-12 x448', outer: 6,
    ike: 'aes-gcm-12-256 / prf-hmac-sha2-512 / x448', esp: 'aes-gcm-12-128 / x448' },
  { name: 'aes-gcm-8 prf-aes-xcbc brainpool-256', outer: 4, rekeys: true,
    ike: 'aes-gcm-8-192 / prf-aes128-xcbc / brainpool-256', esp: 'aes-gcm-8-256 / brainpool-256' },
  { name: 'aes-gcm-12-192 prf-aes-cmac brainpool-384', outer: 4,
    ike: 'aes-gcm-12-192 / prf-aes128-cmac / brainpool-384', esp: 'aes-gcm-8-128 / brainpool-384' },
  { name: 'aes-ctr-128 xcbc brainpool-512, sha1', outer: 4,
    ike: 'aes-ctr-128 / aes-xcbc-96 / prf-hmac-sha1 / brainpool-512', esp: 'aes-ctr-128 / hmac-sha1-96 / brainpool-512' },
  { name: 'aes-ctr-256 cmac modp-4096, ctr-192 xcbc', outer: 6, rekeys: true,
    ike: 'aes-ctr-256 / aes-cmac-96 / prf-aes128-xcbc / modp-4096', esp: 'aes-ctr-192 / aes-xcbc-96 / modp-4096' },
  { name: 'aes-ctr-192 sha1 modp-1536, ctr-256', outer: 4, legacy: true,
    ike: 'aes-ctr-192 / hmac-sha1-96 / prf-hmac-sha1 / modp-1536', esp: 'aes-ctr-256 / hmac-sha2-384-192 / modp-1536' },
  { name: 'aes-cbc-256 sha1 modp-1024, cbc-192 cmac', outer: 4, legacy: true,
    ike: 'aes-cbc-256 / hmac-sha1-96 / prf-hmac-sha1 / modp-1024', esp: 'aes-cbc-192 / aes-cmac-96 / modp-1024' },
  { name: 'aes-ccm-16 modp-6144', outer: 4,
    ike: 'aes-ccm-16-256 / prf-hmac-sha2-256 / modp-6144', esp: 'aes-ccm-16-128' },
  { name: 'aes-ccm-12 prf-aes-cmac modp-8192', outer: 4, rekeys: true,
    ike: 'aes-ccm-12-128 / prf-aes128-cmac / modp-8192', esp: 'aes-ccm-12-256 / modp-8192' },
  { name: 'aes-ccm-8 x25519', outer: 6,
    ike: 'aes-ccm-8-192 / prf-hmac-sha2-512 / x25519', esp: 'aes-ccm-8-128 / ecp-256' },
  { name: 'aes-ccm-16-192, ccm-12-192', outer: 4,
    ike: 'aes-ccm-16-192 / prf-hmac-sha2-384 / ecp-384', esp: 'aes-ccm-12-192' },
  { name: 'aes-ccm-8-256, null sha2-256', outer: 6,
    ike: 'aes-ccm-8-256 / prf-hmac-sha2-256 / ecp-256', esp: 'null / hmac-sha2-256-128 / x25519' },
];

/** Two PRFs; strongSwan prefers them the other way round, and who answers decides. */
// biome-ignore format: one row a line, ours over theirs
export const TWO_PRFS: Suite[] = [
  { name: 'prf-aes-xcbc and prf-sha2-512', outer: 4,
    ike: 'aes-cbc-256 / hmac-sha2-256-128 / prf-aes128-xcbc / x25519, aes-cbc-256 / hmac-sha2-256-128 / prf-hmac-sha2-512 / x25519',
    esp: 'aes-gcm-16-256 / x25519' },
  { name: 'prf-sha2-256 and prf-aes-cmac', outer: 6,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256, aes-gcm-16-128 / prf-aes128-cmac / ecp-256', esp: 'aes-gcm-16-128' },
];

/** What strongSwan negotiates and its kernel-libipsec then cannot carry out; what it says in its log. */
export const UNABLE: { suite: Suite; says: RegExp } = {
  suite: {
    name: 'aes-gmac-128',
    outer: 4,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-gmac-128',
  },
  says: /unsupported AEAD algorithm NULL_AES_GMAC/,
};

/** What strongSwan does with the kernel's data plane only: AES-CCM, XCBC, CMAC, extended numbers, plain ESP. */
export const KERNEL_SUITES: Suite[] = [
  {
    name: 'aes-gcm-256 x25519 esn, v4 in v4',
    outer: 4,
    rekeys: true,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-gcm-16-256 / x25519 / esn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_GCM_16-256/ESN',
  },
  {
    name: 'aes-ccm-16-128, v4 in v6',
    outer: 6,
    ike: 'aes-cbc-256 / hmac-sha2-256-128 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-ccm-16-128 / no-esn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_CCM_16-128',
  },
  {
    name: 'aes-ccm-8-256 esn, v6 in v4',
    outer: 4,
    inner: 6,
    ike: 'aes-cbc-256 / hmac-sha2-256-128 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-ccm-8-256 / esn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_CCM_8-256/ESN',
  },
  {
    name: 'aes-cbc-256 aes-xcbc-96, v6 in v6',
    outer: 6,
    inner: 6,
    rekeys: true,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'aes-cbc-256 / aes-xcbc-96 / no-esn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_CBC-256/AES_XCBC_96',
  },
  {
    name: 'aes-cbc-128 aes-cmac-96 esn, v4 in v4',
    outer: 4,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'aes-cbc-128 / aes-cmac-96 / esn',
    shown: 'INSTALLED, TUNNEL, ESP:AES_CBC-128/AES_CMAC_96/ESN',
  },
  {
    name: 'chacha20-poly1305 in UDP, v4 in v4',
    outer: 4,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256',
    esp: 'chacha20-poly1305 / no-esn',
    encapsulation: 'udp',
    shown: 'INSTALLED, TUNNEL-in-UDP, ESP:CHACHA20_POLY1305',
  },
];

/** AH and transport mode, with strongSwan on the kernel's data plane. */
// biome-ignore format: one row a line
export const AH_AND_TRANSPORT: Suite[] = [
  { name: 'ah sha2-256 esn x25519, v4 in v4', outer: 4, protocol: 'ah', rekeys: true, shown: 'TUNNEL, AH:HMAC_SHA2_256_128/ESN',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha2-256-128 / x25519 / esn' },
  { name: 'ah sha2-384, v6 in v4', outer: 4, inner: 6, protocol: 'ah', shown: 'TUNNEL, AH:HMAC_SHA2_384_192',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha2-384-192 / no-esn' },
  { name: 'ah sha2-512 esn, v4 in v6', outer: 6, protocol: 'ah', shown: 'TUNNEL, AH:HMAC_SHA2_512_256/ESN',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha2-512-256 / esn' },
  { name: 'ah cmac, v6 in v6', outer: 6, inner: 6, protocol: 'ah', rekeys: true, shown: 'TUNNEL, AH:AES_CMAC_96',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-cmac-96 / no-esn' },
  { name: 'aes-gcm-256 esn transport, v4', outer: 4, transport: true, rekeys: true, shown: 'TRANSPORT, ESP:AES_GCM_16-256/ESN',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / esn' },
  { name: 'aes-cbc-128 transport, v6', outer: 6, transport: true, shown: 'TRANSPORT, ESP:AES_CBC-128',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-cbc-128 / hmac-sha2-256-128 / no-esn' },
  { name: 'aes-gcm-256 transport of GRE, v4', outer: 4, transport: 'gre', rekeys: true, shown: 'TRANSPORT, ESP:AES_GCM_16-256',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'aes-gcm-256 transport in UDP, v4', outer: 4, transport: true, encapsulation: 'udp', rekeys: true,
    shown: 'TRANSPORT-in-UDP, ESP:AES_GCM_16-256',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'aes-gcm-256 transport through two NATs, v4', outer: 4, transport: true, translated: true, encapsulation: 'auto', rekeys: true,
    ours: { peer: SEEN.theirs, 'peer-id': OUTER[4][1] },
    theirs: { remoteAddress: SEEN.ours, remoteId: OUTER[4][0], local: `${OUTER[4][1]}/32`, remote: `${SEEN.ours}/32` },
    shown: 'TRANSPORT-in-UDP, ESP:AES_GCM_16-256',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'ah sha2-256 transport, v4', outer: 4, protocol: 'ah', transport: true, shown: 'TRANSPORT, AH:HMAC_SHA2_256_128',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha2-256-128 / no-esn' },
  { name: 'ah sha1 esn transport, v6', outer: 6, protocol: 'ah', transport: true, shown: 'TRANSPORT, AH:HMAC_SHA1_96/ESN',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha1-96 / esn' },
];

/** Route-based on both sides; the kernel of the guest has VTIs, over either family. */
// biome-ignore format: one row a line
export const ROUTED: Suite[] = [
  { name: 'aes-gcm-256 by route, v4 in v4', outer: 4, route: true, rekeys: true, shown: 'TUNNEL, ESP:AES_GCM_16-256',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'aes-gcm-256 by route, v6 in v6', outer: 6, inner: 6, route: true, shown: 'TUNNEL, ESP:AES_GCM_16-256',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'aes-gcm-256 by route, v4 in v6', outer: 6, route: true, shown: 'TUNNEL, ESP:AES_GCM_16-256',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
];

/** What libreswan does on the kernel's data plane: one word for PRF and integrity in IKE, no group but its own few. */
// biome-ignore format: one row a line
export const LIBRESWAN_SUITES: Suite[] = [
  { name: 'aes-gcm-256 x25519 esn, v4 in v4', outer: 4, rekeys: true,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / x25519 / esn' },
  { name: 'aes-cbc-256 sha2-512 modp-2048, v4 in v6', outer: 6,
    ike: 'aes-cbc-256 / hmac-sha2-512-256 / prf-hmac-sha2-512 / modp-2048', esp: 'aes-cbc-256 / hmac-sha2-512-256 / modp-2048 / no-esn' },
  { name: 'aes-gcm-128 ecp-256, v6 in v4', outer: 4, inner: 6,
    ike: 'aes-gcm-16-128 / prf-hmac-sha2-256 / ecp-256', esp: 'aes-gcm-16-128 / ecp-256 / no-esn' },
  { name: 'chacha20-poly1305 ecp-384, v6 in v6', outer: 6, inner: 6, rekeys: true,
    ike: 'chacha20-poly1305 / prf-hmac-sha2-384 / ecp-384', esp: 'chacha20-poly1305 / ecp-384 / no-esn' },
  { name: 'aes-cbc-128 sha2-256 ecp-521 esn, v4 in v4', outer: 4,
    ike: 'aes-cbc-128 / hmac-sha2-256-128 / prf-hmac-sha2-256 / ecp-521', esp: 'aes-cbc-128 / hmac-sha2-256-128 / esn' },
  { name: 'aes-ccm-16-256 in UDP, v4 in v4', outer: 4, encapsulation: 'udp',
    ike: 'aes-cbc-256 / hmac-sha1-96 / prf-hmac-sha1 / modp-3072', esp: 'aes-ccm-16-256 / no-esn' },
  { name: 'aes-ccm-16-256, v4 in v4', outer: 4,
    ike: 'aes-cbc-256 / hmac-sha1-96 / prf-hmac-sha1 / modp-3072', esp: 'aes-ccm-16-256 / no-esn' },
  { name: 'aes-gcm-256 in UDP, v4 in v4', outer: 4, encapsulation: 'udp',
    ike: 'aes-cbc-256 / hmac-sha1-96 / prf-hmac-sha1 / modp-3072', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'ah sha2-256 x25519, v4 in v4', outer: 4, protocol: 'ah', rekeys: true, ours: { vendor: 'libreswan' },
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha2-256-128 / x25519 / no-esn' },
  { name: 'ah sha1, v6 in v4', outer: 4, inner: 6, protocol: 'ah', ours: { vendor: 'libreswan' },
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha1-96 / no-esn' },
  { name: 'ah sha2-512 esn, v4 in v6', outer: 6, protocol: 'ah', ours: { vendor: 'libreswan' },
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha2-512-256 / esn' },
  { name: 'ah xcbc, v6 in v6', outer: 6, inner: 6, protocol: 'ah', rekeys: true, ours: { vendor: 'libreswan' },
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-xcbc-96 / no-esn' },
  { name: 'aes-gcm-256 transport, v4', outer: 4, transport: true, rekeys: true,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'aes-cbc-128 transport, v6', outer: 6, transport: true,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-cbc-128 / hmac-sha2-256-128 / no-esn' },
  { name: 'aes-gcm-256 transport of GRE, v4', outer: 4, transport: 'gre',
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'ah sha2-256 transport, v4', outer: 4, protocol: 'ah', transport: true, ours: { vendor: 'libreswan' },
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'hmac-sha2-256-128 / no-esn' },
  { name: 'aes-gcm-256 by route, v4 in v4', outer: 4, route: true, rekeys: true,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
  { name: 'aes-gcm-256 by route, v6 in v6', outer: 6, inner: 6, route: true,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519', esp: 'aes-gcm-16-256 / no-esn' },
];

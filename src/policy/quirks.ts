// What known peers do differently from the RFCs, or more narrowly, and what we do about it: dated rows with evidence. A tunnel
// shares one by `quirks: [NAME]`, or has all that its `vendor` is known for. Nothing is acted on by a guess from the wire.

interface QuirkRow {
  name: string;
  /** Whose every release is like that: `vendor: NAME` is enough. Empty: only some are, so the quirk is named itself. */
  vendors: readonly string[];
  differs: string;
  /** What we do. */
  answer: string;
  source: string;
  /** When that was read. */
  read: string;
}

export const QUIRKS = [
  {
    name: 'hmac-sha2-256-96',
    vendors: [],
    differs:
      'ESP cuts HMAC-SHA2-256 to 96 bits under the number of the 128-bit one (Linux before 2.6.33 and boxes made of it, some old IOS): the tunnel comes up, and every packet is dropped at both ends',
    answer: '`hmac-sha2-256-128` in `esp-suites` means the short one',
    source: 'libreswan ipsec.conf(5) sha2-truncbug; strongSwan swanctl.conf sha256_96',
    read: '2026-11',
  },
  {
    name: 'one-selector-pair-per-child',
    vendors: ['aws', 'asa', 'fortigate', 'palo-alto'],
    differs:
      'a child holds one network on each side; of several it takes the first, refuses all, or sends for some of them only',
    answer: 'a child of n × m networks becomes children of one pair each, named CHILD.N.M',
    source:
      'AWS Site-to-Site VPN user guide, Your customer gateway device; IBM Cloud VPC docs, vpn-onprem-cisco; Fortinet community 108187; PAN-OS codegen proxy-id',
    read: '2026-11',
  },
  {
    name: 'esp-in-udp-only',
    vendors: ['ibm'],
    differs: 'ESP is taken in UDP only, NAT or not',
    answer: '`encapsulation` is udp where the tunnel does not say otherwise',
    source: 'IBM Cloud VPC docs, vpn-limitations',
    read: '2026-11',
  },
  {
    name: 'ah-deleted-by-zero',
    vendors: ['libreswan'],
    differs:
      'the DELETE of an AH child carries the SPI of its ESP, which it does not have: 0, and in older releases the protocol of ESP',
    answer: 'it is taken for the AH child that the peer has rekeyed, or for the only one',
    source: 'libreswan 4.10 and 5.0, programs/pluto/ikev2_delete.c, record_v2_delete',
    read: '2026-11',
  },
] as const satisfies readonly QuirkRow[];

export type Quirk = (typeof QUIRKS)[number]['name'];
export type Vendor = (typeof QUIRKS)[number]['vendors'][number];

export const QUIRK_NAMES = QUIRKS.map(({ name }) => name);
export const VENDORS: readonly Vendor[] = [...new Set(QUIRKS.flatMap(({ vendors }) => [...vendors]))].sort();

/** Those named, and those that every peer of the vendor has. */
export function quirksOf(vendor: Vendor | undefined, named: readonly Quirk[] = []): Quirk[] {
  const known = QUIRKS.filter(({ vendors }) => (vendors as readonly string[]).includes(vendor ?? ''));
  return [...new Set([...named, ...known.map(({ name }) => name)])];
}

// The configuration file, once: types, validation and the reference page come from here.

import { z } from 'zod';
import { isOld, SIGNATURE_SCHEMES } from '../crypto/signature-schemes.ts';
import { TABLES } from '../host/wanted.ts';
import { QUIRK_NAMES, VENDORS } from '../policy/quirks.ts';

const text = z.string().min(1);
const oneOrMore = z.union([text, z.array(text).min(1)]);

/** Those that stand for themselves in AUTH; the old ones go with them. */
const SIGNATURES = SIGNATURE_SCHEMES.filter((row) => !isOld(row)).map(({ name }) => name);

/** Text says its type by its form; the other way names it (RFC 7296 §3.5). */
const identity = z.union([
  text,
  z.strictObject({
    ipv4: text.optional(),
    ipv6: text.optional(),
    fqdn: text.optional(),
    email: text.optional(),
    dn: text.optional(),
    'key-id': text.optional(),
  }),
]);

/** One side of `auth`, or both where they prove themselves alike. Files are PEM or DER. */
const side = {
  psk: z
    .strictObject({ file: text.describe('file with the pre-shared key, readable by its owner only') })
    .optional()
    .describe('both sides know the same secret'),
  certificate: text.optional().describe('our certificate, behind it those of the CAs up to the root'),
  key: text
    .optional()
    .describe('the private key of our certificate, or alone a raw key; readable by its owner only'),
  ocsp: text
    .optional()
    .describe(
      'an OCSP answer about our certificate, DER, for peers that ask (RFC 4806); read again when it changes',
    ),
  certificates: z
    .array(
      z.strictObject({
        certificate: text.describe('as above'),
        key: text.describe('as above'),
        ocsp: text.optional().describe('as above'),
      }),
    )
    .min(1)
    .optional()
    .describe('further ones of ours; shown is the first under a CA that the peer asks for'),
  ca: oneOrMore.optional().describe('certificates of the CAs that may vouch for the peer'),
  'public-key': oneOrMore.optional().describe('raw public key of the peer, where it has no certificate'),
  revocation: z
    .enum(['off', 'soft', 'hard'])
    .optional()
    .describe('whether to ask if the certificate was withdrawn: no, yes, or only with an answer'),
  crl: oneOrMore.optional().describe('revocation lists at hand'),
  signatures: z
    .array(z.enum(SIGNATURES))
    .min(1)
    .optional()
    .describe('what we sign with and accept, in order of preference; those of ML-DSA are experimental'),
};

const sideShape = z.strictObject(side);

export const authShape = z.strictObject({
  ...side,
  own: sideShape.optional().describe('how we prove ourselves, where the peer does it another way'),
  peer: sideShape.optional().describe('how the peer proves itself then'),
});

const limits = {
  lifetime: text.optional().describe('rekey a child after this time'),
  'lifetime-bytes': z.number().int().min(1_000_000).optional().describe('rekey a child after so many bytes'),
  'lifetime-packets': z.number().int().min(1000).optional().describe('rekey a child after so many packets'),
  'replay-window': z.number().int().optional().describe('packets, a multiple of 32 from 32 to 4096'),
};

/** What is done to packets. */
const protection = {
  protocol: z
    .enum(['esp', 'ah'])
    .optional()
    .describe(
      'what packets travel in: `esp` keeps them secret, `ah` only unchanged, the outer addresses too',
    ),
  transport: z
    .boolean()
    .optional()
    .describe('only packets between the two gateways themselves, without a second header; see below'),
  'pad-to': z
    .union([z.literal('off'), z.number().int().min(64).max(9000)])
    .optional()
    .describe('fill every packet up to so many bytes, so that its size tells nothing (RFC 4303 §2.7)'),
};

/** The outer header (RFC 4301 §5.1.2). */
const outer = {
  df: z
    .enum(['clear', 'copy', 'set'])
    .optional()
    .describe('whether the network may fragment our packets: yes, as the inner packet says, or no'),
  dscp: z
    .union([z.literal('copy'), z.number().int().min(0).max(63)])
    .optional()
    .describe('class of our packets: that of the inner packet, or this one; `0` hides it'),
};

export const probeShape = z.strictObject({
  to: text.describe(
    'address inside `remote` that answers echo requests (ping), such as that of the other gateway',
  ),
  from: text.optional().describe('address of this gateway inside `local`; the first one when missing'),
  every: text.optional().describe('from 100ms to 1h'),
  lost: z.number().int().min(2).max(20).optional().describe('so many without an answer: nothing passes'),
});

const probe = probeShape
  .optional()
  .describe('echo requests through the tunnel, to know that packets pass where nobody sends any; see below');

export const childShape = z.strictObject({
  local: oneOrMore
    .optional()
    .describe('networks on this side; with `transport` the address of this gateway when missing'),
  remote: oneOrMore
    .optional()
    .describe('networks on the other side; with `transport` the address of the peer when missing'),
  probe,
  ...protection,
  ...limits,
  ...outer,
});

const mark = z.union([text, z.number().int().min(0).max(0xffffffff)]);

export const xfrmShape = z.strictObject({
  mark: mark
    .optional()
    .describe('`VALUE` or `VALUE/MASK`: only packets with this mark; what comes out of the tunnel gets it'),
  'output-mark': mark
    .optional()
    .describe('`VALUE` or `VALUE/MASK`: on the outer packets, for rules that choose their way'),
  offload: z
    .enum(['off', 'crypto', 'packet', 'auto'])
    .optional()
    .describe(
      'what the network interface does: nothing, encryption, all of IPsec, or encryption where it can; the tunnel fails where it cannot do what is written',
    ),
});

export const interfaceShape = z.strictObject({
  name: text.optional().describe('at most 15 bytes; the name of the tunnel when missing'),
  address: oneOrMore
    .optional()
    .describe(
      'inside addresses of the interface with prefix lengths, such as `10.255.0.1/30`; it needs none',
    ),
  routes: oneOrMore.optional().describe('networks behind the peer: routes to them lead to the interface'),
  table: z
    .number()
    .int()
    .min(1)
    .max(0xffffffff)
    .optional()
    .describe('of the routes; the main one when missing'),
  metric: z.number().int().min(1).max(3_999_999).optional().describe('of the routes: lower is better'),
  mtu: z
    .number()
    .int()
    .min(1280)
    .max(9000)
    .optional()
    .describe('bytes; what fits into an outer packet when missing'),
});

/** What may stand in a tunnel and in `defaults`. */
const tunnelShape = {
  peer: oneOrMore
    .optional()
    .describe('address of the other gateway, several in order of preference, its DNS name, or any'),
  auth: authShape
    .optional()
    .describe('how both sides prove who they are: `psk: { file: PATH }`, a secret both know; or see below'),
  id: identity
    .optional()
    .describe('how we call ourselves; when missing the first name of our certificate, else our address'),
  'peer-id': identity
    .optional()
    .describe(
      'how the peer calls itself; its address when missing; with certificates `*` may stand for a part',
    ),
  mode: z
    .enum(['policy', 'route'])
    .optional()
    .describe(
      'what chooses packets: `local` and `remote`, or routes to an interface of the tunnel’s own; then both may be left out and mean everything',
    ),
  interface: interfaceShape.optional().describe('of a tunnel with `mode: route`; see below'),
  local: oneOrMore.optional().describe('networks on this side'),
  remote: oneOrMore.optional().describe('networks on the other side'),
  children: z
    .record(text, childShape)
    .optional()
    .describe('several pairs of networks, each with keys of its own'),
  start: z
    .enum(['now', 'on-traffic', 'wait'])
    .optional()
    .describe('now, at the first packet, or never by us'),
  encapsulation: z
    .enum(['auto', 'udp', 'esp'])
    .optional()
    .describe('ESP in UDP where there is NAT or the engine is faster so, always, or never'),
  childless: z
    .enum(['never', 'allow', 'prefer', 'require'])
    .optional()
    .describe(
      'IKE SAs without a first child (RFC 6023), so that every child has a key exchange of its own: never, when the peer begins so, always where the peer can, or no others',
    ),
  unique: z
    .enum(['replace', 'keep', 'never'])
    .optional()
    .describe(
      'when the peer makes a second IKE SA: the first one goes once the second carries the children, the second one is refused, or both stay',
    ),
  'ike-suites': z.array(text).min(1).optional().describe('algorithms of the IKE SA in order of preference'),
  'post-quantum': z
    .enum(['required', 'preferred', 'off'])
    .optional()
    .describe(
      'ML-KEM beside the key exchange of the IKE SA: `required`, offered first and done without where the peer has none, or never; `preferred` leaves `ike-suites` as they are where they are named',
    ),
  ppk: z
    .strictObject({
      id: text.describe('name of the PPK, the same on both sides'),
      file: text.describe('file with the secret, readable by its owner only; 32 random bytes at least'),
      use: z
        .enum(['required', 'preferred', 'off'])
        .optional()
        .describe('no IKE SA without it, one without where the peer has none, or never'),
    })
    .optional()
    .describe('a secret of both sides in the keys, against quantum computers (RFC 8784)'),
  'esp-suites': z.array(text).min(1).optional().describe('algorithms of the children in order of preference'),
  'ah-suites': z
    .array(text)
    .min(1)
    .optional()
    .describe('algorithms of the children with `protocol: ah` in order of preference'),
  legacy: z
    .boolean()
    .optional()
    .describe('let suites name what is weak by now, for a peer that has nothing better'),
  quirks: z.array(z.enum(QUIRK_NAMES)).min(1).optional().describe('faults of the peer to share; see below'),
  vendor: z
    .enum(VENDORS)
    .optional()
    .describe('what the peer is, for the quirks that all of its kind have; see below'),
  'ike-lifetime': text.optional().describe('rekey the IKE SA after this time'),
  reauthentication: text
    .optional()
    .describe(
      'both sides prove again who they are after this time, such as `24h`, without a packet lost; or never',
    ),
  ...protection,
  ...limits,
  ...outer,
  liveness: text.optional().describe('ask a silent peer after this time, 100ms or more; 0s never'),
  probe,
  rehearsal: z
    .boolean()
    .optional()
    .describe('make the first rekey within seconds, to see that it will succeed when it is due'),
  retransmit: z
    .strictObject({
      first: text.optional().describe('wait for the first answer, such as 500ms'),
      factor: z.number().min(1).max(4).optional().describe('each further wait is longer by this'),
      cap: text.optional().describe('no wait is longer'),
      sends: z.number().int().min(1).max(30).optional().describe('transmissions before giving up'),
      jitter: z.number().min(0).max(0.5).optional().describe('part by which a wait varies'),
    })
    .optional()
    .describe('how a request without an answer is sent again'),
  xfrm: xfrmShape
    .optional()
    .describe('what only the IPsec of the kernel knows of, with `dataplane: xfrm`; see below'),
  'path-mtu': z
    .enum(['find', 'off'])
    .optional()
    .describe(
      'how large a packet reaches the peer in one piece, where no `probe` shows it: asked by IKE messages of many sizes, or not',
    ),
  keepalive: text.optional().describe('keep a NAT open with a byte after this time without traffic'),
  fragmentation: z
    .union([z.enum(['auto', 'off']), z.number().int().min(256).max(9000)])
    .optional()
    .describe('cut large IKE messages: as the path carries them, never, or into packets of so many bytes'),
};

const tunnel = z.strictObject(tunnelShape);

export const engineShape = z.strictObject({
  workers: z.number().int().min(1).max(16).optional().describe('threads for each direction'),
  spin: z
    .number()
    .int()
    .min(0)
    .max(1000)
    .optional()
    .describe('microseconds that a thread looks for more packets before it sleeps'),
});

export const routingShape = z.strictObject({
  table: z
    .number()
    .int()
    .min(256)
    .max(0xffffffff - TABLES)
    .optional()
    .describe(
      `the first of our tables, ${TABLES} in a row; an interface may have one of its own beside them`,
    ),
  priority: z
    .number()
    .int()
    .min(1)
    .max(32_764)
    .optional()
    .describe('of our rules, with the next one; lower is asked earlier, and the main table at 32766'),
  mark: z
    .number()
    .int()
    .min(1)
    .max(0xffffffff)
    .optional()
    .describe('bits on our outer packets, such as `0x2d00000`, that nobody else uses'),
});

export const schema = z.strictObject({
  include: z.array(text).optional().describe('further files with tunnels'),
  gateway: z.strictObject({
    name: text.describe('shown in status and log'),
    address: oneOrMore.describe('our outer addresses, at most one of each family'),
    mtu: z.number().int().min(1280).max(9000).optional().describe('largest outer packet, bytes'),
    dataplane: z
      .enum(['engine', 'xfrm', 'auto'])
      .optional()
      .describe(
        'what protects packets: our engine, the IPsec of the kernel, or the kernel where it can do all that the tunnels ask for',
      ),
    'fetch-from': z
      .enum(['public', 'anywhere'])
      .optional()
      .describe('hosts that revocation lists and answers may be fetched from; `anywhere` for a CA inside'),
    routing: routingShape
      .optional()
      .describe('tables, rules and marks of ours, where another program has the usual ones'),
    engine: engineShape.optional().describe('threads of the userspace engine'),
  }),
  defaults: tunnel.optional().describe('for every tunnel that does not say otherwise'),
  tunnels: z.record(text, tunnel),
});

/** A file that `include` names: tunnels only. */
export const includedSchema = z.strictObject({ tunnels: z.record(text, tunnel) });

export type File = z.infer<typeof schema>;
export type AuthEntry = z.infer<typeof authShape>;
export type SideEntry = z.infer<typeof sideShape>;
export type IdentityEntry = z.infer<typeof identity>;
export type ProbeEntry = z.infer<typeof probeShape>;
export type ChildEntry = z.infer<typeof childShape>;
export type TunnelEntry = z.infer<typeof tunnel>;

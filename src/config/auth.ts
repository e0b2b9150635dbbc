// How both sides of a tunnel prove who they are: `auth` and the identities, resolved to names, bytes and keys.

import { createPublicKey, type KeyObject } from 'node:crypto';
import { schemesFor } from '../crypto/node-signatures.ts';
import { isOld, SIGNATURE_SCHEMES } from '../crypto/signature-schemes.ts';
import {
  bindsIdentity,
  type CertificateDescription,
  certificateKeyHash,
  PATH_RULES,
  printName,
  publicKeyOf,
} from '../crypto/x509.ts';
import { encodeIdentity } from '../ike/authenticate.ts';
import type { Auth, Identity, OwnKey, OwnProof, PeerProof } from '../policy/tunnel.ts';
import type { Path } from './complaint.ts';
import {
  createFiles,
  described,
  type Files,
  filesIn,
  isComplaint,
  misfit,
  type Trust,
} from './credentials.ts';
import { DEFAULTS } from './defaults.ts';
import { listOf } from './list.ts';
import type { AuthEntry, SideEntry, TunnelEntry } from './schema.ts';

/** Everything long-term by name. Behind functions, so that no dump of an object shows one. */
export interface Keyring {
  secrets: Map<string, () => Uint8Array>;
  keys: Map<string, () => KeyObject>;
  trust: Map<string, () => Trust>;
  /** Where they were read. */
  files: readonly string[];
}

export type Complain = (path: Path, problem: string, level?: 'warning') => undefined;

export interface AuthParts {
  tunnel: string;
  entry: TunnelEntry;
  keyring: Keyring;
  files: Files;
  /** Wall time, milliseconds. */
  now: number;
  at: Complain;
}

export function createKeyring(): Keyring {
  return { secrets: new Map(), keys: new Map(), trust: new Map(), files: [] };
}

export { createFiles, filesIn };

const USAGE =
  'auth: { psk: { file: … } }, or auth: { certificate: FILE, key: FILE, ca: FILE }, or auth: { key: FILE, public-key: FILE }';

export function resolveAuth(parts: AuthParts): Auth | undefined {
  const { entry, at } = parts;
  const { auth } = entry;
  if (!auth) return at([], `auth is missing: ${USAGE}`);
  const { own = auth, peer = auth } = auth;
  const mixed = sideKeys(auth);
  if ((auth.own || auth.peer) && !(auth.own && auth.peer && mixed.length === 0))
    return at(['auth'], 'write own: and peer: both, and nothing beside them');
  if (auth.psk && mixed.length > 1)
    return at(
      ['auth'],
      'psk stands with a certificate or key: write own: and peer: where each side proves itself its own way',
    );
  const ownPath: Path = auth.own ? ['auth', 'own'] : ['auth'];
  const peerPath: Path = auth.peer ? ['auth', 'peer'] : ['auth'];
  const proof = ownProofOf(parts, own, ownPath);
  const expected = peerProofOf(parts, peer, peerPath);
  if (!proof || !expected) return undefined;
  if (auth.psk && proof.method === 'psk') return proof;
  return { method: 'each', own: proof, peer: expected };
}

function sideKeys(auth: AuthEntry): string[] {
  return Object.keys(auth).filter((key) => key !== 'own' && key !== 'peer');
}

function ownProofOf(parts: AuthParts, side: SideEntry, path: Path): OwnProof | undefined {
  const { tunnel, at } = parts;
  if (side.psk) return sharedKey(parts, side.psk.file, [...path, 'psk', 'file'], tunnel);
  const pairs = pairsOf(side, path);
  if (side.certificate !== undefined && side.key === undefined)
    return at([...path, 'certificate'], 'key is missing: the file with its private key');
  if (pairs.length === 0) return at(path, `it says nothing of how we prove ourselves: ${USAGE}`);
  const keys = pairs.map((pair, index) => ownKey(parts, side, pair, `${tunnel}#${index + 1}`));
  return keys.every((key) => key !== undefined) ? { method: 'signature', keys } : undefined;
}

interface PairEntry {
  certificate?: string | undefined;
  key: string;
  ocsp?: string | undefined;
  path: Path;
}

function pairsOf({ certificate, key, ocsp, certificates = [] }: SideEntry, path: Path): PairEntry[] {
  const many = certificates.map((one, index) => ({ ...one, path: [...path, 'certificates', index] }));
  return key === undefined ? many : [{ certificate, key, ocsp, path }, ...many];
}

function ownKey(parts: AuthParts, side: SideEntry, pair: PairEntry, name: string): OwnKey | undefined {
  const { at, files, keyring } = parts;
  const key = files.privateKey(pair.key);
  if (isComplaint(key)) return at([...pair.path, 'key'], key.complaint);
  const schemes = schemesWith(parts, key, side, pair.path);
  if (!schemes) return undefined;
  keyring.keys.set(name, () => key);
  if (pair.certificate === undefined) {
    const spki = new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }));
    return { key: name, schemes, certificates: [spki], raw: true, authorities: [] };
  }
  const path = [...pair.path, 'certificate'];
  const chain = files.certificates(pair.certificate);
  if (isComplaint(chain)) return at(path, chain.complaint);
  const problem = misfit(key, chain[0]!);
  if (problem !== undefined) return at(path, `${problem}: ${pair.certificate} and ${pair.key}`);
  const ocsp = pair.ocsp === undefined ? undefined : files.ocsp(pair.ocsp);
  if (ocsp && isComplaint(ocsp)) return at([...pair.path, 'ocsp'], ocsp.complaint);
  const proven = certified(parts, side, { name, schemes, chain, path });
  return proven && ocsp ? { ...proven, ocsp } : proven;
}

/** Those of the key that the configuration allows, the old ones among them. */
function schemesWith(
  { at, entry }: AuthParts,
  key: KeyObject,
  side: SideEntry,
  path: Path,
): string[] | undefined {
  const allowed = allowedSchemes(side, entry.legacy);
  const schemes = schemesFor(key)
    .map(({ name }) => name)
    .filter((name) => allowed.includes(name));
  if (schemes.length > 0) return schemes;
  return at(
    [...path, 'key'],
    `the key can sign with none of ${allowed.join(', ')}; name its own in signatures`,
  );
}

/** Without a word in the configuration all but the legacy and the experimental ones. */
function allowedSchemes({ signatures }: SideEntry, legacy: boolean = DEFAULTS.legacy): string[] {
  const fine = SIGNATURE_SCHEMES.filter((row) => legacy || !row.legacy);
  if (!signatures) return fine.filter(({ experimental }) => !experimental).map(({ name }) => name);
  const chosen = fine.filter(({ name }) => signatures.some((one) => one === name));
  const old = fine.filter(
    (row) => isOld(row) && chosen.some(({ keyType, hash }) => keyType === row.keyType && hash === row.hash),
  );
  return [
    ...signatures.filter((one) => chosen.some(({ name }) => name === one)),
    ...old.map(({ name }) => name),
  ];
}

function certified(
  { at, files, now }: AuthParts,
  side: SideEntry,
  { name, schemes, chain, path }: { name: string; schemes: string[]; chain: Uint8Array[]; path: Path },
): OwnKey | undefined {
  const descriptions = chain.map(described);
  const broken = descriptions.find(isComplaint);
  if (broken) return at(path, broken.complaint);
  const [own] = descriptions as CertificateDescription[];
  if (own!.notAfter < now) at(path, `our certificate ended on ${dayOf(own!.notAfter)}: renew it`, 'warning');
  if (own!.notBefore > now)
    at(path, `our certificate begins on ${dayOf(own!.notBefore)}: is the clock right?`, 'warning');
  const roots = listOf(side.ca ?? []).flatMap((file) => {
    const found = files.certificates(file);
    return isComplaint(found) ? [] : found;
  });
  const over = issuersOf(own!, [...chain.slice(1), ...roots]);
  const last = over.at(-1)?.description ?? own!;
  if (last.issuer !== last.subject)
    at(
      path,
      `the certificate of ${last.issuer} stands neither behind ours nor in ca: unless it is the root that the peer trusts, put it there`,
      'warning',
    );
  return {
    key: name,
    schemes,
    // The root is the peer's to know; it believes no other.
    certificates: [chain[0]!, ...over.filter(isBelowRoot).map(({ der }) => der)],
    raw: false,
    authorities: over.map(({ der }) => certificateKeyHash(publicKeyOf(der)!)),
  };
}

interface Issuer {
  der: Uint8Array;
  description: CertificateDescription;
}

function isBelowRoot({ description: { issuer, subject } }: Issuer): boolean {
  return issuer !== subject;
}

/** The CAs over a certificate, the nearest first, as far as they are at hand. */
function issuersOf(own: CertificateDescription, pool: readonly Uint8Array[]): Issuer[] {
  const known = pool.flatMap((der) => {
    const description = described(der);
    return isComplaint(description) ? [] : [{ der, description }];
  });
  const over: Issuer[] = [];
  for (let below = own; below.issuer !== below.subject && over.length < known.length; ) {
    const next = known.find(
      (one) => one.description.subject === below.issuer && !over.includes(one) && one.description.ca,
    );
    if (!next) break;
    over.push(next);
    below = next.description;
  }
  return over;
}

function peerProofOf(parts: AuthParts, side: SideEntry, path: Path): PeerProof | undefined {
  const { tunnel, at, files, entry } = parts;
  if (side.psk) return sharedKey(parts, side.psk.file, [...path, 'psk', 'file'], nameOfPeerSecret(parts));
  if (side.ca === undefined && side['public-key'] === undefined)
    return at(path, `what proves the peer is missing: ca: FILE, or public-key: FILE`);
  const anchors = gathered(parts, side.ca, [...path, 'ca'], files.certificates);
  const crls = gathered(parts, side.crl, [...path, 'crl'], files.crls);
  const publicKeys = gathered(parts, side['public-key'], [...path, 'public-key'], (file) => {
    const key = files.publicKey(file);
    return isComplaint(key) ? key : [key];
  });
  if (!anchors || !crls || !publicKeys) return undefined;
  const { revocation = DEFAULTS.revocation } = side;
  parts.keyring.trust.set(tunnel, () => ({
    anchors,
    publicKeys,
    crls,
    rules: { ...PATH_RULES, revocation },
  }));
  return {
    method: 'signature',
    trust: tunnel,
    schemes: allowedSchemes(side, entry.legacy),
    authorities: anchors.flatMap((der) => {
      const spki = publicKeyOf(der);
      return spki ? [certificateKeyHash(spki)] : [];
    }),
    raw: publicKeys.length > 0,
    ...(revocation !== 'off' && anchors.length > 0 ? { ocsp: true } : {}),
  };
}

/** The same secret both ways needs one name. */
function nameOfPeerSecret({ tunnel, entry: { auth } }: AuthParts): string {
  return auth?.peer ? `${tunnel} of the peer` : tunnel;
}

function gathered(
  { at }: AuthParts,
  paths: string | readonly string[] = [],
  path: Path,
  read: (file: string) => Uint8Array[] | { complaint: string },
): Uint8Array[] | undefined {
  const all = listOf(paths).map(read);
  const wrong = all.find(isComplaint);
  return wrong ? at(path, wrong.complaint) : (all as Uint8Array[][]).flat();
}

function sharedKey(
  { keyring, files, at }: AuthParts,
  file: string,
  path: Path,
  name: string,
): { method: 'psk'; secret: string } | undefined {
  const secret = files.secret(file);
  if (isComplaint(secret)) return at(path, secret.complaint);
  keyring.secrets.set(name, () => secret);
  return { method: 'psk', secret: name };
}

/**
 * How we call ourselves where the file does not say: the first name of our certificate, a DNS name before a mailbox
 * before an address, else its subject; without a certificate our address.
 */
export function derivedIdentity(auth: Auth, address: Identity): Identity {
  const names = ownNames(auth);
  if (!names) return address;
  const [dns] = names.dns;
  if (dns !== undefined) return { type: 'fqdn', value: dns };
  const [email] = names.email;
  if (email !== undefined) return { type: 'email', value: email };
  const [ip] = names.addresses;
  if (ip !== undefined) return { type: ip.includes(':') ? 'ipv6' : 'ipv4', value: ip };
  return { type: 'dn', value: printName(names.subject), der: names.subject };
}

/** Why a certificate of ours does not prove the identity, or undefined. */
export function unproven(auth: Auth, identity: Identity): string | undefined {
  const names = ownNames(auth);
  if (!names || bindsIdentity(names, encodeIdentity(identity))) return undefined;
  const has = [...names.dns, ...names.email, ...names.addresses, printName(names.subject)];
  return `our certificate does not prove ${identity.value}; it proves ${has.join(', ')}`;
}

function ownNames(auth: Auth): CertificateDescription['names'] | undefined {
  const own = auth.method === 'each' ? auth.own : auth;
  const key = own.method === 'signature' ? own.keys.find(({ raw }) => !raw) : undefined;
  const description = key && described(key.certificates[0]!);
  return description && !isComplaint(description) ? description.names : undefined;
}

function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

// Name constraints (RFC 5280 §4.2.1.10): which names a CA may give, whatever their spelling.

import { childrenOf, oidOf, readDer, TAG } from './der.ts';
import { type Certificate, nameOf } from './x509-certificate.ts';
import { isSelfIssued, type Judged } from './x509-checks.ts';
import { type GeneralName, isEmptyName, printGeneralName, rdnKeys } from './x509-names.ts';
import type { Reason } from './x509-rules.ts';

/** Comparisons a path may cost; two certificates full of names could otherwise ask for millions. */
const MOST_COMPARISONS = 100_000;

/** One reason for each name that a CA above may not have given. */
export function checkNameConstraints({ path }: Judged): Reason[] {
  const certificates = path.map(({ certificate }) => certificate);
  const budget = { left: MOST_COMPARISONS };
  const reasons = certificates.flatMap((certificate, index) => {
    // RFC 5280 §6.1.3 (b): a CA that names itself anew is not held to them, a leaf always.
    if (index > 0 && isSelfIssued(certificate)) return [];
    const above = certificates.slice(index + 1).filter((one) => one.nameConstraints);
    return above.flatMap((issuer) => violations(certificate, issuer, budget));
  });
  return budget.left < 0 ? [tooMany(certificates[0]!)] : reasons;
}

function tooMany(certificate: Certificate): Reason {
  const text =
    'its names and the constraints above them are too many to compare: have it issued with fewer names';
  return { code: 'TOO_BIG', certificate: nameOf(certificate), text };
}

function violations(certificate: Certificate, issuer: Certificate, budget: { left: number }): Reason[] {
  const { permitted, excluded } = issuer.nameConstraints!;
  const names = namesUnderConstraint(certificate);
  budget.left -= names.length * (permitted.length + excluded.length);
  if (budget.left < 0) return [];
  return names
    .filter((name) => !isPermitted(name, permitted) || excluded.some((base) => isExcluded(name, base)))
    .map((name) => ({
      code: 'NAME_CONSTRAINTS',
      certificate: nameOf(certificate),
      text: `the CA ${nameOf(issuer)} may not give the name ${printGeneralName(name)}: have it issued by a CA that may`,
    }));
}

const EMAIL_ATTRIBUTE = '1.2.840.113549.1.9.1';

/** Alternative names, the subject, and its mail address where no alternative name is one (RFC 5280 §4.2.1.10). */
function namesUnderConstraint({ subject, subjectAltName = [] }: Certificate): GeneralName[] {
  const names = [...subjectAltName];
  if (!isEmptyName(subject)) names.push({ type: 'dn', value: subject });
  if (!subjectAltName.some(({ type }) => type === 'email')) names.push(...emailsOf(subject));
  return names;
}

function emailsOf(subject: Uint8Array): GeneralName[] {
  const attributes = readDer(subject).children.flatMap(({ children }) => children);
  return attributes
    .map((one) => childrenOf(one, TAG.SEQUENCE, 'an attribute'))
    .filter(([oid]) => oid && oidOf(oid.value) === EMAIL_ATTRIBUTE)
    .map(([, value]) => ({ type: 'email', value: new TextDecoder('latin1').decode(value!.value) }));
}

/** Where nothing is said about a kind of name, all of that kind are allowed. */
function isPermitted(name: GeneralName, permitted: readonly GeneralName[]): boolean {
  const bases = permitted.filter((base) => sameKind(name, base));
  return bases.length === 0 || bases.some((base) => within(name, base) === true);
}

/** What cannot be compared counts as excluded (RFC 5280 §4.2.1.10: understand, or reject). */
function isExcluded(name: GeneralName, base: GeneralName): boolean {
  return sameKind(name, base) && within(name, base) !== false;
}

function sameKind(a: GeneralName, b: GeneralName): boolean {
  return a.type === 'other' && b.type === 'other' ? a.tag === b.tag : a.type === b.type;
}

/** Undefined where it cannot be told. Both are of one kind. */
function within(name: GeneralName, base: GeneralName): boolean | undefined {
  if (name.type === 'dns' && base.type === 'dns') return dnsWithin(name.value, base.value);
  if (name.type === 'email' && base.type === 'email') return emailWithin(name.value, base.value);
  if (name.type === 'uri' && base.type === 'uri') return uriWithin(name.value, base.value);
  if (name.type === 'ip' && base.type === 'ip') return addressWithin(name.value, base.value);
  if (name.type === 'dn' && base.type === 'dn') return nameWithin(name.value, base.value);
  return undefined;
}

/** CVE-2026-35331: neither case nor a final dot makes another name of it. */
function foldHost(host: string): string {
  return host.toLowerCase().replace(/\.$/, '');
}

function isHost(host: string): boolean {
  return (
    host.length <= 253 &&
    /^(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*$/.test(host)
  );
}

/** The name itself and every name below it; a wildcard stands for all names that it could. */
function dnsWithin(name: string, base: string): boolean | undefined {
  const [own, tree] = [foldHost(name), foldHost(base)];
  const stars = own.startsWith('*.');
  if (!isHost(stars ? own.slice(2) : own)) return undefined;
  if (tree === '') return true;
  // A leading dot, common as it is, has no meaning here.
  if (!isHost(tree)) return undefined;
  if (own === tree || own.endsWith(`.${tree}`)) return true;
  // `*.example.org` covers `a.example.org`: neither inside nor outside of it.
  return stars && tree.endsWith(own.slice(1)) ? undefined : false;
}

/** A host, `.host` for all below it, or one mailbox (RFC 5280 §4.2.1.10); the mailbox part as written (§7.5). */
function emailWithin(name: string, base: string): boolean | undefined {
  const at = name.lastIndexOf('@');
  const host = foldHost(name.slice(at + 1));
  if (at < 1 || !/^[^@"\s]+$/.test(name.slice(0, at)) || !isHost(host)) return undefined;
  const baseAt = base.lastIndexOf('@');
  if (baseAt >= 0)
    return name.slice(0, at) === base.slice(0, baseAt) && host === foldHost(base.slice(baseAt + 1));
  return hostWithin(host, base);
}

function hostWithin(host: string, base: string): boolean | undefined {
  const tree = foldHost(base);
  if (tree === '') return true;
  if (!isHost(tree.replace(/^\./, ''))) return undefined;
  return tree.startsWith('.') ? host.endsWith(tree) : host === tree;
}

/** RFC 5280 §4.2.1.10: the host of the authority; an URI without a host name cannot be compared. */
function uriWithin(name: string, base: string): boolean | undefined {
  const [, authority] = /^[a-zA-Z][a-zA-Z0-9+.-]*:\/\/([^/?#]*)/.exec(name) ?? [];
  const host = foldHost((authority ?? '').replace(/^.*@/, '').replace(/:\d*$/, ''));
  if (!isHost(host) || /^[\d.]+$/.test(host)) return undefined;
  return hostWithin(host, base);
}

function addressWithin(address: Uint8Array, base: Uint8Array): boolean {
  const width = address.length;
  return (
    base.length === 2 * width && address.every((byte, i) => ((byte ^ base[i]!) & base[width + i]!) === 0)
  );
}

/** The first RDNs are the same, by RFC 5280 §7.1. */
function nameWithin(name: Uint8Array, base: Uint8Array): boolean | undefined {
  const [own, tree] = [rdnKeys(name), rdnKeys(base)];
  if (!own || !tree) return undefined;
  return tree.length <= own.length && tree.every((key, i) => key === own[i]);
}

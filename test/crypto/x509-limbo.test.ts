// The cases of x509-limbo, as `test/vectors/README.md` says where they are from.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { bindsIdentity, judgePath, PATH_RULES } from '../../src/crypto/x509.ts';
import { addressBytes, canonicalAddress } from '../../src/wire/address.ts';
import { ID_TYPE } from '../../src/wire/numbers.ts';

interface Case {
  id: string;
  expected: boolean;
  anchors: number[];
  /** The leaf first. */
  chain: number[];
  crls?: number[];
  time?: string;
  depth?: number;
  names?: ['DNS' | 'IP' | 'RFC822', string][];
}

const ISSUER = 'asks what a CA has to write; whether a path is good does not hang on it';
const WEB = 'a rule of the CA/Browser Forum for servers of the web';
const WILDCARD =
  'a wildcard in a certificate is no name of an IKE peer; wildcards are only ours to configure';
const SIGNS = 'RFC 4945 §5.1.3.2: a key that makes AUTH needs digitalSignature, whatever else it is';

/** Where we answer otherwise, and why. A test holds that we do. */
const EXCLUDED: Record<string, string> = {
  'pathlen::validation-ignores-pathlen-in-leaf': SIGNS,
  'rfc5280::ca-as-leaf': SIGNS,
  'pathlen::max-chain-depth-1-self-issued': 'our longest path counts every certificate, self-issued ones too',
  'rfc5280::aki::leaf-missing-aki': ISSUER,
  'rfc5280::aki::intermediate-missing-aki': ISSUER,
  'rfc5280::aki::cross-signed-root-missing-aki': ISSUER,
  'rfc5280::ski::root-missing-ski': ISSUER,
  'rfc5280::ski::intermediate-missing-ski': ISSUER,
  'rfc5280::nc::permitted-dns-match-noncritical': `${ISSUER}: they are held to all the same`,
  'rfc5280::root-non-critical-basic-constraints': `${ISSUER}: they are held to all the same`,
  'rfc5280::eku::ee-wrong-eku': 'clientAuth and serverAuth are equally good for IKE (RFC 4945 §5.1.3.12)',
  'rfc5280::san::underscore-dns': 'hosts of many sites have an underscore, and it deceives nobody',
  'rfc5280::serial::zero': 'RFC 5280 §4.1.2.2: users of certificates handle it gracefully',
  'webpki::aki::root-with-aki-missing-keyidentifier': WEB,
  'webpki::aki::root-with-aki-authoritycertissuer': WEB,
  'webpki::aki::root-with-aki-authoritycertserialnumber': WEB,
  'webpki::aki::root-with-aki-all-fields': WEB,
  'webpki::aki::root-with-aki-ski-mismatch': WEB,
  'webpki::cn::ipv4-hex-mismatch': WEB,
  'webpki::cn::ipv4-leading-zeros-mismatch': WEB,
  'webpki::cn::ipv6-uppercase-mismatch': WEB,
  'webpki::cn::ipv6-uncompressed-mismatch': WEB,
  'webpki::cn::ipv6-non-rfc5952-mismatch': WEB,
  'webpki::cn::punycode-not-in-san': WEB,
  'webpki::cn::utf8-vs-punycode-mismatch': WEB,
  'webpki::cn::not-in-san': WEB,
  'webpki::cn::case-mismatch': WEB,
  'webpki::eku::ee-anyeku': WEB,
  'webpki::eku::ee-critical-eku': WEB,
  'webpki::eku::ee-without-eku': WEB,
  'webpki::eku::root-has-eku': WEB,
  'webpki::san::san-critical-with-nonempty-subject': WEB,
  'webpki::forbidden-rsa-not-divisible-by-8-in-root': WEB,
  'webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf': WEB,
  'webpki::ee-basicconstraints-ca': WEB,
  'webpki::nc::nc-permits-dns-san-pattern': WILDCARD,
  'webpki::san::leftmost-wildcard-san': WILDCARD,
  'online::docs.python.org': WILDCARD,
};

const file = new URL('../vectors/x509-limbo.json.gz', import.meta.url);
const { objects, cases } = JSON.parse(gunzipSync(readFileSync(file)).toString()) as {
  objects: string[];
  cases: Case[];
};
const ders = objects.map((text) => new Uint8Array(Buffer.from(text, 'base64')));

/** Cases without a time are about today: the day on which they were made. */
const MADE = '2026-06-29T12:00:00Z';

async function accepts({ anchors, chain, crls, time, depth, names = [] }: Case): Promise<boolean> {
  const der = (index: number) => ders[index]!;
  const verdict = await judgePath({
    certificates: chain.map(der),
    anchors: anchors.map(der),
    crls: (crls ?? []).map(der),
    ocsp: [],
    at: Date.parse(time ?? MADE),
    rules: {
      ...PATH_RULES,
      revocation: crls ? 'hard' : 'off',
      longestPath: depth === undefined ? PATH_RULES.longestPath : depth + 2,
    },
  });
  return verdict.valid && names.every((name) => bindsIdentity(verdict.names, identityOf(name)));
}

function identityOf([kind, value]: ['DNS' | 'IP' | 'RFC822', string]) {
  if (kind !== 'IP') {
    const idType = kind === 'DNS' ? ID_TYPE.ID_FQDN : ID_TYPE.ID_RFC822_ADDR;
    return { idType, data: new TextEncoder().encode(value) };
  }
  const data = addressBytes(canonicalAddress(value)!);
  return { idType: data.length === 4 ? ID_TYPE.ID_IPV4_ADDR : ID_TYPE.ID_IPV6_ADDR, data };
}

test('x509-limbo: each case has the verdict that it expects, and each exclusion still has to be one', async () => {
  const wrong: string[] = [];
  for (const one of cases)
    if (((await accepts(one)) === one.expected) === one.id in EXCLUDED)
      wrong.push(`${one.id} expects ${one.expected}`);
  assert.deepEqual(wrong, []);
  assert.deepEqual(
    Object.keys(EXCLUDED).filter((id) => !cases.some((one) => one.id === id)),
    [],
  );
  assert.equal(cases.length, 208);
});

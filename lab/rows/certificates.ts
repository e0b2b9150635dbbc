// Certificates and raw keys with strongSwan, both roles: every kind of key, chains, the methods before RFC 7427, and what must
// be refused, with the sentence that says why.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Suite, sentenceIn } from '../checks.ts';
import {
  certificatePem,
  type Holder,
  type KeyKind,
  keyPem,
  makeCa,
  makeCrl,
  makeLeaf,
  publicPem,
} from '../credentials.ts';
import type { PeerCredential } from '../peers/tunnel.ts';
import { pause, type Site } from '../site.ts';
import { demand } from '../steps.ts';
import type { Group, Lab } from './group.ts';

const [OUR_NAME, THEIR_NAME] = ['a.example', 'b.example'];

interface Case {
  name: string;
  scheme?: string;
  /** Of both sides, when nothing else is said. */
  ours?: Holder[];
  theirs?: Holder[];
  auth?: Record<string, unknown>;
  credential?: Partial<PeerCredential>;
  settings?: Record<string, string | number>;
  id?: string;
}

interface Refused extends Case {
  asInitiator: RegExp;
  asResponder: RegExp;
}

/** What strongSwan signs with of itself, by our names. */
const SCHEMES: Record<KeyKind, string> = {
  rsa: 'rsa-sha256',
  'p-256': 'ecdsa-sha256',
  'p-384': 'ecdsa-sha384',
  'p-521': 'ecdsa-sha512',
  ed25519: 'ed25519',
  ed448: 'ed448',
};
const PSS = ['rsa-pss-sha256', 'rsa-pss-sha384', 'rsa-pss-sha512'];
const SUITE = {
  outer: 4,
  ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519',
  esp: 'aes-gcm-16-256 / x25519',
} as const;

export const certificates: Group = {
  name: 'certificates',
  async run(lab) {
    const root = makeCa('C=DE, O=Example, CN=Root');
    const good = goodCases(root);
    for (const one of lab.short ? good.slice(1, 2) : good) await accepted(lab, root, one);
    if (lab.short) return;
    for (const one of refusedCases(root)) await refused(lab, root, one);
    await renewed(lab, root);
  },
};

/** Of each side: its certificate and two authorities below the root. */
export function chainsUnder(root: Holder): { ours: Holder[]; theirs: Holder[] } {
  const upper = makeCa('C=DE, O=Example, CN=Upper', root);
  const lower = makeCa('C=DE, O=Example, CN=Lower', upper);
  const chain = (name: string) => [makeLeaf(lower, name), lower, upper];
  return { ours: chain(OUR_NAME), theirs: chain(THEIR_NAME) };
}

/** With libreswan. It signs with RSASSA-PSS, with another hash in each role. Each row has its files in a folder of its own. */
export function libreswanCertificates(folder: string): Suite[] {
  const root = makeCa('C=DE, O=Example, CN=Root');
  const suiteOf = (name: string, kind: KeyKind, auth?: Record<string, unknown>): Suite => {
    const [ours, theirs] = [OUR_NAME, THEIR_NAME].map((holder) => [makeLeaf(root, holder, { kind })]);
    const one = { name, ours: ours!, theirs: theirs!, ...(auth ? { auth } : {}) };
    return { feature: 'certificates', ...prepare({ site: { folder: join(folder, kind) } }, root, one) };
  };
  return [
    suiteOf('certificate rsa, PSS both ways', 'rsa', { signatures: PSS }),
    suiteOf('certificate p-256', 'p-256'),
  ];
}

function goodCases(root: Holder): Case[] {
  const { ours, theirs } = chainsUnder(root);
  const of = (name: string, kind: KeyKind) => [makeLeaf(root, name, { kind })];
  const both = (kind: KeyKind) => ({ ours: of(OUR_NAME, kind), theirs: of(THEIR_NAME, kind) });
  const old = { signature_authentication: 'no' };
  return [
    ...Object.entries(SCHEMES).map(([kind, scheme]) => ({
      name: `certificate ${kind}`,
      scheme,
      ...both(kind as KeyKind),
    })),
    {
      name: 'certificate rsa, PSS both ways',
      scheme: 'rsa-pss-sha256',
      ...both('rsa'),
      auth: { signatures: PSS },
      settings: { rsa_pss: 'yes' },
    },
    { name: 'chain of four certificates', scheme: 'ecdsa-sha256', ours, theirs },
    {
      name: 'certificate p-256, method 9 (RFC 4754)',
      scheme: 'ecdsa-sha256-old',
      ...both('p-256'),
      settings: old,
    },
    {
      name: 'certificate p-384, method 10 (RFC 4754)',
      scheme: 'ecdsa-sha384-old',
      ...both('p-384'),
      settings: old,
    },
    {
      name: 'certificate p-521, method 11 (RFC 4754)',
      scheme: 'ecdsa-sha512-old',
      ...both('p-521'),
      settings: old,
    },
    { name: 'certificate rsa, method 1, legacy', scheme: 'rsa-sha1-old', ...both('rsa'), settings: old },
    { name: 'raw public key ed25519', scheme: 'ed25519', ...both('ed25519'), credential: { raw: true } },
  ];
}

function refusedCases(root: Holder): Refused[] {
  const other = makeCa('C=DE, O=Other, CN=Root');
  const revoked = makeLeaf(root, THEIR_NAME);
  const withdrawn = makeLeaf(root, OUR_NAME);
  return [
    {
      name: 'theirs revoked (CRL)',
      theirs: [revoked],
      auth: { revocation: 'hard', crl: makeCrl(root, [revoked]) },
      asInitiator: /is revoked/,
      asResponder: /is revoked/,
    },
    {
      name: 'theirs expired',
      theirs: [makeLeaf(root, THEIR_NAME, { from: -9, to: -1 })],
      asInitiator: /out of its time/,
      asResponder: /out of its time/,
    },
    {
      name: 'theirs of another CA',
      theirs: [makeLeaf(other, THEIR_NAME)],
      asInitiator: /leads to no CA that we trust/,
      asResponder: /leads to no CA that we trust/,
    },
    {
      name: 'theirs for another name',
      theirs: [makeLeaf(root, THEIR_NAME, { dns: 'c.example' })],
      id: 'c.example',
      asInitiator: /refuses our authentication|calls itself c.example/,
      asResponder: /no tunnel expects that name/,
    },
    {
      name: 'ours revoked (CRL there)',
      ours: [withdrawn],
      credential: { crl: makeCrl(root, [withdrawn]) },
      asInitiator: /refuses our authentication/,
      asResponder: /refuses our authentication/,
    },
  ];
}

/** Writes the files of both sides; both are ready then. */
export function prepare({ site }: { site: Pick<Site, 'folder'> }, root: Holder, one: Case): Suite {
  const { ours = [makeLeaf(root, OUR_NAME)], theirs = [makeLeaf(root, THEIR_NAME)] } = one;
  const raw = one.credential?.raw === true;
  const legacy = one.name.endsWith('legacy');
  const suite: Suite = {
    ...SUITE,
    name: one.name,
    ...(one.scheme === undefined ? {} : { scheme: one.scheme }),
    ...(legacy ? { legacy } : {}),
    ours: {
      id: { fqdn: OUR_NAME },
      'peer-id': { fqdn: THEIR_NAME },
      auth: { ...ourFiles(site.folder, root, ours, theirs, raw), ...written(site.folder, one.auth) },
    },
    theirs: {
      ...(one.settings ? { settings: one.settings } : {}),
      localId: one.id ?? THEIR_NAME,
      remoteId: OUR_NAME,
      credential: {
        certificates: theirs.map((holder) => certificatePem(holder)),
        key: keyPem(theirs[0]!),
        ca: certificatePem(root),
        ...(raw ? { publicKeys: { own: publicPem(theirs[0]!), peer: publicPem(ours[0]!) } } : {}),
        ...one.credential,
      },
    },
  };
  return suite;
}

function ourFiles(folder: string, root: Holder, ours: Holder[], theirs: Holder[], raw: boolean) {
  const file = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  mkdirSync(folder, { recursive: true });
  const key = file('own.key', keyPem(ours[0]!));
  if (raw) return { key, 'public-key': file('peer.pub', publicPem(theirs[0]!)) };
  return {
    certificate: file('own.pem', certificatePem(...ours)),
    key,
    ca: file('ca.pem', certificatePem(root)),
    revocation: 'off',
  };
}

/** A list becomes a file. */
function written(folder: string, auth: Record<string, unknown> = {}): Record<string, unknown> {
  const { crl } = auth;
  if (!(crl instanceof Uint8Array)) return auth;
  const path = join(folder, 'list.crl');
  writeFileSync(path, crl);
  return { ...auth, crl: path };
}

async function accepted(lab: Lab, root: Holder, one: Case): Promise<void> {
  await lab.wholeSuite(prepare(lab, root, one));
}

async function refused(lab: Lab, root: Holder, one: Refused): Promise<void> {
  const { site, peer, check } = lab;
  const suite = prepare(lab, root, one);
  lab.configure(suite);
  await site.start();
  await peer.configure(lab.theirs(suite));
  const sentences = async (output: string) => `${output}${(await site.isthmus('show', 'failures')).output}`;
  await check('initiator', suite, 'refused', async () => {
    const { output } = await site.isthmus('up', 'office');
    return sentenceIn(await sentences(output), one.asInitiator);
  });
  await site.isthmus('down', 'office');
  await check('responder', suite, 'refused', async () => {
    await peer.swanctl('--initiate', '--child', 'child', '--timeout', '3');
    return sentenceIn(await sentences(''), one.asResponder);
  });
  await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
  await site.kill('SIGTERM');
}

/** Our certificate and key change on disk. */
async function renewed(lab: Lab, root: Holder): Promise<void> {
  const { site, peer, check, establish, passes } = lab;
  const suite = prepare(lab, root, { name: 'our certificate renewed' });
  lab.configure(suite);
  await site.start();
  await peer.configure(lab.theirs(suite));
  await establish('initiator');
  await check('initiator', suite, 'a key is missing', async () => {
    rmSync(join(site.folder, 'own.key'));
    const { status, output } = await site.isthmus('reload');
    demand(status !== 0, output);
    return sentenceIn(output, /own.key cannot be read: there is no such file/);
  });
  await check('initiator', suite, 'renewed', async () => {
    const before = await shown(site);
    ourFiles(site.folder, root, [makeLeaf(root, OUR_NAME)], [], false);
    const { output } = await site.isthmus('reload');
    demand(/renewed/.test(output), output);
    for (let attempt = 0; (await shown(site)) === before; attempt++) {
      demand(attempt < 100, 'the old certificate is still shown');
      await pause(200);
    }
    return passes(suite);
  });
  await check('initiator', suite, 'deleted', () => lab.deleted('initiator'));
  await site.kill('SIGTERM');
}

/** The certificate of ours that the newest IKE SA rests on. */
async function shown(site: Lab['site']): Promise<string | undefined> {
  const sas: { own?: { fingerprint: string } }[] = JSON.parse(
    (await site.isthmus('show', 'sa', '--json')).output,
  );
  return sas[0]?.own?.fingerprint;
}

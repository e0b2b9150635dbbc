// `isthmus pki`: a CA in a folder, enough for a laboratory and a first site.

import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  bindsIdentity,
  type CertificateDescription,
  describeCertificate,
  judgePath,
  PATH_RULES,
  printName,
  readCertificateFile,
  readObjects,
  type Verdict,
  writePem,
} from '../crypto/x509.ts';
import { readCertificate } from '../crypto/x509-certificate.ts';
import * as issue from '../crypto/x509-issue.ts';
import { type GeneralName, printGeneralName } from '../crypto/x509-names.ts';
import { readRequest, writeRequest } from '../crypto/x509-request.ts';
import { EKU, type RevocationRule } from '../crypto/x509-rules.ts';
import { EXIT, UsageError } from './exit.ts';
import { type NewFile, readOrComplain, save, usable } from './pki-files.ts';
import { escaped, fileName, generalName, identityOf, nameOf } from './pki-names.ts';

const USAGE = `usage: isthmus pki COMMAND

  ca FOLDER                      a CA that signs itself: FOLDER/ca.crt and FOLDER/ca.key
  issue FOLDER NAME...           a certificate and its key by the CA in FOLDER: FOLDER/NAME.crt, FOLDER/NAME.key
  issue FOLDER --request FILE [NAME...]   a certificate for a key that stays where it is
  request FOLDER NAME...         a request and its key, for another CA: FOLDER/NAME.csr, FOLDER/NAME.key
  show FILE                      what is in a file of certificates or requests
  verify FILE --anchor FILE      whether the path in FILE is good, and everything that is wrong with it

  NAME is a host name, an address or a mail address; the first gives the files their name
  --subject 'C=DE, O=Example, CN=gw'   instead of CN=NAME
  --key p256|p384|p521|ed25519|ed448|rsa-3072|rsa-4096|ml-dsa-65   (p256)
  --days N                       how long it is good (ca: 3650, issue: 365)
  --crl FILE, --id NAME, --revocation off|soft|hard, with verify; --json`;

const OPTIONS = {
  json: { type: 'boolean', default: false },
  subject: { type: 'string' },
  key: { type: 'string', default: 'p256' },
  days: { type: 'string' },
  request: { type: 'string' },
  anchor: { type: 'string', multiple: true, default: [] as string[] },
  crl: { type: 'string', multiple: true, default: [] as string[] },
  id: { type: 'string' },
  revocation: { type: 'string', default: 'off' },
} as const;

type Values = ReturnType<typeof parse>['values'];

/** What to print, and the exit code. */
export interface Outcome {
  exit: number;
  text: string;
}

const COMMANDS: Record<string, (operands: string[], values: Values) => Promise<Outcome> | Outcome> = {
  ca,
  issue: issueOne,
  request,
  show,
  verify,
};

/** Rejects with UsageError where a file or a word cannot be used. */
export async function pki(args: string[]): Promise<Outcome> {
  const { values, positionals } = parse(args);
  const [name, ...operands] = positionals;
  const command = name === undefined ? undefined : COMMANDS[name];
  if (!command)
    throw new UsageError(name === undefined ? USAGE : `there is no command pki ${name}\n\n${USAGE}`);
  return command(operands, values);
}

function ca([folder]: string[], { subject, key: kind, days, json }: Values): Outcome {
  const place = operand(folder, 'FOLDER');
  const key = newKey(kind);
  const spki = issue.spkiOf(key);
  const name = nameOf(subject ?? `CN=Isthmus CA ${randomBytes(4).toString('hex')}`);
  const extensions = [issue.basicConstraints(true), issue.keyUsage(5, 6), issue.subjectKeyId(spki)];
  const der = issue.issueCertificate(
    { subject: name, issuer: name, spki, ...term(days, 3650), extensions },
    { key },
  );
  mkdirSync(place, { recursive: true, mode: 0o700 });
  return written(json, der, [secret(join(place, 'ca.key'), key), open(join(place, 'ca.crt'), pem(der))]);
}

async function issueOne([folder, ...texts]: string[], values: Values): Promise<Outcome> {
  const place = operand(folder, 'FOLDER');
  const authority = readAuthority(place);
  const asked = values.request === undefined ? undefined : await requestIn(values.request);
  const names = texts.length > 0 ? texts.map(generalName) : (asked?.names ?? []);
  const title = texts[0] ?? (names[0] && printGeneralName(names[0]));
  if (title === undefined) throw new UsageError(`NAME is missing, and the request has none\n\n${USAGE}`);
  const key = asked ? undefined : newKey(values.key);
  const spki = asked?.spki ?? issue.spkiOf(key!);
  const subject =
    values.subject === undefined && asked && asked.subject.length > 2
      ? asked.subject
      : nameOf(values.subject ?? `CN=${escaped(title)}`);
  const der = issue.issueCertificate(
    {
      subject,
      issuer: authority.name,
      spki,
      ...term(values.days, 365),
      extensions: leafExtensions(spki, names, authority),
    },
    { key: authority.key },
  );
  const file = join(place, fileName(title));
  const keys = key ? [secret(`${file}.key`, key)] : [];
  return written(values.json, der, [...keys, open(`${file}.crt`, pem(der))]);
}

/** RFC 4945 §5.1.3: a signing key, for IKE, and for peers that look for TLS's uses. */
function leafExtensions(
  spki: Uint8Array,
  names: GeneralName[],
  authority: { spki: Uint8Array },
): Uint8Array[] {
  return [
    issue.basicConstraints(false),
    issue.keyUsage(0),
    issue.extendedKeyUsage(EKU.ipsecIke, EKU.serverAuth, EKU.clientAuth),
    issue.subjectAltName(names),
    issue.subjectKeyId(spki),
    issue.authorityKeyId(authority.spki),
  ];
}

function request([folder, ...texts]: string[], { subject, key: kind, json }: Values): Outcome {
  const place = operand(folder, 'FOLDER');
  const title = operand(texts[0], 'NAME');
  const key = newKey(kind);
  const der = writeRequest(nameOf(subject ?? `CN=${escaped(title)}`), texts.map(generalName), { key });
  mkdirSync(place, { recursive: true, mode: 0o700 });
  const file = join(place, fileName(title));
  const files = save([secret(`${file}.key`, key), open(`${file}.csr`, writePem('CERTIFICATE REQUEST', der))]);
  return { exit: EXIT.yes, text: json ? JSON.stringify({ files }) : listed(files) };
}

async function show([file]: string[], { json }: Values): Promise<Outcome> {
  const content = readOrComplain(operand(file, 'FILE'));
  if (/BEGIN (NEW )?CERTIFICATE REQUEST/.test(content.toString('latin1'))) {
    const { subject, names } = await requestIn(file!);
    const told = { request: printName(subject), names: names.map(printGeneralName) };
    const lines = `request  ${told.request}\nnames    ${told.names.join(', ')}`;
    return { exit: EXIT.yes, text: json ? JSON.stringify(told) : lines };
  }
  const all = usable(file!, () => readCertificateFile(content)).map(describeCertificate);
  const broken = all.find((one) => 'code' in one);
  const text = json
    ? JSON.stringify(all.map((one) => ('code' in one ? one : plain(one))))
    : all.map((one) => ('code' in one ? `${one.certificate}: ${one.text}` : described(one))).join('\n\n');
  return { exit: broken ? EXIT.input : EXIT.yes, text };
}

async function verify([file]: string[], { anchor, crl, id, revocation, json }: Values): Promise<Outcome> {
  const rule = (['off', 'soft', 'hard'] as const).find((one) => one === revocation);
  if (!rule) throw new UsageError(`--revocation ${revocation}: write off, soft or hard`);
  if (anchor.length === 0) throw new UsageError(`--anchor is missing\n\n${USAGE}`);
  const verdict = await judgeFiles(operand(file, 'FILE'), anchor, crl, rule);
  const bound = id === undefined || bindsIdentity(verdict.names, identityOf(id));
  const reasons = [...verdict.reasons.map(({ code, certificate, text }) => ({ code, certificate, text }))];
  const good = verdict.valid && bound;
  const path = verdict.path
    .map((der) => describeCertificate(der))
    .map((one) => ('code' in one ? '' : one.subject));
  const text = json
    ? JSON.stringify({ valid: verdict.valid, bound, reasons, path })
    : [...verdictLines(file!, good, verdict, path, bound ? undefined : id)].join('\n');
  return { exit: good ? EXIT.yes : EXIT.no, text };
}

function judgeFiles(
  file: string,
  anchors: string[],
  lists: string[],
  revocation: RevocationRule,
): Promise<Verdict> {
  const certificates = (name: string) => usable(name, () => readCertificateFile(readOrComplain(name)));
  return judgePath({
    certificates: certificates(file),
    anchors: anchors.flatMap(certificates),
    crls: lists.flatMap((name) => usable(name, () => readObjects(readOrComplain(name), ['X509 CRL']))),
    ocsp: [],
    at: Date.now(),
    rules: { ...PATH_RULES, revocation },
  });
}

function* verdictLines(
  file: string,
  good: boolean,
  { reasons, names }: Verdict,
  path: string[],
  unbound?: string,
) {
  for (const { code, certificate, text } of reasons) yield `${code} ${certificate}: ${text}`;
  if (unbound !== undefined)
    yield `it does not name ${unbound}; it names ${namesIn(names).join(', ') || 'nobody'}`;
  yield good ? `${file}: good: ${path.join(' < ')}` : `${file}: not good`;
}

function plain({ names, publicKey, ...rest }: CertificateDescription) {
  const spki = Buffer.from(publicKey).toString('base64');
  return { ...rest, publicKey: spki, names: namesIn(names) };
}

function namesIn({ dns, email, addresses, uris }: CertificateDescription['names']): string[] {
  return [...dns, ...email, ...addresses, ...uris];
}

function described(one: CertificateDescription): string {
  const day = (at: number) => new Date(at).toISOString().slice(0, 10);
  const left = Math.floor((one.notAfter - Date.now()) / DAY);
  const rows = [
    ['subject', one.subject],
    ['issuer', one.issuer],
    ['names', namesIn(one.names).join(', ') || 'none'],
    ['valid', `${day(one.notBefore)} to ${day(one.notAfter)} (${left < 0 ? 'over' : `${left} days left`})`],
    ['key', `${one.key}${one.ca ? ', a CA' : ''}`],
    ['signed', one.signature],
    ['serial', one.serial],
    ['sha-256', one.fingerprint],
  ];
  return rows.map(([name, value]) => `${name!.padEnd(8)} ${value}`).join('\n');
}

const DAY = 86_400_000;

/** An hour back: the peer's clock may be behind ours. */
const BEFORE = 3_600_000;

function term(days: string | undefined, otherwise: number) {
  const count = days === undefined ? otherwise : Number(days);
  if (!Number.isInteger(count) || count < 1 || count > 36_500)
    throw new UsageError(`--days ${days}: write a number of days`);
  const now = Math.floor(Date.now() / 1000) * 1000;
  return { serial: newSerial(), notBefore: now - BEFORE, notAfter: now + count * DAY };
}

/** RFC 5280 §4.1.2.2: positive, unique; sixteen bytes of chance are. */
function newSerial(): Uint8Array {
  const [first = 0, ...rest] = randomBytes(16);
  return Uint8Array.of((first & 0x3f) | 0x40, ...rest);
}

const KEYS: Record<string, () => KeyObject> = {
  p256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  p384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  p521: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey,
  ed25519: () => generateKeyPairSync('ed25519').privateKey,
  ed448: () => generateKeyPairSync('ed448').privateKey,
  'rsa-3072': () => generateKeyPairSync('rsa', { modulusLength: 3072 }).privateKey,
  'rsa-4096': () => generateKeyPairSync('rsa', { modulusLength: 4096 }).privateKey,
  'ml-dsa-65': () => generateKeyPairSync('ml-dsa-65').privateKey,
};

function newKey(kind: string): KeyObject {
  const make = KEYS[kind];
  if (!make) throw new UsageError(`--key ${kind}: write one of ${Object.keys(KEYS).join(', ')}`);
  return make();
}

function readAuthority(folder: string): { key: KeyObject; name: Uint8Array; spki: Uint8Array } {
  const [file, keyFile] = [join(folder, 'ca.crt'), join(folder, 'ca.key')];
  const { subject, spki } = usable(file, () =>
    readCertificate(readCertificateFile(readOrComplain(file))[0]!),
  );
  const key = usable(keyFile, () => createPrivateKey(readOrComplain(keyFile)));
  if (Buffer.compare(issue.spkiOf(key), spki) !== 0)
    throw new UsageError(`${keyFile} is not the key of ${file}`);
  return { key, name: subject, spki };
}

async function requestIn(file: string) {
  const ders = usable(file, () =>
    readObjects(readOrComplain(file), ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST']),
  );
  return readRequest(ders[0]!).catch((error: Error) => {
    throw new UsageError(`${file} is no request: ${error.message}`);
  });
}

function pem(der: Uint8Array): string {
  return writePem('CERTIFICATE', der);
}

function secret(file: string, key: KeyObject): NewFile {
  return { file, text: key.export({ format: 'pem', type: 'pkcs8' }) as string, mode: 0o600 };
}

function open(file: string, text: string): NewFile {
  return { file, text, mode: 0o644 };
}

function written(json: boolean, der: Uint8Array, wish: NewFile[]): Outcome {
  const files = save(wish);
  const told = describeCertificate(der);
  const data = { files, certificate: 'code' in told ? told : plain(told) };
  const names = 'code' in told || told.ca ? [] : [`it names ${namesIn(told.names).join(', ')}`];
  return { exit: EXIT.yes, text: json ? JSON.stringify(data) : [listed(files), ...names].join('\n') };
}

function listed(files: string[]): string {
  return files.map((one) => `${one}: written`).join('\n');
}

function operand(value: string | undefined, name: string): string {
  if (value === undefined) throw new UsageError(`${name} is missing\n\n${USAGE}`);
  return value;
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n\n${USAGE}`);
  }
}

// Writes docs/config.md and docs/errors.md from the tables of the code: `npm run reference`. The check compares.

import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { EXIT } from '../src/cli/exit.ts';
import { DEFAULTS, POST_QUANTUM_SUITES, PROBE, RETRANSMIT } from '../src/config/defaults.ts';
import { authShape, childShape, schema } from '../src/config/schema.ts';
import {
  ENCRYPTION,
  type EncryptionRow,
  INTEGRITY,
  KEY_EXCHANGE,
  PRF,
  type Status,
} from '../src/crypto/suites.ts';
import { ROUTING } from '../src/host/wanted.ts';
import { REPORTS } from '../src/ike/errors.ts';
import { QUIRKS } from '../src/policy/quirks.ts';

interface JsonSchema {
  type?: string;
  enum?: string[];
  const?: string;
  description?: string;
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
}

const PAGES: Record<string, () => string> = { 'docs/config.md': configPage, 'docs/errors.md': errorsPage };

/** One complaint a page that is not what the code says. */
export function checkReference(): string[] {
  const stale = Object.entries(PAGES).filter(([file, page]) => readText(file) !== page());
  return stale.map(([file]) => `${file} is not what the code says: npm run reference`);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function configPage(): string {
  const { gateway, defaults } = (z.toJSONSchema(schema) as JsonSchema).properties!;
  return `<!-- Written by scripts/reference.ts from src/config/schema.ts. -->
# The configuration file

YAML. \`include\` names further files with \`tunnels\`; \`defaults\` takes every key of a tunnel and serves those that do not
say otherwise (\`local\` and \`remote\` only tunnels without \`children\`). \`isthmus check FILE\` gives every complaint at once.
Names of files are meant from the folder of the file that they stand in.

## gateway

${table(gateway!)}
## gateway.engine

${table(gateway!.properties!.engine!)}
## gateway.routing

${table(gateway!.properties!.routing!, { ...ROUTING, mark: `0x${ROUTING.mark.toString(16)}` })}
## tunnels.NAME, defaults

${table(defaults!)}
## tunnels.NAME.children.NAME

${table(z.toJSONSchema(childShape) as JsonSchema)}
## tunnels.NAME.interface

${table(defaults!.properties!.interface!)}
## tunnels.NAME.probe

${table(defaults!.properties!.probe!)}
## tunnels.NAME.xfrm

${table(defaults!.properties!.xfrm!)}
## tunnels.NAME.retransmit

${table(defaults!.properties!.retransmit!)}
## tunnels.NAME.auth

${table(z.toJSONSchema(authShape) as JsonSchema)}
Three ways, for both sides or for each (\`own\`, \`peer\`):

- \`auth: { psk: { file: PSK } }\`
- \`auth: { certificate: PEM, key: PEM, ca: PEM }\`
- \`auth: { key: PEM, public-key: PEM }\`: raw public keys, each side holds the other's

\`id\` and \`peer-id\` tell their type by their form: an address, \`name@domain\`, \`C=DE, O=Example, CN=gw\`, a dotted name,
anything else a key id. \`id: { fqdn: gw }\` names it: ipv4, ipv6, fqdn, email, dn, key-id (there also \`hex:0a0b\`). In \`peer-id\`
with certificates \`*.example.com\`, \`*@example.com\` and \`C=DE, O=Example, CN=*\` mean every one of them; \`*\` is one whole part.

Which tunnel, and so which key, a peer's request is for: first its address (a tunnel that names it before one with
\`peer: any\`), then the name it calls itself (\`peer-id\`; a whole name before one with \`*\`), then how it proves itself (secret or signature), then the name of
ours that it asks for (\`id\`), then the order in the file.

## Networks

\`10.1.0.0/16\`, \`10.1.0.5-10.1.0.9\`, \`fd01::/64\`; each with \` tcp\`, \` udp 53\`, \` tcp 80-90\` or \` gre\` behind it.

With \`transport: true\` packets go between \`gateway.address\` and the one address of \`peer\`, without a second header: \`local\` and
\`remote\` may be left out, and otherwise name just these, with a protocol such as \`192.0.2.1 gre\`.

## Suites

\`aes-gcm-16-256 / prf-hmac-sha2-256 / x25519\`: kinds by \`/\`, alternatives of one kind by \`|\`. A child's suite with a group
has its own key exchange (PFS). Without \`esn\` or \`no-esn\` both are offered. An IKE suite that names no PRF or no group takes
every one below that has no remark.

\`x25519 | ecp-256 + ml-kem-768 | ml-kem-1024 + x448 | none\`: each \`+\` is one key exchange more (RFC 9370), up to seven, none of
them twice; \`none\` where it may be left out. An IKE suite may begin with the \`+\`: beside every group it would take unnamed.

## Quirks

What known peers do differently. \`quirks: [NAME]\` shares one; \`vendor: NAME\` shares all that every peer of that kind has.

| Quirk | Vendor | The peer | We | Source |
|---|---|---|---|---|
${QUIRKS.map(quirkText).join('\n')}

## Algorithms

Encryption, with the key length behind the name where there are several; all but the ones with integrity of their own need
an integrity algorithm beside them:

${algorithms(ENCRYPTION, encryptionText)}

Integrity:

${algorithms(INTEGRITY, (row) => ('only' in row ? `AH only, ${row.rfc}` : row.rfc))}

Pseudorandom functions, of the IKE SA:

${algorithms(
  PRF.map((row) => ({ ...row, name: `prf-${row.name}` })),
  ({ rfc }) => rfc,
)}

Key exchanges:

${algorithms(KEY_EXCHANGE, ({ id, rfc }) => `group ${id}, ${rfc}`)}

## Defaults of suites

With \`post-quantum: preferred\` this one stands in front of \`ike-suites\`, with \`required\` alone, with \`off\` not at all:

${POST_QUANTUM_SUITES.map((suite) => `- \`${suite}\``).join('\n')}

${Object.entries({ 'ike-suites': DEFAULTS['ike-suites'], 'esp-suites': DEFAULTS['esp-suites'] })
  .map(([key, suites]) => `\`${key}\`:\n\n${suites.map((suite) => `- \`${suite}\``).join('\n')}`)
  .join('\n\n')}
`;
}

interface Algorithm extends Status {
  id: number;
  name: string;
  rfc: string;
}

function encryptionText({ rfc, keyBits, ike, tagBytes }: EncryptionRow): string {
  const sizes = keyBits.length > 1 ? `${keyBits.join(', ')} bits, ` : '';
  return `${sizes}${tagBytes > 0 ? 'with integrity, ' : ''}${ike ? '' : 'ESP only, '}${rfc}`;
}

function algorithms<Row extends Algorithm>(rows: readonly Row[], text: (row: Row) => string): string {
  const lines = rows.map((row) => `| \`${row.name}\` | ${text(row)} | ${standing(row)} |`);
  return `| Name | | |\n|---|---|---|\n${lines.join('\n')}`;
}

function standing({ status, reason, onlyNamed, name }: Algorithm): string {
  switch (status) {
    case 'implemented':
      return onlyNamed ? 'only where named' : '';
    case 'legacy':
      return `with \`legacy: true\` only: ${reason}`;
    case 'quirk':
      return `with \`quirks: [${name}]\` only: ${reason}`;
    case 'refused':
      return `refused: ${reason}`;
  }
}

function quirkText({ name, vendors, differs, answer, source, read }: (typeof QUIRKS)[number]): string {
  const whose = vendors.map((vendor) => `\`${vendor}\``).join(', ') || 'some releases of several';
  return `| \`${name}\` | ${whose} | ${differs} | ${answer} | ${source}, read ${read} |`;
}

function table(
  { properties = {}, required = [] }: JsonSchema,
  defaults: Record<string, unknown> = { ...DEFAULTS, ...RETRANSMIT, ...PROBE },
): string {
  const rows = Object.entries(properties).map(
    ([key, value]) =>
      `| \`${key}\` | ${typeText(value)} | ${required.includes(key) ? 'required' : defaultText(key, defaults)} | ${value.description ?? ''} |`,
  );
  return `| Key | Value | Default | Meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function typeText(value: JsonSchema): string {
  if (value.const !== undefined) return `\`${value.const}\``;
  if (value.enum) return value.enum.map((one) => `\`${one}\``).join(', ');
  if (value.anyOf) return value.anyOf.map(typeText).join(' or ');
  if (value.type === 'boolean') return '`true` or `false`';
  if (value.type === 'array') return `list of ${typeText(value.items!)}`;
  if (value.type === 'integer' || value.type === 'number') return rangeText(value);
  return value.type === 'object' ? 'keys of its own' : 'text';
}

function rangeText({ type, minimum, maximum }: JsonSchema): string {
  const bounded = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER;
  const bounds = [
    minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER && `from ${minimum}`,
    bounded && `to ${maximum}`,
  ].filter(Boolean);
  return [type === 'integer' ? 'whole number' : 'number', ...bounds].join(' ');
}

function defaultText(key: string, defaults: Record<string, unknown>): string {
  if (key.endsWith('-suites')) return 'see below';
  const value = defaults[key];
  if (value === undefined) return '';
  return key === 'first' || key === 'cap' ? `\`${value}ms\`` : `\`${value}\``;
}

const FAULTS = {
  config: 'Configuration, here or there',
  peer: 'The peer',
  host: 'This machine',
  bug: 'Isthmus itself: please report it',
  info: 'Nobody: what happened',
};

function errorsPage(): string {
  const sections = Object.entries(FAULTS).map(([fault, title]) => {
    const rows = Object.entries(REPORTS).filter(([, row]) => row.fault === fault);
    return `## ${title}\n\n${rows.map(([code, { sentence }]) => `- \`${code}\`: ${sentence}`).join('\n')}\n`;
  });
  return `<!-- Written by scripts/reference.ts from src/ike/errors.ts and src/cli/exit.ts. -->
# What Isthmus can say

Codes are never renamed or used for something else. \`{name}\` stands for what was found.

${sections.join('\n')}
## Exit codes

| Code | Meaning |
|---|---|
${Object.entries(EXIT)
  .map(([name, code]) => `| ${code} | ${EXIT_MEANING[name as keyof typeof EXIT]} |`)
  .join('\n')}
`;
}

const EXIT_MEANING: Record<keyof typeof EXIT, string> = {
  yes: 'yes, done',
  no: 'no: the tunnel does not pass, the command had no success',
  input: 'unusable input: file, command or option',
  permission: 'missing permission or kernel feature',
  noDaemon: 'no daemon answers',
  ourFault: 'our fault',
};

if (process.argv[1]?.endsWith('reference.ts')) {
  for (const [file, page] of Object.entries(PAGES)) writeFileSync(file, page());
}

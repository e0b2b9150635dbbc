// What a pair is, whatever its history: two states that differ in names only are one. SPIs of children are named in order of
// appearance; SPIs of IKE SAs and nonces by rank, because some rules compare them; times count from the present.

import { readThrough } from '../../src/sim/glass.ts';
import type { Pair, Side } from '../../src/sim/pair.ts';
import type { Message, Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, nameOf, PAYLOAD } from '../../src/wire/numbers.ts';

/** What is the same in every state of a run, follows from the rest, or decides nothing. */
const LEFT_OUT = new Set([
  'tunnel',
  'suite',
  'selectors',
  'local',
  'remote',
  'nat',
  'vendor',
  'candidates',
  'peer',
  'keys',
  'secrets',
  'began',
  'since',
  'lastHeard',
  'lastSent',
  'startedAt',
  'failures',
  'nextId',
  'restored',
  'packet',
  'at',
  'life',
  'command',
  'waiting',
  'udp',
  'public',
]);
const MESSAGES = new Set(['bytes', 'request', 'response', 'message', 'answer']);
const MOMENTS = new Set(['due', 'rekeyAt', 'endsAt', 'until', 'notBefore', 'retryAt', 'halfOpenUntil']);
/** Milliseconds that make no difference. */
const GRAIN = 250;
/** Times beyond are the same. */
const FAR = 400_000;

/** A piece of the description: text, or what is named once all is known. */
type Token = string | { kind: 'ike' | 'nonce' | 'child' | 'job' | 'value'; key: string };

export function canonical(pair: Pair, held: number | undefined): string {
  const tokens: Token[] = [];
  const now = pair.now();
  for (const side of [pair.a, pair.b]) describeSide(tokens, side, now);
  for (const one of pair.pending()) {
    tokens.push(one.order === held ? ' late ' : ' ', one.type);
    if (one.type === 'datagram') tokens.push(one.to, ...messageTokens(one.bytes));
    else if (one.type === 'name') tokens.push(one.side, one.name);
    else {
      tokens.push(one.side);
      name(tokens, 'job', one.id);
      if (one.type === 'changes')
        for (const change of one.changes) walk(tokens, change.type === 'move' ? '' : changeKey(change), now);
      else tokens.push(one.job.type);
    }
  }
  return render(tokens);
}

function changeKey(change: object): unknown {
  return 'spi' in change
    ? { ...change }
    : 'sa' in change
      ? { type: 'add', spi: (change.sa as { spi: number }).spi }
      : change;
}

function describeSide(
  tokens: Token[],
  { name: side, gateway, inbound, outbound, inUse }: Side,
  now: number,
): void {
  const { sas, tunnels, waits, removals, farewells } = gateway.memory();
  tokens.push(`\n${side} `);
  walk(tokens, sas, now);
  walk(
    tokens,
    tunnels.map(({ tunnel: _, ...state }) => state),
    now,
  );
  for (const table of [inbound, outbound]) {
    tokens.push(' sad ');
    for (const spi of table.keys()) name(tokens, 'child', spi);
  }
  for (const [policy, spi] of inUse) {
    tokens.push(policy);
    name(tokens, 'child', spi);
  }
  for (const id of waits.keys()) name(tokens, 'job', id);
  for (const { at, change } of removals) {
    tokens.push(` at ${Math.ceil((at - now) / GRAIN)}`);
    walk(tokens, changeKey(change), now);
  }
  for (const [spi, { id, until }] of farewells) {
    if (until <= now) continue;
    name(tokens, 'ike', spi);
    tokens.push(` ${id} until ${Math.ceil((until - now) / GRAIN)}`);
  }
}

/** Any value of a gateway's memory, by the names of its fields. */
function walk(tokens: Token[], value: unknown, now: number, field = ''): void {
  if (value instanceof Uint8Array) return bytesTokens(tokens, field, value);
  if (typeof value === 'object' && value !== null) {
    tokens.push('{');
    if (Array.isArray(value)) for (const each of value) walk(tokens, each, now, field);
    else
      for (const key in value) {
        if (LEFT_OUT.has(key)) continue;
        tokens.push(` ${key}:`);
        walk(tokens, (value as Record<string, unknown>)[key], now, key);
      }
    return void tokens.push('}');
  }
  if (typeof value === 'string' && /^[0-9a-f]{16}$/.test(value)) return name(tokens, 'ike', value);
  if (typeof value !== 'number') return void tokens.push(String(value));
  if (field === 'job') return name(tokens, 'job', value);
  if (MOMENTS.has(field))
    return void tokens.push(value - now > FAR ? 'far' : String(Math.ceil(Math.max(value - now, 0) / GRAIN)));
  if (field.startsWith('spi') || field === 'replaces' || field === 'gone')
    return name(tokens, 'child', value);
  tokens.push(String(value));
}

function bytesTokens(tokens: Token[], field: string, value: Uint8Array): void {
  if (field === 'nonce' || field === 'ni' || field === 'nr') return name(tokens, 'nonce', hexOf(value));
  if (MESSAGES.has(field)) return void tokens.push(...messageTokens(value));
  name(tokens, 'value', hexOf(value));
}

function name(tokens: Token[], kind: Exclude<Token, string>['kind'], key: string | number): void {
  tokens.push({ kind, key: String(key) });
}

const known = new WeakMap<Uint8Array, Token[]>();

/** A message by what it says. */
function messageTokens(bytes: Uint8Array): Token[] {
  const before = known.get(bytes);
  if (before) return before;
  const { header, payloads }: Message = readThrough(bytes);
  const tokens: Token[] = [` ${header.exchange} ${header.messageId} ${JSON.stringify(header.flags)}`];
  for (const spi of [header.initiatorSpi, header.responderSpi]) name(tokens, 'ike', spi);
  for (const payload of payloads) payloadTokens(tokens, payload);
  known.set(bytes, tokens);
  return tokens;
}

function payloadTokens(tokens: Token[], payload: Payload): void {
  tokens.push(` p${payload.type}`);
  switch (payload.type) {
    case PAYLOAD.Nonce:
      return name(tokens, 'nonce', hexOf(payload.data));
    case PAYLOAD.KE:
      return void tokens.push(String(payload.group));
    case PAYLOAD.N:
      tokens.push(String(payload.notifyType));
      return spiToken(tokens, payload.spi);
    case PAYLOAD.D:
      for (const spi of payload.spis) spiToken(tokens, spi);
      return;
    case PAYLOAD.SA:
      for (const { spi } of payload.proposals) spiToken(tokens, spi);
      return;
    default:
      return;
  }
}

function spiToken(tokens: Token[], spi: Uint8Array): void {
  if (spi.length === 8) name(tokens, 'ike', hexOf(spi));
  if (spi.length === 4) name(tokens, 'child', new DataView(spi.buffer, spi.byteOffset).getUint32(0));
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

function render(tokens: readonly Token[]): string {
  const names = new Map<string, string>();
  const ranked = { ike: new Set<string>(), nonce: new Set<string>() };
  for (const token of tokens)
    if (typeof token !== 'string' && (token.kind === 'ike' || token.kind === 'nonce'))
      ranked[token.kind].add(token.key);
  for (const kind of ['ike', 'nonce'] as const)
    for (const [rank, key] of [...ranked[kind]].sort().entries()) names.set(kind + key, `${kind[0]}${rank}`);
  const parts = tokens.map((token) => {
    if (typeof token === 'string') return token;
    const key = token.kind + token.key;
    const given = names.get(key) ?? `${token.kind[0]}${names.size}`;
    names.set(key, given);
    return given;
  });
  return parts.join('');
}

/** One line for a path. */
export function describe(bytes: Uint8Array): string {
  const { header, payloads } = readThrough(bytes);
  const exchange = nameOf(EXCHANGE, header.exchange);
  const notifies = payloads.flatMap((each) =>
    each.type === PAYLOAD.N ? [nameOf(NOTIFY, each.notifyType)] : [],
  );
  const deletes = payloads.flatMap((each) => (each.type === PAYLOAD.D ? ['D'] : []));
  const kind = header.flags.response ? 'response' : 'request';
  return [exchange, kind, header.messageId, ...notifies, ...deletes].join(' ');
}

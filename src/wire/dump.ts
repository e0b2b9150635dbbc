// A datagram with every field named: made of the same tables that decode it.

import { type Field, type Names, WireError } from './codec.ts';
import { decodeEncapsulated, decodeEsp } from './esp.ts';
import { decodeMessage } from './ikev2.ts';

/** What is shown of a field's bytes. */
const SHOWN_BYTES = 12;

/**
 * One line a field: offset, bytes, path, value with the name of its number. Where the datagram is malformed, the fields
 * up to there and the error. `port` is the UDP port it belongs to: on 4500 IKE stands behind the non-ESP marker.
 */
export function dump(datagram: Uint8Array, port: 500 | 4500 = 500): string {
  const fields: Field[] = [];
  let bytes = datagram;
  try {
    const [part, decode] = partOf(datagram, port);
    bytes = part;
    decode(bytes, fields);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return [...lines(bytes, fields), `! ${error.message}`].join('\n');
  }
  return lines(bytes, fields).join('\n');
}

type Decode = (bytes: Uint8Array, trace: Field[]) => unknown;

function partOf(datagram: Uint8Array, port: 500 | 4500): [Uint8Array, Decode] {
  if (port === 500) return [datagram, decodeMessage];
  const part = decodeEncapsulated(datagram);
  switch (part.kind) {
    case 'ike':
      return [part.message, decodeMessage];
    case 'esp':
      return [part.packet, decodeEsp];
    case 'keepalive':
      return [datagram, (bytes, trace) => trace.push({ path: 'keepalive', start: 0, end: 1, value: bytes })];
  }
}

function lines(bytes: Uint8Array, fields: readonly Field[]): string[] {
  return fields.map(({ path, start, end, value, names }) => {
    const raw = hexOf(bytes.subarray(start, Math.min(end, start + SHOWN_BYTES)));
    const more = end - start > SHOWN_BYTES ? '..' : '  ';
    const offset = String(start).padStart(4);
    return `${offset}  ${raw.padEnd(2 * SHOWN_BYTES)}${more}  ${path} = ${valueText(value, names)}`;
  });
}

function valueText(value: unknown, names: Names | undefined): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  const name = Object.entries(names ?? {}).find(([, number]) => number === value)?.[0];
  if (name !== undefined) return `${value} ${name}`;
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// IP addresses as text and as bytes. Text is always canonical (RFC 5952), so `===` compares addresses.

/** A canonical IPv4 (`192.0.2.1`) or IPv6 (`2001:db8::1`) address, RFC 5952 §4. Never a name, never a zone. */
export type IpAddress = string;

/** 4 or 6, by the text's form. */
export function familyOf(address: IpAddress): 4 | 6 {
  return address.includes(':') ? 6 : 4;
}

/** Address text to 4 or 16 bytes, or undefined where the text is not an address. Accepts every RFC 4291 §2.2 form. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text);
}

/** Bytes of a known address; throws RangeError where the text is not one. */
export function addressBytes(address: IpAddress): Uint8Array {
  const bytes = parseAddress(address);
  if (!bytes) throw new RangeError(`not an IP address: ${JSON.stringify(address)}`);
  return bytes;
}

/** 4 or 16 bytes to canonical text (RFC 5952 §4: lower case, longest zero run shortened, first one on a tie). */
export function formatAddress(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  const run = longestZeroRun(groups);
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

/** Any accepted spelling to the canonical one, or undefined. */
export function canonicalAddress(text: string): IpAddress | undefined {
  const bytes = parseAddress(text);
  return bytes && formatAddress(bytes);
}

const ZERO = 0x30;

function parseV4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let part = 0;
  let value = 0;
  let digits = 0;
  for (let at = 0; at <= text.length; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit >= 0 && digit <= 9) {
      // No leading zero: some take it for octal.
      if (digits > 0 && value === 0) return;
      value = 10 * value + digit;
      if (++digits > 3 || value > 255) return;
      continue;
    }
    const ends = part === 3 ? at === text.length : text[at] === '.';
    if (digits === 0 || !ends) return;
    bytes[part++] = value;
    value = 0;
    digits = 0;
  }
  return bytes;
}

function parseV6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return;
  const [first = '', second = ''] = halves;
  // RFC 4291 §2.2.3: a dotted quad stands at the end only.
  if (halves.length === 2 && first.includes('.')) return;
  const [head, tail] = [groupsOf(first), groupsOf(second)];
  if (!head || !tail) return;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return;
  const groups = [...head, ...Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** The 16-bit groups of one side of `::`; a dotted quad may stand for the last two (RFC 4291 §2.2.3). */
function groupsOf(text: string): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const quad = parts.at(-1)!.includes('.') ? parseV4(parts.pop()!) : undefined;
  if (text.includes('.') && !quad) return;
  if (!parts.every((part) => /^[0-9a-fA-F]{1,4}$/.test(part))) return;
  const groups = parts.map((part) => Number.parseInt(part, 16));
  return quad ? [...groups, (quad[0]! << 8) | quad[1]!, (quad[2]! << 8) | quad[3]!] : groups;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}

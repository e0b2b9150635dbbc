// Bytes as hex digits and back.

const PAIRS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += PAIRS[byte];
  return text;
}

/** Pairs of hex digits; the caller knows that they are. */
export function unhex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1);
  for (let at = 0; at < bytes.length; at++)
    bytes[at] = 16 * digit(text.charCodeAt(2 * at)) + digit(text.charCodeAt(2 * at + 1));
  return bytes;
}

/** `0` to `9`, then the letters, which have the bit of 0x40 in either case. */
function digit(code: number): number {
  return (code & 15) + (code & 0x40 ? 9 : 0);
}

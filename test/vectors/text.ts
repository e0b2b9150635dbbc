// Recorded values as JSON: bytes as `{"$": "hex"}`, big numbers as `{"$n": "digits"}`.

export function toText(value: unknown): string {
  const plain = (_key: string, one: unknown): unknown => {
    if (one instanceof Uint8Array) return { $: Buffer.from(one).toString('hex') };
    return typeof one === 'bigint' ? { $n: `${one}` } : one;
  };
  return JSON.stringify(value, plain);
}

export function fromText<T>(text: string): T {
  return JSON.parse(text, (_key, one) => {
    if (typeof one?.$ === 'string') return Uint8Array.from(Buffer.from(one.$, 'hex'));
    return typeof one?.$n === 'string' ? BigInt(one.$n) : one;
  });
}

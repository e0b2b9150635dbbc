// Damage, seeded: what a hostile or broken sender may put on the wire.

export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * below);
  };
}

const EDGES = [0, 1, 2, 3, 4, 7, 8, 0x7f, 0x80, 0xfe, 0xff];

/** One to four changes: a byte replaced by an edge value or any, a cut, an insertion, a repeated piece. */
export function mutated(original: Uint8Array, random: (below: number) => number): Uint8Array {
  let bytes = [...original];
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const at = random(bytes.length + 1);
    const kind = random(10);
    if (kind < 4) bytes[at] = EDGES[random(EDGES.length)]!;
    else if (kind < 8) bytes[at] = random(256);
    else if (kind === 8) bytes.splice(at, random(8));
    else bytes = [...bytes.slice(0, at), ...bytes.slice(random(at + 1), at), ...bytes.slice(at)];
  }
  return Uint8Array.from(bytes);
}

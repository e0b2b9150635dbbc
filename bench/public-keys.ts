// What the public-key operations of a handshake cost here, by themselves: what no responder can leave out.

import { diffieHellman, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';

/** CPU microseconds each. */
export interface KeyCosts {
  x25519Generate: number;
  x25519Derive: number;
  p256Sign: number;
  p256Verify: number;
}

export function measureKeys(): KeyCosts {
  const [own, peer] = [generateKeyPairSync('x25519'), generateKeyPairSync('x25519')];
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const octets = randomBytes(500);
  const signature = sign('sha256', octets, privateKey);
  return {
    x25519Generate: cost(() => generateKeyPairSync('x25519')),
    x25519Derive: cost(() => diffieHellman({ privateKey: own.privateKey, publicKey: peer.publicKey })),
    p256Sign: cost(() => sign('sha256', octets, privateKey)),
    p256Verify: cost(() => verify('sha256', octets, publicKey, signature)),
  };
}

const TIMES = 2000;
const ROUNDS = 5;

/** The least of several rounds. */
function cost(work: () => unknown): number {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const before = process.cpuUsage();
    for (let times = 0; times < TIMES; times++) work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / TIMES;
  });
  return Math.min(...rounds);
}

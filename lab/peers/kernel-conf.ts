// Static SAs and policies of a bare kernel, as arguments of `ip`: the other end of SAs that one of our data planes has. Pure.

import { encryptionRow, integrityRow } from '../../src/crypto/suites.ts';
import type { SaParameters } from '../../src/policy/sad.ts';
import { prefixesOf, type Selector } from '../../src/policy/selector.ts';
import { familyOf } from '../../src/wire/address.ts';

/** Of both ends; what tells the policies which SAs are theirs. */
const REQID = '1';

/** The lines for two SAs of ours, one a direction, and for what travels in them. */
export function kernelLines(sas: readonly SaParameters[]): string[][] {
  return [...sas.map(stateLine), ...sas.flatMap(policyLines)];
}

/** Seen from the kernel: what we send, it receives. */
function endsOf({ direction, local, remote }: SaParameters): { src: string; dst: string } {
  return direction === 'out' ? { src: local, dst: remote } : { src: remote, dst: local };
}

function stateLine(sa: SaParameters): string[] {
  const { src, dst } = endsOf(sa);
  const { udp, direction, spi, protocol, mode } = sa;
  const ports =
    udp && (direction === 'out' ? [udp.localPort, udp.remotePort] : [udp.remotePort, udp.localPort]);
  return [
    ...['xfrm', 'state', 'add', 'src', src, 'dst', dst, 'proto', protocol, 'spi', `0x${spi.toString(16)}`],
    ...['reqid', REQID, 'mode', mode, 'replay-window', String(sa.replayWindow)],
    ...flagsOf(sa).flatMap((flag) => ['flag', flag]),
    ...algorithms(sa),
    ...(ports
      ? ['encap', 'espinudp', String(ports[0]), String(ports[1]), familyOf(src) === 4 ? '0.0.0.0' : '::']
      : []),
  ];
}

function flagsOf({ protocol, mode, esn, local }: SaParameters): string[] {
  return [
    ...(esn ? ['esn'] : []),
    // Another family inside than outside.
    ...(mode === 'tunnel' ? ['af-unspec'] : []),
    // RFC 4302 §3.3.3.2.1: the ICV is aligned to 32 bits in IPv4; without the flag the kernel aligns it to 64.
    ...(protocol === 'ah' && familyOf(local) === 4 ? ['align4'] : []),
  ];
}

function algorithms({ encryption, integrity }: SaParameters): string[] {
  const words: string[] = [];
  if (encryption) {
    const { kernel, tagBytes } = encryptionRow(encryption.name);
    const key = hex(encryption.key);
    words.push(...(tagBytes > 0 ? ['aead', kernel, key, String(tagBytes * 8)] : ['enc', kernel, key]));
  }
  if (integrity) {
    const { kernel, icvBytes } = integrityRow(integrity.name);
    words.push('auth-trunc', kernel, hex(integrity.key), String(icvBytes * 8));
  }
  return words;
}

/** A policy a pair of networks; inbound also for what is forwarded. */
function policyLines(sa: SaParameters): string[][] {
  const { local, remote } = sa.selectors;
  const [from, to] = sa.direction === 'out' ? [local, remote] : [remote, local];
  const { src, dst } = endsOf(sa);
  const template = ['tmpl', 'src', src, 'dst', dst, 'proto', sa.protocol, 'reqid', REQID, 'mode', sa.mode];
  // Transport mode ends here, so nothing of it is forwarded.
  const inwards = sa.mode === 'tunnel' ? ['in', 'fwd'] : ['in'];
  return (sa.direction === 'out' ? inwards : ['out']).flatMap((direction) =>
    pairs(from, to).map(([source, destination]) => [
      ...['xfrm', 'policy', 'add', 'src', source, 'dst', destination, 'dir', direction],
      ...template,
    ]),
  );
}

function pairs(from: readonly Selector[], to: readonly Selector[]): [string, string][] {
  return networks(from).flatMap((source) =>
    networks(to)
      .filter((destination) => source.includes(':') === destination.includes(':'))
      .map((destination): [string, string] => [source, destination]),
  );
}

const networks = (selectors: readonly Selector[]): string[] =>
  selectors.flatMap(prefixesOf).map(({ address, length }) => `${address}/${length}`);

/** `ip` takes an empty key as nothing. */
const hex = (key: Uint8Array): string => (key.length === 0 ? '' : `0x${Buffer.from(key).toString('hex')}`);

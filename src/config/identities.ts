// Who we say we are, and whom we expect.

import { parseName } from '../crypto/x509.ts';
import { isPattern } from '../ike/authenticate.ts';
import { type Auth, type Identity, peerProof } from '../policy/tunnel.ts';
import { canonicalAddress, familyOf, type IpAddress } from '../wire/address.ts';
import { type Complain, derivedIdentity, unproven } from './auth.ts';
import type { Path } from './complaint.ts';
import type { Peers } from './config.ts';
import type { IdentityEntry, TunnelEntry } from './schema.ts';

export function peerIdentity(
  entry: TunnelEntry,
  remotes: Peers | undefined,
  auth: Auth | undefined,
  at: Complain,
): Identity | undefined {
  if (entry['peer-id'] !== undefined) {
    const identity = identityFrom(entry['peer-id'], ['peer-id'], at);
    // A secret that many know proves none of them.
    if (identity && isPattern(identity) && auth && peerProof(auth).method === 'psk')
      return at(['peer-id'], '* stands for many names, and one pre-shared key does not tell them apart');
    return identity;
  }
  if (!remotes) return undefined;
  const [first] = [...remotes.addresses, ...(remotes.names ?? [])];
  return first === undefined
    ? at([], 'a tunnel with peer: any needs peer-id, to know who may use it')
    : identityOf(first);
}

export function ownIdentity(
  entry: TunnelEntry,
  local: IpAddress,
  auth: Auth,
  at: Complain,
): Identity | undefined {
  if (entry.id === undefined) return derivedIdentity(auth, identityOf(local));
  const identity = identityFrom(entry.id, ['id'], at);
  const problem = identity && unproven(auth, identity);
  return problem === undefined ? identity : at(['id'], problem);
}

function identityFrom(given: IdentityEntry, path: Path, at: Complain): Identity | undefined {
  if (typeof given === 'string') return identityOf(given);
  const [chosen, ...more] = Object.entries(given);
  if (!chosen || more.length > 0) return at(path, 'one type is wanted, such as fqdn: gw.example.com');
  const [type, value] = chosen as [Identity['type'], string];
  const identity = checkedIdentity(type, value);
  return identity ?? at([...path, type], `"${value}" is not of type ${type}`);
}

function checkedIdentity(type: Identity['type'], value: string): Identity | undefined {
  const address = canonicalAddress(value);
  switch (type) {
    case 'ipv4':
    case 'ipv6':
      return address && familyOf(address) === (type === 'ipv4' ? 4 : 6)
        ? { type, value: address }
        : undefined;
    case 'dn':
      return parseName(value) ? { type, value } : undefined;
    default:
      return { type, value };
  }
}

/** An address, `name@domain`, `C=DE, CN=gw`, a dotted name; anything else is a key id (RFC 7296 §3.5). */
export function identityOf(text: string): Identity {
  const address = canonicalAddress(text);
  if (address) return { type: familyOf(address) === 4 ? 'ipv4' : 'ipv6', value: address };
  if (/^[^@\s]+@[^@\s]+$/.test(text)) return { type: 'email', value: text };
  if (/^(\*|[a-z0-9-]+)(\.[a-z0-9-]+)+$/i.test(text)) return { type: 'fqdn', value: text };
  if (text.includes('=') && parseName(text)) return { type: 'dn', value: text };
  return { type: 'key-id', value: text };
}

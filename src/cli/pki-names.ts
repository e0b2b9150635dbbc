// Names on the command line of `isthmus pki`: what they become in a certificate, in a payload and as a file.

import { parseName } from '../crypto/x509.ts';
import type { GeneralName, IdentityBytes } from '../crypto/x509-names.ts';
import { addressBytes, canonicalAddress } from '../wire/address.ts';
import { ID_TYPE } from '../wire/numbers.ts';
import { UsageError } from './exit.ts';

export function generalName(text: string): GeneralName {
  const address = canonicalAddress(text);
  if (address) return { type: 'ip', value: addressBytes(address) };
  if (/^[^@\s]+@[a-z0-9.-]+$/i.test(text)) return { type: 'email', value: text };
  if (/^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i.test(text))
    return { type: 'dns', value: text };
  throw new UsageError(`${text} is no host name, address or mail address`);
}

export function identityOf(text: string): IdentityBytes {
  const name = text.includes('=') ? parseName(text) : undefined;
  if (name) return { idType: ID_TYPE.ID_DER_ASN1_DN, data: name };
  const general = generalName(text);
  if (general.type === 'ip')
    return {
      idType: general.value.length === 4 ? ID_TYPE.ID_IPV4_ADDR : ID_TYPE.ID_IPV6_ADDR,
      data: general.value,
    };
  const idType = general.type === 'email' ? ID_TYPE.ID_RFC822_ADDR : ID_TYPE.ID_FQDN;
  return { idType, data: new TextEncoder().encode(text) };
}

export function nameOf(text: string): Uint8Array {
  const name = parseName(text);
  if (!name) throw new UsageError(`--subject ${text}: write it like C=DE, O=Example, CN=gw`);
  return name;
}

export function escaped(text: string): string {
  return text.replace(/[\\,+]/g, '\\$&');
}

/** Of a name only what is a file name everywhere. */
export function fileName(title: string): string {
  return title.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^\.+/, '_');
}

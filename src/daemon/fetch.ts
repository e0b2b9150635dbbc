// Fetches a small thing from a host that a certificate names: over http, within limits, from nobody inside.

import { lookup as resolve } from 'node:dns';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { BlockList, isIP, type LookupFunction } from 'node:net';

export interface FetchRequest {
  url: string;
  /** Sent by POST; without it the request is a GET. */
  body?: Uint8Array;
  contentType?: string;
  /** Bytes of the answer beyond which it is given up. */
  most: number;
  /** Milliseconds for all of it, from the name's resolution to the last byte. */
  timeout: number;
}

/** Rejects with a FetchError, and with nothing else. */
export type Fetch = (wish: FetchRequest) => Promise<Uint8Array>;

export class FetchError extends Error {
  override readonly name = 'FetchError';
}

/**
 * `inside: 'refuse'` connects to no address that is not a public one, whatever the name resolves to at the moment of
 * connecting: a certificate's text must not choose what we talk to in our own network (CVE-2022-40617).
 */
export function createFetch({ inside }: { inside: 'refuse' | 'allow' }): Fetch {
  return (wish) => {
    const url = parse(wish.url);
    if (typeof url === 'string') return Promise.reject(new FetchError(url));
    const literal = url.hostname.replace(/^\[|\]$/g, '');
    if (inside === 'refuse' && isIP(literal) !== 0 && !isPublic(literal))
      return Promise.reject(
        new FetchError(`${literal} is an inside address, and the configuration allows none`),
      );
    return transfer(url, wish, inside === 'refuse' ? publicLookup : resolve);
  };
}

/** Only http: what is fetched is signed, and https would need a certificate to be judged first (RFC 5280 §8). */
function parse(text: string): URL | string {
  if (text.length > 2048 || !URL.canParse(text)) return 'the place is no URL';
  const url = new URL(text);
  if (url.protocol !== 'http:') return `${url.protocol} is not asked, only http:`;
  return url.username || url.password ? 'a URL with a password in it is not asked' : url;
}

function transfer(url: URL, { body, contentType, most, timeout }: FetchRequest, lookup: LookupFunction) {
  return new Promise<Uint8Array>((done, fail) => {
    const outgoing = request(url, {
      method: body ? 'POST' : 'GET',
      headers: { accept: '*/*', ...(body && { 'content-type': contentType, 'content-length': body.length }) },
      agent: false,
      lookup,
      maxHeaderSize: 8192,
    });
    const end = (problem: string) => {
      outgoing.destroy();
      clearTimeout(timer);
      fail(new FetchError(problem));
    };
    const timer = setTimeout(() => end(`no answer within ${timeout / 1000} s`), timeout);
    outgoing.on('error', (error) => end(error.message));
    outgoing.on('response', (incoming) => {
      const problem = whyNot(incoming, most);
      if (problem) return end(problem);
      return collect(incoming, outgoing, most, end, (bytes) => {
        clearTimeout(timer);
        done(bytes);
      });
    });
    outgoing.end(body);
  });
}

/** No redirect is followed: it would lead to where the certificate does not say. */
function whyNot({ statusCode = 0, headers }: IncomingMessage, most: number): string | undefined {
  if (statusCode !== 200) return `it answered ${statusCode}`;
  if (headers['content-encoding'] && headers['content-encoding'] !== 'identity')
    return 'its answer is compressed';
  return Number(headers['content-length'] ?? 0) > most
    ? `its answer is longer than ${most} bytes`
    : undefined;
}

function collect(
  incoming: IncomingMessage,
  outgoing: ClientRequest,
  most: number,
  end: (problem: string) => void,
  done: (bytes: Uint8Array) => void,
): void {
  const parts: Buffer[] = [];
  let length = 0;
  incoming.on('data', (part: Buffer) => {
    length += part.length;
    if (length > most) end(`its answer is longer than ${most} bytes`);
    else parts.push(part);
  });
  incoming.on('error', (error) => end(error.message));
  incoming.on('end', () => {
    if (!incoming.complete) return end('its answer was cut off');
    outgoing.destroy();
    return done(new Uint8Array(Buffer.concat(parts)));
  });
}

const publicLookup: LookupFunction = (name, options, answer) =>
  resolve(name, { ...options, all: true }, (error, addresses) => {
    if (error) return answer(error, '', 0);
    const usable = addresses.filter(({ address }) => isPublic(address));
    const [first] = usable;
    if (!first)
      return answer(new FetchError(`${name} is inside, and the configuration allows no such host`), '', 0);
    return options.all ? answer(null, usable) : answer(null, first.address, first.family);
  });

/** IANA's registries of special-purpose addresses (RFC 6890), multicast, and what carries an IPv4 address inside. */
const INSIDE = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  INSIDE.addSubnet(net, bits, 'ipv4');

/** RFC 4291 §2.4: what is global unicast, less the parts that are for documentation, translation and tunnels. */
const OUTSIDE6 = new BlockList();
OUTSIDE6.addSubnet('2000::', 3, 'ipv6');
const INSIDE6 = new BlockList();
for (const [net, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  INSIDE6.addSubnet(net, bits, 'ipv6');

/** Whether everybody can have this address, by its text. */
export function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !INSIDE.check(address, 'ipv4');
  return isIP(address) === 6 && OUTSIDE6.check(address, 'ipv6') && !INSIDE6.check(address, 'ipv6');
}

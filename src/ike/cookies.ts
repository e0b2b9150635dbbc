// Stateless cookies (RFC 7296 §2.6): a stranger shows that it receives at the address it sends from.

import { concat, unhex } from '../crypto/bytes.ts';
import type { Provider } from '../crypto/provider.ts';
import type { Instant } from '../policy/sad.ts';
import { addressBytes } from '../wire/address.ts';
import { findNotify, findPayload, type Message } from '../wire/ikev2.ts';
import { NOTIFY, PAYLOAD } from '../wire/numbers.ts';
import type { Endpoint } from './boundary.ts';

/** The secret changes this often; the one before is still accepted. */
const ROTATION = 60_000;

export class Cookies {
  readonly #provider: Provider;
  #current: Uint8Array;
  #previous: Uint8Array;
  #rotated: Instant = 0;

  constructor(provider: Provider) {
    this.#provider = provider;
    this.#current = provider.random(32);
    this.#previous = provider.random(32);
  }

  make(message: Message, remote: Endpoint, now: Instant): Uint8Array {
    this.#rotate(now);
    return this.#compute(this.#current, message, remote);
  }

  fits(message: Message, remote: Endpoint, now: Instant): boolean {
    this.#rotate(now);
    const cookie = findNotify(message.payloads, NOTIFY.COOKIE)?.data;
    if (!cookie) return false;
    return [this.#current, this.#previous].some((secret) =>
      this.#provider.equal(cookie, this.#compute(secret, message, remote)),
    );
  }

  #rotate(now: Instant): void {
    if (now - this.#rotated < ROTATION) return;
    this.#previous = this.#current;
    this.#current = this.#provider.random(32);
    this.#rotated = now;
  }

  /** Bound to nonce, address and SPI. */
  #compute(secret: Uint8Array, { header, payloads }: Message, remote: Endpoint): Uint8Array {
    const nonce = findPayload(payloads, PAYLOAD.Nonce)?.data ?? new Uint8Array(0);
    return this.#provider.prf(
      'hmac-sha2-256',
      secret,
      concat([nonce, addressBytes(remote.address), unhex(header.initiatorSpi)]),
    );
  }
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { ENCRYPTION, IKE_INTEGRITY, PRF } from '../../src/crypto/suites.ts';
import { keysOf, openMessage, sealMessage } from '../../src/ike/protect.ts';
import type { ChosenSuite } from '../../src/policy/proposal.ts';
import { encodePayloads, type HeaderFields, type Payload } from '../../src/wire/ikev2.ts';
import { PAYLOAD } from '../../src/wire/numbers.ts';

const provider = createNodeProvider();
const prfs = PRF.filter(({ status }) => status === 'implemented').map(({ name }) => name);

/** Every encryption of IKE with every integrity and PRF it can have. */
const suites = ENCRYPTION.filter(({ ike, status }) => ike && status === 'implemented').flatMap((row) =>
  row.keyBits.flatMap((keyBits) =>
    (row.tagBytes > 0 ? [undefined] : IKE_INTEGRITY).flatMap((integrity) =>
      prfs.map(
        (prf): ChosenSuite => ({
          encryption: { name: row.name, keyBits },
          ...(integrity ? { integrity } : {}),
          prf,
        }),
      ),
    ),
  ),
);

const fields: HeaderFields = {
  initiatorSpi: '0011223344556677',
  responderSpi: '8899aabbccddeeff',
  exchange: 37,
  messageId: 7,
  flags: { initiator: true, response: false, version: false },
};
const payloads: Payload[] = [{ type: PAYLOAD.Nonce, critical: false, data: new Uint8Array(33).fill(5) }];

function keysFor(suite: ChosenSuite, filler: number) {
  const made = {
    skeyseed: new Uint8Array(32).fill(filler),
    ni: new Uint8Array(16).fill(1),
    nr: new Uint8Array(16).fill(2),
  };
  return keysOf(
    provider,
    suite,
    { initiator: true, spi: fields.initiatorSpi, peerSpi: fields.responderSpi },
    made,
  );
}

test('a message sealed with every suite of an IKE SA opens, and no other does', () => {
  assert.ok(suites.length > 100);
  for (const suite of suites) {
    const keys = keysFor(suite, 3);
    const bytes = sealMessage(provider, suite, keys, fields, payloads);
    const what = JSON.stringify(suite);
    const opened = openMessage(provider, { suite, keys }, bytes);
    assert.deepEqual(encodePayloads(opened!), encodePayloads(payloads), what);
    const forged = bytes.slice();
    forged[forged.length - 1]! ^= 1;
    assert.equal(openMessage(provider, { suite, keys }, forged), undefined, what);
    assert.equal(openMessage(provider, { suite, keys: keysFor(suite, 4) }, bytes), undefined, what);
  }
});

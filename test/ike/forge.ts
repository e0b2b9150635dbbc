// Messages that anybody could send: built from what crossed the wire in the clear.

import {
  decodeMessage,
  encodeMessage,
  findPayload,
  type Payload,
  type Transform,
} from '../../src/wire/ikev2.ts';
import { EXCHANGE, PAYLOAD } from '../../src/wire/numbers.ts';

/** An unprotected notify that answers `request`. */
export function forgedNotify(request: Uint8Array, notifyType: number, data = new Uint8Array(0)): Uint8Array {
  const notify: Payload = {
    type: PAYLOAD.N,
    critical: false,
    protocol: 0,
    spi: new Uint8Array(0),
    notifyType,
    data,
  };
  return answer(request, '0000000000000000', [notify]);
}

/** A whole answer to an IKE_SA_INIT request, with a key that only the forger knows. */
export function forgedInit(request: Uint8Array, responderSpi: string): Uint8Array {
  const { payloads } = decodeMessage(request);
  const [proposal] = findPayload(payloads, PAYLOAD.SA)!.proposals;
  const ke = findPayload(payloads, PAYLOAD.KE)!;
  const first = (type: number) => proposal!.transforms.find((one) => one.type === type);
  const transforms = [...new Set(proposal!.transforms.map(({ type }) => type))].map(
    (type) => (type === 4 ? { type, id: ke.group } : first(type)) as Transform,
  );
  return answer(request, responderSpi, [
    { type: PAYLOAD.SA, critical: false, proposals: [{ ...proposal!, transforms }] },
    { type: PAYLOAD.KE, critical: false, group: ke.group, data: new Uint8Array(32).fill(9) },
    { type: PAYLOAD.Nonce, critical: false, data: new Uint8Array(32).fill(7) },
  ]);
}

function answer(request: Uint8Array, responderSpi: string, payloads: Payload[]): Uint8Array {
  const { initiatorSpi } = decodeMessage(request).header;
  const flags = { initiator: false, response: true, version: false };
  return encodeMessage(
    { initiatorSpi, responderSpi, exchange: EXCHANGE.IKE_SA_INIT, flags, messageId: 0 },
    payloads,
  );
}

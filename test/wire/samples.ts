// One message of each kind, with every payload that RFC 7296 has.

import { encodeMessage, type HeaderFields, type Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, NOTIFY, PAYLOAD, PROTOCOL, TRANSFORM, TS_TYPE } from '../../src/wire/numbers.ts';

const filled = (length: number, value: number) => new Uint8Array(length).fill(value);

function fields(exchange: number, response = false): HeaderFields {
  return {
    initiatorSpi: '0102030405060708',
    responderSpi: response ? '1112131415161718' : '0000000000000000',
    exchange,
    flags: { initiator: !response, response, version: false },
    messageId: 3,
  };
}

const proposals: Payload = {
  type: PAYLOAD.SA,
  critical: false,
  proposals: [
    {
      number: 1,
      protocol: PROTOCOL.IKE,
      spi: new Uint8Array(0),
      transforms: [
        { type: TRANSFORM.ENCR, id: 20, keyBits: 256 },
        { type: TRANSFORM.ENCR, id: 12, keyBits: 128, attributes: [{ type: 99, value: filled(5, 1) }] },
        { type: TRANSFORM.PRF, id: 5 },
        { type: TRANSFORM.KE, id: 31 },
      ],
    },
    {
      number: 2,
      protocol: PROTOCOL.ESP,
      spi: Uint8Array.of(0xc0, 0, 0, 1),
      transforms: [
        { type: TRANSFORM.INTEG, id: 12 },
        { type: 200, id: 4000 },
      ],
    },
  ],
};

const selectors = [
  {
    tsType: TS_TYPE.TS_IPV4_ADDR_RANGE,
    protocol: 0,
    startPort: 0,
    endPort: 65535,
    start: '10.1.0.0',
    end: '10.1.255.255',
  },
  {
    tsType: TS_TYPE.TS_IPV6_ADDR_RANGE,
    protocol: 6,
    startPort: 443,
    endPort: 443,
    start: 'fd01::',
    end: 'fd01::ffff',
  },
  { tsType: 200, protocol: 17, raw: filled(6, 9) },
];

const plain = (type: number, more: object) => ({ type, critical: false, ...more }) as Payload;

/** Names and bytes; `inner` is a chain as it stands inside SK, with the type of its first payload. */
export const MESSAGES: Record<string, Uint8Array> = {
  'IKE_SA_INIT request': encodeMessage(fields(EXCHANGE.IKE_SA_INIT), [
    plain(PAYLOAD.N, { protocol: 0, spi: filled(0, 0), notifyType: NOTIFY.COOKIE, data: filled(20, 5) }),
    proposals,
    plain(PAYLOAD.KE, { group: 31, data: filled(32, 2) }),
    plain(PAYLOAD.Nonce, { data: filled(32, 3) }),
    plain(PAYLOAD.V, { data: filled(16, 4) }),
  ]),
  'an identity, an AUTH, certificates and selectors': encodeMessage(fields(EXCHANGE.IKE_AUTH, true), [
    plain(PAYLOAD.IDi, { idType: 2, data: filled(9, 0x61) }),
    plain(PAYLOAD.IDr, { idType: 1, data: filled(4, 10) }),
    plain(PAYLOAD.CERT, { encoding: 4, data: filled(40, 0x30) }),
    plain(PAYLOAD.CERTREQ, { encoding: 4, data: filled(20, 0x31) }),
    plain(PAYLOAD.AUTH, { method: 2, data: filled(32, 6) }),
    proposals,
    plain(PAYLOAD.TSi, { selectors }),
    plain(PAYLOAD.TSr, { selectors }),
  ]),
  'deletes, configuration, EAP and an unknown payload': encodeMessage(fields(EXCHANGE.INFORMATIONAL), [
    plain(PAYLOAD.D, { protocol: PROTOCOL.ESP, spis: [filled(4, 1), filled(4, 2)] }),
    plain(PAYLOAD.D, { protocol: PROTOCOL.IKE, spis: [] }),
    plain(PAYLOAD.CP, {
      cfgType: 1,
      attributes: [
        { type: 1, value: filled(0, 0) },
        { type: 8, value: filled(17, 1) },
      ],
    }),
    plain(PAYLOAD.EAP, { data: filled(5, 1) }),
    { type: 0, number: 210, critical: true, body: filled(7, 8) },
  ]),
  'an encrypted message': encodeMessage(fields(EXCHANGE.CREATE_CHILD_SA), [
    { type: PAYLOAD.SK, critical: false, nextPayload: PAYLOAD.SA, body: filled(60, 7), offset: 0 },
  ]),
  'a fragment': encodeMessage(fields(EXCHANGE.IKE_AUTH), [
    {
      type: PAYLOAD.SKF,
      critical: false,
      nextPayload: PAYLOAD.IDi,
      fragment: 1,
      total: 3,
      body: filled(60, 7),
      offset: 0,
    },
  ]),
};

// Nothing comes of a peer that has not proven who it is.

import assert from 'node:assert/strict';
import { sealMessage } from '../../src/ike/protect.ts';
import { witness } from '../../src/sim/invariants.ts';
import type { Payload } from '../../src/wire/ikev2.ts';
import { EXCHANGE, PAYLOAD, PROTOCOL } from '../../src/wire/numbers.ts';
import { agree, seededProvider, sites } from './sites.ts';

export function wrongKeyEstablishesNothing(): void {
  const pair = sites(1, { auth: { method: 'psk', secret: 'another' } });
  const { observer, seen } = witness(pair);
  pair.observer = observer;
  const id = pair.command(pair.a, 'up', 't');
  pair.run(1000);
  assert.deepEqual(seen.complaints, []);
  assert.equal(pair.a.outcomes.get(id), 'PEER_REFUSED_AUTH', pair.ladder());
  assert.ok(pair.b.reports.includes('PEER_AUTH_FAILED'));
  assert.equal(pair.b.inbound.size, 0);
}

const DELETE: Payload = { type: PAYLOAD.D, critical: false, protocol: PROTOCOL.IKE, spis: [] };

/** CVE-2014-2338: with the keys of IKE_SA_INIT, which anybody can have, everything but IKE_AUTH is passed over. */
export function nothingIsServedBeforeAuth(): void {
  for (const exchange of [EXCHANGE.INFORMATIONAL, EXCHANGE.CREATE_CHILD_SA, EXCHANGE.IKE_FOLLOWUP_KE]) {
    const pair = sites();
    pair.command(pair.a, 'up', 't');
    const isSigning = () => pair.a.gateway.memory().sas[0]!.state.name === 'auth-signing';
    while (!isSigning()) pair.take(pair.pending()[0]!.order);
    const [sa] = pair.a.gateway.memory().sas;
    assert.ok(sa?.state.name === 'auth-signing');
    const { suite, keys } = sa.state.secrets;
    const fields = {
      initiatorSpi: sa.spi,
      responderSpi: sa.peerSpi,
      exchange,
      flags: { initiator: true, response: false, version: false },
      messageId: 1,
    };
    const early = sealMessage(
      seededProvider(() => 0.5),
      suite,
      keys,
      fields,
      [DELETE],
    );
    pair.inject(pair.b, early, { local: sa.remote, remote: sa.local });
    assert.deepEqual(
      pair.pending().filter(({ type }) => type === 'datagram'),
      [],
      'an answer',
    );
    pair.run(5000);
    agree(pair);
  }
}

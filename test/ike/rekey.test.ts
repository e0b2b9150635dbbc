// What `rekey TUNNEL CHILD` is told: there are new keys, or there are none.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agree, established, sites } from '../sim/sites.ts';

test('the peer rekeys at the same moment: OK comes once a new SA is there, whoever made it', () => {
  for (let late = 0; late < 40; late += 2) {
    const pair = established(sites(late));
    const [before] = pair.a.inbound.keys();
    pair.command(pair.b, 'rekey', 't', 'net');
    pair.run(late);
    const id = pair.command(pair.a, 'rekey', 't', 'net');
    while (!pair.a.outcomes.has(id)) pair.run(1);
    assert.equal(pair.a.outcomes.get(id), 'OK', pair.ladder());
    const fresh = [...pair.a.inbound.keys()].some((spi) => spi !== before);
    assert.ok(fresh, `${late}: OK, and no new SA\n${pair.ladder()}`);
    pair.run(2000);
    agree(pair);
  }
});

test('the child goes while its rekey waits: said, not OK', () => {
  const pair = established(sites());
  pair.command(pair.a, 'down', 't', 'net');
  const id = pair.command(pair.a, 'rekey', 't', 'net');
  pair.run(2000);
  assert.equal(pair.a.outcomes.get(id), 'CHILD_GONE', pair.ladder());
});

test('down while a rekey waits for its turn: both commands are answered', () => {
  const pair = established(sites());
  const first = pair.command(pair.a, 'rekey', 't', 'net');
  const second = pair.command(pair.a, 'rekey', 't');
  const down = pair.command(pair.a, 'down', 't');
  pair.run(5000);
  assert.equal(pair.a.outcomes.get(second), 'TUNNEL_DOWN', pair.ladder());
  assert.equal(pair.a.outcomes.get(down), 'OK');
  assert.ok(pair.a.outcomes.has(first));
});

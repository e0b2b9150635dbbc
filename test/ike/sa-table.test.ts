import assert from 'node:assert/strict';
import test from 'node:test';
import { isAtRest } from '../../src/ike/compact.ts';
import type { IkeSa } from '../../src/ike/sa.ts';
import { SaTable } from '../../src/ike/sa-table.ts';
import { established, sites } from '../sim/sites.ts';

const { a, b } = established(sites());
const begun = a.gateway.sas()[0]!;
const answered = b.gateway.sas()[0]!;

function childOf(sa: IkeSa) {
  assert.ok(sa.state.name === 'established');
  return sa.state.children[0]!;
}

test('an SA is found by what it has become, once the event is done', () => {
  const sa = structuredClone(answered);
  const table = new SaTable([sa]);
  table.index();
  const { spiIn, spiOut } = childOf(sa);
  assert.equal(table.withChild('in', spiIn), sa);
  assert.equal(table.withChild('out', spiOut), sa);
  assert.equal(table.withChild('in', spiOut), undefined);
  assert.equal(table.begunBy(sa.peerSpi), sa);
  childOf(sa).spiIn = 4711;
  table.index();
  assert.ok(!table.hasChild(spiIn) && table.hasChild(4711));
  table.delete(sa.spi);
  assert.ok(!table.hasChild(4711));
  assert.equal(table.begunBy(sa.peerSpi), undefined);
});

test('begun by a peer and not established: half-open', () => {
  const table = new SaTable([begun, answered].map((sa) => ({ ...sa, state: { name: 'deleted' } })));
  table.index();
  assert.deepEqual([...table.halfOpen()], [answered.spi]);
  table.get(answered.spi)!.state = answered.state;
  table.index();
  assert.equal(table.halfOpen().size, 0);
});

test('two peers chose one SPI: the end of one leaves the other to be found', () => {
  const [first, second] = [structuredClone(answered), structuredClone(answered)];
  second.spi = 'ffffffffffffffff';
  const table = new SaTable([first, second]);
  table.index();
  table.delete(first.spi);
  assert.equal(table.withChild('out', childOf(first).spiOut), second);
});

test('what was handed out is looked at; what is only read is not', () => {
  const table = new SaTable([begun, answered]);
  table.index();
  assert.deepEqual([...table.all()], [begun, answered]);
  assert.deepEqual([...table.touched()], []);
  table.get(begun.spi);
  table.touch(answered.spi);
  table.touch('0000000000000000');
  assert.deepEqual([...table.touched()], [begun.spi, answered.spi]);
});

test('the SPIs that came and went: one that did both is not worth a word', () => {
  const table = new SaTable([begun]);
  assert.deepEqual(table.takeChanges(), { came: [begun.spi], went: [] });
  table.set(answered.spi, answered);
  table.delete(answered.spi);
  table.delete(begun.spi);
  assert.deepEqual(table.takeChanges(), { came: [], went: [begun.spi] });
  assert.deepEqual(table.takeChanges(), { came: [], went: [] });
});

test('an SA that comes to rest is the same data in objects of its own; one that is busy is left alone', () => {
  const sa = structuredClone(begun);
  assert.ok(sa.state.name === 'established' && isAtRest(sa));
  const before = structuredClone(sa);
  const { state } = sa;
  sa.window.sent = { id: 1, bytes: new Uint8Array(), sends: 1, due: 0 };
  const table = new SaTable([sa]);
  table.index();
  assert.equal(sa.state, state);
  delete sa.window.sent;
  table.touch(sa.spi);
  table.index();
  assert.notEqual(sa.state, state);
  assert.deepEqual(sa, before);
});

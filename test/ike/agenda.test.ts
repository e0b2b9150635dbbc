import assert from 'node:assert/strict';
import test from 'node:test';
import { Agenda } from '../../src/ike/agenda.ts';

test('the earliest is at hand; of two at one moment the first that was put', () => {
  const agenda = new Agenda();
  for (const [key, at] of [
    ['c', 30],
    ['a', 10],
    ['d', 30],
    ['b', 20],
  ] as const)
    agenda.put(key, at);
  assert.equal(agenda.next(), 10);
  assert.deepEqual(agenda.take(9), []);
  assert.deepEqual(agenda.take(30, 2), ['a', 'b']);
  assert.deepEqual(agenda.take(30), ['c', 'd']);
  assert.equal(agenda.next(), undefined);
});

test('a key has one moment: another one replaces it, none or an infinite one ends it', () => {
  const agenda = new Agenda();
  agenda.put('a', 10);
  agenda.put('a', 50);
  agenda.put('b', 40);
  assert.equal(agenda.next(), 40);
  agenda.put('b', Number.POSITIVE_INFINITY);
  assert.equal(agenda.next(), 50);
  agenda.put('a', undefined);
  agenda.remove('nobody');
  assert.equal(agenda.next(), undefined);
});

test('does what a list that is searched does', () => {
  const agenda = new Agenda();
  const list = new Map<string, number>();
  let state = 7;
  const random = (below: number) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
  for (let step = 0; step < 20_000; step++) {
    const key = `k${random(200)}`;
    const at = random(1000);
    const what = random(10);
    if (what < 6) {
      agenda.put(key, at);
      list.set(key, at);
    } else if (what < 9) {
      agenda.remove(key);
      list.delete(key);
    } else {
      const due = [...list].filter(([, moment]) => moment <= at / 4);
      const taken = agenda.take(at / 4);
      assert.deepEqual(taken.toSorted(), due.map(([name]) => name).toSorted());
      const moments = taken.map((name) => list.get(name)!);
      assert.deepEqual(
        moments,
        moments.toSorted((a, b) => a - b),
      );
      for (const name of taken) list.delete(name);
    }
    assert.equal(agenda.next(), list.size === 0 ? undefined : Math.min(...list.values()));
  }
});

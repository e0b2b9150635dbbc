// DNS names to addresses, as the core asks for them.

import { lookup } from 'node:dns/promises';
import type { Action, Event } from '../ike/boundary.ts';

type Question = Pick<Extract<Action, { type: 'resolve' }>, 'tunnel' | 'name' | 'family'>;
type Answer = Omit<Extract<Event, { type: 'resolved' }>, 'type'>;

/** A resolver that says nothing for so long, in milliseconds, knows nothing. */
const LIMIT = 5000;

/** By the resolver of this machine, /etc/hosts included. Never rejects. */
export async function lookUp({ tunnel, name, family }: Question, limit = LIMIT): Promise<Answer> {
  const asked = lookup(name, { all: true, family }).then(
    (found): Answer => ({ tunnel, name, addresses: found.map(({ address }) => address) }),
    (error: unknown): Answer => ({ tunnel, name, addresses: [], failed: reasonOf(error) }),
  );
  const { promise: late, resolve } = Promise.withResolvers<Answer>();
  const failed = `the resolver did not answer within ${limit / 1000} s`;
  const timer = setTimeout(() => resolve({ tunnel, name, addresses: [], failed }), limit);
  return Promise.race([asked, late]).finally(() => clearTimeout(timer));
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOTFOUND' ? 'there is no such name' : String(code ?? error);
}

// A reporter for another process: one line of JSON for each test that ended.

import type { TestEvent } from 'node:test/reporters';

export const MARK = '@test ';

export default async function* lines(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const { name, skip } = data;
    const thrown = 'error' in data.details ? data.details.error : undefined;
    const error = thrown && String(thrown.cause ?? thrown);
    yield `${MARK}${JSON.stringify({ name, skip, error })}\n`;
  }
}

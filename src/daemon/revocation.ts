// Fetches revocation lists and OCSP answers for paths that are good without them, keeps them, and has the path judged again.

import { createHash } from 'node:crypto';
import { judgePath, type PathQuestion, type Reason, type Verdict } from '../crypto/x509.ts';
import { ocspRequest } from '../crypto/x509-ocsp.ts';
import { freshUntil, type Wanted } from '../crypto/x509-revocation.ts';
import { PATH_BUDGET } from '../crypto/x509-rules.ts';
import { type Fetch, FetchError } from './fetch.ts';

export const REVOCATION_LIMITS = {
  /** Milliseconds for one fetch, and for all that one path may wait for. */
  fetch: 3000,
  question: 6000,
  /** Fetches at a time, and waiting. */
  atOnce: 4,
  waiting: 64,
  /** What is kept: entries and bytes; the least lately used goes first. */
  entries: 256,
  bytes: 32 * 1024 * 1024,
  /** Milliseconds that an answer is kept at most, and for which a place that failed is left alone. */
  longest: 24 * 3_600_000,
  failed: 60_000,
};

export interface Revocation {
  /** Like `judgePath`, with what is kept and, where that is not enough, with what the CAs answer. Never rejects. */
  judge(question: PathQuestion): Promise<Verdict>;
  /** What is kept. */
  size(): { entries: number; bytes: number };
}

export interface RevocationParts {
  fetch: Fetch;
  /** Wall time, milliseconds. */
  now: () => number;
  limits?: Partial<typeof REVOCATION_LIMITS>;
}

interface Entry {
  /** Undefined where the place had nothing; `problem` says why. */
  bytes: Uint8Array | undefined;
  problem?: string;
  until: number;
}

export function createRevocation({ fetch, now, limits: given }: RevocationParts): Revocation {
  const limits = { ...REVOCATION_LIMITS, ...given };
  const store = createStore(limits);
  const turns = createTurns(limits.atOnce, limits.waiting);
  const running = new Map<string, Promise<Entry>>();

  function obtain(wanted: Wanted): Promise<Entry> {
    const key = keyOf(wanted);
    const kept = store.get(key, now());
    const under = kept ? Promise.resolve(kept) : running.get(key);
    if (under) return under;
    const work = turns(() => ask(fetch, wanted, limits.fetch))
      .then(
        (bytes) => ({ bytes, until: goodUntil(wanted, bytes) }),
        (error: Error) => ({
          bytes: undefined,
          problem: error.message,
          until: error instanceof Busy ? 0 : now() + limits.failed,
        }),
      )
      .then((entry) => {
        running.delete(key);
        if (entry.until > 0) store.set(key, entry);
        return entry;
      });
    running.set(key, work);
    return work;
  }

  /** An answer that nobody could verify yet is kept no longer than it says, and not at all where it says nothing. */
  function goodUntil({ type }: Wanted, bytes: Uint8Array): number {
    return Math.min(freshUntil(type, bytes) ?? now() + limits.failed, now() + limits.longest);
  }

  async function judge(question: PathQuestion): Promise<Verdict> {
    let over: Promise<Entry> | undefined;
    const found = new Map<string, Entry>();
    let verdict = await judgePath(question);
    for (;;) {
      const next = nextPlaces(verdict.wanted, found);
      if (next.length === 0) break;
      over ??= tooLate(limits.question);
      const entries = await Promise.all(next.map((wanted) => Promise.race([obtain(wanted), over])));
      for (const [i, wanted] of next.entries()) found.set(keyOf(wanted), entries[i]!);
      verdict = await judgePath(withEvidence(question, found));
    }
    // What was fetched and is still wanted proved useless: the place is left alone for a while.
    for (const wanted of verdict.wanted) {
      const entry = found.get(keyOf(wanted));
      if (entry?.bytes)
        store.set(keyOf(wanted), {
          ...entry,
          bytes: undefined,
          problem: USELESS,
          until: now() + limits.failed,
        });
    }
    return explained(verdict, found);
  }

  return { judge, size: store.size };
}

function tooLate(after: number): Promise<Entry> {
  return new Promise((resolve) => {
    setTimeout(resolve, after, { bytes: undefined, problem: TOO_LATE, until: 0 }).unref();
  });
}

const TOO_LATE = 'no answer came in time';
const USELESS = 'its answer could not be used';

/** For each certificate the first place that was not asked yet. */
function nextPlaces(wanted: readonly Wanted[], found: ReadonlyMap<string, Entry>): Wanted[] {
  const next = new Map<Uint8Array, Wanted>();
  for (const one of wanted)
    if (!found.has(keyOf(one)) && !next.has(one.certificate)) next.set(one.certificate, one);
  return [...next.values()];
}

/** A list is of its place and its issuer, so that one issuer spoils nothing of another; an answer, of a certificate. */
function keyOf({ type, url, certificate, issuer }: Wanted): string {
  const about = type === 'crl' ? issuer : certificate;
  return `${type} ${createHash('sha256').update(about).digest('hex')} ${url}`;
}

function ask(fetch: Fetch, { type, url, certificate, issuer }: Wanted, timeout: number): Promise<Uint8Array> {
  if (type === 'crl') return fetch({ url, most: PATH_BUDGET.crlBytes, timeout });
  const body = ocspRequest(certificate, issuer);
  return fetch({ url, body, contentType: 'application/ocsp-request', most: PATH_BUDGET.ocspBytes, timeout });
}

function withEvidence(question: PathQuestion, found: ReadonlyMap<string, Entry>): PathQuestion {
  const fetched = (type: string) =>
    [...found].flatMap(([key, { bytes }]) => (bytes && key.startsWith(`${type} `) ? [bytes] : []));
  const room = (given: readonly Uint8Array[], more: Uint8Array[], most: number) =>
    [...more, ...given].slice(0, most);
  return {
    ...question,
    crls: room(question.crls, fetched('crl'), PATH_BUDGET.crls),
    ocsp: room(question.ocsp, fetched('ocsp'), PATH_BUDGET.ocsp),
  };
}

/** A reason that says we do not know also says whom we asked. */
function explained(verdict: Verdict, found: ReadonlyMap<string, Entry>): Verdict {
  const problems = [...found].flatMap(([key, { problem }]) =>
    problem ? [`${key.split(' ').at(-1)}: ${problem}`] : [],
  );
  if (problems.length === 0) return verdict;
  const told = (reason: Reason) =>
    reason.code === 'REVOCATION_UNKNOWN'
      ? { ...reason, text: `${reason.text} (${problems.join('; ')})` }
      : reason;
  return { ...verdict, reasons: verdict.reasons.map(told) };
}

/** Least lately used first out; CVE-2021-41991: never more than the limits, whatever comes. */
function createStore(limits: { entries: number; bytes: number }) {
  const kept = new Map<string, Entry>();
  let bytes = 0;
  const drop = (key: string) => {
    bytes -= kept.get(key)?.bytes?.length ?? 0;
    kept.delete(key);
  };
  return {
    size: () => ({ entries: kept.size, bytes }),
    get(key: string, at: number): Entry | undefined {
      const entry = kept.get(key);
      drop(key);
      if (!entry || entry.until <= at) return undefined;
      this.set(key, entry);
      return entry;
    },
    set(key: string, entry: Entry): void {
      drop(key);
      kept.set(key, entry);
      bytes += entry.bytes?.length ?? 0;
      while (kept.size > limits.entries || bytes > limits.bytes) drop(kept.keys().next().value!);
    },
  };
}

/** Nothing is wrong with the place. */
class Busy extends FetchError {}

/** So many at a time; those who wait keep their order, and beyond the room for them nobody waits. */
function createTurns(atOnce: number, room: number) {
  const waiting: (() => void)[] = [];
  let busy = 0;
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (busy >= atOnce && waiting.length >= room) throw new Busy('too many fetches wait already');
    if (busy >= atOnce) await new Promise<void>((turn) => waiting.push(turn));
    else busy++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else busy--;
    }
  };
}

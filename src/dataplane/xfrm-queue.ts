// In which order work on the kernel's tables is done: as it was asked for, and side by side where it has nothing in common.

import { newBreath } from './turns.ts';
import type { Kernel } from './xfrm-kernel.ts';
import { run, together, type Work } from './xfrm-work.ts';

/** Side by side; their requests fill a socket's buffer several times, and more would only make the event loop wait. */
const WAVE = 32;

interface Entry {
  /** Names of what it touches; undefined: of everything. */
  subjects: () => readonly string[] | undefined;
  work: () => Work;
  resolve: () => void;
  reject: (error: unknown) => void;
}

export interface Queue {
  /** Resolves or rejects as the work ends. What has a subject in common is done in the order of the calls. */
  add(subjects: Entry['subjects'], work: Entry['work']): Promise<void>;
}

export function createQueue(kernel: Kernel): Queue {
  const waiting: Entry[] = [];
  let draining = false;

  async function drain(): Promise<void> {
    const breath = newBreath();
    while (waiting.length > 0) {
      const wave = nextWave(waiting);
      const outcomes = await run(kernel, together(wave.map(({ work }) => work())), breath);
      for (const [index, { resolve, reject }] of wave.entries()) {
        const outcome = outcomes[index]!;
        if ('error' in outcome) reject(outcome.error);
        else resolve();
      }
      await breath();
    }
    draining = false;
  }

  return {
    add: (subjects, work) =>
      new Promise((resolve, reject) => {
        waiting.push({ subjects, work, resolve, reject });
        if (draining) return;
        draining = true;
        // What is asked for in the same turn belongs to the same wave.
        queueMicrotask(() => void drain());
      }),
  };
}

/** The first of them and those behind it, up to one that shares a subject with one of these. */
function nextWave(waiting: Entry[]): Entry[] {
  const taken = new Set<string>();
  let count = 0;
  while (count < Math.min(waiting.length, WAVE)) {
    const subjects = waiting[count]!.subjects();
    if (subjects === undefined ? count > 0 : subjects.some((one) => taken.has(one))) break;
    count++;
    if (subjects === undefined) break;
    for (const one of subjects) taken.add(one);
  }
  return waiting.splice(0, count);
}

// What a corpus reaches, and how it is kept small.

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { corpusOf, FUZZ, filesIn, must } from './libfuzzer.ts';

export interface FileLines {
  file: string;
  covered: number;
  total: number;
}

/** The files that need no socket and no device. */
export const REACHED = [
  'ip.cc',
  'esp.cc',
  'ah.cc',
  'ah-icv.cc',
  'outer.cc',
  'admission.cc',
  'nat.cc',
  'cipher.cc',
  'mac.cc',
  'sad.cc',
  'replay.h',
  'spi-table.h',
  'inbound.cc',
  'coalesce.cc',
  'spd.cc',
  'classifier.cc',
  'outbound.cc',
  'batch.cc',
  'hold.cc',
  'early.cc',
  'early.h',
  'hold.h',
  'events.cc',
  'engine.cc',
];

/** Lines of native/core that the corpus, and `more` folders of inputs, pass through. */
export function cover(target: string, more: readonly string[]): FileLines[] {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-cover-'));
  try {
    const [raw, profile, binary] = [join(folder, 'raw'), join(folder, 'profile'), `${FUZZ}/${target}`];
    must(binary, ['-runs=0', ...foldersOf(target), ...more], { LLVM_PROFILE_FILE: raw });
    must('llvm-profdata', ['merge', '-sparse', '-o', profile, raw]);
    const answer = must('llvm-cov', ['export', '-summary-only', `-instr-profile=${profile}`, binary]);
    const files: { filename: string; summary: { lines: { count: number; covered: number } } }[] =
      JSON.parse(answer).data[0].files;
    return files
      .map(({ filename, summary: { lines } }) => ({
        file: basename(filename),
        covered: lines.covered,
        total: lines.count,
      }))
      .filter(({ file }) => REACHED.includes(file));
  } finally {
    rmSync(folder, { recursive: true });
    for (const grown of more) rmSync(grown, { recursive: true });
  }
}

/** Few inputs that together reach every edge; those that were kept for a fault stay. */
export function grow(target: string, grown: string): void {
  const corpus = corpusOf(target);
  const next = mkdtempSync(join(tmpdir(), 'isthmus-corpus-'));
  must(
    `${FUZZ}/${target}`,
    ['-set_cover_merge=1', '-use_counters=0', '-max_len=2048', next, ...foldersOf(target), grown],
    {
      LLVM_PROFILE_FILE: '/dev/null',
    },
  );
  for (const file of filesIn(corpus).filter((name) => name.startsWith('fault-')))
    cpSync(join(corpus, file), join(next, file));
  rmSync(corpus, { recursive: true, force: true });
  cpSync(next, corpus, { recursive: true });
  rmSync(next, { recursive: true });
  rmSync(grown, { recursive: true });
}

const foldersOf = (target: string) => (filesIn(corpusOf(target)).length > 0 ? [corpusOf(target)] : []);

// Configuration files in a folder of their own, removed when the test ends.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export const PSK = 'correct-horse-battery-staple-42';

export interface Folder {
  /** Path of a file in the folder, written; secrets are for their owner only. */
  write(name: string, text: string, mode?: number): string;
}

export function folder(t: TestContext): Folder {
  const path = mkdtempSync(join(tmpdir(), 'isthmus-test-'));
  t.after(() => rmSync(path, { recursive: true }));
  const write = (name: string, text: string, mode = 0o600) => {
    const file = join(path, name);
    writeFileSync(file, text);
    chmodSync(file, mode);
    return file;
  };
  return { write };
}

/** A good file with one tunnel; `more` goes into the tunnel, `top` stands at the top level. */
export function goodFile(psk: string, more = '', top = ''): string {
  return `gateway: { name: a, address: 192.0.2.1 }
${top}
tunnels:
  office:
    peer: 198.51.100.1
    auth: { psk: { file: ${psk} } }
    local: 10.1.0.0/16
    remote: 10.2.0.0/16
${more}`;
}

// The control API: what the command line, the web and tests ask of a running daemon.

import { createHash } from 'node:crypto';
import { Hono } from 'hono';
import { ConfigRefused } from '../daemon/read-config.ts';
import type { Running } from '../daemon/run.ts';

/** Served on a Unix socket that only its owner may open. */
export function createRoutes(running: Running) {
  return new Hono()
    .get('/status', async (c) => c.json(await running.status()))
    .get('/failures', (c) => c.json(running.failures()))
    .get('/sa', async (c) => {
      const [{ sas }, proofs] = [await running.snapshot(), running.proofs()];
      return c.json(sas.map((sa) => ({ ...plain(sa), ...proofs.get(tunnelOf(sa.policy)) })));
    })
    .get('/policy', async (c) => c.json((await running.snapshot()).policies))
    .get('/config', (c) => c.json(shownConfig(running)))
    .post('/tunnels/:name/:command', async (c) => {
      const { name, command } = c.req.param();
      return c.json(await obey(running, command, name));
    })
    .post('/tunnels/:name/:command/:child', async (c) => {
      const { name, command, child } = c.req.param();
      return c.json(await obey(running, command, name, child));
    })
    .get('/plan', (c) => c.json(reload(running, true)))
    .post('/reload', (c) => c.json(reload(running, false)));
}

export type Routes = ReturnType<typeof createRoutes>;

export type Reloaded = { tunnels: { tunnel: string; effect: string }[] } | { refused: string[] };

function reload(running: Running, dryRun: boolean): Reloaded {
  try {
    return { tunnels: running.reload({ dryRun }).map(({ tunnel, effect }) => ({ tunnel, effect })) };
  } catch (error) {
    if (!(error instanceof ConfigRefused)) throw error;
    return { refused: error.complaints };
  }
}

async function obey(running: Running, command: string, tunnel: string, child?: string) {
  if (command === 'up' || command === 'down' || command === 'rekey' || command === 'reauthenticate')
    return running.command(command, tunnel, child);
  return { code: 'CONFIG_UNKNOWN_COMMAND' as const, sentence: `there is no command ${command}` };
}

function tunnelOf(policy: string): string {
  return policy.split('/')[0]!;
}

/** Numbers for JSON. */
function plain({ packets, bytes, ...sa }: Awaited<ReturnType<Running['snapshot']>>['sas'][number]) {
  return { ...sa, packets: Number(packets), bytes: Number(bytes) };
}

/** Every default filled in; secrets only by name, certificates by their SHA-256. */
function shownConfig(running: Running) {
  const { keyring: _, ...config } = running.config();
  return JSON.parse(
    JSON.stringify(config, (_key, value) => {
      if (value instanceof Uint8Array) return `sha256:${createHash('sha256').update(value).digest('hex')}`;
      return typeof value === 'bigint' ? Number(value) : value;
    }),
  );
}

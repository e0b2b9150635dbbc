// `isthmus run FILE`: the daemon itself.

import { createRoutes } from '../control/routes.ts';
import { serve } from '../control/server.ts';
import { ConfigRefused } from '../daemon/read-config.ts';
import { createLog, type Level } from '../daemon/report.ts';
import { runDaemon } from '../daemon/run.ts';
import { EXIT } from './exit.ts';

export interface RunOptions {
  file: string;
  socket: string;
  json: boolean;
  level: Level;
  exportKeys?: string;
}

/** Resolves with the exit code once the daemon has ended by SIGTERM or SIGINT. SIGHUP reads the file again. */
export async function run({ file, socket, json, level, exportKeys }: RunOptions): Promise<number> {
  const log = createLog({
    json,
    level,
    write: (line) => process.stdout.write(`${line}\n`),
    wallClock: () => new Date(),
  });
  const running = runDaemon(file, log, exportKeys === undefined ? {} : { exportKeys });
  const server = await serve(createRoutes(running), socket);
  process.on('SIGHUP', () => {
    try {
      running.reload({ dryRun: false });
    } catch (error) {
      if (!(error instanceof ConfigRefused)) throw error;
      for (const problem of error.complaints) log({ code: 'CONFIG_REFUSED', detail: { problem } });
    }
  });
  await signalled();
  server.close();
  server.closeAllConnections();
  await running.stop();
  return EXIT.yes;
}

function signalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}

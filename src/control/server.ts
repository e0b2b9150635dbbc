// The control API on a Unix socket.

import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { dirname } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import type { Routes } from './routes.ts';

/** Only its owner may open it: whoever can talk to the daemon can take tunnels down. */
export function serve(routes: Routes, socket: string): Promise<Server> {
  mkdirSync(dirname(socket), { recursive: true, mode: 0o755 });
  rmSync(socket, { force: true });
  const server = createServer(getRequestListener(routes.fetch));
  const mask = process.umask(0o177);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socket, () => {
      process.umask(mask);
      chmodSync(socket, 0o600);
      resolve(server);
    });
  });
}

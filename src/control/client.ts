// The typed client of the control API, over its Unix socket.

import { request } from 'node:http';
import { hc } from 'hono/client';
import type { Routes } from './routes.ts';

/** Nobody answers on the socket. */
export class NoDaemon extends Error {
  constructor(socket: string, why: string) {
    super(`no daemon answers on ${socket} (${why}); start one: isthmus run FILE`);
    this.name = 'NoDaemon';
  }
}

export function createClient(socket: string) {
  return hc<Routes>('http://isthmus', { fetch: overSocket(socket) });
}

function overSocket(socketPath: string): typeof fetch {
  return (input, init) =>
    new Promise((resolve, reject) => {
      const url = new URL(input instanceof Request ? input.url : input);
      const asked = request(
        { socketPath, path: `${url.pathname}${url.search}`, method: init?.method ?? 'GET' },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8');
          answer.on('data', (chunk) => (text += chunk));
          answer.on('end', () => resolve(new Response(text, { status: answer.statusCode ?? 500 })));
        },
      );
      asked.on('error', (error: NodeJS.ErrnoException) =>
        reject(
          new NoDaemon(
            socketPath,
            error.code === 'ENOENT' ? 'there is no such socket' : (error.code ?? error.message),
          ),
        ),
      );
      asked.end();
    });
}

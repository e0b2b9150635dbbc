// The outer sockets in a real kernel.

import { insideNamespace } from '../namespace.ts';

insideNamespace(
  'what is to go in one piece does so or not at all, and what follows may be fragmented',
  'test/daemon/port.inside.ts',
);

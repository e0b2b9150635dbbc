// Our routes and rules in a real kernel.

import { insideNamespace } from '../namespace.ts';

insideNamespace('routes follow the configuration, whatever of them changes', 'test/host/netlink.inside.ts');

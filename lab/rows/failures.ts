// What we say when the two sides do not fit, as initiator by `up`, as responder in `show failures`.

import { randomBytes } from 'node:crypto';
import { sentenceIn } from '../checks.ts';
import type { PeerTunnel } from '../peers/tunnel.ts';
import { SUITES } from '../suites.ts';
import type { Group } from './group.ts';

const OTHER_PSK = randomBytes(24).toString('base64url');

/** What is wrong with theirs, and the sentence of each role. */
const FAULTS: [string, Partial<PeerTunnel>, RegExp, RegExp][] = [
  ['wrong key', { psk: OTHER_PSK }, /refuses our authentication|pre-shared key/, /pre-shared keys .* differ/],
  [
    'no common proposal',
    { ike: ['aes-cbc-256 / hmac-sha2-512-256 / prf-hmac-sha2-512 / modp-2048'] },
    /accepts none of our algorithms/,
    /no common algorithms/,
  ],
  [
    'no common selector',
    { local: '10.77.0.0/16', remote: '10.78.0.0/16' },
    /traffic selectors/,
    /no common traffic selectors/,
  ],
];

export const failures: Group = {
  name: 'failures',
  async run({ site, peer, configure, theirs, check }) {
    const suite = SUITES[0]!;
    configure(suite);
    await site.start();
    for (const [name, changed, asInitiator, asResponder] of FAULTS) {
      await peer.configure(theirs(suite, changed));
      await check('initiator', suite, name, async () => {
        const up = await site.isthmus('up', 'office');
        const known = `${up.output}${(await site.isthmus('show', 'failures')).output}`;
        return sentenceIn(known, asInitiator);
      });
      await site.isthmus('down', 'office');
      await check('responder', suite, name, async () => {
        await peer.swanctl('--initiate', '--child', 'child', '--timeout', '3');
        return sentenceIn((await site.isthmus('show', 'failures')).output, asResponder);
      });
      await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
      await site.isthmus('down', 'office');
    }
    await site.kill('SIGTERM');
  },
};

// What a daemon looks after by itself: counters, addresses of the machine, sizes that pass, credentials on disk.

import { HostError } from '../host/host-error.ts';
import { configureProbes } from './begin.ts';
import { createExpiryLog, type Ending, endingsOf } from './expiry.ts';
import type { Parts } from './parts.ts';
import { ConfigRefused } from './read-config.ts';
import { reload } from './reload.ts';
import { report } from './report.ts';

/** Milliseconds. */
const SAMPLE_INTERVAL = 1000;
const CREDENTIALS_INTERVAL = 60_000;

/** Until the returned function is called. */
export function lookAfter(parts: Parts): () => void {
  const sample = sampler(parts);
  const credentials = credentialsKeeper(parts);
  const timers = [setInterval(sample, SAMPLE_INTERVAL), setInterval(credentials, CREDENTIALS_INTERVAL)];
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}

/** Of certificates that are in use, ours and the peers'. */
export function endings({ state, core }: Parts): Ending[] {
  return endingsOf(state.config, core.tunnels(), Date.now());
}

/** Counters for the status; an address that came or went, for the core and for the routes' sources; sizes that were found. */
function sampler(parts: Parts): () => void {
  const { log, state, host, links, daemon, probing, traffic } = parts;
  let own = host.addresses();
  return () => {
    traffic.update(daemon.snapshot());
    probing.look();
    links.look(state.config);
    try {
      const now = host.addresses();
      const moved = now.join() !== own.join();
      if (!moved && !state.resized) return;
      own = now;
      state.resized = false;
      if (moved) daemon.feed({ type: 'addresses', local: now });
      links.apply(state.config, [state.config]);
      configureProbes(parts);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      report(log, 'HOST_REFUSED', { message: error.message });
    }
  };
}

/** What ends is told; what was renewed on disk is taken, where nothing else would move. */
function credentialsKeeper(parts: Parts): () => void {
  const { log, state } = parts;
  const tellEndings = createExpiryLog(log);
  tellEndings(endings(parts));
  return () => {
    tellEndings(endings(parts));
    if (state.filesChanged()) renew(parts);
  };
}

function renew(parts: Parts): void {
  const { log } = parts;
  try {
    const moved = reload(parts, true).filter(({ effect }) => effect !== 'untouched');
    const others = moved.filter(({ effect }) => effect !== 'renewed').map(({ tunnel }) => tunnel);
    if (others.length > 0) throw new ConfigRefused(['more than that has changed: isthmus reload']);
    reload(parts, false);
    report(log, 'CREDENTIALS_RENEWED', {});
  } catch (error) {
    if (!(error instanceof ConfigRefused || error instanceof HostError)) throw error;
    report(log, 'CREDENTIALS_REFUSED', { problem: error.message.replaceAll('\n', '; ') });
  }
}

// The daemon's jobs over the keys of a configuration, for cores that run without a daemon. Nobody is asked for revocation.

import type { Config } from '../src/config/config.ts';
import { createKeyExchanges } from '../src/crypto/node-key-exchange.ts';
import type { Provider } from '../src/crypto/provider.ts';
import { createJobs } from '../src/daemon/jobs.ts';
import { createJudge } from '../src/daemon/judge.ts';
import { createRevocation } from '../src/daemon/revocation.ts';

/** A name means what the first configuration that has it says. */
export function jobsOf(provider: Provider, configs: () => readonly Config[]): ReturnType<typeof createJobs> {
  const found = <Value>(of: (config: Config) => (() => Value) | undefined): Value | undefined => {
    for (const config of configs()) {
      const value = of(config)?.();
      if (value !== undefined) return value;
    }
    return undefined;
  };
  return createJobs({
    provider,
    keyExchanges: createKeyExchanges(),
    secret: (name) => found(({ keyring }) => keyring.secrets.get(name)),
    key: (name) => found(({ keyring }) => keyring.keys.get(name)),
    judge: createJudge({
      trust: (name) => found(({ keyring }) => keyring.trust.get(name)),
      wallClock: Date.now,
      revocation: createRevocation({
        fetch: async () => {
          throw new Error('the bench asks nobody');
        },
        now: Date.now,
      }),
    }),
  });
}

// How long, how often and how late: the durations of a tunnel in milliseconds.

import type { Retransmit } from '../policy/tunnel.ts';
import type { Complain } from './auth.ts';
import { DEFAULTS, RETRANSMIT } from './defaults.ts';
import { milliseconds } from './duration.ts';
import type { TunnelEntry } from './schema.ts';

export function retransmitOf({ retransmit = {} }: TunnelEntry, at: Complain): Retransmit {
  const { first, cap, ...rest } = retransmit;
  const wait = (key: 'first' | 'cap', text: string | undefined) => {
    const value = text === undefined ? RETRANSMIT[key] : milliseconds(text);
    if (value === undefined) at(['retransmit', key], `"${text}" is not a duration; write 500ms or 16s`);
    return value ?? 0;
  };
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return { ...RETRANSMIT, ...given, first: wait('first', first), cap: wait('cap', cap) };
}

/** More questions a second would tell no more. */
const LEAST_LIVENESS = 100;

export function duration(
  entry: TunnelEntry,
  key: 'lifetime' | 'ike-lifetime' | 'liveness' | 'keepalive',
  at: Complain,
): number | undefined {
  const text = entry[key] ?? DEFAULTS[key];
  const value = milliseconds(text);
  if (value === undefined) return at([key], `"${text}" is not a duration; write 30s, 10m, 4h or 1d`);
  if (key === 'liveness' && value > 0 && value < LEAST_LIVENESS)
    return at([key], `${text} is too short: 100ms at least, or 0s for never`);
  if (key.endsWith('lifetime') && value < 10_000) return at([key], `${text} is too short: 10s at least`);
  return value;
}

export function reauthenticationOf(entry: TunnelEntry, at: Complain): { reauthentication?: number } {
  const text = entry.reauthentication ?? DEFAULTS.reauthentication;
  if (text === 'never') return {};
  const reauthentication = milliseconds(text);
  if (reauthentication === undefined || reauthentication < LEAST_PROOF)
    at(['reauthentication'], `"${text}" is neither never nor 5m or more, such as 24h`);
  return { reauthentication: reauthentication ?? LEAST_PROOF };
}

/** Enough is left for a renewal that has to be tried again. */
const LEAST_PROOF = 300_000;

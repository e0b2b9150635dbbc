// The configuration of a daemon: read, or refused whole.

import { complaintText } from '../config/complaint.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { type Log, report } from './report.ts';

/** The file is refused; one line a complaint. */
export class ConfigRefused extends Error {
  readonly complaints: string[];
  constructor(complaints: string[]) {
    super(complaints.join('\n'));
    this.name = 'ConfigRefused';
    this.complaints = complaints;
  }
}

/** Warnings go to the log. Throws ConfigRefused. */
export function readConfig(file: string, log: Log): Config {
  const { config, complaints } = loadConfig(file);
  if (!config) throw new ConfigRefused(complaints.map(complaintText));
  for (const complaint of complaints) report(log, 'CONFIG_WARNING', { problem: complaintText(complaint) });
  return config;
}

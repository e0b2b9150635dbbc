// A group of rows of `npm run interop`: what is configured on both sides, and what is checked then.

import type { Checks } from '../checks.ts';
import type { Strongswan } from '../peers/strongswan.ts';
import type { Site } from '../site.ts';

/** What every group is given: both sides, not running and running, and the checks. */
export interface Lab extends Checks {
  site: Site;
  peer: Strongswan;
  /** The slice of `npm test`. */
  short: boolean;
}

/** Leaves our side stopped, strongSwan running without SAs, and the topology as it was. */
export interface Group {
  name: string;
  run(lab: Lab): Promise<void>;
}

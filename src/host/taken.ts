// What others have already of what we want: places of routes, tables, priorities of rules. It is never replaced or shared.

import type { Route, Rule } from '../wire/rtnetlink.ts';
import { OURS, type Wanted } from './wanted.ts';

export interface Standing {
  routes: readonly Route[];
  rules: readonly Rule[];
}

type Made = { protocol: number };
const isOurs = ({ protocol }: Made) => protocol === OURS.protocol;

/**
 * A sentence on the first table or priority of rules that somebody else has and we do not stand in yet; who came after us
 * came knowingly, and is named by no refusal.
 */
export function takenFrom({ rules }: Pick<Wanted, 'rules'>, standing: Standing): string | undefined {
  const priority = [...new Set(rules.map((rule) => rule.priority))].find((one) =>
    isForeign(standing.rules.filter((rule) => rule.priority === one)),
  );
  if (priority !== undefined)
    return `a rule of priority ${priority} stands already and is not ours (ip rule show): remove it, or choose another gateway.routing.priority`;
  const table = [...new Set(rules.map((rule) => rule.table))].find((one) =>
    isForeign(standing.routes.filter((route) => route.table === one)),
  );
  if (table !== undefined)
    return `there are routes in table ${table} already and they are not ours (ip route show table ${table}): remove them, or choose another gateway.routing.table`;
  return undefined;
}

/** Some are there, and none of them is ours. */
function isForeign(all: readonly Made[]): boolean {
  return all.length > 0 && !all.some(isOurs);
}

/** The kernel would replace a route of the same place and metric, whoever made it. */
export function takenPlace(target: readonly Route[], standing: readonly Route[]): string | undefined {
  const place = ({ table, destination, metric }: Route) =>
    `${table} ${destination.address}/${destination.length} ${metric}`;
  const foreign = new Set(standing.filter((route) => !isOurs(route)).map(place));
  const taken = target.find((route) => foreign.has(place(route)));
  return (
    taken &&
    `a route to ${taken.destination.address}/${taken.destination.length} with metric ${taken.metric} stands in table ${taken.table} already and is not ours: remove it, or choose another interface.metric or interface.table`
  );
}

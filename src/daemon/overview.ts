// The status of a whole daemon, as operators see it.

import { explainDrops } from '../dataplane/xfrm-statistics.ts';
import { endings } from './care.ts';
import type { Parts } from './parts.ts';
import { type Status, statusOfTunnel, type TunnelStatus } from './status.ts';

export async function overview(parts: Parts): Promise<Status> {
  const { state, exportKeys, choice, host, core, daemon, probing, traffic } = parts;
  const snapshot = await daemon.refresh();
  traffic.update(snapshot);
  probing.look();
  const { name, dataplane } = state.config;
  const stopped = host.stopped();
  return {
    name,
    pid: process.pid,
    dataplane,
    dataplaneWhy: choice.why,
    ...(exportKeys === undefined ? {} : { exportsKeys: exportKeys }),
    tunnels: tunnelsOf(parts),
    certificates: endings(parts),
    drops: {
      ...Object.fromEntries(Object.entries(snapshot.drops).map(([cause, count]) => [cause, Number(count)])),
      ...core.drops(),
      'cleartext-out': Number(stopped.out),
      'cleartext-in': Number(stopped.in),
    },
    explained: dataplane === 'xfrm' ? explainDrops(snapshot.drops) : [],
  };
}

function tunnelsOf({ state, addon, core, links, probing, pathMtus, traffic }: Parts): TunnelStatus[] {
  const proofs = { traffic, probes: probing, pathMtus };
  const [now, failures] = [addon.bootTime(), core.failures()];
  const configured = new Map(state.config.tunnels.map((tunnel) => [tunnel.name, tunnel]));
  return core.tunnels().flatMap((view) => {
    const tunnel = configured.get(view.name);
    if (!tunnel) return [];
    const failure = failures.findLast((one) => one.tunnel === view.name);
    const link = links.of(tunnel, state.config);
    return [{ ...statusOfTunnel(view, tunnel, proofs, failure, now), ...(link ? { interface: link } : {}) }];
  });
}

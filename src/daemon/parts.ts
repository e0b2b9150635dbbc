// The parts of a running gateway, joined: configuration, host, data plane, core.

import type { Config } from '../config/config.ts';
import { createKeyExchanges } from '../crypto/node-key-exchange.ts';
import { createNodeProvider } from '../crypto/node-provider.ts';
import type { Provider } from '../crypto/provider.ts';
import { createHost, type Host } from '../host/host.ts';
import { type Machine, thisMachine } from '../host/preflight.ts';
import type { Action } from '../ike/boundary.ts';
import { createGateway, type Gateway } from '../ike/gateway.ts';
import { type Addon, loadAddon, type Plane } from '../native.ts';
import type { LinkKind } from '../policy/sad.ts';
import type { TooBig } from '../wire/too-big.ts';
import { watchFiles } from './credential-files.ts';
import { createDaemon, type Daemon, usageInterval } from './daemon.ts';
import { createFetch } from './fetch.ts';
import { createJobs } from './jobs.ts';
import { createJudge } from './judge.ts';
import { createKeyExport, type KeyExport } from './key-export.ts';
import { createLinks, type Links, type LinksOptions } from './links.ts';
import { type ChildPathMtus, createOutsideMtus, eitherWay, type OutsideMtus } from './path-mtu-outside.ts';
import { type ChosenPlane, choosePlane } from './plane.ts';
import { type Choice, choose } from './plane-choice.ts';
import { openPort, type Port } from './port.ts';
import { createProbing, type Probing } from './probing.ts';
import { kernelOf } from './prospect.ts';
import { readConfig } from './read-config.ts';
import { socketRefused } from './refusals.ts';
import type { Log } from './report.ts';
import { createRevocation } from './revocation.ts';
import { createTraffic, type Traffic } from './status.ts';

/** What changes while the daemon runs. */
interface State {
  /** In use. */
  config: Config;
  /** Whether credentials on disk are others than those in use. */
  filesChanged: () => boolean;
  /** A size was found to pass that the machine does not keep to yet. */
  resized: boolean;
}

export interface Parts {
  file: string;
  log: Log;
  /** The folder that keys are written to. */
  exportKeys: string | undefined;
  choice: Choice;
  state: State;
  addon: Addon;
  native: Plane;
  machine: Machine;
  host: Host;
  links: Links;
  /** What the kernel's IPsec has for links, where it protects. */
  kind: LinkKind | undefined;
  port: Port;
  plane: ChosenPlane;
  core: Gateway;
  daemon: Daemon;
  probing: Probing;
  outside: OutsideMtus;
  pathMtus: ChildPathMtus;
  traffic: Traffic;
}

/** Throws ConfigRefused, HostError or AddonError; then nothing runs. */
export function joinParts(file: string, log: Log, exportKeys: string | undefined): Parts {
  const read = readConfig(file, log);
  const addon = loadAddon();
  const choice = choose(read, () => kernelOf(addon));
  const filesChanged = watchFiles(read.keyring.files);
  const state: State = { config: settled(read, choice), filesChanged, resized: false };
  const { dataplane, engine, addresses, routing } = state.config;
  const native = addon.create(engine.workers, engine.spin);
  const host = createHost(addon);
  const machine = thisMachine(addon);
  const kind = dataplane === 'xfrm' ? host.linkKind() : undefined;
  const health: Health = {};
  const links = createLinks({
    ...{ addon, plane: native, host, dataplane, kind, log },
    ...healthOf(health, addon),
  });
  links.apply(state.config, [state.config]);
  // Whoever wants the keys reads captures, and Wireshark takes a train of packets for one.
  const trains = exportKeys === undefined;
  const port = openPort(addon, native, addresses, routing.mark, dataplane === 'xfrm', trains);
  if ('failed' in port) throw socketRefused(machine, port.failed);
  const plane = choosePlane(dataplane, addon, native, routing.mark, kind);
  const provider = createNodeProvider();
  const core = createGateway({ provider, capabilities: plane.plane.capabilities });
  const keys = exportKeys === undefined ? undefined : createKeyExport(exportKeys);
  const lookSoon = () => links.lookSoon(() => state.config);
  const daemon = createDaemon({
    ...{ core, plane: plane.plane, clock: addon.bootTime, log },
    send: (action) => port.send(action),
    runJob: jobsOf(state, provider),
    told: lookSoon,
    usageInterval: () => usageInterval(state.config.tunnels),
    handled: () => port.know(core.takeSpiChanges()),
    watch(action) {
      if (keys) exported(keys, core, action);
      if (action.type !== 'send') lookSoon();
      if (isNewChild(action)) probing.hasten(action.tunnel, action.detail.child);
    },
  });
  const { probing, outside, pathMtus } = createWatchers(
    { addon, native, core, daemon, state, log },
    lookSoon,
  );
  Object.assign(health, { core, probing, pathMtus });
  return {
    ...{ file, log, exportKeys, choice, state, addon, native, machine, host, links, kind, port, plane },
    ...{ core, daemon, probing, outside, pathMtus, traffic: createTraffic() },
  };
}

/** Where the configuration leaves the data plane open it is the one that was chosen. */
export function settled(config: Config, { name }: Choice): Config {
  return config.automatic ? { ...config, dataplane: name } : config;
}

/** Who find out whether packets pass, and of what size; `lookSoon`: links follow what is found. */
function createWatchers(
  parts: Pick<Parts, 'addon' | 'native' | 'core' | 'daemon' | 'state' | 'log'>,
  lookSoon: () => void,
): Pick<Parts, 'probing' | 'outside' | 'pathMtus'> {
  const { addon, native, core, daemon, state, log } = parts;
  const resized = () => {
    state.resized = true;
  };
  const probing = createProbing({
    ...{ addon, plane: native, clock: addon.bootTime, upSince: core.carriedSince },
    log(told) {
      log(told);
      lookSoon();
    },
    silent: (tunnel) => daemon.feed({ type: 'silence', tunnel }),
    resized,
    kernelEsp: state.config.dataplane === 'xfrm',
    tooBig: (message) => tooBig({ ...parts, probing, outside }, message),
  });
  const outside = createOutsideMtus({
    ...{ clock: addon.bootTime, log, resized, measure: daemon.measure, probe: probing.of },
    ...{ upSince: core.carriedSince, roomInside: core.roomInside },
  });
  return { probing, outside, pathMtus: eitherWay(probing.pathMtus, outside) };
}

/** Not believed: whoever looks for sizes is told where to look. */
function tooBig(
  { state, addon, core, probing, outside }: Pick<Parts, 'state' | 'addon' | 'core' | 'probing' | 'outside'>,
  message: TooBig,
): void {
  const tunnel = core.senderOf(message);
  const children = state.config.tunnels.find(({ name }) => name === tunnel)?.children ?? [];
  if (tunnel === undefined) return;
  outside.hint(tunnel, message.mtu);
  for (const { name: child } of children) {
    const room = core.roomInside({ tunnel, child }, message.mtu);
    if (room) probing.pathMtus.hint(`${tunnel}/${child}`, room.mtu, addon.bootTime());
  }
}

/** Who knows how tunnels fare; nobody before all parts are there. */
interface Health {
  core?: Gateway;
  probing?: Probing;
  pathMtus?: ChildPathMtus;
}

function healthOf(health: Health, addon: Addon): Pick<LinksOptions, 'isTaken' | 'probe' | 'pathMtu'> {
  return {
    isTaken: (tunnel, child) => health.core?.isTaken(tunnel, child, addon.bootTime()) ?? false,
    probe: (policy) => health.probing?.of(policy, addon.bootTime()),
    pathMtu: (policy) => health.pathMtus?.limit(policy),
  };
}

function jobsOf(state: State, provider: Provider): ReturnType<typeof createJobs> {
  const fetches = {
    public: createFetch({ inside: 'refuse' }),
    anywhere: createFetch({ inside: 'allow' }),
  };
  const keyring = () => state.config.keyring;
  return createJobs({
    provider,
    keyExchanges: createKeyExchanges(),
    secret: (name) => keyring().secrets.get(name)?.(),
    key: (name) => keyring().keys.get(name)?.(),
    judge: createJudge({
      trust: (name) => keyring().trust.get(name)?.(),
      wallClock: Date.now,
      revocation: createRevocation({
        fetch: (wish) => fetches[state.config.fetchFrom](wish),
        now: Date.now,
      }),
    }),
  });
}

/** What is probed by it can be asked at once. */
function isNewChild(
  action: Action,
): action is Action & { type: 'report'; tunnel: string; detail: { child: string } } {
  return action.type === 'report' && action.code === 'CHILD_ESTABLISHED';
}

/** New keys show first where they are installed, or in the message that they protect. */
function exported(keys: KeyExport, core: Gateway, action: Action): void {
  if (action.type === 'dataplane') keys.esp(action.changes);
  if (action.type === 'send') keys.ike(core.sas());
}

// Joins the parts to a running gateway: configuration, host, data plane, core.

import { complaintText } from '../config/complaint.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { type Plan, planReload } from '../config/plan.ts';
import { createKeyExchanges } from '../crypto/node-key-exchange.ts';
import { createNodeProvider } from '../crypto/node-provider.ts';
import { askKernel, flushXfrm } from '../dataplane/xfrm.ts';
import { explainDrops } from '../dataplane/xfrm-statistics.ts';
import { createHost, HostError } from '../host/host.ts';
import { holderOf, type Machine, preflight, thisMachine } from '../host/preflight.ts';
import { OURS } from '../host/wanted.ts';
import type { Action, Command } from '../ike/boundary.ts';
import type { REPORTS, ReportCode } from '../ike/errors.ts';
import { createGateway, type Gateway } from '../ike/gateway.ts';
import { type Addon, AddonError, loadAddon } from '../native.ts';
import type { Capabilities, Snapshot } from '../policy/sad.ts';
import { familyOf } from '../wire/address.ts';
import { watchFiles } from './credential-files.ts';
import { createDaemon, usageInterval } from './daemon.ts';
import { createExpiryLog, endingsOf } from './expiry.ts';
import { createFetch } from './fetch.ts';
import { createJobs } from './jobs.ts';
import { createJudge } from './judge.ts';
import { createKeyExport, type KeyExport } from './key-export.ts';
import { createLinks, type Links, type LinksOptions } from './links.ts';
import { choosePlane } from './plane.ts';
import { type Choice, choose } from './plane-choice.ts';
import { IKE_PORT, NAT_PORT, openPort } from './port.ts';
import { createProbing } from './probing.ts';
import { type Proof, proofsOf } from './proofs.ts';
import { type Log, type Report, sentenceOf } from './report.ts';
import { createRevocation } from './revocation.ts';
import { createTraffic, type Status, statusOfTunnel } from './status.ts';

/** The file is refused; one line a complaint. */
export class ConfigRefused extends Error {
  readonly complaints: string[];
  constructor(complaints: string[]) {
    super(complaints.join('\n'));
    this.name = 'ConfigRefused';
    this.complaints = complaints;
  }
}

export interface Outcome {
  code: ReportCode;
  sentence: string;
}

export interface Running {
  command(command: Command, tunnel: string, child?: string): Promise<Outcome>;
  status(): Promise<Status>;
  /** By tunnel, where an IKE SA is established. */
  proofs(): Map<string, Proof>;
  snapshot(): Promise<Snapshot>;
  config(): Config;
  failures(): { ago: number; code: ReportCode; tunnel?: string; sentence: string; detail: object }[];
  /** Throws ConfigRefused, and then nothing has changed. */
  reload(options: { dryRun: boolean }): Plan[];
  /** Says goodbye to the peers. Guards and routes stay. */
  stop(): Promise<void>;
}

const GOODBYE = 2000;
const CREDENTIALS_INTERVAL = 60_000;

/** Throws ConfigRefused, HostError or AddonError; then nothing runs. */
export function runDaemon(file: string, log: Log, options: { exportKeys?: string } = {}): Running {
  const first = readConfig(file, log);
  const addon = loadAddon();
  const choice = choose(first, () => kernelOf(addon));
  const settled = (one: Config): Config => (one.automatic ? { ...one, dataplane: choice.name } : one);
  let config = settled(first);
  const plane = addon.create(config.engine.workers, config.engine.spin);
  const host = createHost(addon);
  const machine = thisMachine(addon);
  demandNothing(addon.openLink(plane, OURS.device, 0), 'HOST_TUN');
  const { dataplane } = config;
  const kind = dataplane === 'xfrm' ? host.linkKind() : undefined;
  const links = createLinks({
    ...{ addon, plane, host, dataplane, kind, log },
    upSince: (tunnel, child) => health?.upSince(tunnel, child),
    probe: (policy) => health?.probe(policy),
    pathMtu: (policy) => health?.pathMtu(policy),
  });
  let health: Pick<LinksOptions, 'upSince' | 'probe' | 'pathMtu'> | undefined;
  links.apply(config, [config]);
  // Whoever wants the keys reads captures, and Wireshark takes a train of packets for one.
  const trains = options.exportKeys === undefined;
  const port = openPort(addon, plane, config.addresses, OURS.mark, config.dataplane === 'xfrm', trains);
  if ('failed' in port) throw new HostError('HOST_SOCKET', explainSocket(machine, port.failed));
  const chosen = choosePlane(config.dataplane, addon, plane, kind);
  const provider = createNodeProvider();
  const core = createGateway({ provider, capabilities: chosen.plane.capabilities });
  const traffic = createTraffic();
  const exportKeys = options.exportKeys === undefined ? undefined : createKeyExport(options.exportKeys);
  const fetches = {
    public: createFetch({ inside: 'refuse' }),
    anywhere: createFetch({ inside: 'allow' }),
  };
  const daemon = createDaemon({
    core,
    plane: chosen.plane,
    send: (action) => port.send(action),
    runJob: createJobs({
      provider,
      keyExchanges: createKeyExchanges(),
      secret: (name) => config.keyring.secrets.get(name)?.(),
      key: (name) => config.keyring.keys.get(name)?.(),
      judge: createJudge({
        trust: (name) => config.keyring.trust.get(name)?.(),
        wallClock: Date.now,
        revocation: createRevocation({ fetch: (wish) => fetches[config.fetchFrom](wish), now: Date.now }),
      }),
    }),
    clock: addon.bootTime,
    log,
    usageInterval: () => usageInterval(config.tunnels),
    watch(action) {
      if (exportKeys) exported(exportKeys, core, action);
      if (action.type !== 'send') links.lookSoon(() => config);
    },
  });

  let resized = false;
  const probing = createProbing({
    addon,
    plane,
    clock: addon.bootTime,
    log(report) {
      log(report);
      links.lookSoon(() => config);
    },
    upSince: core.carriedSince,
    silent: (tunnel) => daemon.feed({ type: 'silence', tunnel }),
    resized: () => {
      resized = true;
    },
  });

  health = {
    upSince: core.carriedSince,
    probe: (policy) => probing.of(policy, addon.bootTime()),
    pathMtu: (policy) => probing.pathMtus.limit(policy),
  };
  addon.start(plane, () => {
    chosen.deliver();
    for (const datagram of port.take()) daemon.feed({ type: 'datagram', ...datagram });
    port.know(core.takeSpiChanges());
  });
  daemon.feed({
    type: 'configure',
    changes: config.tunnels.map((tunnel) => ({ type: 'set-tunnel', tunnel })),
  });
  void daemon.changed().then(chosen.settle);
  probing.configure(config.tunnels, host.addresses(), links.ceiling(config));
  port.know(core.takeSpiChanges());
  if (options.exportKeys !== undefined) report(log, 'KEYS_EXPORTED', { folder: options.exportKeys });
  report(log, 'DAEMON_READY', {
    name: config.name,
    addresses: config.addresses.join(', '),
    tunnels: config.tunnels.length,
  });
  report(log, 'DATAPLANE_CHOSEN', { name: choice.name, why: choice.why });
  for (const lost of choice.lost) report(log, 'HOST_FINDING', { ...lost });
  for (const finding of preflight(machine, familiesOf(config), [IKE_PORT, NAT_PORT], protocolsOf(config)))
    report(log, 'HOST_FINDING', { ...finding });

  async function status(): Promise<Status> {
    const snapshot = await daemon.refresh();
    traffic.update(snapshot);
    probing.look();
    const proofs = { traffic, probes: probing, pathMtus: probing.pathMtus };
    const now = addon.bootTime();
    const failures = core.failures();
    const stopped = host.stopped();
    const configured = new Map(config.tunnels.map((tunnel) => [tunnel.name, tunnel]));
    return {
      name: config.name,
      pid: process.pid,
      dataplane: config.dataplane,
      dataplaneWhy: choice.why,
      ...(options.exportKeys === undefined ? {} : { exportsKeys: options.exportKeys }),
      tunnels: core.tunnels().flatMap((view) => {
        const tunnel = configured.get(view.name);
        const failure = failures.findLast((one) => one.tunnel === view.name);
        if (!tunnel) return [];
        const link = links.of(tunnel, config);
        return [
          { ...statusOfTunnel(view, tunnel, proofs, failure, now), ...(link ? { interface: link } : {}) },
        ];
      }),
      certificates: endings(),
      drops: {
        ...Object.fromEntries(Object.entries(snapshot.drops).map(([name, count]) => [name, Number(count)])),
        ...core.drops(),
        'cleartext-out': Number(stopped.out),
        'cleartext-in': Number(stopped.in),
      },
      explained: config.dataplane === 'xfrm' ? explainDrops(snapshot.drops) : [],
    };
  }

  function reload({ dryRun }: { dryRun: boolean }): Plan[] {
    const next = settled(readConfig(file, log));
    if (next.addresses.join() !== config.addresses.join())
      throw new ConfigRefused([`${file}:1:1: gateway.address changed: restart the daemon to use it`]);
    if (next.dataplane !== config.dataplane)
      throw new ConfigRefused([`${file}:1:1: gateway.dataplane changed: restart the daemon to use it`]);
    if (JSON.stringify(next.engine) !== JSON.stringify(config.engine))
      throw new ConfigRefused([`${file}:1:1: gateway.engine changed: restart the daemon to use it`]);
    const plan = planReload(config, next);
    if (dryRun) return plan;
    applyOrRestore(links, config, next);
    const before = config;
    config = next;
    filesChanged = watchFiles(config.keyring.files);
    for (const { changes } of plan) daemon.feed({ type: 'configure', changes });
    links.apply(next, [next]);
    links.close(before, next);
    probing.configure(next.tunnels, host.addresses(), links.ceiling(next));
    for (const { tunnel, effect } of plan) {
      if (effect !== 'untouched') log({ code: 'CONFIG_RELOADED', tunnel, detail: { effect } });
      if (effect === 'rekey') void daemon.command('rekey', tunnel);
      if (effect === 'renewed') void daemon.command('reauthenticate', tunnel);
    }
    return plan;
  }

  let own = host.addresses();
  /** Counters for the status; an address that came or went, for the core and for the routes' sources; sizes that were found. */
  function sample(): void {
    traffic.update(daemon.snapshot());
    links.look(config);
    try {
      const now = host.addresses();
      const moved = now.join() !== own.join();
      if (!moved && !resized) return;
      own = now;
      resized = false;
      if (moved) daemon.feed({ type: 'addresses', local: now });
      links.apply(config, [config]);
      probing.configure(config.tunnels, now, links.ceiling(config));
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      report(log, 'HOST_REFUSED', { message: error.message });
    }
  }
  const sampling = setInterval(sample, 1000);

  const tellEndings = createExpiryLog(log);
  const endings = () => endingsOf(config, core.tunnels(), Date.now());
  let filesChanged = watchFiles(config.keyring.files);
  /** What ends is told; what was renewed on disk is taken, where nothing else would move. */
  function lookAfterCredentials(): void {
    tellEndings(endings());
    if (!filesChanged()) return;
    try {
      const moved = reload({ dryRun: true }).filter(({ effect }) => effect !== 'untouched');
      const others = moved.filter(({ effect }) => effect !== 'renewed').map(({ tunnel }) => tunnel);
      if (others.length > 0) throw new ConfigRefused(['more than that has changed: isthmus reload']);
      reload({ dryRun: false });
      report(log, 'CREDENTIALS_RENEWED', {});
    } catch (error) {
      if (!(error instanceof ConfigRefused || error instanceof HostError)) throw error;
      report(log, 'CREDENTIALS_REFUSED', { problem: error.message.replaceAll('\n', '; ') });
    }
  }
  tellEndings(endings());
  const caring = setInterval(lookAfterCredentials, CREDENTIALS_INTERVAL);

  return {
    async command(command, tunnel, child) {
      const code = await daemon.command(command, tunnel, child);
      const failure = core.failures().findLast((one) => one.tunnel === tunnel && one.code === code);
      return { code, sentence: sentenceOf({ code, ...(failure ? { detail: failure.detail } : {}) }) };
    },
    status,
    proofs: () => proofsOf(core.tunnels()),
    snapshot: () => daemon.refresh(),
    config: () => config,
    failures: () =>
      core.failures().map(({ at, code, tunnel, detail }) => ({
        ago: addon.bootTime() - at,
        code,
        ...(tunnel === undefined ? {} : { tunnel }),
        sentence: sentenceOf({ code, detail }),
        detail,
      })),
    reload,
    async stop() {
      clearInterval(sampling);
      clearInterval(caring);
      probing.stop();
      await daemon.stop(GOODBYE);
      links.stop(config);
      await chosen.plane.close();
      addon.stop(plane);
    },
  };
}

/** New keys show first where they are installed, or in the message that they protect. */
function exported(keys: KeyExport, core: Gateway, action: Action): void {
  if (action.type === 'dataplane') keys.esp(action.changes);
  if (action.type === 'send') keys.ike(core.sas());
}

/** What this machine would protect packets with, or why it cannot, or why that is not known. */
export interface Prospect {
  choice?: Choice;
  refused?: string;
  unknown?: string;
}

/** What the kernel can do, interfaces of tunnels included. Throws DataPlaneError where it cannot protect packets. */
function kernelOf(addon: Addon): Capabilities {
  return { ...askKernel(addon), links: createHost(addon).linkKind() !== undefined };
}

/** For a configuration that wants the kernel, or leaves the choice. Changes nothing. */
export function prospectOf(config: Config): Prospect | undefined {
  if (config.dataplane === 'engine' && !config.automatic) return undefined;
  try {
    const addon = loadAddon();
    return { choice: choose(config, () => kernelOf(addon)) };
  } catch (error) {
    if (error instanceof AddonError) return { unknown: error.message };
    if (!(error instanceof HostError)) throw error;
    return error.message.includes('CAP_NET_ADMIN') ? { unknown: error.message } : { refused: error.message };
  }
}

/** Removes everything of ours from this machine. How many objects that were. */
export function flushHost(): number {
  const addon = loadAddon();
  return flushXfrm(addon) + createHost(addon).flush();
}

function readConfig(file: string, log: Log): Config {
  const { config, complaints } = loadConfig(file);
  if (!config) throw new ConfigRefused(complaints.map(complaintText));
  for (const complaint of complaints) report(log, 'CONFIG_WARNING', { problem: complaintText(complaint) });
  return config;
}

/** The machine takes the new configuration beside the old one, or stays with the old one. */
function applyOrRestore(links: Links, config: Config, next: Config): void {
  try {
    links.apply(next, [config, next]);
  } catch (error) {
    links.apply(config, [config]);
    throw error instanceof HostError ? new ConfigRefused([error.message]) : error;
  }
}

function familiesOf({ tunnels }: Config): Set<4 | 6> {
  return new Set(
    tunnels.flatMap(({ children }) =>
      children.flatMap(({ selectors }) => selectors.local.map(({ start }) => familyOf(start))),
    ),
  );
}

function protocolsOf({ tunnels }: Config): Set<'esp' | 'ah'> {
  return new Set(tunnels.flatMap(({ children }) => children.map(({ protocol }) => protocol)));
}

function demandNothing(failed: string, code: string): void {
  if (failed === '') return;
  const fix = failed.includes('busy')
    ? 'another isthmus daemon runs here: isthmus status'
    : failed.includes('not permitted')
      ? 'run as root, or give CAP_NET_ADMIN'
      : 'load the driver: modprobe tun';
  throw new HostError(code, `${failed}; ${fix}`);
}

function explainSocket(machine: Machine, failed: string): string {
  const port = Number(/UDP port (\d+)/.exec(failed)?.[1] ?? 0);
  if (!failed.includes('in use')) return `${failed}${hintOf(failed)}`;
  const holder = holderOf(machine, port) ?? 'another process';
  return `${failed}: ${holder} holds it; stop the other IKE daemon first (systemctl stop strongswan ipsec)`;
}

function hintOf(failed: string): string {
  if (failed.includes('assign')) return ': gateway.address is not an address of this machine (ip address)';
  return failed.includes('ermission') || failed.includes('permitted')
    ? ': run as root, or give CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE'
    : '';
}

function report(log: Log, code: ReportCode & keyof typeof REPORTS, detail: Report['detail']): void {
  log({ code, ...(detail ? { detail } : {}) });
}

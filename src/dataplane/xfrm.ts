// The Linux kernel's IPsec behind the DataPlane interface: SAs and policies by netlink, events by its multicast groups.
// Own objects only: known by their reqids and by the journal.

import type { Addon, Plane } from '../native.ts';
import type { Capabilities, DataPlaneEvent, Instant, LinkKind } from '../policy/sad.ts';
import { WireError } from '../wire/codec.ts';
import { chunks } from '../wire/lists.ts';
import { NETLINK } from '../wire/netlink.ts';
import { decodeXfrm, deleteSa, XFRM_GROUPS } from '../wire/xfrm.ts';
import { type DataPlane, DataPlaneError } from './dataplane.ts';
import { applyChanges, subjectsOf } from './xfrm-changes.ts';
import { createRecovery, type Hearing, heard } from './xfrm-events.ts';
import { openJournal } from './xfrm-journal.ts';
import { createKernel, demand, ERRNO, findLeftovers, removePolicies, removeSas } from './xfrm-kernel.ts';
import { probe } from './xfrm-probe.ts';
import { createQueue } from './xfrm-queue.ts';
import { saId } from './xfrm-sa.ts';
import { installedSas, type Looks, readStanding, wholePolicies } from './xfrm-snapshot.ts';
import { dropsSince, kernelDrops } from './xfrm-statistics.ts';
import { dropLeftovers, forget, newTables, restate, stopUsing, type Tables } from './xfrm-tables.ts';
import { together, type Work } from './xfrm-work.ts';

export interface XfrmPlane extends DataPlane {
  /** Hands on what the kernel has to tell. */
  deliver(): void;
  /** All policies that are wanted have been added: what an earlier process left besides them goes. */
  settle(): Promise<void>;
}

export interface XfrmOptions {
  /** On what outbound SAs send. */
  mark: number;
  /** Milliseconds of CLOCK_BOOTTIME. */
  clock: () => Instant;
  /** What the host makes links of; undefined: policies have none. */
  links?: LinkKind;
  /** Of the journal. */
  folder?: string;
  /** Bytes of what the kernel tells that may wait for us; 0: as usual. */
  room?: number;
  /** Requests in one piece; missing: as many as fit. */
  batch?: number;
}

/**
 * `plane` is started and stopped by its owner. SAs that an earlier process left are removed; its policies go on guarding
 * until `settle`. Throws DataPlaneError where this kernel cannot do ESP.
 */
export function createXfrm(
  addon: Addon,
  plane: Plane,
  { mark, clock, links, folder, room = 0, batch }: XfrmOptions,
): XfrmPlane {
  const kernel = createKernel(addon, batch);
  const journal = openJournal(folder);
  const left = findLeftovers(kernel, journal);
  removeSas(kernel, left.sas);
  const failed = addon.listen(plane, NETLINK.XFRM, XFRM_GROUPS, room);
  if (failed !== '') throw new DataPlaneError('refused', failed);
  const capabilities = { ...probe(kernel), links: links !== undefined };
  const tables = newTables(kernel, journal, left.policies, links);
  const dropsBefore = kernelDrops();
  const looks: Looks = {};
  let overflows = 0n;
  const queue = createQueue(kernel);
  let listener: (event: DataPlaneEvent) => void = () => {};
  const hearing: Hearing = {
    tell: (event) => listener(event),
    follow: (policies) =>
      void queue
        .add(
          () => policies,
          () => restate(tables, ...policies),
        )
        .catch(() => {}),
  };

  const recover = createRecovery(tables, hearing);

  return {
    name: 'xfrm',
    capabilities,
    async apply(changes) {
      await queue.add(
        () => subjectsOf(tables, changes),
        () => applyChanges(tables, changes, mark),
      );
    },
    async snapshot() {
      const now = clock();
      await readStanding(tables, looks, now);
      const drops = dropsSince(dropsBefore);
      return {
        policies: await wholePolicies(tables),
        sas: await installedSas(tables, now),
        drops: overflows === 0n ? drops : { ...drops, 'events-lost': overflows },
      };
    },
    onEvent(next) {
      listener = next;
    },
    deliver() {
      const [messages, lost] = addon.heard(plane);
      const understood = told(tables, messages, hearing);
      if (!lost && understood) return;
      overflows++;
      recover();
    },
    settle: () => queue.add(everything, () => dropLeftovers(tables)),
    async close({ guards } = { guards: 'keep' }) {
      await queue.add(everything, () => leave(tables, guards));
    },
  };
}

/** What this kernel can do. Throws DataPlaneError with a sentence where it cannot protect packets at all. */
export function askKernel(addon: Addon): Capabilities {
  return probe(createKernel(addon));
}

/** Removes what an earlier process left in this network namespace. How many entries that were. */
export function flushXfrm(addon: Addon, folder?: string): number {
  const journal = openJournal(folder);
  if (journal.reqids.size === 0) return 0;
  const kernel = createKernel(addon);
  const { policies, sas } = findLeftovers(kernel, journal);
  removePolicies(kernel, policies);
  removeSas(kernel, sas);
  journal.clear();
  return policies.length + sas.length;
}

/** Whether all of the messages could be read. */
function told(tables: Tables, messages: Uint8Array, hearing: Hearing): boolean {
  try {
    for (const message of decodeXfrm(messages)) heard(tables, message, hearing);
    return true;
  } catch (error) {
    if (error instanceof WireError) return false;
    throw error;
  }
}

/** Policies, and SAs, at a time where many go. */
const PORTION = 32;

/** The SAs go. Policies that protect stay and drop, or go too. */
function* leave(tables: Tables, guards: 'keep' | 'remove'): Work {
  const sas = [...tables.sas.values()];
  yield* each(sas, (sa) => forget(tables, sa));
  yield* each([...tables.uses.keys()], (policy) => stopUsing(tables, policy));
  const policies = [...tables.policies];
  yield* each(policies, ([id, policy]) => {
    if (guards === 'keep') tables.policies.set(id, { ...policy, acquire: false });
    else tables.policies.delete(id);
  });
  for (const some of chunks(policies, PORTION)) yield* restate(tables, ...some.map(([id]) => id));
  if (guards === 'remove') yield* dropLeftovers(tables);
  for (const some of chunks(sas, PORTION))
    yield* together(some.map((sa) => demand(deleteSa(saId(sa)), 'SA', ERRNO.ESRCH)));
  if (guards === 'remove') tables.journal.clear();
}

/** With pauses for the event loop. */
function* each<T>(all: readonly T[], act: (one: T) => void): Work {
  for (const some of chunks(all, PORTION)) {
    some.forEach(act);
    yield [];
  }
}

const everything = () => undefined;

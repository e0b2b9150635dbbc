// Packets that the kernel's XFRM dropped in this network namespace, by cause, and what each cause means
// (Documentation/networking/xfrm_proc.rst; where it is silent, net/xfrm/xfrm_input.c, xfrm_output.c and xfrm_policy.c).

import { readFileSync } from 'node:fs';

const FILE = '/proc/self/net/xfrm_stat';

/** One counter of the kernel. */
interface Cause {
  kernel: string;
  /** Ours; the kernel's where we have none. */
  name: string;
  /** Whose fault it is, most of the time. */
  fault: 'peer' | 'network' | 'host' | 'nobody';
  meaning: string;
  advice: string;
}

const CAUSES: readonly Cause[] = [
  row(
    'XfrmInError',
    '',
    'host',
    'a packet came in that fits no other counter',
    'look at the kernel log: dmesg',
  ),
  row(
    'XfrmInBufferError',
    '',
    'host',
    'the kernel had no memory for a packet that came in',
    'look at free memory',
  ),
  row(
    'XfrmInHdrError',
    'inbound-malformed',
    'peer',
    'the ESP or AH header, or the padding, of a packet is broken',
    'see whether both sides mean the same algorithms; a capture shows the packet',
  ),
  row(
    'XfrmInNoStates',
    'inbound-unknown-spi',
    'peer',
    'the peer sends with an SPI that no SA here has',
    'a few after a rekey are normal; where it goes on, the peer holds an SA that is gone here: isthmus rekey',
  ),
  row(
    'XfrmInStateProtoError',
    'inbound-authentication',
    'network',
    'the integrity check failed: the packet was changed on its way, forged, or made with another key',
    'a few are damage on the path; many mean other keys or another truncation at the peer: isthmus rekey',
  ),
  row(
    'XfrmInStateModeError',
    '',
    'peer',
    'the packet inside is none of the mode of its SA (tunnel or transport)',
    'see that both sides have the same mode',
  ),
  row(
    'XfrmInStateSeqError',
    'inbound-replay',
    'network',
    'a packet came twice, or later than the replay window reaches',
    'a path that reorders much wants a larger replay-window; copies of packets are an attack or a broken network',
  ),
  row(
    'XfrmInStateExpired',
    'inbound-lifetime',
    'peer',
    'packets came for an SA whose hard limit is reached',
    'the peer rekeys too late: give it a shorter lifetime than here',
  ),
  row(
    'XfrmInStateMismatch',
    'inbound-selector',
    'peer',
    'the packet inside is none that its SA may carry, or came with UDP where its SA has none',
    'compare the networks of both sides: isthmus status',
  ),
  row(
    'XfrmInStateInvalid',
    '',
    'nobody',
    'packets came for an SA that was just being removed',
    'nothing: a few at each rekey are normal',
  ),
  row(
    'XfrmInTmplMismatch',
    'inbound-no-sa',
    'peer',
    'a packet of protected networks came in the clear, or by an SA of another tunnel',
    'see why the peer sends it without its tunnel; it was dropped',
  ),
  row(
    'XfrmInNoPols',
    'inbound-no-policy',
    'host',
    'a packet came out of an SA, and no policy wants it',
    'another program may have removed a policy: ip xfrm policy; isthmus reload puts ours back',
  ),
  row(
    'XfrmInPolBlock',
    'inbound-discard-policy',
    'network',
    'a packet of protected networks came in the clear, while its tunnel has no SA',
    'nothing, where the tunnel is down: the guard does its work; else see why the peer sends it in the clear',
  ),
  row(
    'XfrmInPolError',
    '',
    'host',
    'a policy could not be asked about a packet that came in',
    'look at the kernel log: dmesg',
  ),
  row(
    'XfrmInStateDirError',
    '',
    'host',
    'a packet came in for an SA that is for outbound packets only',
    'another program has an SA with this SPI: ip xfrm state',
  ),
  row(
    'XfrmInIptfsError',
    '',
    'peer',
    'a packet of aggregated traffic (RFC 9347) is broken',
    'switch IP-TFS off at the peer',
  ),
  row(
    'XfrmFwdHdrError',
    '',
    'host',
    'a packet that is passed on has headers that cannot be read',
    'a capture shows the packet',
  ),
  row(
    'XfrmOutError',
    '',
    'host',
    'a packet could not be sent for a reason that fits no other counter',
    'look at the kernel log: dmesg',
  ),
  row(
    'XfrmOutBundleGenError',
    '',
    'host',
    'no way could be found to the peer of a tunnel',
    'see that there is a route to the peer: ip route get PEER',
  ),
  row(
    'XfrmOutBundleCheckError',
    '',
    'host',
    'the way to the peer of a tunnel was no longer valid when a packet was sent',
    'a few while routes change are normal; else see the route: ip route get PEER',
  ),
  row(
    'XfrmOutNoStates',
    'outbound-no-sa',
    'nobody',
    'packets wanted out while their tunnel had no SA; the kernel drops them where the engine holds them',
    'nothing at the start of a tunnel; else isthmus status says why it does not come up',
  ),
  row(
    'XfrmOutStateProtoError',
    '',
    'host',
    'encryption failed, or the cipher had no room left in its queue',
    'see that the modules of the algorithm are loaded, and the load of a crypto device',
  ),
  row(
    'XfrmOutStateModeError',
    '',
    'host',
    'a packet is too large for its way, or of a family that its SA does not carry',
    'hosts that do not hear "too big" need a smaller MTU; isthmus status has the size',
  ),
  row(
    'XfrmOutStateSeqError',
    'outbound-sequence',
    'host',
    'an SA has used up its sequence numbers',
    'it should have been rekeyed long before: isthmus rekey, and write esn into the suite',
  ),
  row(
    'XfrmOutStateExpired',
    'outbound-lifetime',
    'peer',
    'an SA reached its hard limit before its successor was there',
    'see why the rekey does not succeed: isthmus status',
  ),
  row(
    'XfrmOutPolBlock',
    'outbound-discard-policy',
    'nobody',
    'a packet of protected networks wanted out while its tunnel has no SA, or by a policy that discards',
    'nothing, where the tunnel is down: the guard does its work',
  ),
  row(
    'XfrmOutPolDead',
    '',
    'nobody',
    'a packet met a policy that was just being removed',
    'nothing: a few at each change are normal',
  ),
  row(
    'XfrmOutPolError',
    '',
    'host',
    'a policy could not be asked about a packet that goes out',
    'look at the kernel log: dmesg',
  ),
  row(
    'XfrmOutStateInvalid',
    '',
    'nobody',
    'a packet met an SA that was just being removed',
    'nothing: a few at each rekey are normal',
  ),
  row(
    'XfrmOutStateDirError',
    '',
    'host',
    'a packet went out to an SA that is for inbound packets only',
    'another program has an SA with this SPI: ip xfrm state',
  ),
  row(
    'XfrmOutNoQueueSpace',
    '',
    'host',
    'the queue of aggregated traffic (RFC 9347) was full',
    'another program uses IP-TFS here: ip xfrm state',
  ),
  row(
    'XfrmAcquireError',
    '',
    'peer',
    'a packet found an SA that is still being negotiated, or the question for one could not be asked',
    'a peer that sends before the negotiation has ended makes a few; where it goes on: isthmus status',
  ),
];

function row(kernel: string, name: string, fault: Cause['fault'], meaning: string, advice: string): Cause {
  return { kernel, name: name || kernel, fault, meaning, advice };
}

const BY_KERNEL = new Map(CAUSES.map((cause) => [cause.kernel, cause]));
const BY_NAME = new Map(CAUSES.map((cause) => [cause.name, cause]));

/** A counter that rose, with what it means. */
export interface Explained extends Cause {
  count: number;
}

/** Those of the drops that the kernel counts and that are known here; a kernel may have others. */
export function explainDrops(drops: Readonly<Record<string, bigint>>): Explained[] {
  return Object.entries(drops).flatMap(([name, count]) => {
    const cause = BY_NAME.get(name);
    return cause ? [{ ...cause, count: Number(count) }] : [];
  });
}

/** Causes that never happened are left out. Without statistics in the kernel there is nothing. */
export function kernelDrops(file = FILE): Record<string, bigint> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return {};
  }
  const rows = text.split('\n').flatMap((line): [string, bigint][] => {
    const [, name, count] = /^(\w+)\s+(\d+)$/.exec(line.trim()) ?? [];
    return name === undefined ? [] : [[BY_KERNEL.get(name)?.name ?? name, BigInt(count!)]];
  });
  return Object.fromEntries(rows.filter(([, count]) => count > 0n));
}

/** What came since `before`. */
export function dropsSince(before: Record<string, bigint>, file = FILE): Record<string, bigint> {
  const rows = Object.entries(kernelDrops(file)).map(
    ([name, count]) => [name, count - (before[name] ?? 0n)] as const,
  );
  return Object.fromEntries(rows.filter(([, count]) => count > 0n));
}

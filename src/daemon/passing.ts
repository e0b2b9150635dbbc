// Whether packets pass through a child: what proves it, and where to look when nothing does.

import type { ProbeStatus } from './probes.ts';
import type { ChildStatus, Flow } from './status.ts';

/** All that is known. Ages are milliseconds. */
export interface ChildProof {
  into: Flow;
  out: Flow;
  local: readonly string[];
  probe?: ProbeStatus;
  /** Since the tunnel is up: what came before proves nothing of now. */
  up: number;
  /** Since the peer was last heard. */
  heard: number;
  /** Transmissions of an IKE request that should have been answered by now. */
  unanswered?: number;
}

/** Packets that came so lately say that the peer lives, whatever becomes of IKE. */
const RECENT = 3000;

type Verdict = { state: ChildStatus['state']; why?: string };

export function whyNotPassing(proof: ChildProof): Verdict {
  const { probe } = proof;
  if (proof.unanswered !== undefined && proof.heard > RECENT)
    return {
      state: 'degraded',
      why: `the other gateway has left ${proof.unanswered} transmissions unanswered, and nothing has come from it for ${seconds(proof.heard)}: it is down, or the network in between is`,
    };
  if (probe?.verdict === 'answered') return { state: 'passing' };
  if (probe?.verdict === 'lost') return unanswered(proof, probe);
  const came = isSince(proof.into, proof.up);
  const went = isSince(proof.out, proof.up);
  if (came && went) return { state: 'passing' };
  // A probe is on its way, and alone that proves nothing yet.
  if (went && !came && probe?.verdict === 'waiting' && probe.sent > 0)
    return { state: 'negotiated', why: `${probe.to} is being probed: its first answer is due` };
  if (came || went) return { state: 'degraded', why: came ? NOTHING_GOES : NOTHING_COMES };
  return { state: 'negotiated', why: nothingYet(proof) };
}

const NOTHING_COMES =
  'we send, and nothing comes back: look for a firewall or a missing route on the other side';
const NOTHING_GOES = 'packets come in, and none of ours goes out: look for a missing route on this side';

function isSince({ age }: Flow, up: number): boolean {
  return age !== undefined && age <= up;
}

function nothingYet({ probe, local }: ChildProof): string {
  const nothing = 'no packet has come through yet';
  if (!probe)
    return `${nothing}: send one from behind a gateway, or let the gateway do it, with probe: { to: ADDRESS }`;
  if (probe.from !== undefined) return `${probe.to} will be probed`;
  return probe.lacks === undefined
    ? `${nothing}, and this gateway has no address inside ${local.join(', ')} to probe ${probe.to} from: give it one`
    : `${nothing}, and ${probe.lacks}, to probe ${probe.to} from, is no address of this gateway: give it that, or change probe.from`;
}

/** The probe is not answered: what else came in since says on which side to look. */
function unanswered({ into, heard, up }: ChildProof, { to, age, every }: ProbeStatus): Verdict {
  const silence =
    age === undefined ? `${to} has never answered` : `${to} has not answered for ${seconds(age)}`;
  if (isSince(into, up) && (age === undefined || into.age! + every < age))
    return {
      state: 'degraded',
      why: `${silence}, while packets come in: either it is down, or what we send does not arrive on the other side`,
    };
  const where =
    heard + every < (age ?? up)
      ? 'the other gateway has spoken since, so look behind it: whether it lets our packets in, routes them, and has a way back'
      : 'nothing else has come from the other gateway since: look at it, and at the network in between';
  return { state: age === undefined ? 'negotiated' : 'degraded', why: `${silence}; ${where}` };
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 1 : 0)} s`;
}

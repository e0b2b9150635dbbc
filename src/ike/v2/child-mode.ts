// What a child is beside its algorithms and selectors: ESP or AH, tunnel or transport mode, padded or not (RFC 7296 §1.3.1).

import { wireProtocol } from '../../policy/proposal.ts';
import type { ChildTemplate, Tunnel } from '../../policy/tunnel.ts';
import { findNotify, findPayload, type Payload } from '../../wire/ikev2.ts';
import { NOTIFY, PAYLOAD } from '../../wire/numbers.ts';
import { type Context, report } from '../context.ts';
import type { ReportCode } from '../errors.ts';
import type { ChildSa, IkeSa } from '../sa.ts';
import { notifyPayload } from './payloads.ts';

/** What asks for the mode, and accepts it. Tunnel mode is what is meant where nothing is said. */
export function modePayloads({ mode }: ChildTemplate): Payload[] {
  return mode === 'transport' ? [notifyPayload(NOTIFY.USE_TRANSPORT_MODE)] : [];
}

export function modeOf(payloads: readonly Payload[]): ChildTemplate['mode'] {
  return findNotify(payloads, NOTIFY.USE_TRANSPORT_MODE) ? 'transport' : 'tunnel';
}

/** Whoever sends it takes no padded packets; in the other direction they may go on (RFC 7296 §1.3.1). */
export function refusesPadding(payloads: readonly Payload[]): boolean {
  return findNotify(payloads, NOTIFY.ESP_TFC_PADDING_NOT_SUPPORTED) !== undefined;
}

/** Whether a request may mean this child. */
export function isAskedFor({ protocol, mode }: ChildTemplate, payloads: readonly Payload[]): boolean {
  const proposals = findPayload(payloads, PAYLOAD.SA)?.proposals ?? [];
  return proposals.some((one) => one.protocol === wireProtocol(protocol)) && mode === modeOf(payloads);
}

/**
 * Proposals of one number and several protocols: IKEv1 asked so for one within the other (RFC 2408 §4.2). In IKEv2 every
 * proposal has a number and a protocol of its own (RFC 7296 §3.3).
 */
export function isBundle(payloads: readonly Payload[]): boolean {
  const proposals = findPayload(payloads, PAYLOAD.SA)?.proposals ?? [];
  return proposals.some((one) =>
    proposals.some(({ number, protocol }) => number === one.number && protocol !== one.protocol),
  );
}

type Refusal = [ReportCode, Record<string, unknown>];

/** Why the child cannot be where the IKE SA is, or nothing: AH covers the addresses that a NAT changes (RFC 3715 §2.1). */
export function natInTheWay({ nat, remote }: IkeSa, template: ChildTemplate): Refusal | undefined {
  if (template.protocol === 'esp' || (!nat.local && !nat.remote)) return undefined;
  const who = !nat.remote
    ? 'this gateway is'
    : !nat.local
      ? `${remote.address} is`
      : `this gateway and ${remote.address} are`;
  return ['CONFIG_AH_NAT', { remote: remote.address, child: template.name, who }];
}

/** Why no child that is wanted can be, or nothing. */
export function natInEveryWay(context: Context, sa: IkeSa, { name, children }: Tunnel): Refusal | undefined {
  const { down = [] } = context.tunnels.get(name)!;
  const wanted = children.filter((child) => !down.includes(child.name));
  const refusals = (wanted.length > 0 ? wanted : children).map((child) => natInTheWay(sa, child));
  return refusals.includes(undefined) ? undefined : refusals[0];
}

/** A responder that would rather have tunnel mode says so by its silence; the initiator may not like it (RFC 7296 §1.3.1). */
export function noteMode(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  template: ChildTemplate,
  payloads: readonly Payload[],
): void {
  if (template.mode === 'transport' || modeOf(payloads) === 'tunnel') return;
  const detail = { remote: sa.remote.address, child: template.name };
  report(context, 'PEER_TRANSPORT_ASKED', tunnel.name, detail);
}

/** A child that is configured to be padded, and is not. */
export function notePadding(context: Context, sa: IkeSa, tunnel: string, { name, unpadded }: ChildSa): void {
  if (unpadded) report(context, 'CHILD_UNPADDED', tunnel, { remote: sa.remote.address, child: name });
}

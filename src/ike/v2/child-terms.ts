// What a child may be: the peer's request against our policy, its answer against our request (RFC 7296 §2.7, §2.9).

import { type ChosenSuite, choose, proposalText, templateText } from '../../policy/proposal.ts';
import type { SelectorSet } from '../../policy/sad.ts';
import { narrow } from '../../policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../../policy/tunnel.ts';
import { findPayload, type Payload, type Proposal } from '../../wire/ikev2.ts';
import { NOTIFY, nameOf, PAYLOAD, PROTOCOL } from '../../wire/numbers.ts';
import { createLater, fitting, fromWire, narrowTo, selectorsText } from '../child.ts';
import { type Context, reportFailure } from '../context.ts';
import type { ReportCode } from '../errors.ts';
import type { IkeSa } from '../sa.ts';
import { upDone } from '../tunnels.ts';
import { notifyPayload, spiNumber } from './payloads.ts';

/** What the responder chose must lie within what we asked for. */
export function answeredSelectors(payloads: Payload[], asked: SelectorSet): SelectorSet | undefined {
  const [tsi, tsr] = [findPayload(payloads, PAYLOAD.TSi), findPayload(payloads, PAYLOAD.TSr)];
  if (!tsi || !tsr) return undefined;
  const answer = { local: fromWire(tsi.selectors), remote: fromWire(tsr.selectors) };
  const local = narrow(answer.local, asked.local);
  const remote = narrow(answer.remote, asked.remote);
  return local.length > 0 && remote.length > 0 ? { local, remote } : undefined;
}

/** After so long a refused child is asked for again, and one whose time had not come. */
const REFUSED = 60_000;
const BUSY = 1000;

/** Reported, and asked for again later; returns what the report says. */
export function childRefused(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  child: string,
  notify: number | undefined,
): ReportCode {
  if (sa.state.name === 'established')
    createLater(context, sa.state, child, notify === NOTIFY.TEMPORARY_FAILURE ? BUSY : REFUSED);
  const template = tunnel.children.find(({ name }) => name === child);
  const [code, detail] = refusal(child, template, notify);
  reportFailure(context, code, tunnel.name, { remote: sa.remote.address, ...detail });
  upDone(context, tunnel.name, code);
  return code;
}

/** `template` is missing where the configuration lost the child meanwhile. */
function refusal(
  child: string,
  template: ChildTemplate | undefined,
  notify: number | undefined,
): [ReportCode, Record<string, unknown>] {
  if (template && notify === NOTIFY.NO_PROPOSAL_CHOSEN) {
    const configured = template.proposals.map(templateText).join(' or ');
    return ['PEER_REFUSED_PROPOSAL', { what: `child ${child}`, configured }];
  }
  if (template && notify === NOTIFY.TS_UNACCEPTABLE) {
    const configured = selectorsText(template.selectors);
    return ['PEER_TS_UNACCEPTABLE', { child, offered: 'something else', configured }];
  }
  // RFC 7296 §2.9: it wants them one by one.
  if (template && notify === NOTIFY.SINGLE_PAIR_REQUIRED)
    return ['PEER_SINGLE_PAIR', { child, configured: selectorsText(template.selectors) }];
  const text =
    notify === undefined ? 'an answer that does not fit what we asked for' : nameOf(NOTIFY, notify);
  return ['PEER_ERROR', { exchange: `the request for child ${child}`, notify: text }];
}

interface AcceptedChild {
  template: ChildTemplate;
  chosen: { suite: ChosenSuite; proposal: Proposal };
  selectors: SelectorSet;
  spiOut: number;
  /** What the answer adds. */
  more: Payload[];
}

/** RFC 7296 §2.9: other children of the tunnel would take what this one leaves of the request. */
function othersPossible({ children }: Tunnel, template: ChildTemplate, asked: SelectorSet): Payload[] {
  const others = fitting(children, asked).filter((other) => other.template !== template);
  return others.length > 0 ? [notifyPayload(NOTIFY.ADDITIONAL_TS_POSSIBLE)] : [];
}

/** What the peer's request for a child becomes, or the notify that refuses it. `rekeyed`: the child that it is to replace. */
export function acceptChild(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  payloads: Payload[],
  keyExchange: boolean,
  rekeyed?: string,
): AcceptedChild | { refusal: number } {
  const [saPayload, tsi, tsr] = [
    findPayload(payloads, PAYLOAD.SA),
    findPayload(payloads, PAYLOAD.TSi),
    findPayload(payloads, PAYLOAD.TSr),
  ];
  if (!saPayload || !tsi || !tsr) return { refusal: NOTIFY.INVALID_SYNTAX };
  const remote = sa.remote.address;
  const asked = { local: fromWire(tsr.selectors), remote: fromWire(tsi.selectors) };
  const same = tunnel.children.filter(({ name }) => name === rekeyed);
  const narrowed = narrowTo(same, asked) ?? narrowTo(tunnel.children, asked);
  if (!narrowed) {
    const configured = tunnel.children.map((child) => selectorsText(child.selectors)).join(' or ');
    const child = tunnel.children.map(({ name }) => name).join(' or ');
    reportFailure(context, 'PEER_TS_UNACCEPTABLE', tunnel.name, {
      remote,
      child,
      offered: selectorsText(asked),
      configured,
    });
    return { refusal: NOTIFY.TS_UNACCEPTABLE };
  }
  const { template, selectors } = narrowed;
  const chosen = choose(template.proposals, saPayload.proposals, PROTOCOL.ESP, {
    keyExchange,
  });
  const spiOut = chosen && spiNumber(chosen.proposal.spi);
  if (!chosen || !spiOut) {
    const offered = saPayload.proposals.map(proposalText).join(' or ');
    const configured = template.proposals.map(templateText).join(' or ');
    reportFailure(context, 'PEER_NO_PROPOSAL', tunnel.name, {
      remote,
      what: `child ${template.name}`,
      offered,
      configured,
    });
    return { refusal: NOTIFY.NO_PROPOSAL_CHOSEN };
  }
  return { template, chosen, selectors, spiOut, more: othersPossible(tunnel, template, asked) };
}

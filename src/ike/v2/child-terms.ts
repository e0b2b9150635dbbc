// What a child may be: the peer's request against our policy, its answer against our request (RFC 7296 §2.7, §2.9).

import { type ChosenSuite, choose, proposalText, templateText, wireProtocol } from '../../policy/proposal.ts';
import type { SelectorSet } from '../../policy/sad.ts';
import { narrow } from '../../policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../../policy/tunnel.ts';
import { findPayload, type Payload, type Proposal } from '../../wire/ikev2.ts';
import { NOTIFY, nameOf, PAYLOAD } from '../../wire/numbers.ts';
import { createLater, fitting, fromWire, narrowTo, type Offered, selectorsText } from '../child.ts';
import { type Context, reportFailure } from '../context.ts';
import type { ReportCode } from '../errors.ts';
import type { IkeSa } from '../sa.ts';
import { upDone } from '../tunnels.ts';
import { isAskedFor, isBundle, modeOf, modePayloads, natInTheWay } from './child-mode.ts';
import { type Seen, seenHere } from './nat-selectors.ts';
import { notifyPayload, spiNumber } from './payloads.ts';

/** What the responder chose must lie within what we asked for, once both mean the same addresses. */
export function answeredSelectors(sa: IkeSa, payloads: Payload[], asked: SelectorSet): Seen | undefined {
  const [tsi, tsr] = [findPayload(payloads, PAYLOAD.TSi), findPayload(payloads, PAYLOAD.TSr)];
  if (!tsi || !tsr) return undefined;
  const answer = { local: fromWire(tsi.selectors), remote: fromWire(tsr.selectors) };
  const { selectors, ...more } =
    modeOf(payloads) === 'transport' ? seenHere(sa, answer) : { selectors: answer };
  const local = narrow(selectors.local, asked.local);
  const remote = narrow(selectors.remote, asked.remote);
  return local.length > 0 && remote.length > 0 ? { selectors: { local, remote }, ...more } : undefined;
}

/** After so long a refused child is asked for again, and one whose time had not come. */
const REFUSED = 60_000;
const BUSY = 1000;

/** Reported, and asked for again later; returns what the report says. `mode`: of an answer that came without an error. */
export function childRefused(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  child: string,
  notify: number | undefined,
  mode?: ChildTemplate['mode'],
): ReportCode {
  const template = tunnel.children.find(({ name }) => name === child);
  const isDeclined = template?.mode === 'transport' && mode === 'tunnel' && notify === undefined;
  const refused: Refusal = isDeclined
    ? ['PEER_TRANSPORT_DECLINED', { child }]
    : refusal(child, template, notify);
  return refuseChild(
    context,
    sa,
    tunnel,
    child,
    refused,
    notify === NOTIFY.TEMPORARY_FAILURE ? BUSY : REFUSED,
  );
}

type Refusal = [ReportCode, Record<string, unknown>];

/** For the reason given; it is tried again `after` so long. */
export function refuseChild(
  context: Context,
  sa: IkeSa,
  tunnel: Tunnel,
  child: string,
  [code, detail]: Refusal,
  after: number = REFUSED,
): ReportCode {
  if (sa.state.name === 'established') createLater(context, sa.state, child, after);
  reportFailure(context, code, tunnel.name, { remote: sa.remote.address, ...detail });
  upDone(context, tunnel.name, code);
  return code;
}

/** `template` is missing where the configuration lost the child meanwhile. */
function refusal(child: string, template: ChildTemplate | undefined, notify: number | undefined): Refusal {
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
  /** What of the request the child takes. */
  seen: Seen;
  spiOut: number;
  /** What the answer adds. */
  more: Payload[];
}

/** RFC 7296 §2.9: other children of the tunnel would take what this one leaves of the request. */
function othersPossible({ children }: Tunnel, template: ChildTemplate, asked: Offered): Payload[] {
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
  const asked = { local: fromWire(tsr.selectors), remote: fromWire(tsi.selectors) };
  const seen = seenHere(sa, asked);
  const offered = { tunnel: asked, transport: seen.selectors };
  const narrowed = meantChild(tunnel, offered, payloads, rekeyed);
  if (!narrowed) {
    reportFailure(context, 'PEER_TS_UNACCEPTABLE', tunnel.name, {
      remote: sa.remote.address,
      child: tunnel.children.map(({ name }) => name).join(' or '),
      offered: selectorsText(offered[modeOf(payloads)]),
      configured: tunnel.children.map((child) => selectorsText(child.selectors)).join(' or '),
    });
    return { refusal: NOTIFY.TS_UNACCEPTABLE };
  }
  const { template, selectors } = narrowed;
  const protocol = wireProtocol(template.protocol);
  const chosen = choose(template.proposals, saPayload.proposals, protocol, { keyExchange });
  const spiOut = chosen && spiNumber(chosen.proposal.spi);
  const unfit = whyNot(sa, template, payloads);
  if (unfit || !chosen || !spiOut) {
    const [code, detail] = unfit ?? noProposal(template, saPayload.proposals);
    reportFailure(context, code, tunnel.name, { remote: sa.remote.address, ...detail });
    return { refusal: NOTIFY.NO_PROPOSAL_CHOSEN };
  }
  if (context.sas.hasOutbound(spiOut)) {
    const detail = { remote: sa.remote.address, child: template.name };
    reportFailure(context, 'PEER_SPI_IN_USE', tunnel.name, detail);
    return { refusal: NOTIFY.TEMPORARY_FAILURE };
  }
  const more = [...modePayloads(template), ...othersPossible(tunnel, template, offered)];
  return {
    template,
    chosen,
    // Tunnel mode does not depend on the addresses outside.
    seen: template.mode === 'transport' ? { ...seen, selectors } : { selectors },
    spiOut,
    more,
  };
}

/** The child that the selectors mean, rather one of the protocol and the mode that are asked for. */
function meantChild(
  { children }: Tunnel,
  asked: Offered,
  payloads: readonly Payload[],
  rekeyed: string | undefined,
): ReturnType<typeof narrowTo> {
  const same = children.filter(({ name }) => name === rekeyed);
  const meant = children.filter((child) => isAskedFor(child, payloads));
  return narrowTo(same, asked) ?? narrowTo(meant, asked) ?? narrowTo(children, asked);
}

function noProposal({ name, proposals }: ChildTemplate, theirs: readonly Proposal[]): Refusal {
  const offered = theirs.map(proposalText).join(' or ');
  const configured = proposals.map(templateText).join(' or ');
  return ['PEER_NO_PROPOSAL', { what: `child ${name}`, offered, configured }];
}

/** What is wrong with a request for this child, whatever its algorithms and selectors are. */
function whyNot(sa: IkeSa, template: ChildTemplate, payloads: readonly Payload[]): Refusal | undefined {
  const child = template.name;
  if (isBundle(payloads)) return ['PEER_BUNDLE', { child }];
  if (template.mode === 'transport' && modeOf(payloads) === 'tunnel') return ['PEER_TUNNEL_ASKED', { child }];
  return natInTheWay(sa, template);
}

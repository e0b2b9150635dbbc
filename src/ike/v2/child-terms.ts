// What a child may be: the peer's request against our policy, its answer against our request (RFC 7296 §2.7, §2.9).

import { type ChosenSuite, choose, proposalText, templateText, wireProtocol } from '../../policy/proposal.ts';
import type { SelectorSet } from '../../policy/sad.ts';
import { narrow } from '../../policy/selector.ts';
import type { ChildTemplate, Tunnel } from '../../policy/tunnel.ts';
import { findPayload, type Payload, type Proposal } from '../../wire/ikev2.ts';
import { NOTIFY, nameOf, PAYLOAD } from '../../wire/numbers.ts';
import { createLater, fitting, fromWire, narrowTo, selectorsText } from '../child.ts';
import { type Context, reportFailure } from '../context.ts';
import type { ReportCode } from '../errors.ts';
import type { IkeSa } from '../sa.ts';
import { upDone } from '../tunnels.ts';
import { isAskedFor, isBundle, modeOf, modePayloads, natInTheWay } from './child-mode.ts';
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
  const meant = tunnel.children.filter((child) => isAskedFor(child, payloads));
  const narrowed = narrowTo(same, asked) ?? narrowTo(meant, asked) ?? narrowTo(tunnel.children, asked);
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
  const unfit = whyNot(sa, template, payloads);
  if (unfit) {
    reportFailure(context, unfit[0], tunnel.name, { remote, ...unfit[1] });
    return { refusal: NOTIFY.NO_PROPOSAL_CHOSEN };
  }
  const protocol = wireProtocol(template.protocol);
  const chosen = choose(template.proposals, saPayload.proposals, protocol, { keyExchange });
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
  const more = [...modePayloads(template), ...othersPossible(tunnel, template, asked)];
  return { template, chosen, selectors, spiOut, more };
}

/** What is wrong with a request for this child, whatever its algorithms and selectors are. */
function whyNot(sa: IkeSa, template: ChildTemplate, payloads: readonly Payload[]): Refusal | undefined {
  const child = template.name;
  if (isBundle(payloads)) return ['PEER_BUNDLE', { child }];
  if (template.mode === 'transport' && modeOf(payloads) === 'tunnel') return ['PEER_TUNNEL_ASKED', { child }];
  return natInTheWay(sa, template);
}

// What we asked for with CREATE_CHILD_SA and get: the new child, the new IKE SA, and which of two stands where both sides made one.

import { type ChosenSuite, childProtocol } from '../../policy/proposal.ts';
import { findPayload, type Payload } from '../../wire/ikev2.ts';
import { PAYLOAD } from '../../wire/numbers.ts';
import type { Failure } from '../boundary.ts';
import { childBySpi, dropChild, makeChild, reportChild, retryRekey, useChild } from '../child.ts';
import { type Context, commandDone, install, onlyDelete, reportFailure } from '../context.ts';
import { endReplaced, expectDelete, inherit, newIkeSa } from '../heir.ts';
import { noteRefused, noteRekeyed, planRehearsal } from '../rehearsal.ts';
import type { ChildSa, Established, IkeSa, OwnExchange, Rival, Task } from '../sa.ts';
import { upDone } from '../tunnels.ts';
import { modeOf, notePadding, refusesPadding } from './child-mode.ts';
import { answeredSelectors, childRefused } from './child-terms.ts';
import { createAgain, unmadeByPeer, unmake } from './create-child-sa-undone.ts';
import { askedSelectors, type CreateTask, carried, templateOf } from './create-task.ts';
import { compareNonces, lower } from './nonces.ts';
import { ikeSpiText, spiNumber } from './payloads.ts';

/** Every answer is there. */
type Unfinished = OwnExchange & { step: 'sent' | 'finishing' | 'followup-finishing' };

/** `secrets`: of all key exchanges, in order. `payloads`: of the answer to CREATE_CHILD_SA. */
export function finishCreate(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: Unfinished,
  suite: ChosenSuite,
  secrets: readonly Uint8Array[],
  payloads: Payload[],
): void {
  const offer = own.offer!;
  const nr = findPayload(payloads, PAYLOAD.Nonce)!.data;
  const { spi } = findPayload(payloads, PAYLOAD.SA)!.proposals[0]!;
  if (own.task.type === 'rekey-ike') {
    const made = newIkeSa(context, sa, established, suite, {
      initiator: true,
      spi: offer.spi as string,
      peerSpi: ikeSpiText(spi)!,
      secret: secrets[0]!,
      further: secrets.slice(1),
      ni: offer.nonce,
      nr,
    });
    return ikeRekeyed(context, sa, established, made, lower(offer.nonce, nr), own.rival);
  }
  childAgreed(context, sa, established, own, suite, secrets, payloads);
}

function childAgreed(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: Unfinished,
  suite: ChosenSuite,
  [secret, ...further]: readonly Uint8Array[],
  payloads: Payload[],
): void {
  const task = own.task as CreateTask;
  const offer = own.offer!;
  const nr = findPayload(payloads, PAYLOAD.Nonce)!.data;
  const tunnel = context.tunnels.get(established.tunnel)!.tunnel;
  const template = templateOf(tunnel, task);
  const answered = template && answeredSelectors(sa, payloads, askedSelectors(task, template.selectors));
  const spiOut = spiNumber(findPayload(payloads, PAYLOAD.SA)!.proposals[0]!.spi);
  // RFC 7296 §1.3.1: the responder may have declined transport mode; a child that is not as we want it is deleted.
  const mode = modeOf(payloads);
  if (!template || !answered || !spiOut || context.sas.hasOutbound(spiOut) || mode !== template.mode) {
    delete established.own;
    unmake(context, established, own);
    retryRekey(context, established, task);
    const code = childRefused(context, sa, tunnel, template?.name ?? '', undefined, mode);
    return commandDone(context, task.command, code);
  }
  if (own.gone?.includes(spiOut)) return unmadeByPeer(context, established, own, template.name);
  const { child, changes } = makeChild(
    context,
    sa,
    tunnel,
    { suite: established.suite, skD: established.keys.d },
    {
      template,
      suite,
      spiIn: offer.spi as number,
      spiOut,
      ...answered,
      initiator: true,
      unpadded: refusesPadding(payloads),
      ni: offer.nonce,
      nr,
      ...(secret ? { secret, further } : {}),
    },
  );
  established.own = {
    ...carried(own),
    step: 'installing',
    job: install(context, sa, changes),
    child,
    nonce: lower(offer.nonce, nr),
  };
}

/** Our new child is in the data plane. */
export function createInstalled(
  context: Context,
  sa: IkeSa,
  established: Established,
  own: OwnExchange & { step: 'installing' },
  failed: Failure | undefined,
): void {
  const { task, child, rival } = own;
  delete established.own;
  if (own.gone?.includes(child.spiOut)) {
    if (failed === undefined) dropChild(context, child);
    return unmadeByPeer(context, established, own, child.name);
  }
  if (failed !== undefined) return notInstalled(context, sa, established, own, failed.message);
  established.children.push(child);
  if (task.type === 'create' && task.first) planRehearsal(context, sa, established, child);
  else noteRekeyed(context, sa, established, child, replacedBy(established, task));
  // RFC 7296 §2.8.1: of two rekeys of one child, the one with the lowest nonce is redundant; its maker deletes it.
  if (rival && compareNonces(own.nonce, rival.nonce) < 0) {
    established.tasks.push({ type: 'delete-child', spiIn: child.spiIn });
  } else {
    useChild(context, sa, established, child);
    const old = replacedBy(established, task);
    if (old) established.tasks.push({ type: 'delete-child', spiIn: old.spiIn });
  }
  reportChild(
    context,
    task.type === 'rekey-child' ? 'CHILD_REKEYED' : 'CHILD_ESTABLISHED',
    established.tunnel,
    child,
  );
  if (task.type === 'create') notePadding(context, sa, established.tunnel, child);
  commandDone(context, task.command, 'OK');
  if (task.type === 'create') upDone(context, established.tunnel, 'OK');
}

/** The peer made its half; ours cannot be. */
function notInstalled(
  context: Context,
  sa: IkeSa,
  established: Established,
  { task, child }: OwnExchange & { step: 'installing' },
  message: string,
): void {
  reportFailure(context, 'HOST_INSTALL_FAILED', established.tunnel, { child: child.name, message });
  commandDone(context, task.command, 'HOST_INSTALL_FAILED');
  if (task.type === 'create') upDone(context, established.tunnel, 'HOST_INSTALL_FAILED');
  retryRekey(context, established, task);
  if (task.type === 'rekey-child') noteRefused(context, sa, established, task);
  if (task.type === 'create') createAgain(context, established, child.name);
  const unmade = childProtocol(child.suite);
  established.tasks.unshift({ type: 'delete-child', spiIn: child.spiIn, unmade });
}

/** The child that a rekey is to replace, while it is there. */
function replacedBy(established: Established, task: Task): ChildSa | undefined {
  return task.type === 'rekey-child' ? childBySpi(established, task.spiIn) : undefined;
}

function ikeRekeyed(
  context: Context,
  sa: IkeSa,
  established: Established,
  made: IkeSa,
  nonce: Uint8Array,
  rival: Rival | undefined,
): void {
  const { task } = established.own!;
  delete established.own;
  commandDone(context, task.command, 'OK');
  if (established.replacedBy !== undefined) return deleteRedundant(context, sa, made);
  const other = rival && context.sas.get(rival.spi as string);
  // RFC 7296 §2.8.2: the SA with the lowest nonce is redundant; its maker deletes it, the other maker deletes the old one.
  if (rival && compareNonces(nonce, rival.nonce) < 0) {
    if (made.state.name === 'established') made.state.tasks.push({ type: 'delete-ike' });
    if (other) return inherit(context, sa, established, other);
    // The peer has deleted the one that stood, and with it whatever it would have carried.
    return onlyDelete(context, established);
  }
  if (other) expectDelete(context, other, made);
  inherit(context, sa, established, made);
  established.tasks.unshift({ type: 'delete-ike' });
}

/** The rival's heir has the children already; ours is unmade. An old SA that the peer has deleted has nothing left to do. */
function deleteRedundant(context: Context, sa: IkeSa, made: IkeSa): void {
  if (made.state.name === 'established') made.state.tasks.push({ type: 'delete-ike' });
  if (sa.state.name === 'established' && sa.state.ended) endReplaced(context, sa);
}

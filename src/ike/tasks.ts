// Own exchanges, one at a time: our window is one (RFC 7296 §2.3).

import { isLeaving } from './child.ts';
import { type Context, commandDone } from './context.ts';
import { finishHandOver } from './hand-over.ts';
import { supervise } from './intent.ts';
import type { Established, IkeSa, Task } from './sa.ts';
import { beginCreate } from './v2/create-child-sa.ts';
import { answerRekey } from './v2/create-child-sa-undone.ts';
import { beginInformational } from './v2/informational.ts';
import { beginMeasure, cutShort } from './v2/measure.ts';

/** One own exchange at a time for each IKE SA that the event may have changed: our window is one. */
export function runTasks(context: Context): void {
  for (const spi of context.sas.touched()) {
    const sa = context.sas.get(spi);
    if (sa?.state.name !== 'established') continue;
    for (const old of finishHandOver(context, sa.state))
      if (old.state.name === 'established') startNext(context, old, old.state);
    supervise(context, sa, sa.state);
    startNext(context, sa, sa.state);
  }
}

/** RFC 7296 §2.25.2: an IKE SA that is being replaced begins nothing that would have to move with it. */
export function mayBegin({ window }: IkeSa, { own, serving, pending }: Established): boolean {
  const beingReplaced = (serving?.step === 'answering' && serving.ike) || pending?.agreed.kind === 'ike';
  return !own && !window.sent && !beingReplaced;
}

function startNext(context: Context, sa: IkeSa, state: Established): void {
  const next = () =>
    state.tasks.findIndex(
      (task) => (task.notBefore ?? context.now) <= context.now && !isHeldBack(context, sa, state, task),
    );
  // Nothing waits for the answer to a question of size.
  if (sa.window.sent?.whole?.came === 'waiting' && next() !== -1) cutShort(context, sa, 'cut-short');
  while (mayBegin(sa, state)) {
    const index = next();
    if (index === -1) return;
    const [task] = state.tasks.splice(index, 1);
    if (!begin(context, sa, state, task!)) notBegun(context, state, task!);
  }
}

function notBegun(context: Context, state: Established, task: Task): void {
  if (task.type === 'rekey-child') answerRekey(context, state, task);
  else commandDone(context, task.command, task.type === 'measure' ? 'PATH_UNASKED' : 'OK');
}

const MAKING: readonly Task['type'][] = ['create', 'rekey-child', 'rekey-ike'];

/**
 * The peer's rekey made this IKE SA while ours of the same is under way (RFC 7296 §2.8.2): until it is known which of the two
 * stands, nothing is made with it.
 */
export function isHeldBack(
  context: Context,
  { spi }: IkeSa,
  { tunnel, children }: Established,
  { type }: Task,
): boolean {
  if (children.length > 0 || !MAKING.includes(type)) return false;
  return (context.tunnels.peek(tunnel)?.sas ?? []).some((other) => {
    const state = context.sas.peek(other)?.state;
    return state?.name === 'established' && state.replacedBy === undefined && state.own?.rival?.spi === spi;
  });
}

function begin(context: Context, sa: IkeSa, state: Established, task: Task): boolean {
  switch (task.type) {
    case 'create':
    case 'rekey-child':
    case 'rekey-ike':
      return beginCreate(context, sa, state, task);
    case 'take-down':
      return beginTakeDown(state, task);
    case 'delete-child':
    case 'delete-ike':
    case 'liveness':
      return beginInformational(context, sa, state, task);
    case 'measure':
      return beginMeasure(context, sa, state, task);
  }
}

/** A rekey under way when it was wished is over, so all children of the name are there. The last answers the command. */
function beginTakeDown(state: Established, { child, command }: Task & { type: 'take-down' }): boolean {
  const going = state.children.filter((each) => each.name === child && !isLeaving(state, each));
  const tasks = going.map(({ spiIn }): Task => ({ type: 'delete-child', spiIn }));
  const last = tasks.at(-1);
  if (last && command !== undefined) last.command = command;
  state.tasks.unshift(...tasks);
  return last !== undefined;
}

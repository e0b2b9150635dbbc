// What a task of CREATE_CHILD_SA asks for, as its tunnel is configured.

import { keyExchangeRow } from '../../crypto/suites.ts';
import { keepingPrf, type ProposalTemplate } from '../../policy/proposal.ts';
import type { ChildTemplate, Tunnel } from '../../policy/tunnel.ts';
import type { ChildSa, Established, OwnExchange, Task } from '../sa.ts';

/** After TEMPORARY_FAILURE (RFC 7296 §2.25). */
export const TRY_AGAIN = 1000;

export type CreateTask = Extract<Task, { type: 'create' | 'rekey-child' | 'rekey-ike' }>;

export function templateOf(tunnel: Tunnel, task: CreateTask): ChildTemplate | undefined {
  return task.type === 'rekey-ike' ? undefined : tunnel.children.find(({ name }) => name === task.child);
}

export function proposalsFor(tunnel: Tunnel, { suite }: Established, task: CreateTask): ProposalTemplate[] {
  if (task.type === 'rekey-ike') return keepingPrf(tunnel.ike.proposals, suite.prf!);
  return templateOf(tunnel, task)?.proposals ?? [];
}

export function groupFor(tunnel: Tunnel, established: Established, task: CreateTask): number | undefined {
  if (task.type === 'rekey-ike') return keyExchangeRow(established.suite.keyExchange!).id;
  const template = templateOf(tunnel, task);
  const preferred = template?.proposals[0]?.keyExchange[0];
  return preferred && keyExchangeRow(preferred).id;
}

/** RFC 7296 §2.9: the packet that asked comes first; a rekey asks for what the policy wants, not for what was narrowed. */
export function askedSelectors(task: CreateTask, wanted: ChildSa['selectors']): ChildSa['selectors'] {
  if (task.type !== 'create' || !task.packet) return wanted;
  return {
    local: [...task.packet.local, ...wanted.local],
    remote: [...task.packet.remote, ...wanted.remote],
  };
}

/** What an exchange knows at every step. */
export function carried({
  task,
  rival,
  gone,
  regrouped,
}: OwnExchange): Pick<OwnExchange, 'task' | 'rival' | 'gone' | 'regrouped'> {
  return {
    task,
    ...(rival ? { rival } : {}),
    ...(gone ? { gone } : {}),
    ...(regrouped ? { regrouped } : {}),
  };
}

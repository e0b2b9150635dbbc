// `xfrm` of a tunnel: what only the IPsec of the kernel knows of.

import type { Routing } from '../host/wanted.ts';
import type { KernelWishes, Mark } from '../policy/sad.ts';
import type { Tunnel } from '../policy/tunnel.ts';
import type { Complain } from './auth.ts';
import { DEFAULTS } from './defaults.ts';
import type { TunnelEntry } from './schema.ts';

const WHOLE = 0xffffffff;

export function kernelOf({ xfrm }: TunnelEntry, ours: Routing, at: Complain): Pick<Tunnel, 'kernel'> {
  if (!xfrm) return {};
  const [mark, outputMark] = (['mark', 'output-mark'] as const).map((key) => {
    const text = xfrm[key];
    if (text === undefined) return undefined;
    const parsed = markOf(`${text}`);
    return typeof parsed === 'string' ? at(['xfrm', key], parsed) : parsed;
  });
  if (outputMark && (outputMark.mask & ours.mark) !== 0)
    at(
      ['xfrm', 'output-mark'],
      `the bits 0x${ours.mark.toString(16)} are ours, on every outer packet; leave them out of the mask, or choose another gateway.routing.mark`,
    );
  const kernel: KernelWishes = {
    ...(mark ? { mark } : {}),
    ...(outputMark ? { outputMark } : {}),
    offload: xfrm.offload ?? DEFAULTS.offload,
  };
  return { kernel };
}

/** A sentence where it is none. */
function markOf(text: string): Mark | string {
  const [value, mask = WHOLE, ...more] = text.split('/').map(numberOf);
  if (value === undefined || mask === undefined || Number.isNaN(value + mask) || more.length > 0)
    return `"${text}" is not a mark; write 42, 0x2a or 0x2a/0xff`;
  if (mask === 0) return `"${text}" has an empty mask, which every packet fits`;
  if ((value & ~mask) !== 0) return `"${text}" has bits that its mask leaves out`;
  return { value, mask };
}

function numberOf(text: string): number {
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  return number <= WHOLE ? number : Number.NaN;
}

/** What does not go together. `plane`: what protects packets. */
export function misfit(
  { kernel, link, children }: Tunnel,
  plane: string,
): { key: string[]; problem: string } | undefined {
  if (!kernel) return undefined;
  if (plane === 'engine')
    return { key: [], problem: 'only the IPsec of the kernel knows of it: gateway: { dataplane: xfrm }' };
  if (link && kernel.mark)
    return {
      key: ['mark'],
      problem: 'a route-based tunnel is told apart by its interface; leave the mark out',
    };
  const wantsOffload = kernel.offload === 'crypto' || kernel.offload === 'packet';
  if (wantsOffload && children.some(({ protocol }) => protocol === 'ah'))
    return { key: ['offload'], problem: 'interfaces do ESP only, not AH' };
  return undefined;
}

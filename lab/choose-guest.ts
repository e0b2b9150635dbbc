// Which guest a laboratory runs in, as its command line says.

import { enterGuest, type Guest } from './guest.ts';
import { qemuGuest } from './qemu.ts';
import { UML } from './uml.ts';

const BY_NAME: Readonly<Record<string, () => Guest>> = { uml: () => UML, qemu: () => qemuGuest() };

/** `--guest NAME` of a command line; without it user-mode Linux where a guest is `needed`. Throws RangeError at other names. */
export function chosenGuest(args: readonly string[], needed: boolean): Guest | undefined {
  const at = args.indexOf('--guest');
  if (at === -1) return needed ? UML : undefined;
  const name = args[at + 1] ?? '';
  if (!Object.hasOwn(BY_NAME, name))
    throw new RangeError(`there is no guest "${name}": ${Object.keys(BY_NAME).join(', ')}`);
  return BY_NAME[name]!();
}

/** Returns inside that guest, or at once where none is wanted. */
export async function enterChosenGuest(needed: boolean): Promise<void> {
  const guest = chosenGuest(process.argv, needed);
  if (guest) await enterGuest(guest);
}

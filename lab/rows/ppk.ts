// Post-quantum preshared keys (RFC 8784) with strongSwan, in both roles: used, done without, and refused.

import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Role, type Suite, sentenceIn } from '../checks.ts';
import { pause } from '../site.ts';
import { demand } from '../steps.ts';
import type { Group, Lab } from './group.ts';

const SECRET = randomBytes(24).toString('base64url');
const ID = 'office-2026';

interface Case {
  name: string;
  ours?: 'required' | 'preferred';
  theirs?: { id: string; required: boolean };
  ends: 'used' | 'without' | 'refused';
  /** Where the other way round is another case. */
  role?: Role;
}

const CASES: Case[] = [
  { name: 'PPK required by both', ours: 'required', theirs: { id: ID, required: true }, ends: 'used' },
  { name: 'PPK preferred by both', ours: 'preferred', theirs: { id: ID, required: false }, ends: 'used' },
  { name: 'PPK preferred here, none there', ours: 'preferred', ends: 'without' },
  { name: 'PPK none here, optional there', theirs: { id: ID, required: false }, ends: 'without' },
  {
    name: 'PPK preferred here, another there',
    ours: 'preferred',
    theirs: { id: 'other', required: false },
    ends: 'without',
    // As responder strongSwan refuses an id that is not its own, though it need not have one.
    role: 'responder',
  },
  { name: 'PPK required here, none there', ours: 'required', ends: 'refused' },
  {
    name: 'PPK none here, required there',
    theirs: { id: ID, required: true },
    ends: 'refused',
    // As initiator it ends by itself what we would have answered.
    role: 'initiator',
  },
];

export const ppk: Group = {
  name: 'ppk',
  async run(lab) {
    const file = join(lab.site.folder, 'office.ppk');
    writeFileSync(file, `${SECRET}\n`, { mode: 0o600 });
    for (const one of lab.short ? CASES.slice(0, 1) : CASES) await bothRoles(lab, one, file);
    rmSync(file);
  },
};

function withPpk({ id, required }: { id: string; required: boolean }): NonNullable<Suite['theirs']> {
  return {
    connection: [`ppk_id = ${id}`, `ppk_required = ${required ? 'yes' : 'no'}`],
    secrets: [`ppk-tunnel { id = ${id}\n    secret = "${SECRET}" }`],
  };
}

async function bothRoles(
  lab: Lab,
  { name, ours, theirs, ends, role: only }: Case,
  file: string,
): Promise<void> {
  const suite: Suite = {
    name,
    outer: 4,
    ike: 'aes-gcm-16-256 / prf-hmac-sha2-256 / x25519',
    esp: 'aes-gcm-16-256 / x25519',
    ...(ours ? { ours: { ppk: { id: ID, file, use: ours } } } : {}),
    ...(theirs ? { theirs: withPpk(theirs) } : {}),
  };
  lab.configure(suite);
  await lab.site.start();
  await lab.peer.configure(lab.theirs(suite));
  for (const role of only ? [only] : (['initiator', 'responder'] as const)) {
    if (ends === 'refused') await refused(lab, suite, role);
    else await made(lab, suite, role, ends === 'used', ours !== undefined);
  }
  await lab.site.kill('SIGTERM');
}

async function made(lab: Lab, suite: Suite, role: Role, used: boolean, wanted: boolean): Promise<void> {
  const { site, check, establish, passes, rekeyOnce, deleted } = lab;
  await check(role, suite, used ? 'used' : 'made without', async () => {
    const before = site.log().length;
    await establish(role);
    const { ppk: id } = await site.tunnel('office');
    demand(id === (used ? ID : undefined), `status names the PPK ${id}`);
    if (!used && wanted) sentenceIn(site.log().slice(before), /\[IKE_WITHOUT_PPK\]/);
    return `${id ?? 'no PPK'}, ${await passes(suite)}`;
  });
  if (used)
    await check(role, suite, 'rekeys', async () => {
      for (const by of ['us', 'them'] as const)
        for (const what of ['IKE SA', 'child'] as const) await rekeyOnce(what, by);
      return `each SA by each side, ${await passes(suite)}`;
    });
  await check(role, suite, 'deleted', () => deleted(role));
}

async function refused(lab: Lab, suite: Suite, role: Role): Promise<void> {
  const { site, peer, check, establish } = lab;
  await check(role, suite, 'refused', async () => {
    const before = site.log().length;
    await establish(role).then(
      () => demand(false, 'it is established'),
      () => {},
    );
    await pause(200);
    return sentenceIn(site.log().slice(before), /\[PEER_NO_PPK\]|\[PEER_REFUSED_AUTH\]|\[PEER_AUTH_FAILED\]/);
  });
  await site.command('down', 'office');
  await peer.swanctl('--terminate', '--ike', 'tunnel', '--force');
}

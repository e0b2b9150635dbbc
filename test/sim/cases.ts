// The exchange tests of strongSwan by their names (src/libcharon/tests/suites), each as a ladder of our own.

import type { AdditionalMethod } from '../../src/policy/additional.ts';
import type { Tunnel } from '../../src/policy/tunnel.ts';
import type { SideName } from '../../src/sim/pair.ts';
import type { Scenario } from './ladder.ts';
import { tunnel } from './sites.ts';

const NET = ['net'];
const NONE: string[] = [];

type Group = 'x25519' | 'ecp-256' | 'ecp-384';

/** Key exchange methods of the IKE SA, and of its child, the one liked best first. */
function ike(...keyExchange: Group[]): () => Partial<Tunnel> {
  const usual = tunnel('a').ike;
  return () => ({ ike: { ...usual, proposals: [{ ...usual.proposals[0]!, keyExchange }] } });
}

function net(...keyExchange: Group[]): (side: SideName) => Partial<Tunnel> {
  return (side) => {
    const [child] = tunnel(side).children;
    return { children: [{ ...child!, proposals: [{ ...child!.proposals[0]!, keyExchange }] }] };
  };
}

/** With a second key exchange behind the first (RFC 9370), which only some take. */
function twice(own: { additional: AdditionalMethod[]; groups?: Group[] }): {
  net: (side: SideName) => Partial<Tunnel>;
  ike: () => Partial<Tunnel>;
} {
  const groups = own.groups ?? ['x25519'];
  const more = { keyExchange: groups, additionalKeyExchange: [own.additional] };
  return {
    net: (side) => {
      const [child] = tunnel(side).children;
      return { children: [{ ...child!, proposals: [{ ...child!.proposals[0]!, ...more }] }] };
    },
    ike: () => {
      const usual = tunnel('a').ike;
      return { ike: { ...usual, proposals: [{ ...usual.proposals[0]!, ...more }] } };
    },
  };
}

const TWICE = twice({ additional: ['ecp-256'] });
/** Takes a second key exchange and asks for none. */
const EITHER = twice({ additional: ['none', 'ecp-256'] });

function childless(how: Tunnel['childless']): () => Partial<Tunnel> {
  return () => ({ childless: how });
}

/** A second child, which nobody makes until it is needed. */
function andOther(side: SideName): Partial<Tunnel> {
  const [child] = tunnel(side).children;
  const range = { protocol: 0, startPort: 0, endPort: 65535, start: '10.9.0.0', end: '10.9.255.255' };
  const other = { ...child!, name: 'other', order: 1, selectors: { local: [range], remote: [range] } };
  return { children: [child!, other] };
}

/** The second child with a second key exchange. */
function andOtherTwice(side: SideName): Partial<Tunnel> {
  const children = andOther(side).children!;
  const twiceProposed = TWICE.net(side).children![0]!.proposals;
  return {
    children: children.map((child) =>
      child.name === 'other' ? { ...child, proposals: twiceProposed } : child,
    ),
  };
}

export const CHILD_REKEY: Record<string, Scenario> = {
  regular: {
    children: NET,
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first) SA KE
          <-- a1'     SA KE
      a2 -->          D(first)
          <-- a2'     D(first)`,
  },
  regular_ke_invalid: {
    tunnels: { a: net('x25519', 'ecp-256'), b: net('ecp-256') },
    children: NET,
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first) KE
          <-- a1'     INVALID_KE_PAYLOAD
      a2 -->          REKEY_SA(first) KE
          <-- a2'     SA KE
      a3 -->          D(first)
          <-- a3'     D(first)`,
  },
  responder_ignore_soft_expire: {
    children: NET,
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first)
      b: soft expire first
      b: silent
          <-- a1'     SA
      a2 -->          D(first)
          <-- a2'     D(first)`,
  },
  responder_handle_hard_expire: {
    children: NET,
    disturbed: { children: NONE, gap: 'lost' },
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first)
          <-- a1'     SA
      b: hard expire first
      a2 -->          D(first)
          <-- b1      D(first)
          <-- a2'
      b1' -->`,
  },
  responder_delete: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first)
          <-- a1'     SA
      b: delete net
      a2 -->          D(first)
          <-- b1      D(a1)|D(first)
          <-- a2'`,
  },
  responder_lost_sa: {
    children: NET,
    gap: 'lost',
    ladder: `
      a: rekey net
      b: lose net
      a1 -->          REKEY_SA(first)
          <-- a1'     CHILD_SA_NOT_FOUND
      a2 -->          SA
          <-- a2'     SA`,
  },
  responder_incorrect_delete: {
    children: NET,
    gap: 'wanted',
    disturbed: { children: NONE, gap: 'lost' },
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first)
      b: hard expire first
          <-- b1      D(first)
          <-- a1'     SA
      b1' -->`,
  },
  delete_timeout: {
    children: NONE,
    disturbed: { children: NET },
    gap: 'lost',
    tunnels: { a: () => ({ liveness: 30_000 }), b: () => ({ liveness: 30_000 }) },
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first)
          <-- a1'     SA
      a2 --x          for ever`,
  },
  collision: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
          <-- a1'     SA
      b1' -->         SA
      a2 -->          verdict(a1)
          <-- b2      verdict(b1)`,
  },
  collision_delayed_response: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
      b1' -->         SA
          <-- b2      verdict(b1)
      b2' -->
          <-- a1'     SA`,
  },
  collision_delayed_response_delete: {
    children: NONE,
    gap: 'wanted',
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
      b1' -->         SA
          <-- b2      D(first)|D(b1)
      b2' -->
      b: delete net
          <-- b3
      b3' -->
          <-- a1'     SA`,
  },
  collision_delayed_request: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
          <-- b1      REKEY_SA(first)
      b1' -->         SA
      a1 -->          REKEY_SA(first)
          <-- b2      D(first)
      b2' -->
          <-- a1'     TEMPORARY_FAILURE
      a: silent`,
  },
  'collision_delayed_request, the refusal first': {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
          <-- b1      REKEY_SA(first)
      b1' -->         SA
      a1 -->          REKEY_SA(first)
          <-- a1'     TEMPORARY_FAILURE
      a: silent
          <-- b2      D(first)
      b2' -->`,
  },
  collision_delayed_request_more: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
          <-- b1      REKEY_SA(first)
      b1' -->         SA
          <-- b2      D(first)
      b2' -->
      a1 -->          REKEY_SA(first)
          <-- a1'     CHILD_SA_NOT_FOUND
      a: silent`,
  },
  collision_delayed_request_more_delete: {
    children: NONE,
    gap: 'wanted',
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
          <-- b1      REKEY_SA(first)
      b1' -->         SA
          <-- b2      D(first)
      b2' -->
      b: delete net
          <-- b3      D(b1)
      b3' -->
      a1 -->          REKEY_SA(first)
          <-- a1'     CHILD_SA_NOT_FOUND
      a: silent`,
  },
  collision_ke_invalid: {
    tunnels: { a: net('x25519', 'ecp-256'), b: net('ecp-256', 'x25519') },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
          <-- a1'     INVALID_KE_PAYLOAD
      b1' -->         INVALID_KE_PAYLOAD
      a2 -->          REKEY_SA(first)
          <-- b2      REKEY_SA(first)
          <-- a2'     SA
      b2' -->         SA
      a3 -->          D(first)|D(a2)
          <-- b3      D(first)|D(b2)`,
  },
  collision_ke_invalid_delayed_retry: {
    tunnels: { a: net('x25519', 'ecp-256'), b: net('ecp-256', 'x25519') },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
          <-- a1'     INVALID_KE_PAYLOAD
      b1' -->         INVALID_KE_PAYLOAD
          <-- b2      REKEY_SA(first)
      b2' -->         SA
      a2 -->          REKEY_SA(first)
          <-- b3      D(first)
          <-- a2'     TEMPORARY_FAILURE
      b3' -->`,
  },
  collision_responder_incorrect_delete: {
    children: NET,
    gap: 'wanted',
    disturbed: { children: NONE, gap: 'lost' },
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
      b1' -->         SA
      b: hard expire first
          <-- b2
      b2' -->
          <-- a1'     SA`,
  },
  collision_delete: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey net
      b: delete net
      a1 -->          REKEY_SA(first)
          <-- b1      D(first)
          <-- a1'     TEMPORARY_FAILURE
      b1' -->         D(first)`,
  },
  collision_delete_drop_delete: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey net
      b: delete net
          x-- b1
      a1 -->          REKEY_SA(first)
          <-- a1'     TEMPORARY_FAILURE`,
  },
  collision_delete_drop_rekey: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey net
      b: delete net
          <-- b1      D(first)
      b1' -->         D(first)
      a1 -->          REKEY_SA(first)
          <-- a1'     CHILD_SA_NOT_FOUND
      a: silent`,
  },
  collision_delete_delayed_response: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first)
      b: delete net
          <-- b1
      b1' -->
          <-- b2
      b2' -->
          <-- a1'     SA`,
  },
  'collision_delete_delayed_response, only the new one': {
    children: NET,
    disturbed: { children: NONE, gap: 'wanted' },
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first)
      b: hard expire a1
          <-- b1      D(a1)
      b1' -->
          <-- a1'     SA`,
  },
  collision_ike_rekey: {
    children: NET,
    ladder: `
      a: rekey net
      b: rekey ike
      a1 -->          REKEY_SA(first)
          <-- b1      SA(ike)
          <-- a1'     TEMPORARY_FAILURE
      b1' -->         TEMPORARY_FAILURE
      a: silent
      b: silent`,
  },
  collision_ike_delete: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey net
      b: delete ike
      a1 -->          REKEY_SA(first)
          <-- b1      D(ike)
          <-- a1'     TEMPORARY_FAILURE
      b1' -->         empty`,
  },
  regular_multi_ke: {
    tunnels: { a: TWICE.net, b: TWICE.net },
    children: NET,
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first) SA KE
          <-- a1'     SA KE ADDITIONAL_KEY_EXCHANGE
      a2 -->          KE ADDITIONAL_KEY_EXCHANGE
          <-- a2'     KE !ADDITIONAL_KEY_EXCHANGE
      a3 -->          D(first)
          <-- a3'     D(first)`,
  },
  regular_ke_invalid_multi_ke: {
    tunnels: {
      a: twice({ additional: ['ecp-384'], groups: ['x25519', 'ecp-256'] }).net,
      b: twice({ additional: ['ecp-384'], groups: ['ecp-256'] }).net,
    },
    children: NET,
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first) KE
          <-- a1'     INVALID_KE_PAYLOAD
      a2 -->          REKEY_SA(first) KE
          <-- a2'     SA KE ADDITIONAL_KEY_EXCHANGE
      a3 -->          KE ADDITIONAL_KEY_EXCHANGE
          <-- a3'     KE
      a4 -->          D(first)
          <-- a4'     D(first)`,
  },
  collision_multi_ke: {
    tunnels: { a: TWICE.net, b: TWICE.net },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
          <-- a1'     SA ADDITIONAL_KEY_EXCHANGE
      b1' -->         SA ADDITIONAL_KEY_EXCHANGE`,
  },
  collision_mixed: {
    tunnels: { a: TWICE.net, b: EITHER.net },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
          <-- a1'     SA
      b1' -->         SA`,
  },
  collision_delayed_response_multi_ke: {
    tunnels: { a: TWICE.net, b: TWICE.net },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
      a1 -->          REKEY_SA(first)
          <-- b1      REKEY_SA(first)
      b1' -->         SA ADDITIONAL_KEY_EXCHANGE
          <-- b2?     KE
      b2'? -->
          <-- a1'     SA ADDITIONAL_KEY_EXCHANGE`,
  },
  collision_delayed_request_multi_ke: {
    tunnels: { a: TWICE.net, b: TWICE.net },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey net
      b: rekey net
          <-- b1      REKEY_SA(first)
      b1' -->         SA ADDITIONAL_KEY_EXCHANGE
      a1 -->          REKEY_SA(first)
          <-- b2      KE ADDITIONAL_KEY_EXCHANGE
          <-- a1'`,
  },
  collision_delete_multi_ke: {
    tunnels: { a: TWICE.net, b: TWICE.net },
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey net
      a1 -->          REKEY_SA(first)
          <-- a1'     SA ADDITIONAL_KEY_EXCHANGE
      b: delete net
      a2 -->          KE ADDITIONAL_KEY_EXCHANGE
          <-- b1      D(first)
          <-- a2'     TEMPORARY_FAILURE
      b1' -->         D(first)`,
  },
};

export const IKE_REKEY: Record<string, Scenario> = {
  regular: {
    children: NET,
    ladder: `
      a: rekey ike
      a1 -->          SA(ike) KE
          <-- a1'     SA(ike) KE
      a2 -->          D(ike)
          <-- a2'     empty`,
  },
  regular_ke_invalid: {
    changed: { b: ike('ecp-256', 'x25519') },
    children: NET,
    ladder: `
      a: rekey ike
      a1 -->          SA(ike) KE
          <-- a1'     INVALID_KE_PAYLOAD
      a2 -->          SA(ike) KE
          <-- a2'     SA(ike) KE
      a3 -->          D(ike)
          <-- a3'     empty`,
  },
  collision: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
      a1 -->          SA(ike)
          <-- b1      SA(ike)
          <-- a1'     SA(ike)
      b1' -->         SA(ike)
      a2 -->          verdict(ike:a1)
          <-- b2      verdict(ike:b1)`,
  },
  collision_ke_invalid: {
    tunnels: { a: ike('ecp-384'), b: ike('ecp-384') },
    changed: { a: ike('x25519', 'ecp-256', 'ecp-384'), b: ike('ecp-256', 'x25519', 'ecp-384') },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
      a1 -->          SA(ike)
          <-- b1      SA(ike)
          <-- a1'     INVALID_KE_PAYLOAD
      b1' -->         INVALID_KE_PAYLOAD
      a2 -->          SA(ike)
          <-- b2      SA(ike)
          <-- a2'     SA(ike)
      b2' -->         SA(ike)`,
  },
  collision_ke_invalid_delayed_retry: {
    tunnels: { a: ike('ecp-384'), b: ike('ecp-384') },
    changed: { a: ike('x25519', 'ecp-256', 'ecp-384'), b: ike('ecp-256', 'x25519', 'ecp-384') },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
      a1 -->          SA(ike)
          <-- b1      SA(ike)
          <-- a1'     INVALID_KE_PAYLOAD
      b1' -->         INVALID_KE_PAYLOAD
          <-- b2      SA(ike)
      b2' -->         SA(ike)
      a2 -->          SA(ike)
          <-- b3      D(ike)
          <-- a2'     TEMPORARY_FAILURE
      b3' -->         empty`,
  },
  collision_delayed_response: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
      a1 -->          SA(ike)
          <-- b1      SA(ike)
      b1' -->         SA(ike)
          <-- b2      verdict(ike:b1)
      b2' -->         empty
          <-- a1'     SA(ike)`,
  },
  collision_dropped_request: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
      a1 --x
          <-- b1      SA(ike)
      b1' -->         SA(ike)
          <-- b2      D(ike)
      b2' -->         empty`,
  },
  collision_delayed_request: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
          <-- b1      SA(ike)
      b1' -->         SA(ike)
      a1 -->          SA(ike)
          <-- b2      D(ike)
      b2' -->         empty
          <-- a1'     TEMPORARY_FAILURE`,
  },
  collision_delayed_request_and_delete: {
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
          <-- b1      SA(ike)
      b1' -->         SA(ike)
      a1 -->          SA(ike)
          <-- a1'     TEMPORARY_FAILURE
      a: silent
          <-- b2      D(ike)
      b2' -->         empty`,
  },
  collision_delete: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey ike
      b: delete ike
      a1 -->          SA(ike)
          <-- b1      D(ike)
          <-- a1'     TEMPORARY_FAILURE
      b1' -->         empty`,
  },
  collision_delete_drop_delete: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey ike
      b: delete ike
          x-- b1
      a1 -->          SA(ike)
          <-- a1'     TEMPORARY_FAILURE`,
  },
  regular_multi_ke: {
    tunnels: { a: TWICE.ike, b: TWICE.ike },
    children: NET,
    ladder: `
      a: rekey ike
      a1 -->          SA(ike) KE
          <-- a1'     SA(ike) KE ADDITIONAL_KEY_EXCHANGE
      a2 -->          KE ADDITIONAL_KEY_EXCHANGE
          <-- a2'     KE !ADDITIONAL_KEY_EXCHANGE
      a3 -->          D(ike:first)
          <-- a3'     empty`,
  },
  regular_ke_invalid_multi_ke: {
    tunnels: { a: TWICE.ike, b: TWICE.ike },
    changed: {
      b: twice({ additional: ['ecp-256'], groups: ['ecp-384', 'x25519'] }).ike,
      a: twice({ additional: ['ecp-256'], groups: ['x25519', 'ecp-384'] }).ike,
    },
    children: NET,
    ladder: `
      a: rekey ike
      a1 -->          SA(ike) KE
          <-- a1'     INVALID_KE_PAYLOAD
      a2 -->          SA(ike) KE
          <-- a2'     SA(ike) KE ADDITIONAL_KEY_EXCHANGE
      a3 -->          KE ADDITIONAL_KEY_EXCHANGE
          <-- a3'     KE
      a4 -->          D(ike:first)
          <-- a4'     empty`,
  },
  collision_multi_ke: {
    tunnels: { a: TWICE.ike, b: TWICE.ike },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
      a1 -->          SA(ike)
          <-- b1      SA(ike)
          <-- a1'     SA(ike) ADDITIONAL_KEY_EXCHANGE
      b1' -->         SA(ike) ADDITIONAL_KEY_EXCHANGE`,
  },
  collision_mixed: {
    tunnels: { a: TWICE.ike, b: EITHER.ike },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
      a1 -->          SA(ike)
          <-- b1      SA(ike)
          <-- a1'     SA(ike)
      b1' -->         SA(ike)`,
  },
  collision_delayed_response_multi_ke: {
    tunnels: { a: TWICE.ike, b: TWICE.ike },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
      a1 -->          SA(ike)
          <-- b1      SA(ike)
      b1' -->         SA(ike) ADDITIONAL_KEY_EXCHANGE
          <-- b2?     KE
      b2'? -->
          <-- a1'     SA(ike) ADDITIONAL_KEY_EXCHANGE`,
  },
  collision_delayed_request_multi_ke: {
    tunnels: { a: TWICE.ike, b: TWICE.ike },
    children: NET,
    rivals: true,
    ladder: `
      a: rekey ike
      b: rekey ike
          <-- b1      SA(ike)
      b1' -->         SA(ike) ADDITIONAL_KEY_EXCHANGE
      a1 -->          SA(ike)
          <-- b2      KE ADDITIONAL_KEY_EXCHANGE
          <-- a1'`,
  },
  collision_delete_multi_ke: {
    tunnels: { a: TWICE.ike, b: TWICE.ike },
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: rekey ike
      a1 -->          SA(ike)
          <-- a1'     SA(ike) ADDITIONAL_KEY_EXCHANGE
      b: delete ike
      a2 -->          KE ADDITIONAL_KEY_EXCHANGE
          <-- b1      D(ike)
          <-- a2'     TEMPORARY_FAILURE
      b1' -->         empty`,
  },
};

export const CHILD_DELETE: Record<string, Scenario> = {
  regular: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: delete net
      a1 -->          D(first)
          <-- a1'     D(first)`,
  },
  collision: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: delete net
      b: delete net
      a1 -->          D(first)
          <-- b1      D(first)
          <-- a1'     empty
      b1' -->         empty`,
  },
  collision_drop: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: delete net
      b: delete net
      a1 -->          D(first)
          <-- a1'     empty
          <-- b1      D(first)
      b1' -->         empty`,
  },
  collision_ike_rekey: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: delete net
      b: rekey ike
      a1 -->          D(first)
          <-- b1      SA(ike)
          <-- a1'     D(first)
      b1' -->         TEMPORARY_FAILURE`,
  },
  collision_ike_delete: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: delete net
      b: delete ike
      a1 -->          D(first)
          <-- b1      D(ike)
          <-- a1'     D(first)
      b1' -->         empty`,
  },
};

export const IKE_DELETE: Record<string, Scenario> = {
  regular: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: delete ike
      a1 -->          D(ike)
          <-- a1'     empty`,
  },
  collision: {
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: delete ike
      b: delete ike
      a1 -->          D(ike)
          <-- b1      D(ike)
          <-- a1'     empty
      b1' -->         empty`,
  },
};

export const CHILD_CREATE: Record<string, Scenario> = {
  duplicate: {
    children: NET,
    ladder: `
      a: need net
      a: silent
      b: need net
      b: silent`,
  },
  collision_ike_rekey: {
    changed: { a: andOther, b: andOther },
    children: ['net', 'other'],
    ladder: `
      a: need other
      b: rekey ike
      a1 -->          SA
          <-- b1      SA(ike)
          <-- a1'     TEMPORARY_FAILURE
      b1' -->         TEMPORARY_FAILURE
      a: silent
      b: silent`,
  },
  multi_ke: {
    changed: { a: andOtherTwice, b: andOtherTwice },
    children: ['net', 'other'],
    ladder: `
      a: need other
      a1 -->          SA KE
          <-- a1'     SA KE ADDITIONAL_KEY_EXCHANGE
      a2 -->          KE ADDITIONAL_KEY_EXCHANGE
          <-- a2'     KE`,
  },
};

/** Nothing is up when these begin. */
export const CHILDLESS: Record<string, Scenario> = {
  regular: {
    fresh: true,
    tunnels: { a: childless('prefer'), b: childless('allow') },
    children: NET,
    gap: 'wanted',
    ladder: `
      a: up
      a1 -->          SA(ike) KE
          <-- a1'     SA(ike) KE CHILDLESS_IKEV2_SUPPORTED
      a2 -->          !SA
          <-- a2'     !SA
      a3 -->          SA KE
          <-- a3'     SA KE`,
  },
  regular_manual: {
    fresh: true,
    tunnels: { a: childless('require'), b: childless('allow') },
    children: NET,
    gap: 'wanted',
    ladder: `
      a: up
      a1 -->          SA(ike) KE
          <-- a1'     CHILDLESS_IKEV2_SUPPORTED
      a2 -->          !SA
          <-- a2'     !SA
      a3 -->          SA KE
          <-- a3'     SA KE
      a: delete net
      a4 -->          D(a3)
          <-- a4'     D(a3)
      a: up net
      a5 -->          SA KE
          <-- a5'     SA KE`,
  },
  failure_init: {
    fresh: true,
    tunnels: { a: childless('require'), b: childless('never') },
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: up
      a1 -->          SA(ike) KE
          <-- a1'     SA(ike) !CHILDLESS_IKEV2_SUPPORTED
      a: silent
      a: delete ike`,
  },
  failure_resp: {
    fresh: true,
    tunnels: { a: childless('never'), b: childless('require') },
    children: NONE,
    gap: 'wanted',
    ladder: `
      a: up
      a1 -->          SA(ike) KE
          <-- a1'     SA(ike) CHILDLESS_IKEV2_SUPPORTED
      a2 -->          SA
          <-- a2'     !SA
      a: delete ike`,
  },
};

/** The same with children of AH. */
function withAh(cases: Record<string, Scenario>): Record<string, Scenario> {
  return Object.fromEntries(
    Object.entries(cases).map(([name, scenario]) => [name, { ...scenario, ah: true } as const]),
  );
}

export const AH_REKEY = withAh(CHILD_REKEY);
export const AH_DELETE = withAh(CHILD_DELETE);

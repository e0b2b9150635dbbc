// What other programs have on a gateway: a WireGuard-like mark that leads to a table of its own, a mark with a bit of ours, a VRF,
// and a rule and a table just where ours would stand. None of it may change, nor cease to work.

import { build, run, runAsync } from './netns.ts';
import { demand } from './steps.ts';

/** As wg-quick does it: what has not this mark looks in that table, which is its own. */
const WG = { mark: '0xca6c', table: '51820', far: '203.0.113.9' };
/** Where our tables and rules begin when nothing is said. */
const USUAL = '4500';

export interface Others {
  /** Sentence about what works; throws where something is not as it was planted. */
  stand(): Promise<string>;
}

/** Neighbours of that gateway's, in a namespace of their own. */
export function plantOthers(gateway: string): Others {
  build({
    namespaces: ['others'],
    links: [
      [
        [gateway, 'wg', '10.66.0.1/24'],
        ['others', 'wg', '10.66.0.2/24', `${WG.far}/32`],
      ],
      [
        [gateway, 'red-lan'],
        ['others', 'red-lan', '10.67.0.2/24'],
      ],
    ],
    routes: {},
    routers: [],
  });
  const ip = (...args: string[]) => run(gateway, 'ip', ...args);
  ip('route', 'add', '203.0.113.0/24', 'via', '10.66.0.2', 'table', WG.table);
  ip('rule', 'add', 'lookup', 'main', 'suppress_prefixlength', '0', 'priority', '32000');
  ip('rule', 'add', 'not', 'fwmark', WG.mark, 'lookup', WG.table, 'priority', '32001');
  const red = addVrf(ip);
  ip('rule', 'add', 'fwmark', '0x100000/0x100000', 'lookup', WG.table, 'priority', USUAL);
  const planted = standing(gateway);
  return {
    async stand() {
      const changed = differences(planted, standing(gateway));
      demand(changed.length === 0, `not as planted: ${changed.join('; ')}`);
      await reaches(gateway, true, WG.far);
      await reaches(gateway, true, '-I', red, '10.67.0.2');
      await reaches(gateway, true, '-m', `${0x100000}`, WG.far);
      await reaches(gateway, false, '-m', `${Number(WG.mark)}`, WG.far);
      return `${planted.length} rules and routes of others as they were; their marks and ${red === 'red' ? 'a VRF' : 'rules by device, for want of a VRF,'} lead where they did`;
    },
  };
}

/** The device that its packets are sent by. Where the kernel has no VRF, rules say the same of the one device. */
function addVrf(ip: (...args: string[]) => string): string {
  const own = () => ip('address', 'add', '10.67.0.1/24', 'dev', 'red-lan');
  try {
    ip('link', 'add', 'dev', 'red', 'type', 'vrf', 'table', USUAL);
  } catch {
    own();
    ip('route', 'add', '10.67.0.0/24', 'dev', 'red-lan', 'table', USUAL);
    for (const which of ['iif', 'oif'])
      ip('rule', 'add', which, 'red-lan', 'lookup', USUAL, 'priority', '1000');
    return 'red-lan';
  }
  ip('link', 'set', 'dev', 'red', 'up');
  ip('link', 'set', 'dev', 'red-lan', 'master', 'red');
  own();
  return 'red';
}

/** Rules and routes of both families, but for those of ours and of our interfaces. */
function standing(gateway: string): string[] {
  return ['-4', '-6'].flatMap((family) =>
    [
      ['rule', 'show'],
      ['route', 'show', 'table', 'all'],
    ].flatMap((what) =>
      run(gateway, 'ip', family, '-d', ...what)
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== '' && !/ proto 45\b| dev (to-peer|isthmus0)\b/.test(line)),
    ),
  );
}

function differences(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...before.filter((line) => !after.includes(line)).map((line) => `gone: ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `came: ${line}`),
  ];
}

async function reaches(gateway: string, expected: boolean, ...target: string[]): Promise<void> {
  const { status } = await runAsync(gateway, 'ping', '-n', '-c', '1', '-W', '1', ...target);
  demand((status === 0) === expected, `ping ${target.join(' ')}: ${expected ? 'no answer' : 'an answer'}`);
}

import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createEngine } from '../../src/dataplane/engine.ts';
import { createMemoryPlane } from '../../src/dataplane/memory.ts';
import { OFFLOAD_HEADER, plainFrame } from '../../src/dataplane/offload.ts';
import { loadAddon } from '../../src/native.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { testDataPlane, type UnderTest } from '../dataplane.suite.ts';

const MACHINE_TITLES = [
  'a machine lets nothing pass in the clear: before, between, after, and when the process is killed',
  'what a killed process left is removed by the next, and nothing else',
  'what somebody else removed is missing in the snapshot, and the same changes bring it back',
];

const EARLY_TITLES = [
  'what comes before its SA arrives once it is added, where it was expected',
  'what was expected and is forgotten, or removed, never arrives',
];

function cannot(reason: string, ...titles: string[]): Record<string, string> {
  return Object.fromEntries(titles.map((title) => [title, reason]));
}

testDataPlane(
  'memory',
  (): UnderTest => {
    const plane = createMemoryPlane(createNodeProvider());
    return {
      plane,
      outbound: async (packet) => plane.outbound(packet),
      inbound: async (esp, from) => plane.inbound(esp, from),
      whole: {
        outbound: async (packet) => plane.outbound(packet),
        inbound: async (packet) => plane.inboundPacket(packet),
      },
      links: {
        outbound: async (packet, link) => plane.outbound(packet, link),
        async inbound(esp) {
          const packet = plane.inbound(esp);
          return packet && { packet, link: plane.lastLink() };
        },
      },
      deliver: () => {},
      end: () => {},
    };
  },
  {
    cannot: {
      ...cannot(
        'it has no machine: nothing passes beside it, and it ends with the process',
        ...MACHINE_TITLES,
      ),
      ...cannot('the reference keeps no packets (capabilities.expects)', ...EARLY_TITLES),
      ...cannot(
        'the reference counts packets only',
        'both limits of bytes are told once each, and at the hard one it stops',
      ),
    },
  },
);

/** The engine without its threads. */
testDataPlane(
  'engine',
  (): UnderTest => {
    // Without its threads no device is read.
    const addon = { ...loadAddon(), openLink: () => '' };
    const native = addon.create(1, 0);
    const engine = createEngine(addon, native);
    return {
      plane: engine,
      outbound: async (packet) =>
        addon.outbound(native, [plainFrame(packet)], 0)[0] as Uint8Array | undefined,
      async inbound(esp, from = { address: '198.51.100.1', port: 4500 }) {
        const [frame] = addon.inbound(native, [esp], 0, addressBytes(from.address), from.port);
        return (frame as Uint8Array | undefined)?.subarray(OFFLOAD_HEADER);
      },
      whole: {
        outbound: async (packet) =>
          addon.outbound(native, [plainFrame(packet)], 0)[0] as Uint8Array | undefined,
        async inbound(packet) {
          const [frame] = addon.inboundPackets(native, [packet]);
          return (frame as Uint8Array | undefined)?.subarray(OFFLOAD_HEADER);
        },
      },
      links: {
        outbound: async (packet, link) =>
          addon.outbound(native, [plainFrame(packet)], link)[0] as Uint8Array | undefined,
        async inbound(esp) {
          const [frame, link] = addon.inbound(native, [esp], 0, addressBytes('198.51.100.1'), 4500);
          return frame
            ? { packet: (frame as Uint8Array).subarray(OFFLOAD_HEADER), link: link as number }
            : undefined;
        },
      },
      deliver: () => engine.deliver(),
      end: () => {},
    };
  },
  {
    cannot: {
      ...cannot(
        'its SAs and policies end with the process, and its guards are routes and rules of the host: the demo and the faults test them',
        ...MACHINE_TITLES,
      ),
      ...cannot(
        'its thread answers what is held, and no thread runs here: the demo tests it',
        'a policy whose SA was removed asks again',
      ),
    },
  },
);

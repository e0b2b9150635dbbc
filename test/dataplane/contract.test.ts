import { createNodeProvider } from '../../src/crypto/node-provider.ts';
import { createEngine } from '../../src/dataplane/engine.ts';
import { createMemoryPlane } from '../../src/dataplane/memory.ts';
import { OFFLOAD_HEADER, plainFrame } from '../../src/dataplane/offload.ts';
import { loadAddon } from '../../src/native.ts';
import { addressBytes } from '../../src/wire/address.ts';
import { testDataPlane, type UnderTest } from '../dataplane.suite.ts';

testDataPlane('memory', () => {
  const plane = createMemoryPlane(createNodeProvider());
  return { plane, outbound: plane.outbound, inbound: plane.inbound, deliver: () => {} };
});

/** The engine without its threads. */
testDataPlane('engine', (): UnderTest => {
  const addon = loadAddon();
  const native = addon.create(1, 0);
  const engine = createEngine(addon, native);
  return {
    plane: engine,
    outbound: (packet) => addon.outbound(native, [plainFrame(packet)])[0] as Uint8Array | undefined,
    inbound(esp, from = { address: '198.51.100.1', port: 4500 }) {
      const [frame] = addon.inbound(native, [esp], 0, addressBytes(from.address), from.port);
      return frame?.subarray(OFFLOAD_HEADER);
    },
    deliver: () => engine.deliver(),
  };
});

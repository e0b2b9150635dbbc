// A data plane that can little: tests say what theirs can besides, or cannot.

import type { Capabilities } from '../../src/policy/sad.ts';

export const MODEST: Capabilities = {
  encryption: ['aes-gcm-16'],
  integrity: [],
  authentication: [],
  modes: ['tunnel'],
  links: false,
  esn: true,
  replayWindow: 4096,
  plainEsp: true,
  udpEncapsulation: true,
  prefersUdp: false,
  firstInbound: true,
  holds: false,
  expects: false,
};

import { testInGuest } from './guest.ts';

testInGuest(
  'witness: the kernel takes what the reference makes, and the reverse, in user-mode Linux',
  'test/dataplane/witness.inside.ts',
);

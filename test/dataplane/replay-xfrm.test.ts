import { testInGuest } from './guest.ts';

testInGuest('replay: the kernel judges as the model, in user-mode Linux', 'test/dataplane/replay.inside.ts');

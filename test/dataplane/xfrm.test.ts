import { testInGuest } from './guest.ts';

testInGuest('xfrm: the contract in user-mode Linux', 'test/dataplane/xfrm.inside.ts');

import { testInGuest } from './guest.ts';

testInGuest('xfrm: what SAs and policies can be, in user-mode Linux', 'test/dataplane/xfrm-kinds.inside.ts');

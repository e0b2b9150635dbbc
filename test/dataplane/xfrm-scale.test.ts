import { testInGuest } from './guest.ts';

testInGuest('xfrm: thousands of SAs, in user-mode Linux', 'test/dataplane/xfrm-scale.inside.ts');

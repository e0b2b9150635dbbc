import { test } from 'node:test';
import { nothingIsServedBeforeAuth, wrongKeyEstablishesNothing } from './unproven.ts';

test('a wrong key establishes nothing, and no verdict but the judge’s counts', wrongKeyEstablishesNothing);
test('before AUTH nothing but IKE_AUTH is served (CVE-2014-2338)', nothingIsServedBeforeAuth);

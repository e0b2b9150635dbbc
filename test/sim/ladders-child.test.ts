import { CHILD_CREATE, CHILD_DELETE, CHILD_REKEY, CHILDLESS } from './cases.ts';
import { climb } from './ladders.ts';

climb('child_rekey', CHILD_REKEY);
climb('child_delete', CHILD_DELETE);
climb('child_create', CHILD_CREATE);
climb('childless', CHILDLESS);

import { AH_DELETE, AH_REKEY } from './cases.ts';
import { climb } from './ladders.ts';

climb('child_rekey of AH', AH_REKEY);
climb('child_delete of AH', AH_DELETE);

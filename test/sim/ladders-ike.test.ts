import { IKE_DELETE, IKE_REKEY } from './cases.ts';
import { climb } from './ladders.ts';

climb('ike_rekey', IKE_REKEY);
climb('ike_delete', IKE_DELETE);

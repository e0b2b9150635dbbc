// The ASN.1 schemas of what is nested in extensions. They are loaded by the first certificate that needs them: a gateway with
// pre-shared keys alone does without their 14 MB.

import { createRequire } from 'node:module';
import type * as Schema from '@peculiar/asn1-schema';
import type * as X509 from '@peculiar/asn1-x509';

const load = createRequire(import.meta.url);

export const asnConvert = (): typeof Schema.AsnConvert =>
  (load('@peculiar/asn1-schema') as typeof Schema).AsnConvert;

export const schemas = (): typeof X509 => load('@peculiar/asn1-x509') as typeof X509;

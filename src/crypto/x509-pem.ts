// PEM files with any number of objects in them (RFC 7468).

export interface PemBlock {
  /** `CERTIFICATE`, `X509 CRL`, `PRIVATE KEY` … */
  label: string;
  bytes: Uint8Array;
}

/** Text between blocks is passed over (RFC 7468 §2). Throws RangeError, with the line, where a block is broken. */
export function readPem(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { label: string; line: number; base64: string } | undefined;
  for (const [index, raw] of text.split(/\r\n|\r|\n/).entries()) {
    const line = raw.trim();
    const [, edge, label] = /^-----(BEGIN|END) ([A-Z0-9 ]+)-----$/.exec(line) ?? [];
    if (!open && edge === 'BEGIN') open = { label: label!, line: index + 1, base64: '' };
    else if (open && edge === 'END' && label === open.label) {
      blocks.push({ label: open.label, bytes: decodeBase64(open.base64, open.line) });
      open = undefined;
    } else if (edge) throw new RangeError(`line ${index + 1}: ${edge} ${label} is out of place`);
    else if (open) open.base64 += line;
  }
  if (open) throw new RangeError(`line ${open.line}: BEGIN ${open.label} has no end`);
  return blocks;
}

export function writePem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Every certificate of a file, PEM or one in DER; RangeError where it has none. */
export function readCertificateFile(file: Uint8Array): Uint8Array[] {
  return readObjects(file, ['CERTIFICATE', 'X509 CERTIFICATE', 'TRUSTED CERTIFICATE']);
}

/** Every object with one of the labels, or the one of a DER file; RangeError where there is none. */
export function readObjects(file: Uint8Array, labels: readonly string[]): Uint8Array[] {
  if (file[0] === 0x30) return [new Uint8Array(file)];
  const found = readPem(new TextDecoder('latin1').decode(file)).filter(({ label }) => labels.includes(label));
  if (found.length === 0) throw new RangeError(`there is no ${labels[0]!.toLowerCase()} in it`);
  return found.map(({ bytes }) => bytes);
}

function decodeBase64(text: string, line: number): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0 || text === '')
    throw new RangeError(`line ${line}: what follows is not base64`);
  return new Uint8Array(Buffer.from(text, 'base64'));
}

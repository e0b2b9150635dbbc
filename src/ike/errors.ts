// One row per thing that can be reported: code, who is at fault, the sentence. Codes are never renamed or reused.

interface ReportRow {
  /** `info` is nobody's fault. */
  fault: 'info' | 'config' | 'peer' | 'host' | 'bug';
  /** `{name}` stands for a field of the report's detail. */
  sentence: string;
}

export const REPORTS = {
  OK: { fault: 'info', sentence: 'done' },
  IKE_CONNECTING: { fault: 'info', sentence: 'connecting to {remote}, attempt {attempt}' },
  IKE_ESTABLISHED: { fault: 'info', sentence: 'IKE SA with {peer} established, {suite}' },
  IKE_CLASSICAL: {
    fault: 'info',
    sentence:
      'the IKE SA with {peer} has no post-quantum key exchange, for the peer has none of ours: who records the traffic may read it once there are quantum computers. post-quantum: required refuses such a peer',
  },
  IKE_WITHOUT_PPK: {
    fault: 'info',
    sentence:
      'the IKE SA with {peer} is made without PPK {id}, for the peer does not have it; ppk: use: required refuses such a peer',
  },
  IKE_REKEYED: { fault: 'info', sentence: 'IKE SA rekeyed, {suite}' },
  IKE_DELETED: { fault: 'info', sentence: 'IKE SA with {remote} deleted by {by}' },
  IKE_REAUTHENTICATED: {
    fault: 'info',
    sentence: '{remote} was authenticated anew; every child has gone over, and the old IKE SA goes',
  },
  CHILD_ESTABLISHED: { fault: 'info', sentence: 'child {child} established, {suite}, {local} to {remote}' },
  CHILD_REKEYED: { fault: 'info', sentence: 'child {child} rekeyed, {suite}' },
  CHILD_DUPLICATE: { fault: 'info', sentence: 'child {child} is there twice: the SA {spiIn} goes' },
  IKE_DUPLICATE: {
    fault: 'info',
    sentence: 'there are two IKE SAs with {remote}: the older one, {spi}, goes',
  },
  CHILD_NARROWED: {
    fault: 'config',
    sentence:
      'child {child} carries {got} only, and {wanted} is configured: write the same networks on both sides, or quirks: [one-selector-pair-per-child] for a peer that takes one pair at a time',
  },
  CHILD_DELETED: { fault: 'info', sentence: 'child {child} deleted by {by}' },
  COOKIE_SENT: { fault: 'info', sentence: 'many half-open IKE SAs: strangers are asked for a cookie first' },
  CONFIG_UNKNOWN_TUNNEL: {
    fault: 'config',
    sentence: 'there is no tunnel of that name in the configuration',
  },
  CONFIG_UNKNOWN_CHILD: {
    fault: 'config',
    sentence: 'there is no child of that name in use: isthmus status shows them',
  },
  CHILD_GONE: {
    fault: 'peer',
    sentence: 'the child went before it could be rekeyed: isthmus status shows what is there',
  },
  TUNNEL_DOWN: { fault: 'config', sentence: 'the tunnel is not up: isthmus up TUNNEL' },
  PEER_DELETED: { fault: 'peer', sentence: 'the peer deleted the IKE SA before this was done' },
  CONFIG_NO_SECRET: { fault: 'config', sentence: 'our key cannot be used: {message}' },
  CONFIG_NO_ADDRESS: {
    fault: 'config',
    sentence: 'the tunnel has no peer address to connect to; it can only answer',
  },
  CONFIG_NOT_CAPABLE: {
    fault: 'config',
    sentence:
      'the data plane can do none of the {protocol} suites of {child}: {configured}. The tunnel is left out',
  },
  CONFIG_NO_AH: {
    fault: 'config',
    sentence:
      'the data plane does not do AH, which {child} asks for: write protocol: esp, or take another dataplane. The tunnel is left out',
  },
  CONFIG_NO_TRANSPORT: {
    fault: 'config',
    sentence:
      'the data plane has no transport mode, which {child} asks for: leave transport out, or take another dataplane. The tunnel is left out',
  },
  CONFIG_AH_NAT: {
    fault: 'config',
    sentence:
      '{who} behind a NAT, and AH passes none: its checksum covers the addresses that a NAT changes (RFC 3715 §2.1). {child} is not made: write protocol: esp on both sides, or take the NAT away; a peer that is told to use UDP at any rate looks like one',
  },
  PEER_UNKNOWN: {
    fault: 'config',
    sentence:
      '{remote} calls itself {identity}, and no tunnel expects that name from that address: add a tunnel, or set peer-id',
  },
  PEER_NO_PROPOSAL: {
    fault: 'config',
    sentence:
      'no common algorithms for the {what} with {remote}: they offered {offered}; we accept {configured}. Give both sides one suite in common',
  },
  PEER_REFUSED_PROPOSAL: {
    fault: 'config',
    sentence:
      '{remote} accepts none of our algorithms for the {what}: we offered {configured}. Give both sides one suite in common',
  },
  PEER_TS_UNACCEPTABLE: {
    fault: 'config',
    sentence:
      'no common traffic selectors with {remote} for {child}: they want {offered}; we have {configured}. Make local here equal remote there',
  },
  PEER_REKEY_PFS: {
    fault: 'config',
    sentence:
      '{remote} made {child} in IKE_AUTH ({agreed}), where no key exchange is negotiated, and refuses its first rekey: we have {configured}; they want {wanted}. To mend it: {change}. Until its keys end the tunnel works',
  },
  PEER_REKEY_SELECTORS: {
    fault: 'config',
    sentence:
      '{remote} made {child} for {agreed} and refuses to rekey it for {configured}: make local here equal remote there, and remote here equal local there. Until its keys end the tunnel works',
  },
  PEER_REKEY_NARROWER: {
    fault: 'config',
    sentence:
      '{remote} made {child} for {agreed}, and after a rekey for {left} only: what is missing passes no more. Make remote there equal local here, and local there equal remote here',
  },
  PEER_REKEY_REFUSED: {
    fault: 'peer',
    sentence:
      '{remote} made {child} and refuses its first rekey with {notify}: its log will say why. Until its keys end the tunnel works',
  },
  PEER_AUTH_FAILED: {
    fault: 'config',
    sentence: '{remote} could not prove to be {identity}: the pre-shared keys of the two sides differ',
  },
  CONFIG_NO_SIGNATURE: {
    fault: 'config',
    sentence:
      '{remote} can verify none of our signatures: it takes {offered}; we have {configured}. Give us a certificate with another kind of key, or update the peer',
  },
  PEER_AUTH_METHOD: {
    fault: 'config',
    sentence: '{remote} as {identity}: {message}. Configure the same way of authentication on both sides',
  },
  PEER_SIGNATURE_SCHEME: {
    fault: 'config',
    sentence:
      '{remote} as {identity}: {message}. Let the peer sign with one of these, or add its own to auth: signatures here',
  },
  PEER_SIGNATURE_INVALID: {
    fault: 'peer',
    sentence:
      '{remote} does not hold the private key of the certificate that it shows for {identity}, or something on the way changed its messages: {message}',
  },
  PEER_NO_CERTIFICATE: {
    fault: 'config',
    sentence:
      '{remote} as {identity} sends no certificate: {message}. Let the peer always send it, not only when asked',
  },
  PEER_CERTIFICATE_KIND: {
    fault: 'config',
    sentence:
      '{remote} as {identity}: {message}; only X.509 certificates and raw public keys are read. Let the peer send those',
  },
  PEER_CERTIFICATE_INVALID: {
    fault: 'peer',
    sentence:
      '{remote} as {identity} sends a certificate that cannot be accepted: {message}. The peer needs another one',
  },
  PEER_CERTIFICATE_UNTRUSTED: {
    fault: 'config',
    sentence: 'the certificate of {remote} as {identity} is of no CA that we trust (auth: ca): {message}',
  },
  PEER_CERTIFICATE_EXPIRED: {
    fault: 'peer',
    sentence: 'the certificate of {remote} as {identity} is out of its time: {message}',
  },
  PEER_CERTIFICATE_REVOKED: {
    fault: 'peer',
    sentence: 'the certificate of {remote} as {identity} is revoked: {message}',
  },
  PEER_REVOCATION_UNKNOWN: {
    fault: 'config',
    sentence:
      'whether the certificate of {remote} as {identity} is revoked cannot be found out: {message}. Give a current crl, or set revocation: soft',
  },
  PEER_CERTIFICATE_NAME: {
    fault: 'config',
    sentence:
      'the certificate of {remote} does not prove {identity}: {message}. Issue it for that name (subjectAltName), or set the id there and peer-id here to a name in it',
  },
  PEER_CERTIFICATE_DOUBT: {
    fault: 'peer',
    sentence: 'the certificate of {peer} is accepted, and {message}',
  },
  CERTIFICATE_ENDS: {
    fault: 'config',
    sentence: '{whose} {subject} ends in {days} days, on {date}: renew it before (tunnels {tunnels})',
  },
  CERTIFICATE_ENDED: {
    fault: 'config',
    sentence: '{whose} {subject} ended on {date}: nobody accepts it any more; renew it (tunnels {tunnels})',
  },
  CREDENTIALS_RENEWED: {
    fault: 'info',
    sentence: 'certificates, keys or lists changed on disk and are in use',
  },
  CREDENTIALS_REFUSED: {
    fault: 'config',
    sentence: 'certificates, keys or lists changed on disk and are not used, the old ones stay: {problem}',
  },
  PEER_KEY_UNKNOWN: {
    fault: 'config',
    sentence:
      '{remote} as {identity} shows a public key that is not the one in auth: public-key here: {message}',
  },
  PEER_NO_PPK: {
    fault: 'config',
    sentence:
      'no common PPK with {remote}: it has {theirs}, we have {ours}, and one side requires it: give both the same id and secret, or use: preferred',
  },
  PEER_REFUSED_AUTH: {
    fault: 'config',
    sentence:
      '{remote} refuses our authentication as {identity}: compare the keys and the identities on both sides; the log there says more',
  },
  PEER_WRONG_IDENTITY: {
    fault: 'config',
    sentence: '{remote} calls itself {identity}, expected {expected}: set peer-id, or the id there',
  },
  PEER_UNREACHABLE: {
    fault: 'peer',
    sentence: 'no answer from {remote} after {sends} tries; trying again in {seconds} s',
  },
  PEER_SILENT_IN_AUTH: {
    fault: 'peer',
    sentence:
      '{remote} answered IKE_SA_INIT with {suite}, and IKE_AUTH not at all after {sends} tries: UDP port {port} is filtered on the way, or the peer cannot go on with what it chose, which its log will say; trying again in {seconds} s',
  },
  PEER_SILENT_IN_INTERMEDIATE: {
    fault: 'peer',
    sentence:
      '{remote} answered IKE_SA_INIT with {suite}, and IKE_INTERMEDIATE not at all after {sends} tries: UDP port {port} is filtered on the way, or packets as large as this key exchange needs are lost on it; trying again in {seconds} s',
  },
  PEER_VANISHED: { fault: 'peer', sentence: '{remote} does not answer any more after {sends} tries' },
  PEER_NOT_CHILDLESS: {
    fault: 'config',
    sentence:
      'childless: require wants IKE SAs without a first child (RFC 6023), and {remote} {did}: write childless: prefer here, or switch it on there',
  },
  REAUTHENTICATION_FAILED: {
    fault: 'peer',
    sentence:
      '{remote} could not be authenticated anew: {why}. The IKE SA goes on {until}, and it is tried again',
  },
  REAUTHENTICATION_MISSED: {
    fault: 'peer',
    sentence:
      '{remote} was not authenticated anew in time: the IKE SA ends, as reauthentication here or there demands',
  },
  PEER_ONE_TOO_MANY: {
    fault: 'peer',
    sentence:
      '{remote} asks for a second IKE SA while the first one answers, and unique: keep allows one only; write unique: replace to take the newer',
  },
  PEER_NAME_UNKNOWN: {
    fault: 'config',
    sentence: 'nobody knows the address of {name}: {why}. It is asked again before the next attempt',
  },
  PEER_TRANSPORT_DECLINED: {
    fault: 'config',
    sentence:
      '{remote} makes {child} in tunnel mode, and transport mode was asked for: it is deleted again. Switch transport mode on there, or leave transport out here',
  },
  PEER_TUNNEL_ASKED: {
    fault: 'config',
    sentence:
      '{remote} asks for {child} in tunnel mode, and transport: true is configured here: it is refused. Switch transport mode on there, or leave transport out here',
  },
  PEER_TRANSPORT_ASKED: {
    fault: 'config',
    sentence:
      '{remote} asks for {child} in transport mode, and gets tunnel mode, as configured here: where it does not go on with that, write transport: true here, or switch transport mode off there',
  },
  PEER_BUNDLE: {
    fault: 'config',
    sentence:
      '{remote} asks for {child} by AH and ESP in one: RFC 4301 §4.3 has no such bundles any more, and ESP alone does what they did. Give the peer one of the two, the same as protocol here',
  },
  PEER_SPI_IN_USE: {
    fault: 'peer',
    sentence:
      '{remote} chose an SPI for {child} that packets to another peer are sent with: it is asked to choose another one, and nothing has to be done unless it does so again and again',
  },
  CHILD_UNPADDED: {
    fault: 'info',
    sentence: '{child} is not padded as pad-to says, for {remote} takes no padded packets',
  },
  PEER_SINGLE_PAIR: {
    fault: 'config',
    sentence:
      '{remote} takes one pair of networks for each child, and {child} has more ({configured}): write quirks: [one-selector-pair-per-child]',
  },
  PEER_ERROR: { fault: 'peer', sentence: '{remote} answered {exchange} with {notify}' },
  PEER_SYNTAX: { fault: 'peer', sentence: '{remote} sent a message that cannot be read: {message}' },
  PEER_BAD_PUBLIC_VALUE: {
    fault: 'peer',
    sentence: '{remote} sent a key exchange value that is not valid: {message}',
  },
  PROBE_ANSWERED: { fault: 'info', sentence: '{child} passes: {to} answers, there and back in {rtt} ms' },
  PROBE_LOST: {
    fault: 'peer',
    sentence:
      '{child} does not pass: {to} has not answered for {seconds} s; isthmus status says where to look',
  },
  PATH_MTU: {
    fault: 'info',
    sentence: 'packets of up to {mtu} bytes pass through {child}, of {wanted} that are configured',
  },
  PATH_BLACK_HOLE: {
    fault: 'peer',
    sentence:
      'packets of more than {mtu} bytes vanish in {child} without a word, while smaller ones pass: something on the path drops what is too big, or fragments; packets are kept to {mtu} bytes until larger ones pass',
  },
  PATH_LOST: { fault: 'peer', sentence: 'a packet of that size does not reach the peer in one piece' },
  PATH_REFUSED: { fault: 'host', sentence: 'a packet of that size does not leave this machine in one piece' },
  PATH_UNASKED: {
    fault: 'info',
    sentence: 'the path was not measured: the peer takes no IKE fragments, or something else went first',
  },
  PATH_STUCK: {
    fault: 'peer',
    sentence:
      '{remote} did not get a message that was larger than the path in any form: it does not take the fragments of IKE that it promised to take, and something on the path drops those of IP, or it was restarted just then; a new IKE SA took over, and how large packets may be is not asked for a day (path-mtu: off)',
  },
  OUTER_PATH_MTU: {
    fault: 'info',
    sentence:
      'packets of up to {mtu} bytes reach the peer in one piece, of {wanted} that are configured; those of the tunnel are kept to what fits inside',
  },
  OUTER_PATH_BLACK_HOLE: {
    fault: 'peer',
    sentence:
      'packets of more than {mtu} bytes that may not be fragmented do not reach the peer, and nobody says so, while smaller ones do: something on the path drops what is too big and the message about it; those of the tunnel are kept to what fits inside until larger ones pass',
  },
  DAEMON_READY: { fault: 'info', sentence: '{name} listens on {addresses}, {tunnels} tunnels' },
  DATAPLANE_CHOSEN: { fault: 'info', sentence: 'data plane: {name}, because {why}' },
  KEYS_EXPORTED: {
    fault: 'config',
    sentence:
      'every key of this daemon is written to {folder}: whoever reads it reads all traffic. Remove it when the diagnosis is done',
  },
  CONFIG_RELOADED: { fault: 'info', sentence: 'reload: {effect}' },
  CONFIG_REFUSED: {
    fault: 'config',
    sentence: 'the new configuration is refused whole, nothing changes: {problem}',
  },
  CONFIG_WARNING: { fault: 'config', sentence: '{problem}' },
  HOST_FINDING: { fault: 'host', sentence: '{problem}; to mend it: {fix}' },
  HOST_REFUSED: { fault: 'host', sentence: '{message}' },
  HOST_INSTALL_FAILED: { fault: 'host', sentence: 'the data plane refused an SA of {child}: {message}' },
  BUG_DATAPLANE: { fault: 'bug', sentence: 'the data plane does not answer: {message}' },
  BUG_JOB: { fault: 'bug', sentence: 'a computation failed: {message}' },
} as const satisfies Record<string, ReportRow>;

export type ReportCode = keyof typeof REPORTS;

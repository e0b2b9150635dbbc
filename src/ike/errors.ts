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
  IKE_REKEYED: { fault: 'info', sentence: 'IKE SA rekeyed, {suite}' },
  IKE_DELETED: { fault: 'info', sentence: 'IKE SA with {remote} deleted by {by}' },
  CHILD_ESTABLISHED: { fault: 'info', sentence: 'child {child} established, {suite}, {local} to {remote}' },
  CHILD_REKEYED: { fault: 'info', sentence: 'child {child} rekeyed, {suite}' },
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
  TUNNEL_DOWN: { fault: 'config', sentence: 'the tunnel is not up: isthmus up TUNNEL' },
  PEER_DELETED: { fault: 'peer', sentence: 'the peer deleted the IKE SA before this was done' },
  CONFIG_NO_SECRET: { fault: 'config', sentence: 'the pre-shared key cannot be used: {message}' },
  CONFIG_NO_ADDRESS: {
    fault: 'config',
    sentence: 'the tunnel has no peer address to connect to; it can only answer',
  },
  CONFIG_NOT_CAPABLE: {
    fault: 'config',
    sentence: 'the data plane can do none of the ESP suites of {child}: {configured}. The tunnel is left out',
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
  PEER_AUTH_FAILED: {
    fault: 'config',
    sentence: '{remote} could not prove to be {identity}: the pre-shared keys of the two sides differ',
  },
  PEER_REFUSED_AUTH: {
    fault: 'config',
    sentence:
      '{remote} refuses our authentication as {identity}: compare the pre-shared key and the identity on both sides',
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
  PEER_VANISHED: { fault: 'peer', sentence: '{remote} does not answer any more after {sends} tries' },
  PEER_NOT_CHILDLESS: {
    fault: 'config',
    sentence:
      'childless: require wants IKE SAs without a first child (RFC 6023), and {remote} {did}: write childless: prefer here, or switch it on there',
  },
  PEER_ERROR: { fault: 'peer', sentence: '{remote} answered {exchange} with {notify}' },
  PEER_SYNTAX: { fault: 'peer', sentence: '{remote} sent a message that cannot be read: {message}' },
  PEER_BAD_PUBLIC_VALUE: {
    fault: 'peer',
    sentence: '{remote} sent a key exchange value that is not valid: {message}',
  },
  DAEMON_READY: { fault: 'info', sentence: '{name} listens on {addresses}, {tunnels} tunnels' },
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

// One tunnel as its peer has to see it, in nobody's dialect: what every generator of configuration files takes.

export interface PeerTunnel {
  /** Outer addresses, seen from the peer. */
  localAddress: string;
  remoteAddress: string;
  /** The addresses where nothing is said. */
  localId?: string;
  remoteId?: string;
  psk: string;
  /** In place of the secret, both ways. */
  credential?: PeerCredential;
  /** What the one child protects, in our words: `10.1.0.0/16`, `10.1.0.0/16 tcp 5201`. */
  local: string | readonly string[];
  remote: string | readonly string[];
  /** Instead of the one child, by name. */
  children?: Record<string, ChildSelectors>;
  /** Suites in our words, in order of preference. For AH `esp` holds its integrity algorithms. */
  ike: readonly string[];
  esp: readonly string[];
  /** ESP in tunnel mode where nothing is said. */
  protocol?: 'esp' | 'ah';
  transport?: true;
  /** In UDP without any NAT, which kernel-libipsec demands. */
  forceUdp?: true;
  /** Route-based: traffic is chosen by routes to this interface, whatever the selectors say. */
  link?: PeerLink;
  /** Seconds until the peer rekeys; never before hours where nothing is said. */
  ikeLifetime?: number;
  childLifetime?: number;
  /** Seconds of silence until the peer asks whether we are alive; it begins anew where we are not. */
  liveness?: number;
}

export interface ChildSelectors {
  local: string | readonly string[];
  remote: string | readonly string[];
}

/** A VTI is chosen by a mark on its packets, an XFRM interface by its `if_id`: `key` is either. */
export interface PeerLink {
  kind: 'vti' | 'xfrm';
  name: string;
  key: number;
}

/** PEM; `certificates` its own first. */
export interface PeerCredential {
  certificates: string[];
  key: string;
  ca: string;
  /** DER. */
  crl?: Uint8Array;
  /** Raw keys take the place of certificates. */
  raw?: boolean;
  publicKeys?: { own: string; peer: string };
}

/** Content by path below the peer's own folder. */
export type Files = Record<string, string | Uint8Array>;

export interface SelectorWords {
  network: string;
  protocol?: string;
  port?: string;
}

export function selectorsOf(words: string | readonly string[]): SelectorWords[] {
  return [words].flat().map((one) => {
    const [network = '', protocol, port] = one.split(' ');
    return { network, ...(protocol ? { protocol } : {}), ...(port ? { port } : {}) };
  });
}

export function childrenOf({ children, local, remote }: PeerTunnel): Record<string, ChildSelectors> {
  return children ?? { child: { local, remote } };
}

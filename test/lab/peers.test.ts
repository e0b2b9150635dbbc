// One description of a tunnel in the dialects of its peers.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { kernelLines } from '../../lab/peers/kernel-conf.ts';
import { libreswanFiles } from '../../lab/peers/libreswan-conf.ts';
import { strongswanConf, strongswanFiles } from '../../lab/peers/strongswan-conf.ts';
import { wordOf } from '../../lab/peers/suite-words.ts';
import type { PeerTunnel } from '../../lab/peers/tunnel.ts';
import { STATIC_ROWS } from '../../lab/static-rows.ts';
import { AH_AND_TRANSPORT, KERNEL_SUITES, LIBRESWAN_SUITES, ROUTED, SUITES } from '../../lab/suites.ts';
import { ENCRYPTION, INTEGRITY } from '../../src/crypto/suites.ts';

const NO_GMAC = 'the kernel has no AES-GMAC in AH';
const UNMET: Record<string, string> = {
  'aes-128-gmac': NO_GMAC,
  'aes-192-gmac': NO_GMAC,
  'aes-256-gmac': NO_GMAC,
};

const TUNNEL: PeerTunnel = {
  localAddress: '198.51.100.1',
  remoteAddress: '192.0.2.1',
  psk: 'a secret',
  local: '10.2.0.0/16',
  remote: '10.1.0.0/16',
  ike: ['aes-gcm-16-256 / prf-hmac-sha2-256 / x25519'],
  esp: ['aes-gcm-16-256 / x25519 / esn'],
};

const swanctl = (changes: Partial<PeerTunnel> = {}) =>
  String(strongswanFiles({ ...TUNNEL, ...changes })['swanctl.conf']);
const ipsec = (changes: Partial<PeerTunnel> = {}) =>
  String(libreswanFiles({ ...TUNNEL, ...changes })['ipsec.conf']);

/** Every line stands in the text, by itself. */
function has(text: string, ...lines: string[]): void {
  const found = new Set(text.split('\n').map((line) => line.trim()));
  for (const line of lines) assert.ok(found.has(line), `${line} is not in\n${text}`);
}

test('strongSwan: one tunnel of ESP with a secret', () => {
  const text = swanctl();
  has(text, 'version = 2', 'local_addrs = 198.51.100.1', 'remote_addrs = 192.0.2.1', 'encap = no');
  has(text, 'proposals = aes256gcm16-prfsha256-x25519', 'esp_proposals = aes256gcm16-x25519-esn');
  has(text, 'local_ts = 10.2.0.0/16', 'remote_ts = 10.1.0.0/16', 'local { auth = psk', 'id = 198.51.100.1 }');
  has(text, 'ike-tunnel { secret = "a secret" }');
  assert.doesNotMatch(text, /mode =|mark_|if_id|rekey_time|dpd_/);
});

test('libreswan: one tunnel of ESP with a secret', () => {
  const text = ipsec();
  has(text, 'conn child', 'ikev2=insist', 'authby=secret', 'left=198.51.100.1', 'right=192.0.2.1');
  has(text, 'ike=aes_gcm_c256-sha2_256-dh31', 'phase2=esp', 'esp=aes_gcm_c256;dh31', 'pfs=yes', 'esn=yes');
  has(text, 'leftsubnet=10.2.0.0/16', 'rightsubnet=10.1.0.0/16', 'type=tunnel', 'encapsulation=auto');
  assert.equal(libreswanFiles(TUNNEL)['ipsec.secrets'], '198.51.100.1 192.0.2.1 : PSK "a secret"\n');
  assert.doesNotMatch(text, /mark|vti|ipsec-interface|dpd|lifetime|hostaddrfamily/);
});

test('AH: its integrity algorithm stands where the suite of ESP stood', () => {
  const ah = { protocol: 'ah', esp: ['hmac-sha2-256-128 / x25519'] } as const;
  has(swanctl(ah), 'ah_proposals = sha256-x25519');
  assert.doesNotMatch(swanctl(ah), /esp_proposals/);
  has(ipsec(ah), 'phase2=ah', 'ah=sha2_256;dh31', 'pfs=yes', 'esn=no');
  assert.doesNotMatch(ipsec(ah), /^ *esp=/m);
});

test('transport mode: for the gateways themselves, or for a protocol between them', () => {
  const hosts = { transport: true, local: '198.51.100.1/32 gre', remote: '192.0.2.1/32 gre' } as const;
  has(swanctl(hosts), 'mode = transport', 'local_ts = 198.51.100.1/32[gre]', 'remote_ts = 192.0.2.1/32[gre]');
  has(ipsec(hosts), 'type=transport', 'leftprotoport=gre', 'rightprotoport=gre');
  assert.doesNotMatch(ipsec(hosts), /subnet/);
});

test('route-based: a VTI by marks, an XFRM interface by its identifier', () => {
  const any = { local: '0.0.0.0/0', remote: '0.0.0.0/0' };
  const vti = { ...any, link: { kind: 'vti', name: 'vti7', key: 7 } } as const;
  const xfrm = { ...any, link: { kind: 'xfrm', name: 'ipsec7', key: 7 } } as const;
  has(swanctl(vti), 'mark_in = 7', 'mark_out = 7', 'local_ts = 0.0.0.0/0');
  has(swanctl(xfrm), 'if_id_in = 7', 'if_id_out = 7');
  has(ipsec(vti), 'mark=7/0xffffffff', 'vti-interface=vti7', 'vti-routing=no');
  has(ipsec(xfrm), 'ipsec-interface=7');
});

test('lifetimes, liveness, names, encapsulation, IPv6 outside', () => {
  const changes = {
    localAddress: '2001:db8:b::1',
    remoteAddress: '2001:db8:a::1',
    localId: 'b.example',
    remoteId: 'a.example',
    ikeLifetime: 3600,
    childLifetime: 600,
    liveness: 10,
    forceUdp: true,
  } as const;
  has(swanctl(changes), 'rekey_time = 3600s', 'rekey_time = 600s', 'dpd_delay = 10s', 'dpd_action = restart');
  has(swanctl(changes), 'encap = yes', 'id = b.example }', 'id = a.example }');
  has(ipsec(changes), 'hostaddrfamily=ipv6', 'leftid=b.example', 'rightid=a.example', 'encapsulation=yes');
  has(
    ipsec(changes),
    'ikelifetime=3600s',
    'salifetime=600s',
    'dpddelay=10s',
    'dpdtimeout=30s',
    'dpdaction=restart',
  );
});

test('several selectors, protocols and ports, several children', () => {
  const several = { local: ['10.2.0.0/24', '10.2.1.0/24'], remote: '10.1.0.0/16 tcp 5201' };
  has(swanctl(several), 'local_ts = 10.2.0.0/24,10.2.1.0/24', 'remote_ts = 10.1.0.0/16[tcp/5201]');
  assert.throws(() => ipsec(several), /one selector a side/);
  const children = { one: { local: '10.2.0.0/24 icmp', remote: '10.1.0.0/24 icmp' }, two: several };
  has(swanctl({ children }), 'one {', 'two {', 'local_ts = 10.2.0.0/24[icmp]');
  has(ipsec({ children: { one: children.one } }), 'conn one', 'leftprotoport=icmp');
});

test('libreswan: a certificate by its name in the database, whose PEM files lie beside the configuration', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = String(privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const credential = { certificates: ['OWN', 'MIDDLE'], key, ca: 'CA' };
  const named = { localId: 'b.example', remoteId: 'a.example', credential };
  has(ipsec(named), 'authby=ecdsa', 'leftcert=own', 'leftid=@b.example', 'rightid=@a.example');
  const { 'ipsec.conf': _, ...files } = libreswanFiles({ ...TUNNEL, ...named });
  assert.deepEqual(files, { 'ipsec.secrets': '', 'own.pem': 'OWNMIDDLE', 'own.key': key, 'ca.pem': 'CA' });
  assert.throws(() => ipsec({ credential: { ...credential, raw: true } }), /no raw keys/);
});

test('strongSwan: certificates become files where swanctl looks, raw keys in their place, and no secret', () => {
  const credential = { certificates: ['OWN', 'MIDDLE'], key: 'KEY', ca: 'CA', crl: Uint8Array.of(48) };
  const files = strongswanFiles({ ...TUNNEL, credential });
  assert.deepEqual(Object.keys(files).sort(), [
    'private/own.pem',
    'swanctl.conf',
    'x509/own.pem',
    'x509ca/1.pem',
    'x509ca/ca.pem',
    'x509crl/list.crl',
  ]);
  has(String(files['swanctl.conf']), 'certs = own.pem', 'cacerts = ca.pem');
  assert.doesNotMatch(String(files['swanctl.conf']), /a secret/);
  const raw = strongswanFiles({
    ...TUNNEL,
    credential: { ...credential, raw: true, publicKeys: { own: 'A', peer: 'B' } },
  });
  assert.deepEqual(Object.keys(raw).sort(), [
    'private/own.pem',
    'pubkey/own.pem',
    'pubkey/peer.pem',
    'swanctl.conf',
  ]);
});

test('a peer that lacks an algorithm is named with it', () => {
  const x448 = { ike: ['aes-gcm-16-256 / prf-hmac-sha2-256 / x448'] };
  has(swanctl(x448), 'proposals = aes256gcm16-prfsha256-x448');
  assert.throws(() => ipsec(x448), { name: 'RangeError', message: 'libreswan has no word for x448' });
  const mixed = { ike: ['aes-cbc-256 / hmac-sha1-96 / prf-hmac-sha2-256 / modp-2048'] };
  assert.throws(() => ipsec(mixed), /no IKE suite of hmac-sha1-96 with prf-hmac-sha2-256/);
  assert.throws(() => wordOf('strongSwan', 'ml-kem-768'), /strongSwan has no word for ml-kem-768/);
});

test('every suite of the laboratory can be said in the words of its peer', () => {
  for (const { ike, esp } of [...SUITES, ...KERNEL_SUITES, ...AH_AND_TRANSPORT, ...ROUTED])
    swanctl({ ike: ike.split(', '), esp: [esp] });
  for (const { ike, esp } of LIBRESWAN_SUITES) ipsec({ ike: ike.split(', '), esp: [esp] });
});

test('strongswan.conf: the data plane decides the plugins; further settings stand in charon', () => {
  const options = { socket: 'unix:///vici', log: 'default = 1' };
  const userspace = strongswanConf({ ...options, kernel: 'kernel-libipsec' }, { fragment_size: 256 });
  has(userspace, 'vici { socket = unix:///vici }', 'fragment_size = 256');
  assert.match(userspace, /kernel-libipsec kernel-netlink vici/);
  assert.doesNotMatch(strongswanConf({ ...options, kernel: 'kernel-netlink' }), /libipsec kernel/);
});

const ROW = (part: string) => STATIC_ROWS.find(({ name }) => name.includes(part))!;
const ip = (part: string) => kernelLines(ROW(part).sas).map((line) => line.join(' '));

test('the bare kernel: what we send it receives, by policies in, forwarded and out', () => {
  const lines = ip('aes-gcm-16-256 esn, v4 in v4');
  assert.equal(lines.filter((line) => line.startsWith('xfrm state add')).length, 2);
  assert.match(
    lines[0]!,
    /src 192\.0\.2\.1 dst 198\.51\.100\.1 proto esp spi 0x1000 .*flag esn flag af-unspec aead rfc4106\(gcm\(aes\)\) 0x[0-9a-f]{72} 128$/,
  );
  assert.match(lines[1]!, /src 198\.51\.100\.1 dst 192\.0\.2\.1 proto esp spi 0x1001 /);
  for (const direction of ['in', 'fwd', 'out'])
    assert.equal(lines.filter((line) => line.includes(` dir ${direction} `)).length, 2, direction);
});

test('the bare kernel: AH has no cipher, and over IPv4 an ICV aligned to 32 bits (RFC 4302 §3.3.3.2.1)', () => {
  const [four, six] = [ip('ah hmac-sha1-96, v4 in v4'), ip('ah hmac-sha2-384-192, v4 in v6')];
  assert.match(four[0]!, /proto ah .*flag align4 auth-trunc hmac\(sha1\) 0x[0-9a-f]{40} 96$/);
  assert.doesNotMatch(six[0]!, /align4|aead| enc /);
});

test('the bare kernel: transport mode is for the two addresses, UDP has its ports', () => {
  const transport = ip('aes-gcm-16-256 esn, transport');
  assert.ok(transport.every((line) => !line.includes('dir fwd') && !line.includes('mode tunnel')));
  assert.match(ip('in UDP')[0]!, / encap espinudp 4500 4500 0\.0\.0\.0$/);
});

test('the bare kernel meets every algorithm that ESP and AH have', () => {
  const met = new Set<string>(
    STATIC_ROWS.flatMap(({ sas: [{ encryption, integrity }] }) =>
      [encryption?.name, integrity?.name].filter((name) => name !== undefined),
    ),
  );
  const wanted = [...ENCRYPTION, ...INTEGRITY].filter(({ status }) => status === 'implemented');
  assert.deepEqual(
    wanted.map(({ name }) => name).filter((name) => !met.has(name)),
    Object.keys(UNMET),
  );
});

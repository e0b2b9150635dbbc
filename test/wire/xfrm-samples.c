/* Messages as the kernel's own header lays them out, each field with a value of its own: one line of hex each.
 * Cleared first: an initializer may leave what it likes between the fields. */
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <string.h>

static unsigned char message[4096];
static unsigned length;

static void begin(int type, const void *body, unsigned bytes) {
	struct nlmsghdr *header = (void *)message;
	memset(message, 0, sizeof message);
	memcpy(message + NLMSG_HDRLEN, body, bytes);
	length = NLMSG_HDRLEN + NLMSG_ALIGN(bytes);
	header->nlmsg_type = type;
}

static void attribute(int type, const void *value, unsigned bytes) {
	struct nlattr *attr = (void *)(message + length);
	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + bytes;
	memcpy(message + length + NLA_HDRLEN, value, bytes);
	length += NLA_ALIGN(attr->nla_len);
}

static void end(const char *name) {
	((struct nlmsghdr *)message)->nlmsg_len = length;
	printf("%s ", name);
	for (unsigned i = 0; i < length; i++) printf("%02x", message[i]);
	printf("\n");
}

static __be16 net16(int value) { return (__be16)((value & 0xff) << 8 | value >> 8); }

static void fill(void *to, int from, int bytes) {
	for (int i = 0; i < bytes; i++) ((unsigned char *)to)[i] = from + i;
}

static struct xfrm_selector selector(void) {
	struct xfrm_selector s;
	memset(&s, 0, sizeof s);
	s.dport = net16(1001);
	s.dport_mask = net16(0xffff);
	s.sport = net16(1003);
	s.sport_mask = net16(0xfff0);
	s.family = 10;
	s.prefixlen_d = 64;
	s.prefixlen_s = 48;
	s.proto = 17;
	s.ifindex = -5;
	s.user = 6;
	fill(&s.daddr, 1, 16);
	fill(&s.saddr, 33, 16);
	return s;
}

static struct xfrm_lifetime_cfg limits(void) {
	struct xfrm_lifetime_cfg l = { 1ull << 33, XFRM_INF, 3, 4, 5, 6, 7, 8 };
	return l;
}

static struct xfrm_id id(void) {
	struct xfrm_id i;
	memset(&i, 0, sizeof i);
	i.proto = 50;
	fill(&i.daddr, 65, 16);
	fill(&i.spi, 1, 4);
	return i;
}

static struct xfrm_usersa_info info(void) {
	struct xfrm_usersa_info i;
	memset(&i, 0, sizeof i);
	i.sel = selector();
	i.id = id();
	i.lft = limits();
	i.curlft = (struct xfrm_lifetime_cur){ 11, 12, 13, 14 };
	i.stats = (struct xfrm_stats){ 15, 16, 17 };
	i.seq = 18;
	i.reqid = 19;
	i.family = 10;
	i.mode = 1;
	i.replay_window = 20;
	i.flags = XFRM_STATE_ESN;
	fill(&i.saddr, 97, 16);
	return i;
}

static struct xfrm_userpolicy_info policy(void) {
	struct xfrm_userpolicy_info p;
	memset(&p, 0, sizeof p);
	p.sel = selector();
	p.lft = limits();
	p.curlft = (struct xfrm_lifetime_cur){ 21, 22, 23, 24 };
	p.priority = 25;
	p.index = 26;
	p.dir = 2;
	p.action = 1;
	p.flags = 3;
	p.share = 4;
	return p;
}

static struct xfrm_user_tmpl template(void) {
	struct xfrm_user_tmpl t;
	memset(&t, 0, sizeof t);
	t.id = id();
	t.family = 2;
	t.reqid = 31;
	t.mode = 1;
	t.share = 2;
	t.optional = 3;
	t.aalgos = 32;
	t.ealgos = 33;
	t.calgos = 34;
	fill(&t.saddr, 129, 16);
	return t;
}

int main(void) {
	unsigned char room[256];
	const struct xfrm_mark lookup = { 81, 0xffffff0f };
	const __u32 link = 82;

	struct xfrm_usersa_info sa = info();
	begin(XFRM_MSG_NEWSA, &sa, sizeof sa);
	struct xfrm_algo *crypt = (void *)room;
	memset(room, 0, sizeof room);
	strcpy(crypt->alg_name, "cbc(aes)");
	crypt->alg_key_len = 128;
	fill(crypt->alg_key, 1, 16);
	attribute(XFRMA_ALG_CRYPT, crypt, sizeof *crypt + 16);
	struct xfrm_encap_tmpl encap = { 2, net16(4500), net16(4501) };
	attribute(XFRMA_ENCAP, &encap, sizeof encap);
	struct xfrm_algo_aead *aead = (void *)room;
	memset(room, 0, sizeof room);
	strcpy(aead->alg_name, "rfc4106(gcm(aes))");
	aead->alg_key_len = 160;
	aead->alg_icv_len = 96;
	fill(aead->alg_key, 1, 20);
	attribute(XFRMA_ALG_AEAD, aead, sizeof *aead + 20);
	struct xfrm_algo_auth *auth = (void *)room;
	memset(room, 0, sizeof room);
	strcpy(auth->alg_name, "xcbc(aes)");
	auth->alg_key_len = 128;
	auth->alg_trunc_len = 96;
	fill(auth->alg_key, 1, 16);
	attribute(XFRMA_ALG_AUTH_TRUNC, auth, sizeof *auth + 16);
	struct xfrm_replay_state_esn *esn = (void *)room;
	memset(room, 0, sizeof room);
	*esn = (struct xfrm_replay_state_esn){ 2, 41, 42, 43, 44, 64 };
	fill(esn->bmp, 1, 8);
	attribute(XFRMA_REPLAY_ESN_VAL, esn, sizeof *esn + 8);
	__u32 mark = 0x2d00000, mask = 0x2d00001;
	attribute(XFRMA_SET_MARK, &mark, sizeof mark);
	attribute(XFRMA_SET_MARK_MASK, &mask, sizeof mask);
	attribute(XFRMA_MARK, &lookup, sizeof lookup);
	__u32 padding = 71, extra = XFRM_SA_XFLAG_DONT_ENCAP_DSCP;
	attribute(XFRMA_TFCPAD, &padding, sizeof padding);
	attribute(XFRMA_SA_EXTRA_FLAGS, &extra, sizeof extra);
	attribute(XFRMA_IF_ID, &link, sizeof link);
	struct xfrm_user_offload offload;
	memset(&offload, 0, sizeof offload);
	offload.ifindex = 83;
	offload.flags = XFRM_OFFLOAD_INBOUND;
	attribute(XFRMA_OFFLOAD_DEV, &offload, sizeof offload);
	end("sa");

	struct xfrm_userpolicy_info pol = policy();
	struct xfrm_user_tmpl tmpl = template();
	begin(XFRM_MSG_NEWPOLICY, &pol, sizeof pol);
	attribute(XFRMA_TMPL, &tmpl, sizeof tmpl);
	attribute(XFRMA_MARK, &lookup, sizeof lookup);
	attribute(XFRMA_IF_ID, &link, sizeof link);
	end("policy");

	struct xfrm_user_expire expire;
	memset(&expire, 0, sizeof expire);
	expire.state = info();
	expire.hard = 1;
	begin(XFRM_MSG_EXPIRE, &expire, sizeof expire);
	end("expire");

	struct xfrm_user_acquire acquire;
	memset(&acquire, 0, sizeof acquire);
	acquire.id = id();
	acquire.sel = selector();
	acquire.policy = policy();
	acquire.aalgos = 51;
	acquire.ealgos = 52;
	acquire.calgos = 53;
	acquire.seq = 54;
	fill(&acquire.saddr, 161, 16);
	begin(XFRM_MSG_ACQUIRE, &acquire, sizeof acquire);
	attribute(XFRMA_TMPL, &tmpl, sizeof tmpl);
	end("acquire");

	struct xfrm_user_mapping mapping;
	memset(&mapping, 0, sizeof mapping);
	mapping.id.family = 2;
	mapping.id.proto = 50;
	mapping.reqid = 61;
	mapping.old_sport = net16(4500);
	mapping.new_sport = net16(4501);
	fill(&mapping.id.daddr, 1, 16);
	fill(&mapping.id.spi, 1, 4);
	fill(&mapping.old_saddr, 33, 16);
	fill(&mapping.new_saddr, 65, 16);
	begin(XFRM_MSG_MAPPING, &mapping, sizeof mapping);
	end("mapping");

	struct xfrm_usersa_id said;
	memset(&said, 0, sizeof said);
	said.family = 10;
	said.proto = 50;
	fill(&said.daddr, 1, 16);
	fill(&said.spi, 1, 4);
	begin(XFRM_MSG_DELSA, &said, sizeof said);
	attribute(XFRMA_MARK, &lookup, sizeof lookup);
	end("delete-sa");

	struct xfrm_userpolicy_id polid;
	memset(&polid, 0, sizeof polid);
	polid.sel = selector();
	polid.index = 26;
	polid.dir = 2;
	begin(XFRM_MSG_DELPOLICY, &polid, sizeof polid);
	attribute(XFRMA_MARK, &lookup, sizeof lookup);
	attribute(XFRMA_IF_ID, &link, sizeof link);
	end("delete-policy");
	return 0;
}

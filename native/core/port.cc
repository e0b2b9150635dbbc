#include "port.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
// behind netinet/in.h, whose types it uses
#include <linux/xfrm.h>
#include <openssl/rand.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <iterator>

#include "clock.h"
#include "fragments.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace isthmus {

namespace {

/** One datagram or a train of them; a little apart, so that the beginnings of neighbours do not fall into the same cache lines. */
constexpr size_t RECEIVE_BUFFER = 65536;
constexpr size_t RECEIVE_STRIDE = RECEIVE_BUFFER + 23 * 64;
/** Datagrams one by one are taken many at a time; trains few, to stay in the cache. */
constexpr size_t RECEIVE_BATCH = 64, TRAIN_BATCH = 4;
constexpr size_t TRAIN_BYTES = 8192;
/** Batches of one socket before the others are looked at. */
constexpr int MOST_TURNS = 16;
/** In front of a packet, for the IPv6 header that it came with. */
constexpr size_t HEADROOM = 7 * 64;
static_assert(HEADROOM >= MOST_HEADER && RECEIVE_BUFFER + HEADROOM <= RECEIVE_STRIDE);
constexpr size_t CONTROL_BYTES = 512;
constexpr int SOCKET_BUFFER = 8 << 20;
constexpr size_t MOST_KNOWN = 1024, MOST_STRANGERS = 256;
/** Largest IKE message we look at. */
constexpr size_t MOST_IKE = 65000;
constexpr uint8_t KEEPALIVE = 0xff;

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

socklen_t toSocket(const Address& address, uint16_t port, SocketAddress& out) {
  memset(&out, 0, sizeof out);
  if (address.family == 4) {
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(port);
    memcpy(&out.v4.sin_addr, address.bytes.data(), 4);
    return sizeof out.v4;
  }
  out.v6.sin6_family = AF_INET6;
  out.v6.sin6_port = htons(port);
  memcpy(&out.v6.sin6_addr, address.bytes.data(), 16);
  return sizeof out.v6;
}

Endpoint fromSocket(const SocketAddress& in) {
  Endpoint endpoint{};
  if (in.any.sa_family == AF_INET) {
    endpoint.address.family = 4;
    memcpy(endpoint.address.bytes.data(), &in.v4.sin_addr, 4);
    endpoint.port = ntohs(in.v4.sin_port);
  } else {
    endpoint.address.family = 6;
    memcpy(endpoint.address.bytes.data(), &in.v6.sin6_addr, 16);
    endpoint.port = ntohs(in.v6.sin6_port);
  }
  return endpoint;
}

void set(int fd, int level, int option, int value) { (void)setsockopt(fd, level, option, &value, sizeof value); }

struct Ancillary {
  uint8_t ecn = 0;
  size_t segment = 0;
};

Ancillary readAncillary(msghdr& message) {
  Ancillary found;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) found.ecn = *CMSG_DATA(c);
    if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      int value;
      memcpy(&value, CMSG_DATA(c), sizeof value);
      found.ecn = uint8_t(value);
    }
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      int value;
      memcpy(&value, CMSG_DATA(c), sizeof value);
      found.segment = size_t(value);
    }
  }
  return found;
}

/** What sendmsg takes beside the bytes. */
struct Attached {
  alignas(cmsghdr) uint8_t bytes[2 * CMSG_SPACE(sizeof(int))] = {};
  size_t used = 0;

  template <typename T>
  void add(int level, int type, T value) {
    static_assert(sizeof(T) <= sizeof(int));
    auto* c = reinterpret_cast<cmsghdr*>(bytes + used);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof value);
    memcpy(CMSG_DATA(c), &value, sizeof value);
    used += CMSG_SPACE(sizeof value);
  }
};

/** Whether packets of this SA are sent with an IP header of their own. */
bool bringsHeader(const Sa& sa) { return sa.form != Form::EspTunnel && !sa.udp; }

/** Address, bytes and outer header bits of a message. */
msghdr headerOf(const Train& train, iovec& vector, SocketAddress& name, Attached& attached) {
  const OutboundSa& sa = *train.sa;
  const socklen_t nameBytes = toSocket(sa.remote, sa.udp ? sa.remotePort.load(std::memory_order_relaxed) : 0, name);
  const bool v4 = sa.local.family == 4;
  if (train.outer.trafficClass != 0 && !bringsHeader(sa)) attached.add(v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, int(train.outer.trafficClass));
  return {&name, nameBytes, &vector, 1, attached.used > 0 ? attached.bytes : nullptr, attached.used, 0};
}

/** Whether one call may take both. */
bool sameSocket(const Train& a, const Train& b) {
  return a.sa->udp == b.sa->udp && bringsHeader(*a.sa) == bringsHeader(*b.sa) && a.sa->local == b.sa->local && a.outer.dontFragment == b.outer.dontFragment;
}

/** The path's size is not asked for: fragments are made where they are allowed, and routers answer where they are not. */
void setDontFragment(int fd, uint8_t family, bool dontFragment) {
  if (family == 4) set(fd, IPPROTO_IP, IP_MTU_DISCOVER, dontFragment ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
  else set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, dontFragment ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT);
}

bool attach(int fd, int option, sock_filter* code, size_t count) {
  const sock_fprog program{uint16_t(count), code};
  return setsockopt(fd, SOL_SOCKET, option, &program, sizeof program) == 0;
}

/**
 * UDP: IKE, behind its marker of zeros, comes to the group's first socket, and so does what is too short to be either; each
 * SPI to one of the others. Asked of the first socket, it holds for all that join.
 */
bool steerGroup(int fd, size_t workers) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, uint32_t(workers)),
      BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
      BPF_STMT(BPF_RET | BPF_A, 0),
  };
  return attach(fd, SO_ATTACH_REUSEPORT_CBPF, code, std::size(code));
}

/** Raw: every socket is shown every packet and keeps those of its own SPIs. */
bool keepOwn(int fd, uint8_t family, uint32_t spiAt, size_t worker, size_t workers) {
  sock_filter code[] = {
      BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_IND, spiAt),
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, uint32_t(workers)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, uint32_t(worker), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  // IPv4 raw sockets see the IP header, whose length is in its first byte; IPv6 ones begin behind it.
  if (family == 4) code[0] = BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0);
  return attach(fd, SO_ATTACH_FILTER, code, std::size(code));
}

// Raw sockets

#ifndef IPV6_FLOWINFO
#define IPV6_FLOWINFO 11
#endif
#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif

/** An IPv6 raw socket gives what is behind the headers; the headers come beside it. */
void askForHeader(int fd) {
  for (const int option : {IPV6_FLOWINFO, IPV6_RECVHOPLIMIT, IPV6_RECVHOPOPTS, IPV6_RECVDSTOPTS, IPV6_RECVRTHDR}) set(fd, IPPROTO_IPV6, option, 1);
}

bool takeHeaders(int fd, uint8_t family) {
  const int one = 1;
  return setsockopt(fd, family == 4 ? IPPROTO_IP : IPPROTO_IPV6, family == 4 ? IP_HDRINCL : IPV6_HDRINCL, &one, sizeof one) == 0;
}

/** What the path there takes, as far as the kernel knows; 0 where there is none. */
size_t mtuTowards(const SocketAddress& name, socklen_t nameBytes, uint32_t mark) {
  const bool v4 = name.any.sa_family == AF_INET;
  SocketAddress to = name;
  (v4 ? to.v4.sin_port : to.v6.sin6_port) = htons(9);
  const int fd = socket(name.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  if (mark != 0) (void)setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
  int mtu = 0;
  socklen_t size = sizeof mtu;
  const bool known = connect(fd, &to.any, nameBytes) == 0 && getsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu, &size) == 0;
  close(fd);
  return known && mtu > 0 ? size_t(mtu) : 0;
}

/** Writes the IPv6 header that a packet came with in front of it; its beginning, or nullptr where not all of it is known. */
uint8_t* rebuildV6(msghdr& message, const Address& source, const Address& destination, uint8_t protocol, uint8_t* payload, size_t bytes) {
  constexpr size_t FIXED = 40;
  uint8_t header[MOST_HEADER] = {0x60};
  size_t size = FIXED, next = 6;
  if (message.msg_flags & MSG_CTRUNC) return nullptr;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != IPPROTO_IPV6) continue;
    const uint8_t* data = CMSG_DATA(c);
    const size_t length = c->cmsg_len - CMSG_LEN(0);
    if (c->cmsg_type == IPV6_FLOWINFO) put32(header, 0x60000000 | (be32(data) & 0x0fffffff));
    if (c->cmsg_type == IPV6_HOPLIMIT) {
      int hops;
      memcpy(&hops, data, sizeof hops);
      header[7] = uint8_t(hops);
    }
    // Each begins with what follows it: the kernel gives them in the order of the packet.
    const uint8_t kind = c->cmsg_type == IPV6_HOPOPTS ? 0 : c->cmsg_type == IPV6_DSTOPTS ? 60 : c->cmsg_type == IPV6_RTHDR ? 43 : PROTOCOL_ESP;
    if (kind == PROTOCOL_ESP) continue;
    if (length < 8 || size + length > sizeof header) return nullptr;
    header[next] = kind;
    next = size;
    memcpy(header + size, data, length);
    size += length;
  }
  // What the last one names is the protocol of the socket, or the fragment header of a whole packet, which counts for nothing
  // (RFC 4302 Appendix A2); else a header between them is missing.
  constexpr uint8_t FRAGMENT = 44;
  if (next != 6 && header[next] != protocol && header[next] != FRAGMENT) return nullptr;
  header[next] = protocol;
  if (size - FIXED + bytes > MOST_LENGTH) return nullptr;
  put16(header + 4, uint16_t(size - FIXED + bytes));
  memcpy(header + 8, source.bytes.data(), 16);
  memcpy(header + 24, destination.bytes.data(), 16);
  memcpy(payload - size, header, size);
  return payload - size;
}

}  // namespace

struct Port::Worker {
  explicit Worker(size_t index) : index(index), buffers(std::make_unique_for_overwrite<uint8_t[]>(RECEIVE_BATCH * RECEIVE_STRIDE)) {}

  const size_t index;
  std::vector<Socket> sockets;
  /** Not cleared: most of it is never touched. */
  std::unique_ptr<uint8_t[]> buffers;
  size_t batch = RECEIVE_BATCH;
  int wakeFd = -1;
  std::thread thread;
  Counter dropped[DROPS]{};

  Socket* find(Kind kind, const Address& address) {
    for (Socket& socket : sockets) {
      if (socket.kind == kind && socket.address == address) return &socket;
    }
    return nullptr;
  }
};

bool Port::isRaw(Kind kind) { return kind == Kind::Esp || kind == Kind::Ah; }

Port::Kind Port::kindOf(const Sa& sa) { return bringsHeader(sa) ? Kind::Ah : sa.udp ? Kind::EspNat : Kind::Esp; }

Port::Port() = default;

Port::~Port() {
  stop();
  for (const auto& worker : workers_) {
    for (const Socket& socket : worker->sockets) close(socket.fd);
    if (worker->wakeFd >= 0) close(worker->wakeFd);
  }
}

std::string Port::open(const Options& options) {
  spin_ = options.spin;
  mark_ = options.mark;
  for (size_t i = 0; i < options.workers; i++) {
    Worker& worker = *workers_.emplace_back(std::make_unique<Worker>(i));
    worker.wakeFd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    for (const Address& address : options.addresses) {
      const std::string failed = openSockets(worker, address, options);
      if (!failed.empty()) return failed;
    }
  }
  return "";
}

std::string Port::openSockets(Worker& worker, const Address& address, const Options& options) {
  std::string failed;
  if (worker.index == 0) failed = openSocket(worker, Kind::Ike, address, options.ikePort, options);
  if (failed.empty() && worker.index == 0) failed = openSocket(worker, Kind::IkeNat, address, options.natPort, options);
  if (failed.empty() && !options.kernelEsp) failed = openSocket(worker, Kind::EspNat, address, options.natPort, options);
  if (failed.empty() && options.rawIpsec) failed = openSocket(worker, Kind::Esp, address, 0, options);
  if (failed.empty() && options.rawIpsec) failed = openSocket(worker, Kind::Ah, address, 0, options);
  return failed;
}

std::string Port::openSocket(Worker& worker, Kind kind, const Address& address, uint16_t port, const Options& options) {
  const int family = address.family == 4 ? AF_INET : AF_INET6;
  const bool raw = isRaw(kind);
  const int protocol = kind == Kind::Esp ? PROTOCOL_ESP : PROTOCOL_AH;
  const int fd = raw ? socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol) : socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
  if (fd < 0) return std::string("socket: ") + strerror(errno);
  const auto fail = [fd](const std::string& what) {
    const std::string why = what + ": " + strerror(errno);
    close(fd);
    return why;
  };
  if (family == AF_INET6) set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (options.mark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &options.mark, sizeof options.mark) != 0) return fail("mark");
  const bool shared = !options.kernelEsp && (kind == Kind::IkeNat || kind == Kind::EspNat);
  if (shared) set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (options.workers > 1 && raw && !keepOwn(fd, address.family, kind == Kind::Ah ? 4 : 0, worker.index, options.workers)) return fail("filter by SPI");
  SocketAddress name;
  const socklen_t length = toSocket(address, port, name);
  if (bind(fd, &name.any, length) != 0) return fail(raw ? "IP protocol " + std::to_string(protocol) : "UDP port " + std::to_string(port));
  if (shared && kind == Kind::IkeNat && !steerGroup(fd, options.workers)) return fail("steering by SPI");
  set(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
  set(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
  set(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER);
  set(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER);
  set(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_RECVTOS : IPV6_RECVTCLASS, 1);
  setDontFragment(fd, address.family, false);
  if (raw && family == AF_INET6) askForHeader(fd);
  if (kind == Kind::Ah && !takeHeaders(fd, address.family)) return fail("packets with their own IP header");
  if (shared && options.trains) set(fd, SOL_UDP, UDP_GRO, 1);
  worker.sockets.push_back({fd, kind, address, port, options.trains});
  return options.kernelEsp ? leaveEspToKernel(worker.sockets.back()) : "";
}

std::string Port::leaveEspToKernel(const Socket& socket) {
  const bool v4 = socket.address.family == 4;
  for (const uint8_t direction : {XFRM_POLICY_IN, XFRM_POLICY_OUT}) {
    xfrm_userpolicy_info bypass{};
    bypass.sel.family = v4 ? AF_INET : AF_INET6;
    bypass.dir = direction;
    bypass.action = XFRM_POLICY_ALLOW;
    if (setsockopt(socket.fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_XFRM_POLICY : IPV6_XFRM_POLICY, &bypass, sizeof bypass) != 0)
      return std::string("IPsec bypass: ") + strerror(errno);
  }
  if (socket.kind != Kind::IkeNat) return "";
  const int espInUdp = UDP_ENCAP_ESPINUDP;
  if (setsockopt(socket.fd, SOL_UDP, UDP_ENCAP, &espInUdp, sizeof espInUdp) != 0) return std::string("ESP in UDP: ") + strerror(errno);
  return "";
}

void Port::start(EspReceiver* receiver, void (*wake)(void*), void* context) {
  receiver_ = receiver;
  wake_ = wake;
  wakeContext_ = context;
  running_ = true;
  for (const auto& worker : workers_) {
    worker->thread = std::thread([this, &worker = *worker] { receiveLoop(worker); });
    pthread_setname_np(worker->thread.native_handle(), ("esp-in-" + std::to_string(worker->index)).c_str());
  }
}

void Port::stop() {
  if (!running_.exchange(false)) return;
  for (const auto& worker : workers_) {
    rouse(worker->index);
    worker->thread.join();
  }
}

void Port::rouse(size_t worker) {
  const uint64_t one = 1;
  (void)!write(workers_[worker]->wakeFd, &one, sizeof one);
}

uint64_t Port::dropped(size_t drop) const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->dropped[drop].load();
  return sum;
}

void Port::receiveLoop(Worker& worker) {
  std::vector<pollfd> polled;
  for (const Socket& socket : worker.sockets) polled.push_back({socket.fd, POLLIN, 0});
  polled.push_back({worker.wakeFd, POLLIN, 0});
  while (running_) {
    if (poll(polled.data(), nfds_t(polled.size()), -1) < 0 && errno != EINTR) return;
    if (polled.back().revents != 0) roused(worker);
    for (size_t i = 0; i < worker.sockets.size(); i++) {
      if (polled[i].revents != 0) drainAll(worker, worker.sockets[i]);
    }
  }
}

void Port::roused(Worker& worker) {
  uint64_t ignored;
  (void)!read(worker.wakeFd, &ignored, sizeof ignored);
  if (!receiver_) return;
  receiver_->begin(worker.index);
  receiver_->end(worker.index);
}

/** Looks again after each batch, and for a while after the last one. */
void Port::drainAll(Worker& worker, const Socket& socket) {
  uint64_t spinUntil = 0;
  for (int turn = 0; turn < MOST_TURNS && running_;) {
    if (drain(worker, socket)) {
      turn++;
      if (spin_ > 0) spinUntil = bootNanoseconds() + spin_ * 1000ull;
    } else if (spin_ == 0 || bootNanoseconds() >= spinUntil) {
      return;
    }
  }
}

bool Port::drain(Worker& worker, const Socket& socket) {
  mmsghdr messages[RECEIVE_BATCH];
  iovec vectors[RECEIVE_BATCH];
  SocketAddress names[RECEIVE_BATCH];
  alignas(cmsghdr) uint8_t control[RECEIVE_BATCH][CONTROL_BYTES];
  for (size_t i = 0; i < worker.batch; i++) {
    vectors[i] = {worker.buffers.get() + i * RECEIVE_STRIDE + HEADROOM, RECEIVE_BUFFER};
    messages[i].msg_hdr = {&names[i], sizeof names[i], &vectors[i], 1, control[i], CONTROL_BYTES, 0};
  }
  const int count = recvmmsg(socket.fd, messages, unsigned(worker.batch), MSG_DONTWAIT, nullptr);
  if (count <= 0) return false;
  if (receiver_) receiver_->begin(worker.index);
  for (int i = 0; i < count; i++) {
    if (isRaw(socket.kind)) {
      cameRaw(worker, socket, messages[i].msg_hdr, messages[i].msg_len);
      continue;
    }
    const Ancillary attached = readAncillary(messages[i].msg_hdr);
    const Endpoint remote = fromSocket(names[i]);
    uint8_t* bytes = static_cast<uint8_t*>(vectors[i].iov_base);
    const size_t length = messages[i].msg_len;
    const size_t segment = attached.segment == 0 ? length : attached.segment;
    for (size_t at = 0; at < length; at += segment) {
      arrived(worker, socket, bytes + at, std::min(segment, length - at), attached.ecn, remote);
    }
  }
  if (receiver_) receiver_->end(worker.index);
  worker.batch = messages[0].msg_len >= TRAIN_BYTES ? TRAIN_BATCH : RECEIVE_BATCH;
  return true;
}

void Port::arrived(Worker& worker, const Socket& socket, uint8_t* bytes, size_t length, uint8_t ecn, const Endpoint& remote) {
  const auto malformed = [&worker] { add(worker.dropped[size_t(Drop::malformed)], 1); };
  switch (socket.kind) {
    case Kind::Ike:
      return queueIke(worker, socket, bytes, length, remote);
    case Kind::IkeNat:
    case Kind::EspNat:
      if (length == 1 && bytes[0] == KEEPALIVE) return;  // RFC 3948 §2.3
      if (length < 5) return malformed();
      if (be32(bytes) == 0) return queueIke(worker, socket, bytes + 4, length - 4, remote);  // RFC 3948 §2.2
      if (receiver_) receiver_->receive(worker.index, {bytes, length, ecn, remote});
      return;
    case Kind::Esp:
    case Kind::Ah:
      return;
  }
}

/** IPv4 raw sockets deliver the IP header, IPv6 ones do not. */
void Port::cameRaw(Worker& worker, const Socket& socket, msghdr& message, size_t length) {
  auto* bytes = static_cast<uint8_t*>(message.msg_iov->iov_base);
  const bool v4 = socket.address.family == 4;
  if (!v4) {
    const Endpoint remote = fromSocket(*static_cast<const SocketAddress*>(message.msg_name));
    const uint8_t protocol = socket.kind == Kind::Ah ? PROTOCOL_AH : PROTOCOL_ESP;
    uint8_t* packet = rebuildV6(message, remote.address, socket.address, protocol, bytes, length);
    if (!packet) return add(worker.dropped[size_t(Drop::extension)], 1);
    length += size_t(bytes - packet);
    bytes = packet;
  }
  Arrival arrival;
  const Drop why = readOuter(bytes, length, arrival);
  if (why != Drop::none) return add(worker.dropped[size_t(why)], 1);
  if (receiver_) receiver_->receive(worker.index, arrival);
}

void Port::queueIke(Worker& worker, const Socket& socket, const uint8_t* bytes, size_t length, const Endpoint& remote) {
  if (length < 28 || length > MOST_IKE) return add(worker.dropped[size_t(Drop::malformed)], 1);
  uint64_t spis[2];
  memcpy(spis, bytes, 16);
  {
    const std::lock_guard lock(mutex_);
    const bool known = spis_.contains(spis[0]) || spis_.contains(spis[1]);
    std::deque<Datagram>& queue = known ? known_ : strangers_;
    if (queue.size() >= (known ? MOST_KNOWN : MOST_STRANGERS)) return add(worker.dropped[size_t(Drop::queue_full)], 1);
    queue.push_back({{socket.address, socket.port}, remote, {bytes, bytes + length}});
  }
  wake_(wakeContext_);
}

std::vector<Datagram> Port::take() {
  const std::lock_guard lock(mutex_);
  std::vector<Datagram> all;
  for (std::deque<Datagram>* queue : {&known_, &strangers_}) {
    for (Datagram& datagram : *queue) all.push_back(std::move(datagram));
    queue->clear();
  }
  return all;
}

void Port::know(const std::vector<uint64_t>& came, const std::vector<uint64_t>& went) {
  const std::lock_guard lock(mutex_);
  for (const uint64_t spi : went) spis_.erase(spi);
  spis_.insert(came.begin(), came.end());
}

/** Neither this machine nor a router fragments, and what the kernel believes of the path does not count. */
void Port::setWhole(const Socket& socket, bool whole) {
  setDontFragment(socket.fd, socket.address.family, whole);
  if (socket.address.family == 6) set(socket.fd, IPPROTO_IPV6, IPV6_DONTFRAG, whole ? 1 : 0);
}

bool Port::send(const Endpoint& local, const Endpoint& remote, const uint8_t* bytes, size_t length, bool whole) {
  const Socket* socket = nullptr;
  for (const Socket& candidate : workers_[0]->sockets) {
    const bool ike = candidate.kind == Kind::Ike || candidate.kind == Kind::IkeNat;
    if (ike && candidate.port == local.port && candidate.address == local.address) socket = &candidate;
  }
  if (!socket) return false;
  const uint8_t marker[4] = {};
  const bool marked = socket->kind == Kind::IkeNat && length > 1;
  iovec vectors[2] = {{const_cast<uint8_t*>(marker), marked ? sizeof marker : 0}, {const_cast<uint8_t*>(bytes), length}};
  SocketAddress name;
  msghdr message{};
  message.msg_namelen = toSocket(remote.address, remote.port, name);
  message.msg_name = &name;
  message.msg_iov = vectors;
  message.msg_iovlen = 2;
  if (whole) setWhole(*socket, true);
  const bool sent = sendmsg(socket->fd, &message, MSG_DONTWAIT) >= 0;
  if (whole) setWhole(*socket, false);
  return sent;
}

size_t Port::sendEsp(size_t worker, const Train* trains, size_t count) {
  size_t failed = 0;
  for (size_t at = 0; at < count;) {
    const Train& first = trains[at];
    size_t end = at + 1;
    while (end < count && end - at < Batch::MOST_TRAINS && sameSocket(trains[end], first)) end++;
    Socket* socket = workers_[worker]->find(kindOf(*first.sa), first.sa->local);
    if (socket) failed += sendTrains(*socket, trains + at, end - at);
    else for (size_t i = at; i < end; i++) failed += trains[i].count;
    at = end;
  }
  return failed;
}

/** A message for each train, cut apart by the kernel; where it cannot do that, or a segment is larger than the path, one by one. */
size_t Port::sendTrains(Socket& socket, const Train* trains, size_t count) const {
  if (socket.dontFragment != trains[0].outer.dontFragment) {
    socket.dontFragment = trains[0].outer.dontFragment;
    setDontFragment(socket.fd, socket.address.family, socket.dontFragment);
  }
  size_t failed = 0;
  mmsghdr messages[Batch::MOST_TRAINS];
  iovec vectors[Batch::MOST_TRAINS];
  SocketAddress names[Batch::MOST_TRAINS];
  Attached attached[Batch::MOST_TRAINS];
  for (size_t i = 0; i < count; i++) {
    vectors[i] = {const_cast<uint8_t*>(trains[i].bytes), trains[i].length};
    if (trains[i].count > 1) attached[i].add(SOL_UDP, UDP_SEGMENT, uint16_t(trains[i].segment));
    messages[i].msg_hdr = headerOf(trains[i], vectors[i], names[i], attached[i]);
  }
  for (size_t at = 0; at < count;) {
    const bool whole = trains[at].count == 1 || (socket.kind == Kind::EspNat && socket.segmentation);
    size_t end = at + 1;
    while (whole && end < count && (trains[end].count == 1 || (socket.kind == Kind::EspNat && socket.segmentation))) end++;
    const int sent = whole ? sendmmsg(socket.fd, messages + at, unsigned(end - at), 0) : -1;
    if (sent > 0) {
      at += size_t(sent);
      continue;
    }
    if (whole && errno == EIO) socket.segmentation = false;  // the device has no checksum offload
    if (whole && trains[at].count == 1) failed += errno == EMSGSIZE && sendFragments(socket, trains[at], trains[at].bytes, trains[at].length) ? 0 : 1;
    else failed += sendPieces(socket, trains[at]);
    at++;
  }
  return failed;
}

/** What brings its header is not fragmented by the kernel where it is larger than the device takes. */
bool Port::sendFragments(Socket& socket, const Train& train, const uint8_t* packet, size_t bytes) const {
  if (socket.kind != Kind::Ah || !mayFragment(packet, train.outer.dontFragment)) return false;
  SocketAddress name;
  const socklen_t nameBytes = toSocket(train.sa->remote, 0, name);
  uint32_t identification = 0;
  if (RAND_bytes(reinterpret_cast<uint8_t*>(&identification), sizeof identification) != 1) return false;
  const std::vector<std::vector<uint8_t>> fragments = fragmentsOf(packet, bytes, mtuTowards(name, nameBytes, mark_), identification);
  for (const std::vector<uint8_t>& one : fragments) {
    if (sendto(socket.fd, one.data(), one.size(), 0, &name.any, nameBytes) < 0) return false;
  }
  return !fragments.empty();
}

size_t Port::sendPieces(Socket& socket, const Train& train) const {
  mmsghdr messages[Batch::MOST_SEGMENTS];
  iovec vectors[Batch::MOST_SEGMENTS];
  SocketAddress name;
  Attached attached;
  iovec none{};
  const msghdr header = headerOf(train, none, name, attached);
  unsigned count = 0;
  for (size_t at = 0; at < train.length; at += train.segment, count++) {
    vectors[count] = {const_cast<uint8_t*>(train.bytes + at), std::min(train.segment, train.length - at)};
    messages[count].msg_hdr = header;
    messages[count].msg_hdr.msg_iov = &vectors[count];
  }
  unsigned sent = 0, failed = 0;
  while (sent + failed < count) {
    const int now = sendmmsg(socket.fd, messages + sent + failed, count - sent - failed, 0);
    if (now > 0) {
      sent += unsigned(now);
      continue;
    }
    const iovec& piece = vectors[sent + failed];
    const bool cut = errno == EMSGSIZE && sendFragments(socket, train, static_cast<const uint8_t*>(piece.iov_base), piece.iov_len);
    (cut ? sent : failed)++;
  }
  return failed;
}

}  // namespace isthmus

#include "port.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
// behind netinet/in.h, whose types it uses
#include <linux/xfrm.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace isthmus {

namespace {

constexpr size_t RECEIVE_BUFFER = 65536;
constexpr size_t RECEIVE_BATCH = 16;
constexpr size_t CONTROL_BYTES = 128;
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

}  // namespace

Port::~Port() {
  stop();
  for (const Socket& socket : sockets_) close(socket.fd);
  if (wakeFd_ >= 0) close(wakeFd_);
}

std::string Port::open(const Options& options) {
  for (const Address& address : options.addresses) {
    for (const auto& [kind, port] : {std::pair{Kind::Ike, options.ikePort}, std::pair{Kind::Nat, options.natPort}}) {
      const std::string failed = openSocket(kind, address, port, options.mark);
      if (!failed.empty()) return failed;
    }
    if (!options.rawEsp) continue;
    const std::string failed = openSocket(Kind::Raw, address, 0, options.mark);
    if (!failed.empty()) return failed;
  }
  for (const Socket& socket : sockets_) {
    const std::string failed = options.kernelEsp ? leaveEspToKernel(socket) : "";
    if (!failed.empty()) return failed;
  }
  wakeFd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  buffers_.resize(RECEIVE_BATCH * RECEIVE_BUFFER);
  return "";
}

std::string Port::openSocket(Kind kind, const Address& address, uint16_t port, uint32_t mark) {
  const int family = address.family == 4 ? AF_INET : AF_INET6;
  const int type = (kind == Kind::Raw ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC;
  const int fd = socket(family, type, kind == Kind::Raw ? IPPROTO_ESP : IPPROTO_UDP);
  if (fd < 0) return std::string("socket: ") + strerror(errno);
  if (family == AF_INET6) set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (mark != 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) {
    const std::string why = std::string("mark: ") + strerror(errno);
    close(fd);
    return why;
  }
  SocketAddress name;
  const socklen_t length = toSocket(address, port, name);
  if (bind(fd, &name.any, length) != 0) {
    const std::string why = (kind == Kind::Raw ? std::string("IP protocol 50") : "UDP port " + std::to_string(port)) + ": " + strerror(errno);
    close(fd);
    return why;
  }
  set(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
  set(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
  set(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER);
  set(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER);
  if (family == AF_INET) {
    set(fd, IPPROTO_IP, IP_RECVTOS, 1);
    set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
  } else {
    set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
  }
  if (kind == Kind::Nat) set(fd, SOL_UDP, UDP_GRO, 1);
  sockets_.push_back({fd, kind, address, port});
  return "";
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
  if (socket.kind != Kind::Nat) return "";
  // Merged datagrams would reach the kernel's ESP as one packet.
  set(socket.fd, SOL_UDP, UDP_GRO, 0);
  const int espInUdp = UDP_ENCAP_ESPINUDP;
  if (setsockopt(socket.fd, SOL_UDP, UDP_ENCAP, &espInUdp, sizeof espInUdp) != 0) return std::string("ESP in UDP: ") + strerror(errno);
  return "";
}

void Port::start(EspReceiver* receiver, void (*wake)(void*), void* context) {
  receiver_ = receiver;
  wake_ = wake;
  wakeContext_ = context;
  running_ = true;
  thread_ = std::thread([this] { receiveLoop(); });
}

void Port::stop() {
  if (!running_.exchange(false)) return;
  const uint64_t one = 1;
  (void)!write(wakeFd_, &one, sizeof one);
  thread_.join();
}

void Port::receiveLoop() {
  std::vector<pollfd> polled;
  for (const Socket& socket : sockets_) polled.push_back({socket.fd, POLLIN, 0});
  polled.push_back({wakeFd_, POLLIN, 0});
  while (running_) {
    if (poll(polled.data(), nfds_t(polled.size()), -1) < 0 && errno != EINTR) return;
    for (size_t i = 0; i < sockets_.size(); i++) {
      if (polled[i].revents != 0) drain(sockets_[i]);
    }
  }
}

void Port::drain(Socket& socket) {
  mmsghdr messages[RECEIVE_BATCH];
  iovec vectors[RECEIVE_BATCH];
  SocketAddress names[RECEIVE_BATCH];
  alignas(cmsghdr) uint8_t control[RECEIVE_BATCH][CONTROL_BYTES];
  for (size_t i = 0; i < RECEIVE_BATCH; i++) {
    vectors[i] = {buffers_.data() + i * RECEIVE_BUFFER, RECEIVE_BUFFER};
    messages[i].msg_hdr = {&names[i], sizeof names[i], &vectors[i], 1, control[i], CONTROL_BYTES, 0};
  }
  const int count = recvmmsg(socket.fd, messages, RECEIVE_BATCH, MSG_DONTWAIT, nullptr);
  if (count <= 0) return;
  if (receiver_) receiver_->begin();
  for (int i = 0; i < count; i++) {
    const Ancillary attached = readAncillary(messages[i].msg_hdr);
    const Endpoint remote = fromSocket(names[i]);
    uint8_t* bytes = buffers_.data() + size_t(i) * RECEIVE_BUFFER;
    const size_t length = messages[i].msg_len;
    const size_t segment = attached.segment == 0 ? length : attached.segment;
    for (size_t at = 0; at < length; at += segment) {
      arrived(socket, bytes + at, std::min(segment, length - at), attached.ecn, remote);
    }
  }
  if (receiver_) receiver_->end();
}

void Port::arrived(const Socket& socket, uint8_t* bytes, size_t length, uint8_t ecn, const Endpoint& remote) {
  switch (socket.kind) {
    case Kind::Ike:
      return queueIke(socket, bytes, length, remote);
    case Kind::Nat:
      if (length == 1 && bytes[0] == KEEPALIVE) return;  // RFC 3948 §2.3
      if (length < 5) return add(dropped[size_t(Drop::malformed)], 1);
      if (be32(bytes) == 0) return queueIke(socket, bytes + 4, length - 4, remote);  // RFC 3948 §2.2
      if (receiver_) receiver_->receive({bytes, length, ecn, remote});
      return;
    case Kind::Raw: {
      // IPv4 raw sockets deliver the IP header, IPv6 ones do not.
      const size_t header = socket.address.family == 4 ? size_t(bytes[0] & 0xf) * 4 : 0;
      if (header >= length || length - header < 8) return add(dropped[size_t(Drop::malformed)], 1);
      const uint8_t outerEcn = socket.address.family == 4 ? bytes[1] : ecn;
      if (receiver_) receiver_->receive({bytes + header, length - header, outerEcn, {remote.address, 0}});
      return;
    }
  }
}

void Port::queueIke(const Socket& socket, const uint8_t* bytes, size_t length, const Endpoint& remote) {
  if (length < 28 || length > MOST_IKE) return add(dropped[size_t(Drop::malformed)], 1);
  uint64_t spis[2];
  memcpy(spis, bytes, 16);
  {
    const std::lock_guard lock(mutex_);
    const bool known = spis_.contains(spis[0]) || spis_.contains(spis[1]);
    std::deque<Datagram>& queue = known ? known_ : strangers_;
    if (queue.size() >= (known ? MOST_KNOWN : MOST_STRANGERS)) return add(dropped[size_t(Drop::queue_full)], 1);
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

void Port::setKnown(std::unordered_set<uint64_t> spis) {
  const std::lock_guard lock(mutex_);
  spis_ = std::move(spis);
}

Port::Socket* Port::find(Kind kind, const Address& address) {
  for (Socket& socket : sockets_) {
    if (socket.kind == kind && socket.address == address) return &socket;
  }
  return nullptr;
}

bool Port::send(const Endpoint& local, const Endpoint& remote, const uint8_t* bytes, size_t length) {
  Socket* socket = nullptr;
  for (Socket& candidate : sockets_) {
    if (candidate.kind != Kind::Raw && candidate.port == local.port && candidate.address == local.address) socket = &candidate;
  }
  if (!socket) return false;
  const uint8_t marker[4] = {};
  const bool marked = socket->kind == Kind::Nat && length > 1;
  iovec vectors[2] = {{const_cast<uint8_t*>(marker), marked ? sizeof marker : 0}, {const_cast<uint8_t*>(bytes), length}};
  SocketAddress name;
  msghdr message{};
  message.msg_namelen = toSocket(remote.address, remote.port, name);
  message.msg_name = &name;
  message.msg_iov = vectors;
  message.msg_iovlen = 2;
  return sendmsg(socket->fd, &message, MSG_DONTWAIT) >= 0;
}

bool Port::sendEsp(const Sa& sa, const uint8_t* bytes, size_t length, size_t segment, uint8_t ecn) {
  Socket* socket = find(sa.udp ? Kind::Nat : Kind::Raw, sa.local);
  if (!socket) return false;
  SocketAddress name;
  const socklen_t nameBytes = toSocket(sa.remote, sa.udp ? sa.remotePort.load(std::memory_order_relaxed) : 0, name);
  Attached attached;
  if (ecn != 0) attached.add(sa.local.family == 4 ? IPPROTO_IP : IPPROTO_IPV6, sa.local.family == 4 ? IP_TOS : IPV6_TCLASS, int(ecn));
  if (socket->segmentation && sa.udp && length > segment) {
    Attached cut = attached;
    cut.add(SOL_UDP, UDP_SEGMENT, uint16_t(segment));
    iovec vector{const_cast<uint8_t*>(bytes), length};
    const msghdr message{&name, nameBytes, &vector, 1, cut.bytes, cut.used, 0};
    if (sendmsg(socket->fd, &message, 0) >= 0) return true;
    if (errno == EAGAIN || errno == ENOBUFS) return false;
    // EIO, EINVAL: the device or the route cannot segment; one by one from now on.
    socket->segmentation = false;
  }
  mmsghdr messages[64];
  iovec vectors[64];
  unsigned count = 0;
  for (size_t at = 0; at < length && count < 64; at += segment, count++) {
    vectors[count] = {const_cast<uint8_t*>(bytes + at), std::min(segment, length - at)};
    messages[count].msg_hdr = {&name, nameBytes, &vectors[count], 1, attached.used ? attached.bytes : nullptr, attached.used, 0};
  }
  return sendmmsg(socket->fd, messages, count, 0) == int(count);
}

}  // namespace isthmus

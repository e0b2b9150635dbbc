#include "echo.h"

#include <netinet/in.h>
// Behind the one above, which it would contradict.
#include <linux/icmp.h>

#include <errno.h>
#include <netinet/icmp6.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

namespace isthmus {

namespace {

constexpr size_t MOST_REPLIES = 4096;
/** The largest IP packet. */
constexpr size_t ROOM = 65536;

int64_t microseconds(const timespec& time) { return int64_t(time.tv_sec) * 1'000'000 + time.tv_nsec / 1000; }

/** A control message that says which of our addresses a packet comes from. */
template <typename Info>
void addInfo(msghdr& message, int level, int type, const Info& info) {
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof info);
  memcpy(CMSG_DATA(header), &info, sizeof info);
  message.msg_controllen = CMSG_SPACE(sizeof info);
}

int64_t arrivalOf(msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec time;
    memcpy(&time, CMSG_DATA(header), sizeof time);
    return microseconds(time);
  }
  return 0;
}

/** Whole: with DF set, and whatever was said before of the path (PMTUDISC_PROBE); else as the kernel likes. */
void setWhole(int fd, int family, bool whole) {
  const int discover4 = whole ? IP_PMTUDISC_PROBE : IP_PMTUDISC_WANT;
  const int discover6 = whole ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_WANT;
  const int dontFragment = whole ? 1 : 0;
  if (family == 4) {
    setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover4, sizeof discover4);
  } else {
    setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover6, sizeof discover6);
    setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &dontFragment, sizeof dontFragment);
  }
}

}  // namespace

EchoSockets::~EchoSockets() {
  for (const int fd : {fd4_, fd6_})
    if (fd >= 0) close(fd);
}

std::string EchoSockets::open(int family) {
  int& fd = family == 4 ? fd4_ : fd6_;
  if (fd >= 0) return "";
  const int type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const int opened = family == 4 ? socket(AF_INET, type, IPPROTO_ICMP) : socket(AF_INET6, type, IPPROTO_ICMPV6);
  if (opened < 0) return std::string("ICMP socket: ") + strerror(errno);
  const int on = 1;
  setsockopt(opened, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  if (family == 4) {
    const icmp_filter filter{~(1U << ICMP_ECHOREPLY | 1U << ICMP_DEST_UNREACH)};
    setsockopt(opened, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
  } else {
    icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    ICMP6_FILTER_SETPASS(ICMP6_PACKET_TOO_BIG, &filter);
    setsockopt(opened, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
  }
  fd = opened;
  return "";
}

std::string EchoSockets::send(const Address& source, const Address& destination, const uint8_t* bytes, size_t length, bool whole, int64_t& sentAt) {
  const std::string failed = open(destination.family);
  if (!failed.empty()) return failed;
  setWhole(destination.family == 4 ? fd4_ : fd6_, destination.family, whole);
  sockaddr_in to4{};
  sockaddr_in6 to6{};
  iovec piece{const_cast<uint8_t*>(bytes), length};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in6_pktinfo))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (destination.family == 4) {
    to4.sin_family = AF_INET;
    memcpy(&to4.sin_addr, destination.bytes.data(), 4);
    message.msg_name = &to4;
    message.msg_namelen = sizeof to4;
    in_pktinfo from{};
    memcpy(&from.ipi_spec_dst, source.bytes.data(), 4);
    addInfo(message, IPPROTO_IP, IP_PKTINFO, from);
  } else {
    to6.sin6_family = AF_INET6;
    memcpy(&to6.sin6_addr, destination.bytes.data(), 16);
    message.msg_name = &to6;
    message.msg_namelen = sizeof to6;
    in6_pktinfo from{};
    memcpy(&from.ipi6_addr, source.bytes.data(), 16);
    addInfo(message, IPPROTO_IPV6, IPV6_PKTINFO, from);
  }
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  sentAt = microseconds(now);
  if (sendmsg(destination.family == 4 ? fd4_ : fd6_, &message, MSG_DONTWAIT) < 0) return strerror(errno);
  return "";
}

std::vector<EchoSockets::Reply> EchoSockets::take() {
  std::vector<Reply> replies;
  // Where one cannot be opened nothing is heard.
  for (const int family : {4, 6}) (void)open(family);
  takeFrom(fd4_, 4, replies);
  takeFrom(fd6_, 6, replies);
  return replies;
}

void EchoSockets::takeFrom(int fd, int family, std::vector<Reply>& replies) {
  std::vector<uint8_t> room(fd >= 0 ? ROOM : 0);
  for (size_t count = 0; fd >= 0 && count < MOST_REPLIES; count++) {
    sockaddr_storage from{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(timespec))] = {};
    iovec piece{room.data(), room.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return;
    Reply& reply = replies.emplace_back();
    reply.source.family = uint8_t(family);
    if (family == 4)
      memcpy(reply.source.bytes.data(), &reinterpret_cast<const sockaddr_in&>(from).sin_addr, 4);
    else
      memcpy(reply.source.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(from).sin6_addr, 16);
    reply.bytes.assign(room.begin(), room.begin() + got);
    reply.receivedAt = arrivalOf(message);
  }
}

}  // namespace isthmus

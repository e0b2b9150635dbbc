#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstring>

namespace isthmus {

namespace {

constexpr size_t ROOM = 65536;
/** The kernel answers at once; a second without an answer is a fault. */
constexpr timeval PATIENCE{1, 0};

/** How many messages in the bytes end an answer. */
int countEnds(const uint8_t* bytes, size_t length) {
  int ends = 0;
  for (size_t at = 0; at + sizeof(nlmsghdr) <= length;) {
    nlmsghdr header;
    memcpy(&header, bytes + at, sizeof header);
    if (header.nlmsg_len < sizeof header) return ends;
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) ends++;
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  return ends;
}

}  // namespace

std::string netlinkRequest(const uint8_t* bytes, size_t length, int answers, std::vector<uint8_t>& answer) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return std::string("netlink socket: ") + strerror(errno);
  const auto fail = [fd](const char* what) {
    const std::string why = std::string("netlink ") + what + ": " + strerror(errno);
    close(fd);
    return why;
  };
  const int on = 1;
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof PATIENCE);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (sendto(fd, bytes, length, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0) return fail("send");
  std::vector<uint8_t> room(ROOM);
  for (int ends = 0; ends < answers;) {
    const ssize_t got = recv(fd, room.data(), room.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail("receive");
    ends += countEnds(room.data(), size_t(got));
    answer.insert(answer.end(), room.begin(), room.begin() + got);
  }
  close(fd);
  return "";
}

}  // namespace isthmus

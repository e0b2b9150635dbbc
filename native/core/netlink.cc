#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstring>

namespace isthmus {

namespace {

constexpr size_t ROOM = 65536;
/** The kernel answers at once; a second without an answer is a fault. */
constexpr timeval PATIENCE{1, 0};
/** Messages that wait for the control thread; more are lost, which it is told. */
constexpr size_t MOST_WAITING = 1 << 20;
constexpr int LISTEN_BUFFER = 4 << 20;
/** For the answers to some hundred requests in one piece. */
constexpr int ANSWERS_BUFFER = 1 << 20;

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

NetlinkExchange::~NetlinkExchange() {
  if (fd_ >= 0) close(fd_);
}

std::string NetlinkExchange::send(int family, const uint8_t* bytes, size_t length, int answers) {
  missing_ = answers;
  fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
  if (fd_ < 0) return std::string("netlink socket: ") + strerror(errno);
  const int on = 1;
  setsockopt(fd_, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd_, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof PATIENCE);
  (void)setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &ANSWERS_BUFFER, sizeof ANSWERS_BUFFER);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = sendto(fd_, bytes, length, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  return sent < 0 ? std::string("netlink send: ") + strerror(errno) : "";
}

std::string NetlinkExchange::receive(size_t enough, std::vector<uint8_t>& answer) {
  std::vector<uint8_t> room(ROOM);
  while (missing_ > 0 && answer.size() < enough) {
    const ssize_t got = recv(fd_, room.data(), room.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::string("netlink receive: ") + strerror(errno);
    missing_ -= countEnds(room.data(), size_t(got));
    answer.insert(answer.end(), room.begin(), room.begin() + got);
  }
  return "";
}

std::string netlinkRequest(int family, const uint8_t* bytes, size_t length, int answers, std::vector<uint8_t>& answer) {
  NetlinkExchange exchange;
  const std::string failed = exchange.send(family, bytes, length, answers);
  return failed.empty() ? exchange.receive(SIZE_MAX, answer) : failed;
}

NetlinkListener::~NetlinkListener() {
  stop();
  if (fd_ >= 0) close(fd_);
  if (stopFd_ >= 0) close(stopFd_);
}

std::string NetlinkListener::open(int family, uint32_t groups, int room) {
  fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
  if (fd_ < 0) return std::string("netlink socket: ") + strerror(errno);
  const int buffer = room > 0 ? room : LISTEN_BUFFER;
  (void)setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  name.nl_groups = groups;
  if (bind(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return std::string("netlink groups: ") + strerror(errno);
  stopFd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return "";
}

void NetlinkListener::start(void (*wake)(void*), void* context) {
  if (stopFd_ < 0) return;  // not opened: there is nothing to hear
  wake_ = wake;
  wakeContext_ = context;
  running_ = true;
  thread_ = std::thread([this] { listenLoop(); });
}

void NetlinkListener::stop() {
  if (!running_.exchange(false)) return;
  const uint64_t one = 1;
  (void)!write(stopFd_, &one, sizeof one);
  thread_.join();
}

void NetlinkListener::listenLoop() {
  std::vector<uint8_t> room(ROOM);
  pollfd polled[] = {{fd_, POLLIN, 0}, {stopFd_, POLLIN, 0}};
  while (running_) {
    if (poll(polled, 2, -1) < 0 && errno != EINTR) return;
    if (polled[0].revents == 0) continue;
    sockaddr_nl from{};
    socklen_t fromBytes = sizeof from;
    const ssize_t got = recvfrom(fd_, room.data(), room.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &fromBytes);
    if (got < 0 && errno != ENOBUFS) continue;
    // Only the kernel is believed; port 0 is its own.
    if (got >= 0 && from.nl_pid != 0) continue;
    heard(room.data(), got < 0 ? 0 : size_t(got));
    wake_(wakeContext_);
  }
}

/** No bytes: the kernel's buffer ran over. */
void NetlinkListener::heard(const uint8_t* bytes, size_t length) {
  const std::lock_guard lock(mutex_);
  if (length == 0 || waiting_.size() + length > MOST_WAITING) {
    lost_ = true;
    return;
  }
  waiting_.insert(waiting_.end(), bytes, bytes + length);
}

std::vector<uint8_t> NetlinkListener::take(bool& lost) {
  const std::lock_guard lock(mutex_);
  lost = lost_;
  lost_ = false;
  return std::move(waiting_);
}

}  // namespace isthmus

#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "mark.h"

// Linux 6.2; the headers of Debian 12 are older than the kernels that it meets.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace isthmus {

namespace {

constexpr unsigned TCP_OFFLOAD = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

std::string failed(const char* what) { return std::string(what) + ": " + strerror(errno); }

/**
 * Frames that wait for us: more than the kernel's 500, which small packets at a high rate fill while we wait a millisecond for
 * a processor; less than what would hold a quarter of a gigabyte.
 */
constexpr int QUEUE = 4096;

/** One descriptor of the device; where there is none, errno says why. A device made with several queues refuses one that asks for a single one, and the reverse. */
std::string attach(const char* name, bool several, int& fd) {
  fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed("/dev/net/tun");
  ifreq request{};
  request.ifr_flags = short(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (several ? IFF_MULTI_QUEUE : 0));
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  const int headerBytes = int(VNET_HEADER);
  std::string why;
  if (ioctl(fd, TUNSETIFF, &request) != 0) why = failed(name);
  else if (ioctl(fd, TUNSETVNETHDRSZ, &headerBytes) != 0) why = failed("TUN offload header");
  else if (ioctl(fd, TUNSETPERSIST, 1) != 0) why = failed("TUN persistence");
  const int reason = errno;
  if (!why.empty()) ::close(fd);
  errno = reason;
  return why;
}

/** A device of one queue is busy until the last call on what was released has come back: that thread may wait for a processor. */
std::string attachSoon(const char* name, bool several, int& fd) {
  constexpr int ATTEMPTS = 50;
  constexpr useconds_t PAUSE = 1000;
  std::string why = attach(name, several, fd);
  for (int attempt = 0; !why.empty() && errno == EBUSY && attempt < ATTEMPTS; attempt++) {
    usleep(PAUSE);
    why = attach(name, several, fd);
  }
  return why;
}

/** As the kernel takes them: with a percent sign it would choose a name itself. */
bool isName(const std::string& name) {
  return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." && name.find_first_of("/:% \t\n") == std::string::npos;
}

void setQueue(const char* name) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_qlen = QUEUE;
  (void)ioctl(fd, SIOCSIFTXQLEN, &request);
  ::close(fd);
}

}  // namespace

bool Tun::stands() const {
  ifreq request{};
  return !queues_.empty() && ioctl(queues_[0], TUNGETIFF, &request) == 0 && name_ == request.ifr_name;
}

void Tun::release() const {
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : queues_) (void)dup3(nowhere, fd, O_CLOEXEC);
  ::close(nowhere);
}

Tun::~Tun() {
  for (const int fd : queues_) ::close(fd);
}

std::string Tun::open(const std::string& name, size_t queues, Claim claim) {
  if (!isName(name)) return name + ": no name for a device";
  const bool several = queues > 1;
  if (claim == Claim::IfMarked && if_nametoindex(name.c_str()) != 0 && !isMarked(name)) return name + ": a device that is not ours has that name";
  for (size_t i = 0; i < queues; i++) {
    int fd = -1;
    std::string why = attachSoon(name.c_str(), several, fd);
    // What an earlier process left may be of another kind: it goes, and with it its addresses and routes.
    if (!why.empty() && i == 0 && errno == EINVAL && isMarked(name) && removeDevice(name)) why = attach(name.c_str(), several, fd);
    if (!why.empty()) return why;
    queues_.push_back(fd);
  }
  if (!isMarked(name)) setMark(name);
  name_ = name;
  setQueue(name.c_str());
  udpSegments_ = ioctl(queues_[0], TUNSETOFFLOAD, TCP_OFFLOAD | TUN_F_USO4 | TUN_F_USO6) == 0;
  if (!udpSegments_) (void)ioctl(queues_[0], TUNSETOFFLOAD, TCP_OFFLOAD);
  return "";
}

}  // namespace isthmus

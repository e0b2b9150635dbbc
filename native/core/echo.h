// ICMP echo from an inside address of this machine: how a tunnel is probed, whoever protects its packets; and what routers say
// of packets that are too big. What the bytes mean is known in src/wire/icmp.ts and src/wire/too-big.ts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sad.h"

namespace isthmus {

/** Raw sockets that hear echo replies and what could not be delivered; each is opened when it is first needed. */
class EchoSockets {
 public:
  /** An ICMP message as it came; over IPv4 its IP header stands before it. Times are microseconds of CLOCK_REALTIME. */
  struct Reply {
    Address source;
    std::vector<uint8_t> bytes;
    int64_t receivedAt = 0;
  };

  EchoSockets() = default;
  ~EchoSockets();
  EchoSockets(const EchoSockets&) = delete;
  EchoSockets& operator=(const EchoSockets&) = delete;

  /** Never waits. Empty, or why it was not sent. `whole`: or not at all, here and on the way. */
  std::string send(const Address& source, const Address& destination, const uint8_t* bytes, size_t length, bool whole, int64_t& sentAt);
  /** What waits, at most some thousand. */
  std::vector<Reply> take();

 private:
  std::string open(int family);
  void takeFrom(int fd, int family, std::vector<Reply>& replies);

  int fd4_ = -1;
  int fd6_ = -1;
};

}  // namespace isthmus

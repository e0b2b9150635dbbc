// A device that packets for the tunnels are routed to: whole IP packets behind a virtio header, super-packets included.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace isthmus {

/** What stands in front of every packet of the TUN (virtio 1.2 §5.1.6, host byte order). */
struct VnetHeader {
  static constexpr uint8_t NEEDS_CHECKSUM = 1;
  static constexpr uint8_t TCP_V4 = 1, TCP_V6 = 4, UDP_L4 = 5, ECN = 0x80;
  uint8_t flags;
  uint8_t kind;
  uint16_t headerBytes;
  uint16_t segment;
  uint16_t checksumStart;
  uint16_t checksumOffset;
};
constexpr size_t VNET_HEADER = 10;
static_assert(sizeof(VnetHeader) == VNET_HEADER);

/** Bytes that the largest frame takes. */
constexpr size_t MOST_FRAME = VNET_HEADER + 65536;

class Tun {
 public:
  Tun() = default;
  ~Tun();
  Tun(const Tun&) = delete;
  Tun& operator=(const Tun&) = delete;

  /** Whose a device is that exists already under the name. */
  enum class Claim : uint8_t {
    /** Nobody else has reason to use the name. */
    Always,
    /** Ours when it has our mark, else it is left alone. */
    IfMarked,
  };

  /** Empty, or why not. The device persists when the process ends: packets to it then go nowhere. */
  std::string open(const std::string& name, size_t queues, Claim claim);
  /** Lets the kernel give the device to others. The descriptors stay, for threads that still know them, and lead nowhere. */
  void release() const;
  int queue(size_t index) const { return queues_[index]; }
  const std::string& name() const { return name_; }
  /** Whether the device is there and has the name that it was opened with: somebody else may have removed it. */
  bool stands() const;
  /** Whether the kernel takes and gives super-packets of UDP (Linux 6.2). */
  bool udpSegments() const { return udpSegments_; }

 private:
  std::string name_;
  std::vector<int> queues_;
  bool udpSegments_ = false;
};

}  // namespace isthmus

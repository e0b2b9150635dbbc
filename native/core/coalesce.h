// Consecutive TCP segments of one flow become one packet for the TUN, with an offload header that lets the kernel cut them
// apart again. Nothing is merged whose checksum does not fit: a segment that was broken before encryption stays broken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ip.h"

namespace isthmus {

/** What stands in front of every packet of the TUN (virtio 1.1 §5.1.6, host byte order). */
struct VnetHeader {
  static constexpr uint8_t NEEDS_CHECKSUM = 1;
  static constexpr uint8_t TCP_V4 = 1, TCP_V6 = 4, ECN = 0x80;
  uint8_t flags;
  uint8_t kind;
  uint16_t headerBytes;
  uint16_t segment;
  uint16_t checksumStart;
  uint16_t checksumOffset;
};
constexpr size_t VNET_HEADER = 10;
static_assert(sizeof(VnetHeader) == VNET_HEADER);

class Coalescer {
 public:
  using Write = void (*)(void* context, const uint8_t* frame, size_t bytes);

  Coalescer() : frame_(VNET_HEADER + 65536) {}

  /** Writes the packet, or keeps it to be joined by the next one. */
  void add(const uint8_t* packet, const Flow& flow, Write write, void* context);
  void flush(Write write, void* context);

 private:
  bool joins(const uint8_t* packet, const Flow& flow) const;
  void begin(const uint8_t* packet, const Flow& flow);

  std::vector<uint8_t> frame_;
  Flow flow_{};
  size_t bytes_ = 0;    // of the packet in frame_, 0: empty
  size_t headers_ = 0;  // IP and TCP headers
  size_t segment_ = 0;  // payload of each segment
  size_t count_ = 0;
  uint32_t next_ = 0;   // sequence number that continues it
  bool closed_ = false;
};

}  // namespace isthmus

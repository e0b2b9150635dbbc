// ESP packets on their way to the network, laid out so that one system call sends many of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "outer.h"

namespace isthmus {

/**
 * Packets of one SA and one outer header, `segment` bytes each, the last may be shorter: what UDP_SEGMENT takes. All but ESP in
 * tunnel mode bring their IP header.
 */
struct Train {
  const OutboundSa* sa;
  Outer outer;
  const uint8_t* bytes;
  size_t length;
  size_t segment;
  size_t count;
};

class Batch {
 public:
  /** One call takes at most so many packets and, with its headers, less than an IP packet. */
  static constexpr size_t MOST_SEGMENTS = 64;
  static constexpr size_t MOST_TRAIN = 65507;
  static constexpr size_t MOST_TRAINS = 64;
  /** Small enough to stay in the second-level cache from encryption to the system call. */
  static constexpr size_t CAPACITY = 256 * 1024;
  static constexpr size_t YOUNG = 16 * 1024;

  Batch() : room_(CAPACITY) { trains_.reserve(MOST_TRAINS); }

  /** Where the next packet goes, or nullptr when the batch must be sent first. `size`: at least that of what it becomes. */
  uint8_t* room(size_t size);
  /** What stands at `room` is a packet. */
  void add(const OutboundSa& sa, const Outer& outer, size_t size);
  const std::vector<Train>& trains() const { return trains_; }
  size_t bytes() const { return used_; }
  /** Whether the last train takes more, and is small enough to be moved to the front of an emptied batch. */
  bool lastIsYoung() const;
  /** All trains were sent, or all but the last. */
  void clear(bool keepLast);

 private:
  std::vector<uint8_t> room_;
  size_t used_ = 0;
  std::vector<Train> trains_;
  bool closed_ = true;
};

}  // namespace isthmus

// Consecutive segments of one flow become one super-packet for the TUN, which the kernel cuts apart again into the same
// bytes. Nothing is copied: the pieces are written from where they were decrypted. Nothing is merged whose checksum does
// not fit: a segment that was broken before encryption stays broken.
#pragma once

#include <atomic>

#include "ip.h"
#include "tun.h"

namespace isthmus {

class Coalescer {
 public:
  /** One frame for the device `link`, header first. */
  using Write = void (*)(void* context, uint32_t link, const iovec* pieces, size_t count);

  /** Whether the kernel takes super-packets of UDP; it does where nobody says otherwise. */
  void setUdp(bool udp) { udp_.store(udp, std::memory_order_relaxed); }
  /** Writes the packet, or keeps it to be joined by the next one for the same device. It must stay where it is until `flush`. */
  void add(uint8_t* packet, const Flow& flow, uint32_t link, Write write, void* context);
  /** Writes all that is kept. */
  void flush(Write write, void* context);

 private:
  static constexpr size_t MOST_TRAINS = 8;
  static constexpr size_t MOST_PIECES = 65;

  /** A super-packet in the making. */
  struct Train {
    uint32_t link;
    Flow flow;
    VnetHeader header;
    /** Frame header; first packet; then payloads. */
    iovec pieces[1 + MOST_PIECES];
    size_t count;     // packets
    size_t bytes;     // of the IP packet
    size_t headers;   // of IP and transport
    size_t segment;   // payload of each packet, the last may have less
    uint32_t next;    // TCP: the sequence number that continues it
    bool closed;
  };

  static bool joins(const Train& train, const uint8_t* packet, const Flow& flow);
  static void join(Train& train, uint8_t* packet, const Flow& flow);
  static void begin(Train& train, uint8_t* packet, const Flow& flow, uint32_t link);
  static void finish(Train& train);
  Train* trainOf(const Flow& flow, uint32_t link);
  void write(Train& train, Write write, void* context);
  static void writeAlone(uint8_t* packet, const Flow& flow, uint32_t link, Write write, void* context);

  Train trains_[MOST_TRAINS];
  size_t used_ = 0;
  std::atomic<bool> udp_{true};
};

}  // namespace isthmus

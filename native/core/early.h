// Packets that come before their SA: the peer may send with it as soon as it has answered (RFC 7296 §2.8), while we are still
// making its keys. A few wait for it, where the SPI was announced; what comes for any other SPI does not.
#pragma once

#include <deque>
#include <mutex>

#include "outer.h"
#include "spi-table.h"

namespace isthmus {

/** A copy of its own. */
struct EarlyPacket {
  EarlyPacket(const Arrival& arrival, uint64_t now);
  EarlyPacket(EarlyPacket&&) = default;
  EarlyPacket& operator=(EarlyPacket&&) = default;

  /** What it takes of the memory for all. */
  static size_t sizeOf(const Arrival& arrival) { return sizeof(EarlyPacket) + arrival.place.header + arrival.bytes; }
  size_t size() const { return sizeOf(arrival); }

  std::vector<uint8_t> bytes;
  /** Into `bytes`. */
  Arrival arrival;
  /** Milliseconds of CLOCK_BOOTTIME. */
  uint64_t since;
};

/** The SPI of an SA that is being made, and what has come for it; `mutex` guards all but the SPI. */
struct Expectation {
  explicit Expectation(uint32_t spi) : spi(spi) {}
  struct Waiting {
    size_t worker;
    EarlyPacket packet;
  };
  const uint32_t spi;
  std::mutex mutex;
  bool over = false;
  size_t bytes = 0;
  std::deque<Waiting> waiting;
};

/** Rarely used, and then for a few packets: a lock does no harm. */
class Early {
 public:
  /** Of one SPI. */
  static constexpr size_t MOST_PACKETS = 64, MOST_BYTES = 128 * 1024;
  static constexpr size_t MOST_BYTES_IN_ALL = 1 << 20;
  /** Milliseconds. */
  static constexpr uint64_t LONGEST = 2000;

  Early(Epochs& epochs, size_t workers) : expected_(epochs), ready_(workers) {}

  // The control thread's.

  void expect(uint32_t spi);
  /** No SA comes; what has waited for it is dropped. */
  void forget(uint32_t spi);
  /** Its SA can be found: what has waited goes to the threads that it came to. Bit n: thread n has something to take. */
  uint64_t release(uint32_t spi);

  // The receiving threads', within a Reading.

  /** False where nobody expects the SPI, or not any more; else it waits, or is dropped and counted. */
  bool hold(size_t worker, uint32_t spi, const Arrival& arrival, uint64_t now);
  bool isReady(size_t worker) const { return ready_[worker].any.load(std::memory_order_acquire); }
  /** What was released and is not too old, in order. */
  std::vector<EarlyPacket> take(size_t worker, uint64_t now);

  /** Packets that there was no room for, that waited too long, or for nothing. */
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  struct Ready {
    std::mutex mutex;
    std::atomic<bool> any{false};
    std::vector<EarlyPacket> packets;
  };

  std::deque<Expectation::Waiting> end(uint32_t spi);
  bool hasRoom(const Expectation& expectation, size_t bytes) const;
  void dropOld(Expectation& expectation, uint64_t now);
  void drop(const EarlyPacket& packet);

  SpiTable<Expectation> expected_;
  std::vector<Ready> ready_;
  std::atomic<size_t> bytes_{0};
  Counter dropped_{0};
};

}  // namespace isthmus

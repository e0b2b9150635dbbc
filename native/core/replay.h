// Anti-replay (RFC 4303 §3.4.3, Appendix A): which sequence numbers were seen, and the guess of the high half with ESN.
#pragma once

#include <cstdint>
#include <cstring>

namespace isthmus {

/** Owned by one thread. Numbers are 64 bits; without ESN the high half stays zero. */
class ReplayWindow {
 public:
  static constexpr uint32_t MOST = 4096;

  ReplayWindow(uint32_t size, bool esn) : size_(size), esn_(esn) {}

  /** The full number that a packet with this low half has, if it is genuine (RFC 4303 §A2.2). */
  uint64_t guess(uint32_t low) const {
    if (!esn_) return low;
    const uint32_t topLow = uint32_t(top_), topHigh = uint32_t(top_ >> 32);
    uint32_t high = topHigh;
    if (topLow >= size_ - 1) {
      // Case A: the window lies within one subspace.
      if (low < topLow - size_ + 1) high = topHigh + 1;
    } else if (low >= topLow - size_ + 1) {
      // Case B: the window spans two subspaces, and the number is in the earlier one, where there is one.
      if (topHigh > 0) high = topHigh - 1;
    }
    return uint64_t(high) << 32 | low;
  }

  /** Whether the number may be new. Changes nothing: only `accept` after the ICV does. */
  bool fresh(uint64_t number) const {
    if (number == 0) return false;
    if (number > top_) return true;
    if (top_ - number >= size_) return false;
    return (bits_[index(number)] & bit(number)) == 0;
  }

  /** The packet was authentic. */
  void accept(uint64_t number) {
    if (number > top_) advance(number);
    bits_[index(number)] |= bit(number);
  }

 private:
  // One word more than the window, so that a word is cleared only when all of it has left (RFC 6479).
  static constexpr uint64_t WORDS = MOST / 64 * 2;
  static uint64_t index(uint64_t number) { return (number / 64) % WORDS; }
  static uint64_t bit(uint64_t number) { return 1ull << (number % 64); }

  void advance(uint64_t number) {
    const uint64_t from = top_ / 64, to = number / 64;
    if (to - from >= WORDS) {
      memset(bits_, 0, sizeof bits_);
    } else {
      for (uint64_t word = from + 1; word <= to; word++) bits_[word % WORDS] = 0;
    }
    top_ = number;
  }

  uint64_t top_ = 0;
  uint32_t size_;
  bool esn_;
  uint64_t bits_[WORDS] = {};
};

}  // namespace isthmus

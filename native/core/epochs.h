// Freeing what packet threads may still be reading: they never wait, the writer frees late.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace isthmus {

/**
 * One writer, up to MOST readers. A reader is odd while it holds what the writer published. Pointers that are retired here
 * are stored and loaded in sequentially consistent order: either the writer sees that a reader began, or the reader no
 * longer finds the pointer.
 */
class Epochs {
 public:
  static constexpr size_t MOST = 32;

  /** For the time of a batch: nothing that was reachable at its begin is freed before its end. */
  class Reading {
   public:
    Reading(Epochs& epochs, size_t reader) : epoch_(epochs.readers_[reader].epoch) { epoch_.fetch_add(1, std::memory_order_seq_cst); }
    ~Reading() { epoch_.fetch_add(1, std::memory_order_release); }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    std::atomic<uint64_t>& epoch_;
  };

  /** Where every reader stands. */
  using Moment = std::array<uint64_t, MOST>;
  Moment now() const {
    Moment moment;
    for (size_t i = 0; i < MOST; i++) moment[i] = readers_[i].epoch.load(std::memory_order_seq_cst);
    return moment;
  }
  /** Whether every reading of that moment has ended. */
  bool isPast(const Moment& moment) const {
    for (size_t i = 0; i < MOST; i++) {
      const bool wasReading = moment[i] % 2 == 1;
      if (wasReading && readers_[i].epoch.load(std::memory_order_seq_cst) == moment[i]) return false;
    }
    return true;
  }

  /** The writer has made it unreachable; it is freed once no reader can hold it. */
  void retire(std::shared_ptr<const void> object) {
    retired_.push_back({std::move(object), now()});
    collect();
  }

  /** Frees what no reader can hold any more. */
  void collect() {
    std::erase_if(retired_, [this](const Retired& retired) { return isPast(retired.since); });
  }

 private:
  struct alignas(64) Reader {
    std::atomic<uint64_t> epoch{0};
  };
  struct Retired {
    std::shared_ptr<const void> object;
    Moment since;
  };
  Reader readers_[MOST];
  std::vector<Retired> retired_;
};

}  // namespace isthmus

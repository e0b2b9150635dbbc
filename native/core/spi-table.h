// SAs by SPI: one writer adds and removes in constant time, packet threads look up without a lock.
#pragma once

#include "epochs.h"
#include "sad.h"

namespace isthmus {

/** Open addressing; a slot is empty, gone, or an SA. Grown into another array when half of it is used. */
template <typename SaType>
class SpiTable {
 public:
  explicit SpiTable(Epochs& epochs) : epochs_(epochs), slots_(std::make_shared<Slots>(FIRST)), current_(slots_.get()) {}

  /** Any thread, within a Reading. */
  SaType* find(uint32_t spi) const {
    const Slots& slots = *current_.load(std::memory_order_seq_cst);
    for (size_t at = spi & slots.mask;; at = (at + 1) & slots.mask) {
      SaType* sa = slots.at[at].load(std::memory_order_seq_cst);
      if (!sa) return nullptr;
      if (sa != gone() && sa->spi == spi) return sa;
    }
  }

  // The writer's.

  void add(std::shared_ptr<SaType> sa) {
    if (used_ * 2 >= slots_->mask) grow();
    put(*slots_, sa.get());
    used_++;
    all_.emplace(sa->spi, std::move(sa));
  }

  void remove(uint32_t spi) {
    const auto entry = all_.find(spi);
    if (entry == all_.end()) return;
    for (size_t at = spi & slots_->mask;; at = (at + 1) & slots_->mask) {
      if (slots_->at[at].load(std::memory_order_relaxed) != entry->second.get()) continue;
      slots_->at[at].store(gone(), std::memory_order_seq_cst);
      break;
    }
    epochs_.retire(std::move(entry->second));
    all_.erase(entry);
  }

  const std::unordered_map<uint32_t, std::shared_ptr<SaType>>& all() const { return all_; }

 private:
  static constexpr size_t FIRST = 64;
  struct Slots {
    explicit Slots(size_t size) : mask(size - 1), at(size) {}
    size_t mask;
    std::vector<std::atomic<SaType*>> at;
  };

  /** Marks a slot behind which others may stand. */
  static SaType* gone() { return reinterpret_cast<SaType*>(uintptr_t(1)); }

  static void put(Slots& slots, SaType* sa) {
    size_t at = sa->spi & slots.mask;
    while (slots.at[at].load(std::memory_order_relaxed)) at = (at + 1) & slots.mask;
    slots.at[at].store(sa, std::memory_order_seq_cst);
  }

  /** Also forgets the slots of what is gone. */
  void grow() {
    size_t size = FIRST;
    while (size < all_.size() * 4) size *= 2;
    auto next = std::make_shared<Slots>(size);
    for (const auto& [spi, sa] : all_) put(*next, sa.get());
    used_ = all_.size();
    current_.store(next.get(), std::memory_order_seq_cst);
    epochs_.retire(std::move(slots_));
    slots_ = std::move(next);
  }

  Epochs& epochs_;
  std::shared_ptr<Slots> slots_;
  std::atomic<Slots*> current_;
  size_t used_ = 0;
  std::unordered_map<uint32_t, std::shared_ptr<SaType>> all_;
};

}  // namespace isthmus

// Publishing Tables to the packet threads: they load one pointer a batch; nobody waits for anybody.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "sad.h"

namespace isthmus {

/** Two readers (one a direction), one writer. A reader is odd while it holds the tables. */
class Published {
 public:
  static constexpr int READERS = 2;

  Published() : current_(new Tables) {}
  ~Published() { delete current_.load(); }
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;

  /** For the time of a batch. */
  class Reading {
   public:
    Reading(Published& published, int reader) : epoch_(published.epochs_[size_t(reader)]) {
      epoch_.fetch_add(1, std::memory_order_seq_cst);
      tables_ = published.current_.load(std::memory_order_seq_cst);
    }
    ~Reading() { epoch_.fetch_add(1, std::memory_order_release); }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    const Tables& operator*() const { return *tables_; }
    const Tables* operator->() const { return tables_; }

   private:
    std::atomic<uint64_t>& epoch_;
    const Tables* tables_;
  };

  /** The writer's view: it alone replaces it. */
  const Tables& latest() const { return *current_.load(std::memory_order_relaxed); }

  void replace(std::unique_ptr<Tables> next) {
    const Tables* old = current_.exchange(next.release(), std::memory_order_seq_cst);
    Retired retired{std::unique_ptr<const Tables>(old), {}};
    for (size_t i = 0; i < READERS; i++) retired.epochs[i] = epochs_[i].load(std::memory_order_seq_cst);
    retired_.push_back(std::move(retired));
    collect();
  }

  /** Frees what no reader can hold any more. */
  void collect() {
    std::erase_if(retired_, [this](const Retired& retired) {
      for (size_t i = 0; i < READERS; i++) {
        const bool wasReading = retired.epochs[i] % 2 == 1;
        if (wasReading && epochs_[i].load(std::memory_order_seq_cst) == retired.epochs[i]) return false;
      }
      return true;
    });
  }

 private:
  struct Retired {
    std::unique_ptr<const Tables> tables;
    std::array<uint64_t, READERS> epochs;
  };
  std::atomic<const Tables*> current_;
  std::array<std::atomic<uint64_t>, READERS> epochs_{};
  std::vector<Retired> retired_;
};

}  // namespace isthmus

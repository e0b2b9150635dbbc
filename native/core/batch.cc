#include "batch.h"

#include <cstring>

namespace isthmus {

uint8_t* Batch::room(size_t size) {
  if (used_ + size > CAPACITY || trains_.size() == MOST_TRAINS) return nullptr;
  return room_.data() + used_;
}

void Batch::add(const OutboundSa& sa, const Outer& outer, size_t size) {
  const bool fits = !closed_ && trains_.back().sa == &sa && trains_.back().outer == outer && size <= trains_.back().segment &&
                    trains_.back().count < MOST_SEGMENTS && trains_.back().length + size <= MOST_TRAIN;
  if (fits) {
    Train& train = trains_.back();
    train.length += size;
    train.count++;
    closed_ = size < train.segment;
  } else {
    trains_.push_back({&sa, outer, room_.data() + used_, size, size, 1});
    closed_ = false;
  }
  used_ += size;
}

bool Batch::lastIsYoung() const { return !closed_ && trains_.back().length <= YOUNG && trains_.back().count < MOST_SEGMENTS; }

void Batch::clear(bool keepLast) {
  if (!keepLast) {
    used_ = 0;
    trains_.clear();
    closed_ = true;
    return;
  }
  Train last = trains_.back();
  memmove(room_.data(), last.bytes, last.length);
  last.bytes = room_.data();
  used_ = last.length;
  trains_.assign(1, last);
}

}  // namespace isthmus

#include "events.h"

namespace isthmus {

void Events::tell(const Event& event) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= MOST) return;
    waiting_.push_back(event);
  }
  if (wake_) wake_(context_);
}

std::vector<Event> Events::take() {
  const std::lock_guard lock(mutex_);
  std::vector<Event> all(waiting_.begin(), waiting_.end());
  waiting_.clear();
  return all;
}

void Events::tellLimits(Sa& sa, bool inbound) {
  const auto reached = [](uint64_t limit, uint64_t count) { return limit != 0 && count >= limit; };
  const auto once = [&](bool hard, std::atomic<bool>& told) {
    if (told.exchange(true)) return;
    Event event{Event::Type::Expire};
    event.spi = sa.spi;
    event.policy = sa.policy;
    event.inbound = inbound;
    event.hard = hard;
    tell(event);
  };
  const uint64_t packets = sa.packets(), bytes = sa.bytes();
  if (reached(sa.softPackets, packets) || reached(sa.softBytes, bytes)) once(false, sa.softTold);
  if (reached(sa.hardPackets, packets) || reached(sa.hardBytes, bytes)) once(true, sa.hardTold);
}

}  // namespace isthmus

#include "hold.h"

namespace isthmus {

Hold::Added Hold::add(uint32_t link, uint32_t policy, const uint8_t* frame, size_t bytes, uint64_t now) {
  const std::lock_guard lock(mutex_);
  const auto [entry, first] = queues_.try_emplace(policy, Queue{link, now, 0, {}});
  Queue& queue = entry->second;
  size_t dropped = 0;
  while (!queue.frames.empty() && (queue.frames.size() >= MOST_PACKETS || queue.bytes + bytes > MOST_BYTES)) {
    queue.bytes -= queue.frames.front().size();
    queue.frames.pop_front();
    dropped++;
  }
  queue.frames.emplace_back(frame, frame + bytes);
  queue.bytes += bytes;
  policies_.store(queues_.size(), std::memory_order_release);
  return {first, dropped};
}

}  // namespace isthmus

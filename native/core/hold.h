// Packets that wait for an SA: a few for a short time, so that the first of a flow is not lost to the negotiation it starts.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

namespace isthmus {

/** Rarely used, and then for a few packets: a lock does no harm. */
class Hold {
 public:
  static constexpr size_t MOST_PACKETS = 64;
  static constexpr size_t MOST_BYTES = 256 * 1024;
  /** Milliseconds. */
  static constexpr uint64_t LONGEST = 5000;

  struct Added {
    /** Whether it is the first since the policy was last answered: then an SA is asked for. */
    bool first;
    /** The oldest make room. */
    size_t dropped;
  };

  /** `link`: the device that the frame came from. */
  Added add(uint32_t link, uint32_t policy, const uint8_t* frame, size_t bytes, uint64_t now);

  struct Ready {
    uint32_t link;
    std::deque<std::vector<uint8_t>> frames;
  };
  struct Taken {
    std::vector<Ready> ready;
    size_t expired = 0;
  };
  /** Frames whose policy can send, a policy each, in order. What has waited too long, or whose policy is gone, is dropped. */
  template <typename StateOf>
  Taken take(uint64_t now, StateOf stateOf);

  enum class State : uint8_t { Waiting, Ready, Gone };

  bool empty() const { return policies_.load(std::memory_order_acquire) == 0; }

 private:
  struct Queue {
    uint32_t link;
    uint64_t since;
    size_t bytes = 0;
    std::deque<std::vector<uint8_t>> frames;
  };
  std::mutex mutex_;
  std::map<uint32_t, Queue> queues_;
  std::atomic<size_t> policies_{0};
};

template <typename StateOf>
Hold::Taken Hold::take(uint64_t now, StateOf stateOf) {
  const std::lock_guard lock(mutex_);
  Taken taken;
  for (auto entry = queues_.begin(); entry != queues_.end();) {
    const State state = stateOf(entry->second.link, entry->first);
    Queue& queue = entry->second;
    if (state == State::Waiting && now - queue.since <= LONGEST) {
      ++entry;
      continue;
    }
    if (state == State::Ready) taken.ready.push_back({queue.link, std::move(queue.frames)});
    else taken.expired += queue.frames.size();
    entry = queues_.erase(entry);
  }
  policies_.store(queues_.size(), std::memory_order_release);
  return taken;
}

}  // namespace isthmus

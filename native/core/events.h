// What the packet threads have to tell: rarely, in order, bounded.
#pragma once

#include <deque>
#include <mutex>
#include <vector>

#include "sad.h"

namespace isthmus {

struct Event {
  enum class Type : uint8_t { Acquire, Expire, FirstInbound, Mapping } type;
  uint32_t policy = 0;
  uint32_t spi = 0;
  bool inbound = false;
  bool hard = false;
  Flow flow{};
  Endpoint remote{};
};

class Events {
 public:
  /** `wake` is called from a packet thread after each event. */
  void onEvent(void (*wake)(void*), void* context) {
    wake_ = wake;
    context_ = context;
  }
  void tell(const Event& event);
  /** Each limit of an SA once, when it is reached. */
  void tellLimits(Sa& sa, bool inbound);
  std::vector<Event> take();

 private:
  static constexpr size_t MOST = 4096;
  std::mutex mutex_;
  std::deque<Event> waiting_;
  void (*wake_)(void*) = nullptr;
  void* context_ = nullptr;
};

}  // namespace isthmus

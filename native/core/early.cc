#include "early.h"

namespace isthmus {

EarlyPacket::EarlyPacket(const Arrival& from, uint64_t now)
    : bytes(from.esp - from.place.header, from.esp + from.bytes), arrival(from), since(now) {
  arrival.esp = bytes.data() + from.place.header;
}

void Early::expect(uint32_t spi) {
  if (!expected_.all().contains(spi)) expected_.add(std::make_shared<Expectation>(spi));
}

void Early::forget(uint32_t spi) {
  for (const Expectation::Waiting& one : end(spi)) drop(one.packet);
}

uint64_t Early::release(uint32_t spi) {
  uint64_t workers = 0;
  for (Expectation::Waiting& one : end(spi)) {
    Ready& ready = ready_[one.worker];
    const std::lock_guard lock(ready.mutex);
    ready.packets.push_back(std::move(one.packet));
    ready.any.store(true, std::memory_order_release);
    workers |= uint64_t(1) << one.worker;
  }
  return workers;
}

/** Nothing waits for it any more, also where a thread has found it already. */
std::deque<Expectation::Waiting> Early::end(uint32_t spi) {
  const auto entry = expected_.all().find(spi);
  if (entry == expected_.all().end()) return {};
  std::deque<Expectation::Waiting> waiting;
  {
    const std::lock_guard lock(entry->second->mutex);
    entry->second->over = true;
    waiting.swap(entry->second->waiting);
  }
  expected_.remove(spi);
  return waiting;
}

bool Early::hold(size_t worker, uint32_t spi, const Arrival& arrival, uint64_t now) {
  Expectation* expectation = expected_.find(spi);
  if (!expectation) return false;
  const std::lock_guard lock(expectation->mutex);
  if (expectation->over) return false;
  dropOld(*expectation, now);
  const size_t size = EarlyPacket::sizeOf(arrival);
  if (!hasRoom(*expectation, size)) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  expectation->bytes += size;
  bytes_.fetch_add(size, std::memory_order_relaxed);
  expectation->waiting.push_back({worker, EarlyPacket(arrival, now)});
  return true;
}

/** Threads that ask at one moment may go a packet each beyond what all may have. */
bool Early::hasRoom(const Expectation& expectation, size_t bytes) const {
  return expectation.waiting.size() < MOST_PACKETS && expectation.bytes + bytes <= MOST_BYTES && this->bytes() + bytes <= MOST_BYTES_IN_ALL;
}

void Early::dropOld(Expectation& expectation, uint64_t now) {
  while (!expectation.waiting.empty() && now - expectation.waiting.front().packet.since > LONGEST) {
    const EarlyPacket& oldest = expectation.waiting.front().packet;
    expectation.bytes -= oldest.size();
    drop(oldest);
    expectation.waiting.pop_front();
  }
}

void Early::drop(const EarlyPacket& packet) {
  bytes_.fetch_sub(packet.size(), std::memory_order_relaxed);
  dropped_.fetch_add(1, std::memory_order_relaxed);
}

std::vector<EarlyPacket> Early::take(size_t worker, uint64_t now) {
  Ready& ready = ready_[worker];
  std::vector<EarlyPacket> packets;
  {
    const std::lock_guard lock(ready.mutex);
    packets.swap(ready.packets);
    ready.any.store(false, std::memory_order_relaxed);
  }
  std::erase_if(packets, [&](const EarlyPacket& packet) {
    const bool old = now - packet.since > LONGEST;
    if (old) drop(packet);
    else bytes_.fetch_sub(packet.size(), std::memory_order_relaxed);
    return old;
  });
  return packets;
}

}  // namespace isthmus

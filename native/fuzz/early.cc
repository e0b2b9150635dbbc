// SPIs that are expected, released and forgotten, with packets and time in between, in an order of the input's choice: what is
// taken is what a few lines would let wait, in its order; every packet is taken, counted or waiting; no room is lost.

#include "early.h"
#include "fuzz.h"

using namespace isthmus;
using namespace isthmus::fuzz;

namespace {

constexpr size_t SPIS = 24, WORKERS = 2;

/** What Early should hold of one packet. */
struct Waiting {
  size_t worker;
  Bytes bytes;
  uint64_t since;
};

size_t roomOf(const Waiting& one) { return sizeof(EarlyPacket) + one.bytes.size(); }

bool isOld(const Waiting& one, uint64_t now) { return now - one.since > Early::LONGEST; }

size_t roomOf(const std::vector<Waiting>& all) {
  size_t sum = 0;
  for (const Waiting& one : all) sum += roomOf(one);
  return sum;
}

/** The same the obvious way. */
struct Model {
  std::array<bool, SPIS> expected{};
  std::array<std::vector<Waiting>, SPIS> waiting;
  std::array<std::vector<Waiting>, WORKERS> ready;
  uint64_t dropped = 0;

  size_t room() const {
    size_t sum = 0;
    for (const auto& each : waiting) sum += roomOf(each);
    for (const auto& each : ready) sum += roomOf(each);
    return sum;
  }
  bool hold(size_t spi, Waiting one) {
    if (!expected[spi]) return false;
    std::vector<Waiting>& own = waiting[spi];
    dropped += std::erase_if(own, [&](const Waiting& other) { return isOld(other, one.since); });
    const size_t more = roomOf(one);
    const bool fits = own.size() < Early::MOST_PACKETS && roomOf(own) + more <= Early::MOST_BYTES && room() + more <= Early::MOST_BYTES_IN_ALL;
    if (fits) own.push_back(std::move(one));
    else dropped++;
    return true;
  }
  void forget(size_t spi) {
    dropped += waiting[spi].size();
    waiting[spi].clear();
    expected[spi] = false;
  }
  uint64_t release(size_t spi) {
    uint64_t workers = 0;
    for (Waiting& one : waiting[spi]) {
      workers |= uint64_t(1) << one.worker;
      ready[one.worker].push_back(std::move(one));
    }
    waiting[spi].clear();
    expected[spi] = false;
    return workers;
  }
  std::vector<Waiting> take(size_t worker, uint64_t now) {
    std::vector<Waiting> taken = std::move(ready[worker]);
    ready[worker].clear();
    dropped += std::erase_if(taken, [&](const Waiting& one) { return isOld(one, now); });
    return taken;
  }
};

/** Up to 64 KB that begin with what tells one packet from the next. */
Bytes packetOf(uint32_t number, uint16_t size, size_t header) {
  Bytes packet(header + 12 + size);
  put32(packet.data() + header + 8, number);
  if (header > 0) packet[0] = uint8_t(number);
  return packet;
}

bool samePackets(const std::vector<Waiting>& wanted, const std::vector<EarlyPacket>& got) {
  return std::equal(wanted.begin(), wanted.end(), got.begin(), got.end(), [](const Waiting& a, const EarlyPacket& b) {
    return a.bytes == b.bytes && b.arrival.esp == b.bytes.data() + b.arrival.place.header && b.arrival.esp + b.arrival.bytes == b.bytes.data() + b.bytes.size();
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  Epochs epochs;
  Early early(epochs, WORKERS);
  Model model;
  uint64_t now = 0;
  for (uint32_t number = 0; !input.empty(); number++) {
    const uint8_t step = input.byte();
    const size_t spi = input.byte() % SPIS, worker = step >> 7;
    switch (step & 7) {
      case 0:
        early.expect(uint32_t(spi));
        model.expected[spi] = true;
        break;
      case 1:
        early.forget(uint32_t(spi));
        model.forget(spi);
        break;
      case 2:
        expect(early.release(uint32_t(spi)) == model.release(spi), "whoever has something to take is told");
        break;
      case 3:
        now += input.word() % (Early::LONGEST + 2);
        break;
      case 4:
        expect(early.isReady(worker) == !model.ready[worker].empty(), "whoever has something to take knows");
        expect(samePackets(model.take(worker, now), early.take(worker, now)), "what is taken is what waited, in order");
        break;
      default: {
        // One by one, or so many that something is full.
        const uint16_t bytes = input.word();
        const size_t header = step & 16 ? 20 : 0, count = step & 32 ? 70 : 1;
        for (size_t i = 0; i < count; i++) {
          Bytes packet = packetOf(number, step & 64 ? bytes : bytes % 1500, header);
          const Arrival arrival{packet.data() + header, packet.size() - header, 0, {}, {header, 9}};
          const bool held = early.hold(worker, uint32_t(spi), arrival, now);
          expect(held == model.hold(spi, {worker, std::move(packet), now}), "what is expected waits, or is counted");
        }
      }
    }
    expect(early.dropped() == model.dropped, "what has no room, or is too old, is counted");
    expect(early.bytes() == model.room(), "room is taken and given back");
  }
  return 0;
}

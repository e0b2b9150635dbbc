// ESP as it comes from the network: bytes as they are, and plaintexts of the attacker's choice under the right key, so that
// what stands behind the integrity check is reached. Nothing forged is written, and every packet is written or counted.

#include "fuzz.h"

using namespace isthmus;
using namespace isthmus::fuzz;

namespace {

constexpr size_t MOST_ARRIVALS = 32;
constexpr uint8_t FORGED = 0x10, HOSTILE_TRAILER = 0x20, CONFIDENTIAL = 0x40, JUMP = 0x80;

/** One engine for all inputs; each begins with SAs that have seen nothing. */
Engine& engineOf() {
  static Engine engine;
  if (engine.inboundSas().all().empty()) {
    for (size_t suite = 0; suite < SUITE_COUNT; suite++) expect(engine.addInbound(specOf(suite)) == Applied::ok, "every suite is there");
  }
  for (const auto& [spi, sa] : engine.inboundSas().all()) sa->replay = ReplayWindow(64, sa->esn);
  engine.takeEvents();
  return engine;
}

uint64_t dropsOf(const Engine& engine) {
  uint64_t sum = 0;
  for (size_t drop = 0; drop < DROPS; drop++) sum += engine.inboundDrops(drop);
  return sum;
}

/** An inner packet whose length field the input may leave to us: the rest is as it comes. */
Bytes innerOf(Input& input) {
  const uint8_t shape = input.byte();
  Bytes inner = input.bytes(input.word() % 1600);
  if ((shape & 1) || inner.size() < 40) return inner;
  inner[0] = shape & 2 ? uint8_t(0x60 | (inner[0] & 0x0f)) : 0x45;
  fixIp(inner);
  const size_t transport = shape & 2 ? 40 : 20;
  const uint8_t protocol = shape & 4 ? UDP : TCP;
  if ((shape & 8) || inner.size() < transport + 20) return inner;
  inner[shape & 2 ? 6 : 9] = protocol;
  if (!(shape & 2)) fixIp(inner);
  if (protocol == UDP) fixUdpLength(inner, transport);
  fixChecksum(inner, transport, protocol);
  return inner;
}

/** Padding and trailer as the RFC wants them, or as the input does. */
Bytes textOf(Input& input, size_t suite, uint8_t shape) {
  Bytes text = innerOf(input);
  const uint8_t next = shape & 8 ? input.byte() : !text.empty() && text[0] >> 4 == 6 ? 41 : 4;
  if (shape & CONFIDENTIAL) text.resize(text.size() + input.byte());
  if (!(shape & HOSTILE_TRAILER)) return withTrailer(std::move(text), suite, next);
  const size_t unit = std::max<size_t>(sealerOf(suite).shape().blockBytes, 4);
  while ((text.size() + 2) % unit != 0) text.push_back(input.byte());
  text.push_back(input.byte());
  text.push_back(next);
  return text;
}

struct Arrivals {
  std::vector<Bytes> bytes;  // each in a room of its own size: one byte beyond is found
  std::vector<uint8_t> ecn;
  size_t forged = 0;
  std::array<uint64_t, SUITE_COUNT> sequence{};
};

void addRaw(Input& input, Arrivals& arrivals) {
  const uint8_t suite = input.byte() % (SUITE_COUNT + 1);
  Bytes esp = input.bytes(input.word() % 256);
  if (esp.size() >= 4 && suite < SUITE_COUNT) put32(esp.data(), FIRST_SPI + suite);
  arrivals.bytes.push_back(std::move(esp));
  arrivals.forged++;
}

void addSealed(Input& input, uint8_t shape, Arrivals& arrivals) {
  const size_t suite = input.byte() % SUITE_COUNT;
  uint64_t& sequence = arrivals.sequence[suite];
  sequence += shape & JUMP ? uint64_t(int64_t(int8_t(input.byte()))) : 1;
  Bytes esp = sealed(suite, textOf(input, suite, shape), sequence);
  if (shape & FORGED) {
    const uint16_t at = input.word();
    const uint8_t flip = input.byte() | 1;
    esp[4 + at % (esp.size() - 4)] ^= flip;
    arrivals.forged++;
  }
  arrivals.bytes.push_back(std::move(esp));
}

struct Written {
  std::vector<Bytes> packets;
  static void write(void* self, uint32_t, const iovec* pieces, size_t count) {
    for (Bytes& packet : packetsOf(pieces, count)) static_cast<Written*>(self)->packets.push_back(std::move(packet));
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  Arrivals arrivals;
  while (!input.empty() && arrivals.bytes.size() < MOST_ARRIVALS) {
    const uint8_t shape = input.byte();
    arrivals.ecn.push_back(shape & 3);
    if ((shape & 4) && (shape & 8)) addRaw(input, arrivals);
    else addSealed(input, shape, arrivals);
  }
  std::vector<Arrival> list;
  for (size_t i = 0; i < arrivals.bytes.size(); i++)
    list.push_back({arrivals.bytes[i].data(), arrivals.bytes[i].size(), arrivals.ecn[i], {{4, {127, 0, 0, 1}}, uint16_t(i)}});
  Engine& engine = engineOf();
  const uint64_t before = dropsOf(engine);
  Written written;
  engine.inbound(list.data(), list.size(), Written::write, &written);
  const uint64_t dropped = dropsOf(engine) - before;
  expect(dropped >= arrivals.forged, "nothing forged is let in");
  expect(written.packets.size() + dropped == list.size(), "every packet is written or counted");
  return 0;
}

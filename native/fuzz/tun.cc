// Frames as an odd or hostile kernel would give them: what leaves decrypts at the other end to exactly the packets that the
// frame stands for, cut the obvious way, or nothing leaves.

#include "fuzz.h"

using namespace isthmus;
using namespace isthmus::fuzz;

namespace {

constexpr size_t MOST_FRAMES = 16, MOST_PACKETS = 2000;
constexpr uint32_t PROTECTED = 1, DISCARDED = 2, HELD = 3;
constexpr uint32_t HELD_SPI = 0x900;

/** 10.2.0.0/16 is discarded, 10.3.0.0/16 waits for its SA, the rest is protected. */
SelectorSet setOf(uint32_t id) {
  SelectorSet set = everywhere();
  if (id == PROTECTED) return set;
  Selector network{4, 0, 0, 0xffff, {10, uint8_t(id)}, {10, uint8_t(id), 255, 255}};
  set.remote = {network};
  return set;
}

std::shared_ptr<Policy> policyOf(uint32_t id) {
  auto policy = std::make_shared<Policy>();
  policy->id = id;
  policy->order = -int32_t(id);
  policy->action = id == DISCARDED ? Action::Discard : Action::Protect;
  policy->acquire = id == HELD;
  policy->selectors = setOf(id);
  return policy;
}

std::unique_ptr<Engine> build() {
  auto engine = std::make_unique<Engine>();
  for (const uint32_t id : {PROTECTED, DISCARDED, HELD}) engine->addPolicy(policyOf(id));
  engine->publish();
  for (size_t suite = 0; suite < SUITE_COUNT; suite++) expect(engine->addOutbound(specOf(suite)) == Applied::ok, "every suite is there");
  return engine;
}

/** One engine for all inputs; each begins with SAs that have sent nothing. */
Engine& engineOf(size_t suite) {
  static const std::unique_ptr<Engine> engine = build();
  for (const auto& [spi, sa] : engine->outboundSas().all()) sa->sequence = 0;
  engine->takeEvents();
  engine->useOutbound(PROTECTED, FIRST_SPI + uint32_t(suite));
  return *engine;
}

/** The other end: opens what was sent, and keeps it. */
struct Mirror final : Outbound::Sink {
  explicit Mirror(size_t suite) : suite(suite), sa(64, specOf(suite).esn), lane(laneOf(suite)) {
    sa.selectors = everywhere();
    sa.esn = specOf(suite).esn;
    sa.shape = lane.cipher.shape();
  }

  static Lane& laneOf(size_t suite) {
    static std::array<Lane, SUITE_COUNT> lanes;
    static std::array<bool, SUITE_COUNT> opened{};
    if (!opened[suite]) opened[suite] = lanes[suite].cipher.open(specOf(suite).cipher, false);
    expect(opened[suite], "every suite is there");
    return lanes[suite];
  }

  size_t send(const Train* trains, size_t count) override {
    for (size_t i = 0; i < count; i++) {
      const Train& train = trains[i];
      expect(train.count <= Batch::MOST_SEGMENTS && train.segment > 0, "a train is what one call takes");
      expect((train.length + train.segment - 1) / train.segment == train.count, "a train's lengths add up");
      for (size_t at = 0; at < train.length; at += train.segment) open(train.bytes + at, std::min(train.segment, train.length - at));
    }
    return 0;
  }

  void open(const uint8_t* bytes, size_t size) {
    Bytes esp(bytes, bytes + size);
    Inner inner;
    const Drop why = decapsulate(sa, lane, esp.data(), esp.size(), 0, inner);
    if (why != Drop::none) fprintf(stderr, "fuzz: %s\n", dropNames[size_t(why)]);
    expect(why == Drop::none, "what is sent can be opened");
    packets.emplace_back(inner.packet, inner.packet + inner.bytes);
  }

  const size_t suite;
  InboundSa sa;
  Lane& lane;
  std::vector<Bytes> packets;
};

// What a frame stands for

uint32_t policyFor(const Flow& flow) {
  if (setOf(HELD).holds(flow, true)) return HELD;
  return setOf(DISCARDED).holds(flow, true) ? DISCARDED : PROTECTED;
}

std::vector<Bytes> summed(Bytes packet, const Flow& flow, const VnetHeader& header) {
  const size_t start = header.checksumStart, at = start + header.checksumOffset;
  if (start < flow.transport || at + 2 > packet.size()) return {};
  const uint16_t sum = uint16_t(~slowSum(packet.data() + start, packet.size() - start));
  put16(packet.data() + at, sum == 0 && flow.protocol == UDP ? 0xffff : sum);
  return {packet};
}

std::vector<Bytes> segmented(const Bytes& packet, const Flow& flow, const VnetHeader& header) {
  const uint8_t protocol = (header.kind & 0x7f) == VnetHeader::UDP_L4 ? UDP : TCP;
  const size_t least = flow.transport + (protocol == TCP ? 20u : 8u);
  if (flow.protocol != protocol || flow.opaque || packet.size() < least || header.segment == 0) return {};
  const size_t headers = protocol == UDP ? least : flow.transport + size_t(packet[flow.transport + 12] >> 4) * 4;
  if (headers < least || headers >= packet.size()) return {};
  const size_t longest = std::min(packet.size(), headers + header.segment);
  if (longest - (flow.family == 6 ? 40 : 0) > 0xffff) return {};  // no IP packet is as long
  return cut(packet, flow.transport, headers, header.segment, protocol);
}

std::vector<Bytes> standsFor(const Bytes& frame) {
  VnetHeader header;
  Flow flow;
  memcpy(&header, frame.data(), VNET_HEADER);
  const Bytes packet(frame.begin() + VNET_HEADER, frame.end());
  expect(readFlow(packet.data(), packet.size(), flow), "it was one before");
  const Bytes alone(packet.begin(), packet.begin() + flow.length);
  switch (header.kind & 0x7f) {
    case 0:
      return header.flags & VnetHeader::NEEDS_CHECKSUM ? summed(alone, flow, header) : std::vector<Bytes>{alone};
    case VnetHeader::TCP_V4:
    case VnetHeader::TCP_V6:
    case VnetHeader::UDP_L4:
      return segmented(packet, flow, header);
    default:
      return {};
  }
}

// Frames

constexpr uint8_t AS_IT_IS = 0x01, V6 = 0x02, IS_UDP = 0x04, LARGE = 0x08, FITTING = 0x10, ODD_HEADER = 0x20, ODD_LENGTH = 0x40;

void putHeader(Input& input, Bytes& frame, uint8_t shape, const Flow& flow) {
  VnetHeader header{};
  const uint8_t kind = input.byte();
  header.kind = kind & 1 ? flow.protocol == UDP ? VnetHeader::UDP_L4 : flow.family == 6 ? VnetHeader::TCP_V6 : VnetHeader::TCP_V4 : 0;
  header.flags = kind & 2 ? VnetHeader::NEEDS_CHECKSUM : 0;
  header.segment = input.word();
  header.checksumStart = flow.transport;
  header.checksumOffset = flow.protocol == TCP ? 16 : 6;
  if (shape & ODD_HEADER) {
    header.kind = input.byte();
    header.checksumStart = uint16_t(header.checksumStart + int8_t(input.byte()));
    header.checksumOffset = input.word();
  }
  memcpy(frame.data(), &header, VNET_HEADER);
}

Bytes packetOf(Input& input, uint8_t shape) {
  Bytes packet = input.bytes(input.byte());
  const bool v6 = shape & V6;
  const size_t transport = v6 ? 40 : 20;
  if (packet.size() < transport + 20) packet.resize(transport + 20);
  if (shape & LARGE) {
    append(packet, input.word(), packet[0]);
    if (packet.size() > 65536) packet.resize(65536);
  }
  packet[0] = v6 ? uint8_t(0x60 | (packet[0] & 0x0f)) : 0x45;
  if (shape & FITTING) {
    packet[v6 ? 6 : 9] = shape & IS_UDP ? UDP : TCP;
    if (!v6) put16(packet.data() + 6, be16(packet.data() + 6) & 0x4000);
    if (!(shape & IS_UDP) && packet[transport + 12] < 0x50) packet[transport + 12] |= 0x50;
    if (!v6 && packet[16] & 1) put16(packet.data() + 16, uint16_t(0x0a00 | (packet[17] & 3)));
  }
  fixIp(packet);
  if (shape & ODD_LENGTH) put16(packet.data() + (v6 ? 4 : 2), input.word());
  return packet;
}

Bytes frameOf(Input& input) {
  const uint8_t shape = input.byte();
  if (shape & AS_IT_IS) return input.bytes(input.word() % 512);
  const Bytes packet = packetOf(input, shape);
  Bytes frame(VNET_HEADER);
  frame.insert(frame.end(), packet.begin(), packet.end());
  Flow flow{};
  if (readFlow(packet.data(), packet.size(), flow)) putHeader(input, frame, shape, flow);
  return frame;
}

/** Tiny segments of a large packet say nothing more than some of them, and take long. */
bool isWorthIt(const Bytes& frame) {
  if (frame.size() <= VNET_HEADER) return true;
  VnetHeader header;
  memcpy(&header, frame.data(), VNET_HEADER);
  return header.segment == 0 || frame.size() / header.segment < MOST_PACKETS;
}

/** What waits for its SA, frame by frame: the oldest make room. */
struct Waiting {
  struct Held {
    size_t bytes;
    std::vector<Bytes> packets;
  };
  std::vector<Held> frames;
  size_t bytes = 0;

  void add(size_t size, std::vector<Bytes> packets) {
    for (; !frames.empty() && bytes + size > Hold::MOST_BYTES; frames.erase(frames.begin())) bytes -= frames.front().bytes;
    frames.push_back({size, std::move(packets)});
    bytes += size;
  }

  std::vector<Bytes> packets() const {
    std::vector<Bytes> all;
    for (const Held& held : frames) all.insert(all.end(), held.packets.begin(), held.packets.end());
    return all;
  }
};

struct Expected {
  std::vector<Bytes> now;
  Waiting later;
};

void foresee(const Bytes& frame, Expected& expected) {
  Flow flow;
  if (frame.size() <= VNET_HEADER || !readFlow(frame.data() + VNET_HEADER, frame.size() - VNET_HEADER, flow)) return;
  expect(flow.transport <= flow.length && flow.length <= frame.size() - VNET_HEADER, "what is read lies within the packet");
  const uint32_t policy = policyFor(flow);
  if (policy == DISCARDED) return;
  std::vector<Bytes> packets = standsFor(frame);
  if (policy == HELD) return expected.later.add(frame.size(), std::move(packets));
  for (Bytes& packet : packets) expected.now.push_back(std::move(packet));
}

void give(Engine& engine, const std::vector<Bytes>& frames, Mirror& mirror) {
  std::vector<const uint8_t*> pointers;
  std::vector<size_t> lengths;
  for (const Bytes& frame : frames) {
    pointers.push_back(frame.data());
    lengths.push_back(frame.size());
  }
  engine.outbound(SHARED_LINK, pointers.data(), lengths.data(), frames.size(), mirror);
}

/** What waited comes out, in order, once there is an SA. */
void answerAcquire(Engine& engine, size_t suite, const std::vector<Bytes>& later) {
  SaSpec spec = specOf(suite);
  spec.spi = HELD_SPI;
  spec.policy = HELD;
  engine.addOutbound(spec);
  engine.useOutbound(HELD, HELD_SPI);
  Mirror mirror(suite);
  give(engine, {}, mirror);
  engine.remove(false, HELD_SPI);
  expect(samePackets(later, mirror.packets, std::equal_to<Bytes>()), "what was held is what is sent later");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const size_t suite = input.byte() % SUITE_COUNT;
  std::vector<Bytes> frames;
  Expected expected;
  while (!input.empty() && frames.size() < MOST_FRAMES) {
    Bytes frame = frameOf(input);
    if (!isWorthIt(frame)) continue;
    foresee(frame, expected);
    frames.push_back(std::move(frame));
  }
  Engine& engine = engineOf(suite);
  Mirror mirror(suite);
  give(engine, frames, mirror);
  expect(samePackets(expected.now, mirror.packets, std::equal_to<Bytes>()), "what is sent is what the frames stand for");
  answerAcquire(engine, suite, expected.later.packets());
  return 0;
}

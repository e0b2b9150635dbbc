// Authentic inner packets of some flows: what is joined for the device and cut apart again is, flow by flow and in order,
// what came in.

#include <map>
#include <string>

#include "fuzz.h"

using namespace isthmus;
using namespace isthmus::fuzz;

namespace {

constexpr size_t MOST_PACKETS = 128, SUITE = 0;
constexpr uint8_t V6 = 0x01, IS_UDP = 0x02, FLOW = 0x0c, SPOILED = 0x10, SAME_SHAPE = 0x20, JUMP = 0x40, RAW = 0x80;

/** Where a flow stands, so that the plain next packet of it takes two bytes of input. */
struct Sender {
  uint32_t sequence = 0xfffffe00;  // wraps soon
  uint16_t identification = 0xfffa;
  uint8_t flags = 0x10;
  uint8_t options = 0;
  uint16_t payload = 100;
};

void putAddresses(Bytes& packet, bool v6, uint8_t flow) {
  const size_t at = v6 ? 8 : 12, size = v6 ? 16 : 4;
  packet[at] = packet[at + size] = v6 ? 0xfd : 10;
  packet[at + size - 1] = 1;
  packet[at + 2 * size - 1] = uint8_t(flow >> 1);
}

/** Header with ports, sequence and flags; payload; all of it fits together. */
Bytes packetOf(Sender& sender, uint8_t shape) {
  const bool v6 = shape & V6;
  const uint8_t protocol = shape & IS_UDP ? UDP : TCP, flow = (shape & FLOW) >> 2;
  const size_t transport = v6 ? 40 : 20, headers = transport + (protocol == UDP ? 8 : 20u + sender.options * 4u);
  Bytes packet(headers);
  packet[0] = v6 ? 0x60 : 0x45;
  packet[v6 ? 6 : 9] = protocol;
  packet[v6 ? 7 : 8] = 64;
  putAddresses(packet, v6, flow);
  if (!v6) put16(packet.data() + 4, sender.identification++);
  uint8_t* header = packet.data() + transport;
  put16(header, uint16_t(1000 + (flow & 1)));
  put16(header + 2, 80);
  if (protocol == TCP) {
    put32(header + 4, sender.sequence);
    header[12] = uint8_t((5 + sender.options) << 4);
    header[13] = sender.flags;
    sender.sequence += sender.payload;
  }
  append(packet, sender.payload, uint8_t(sender.identification));
  if (protocol == UDP) fixUdpLength(packet, transport);
  return packet;
}

/** Some bytes changed, before or after lengths and checksums were computed. */
void spoil(Input& input, Bytes& packet) {
  for (int left = input.byte() % 4; left >= 0; left--) {
    const size_t at = input.byte() % 64;
    if (at < packet.size()) packet[at] ^= input.byte();
  }
}

void finish(Bytes& packet, uint8_t shape) {
  packet[0] = shape & V6 ? uint8_t(0x60 | (packet[0] & 0x0f)) : 0x45;
  fixIp(packet);
  fixChecksum(packet, shape & V6 ? 40 : 20, shape & IS_UDP ? UDP : TCP);
}

Bytes nextPacket(Input& input, std::array<Sender, 16>& senders) {
  const uint8_t shape = input.byte();
  if ((shape & RAW) && (shape & JUMP)) return input.bytes(input.byte());
  Sender& sender = senders[shape & 15];
  if (!(shape & SAME_SHAPE)) {
    sender.payload = input.word() % 1500;
    const uint8_t more = input.byte();
    sender.flags = more & 1 ? 0x18 : more & 2 ? input.byte() : 0x10;
    sender.options = more >> 4 & 7;
  }
  if (shape & JUMP) sender.sequence += uint32_t(int8_t(input.byte()));
  Bytes packet = packetOf(sender, shape);
  if ((shape & SPOILED) && (shape & RAW)) spoil(input, packet);
  finish(packet, shape);
  if ((shape & SPOILED) && !(shape & RAW)) spoil(input, packet);
  return packet;
}

using Flows = std::map<std::string, std::vector<Bytes>>;

void file(Flows& flows, const Bytes& packet) {
  Flow flow;
  expect(readFlow(packet.data(), packet.size(), flow), "only packets go to the device");
  std::string key(reinterpret_cast<const char*>(flow.source), 32);
  key += {char(flow.family), char(flow.protocol), char(flow.opaque)};
  key += std::to_string(flow.sourcePort) + "," + std::to_string(flow.destinationPort);
  flows[key].push_back(packet);
}

struct Written {
  Flows flows;
  size_t packets = 0;
  static void write(void* self, uint32_t, const iovec* pieces, size_t count) {
    Written& written = *static_cast<Written*>(self);
    for (const Bytes& packet : packetsOf(pieces, count)) {
      file(written.flows, packet);
      written.packets++;
    }
  }
};

bool sameFlows(const Flows& a, const Flows& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && samePackets(x.second, y.second, samePacket);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Lane lane;
  static const bool opened = lane.cipher.open(specOf(SUITE).cipher, false);
  expect(opened, "the suite is there");
  InboundSa sa(64, false);
  sa.selectors = everywhere();
  sa.shape = lane.cipher.shape();
  Input input(data, size);
  std::array<Sender, 16> senders;
  std::vector<Bytes> rooms;
  Coalescer coalescer;
  const uint8_t options = input.byte();
  coalescer.setUdp(!(options & 1));
  Flows sent;
  Written written;
  size_t accepted = 0;
  for (uint32_t sequence = 1; !input.empty() && sequence <= MOST_PACKETS; sequence++) {
    const Bytes packet = nextPacket(input, senders);
    const uint8_t next = !packet.empty() && packet[0] >> 4 == 6 ? 41 : 4;
    Bytes& esp = rooms.emplace_back(sealed(SUITE, withTrailer(packet, SUITE, next), sequence));
    Inner inner;
    if (decapsulate(sa, lane, esp.data(), esp.size(), options >> 1 & 3, inner) != Drop::none) continue;
    accepted++;
    file(sent, Bytes(inner.packet, inner.packet + inner.bytes));
    coalescer.add(inner.packet, inner.flow, SHARED_LINK, Written::write, &written);
    expect(!inner.flow.opaque || written.packets == accepted, "nothing is kept back when a later fragment passes");
  }
  coalescer.flush(Written::write, &written);
  expect(sameFlows(sent, written.flows), "what is cut apart again is what came in");
  return 0;
}

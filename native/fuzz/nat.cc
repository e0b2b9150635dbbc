// Packets whose checksums were made for other addresses: one that fitted fits afterwards, one that did not does not, and nothing
// but the checksum is touched.

#include "fuzz.h"
#include "nat.h"

using namespace isthmus;
using namespace isthmus::fuzz;

namespace {

constexpr uint8_t DCCP = 33, ICMPV6 = 58, UDP_LITE = 136;

size_t checksumAt(uint8_t protocol) { return protocol == TCP ? 16 : protocol == ICMPV6 ? 2 : 6; }

/** Whether the checksum of the upper layer fits those addresses. */
bool fits(Bytes packet, const Flow& flow, const Address& source, const Address& destination) {
  const size_t size = flow.family == 4 ? 4 : 16, at = flow.family == 4 ? 12 : 8;
  memcpy(packet.data() + at, source.bytes.data(), size);
  memcpy(packet.data() + at + size, destination.bytes.data(), size);
  const size_t bytes = flow.length - flow.transport;
  return slowSum(packet.data() + flow.transport, bytes, slowPseudoSum(packet.data(), flow.protocol, bytes)) == 0xffff;
}

Address addressOf(Input& input, uint8_t family) {
  Address address{family, {}};
  const Bytes bytes = input.bytes(family == 4 ? 4 : 16);
  std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
  return address;
}

Address headerAddress(const Flow& flow, bool source) {
  Address address{flow.family, {}};
  memcpy(address.bytes.data(), source ? flow.source : flow.destination, flow.family == 4 ? 4 : 16);
  return address;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const uint8_t shape = input.byte();
  const uint8_t family = shape & 1 ? 6 : 4;
  const Address source = addressOf(input, family), destination = addressOf(input, family);
  Bytes packet = input.bytes(2000);
  const size_t header = family == 4 ? 20 : 40;
  if (packet.size() < header) return 0;
  constexpr uint8_t PROTOCOLS[] = {TCP, UDP, DCCP, ICMPV6, UDP_LITE};
  packet[0] = family == 4 ? 0x45 : 0x60;
  if (!(shape & 2)) packet[family == 4 ? 9 : 6] = PROTOCOLS[(shape >> 2) % std::size(PROTOCOLS)];
  fixIp(packet);
  Flow flow;
  if (!readFlow(packet.data(), packet.size(), flow)) return 0;
  const Bytes before = packet;
  repairSum(packet.data(), flow, source, destination);
  const bool known = std::find(std::begin(PROTOCOLS), std::end(PROTOCOLS), flow.protocol) != std::end(PROTOCOLS);
  const size_t at = flow.transport + checksumAt(flow.protocol);
  if (known && at + 2 <= packet.size()) {
    const bool made = flow.protocol != UDP || be16(before.data() + at) != 0;
    const bool covered = !flow.opaque && made && (flow.protocol != ICMPV6 || family == 6);
    if (covered)
      expect(fits(before, flow, source, destination) == fits(packet, flow, headerAddress(flow, true), headerAddress(flow, false)),
             "what fitted fits, and what was broken stays broken");
    else expect(packet == before, "where there is no checksum none is made");
    if (covered && (flow.protocol == UDP || flow.protocol == UDP_LITE)) expect(be16(packet.data() + at) != 0, "a checksum does not become none");
    put16(packet.data() + at, be16(before.data() + at));
  }
  expect(packet == before, "nothing but the checksum is touched");
  return 0;
}

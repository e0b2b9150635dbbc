#include "nat.h"

#include <cstring>

namespace isthmus {

namespace {

constexpr uint8_t TCP = 6, UDP = 17, DCCP = 33, ICMPV6 = 58, UDP_LITE = 136;

/** Where the checksum is that covers a pseudo header; 0: there is none. */
size_t checksumAt(const Flow& flow) {
  switch (flow.protocol) {
    case TCP:
      return 16;
    case UDP:
    case UDP_LITE:
    case DCCP:
      return 6;
    case ICMPV6:
      return flow.family == 6 ? 2 : 0;
    default:
      return 0;
  }
}

/** Zero means that there is none (RFC 768), which UDP-Lite does not allow (RFC 3828 §3.1): a sum of zero is sent as all ones. */
bool isNeverZero(uint8_t protocol) { return protocol == UDP || protocol == UDP_LITE; }

/** Ones' complement of the bytes: adding it takes them away. */
void putWithout(uint8_t* to, const uint8_t* bytes, size_t size) {
  for (size_t i = 0; i < size; i++) to[i] = uint8_t(~bytes[i]);
}

}  // namespace

void repairSum(uint8_t* packet, const Flow& flow, const Address& source, const Address& destination) {
  const size_t at = checksumAt(flow), size = flow.family == 4 ? 4 : 16;
  if (at == 0 || flow.opaque || source.family != flow.family || flow.transport + at + 2 > flow.length) return;
  uint8_t* checksum = packet + flow.transport + at;
  if (flow.protocol == UDP && be16(checksum) == 0) return;  // RFC 768: none was made
  uint8_t difference[2 + 64] = {};
  putWithout(difference, checksum, 2);
  putWithout(difference + 2, source.bytes.data(), size);
  putWithout(difference + 2 + size, destination.bytes.data(), size);
  memcpy(difference + 2 + 2 * size, flow.source, size);
  memcpy(difference + 2 + 3 * size, flow.destination, size);
  const uint16_t repaired = foldSum(sumBytes(difference, 2 + 4 * size, 0));
  put16(checksum, repaired == 0 && isNeverZero(flow.protocol) ? 0xffff : repaired);
}

}  // namespace isthmus

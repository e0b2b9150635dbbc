#include "ip.h"

namespace isthmus {

namespace {

constexpr uint8_t HOP_BY_HOP = 0, TCP = 6, UDP = 17, ROUTING = 43, FRAGMENT = 44, AUTHENTICATION = 51, DESTINATION = 60,
                  SCTP = 132, UDP_LITE = 136, DCCP = 33, MOBILITY = 135;
/** More extension headers than any real packet has. */
constexpr int MOST_EXTENSIONS = 8;

bool hasPorts(uint8_t protocol) {
  return protocol == TCP || protocol == UDP || protocol == SCTP || protocol == UDP_LITE || protocol == DCCP;
}

bool readPorts(const uint8_t* packet, size_t length, Flow& flow) {
  flow.sourcePort = flow.destinationPort = 0;
  if (flow.opaque || !hasPorts(flow.protocol)) return true;
  if (size_t(flow.transport) + 4 > length) return false;
  flow.sourcePort = be16(packet + flow.transport);
  flow.destinationPort = be16(packet + flow.transport + 2);
  return true;
}

bool readV4(const uint8_t* packet, size_t length, Flow& flow) {
  const size_t header = size_t(packet[0] & 0xf) * 4;
  if (header < 20 || header > length) return false;
  flow.length = be16(packet + 2);
  if (flow.length < header || flow.length > length) return false;
  flow.family = 4;
  flow.protocol = packet[9];
  flow.opaque = (be16(packet + 6) & 0x1fff) != 0;
  flow.transport = uint16_t(header);
  memset(flow.source, 0, 16);
  memset(flow.destination, 0, 16);
  memcpy(flow.source, packet + 12, 4);
  memcpy(flow.destination, packet + 16, 4);
  return readPorts(packet, flow.length, flow);
}

/** Walks to the upper layer (RFC 8200 §4). */
bool readV6(const uint8_t* packet, size_t length, Flow& flow) {
  if (length < 40) return false;
  flow.length = uint32_t(be16(packet + 4)) + 40;
  if (flow.length > length) return false;
  flow.family = 6;
  flow.opaque = false;
  memcpy(flow.source, packet + 8, 16);
  memcpy(flow.destination, packet + 24, 16);
  uint8_t next = packet[6];
  size_t at = 40;
  for (int i = 0;; i++) {
    const bool extension = next == HOP_BY_HOP || next == ROUTING || next == FRAGMENT || next == DESTINATION ||
                           next == AUTHENTICATION || next == MOBILITY;
    if (!extension) break;
    if (i == MOST_EXTENSIONS || at + 8 > flow.length) return false;
    size_t size = size_t(packet[at + 1]) * 8 + 8;
    if (next == FRAGMENT) {
      size = 8;
      flow.opaque = (be16(packet + at + 2) & 0xfff8) != 0;
    } else if (next == AUTHENTICATION) {
      size = size_t(packet[at + 1]) * 4 + 8;
    }
    next = packet[at];
    at += size;
    if (at > flow.length) return false;
    if (flow.opaque) break;
  }
  flow.protocol = next;
  flow.transport = uint16_t(at);
  return readPorts(packet, flow.length, flow);
}

using Words = uint64_t __attribute__((vector_size(32)));

/** Even and odd 32-bit words of 64-bit lanes, summed apart: nothing overflows. */
struct Sums {
  Words even{}, odd{};
  __attribute__((always_inline)) void add(const Words& words) {
    even += words & 0xffffffff;
    odd += words >> 32;
  }
};

/** Without a copy there is no `to`, and nothing may be added to it. */
template <bool COPY, typename Unit>
__attribute__((always_inline)) inline void take(Unit& unit, uint8_t* to, const uint8_t* from, size_t at) {
  memcpy(&unit, from + at, sizeof unit);
  if (COPY) memcpy(to + at, &unit, sizeof unit);
}

/** Byte order and width do not matter to the folded sum (RFC 1071 §2), so the widest words that the machine has will do. */
template <bool COPY>
__attribute__((always_inline)) inline uint64_t sumRun(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  constexpr size_t WIDTH = sizeof(Words);
  Sums first, second;
  size_t at = 0;
  for (; at + 2 * WIDTH <= length; at += 2 * WIDTH) {
    Words words;
    take<COPY>(words, to, from, at);
    first.add(words);
    take<COPY>(words, to, from, at + WIDTH);
    second.add(words);
  }
  const Words all = first.even + first.odd + second.even + second.odd;
  sum += all[0] + all[1] + all[2] + all[3];
  uint32_t word;
  for (; at + 4 <= length; at += 4) {
    take<COPY>(word, to, from, at);
    sum += word;
  }
  uint8_t rest[4] = {};
  for (size_t i = 0; at < length; at++, i++) take<COPY>(rest[i], to, from, at);
  memcpy(&word, rest, sizeof word);
  return sum + word;
}

#if defined(__x86_64__)
template <bool COPY>
__attribute__((target("avx2"))) uint64_t sumWide(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  return sumRun<COPY>(to, from, length, sum);
}

bool wide() {
  static const bool supported = __builtin_cpu_supports("avx2");
  return supported;
}
#else
template <bool COPY>
uint64_t sumWide(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  return sumRun<COPY>(to, from, length, sum);
}

constexpr bool wide() { return false; }
#endif

}  // namespace

bool readFlow(const uint8_t* packet, size_t length, Flow& flow) {
  if (length < 20) return false;
  switch (packet[0] >> 4) {
    case 4:
      return readV4(packet, length, flow);
    case 6:
      return readV6(packet, length, flow);
    default:
      return false;
  }
}

uint64_t sumBytes(const uint8_t* data, size_t length, uint64_t sum) {
  return wide() ? sumWide<false>(nullptr, data, length, sum) : sumRun<false>(nullptr, data, length, sum);
}

uint64_t copySum(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum) {
  return wide() ? sumWide<true>(to, from, length, sum) : sumRun<true>(to, from, length, sum);
}

uint16_t foldSum(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  const uint16_t native = uint16_t(~sum);
  uint8_t bytes[2];
  memcpy(bytes, &native, 2);
  return be16(bytes);
}

uint64_t pseudoSum(const Flow& flow, uint32_t transportLength) {
  const size_t size = flow.family == 4 ? 4 : 16;
  uint8_t tail[8] = {};
  put32(tail, transportLength);
  tail[7] = flow.protocol;
  return sumBytes(tail, 8, sumBytes(flow.destination, size, sumBytes(flow.source, size, 0)));
}

}  // namespace isthmus

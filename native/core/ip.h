// IP packets as far as a gateway reads them: addresses, protocol, ports, checksums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace isthmus {

inline uint16_t be16(const uint8_t* p) { return uint16_t(p[0] << 8 | p[1]); }
inline uint32_t be32(const uint8_t* p) { return uint32_t(p[0]) << 24 | uint32_t(p[1]) << 16 | uint32_t(p[2]) << 8 | p[3]; }
inline void put16(uint8_t* p, uint16_t v) { p[0] = uint8_t(v >> 8); p[1] = uint8_t(v); }
inline void put32(uint8_t* p, uint32_t v) { put16(p, uint16_t(v >> 16)); put16(p + 2, uint16_t(v)); }
inline void put64(uint8_t* p, uint64_t v) { put32(p, uint32_t(v >> 32)); put32(p + 4, uint32_t(v)); }

/** What chooses a policy. Addresses are 16 bytes; IPv4 stands in the first 4. Ports are 0 where there are none. */
struct Flow {
  uint8_t family;  // 4 or 6
  uint8_t protocol;
  /** A fragment other than the first: the ports are not in this packet. */
  bool opaque;
  uint8_t source[16];
  uint8_t destination[16];
  uint16_t sourcePort;
  uint16_t destinationPort;
  /** Where the transport header begins. */
  uint16_t transport;
  /** Bytes that the IP header claims. */
  uint32_t length;
};

/** False where the packet is not one: wrong version, lengths that do not fit, a header chain without end. */
bool readFlow(const uint8_t* packet, size_t length, Flow& flow);

/** The ones' complement sum of the bytes, not folded, continued from `sum` (RFC 1071). */
uint64_t sumBytes(const uint8_t* data, size_t length, uint64_t sum);
/** The same of bytes that are copied on the way; `to` and `from` do not overlap. */
uint64_t copySum(uint8_t* to, const uint8_t* from, size_t length, uint64_t sum);
uint16_t foldSum(uint64_t sum);
/** The pseudo header's share of a transport checksum. */
uint64_t pseudoSum(const Flow& flow, uint32_t transportLength);

}  // namespace isthmus

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
  // Native-endian 32-bit words into 64 bits: byte order and width do not matter to the folded sum (RFC 1071 §2).
  while (length >= 32) {
    uint32_t w[8];
    memcpy(w, data, 32);
    sum += uint64_t(w[0]) + w[1] + w[2] + w[3] + w[4] + w[5] + w[6] + w[7];
    data += 32;
    length -= 32;
  }
  while (length >= 4) {
    uint32_t w;
    memcpy(&w, data, 4);
    sum += w;
    data += 4;
    length -= 4;
  }
  uint32_t tail = 0;
  memcpy(&tail, data, length);
  return sum + tail;
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

#include "admission.h"

#include <cstring>

#include "nat.h"

namespace isthmus {

namespace {

constexpr uint8_t NEXT_IPV4 = 4, NEXT_IPV6 = 41;
constexpr uint8_t ECN = 0x03;
constexpr uint8_t NOT_ECT = 0, ECT_1 = 1, ECT_0 = 2, CE = 3;

/** What the inner packet says after both have been heard (RFC 6040 §4.2, figure 4). */
uint8_t heard(uint8_t inner, uint8_t outer) {
  if (outer == CE) return CE;
  return outer == ECT_1 && inner == ECT_0 ? ECT_1 : inner;
}

/** Congestion seen outside is told inside; where inside cannot be told, the packet is dropped (RFC 6040 §4.2). */
bool copyCongestion(Inner& inner, uint8_t outerBits) {
  uint8_t* packet = inner.packet;
  const bool v6 = inner.flow.family == 6;
  const uint8_t before = (v6 ? packet[1] >> 4 : packet[1]) & ECN, outer = outerBits & ECN;
  if (before == NOT_ECT) return outer != CE;
  const uint8_t after = heard(before, outer);
  if (after == before) return true;
  const uint16_t word = be16(packet);
  packet[1] ^= uint8_t((before ^ after) << (v6 ? 4 : 0));
  if (v6) return true;
  // RFC 1624 §3: only the difference, so that a header that was broken stays broken.
  uint32_t sum = uint16_t(~be16(packet + 10)) + uint16_t(~word) + be16(packet);
  sum = (sum & 0xffff) + (sum >> 16);
  put16(packet + 10, uint16_t(~((sum & 0xffff) + (sum >> 16))));
  return true;
}

Drop admitted(Lane& lane, const Inner& inner) {
  add(lane.packets, 1);
  add(lane.bytes, inner.bytes);
  return Drop::none;
}

}  // namespace

Drop admitTunnelled(InboundSa& sa, Lane& lane, uint8_t* text, size_t bytes, uint8_t next, uint8_t outerEcn, Inner& inner) {
  inner.packet = text;
  const bool readable = readFlow(text, bytes, inner.flow);
  if (!readable || next != (inner.flow.family == 6 ? NEXT_IPV6 : NEXT_IPV4)) return Drop::malformed;
  inner.bytes = inner.flow.length;
  if (!sa.admits(inner.flow, false)) return Drop::selector;  // RFC 4301 §5.2 step 4
  if (!copyCongestion(inner, outerEcn)) return Drop::malformed;
  return admitted(lane, inner);
}

Drop admitFromUdp(InboundSa& sa, Lane& lane, const Arrival& arrival, const uint8_t* text, size_t bytes, uint8_t next, uint8_t* room, Inner& inner) {
  const size_t header = plainHeader(sa.local.family);
  inner.packet = room;
  inner.bytes = header + bytes;
  if (inner.bytes > MOST_LENGTH) return Drop::malformed;
  memcpy(room + header, text, bytes);
  // It came whole, and nobody need cut it any more.
  makeHeader(sa.remote, sa.local, {arrival.ecn, true}, next, inner.bytes, room);
  if (!readFlow(room, inner.bytes, inner.flow)) return Drop::malformed;
  if (!sa.admits(inner.flow, false)) return Drop::selector;
  if (sa.originalLocal.family != 0) repairSum(room, inner.flow, sa.originalRemote, sa.originalLocal);
  return admitted(lane, inner);
}

Drop admitTransported(InboundSa& sa, Lane& lane, const Arrival& arrival, uint8_t* text, size_t bytes, uint8_t next, Inner& inner) {
  const size_t header = arrival.place.header;
  inner.packet = text - header;
  inner.bytes = header + bytes;
  memmove(inner.packet, arrival.esp - header, header);
  setUpper(inner.packet, arrival.place, next, inner.bytes);
  if (!readFlow(inner.packet, inner.bytes, inner.flow)) return Drop::malformed;
  if (!isBetween(inner.packet, sa.remote, sa.local) || !sa.admits(inner.flow, false)) return Drop::selector;
  return admitted(lane, inner);
}

}  // namespace isthmus

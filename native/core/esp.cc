#include "esp.h"

namespace isthmus {

namespace {

constexpr uint8_t NEXT_IPV4 = 4, NEXT_IPV6 = 41, NEXT_NONE = 59;
constexpr uint8_t ECN = 0x03;
constexpr uint8_t NOT_ECT = 0, ECT_1 = 1, ECT_0 = 2, CE = 3;

/** Padding bytes so that text, padding and the two trailer bytes fill blocks and end on 4 bytes (RFC 4303 §2.4). */
size_t padding(const CipherShape& shape, size_t innerBytes) {
  const size_t unit = shape.blockBytes < 4 ? 4 : shape.blockBytes;
  return (unit - (innerBytes + 2) % unit) % unit;
}

/** RFC 4303 §2.4: 1, 2, 3 … */
bool isPadding(const uint8_t* bytes, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] != i + 1) return false;
  }
  return true;
}

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

}  // namespace

size_t espBytes(const Sa& sa, size_t innerBytes) {
  const CipherShape& shape = sa.shape;
  return ESP_HEADER + shape.ivBytes + innerBytes + padding(shape, innerBytes) + 2 + shape.icvBytes;
}

Drop encapsulate(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, size_t& size) {
  if (sa.overHard(innerBytes)) return Drop::lifetime;
  const uint64_t sequence = sa.takeNumber();
  if (sequence == 0) return Drop::sequence;
  const CipherShape& shape = sa.shape;
  uint8_t* inner = buffer + innerOffset(sa);
  const size_t pad = padding(shape, innerBytes);
  uint8_t* tail = inner + innerBytes;
  for (size_t i = 0; i < pad; i++) tail[i] = uint8_t(i + 1);
  tail[pad] = uint8_t(pad);
  tail[pad + 1] = inner[0] >> 4 == 6 ? NEXT_IPV6 : NEXT_IPV4;
  put32(buffer, sa.spi);
  put32(buffer + 4, uint32_t(sequence));
  if (!lane.cipher.seal(buffer, innerBytes + pad + 2, sequence, sa.esn)) return Drop::malformed;
  add(lane.packets, 1);
  add(lane.bytes, innerBytes);
  size = espBytes(sa, innerBytes);
  return Drop::none;
}

Drop decapsulate(InboundSa& sa, Lane& lane, uint8_t* esp, size_t bytes, uint8_t outerEcn, Inner& inner) {
  const CipherShape& shape = sa.shape;
  const size_t before = ESP_HEADER + shape.ivBytes;
  if (bytes < before + shape.icvBytes + 4 || bytes % 4 != 0) return Drop::malformed;
  const uint64_t sequence = sa.replay.guess(be32(esp + 4));
  if (!sa.replay.fresh(sequence)) return Drop::replay;
  if (!lane.cipher.unseal(esp, bytes, sequence, sa.esn)) return Drop::authentication;
  sa.replay.accept(sequence);
  const size_t textBytes = bytes - before - shape.icvBytes;
  uint8_t* text = esp + before;
  const size_t pad = text[textBytes - 2];
  const uint8_t next = text[textBytes - 1];
  if (pad + 2 > textBytes || !isPadding(text + textBytes - 2 - pad, pad)) return Drop::padding;
  if (next == NEXT_NONE) return Drop::dummy;  // RFC 4303 §2.6
  if (sa.overHard(textBytes)) return Drop::lifetime;
  inner.packet = text;
  inner.bytes = textBytes - 2 - pad;
  const bool readable = readFlow(text, inner.bytes, inner.flow);
  if (!readable || next != (inner.flow.family == 6 ? NEXT_IPV6 : NEXT_IPV4)) return Drop::malformed;
  // What follows the inner packet is traffic flow confidentiality padding (RFC 4303 §2.7).
  inner.bytes = inner.flow.length;
  if (!sa.admits(inner.flow, false)) return Drop::selector;  // RFC 4301 §5.2 step 4
  if (!copyCongestion(inner, outerEcn)) return Drop::malformed;
  add(lane.packets, 1);
  add(lane.bytes, inner.bytes);
  return Drop::none;
}

}  // namespace isthmus

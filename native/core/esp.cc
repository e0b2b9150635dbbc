#include "esp.h"

#include <cstring>

namespace isthmus {

namespace {

constexpr uint8_t NEXT_IPV4 = 4, NEXT_IPV6 = 41, NEXT_NONE = 59;

/** Padding bytes so that text, padding and the two trailer bytes fill blocks and end on 4 bytes (RFC 4303 §2.4). */
inline size_t padding(const CipherShape& shape, size_t textBytes) {
  // Blocks are powers of two.
  const size_t unit = shape.blockBytes < 4 ? 4 : shape.blockBytes;
  return (0 - (textBytes + 2)) & (unit - 1);
}

/** RFC 4303 §2.4: 1, 2, 3 … */
constexpr auto PADDING = [] {
  std::array<uint8_t, 255> made{};
  for (size_t i = 0; i < made.size(); i++) made[i] = uint8_t(i + 1);
  return made;
}();

bool isPadding(const uint8_t* bytes, size_t length) { return memcmp(bytes, PADDING.data(), length) == 0; }

/** Bytes around and of a text that is not padded yet. */
inline size_t sealedBytes(const CipherShape& shape, size_t textBytes) {
  return ESP_HEADER + shape.ivBytes + textBytes + padding(shape, textBytes) + 2 + shape.icvBytes;
}

/** The text stands behind the header and the IV that are made here. */
__attribute__((always_inline)) inline bool seal(const OutboundSa& sa, Lane& lane, uint8_t* esp, size_t textBytes, uint8_t next, uint64_t sequence) {
  const size_t pad = padding(sa.shape, textBytes);
  uint8_t* tail = esp + innerOffset(sa) + textBytes;
  memcpy(tail, PADDING.data(), pad);
  tail[pad] = uint8_t(pad);
  tail[pad + 1] = next;
  put32(esp, sa.spi);
  put32(esp + 4, uint32_t(sequence));
  return lane.cipher.seal(esp, textBytes + pad + 2, sequence, sa.esn);
}

struct Opened {
  uint8_t* text;
  /** Without padding and trailer. */
  size_t bytes;
  uint8_t next;
};

/** Up to what is inside (RFC 4303 §3.4). */
__attribute__((always_inline)) inline Drop open(InboundSa& sa, Lane& lane, uint8_t* esp, size_t bytes, Opened& opened) {
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
  opened.next = text[textBytes - 1];
  if (pad + 2 > textBytes || !isPadding(text + textBytes - 2 - pad, pad)) return Drop::padding;
  if (opened.next == NEXT_NONE) return Drop::dummy;  // RFC 4303 §2.6
  if (sa.overHard(textBytes)) return Drop::lifetime;
  opened.text = text;
  opened.bytes = textBytes - 2 - pad;
  return Drop::none;
}

/** Between the two hosts themselves (RFC 4301 §4.1), and whole. */
Drop mayTransport(const OutboundSa& sa, const uint8_t* packet, size_t bytes, Place& place) {
  if (sa.overHard(bytes)) return Drop::lifetime;
  return isBetween(packet, sa.local, sa.remote) ? placeIn(packet, bytes, place) : Drop::selector;
}

}  // namespace

size_t espBytes(const Sa& sa, size_t innerBytes) { return sealedBytes(sa.shape, std::max<size_t>(innerBytes, sa.padTo)); }

Drop encapsulate(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, size_t& size) {
  if (sa.overHard(innerBytes)) return Drop::lifetime;
  const uint64_t sequence = sa.takeNumber();
  if (sequence == 0) return Drop::sequence;
  uint8_t* inner = buffer + innerOffset(sa);
  size_t textBytes = innerBytes;
  if (textBytes < sa.padTo) {
    textBytes = sa.padTo;
    memset(inner + innerBytes, 0, textBytes - innerBytes);
  }
  if (!seal(sa, lane, buffer, textBytes, inner[0] >> 4 == 6 ? NEXT_IPV6 : NEXT_IPV4, sequence)) return Drop::malformed;
  add(lane.packets, 1);
  add(lane.bytes, innerBytes);
  size = sealedBytes(sa.shape, textBytes);
  return Drop::none;
}

Drop decapsulate(InboundSa& sa, Lane& lane, uint8_t* esp, size_t bytes, uint8_t outerEcn, Inner& inner) {
  Opened opened;
  const Drop why = open(sa, lane, esp, bytes, opened);
  if (why != Drop::none) return why;
  return admitTunnelled(sa, lane, opened.text, opened.bytes, opened.next, outerEcn, inner);
}

Drop encapsulateTransport(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, size_t& size) {
  uint8_t* packet = buffer + innerOffset(sa);
  Place place;
  const Drop why = mayTransport(sa, packet, innerBytes, place);
  if (why != Drop::none) return why;
  const size_t textBytes = innerBytes - place.header;
  size = place.header + sealedBytes(sa.shape, textBytes);
  if (size > MOST_LENGTH) return Drop::malformed;
  const uint64_t sequence = sa.takeNumber();
  if (sequence == 0) return Drop::sequence;
  const uint8_t next = packet[place.next];
  memmove(buffer, packet, place.header);
  setUpper(buffer, place, PROTOCOL_ESP, size);
  if (!seal(sa, lane, buffer + place.header, textBytes, next, sequence)) return Drop::malformed;
  add(lane.packets, 1);
  add(lane.bytes, innerBytes);
  return Drop::none;
}

Drop encapsulateInUdp(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, size_t& size) {
  uint8_t* packet = buffer + innerOffset(sa);
  Place place;
  const Drop why = mayTransport(sa, packet, innerBytes, place);
  if (why != Drop::none) return why;
  if (place.header != plainHeader(sa.local.family)) return Drop::malformed;
  const uint64_t sequence = sa.takeNumber();
  if (sequence == 0) return Drop::sequence;
  const size_t textBytes = innerBytes - place.header;
  const uint8_t next = packet[place.next];
  memmove(packet, packet + place.header, textBytes);
  if (!seal(sa, lane, buffer, textBytes, next, sequence)) return Drop::malformed;
  add(lane.packets, 1);
  add(lane.bytes, innerBytes);
  size = sealedBytes(sa.shape, textBytes);
  return Drop::none;
}

Drop decapsulateInUdp(InboundSa& sa, Lane& lane, const Arrival& arrival, uint8_t* room, Inner& inner) {
  Opened opened;
  const Drop why = open(sa, lane, arrival.esp, arrival.bytes, opened);
  if (why != Drop::none) return why;
  return admitFromUdp(sa, lane, arrival, opened.text, opened.bytes, opened.next, room, inner);
}

Drop decapsulateTransport(InboundSa& sa, Lane& lane, const Arrival& arrival, Inner& inner) {
  if (arrival.place.header == 0) return Drop::malformed;
  Opened opened;
  const Drop why = open(sa, lane, arrival.esp, arrival.bytes, opened);
  if (why != Drop::none) return why;
  return admitTransported(sa, lane, arrival, opened.text, opened.bytes, opened.next, inner);
}

}  // namespace isthmus

#include "ah.h"

#include <openssl/crypto.h>

#include <cstring>

namespace isthmus {

namespace {

constexpr uint8_t NEXT_IPV4 = 4, NEXT_IPV6 = 41;

size_t aligned(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

/** RFC 4302 §2.6: a multiple of 32 bits over IPv4, of 64 bits over IPv6. */
size_t ahBytes(const Sa& sa) { return aligned(AH_FIXED + sa.shape.icvBytes, sa.local.family == 6 ? 8 : 4); }

/** Linux pads to 64 bits over IPv4 too, where it is not told otherwise. */
bool isAhOf(const Sa& sa, size_t bytes) {
  const size_t least = AH_FIXED + sa.shape.icvBytes;
  return bytes == aligned(least, 4) || bytes == aligned(least, 8);
}

size_t outerBytes(const Sa& sa) { return isTransport(sa.form) ? 0 : sa.local.family == 6 ? 40 : 20; }

/** The header as the ICV covers it, beside the packet. */
struct Covered {
  uint8_t bytes[MOST_HEADER];
  size_t size;
  bool known;

  Covered(const uint8_t* packet, const Place& place) : size(place.header) {
    memcpy(bytes, packet, size);
    known = coverHeader(bytes, size);
  }
};

/** The ICV field of a packet in which it is zero. What is covered stands in front of AH while it is computed. */
bool computeField(const Sa& sa, Lane& lane, uint8_t* ah, size_t bytes, const Covered& covered, uint64_t sequence, const uint8_t* received,
                  uint8_t* field) {
  uint8_t kept[MOST_HEADER];
  uint8_t* front = ah - covered.size;
  memcpy(kept, front, covered.size);
  memcpy(front, covered.bytes, covered.size);
  const bool done = lane.icv->compute(front, covered.size + bytes, sequence, sa.esn, received, field);
  memcpy(front, kept, covered.size);
  return done;
}

void writeHeader(const OutboundSa& sa, uint8_t next, uint8_t* ah) {
  const size_t bytes = ahBytes(sa);
  memset(ah, 0, bytes);
  ah[0] = next;
  ah[1] = uint8_t(bytes / 4 - 2);
  put32(ah + 4, sa.spi);
}

/** IP header and AH in front of the packet, but for number and ICV. */
Drop wrapTunnel(const OutboundSa& sa, uint8_t* buffer, size_t innerBytes, const Outer& outer, Place& place) {
  constexpr size_t V4_HEADER = 20;
  const size_t offset = authenticatedOffset(sa);
  if (V4_HEADER + ahBytes(sa) + innerBytes > MOST_LENGTH) return Drop::malformed;
  const bool v6 = sa.local.family == 6;
  place = {outerBytes(sa), v6 ? 6u : 9u};
  makeOuter(sa, outer, PROTOCOL_AH, offset + innerBytes, buffer);
  writeHeader(sa, buffer[offset] >> 4 == 6 ? NEXT_IPV6 : NEXT_IPV4, buffer + place.header);
  return Drop::none;
}

/** The packet's own header moves to the front, AH takes its place. */
Drop wrapTransport(const OutboundSa& sa, uint8_t* buffer, size_t innerBytes, Place& place) {
  const uint8_t* packet = buffer + authenticatedOffset(sa);
  if (!isBetween(packet, sa.local, sa.remote)) return Drop::selector;
  const Drop why = placeIn(packet, innerBytes, place);
  if (why != Drop::none) return why;
  const size_t size = authenticatedOffset(sa) + innerBytes;
  if (size > MOST_LENGTH) return Drop::malformed;
  memmove(buffer, packet, place.header);
  const uint8_t next = buffer[place.next];
  setUpper(buffer, place, PROTOCOL_AH, size);
  writeHeader(sa, next, buffer + place.header);
  return Drop::none;
}

}  // namespace

size_t authenticatedOffset(const Sa& sa) { return outerBytes(sa) + ahBytes(sa); }

Drop authenticate(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, const Outer& outer, size_t& size) {
  if (sa.overHard(innerBytes)) return Drop::lifetime;
  Place place;
  const Drop why = isTransport(sa.form) ? wrapTransport(sa, buffer, innerBytes, place) : wrapTunnel(sa, buffer, innerBytes, outer, place);
  if (why != Drop::none) return why;
  if (!Covered(buffer, place).known) return Drop::malformed;
  const uint64_t sequence = sa.takeNumber();
  if (sequence == 0) return Drop::sequence;
  uint8_t* ah = buffer + place.header;
  identify(buffer, place, identificationOf(sequence));
  put32(ah + 8, uint32_t(sequence));
  size = authenticatedOffset(sa) + innerBytes;
  uint8_t field[AhIcv::MOST];
  if (!computeField(sa, lane, ah, size - place.header, Covered(buffer, place), sequence, nullptr, field)) return Drop::malformed;
  memcpy(ah + AH_FIXED, field, sa.shape.icvBytes);
  add(lane.packets, 1);
  add(lane.bytes, innerBytes);
  return Drop::none;
}

Drop verify(InboundSa& sa, Lane& lane, const Arrival& arrival, Inner& inner) {
  uint8_t* ah = arrival.esp;
  const size_t fieldBytes = sa.shape.icvBytes;
  if (arrival.bytes < AH_FIXED || arrival.place.header == 0) return Drop::malformed;
  const size_t bytes = (size_t(ah[1]) + 2) * 4;
  if (!isAhOf(sa, bytes) || bytes > arrival.bytes) return Drop::malformed;
  const uint64_t sequence = sa.replay.guess(be32(ah + 8));
  if (!sa.replay.fresh(sequence)) return Drop::replay;
  const Covered covered(ah - arrival.place.header, arrival.place);
  if (!covered.known) return Drop::malformed;
  uint8_t received[AhIcv::MOST], field[AhIcv::MOST];
  memcpy(received, ah + AH_FIXED, fieldBytes);
  memset(ah + AH_FIXED, 0, fieldBytes);
  const bool computed = computeField(sa, lane, ah, arrival.bytes, covered, sequence, received, field);
  if (!computed || CRYPTO_memcmp(field, received, fieldBytes) != 0) return Drop::authentication;
  sa.replay.accept(sequence);
  const size_t textBytes = arrival.bytes - bytes;
  if (sa.overHard(textBytes)) return Drop::lifetime;
  if (isTransport(sa.form)) return admitTransported(sa, lane, arrival, ah + bytes, textBytes, ah[0], inner);
  return admitTunnelled(sa, lane, ah + bytes, textBytes, ah[0], arrival.ecn, inner);
}

}  // namespace isthmus

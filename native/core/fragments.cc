#include "fragments.h"

#include <cstring>

namespace isthmus {

namespace {

constexpr size_t UNIT = 8, FRAGMENT_HEADER = 8, V4_HEADER = 20;
constexpr uint8_t FRAGMENT = 44, END = 0, NOP = 1, COPIED = 0x80;
constexpr uint16_t MORE = 0x2000, OFFSET = 0x1fff;

using Bytes = std::vector<uint8_t>;

/** What follows `header` bytes, cut so that each piece fits behind `front` bytes; `finish` writes where it belongs. */
template <typename Finish>
std::vector<Bytes> cut(const uint8_t* packet, size_t bytes, size_t header, size_t front, size_t mtu, Finish finish) {
  std::vector<Bytes> all;
  const size_t most = mtu > front ? (mtu - front) / UNIT * UNIT : 0;
  if (most == 0) return all;
  for (size_t at = header; at < bytes; at += most) {
    const size_t payload = std::min(most, bytes - at);
    Bytes& one = all.emplace_back(front + payload);
    memcpy(one.data(), packet, header);
    memcpy(one.data() + front, packet + at, payload);
    finish(one, at - header, at + payload < bytes);
  }
  return all;
}

/** Behind the first fragment only the options that say so of themselves (RFC 791 §3.1). */
void dropOptions(uint8_t* header, size_t size) {
  for (size_t at = V4_HEADER; at < size && header[at] != END;) {
    const size_t option = header[at] == NOP || at + 1 >= size || header[at + 1] < 2 ? 1 : std::min<size_t>(header[at + 1], size - at);
    if (!(header[at] & COPIED)) memset(header + at, NOP, option);
    at += option;
  }
}

/** A packet that needs no identification as a whole needs one in pieces. */
std::vector<Bytes> fragmentsV4(const uint8_t* packet, size_t bytes, size_t mtu, uint32_t identification) {
  const size_t header = size_t(packet[0] & 0xf) * 4;
  return cut(packet, bytes, header, header, mtu, [&](Bytes& one, size_t offset, bool more) {
    if (offset > 0) dropOptions(one.data(), header);
    put16(one.data() + 6, uint16_t((be16(packet + 6) & ~(MORE | OFFSET)) | offset / UNIT | (more ? MORE : 0)));
    setUpper(one.data(), {header, 9}, packet[9], one.size());
    identify(one.data(), {header, 9}, uint16_t(identification % 0xffff + 1));
  });
}

/** The fragment header stands behind what routers read. */
std::vector<Bytes> fragmentsV6(const uint8_t* packet, size_t bytes, size_t mtu, uint32_t identification) {
  Place place;
  if (placeIn(packet, bytes, place) != Drop::none) return {};
  return cut(packet, bytes, place.header, place.header + FRAGMENT_HEADER, mtu, [&](Bytes& one, size_t offset, bool more) {
    uint8_t* fragment = one.data() + place.header;
    fragment[0] = packet[place.next];
    put16(fragment + 2, uint16_t(offset | more));
    put32(fragment + 4, identification);
    setUpper(one.data(), place, FRAGMENT, one.size());
  });
}

}  // namespace

bool mayFragment(const uint8_t* packet, bool dontFragment) { return packet[0] >> 4 == 6 ? !dontFragment : (packet[6] & 0x40) == 0; }

std::vector<std::vector<uint8_t>> fragmentsOf(const uint8_t* packet, size_t bytes, size_t mtu, uint32_t identification) {
  return packet[0] >> 4 == 6 ? fragmentsV6(packet, bytes, mtu, identification) : fragmentsV4(packet, bytes, mtu, identification);
}

}  // namespace isthmus

#include "outer.h"

#include <cstring>

namespace isthmus {

namespace {

constexpr uint8_t HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60;
constexpr size_t V4_HEADER = 20, V6_HEADER = 40;
constexpr uint8_t HOPS = 64;

size_t headerV4(const uint8_t* packet) { return size_t(packet[0] & 0xf) * 4; }

bool isFragmentV4(const uint8_t* packet) { return (be16(packet + 6) & 0x3fff) != 0; }

// Options of IPv4 (RFC 4302 §A1)

constexpr uint8_t END = 0, NOP = 1, LOOSE_ROUTE = 131, STRICT_ROUTE = 137;
/** Security, extended and commercial security, router alert, sender directed delivery. Every other one is zeroed whole. */
constexpr uint8_t IMMUTABLE[] = {130, 133, 134, 148, 149};

bool isImmutable(uint8_t type) { return memchr(IMMUTABLE, type, sizeof IMMUTABLE) != nullptr; }

/** A source route (RFC 791 §3.1) ends at its last address, unless all of it lies behind. */
bool arriveBySourceRoute(uint8_t* header, const uint8_t* route, size_t size) {
  constexpr size_t FIXED = 3, LEAST_POINTER = 4;
  if (size < FIXED || (size - FIXED) % 4 != 0 || route[2] < LEAST_POINTER) return false;
  if (route[2] <= size) memcpy(header + 16, route + size - 4, 4);
  return true;
}

/** RFC 4302 §3.3.3.1.1: DSCP and ECN, flags and fragment offset, time to live, checksum. */
bool coverV4(uint8_t* header, size_t bytes) {
  header[1] = 0;
  memset(header + 6, 0, 3);
  memset(header + 10, 0, 2);
  for (size_t at = V4_HEADER; at < bytes && header[at] != END;) {
    if (header[at] == NOP) {
      at++;
      continue;
    }
    const size_t size = at + 1 < bytes ? header[at + 1] : 0;
    if (size < 2 || at + size > bytes) return false;
    const bool routed = header[at] == LOOSE_ROUTE || header[at] == STRICT_ROUTE;
    if (routed && !arriveBySourceRoute(header, header + at, size)) return false;
    if (!isImmutable(header[at])) memset(header + at, 0, size);
    at += size;
  }
  return true;
}

// Extension headers of IPv6

/** More than any real packet has. */
constexpr int MOST_EXTENSIONS = 8;

struct Extension {
  uint8_t kind;
  /** Where the header before it names this one. */
  size_t namedAt;
  size_t start, size;
};

/** Those that may stand in front of AH and ESP, one after the other, up to the first of another protocol. */
template <typename Each>
bool walkV6(const uint8_t* packet, size_t bytes, Each each) {
  Extension one{packet[6], 6, V6_HEADER, 0};
  for (int i = 0; one.kind == HOP_BY_HOP || one.kind == ROUTING || one.kind == DESTINATION || one.kind == FRAGMENT; i++) {
    if (i == MOST_EXTENSIONS || one.start + 8 > bytes) return false;
    one.size = one.kind == FRAGMENT ? 8 : size_t(packet[one.start + 1]) * 8 + 8;
    if (one.start + one.size > bytes) return false;
    each(one);
    one = {packet[one.start], one.start, one.start + one.size, 0};
  }
  return true;
}

/** A fragment header may say that the packet is whole (RFC 8200 §4.5: offset 0 and no more fragments). */
bool isPart(const uint8_t* packet, const Extension& one) { return one.kind == FRAGMENT && (be16(packet + one.start + 2) & 0xfff9) != 0; }

/** Only the data of an option is zeroed, where the third bit of its type says that it may change (RFC 4302 §3.3.3.1.2.2). */
bool coverOptions(uint8_t* options, size_t bytes) {
  constexpr uint8_t PAD_1 = 0, MAY_CHANGE = 0x20;
  for (size_t at = 0; at < bytes;) {
    if (options[at] == PAD_1) {
      at++;
      continue;
    }
    const size_t size = at + 1 < bytes ? size_t(options[at + 1]) + 2 : bytes + 1;
    if (at + size > bytes) return false;
    if (options[at] & MAY_CHANGE) memset(options + at + 2, 0, size - 2);
    at += size;
  }
  return true;
}

/** RFC 4302 §A2: as the receiver will see it, no segments left and those that were passed in place of those named. */
bool arriveByRoute(uint8_t* header, uint8_t* route, size_t size) {
  constexpr size_t FIXED = 8, ADDRESS = 16;
  const size_t left = route[3], addresses = size - FIXED;
  if (left == 0) return true;
  if (route[2] != 0 || addresses % ADDRESS != 0 || left > addresses / ADDRESS) return false;
  uint8_t* named = route + size - ADDRESS * left;
  uint8_t last[ADDRESS];
  memcpy(last, route + size - ADDRESS, ADDRESS);
  memmove(named + ADDRESS, named, ADDRESS * (left - 1));
  memcpy(named, header + 24, ADDRESS);
  memcpy(header + 24, last, ADDRESS);
  route[3] = 0;
  return true;
}

bool coverExtension(uint8_t* header, const Extension& one) {
  if (one.kind == FRAGMENT) return true;
  if (one.kind == ROUTING) return arriveByRoute(header, header + one.start, one.size);
  return coverOptions(header + one.start + 2, one.size - 2);
}

/** RFC 4302 §A2: fragment headers of a whole packet are passed over, as if they were not there. */
void removeFragmentHeaders(uint8_t* header, size_t& bytes) {
  for (bool found = true; found;) {
    found = false;
    Extension fragment{};
    walkV6(header, bytes, [&](const Extension& one) {
      if (one.kind == FRAGMENT && !found) fragment = one;
      found = found || one.kind == FRAGMENT;
    });
    if (!found) return;
    header[fragment.namedAt] = header[fragment.start];
    memmove(header + fragment.start, header + fragment.start + fragment.size, bytes - fragment.start - fragment.size);
    bytes -= fragment.size;
    put16(header + 4, uint16_t(be16(header + 4) - fragment.size));
  }
}

/** RFC 4302 §3.3.3.1.2: traffic class, flow label, hop limit; then the extension headers, each by its kind. */
bool coverV6(uint8_t* header, size_t& bytes) {
  put32(header, 0x60000000);
  header[7] = 0;
  bool known = true;
  const bool whole = walkV6(header, bytes, [&](const Extension& one) { known = known && coverExtension(header, one); });
  if (!whole || !known) return false;
  removeFragmentHeaders(header, bytes);
  return true;
}

/** Behind what routers read; destination options stay in front only where a routing header follows them. */
Drop placeInV6(const uint8_t* packet, size_t bytes, Place& place) {
  place = {V6_HEADER, 6};
  bool part = false;
  const bool whole = walkV6(packet, bytes, [&](const Extension& one) {
    part = part || isPart(packet, one);
    if (one.kind != DESTINATION) place = {one.start + one.size, one.start};
  });
  return !whole ? Drop::malformed : part ? Drop::fragment : Drop::none;
}

Drop readOuterV4(uint8_t* packet, size_t bytes, Arrival& arrival) {
  const size_t header = headerV4(packet), length = be16(packet + 2);
  if (header < V4_HEADER || length < header || length > bytes) return Drop::malformed;
  if (isFragmentV4(packet)) return Drop::fragment;
  arrival.place = {header, 9};
  arrival.protocol = packet[9];
  arrival.ecn = packet[1];
  arrival.remote.address.family = 4;
  memcpy(arrival.remote.address.bytes.data(), packet + 12, 4);
  arrival.esp = packet + header;
  arrival.bytes = length - header;
  return Drop::none;
}

Drop readOuterV6(uint8_t* packet, size_t bytes, Arrival& arrival) {
  if (bytes < V6_HEADER) return Drop::malformed;
  const size_t length = V6_HEADER + be16(packet + 4);
  if (length > bytes) return Drop::malformed;
  arrival.place = {V6_HEADER, 6};
  bool part = false;
  const bool whole = walkV6(packet, length, [&](const Extension& one) {
    part = part || isPart(packet, one);
    arrival.place = {one.start + one.size, one.start};
  });
  if (!whole) return Drop::malformed;
  if (part) return Drop::fragment;
  arrival.protocol = packet[arrival.place.next];
  arrival.ecn = uint8_t(packet[1] >> 4);
  arrival.remote.address.family = 6;
  memcpy(arrival.remote.address.bytes.data(), packet + 8, 16);
  arrival.esp = packet + arrival.place.header;
  arrival.bytes = length - arrival.place.header;
  return Drop::none;
}

}  // namespace

Drop readOuter(uint8_t* packet, size_t bytes, Arrival& arrival) {
  arrival = {};
  if (bytes < V4_HEADER) return Drop::malformed;
  const uint8_t version = packet[0] >> 4;
  if (version != 4 && version != 6) return Drop::malformed;
  const Drop why = version == 4 ? readOuterV4(packet, bytes, arrival) : readOuterV6(packet, bytes, arrival);
  if (why != Drop::none) return why;
  if (arrival.protocol != PROTOCOL_ESP && arrival.protocol != PROTOCOL_AH) return Drop::malformed;
  return arrival.place.header > MOST_HEADER ? Drop::extension : Drop::none;
}

Drop placeIn(const uint8_t* packet, size_t bytes, Place& place) {
  Drop why = Drop::none;
  if (packet[0] >> 4 == 6) {
    why = placeInV6(packet, bytes, place);
  } else {
    place = {headerV4(packet), 9};
    if (isFragmentV4(packet)) why = Drop::fragment;
  }
  return why == Drop::none && place.header > MOST_HEADER ? Drop::extension : why;
}

bool coverHeader(uint8_t* header, size_t& headerBytes) {
  return header[0] >> 4 == 6 ? coverV6(header, headerBytes) : coverV4(header, headerBytes);
}

void makeOuter(const Sa& sa, const Outer& outer, uint8_t protocol, size_t bytes, uint8_t* packet) {
  makeHeader(sa.local, sa.remote, outer, protocol, bytes, packet);
}

void makeHeader(const Address& source, const Address& destination, const Outer& outer, uint8_t protocol, size_t bytes, uint8_t* packet) {
  if (source.family == 6) {
    put32(packet, 0x60000000 | uint32_t(outer.trafficClass) << 20);
    put16(packet + 4, uint16_t(bytes - V6_HEADER));
    packet[6] = protocol;
    packet[7] = HOPS;
    memcpy(packet + 8, source.bytes.data(), 16);
    memcpy(packet + 24, destination.bytes.data(), 16);
    return;
  }
  packet[0] = 0x45;
  packet[1] = outer.trafficClass;
  put16(packet + 4, 0);
  put16(packet + 6, outer.dontFragment ? 0x4000 : 0);
  packet[8] = HOPS;
  memcpy(packet + 12, source.bytes.data(), 4);
  memcpy(packet + 16, destination.bytes.data(), 4);
  setUpper(packet, {V4_HEADER, 9}, protocol, bytes);
}

void setUpper(uint8_t* packet, const Place& place, uint8_t protocol, size_t bytes) {
  packet[place.next] = protocol;
  if (packet[0] >> 4 == 6) return put16(packet + 4, uint16_t(bytes - V6_HEADER));
  put16(packet + 2, uint16_t(bytes));
  put16(packet + 10, 0);
  put16(packet + 10, foldSum(sumBytes(packet, place.header, 0)));
}

void identify(uint8_t* packet, const Place& place, uint16_t identification) {
  if (packet[0] >> 4 == 6 || be16(packet + 4) != 0) return;
  put16(packet + 4, identification);
  put16(packet + 10, 0);
  put16(packet + 10, foldSum(sumBytes(packet, place.header, 0)));
}

bool isBetween(const uint8_t* packet, const Address& source, const Address& destination) {
  if (packet[0] >> 4 != source.family || source.family != destination.family) return false;
  const size_t size = source.family == 4 ? 4 : 16, at = source.family == 4 ? 12 : 8;
  return memcmp(packet + at, source.bytes.data(), size) == 0 && memcmp(packet + at + size, destination.bytes.data(), size) == 0;
}

}  // namespace isthmus

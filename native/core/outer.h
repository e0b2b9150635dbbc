// The IP header of protected packets: read as it comes, made for tunnel mode, kept and changed in transport mode.
#pragma once

#include "sad.h"

namespace isthmus {

constexpr uint8_t PROTOCOL_ESP = 50, PROTOCOL_AH = 51;
/** Longest IP header that is looked at, with options or extension headers. */
constexpr size_t MOST_HEADER = 448;
/** What the length field of an IP header can say. */
constexpr size_t MOST_LENGTH = 65535;

/** What the outer header takes over: DSCP and ECN bits, and whether the network may fragment. */
struct Outer {
  uint8_t trafficClass = 0;
  bool dontFragment = false;
  bool operator==(const Outer&) const = default;
};

/** Where AH or ESP follows in an IP packet. */
struct Place {
  /** Bytes of the headers in front of it. */
  size_t header = 0;
  /** Where in them the field is that says what follows. */
  size_t next = 0;
};

/** One protected packet as it came, in a buffer that may be written until the batch ends. */
struct Arrival {
  /** ESP or AH. */
  uint8_t* esp;
  size_t bytes;
  uint8_t ecn;
  Endpoint remote;  // port 0: not in UDP
  /** Of the IP header that stands in front of it; empty where that is not known. */
  Place place{};
  uint8_t protocol = PROTOCOL_ESP;
};

/** A whole packet from the network. Anything but `none`: it is none with ESP or AH that could be opened. */
Drop readOuter(uint8_t* packet, size_t bytes, Arrival& arrival);

/** Where the header of transport mode goes (RFC 4302 §3.1.1, RFC 4303 §3.1.1), or why the packet cannot have one. */
Drop placeIn(const uint8_t* packet, size_t bytes, Place& place);

/**
 * Makes a header what the ICV of AH covers of it (RFC 4302 §3.3.3.1): zero where routers may change it, as it will arrive where
 * that is known, without fragment headers. False where options are malformed or nobody can tell what becomes of them.
 */
bool coverHeader(uint8_t* header, size_t& headerBytes);

/** The header of a packet of that many bytes in all, without an identification. */
void makeOuter(const Sa& sa, const Outer& outer, uint8_t protocol, size_t bytes, uint8_t* packet);

/** The same between any two addresses of one family. */
void makeHeader(const Address& source, const Address& destination, const Outer& outer, uint8_t protocol, size_t bytes, uint8_t* packet);

/** Bytes of the header that `makeHeader` makes. */
inline size_t plainHeader(uint8_t family) { return family == 6 ? 40 : 20; }

/** A header that is kept says what follows it, and how long the packet is. */
void setUpper(uint8_t* packet, const Place& place, uint8_t protocol, size_t bytes);

/** Gives an IPv4 packet an identification if it has none: the kernel would, and AH covers it. */
void identify(uint8_t* packet, const Place& place, uint16_t identification);

/** Never zero; differs between packets of an SA that are on the way together. */
inline uint16_t identificationOf(uint64_t sequence) { return uint16_t(sequence) == 0 ? 0x8000 : uint16_t(sequence); }

/** Whether a packet is from one of these to the other. */
bool isBetween(const uint8_t* packet, const Address& source, const Address& destination);

}  // namespace isthmus

// What came out of ESP or AH: a packet that the SA may carry, or nothing (RFC 4301 §5.2).
#pragma once

#include "outer.h"

namespace isthmus {

struct Inner {
  uint8_t* packet;
  size_t bytes;
  Flow flow;
};

/** The packet inside in tunnel mode; padding may follow it (RFC 4303 §2.7). `next`: what the security header says it is. */
Drop admitTunnelled(InboundSa& sa, Lane& lane, uint8_t* text, size_t bytes, uint8_t next, uint8_t outerEcn, Inner& inner);

/** What was inside in transport mode, behind the header that it came with. Writes in front of `text`. */
Drop admitTransported(InboundSa& sa, Lane& lane, const Arrival& arrival, uint8_t* text, size_t bytes, uint8_t next, Inner& inner);

/** What was inside in UDP, behind a header that is made in `room`: the one that it was sent with is not known. */
Drop admitFromUdp(InboundSa& sa, Lane& lane, const Arrival& arrival, const uint8_t* text, size_t bytes, uint8_t next, uint8_t* room, Inner& inner);

}  // namespace isthmus

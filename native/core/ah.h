// AH (RFC 4302), one packet at a time, in place. Knows no sockets.
#pragma once

#include "admission.h"

namespace isthmus {

/** Without the ICV. */
constexpr size_t AH_FIXED = 12;

/** Where the packet must stand in the buffer that `authenticate` is given. */
size_t authenticatedOffset(const Sa& sa);

/**
 * Puts AH in front of the packet that stands at `authenticatedOffset` in `buffer`, and in tunnel mode an IP header in front of
 * that: a whole packet, whose bytes in all `size` becomes. Takes a sequence number only when nothing else is in the way.
 */
Drop authenticate(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, const Outer& outer, size_t& size);

/** Checks AH and takes it off, in place. The window moves only for a packet that is authentic. */
Drop verify(InboundSa& sa, Lane& lane, const Arrival& arrival, Inner& inner);

}  // namespace isthmus

// ESP (RFC 4303), one packet at a time, in place. Knows no sockets.
#pragma once

#include "admission.h"

namespace isthmus {

constexpr size_t ESP_HEADER = 8;

/** Where the inner packet must stand in the buffer that `encapsulate` is given. */
inline size_t innerOffset(const Sa& sa) { return ESP_HEADER + sa.shape.ivBytes; }

/**
 * Makes an ESP packet around the inner packet that stands at `innerOffset` in `buffer`.
 * `size` becomes the bytes of the whole. Takes a sequence number only when nothing else is in the way.
 */
Drop encapsulate(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, size_t& size);

/** Opens an ESP packet in place. The window moves only for a packet that passed every check. */
Drop decapsulate(InboundSa& sa, Lane& lane, uint8_t* esp, size_t bytes, uint8_t outerEcn, Inner& inner);

/** The same in transport mode: the packet keeps its IP header, which stands at the beginning of `buffer` afterwards. */
Drop encapsulateTransport(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, size_t& size);
Drop decapsulateTransport(InboundSa& sa, Lane& lane, const Arrival& arrival, Inner& inner);

/** The same in UDP (RFC 3948 §2.1): the IP header stays behind, and another one is made in `room`, of MOST_LENGTH bytes. */
Drop encapsulateInUdp(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, size_t& size);
Drop decapsulateInUdp(InboundSa& sa, Lane& lane, const Arrival& arrival, uint8_t* room, Inner& inner);

/** Bytes that become of an inner packet of that size in tunnel mode, without the outer IP and UDP headers. */
size_t espBytes(const Sa& sa, size_t innerBytes);

}  // namespace isthmus

// IP fragmentation (RFC 791 §3.2, RFC 8200 §4.5) of packets that bring their own header: there the kernel leaves it to us.
#pragma once

#include <vector>

#include "outer.h"

namespace isthmus {

/** Whether a packet may be fragmented by who sends it: an IPv4 packet says so, an IPv6 packet does not. */
bool mayFragment(const uint8_t* packet, bool dontFragment);

/** The fragments, none longer than `mtu`; empty where the packet cannot be cut so. `identification` is for one that has none. */
std::vector<std::vector<uint8_t>> fragmentsOf(const uint8_t* packet, size_t bytes, size_t mtu, uint32_t identification);

}  // namespace isthmus

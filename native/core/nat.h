// What a NAT breaks inside ESP in transport mode, and how it is mended (RFC 3948 §3.1.2).
#pragma once

#include "sad.h"

namespace isthmus {

/**
 * The transport checksum was made for other addresses, and is to fit those of the header: only the difference is changed, so that
 * what was broken stays broken (RFC 1624 §3).
 */
void repairSum(uint8_t* packet, const Flow& flow, const Address& source, const Address& destination);

}  // namespace isthmus

// One request to the kernel over netlink, and its answer. What the bytes mean is known in src/wire/netlink.ts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace isthmus {

/**
 * Sends one or more messages in one piece to the routing family of the kernel and gathers what comes back until `answers`
 * messages were acknowledged, refused or, for a dump, done. Empty, or why there is no answer.
 */
std::string netlinkRequest(const uint8_t* bytes, size_t length, int answers, std::vector<uint8_t>& answer);

}  // namespace isthmus

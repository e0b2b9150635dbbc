// nftables through libnftables, loaded when it is first used: the addon itself links to nothing.
#pragma once

#include <string>

namespace isthmus {

/** Commands in JSON or in nft's own language; the answer as JSON. False with the library's own words, or why it is not there. */
bool runNftables(const std::string& commands, std::string& answer);

}  // namespace isthmus

// Devices that are ours carry a mark, their alias: what has none is never attached to, changed or removed.
#pragma once

#include <string>

namespace isthmus {

/** Whether the alias of the device begins as ours do (src/host/wanted.ts). */
bool isMarked(const std::string& name);
/** Gives it an alias; src/host gives it a better one. */
bool setMark(const std::string& name);
bool removeDevice(const std::string& name);

}  // namespace isthmus

// CLOCK_BOOTTIME: goes on while the machine sleeps, and nobody sets it.
#pragma once

#include <time.h>

#include <cstdint>

namespace isthmus {

inline uint64_t bootNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return uint64_t(now.tv_sec) * 1000000000 + uint64_t(now.tv_nsec);
}

/** Milliseconds. */
inline uint64_t bootTime() { return bootNanoseconds() / 1000000; }

}  // namespace isthmus

#!/bin/sh
# Runs native/core's driver under each sanitizer: threads at work while SAs are added, switched and removed.
set -eu
cd "$(dirname "$0")/.."
for sanitizer in address undefined thread; do
  printf 'native/core under the %s sanitizer:\n' "$sanitizer"
  make -C native --no-print-directory driver SAN="$sanitizer" > /dev/null
  UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 native/build/driver-"$sanitizer"
done

#!/bin/sh
# Proves that no install step is missing: a Debian 12 of its own with git, Node, npm, g++, make and python3, and in it
# `npm run demo` and `npm test` from a clone of what is committed. Everything is gone afterwards.
set -eu
cd "$(dirname "$0")/.."

say() { printf '[cleanroom] %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say 'needs root'; exit 3; }
command -v debootstrap > /dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap > /dev/null; }

root=$(mktemp -d /var/tmp/isthmus-cleanroom.XXXXXX)
trap 'rm -rf --one-file-system "$root"' EXIT INT TERM
mirror=$(sed -nE 's/^(deb +(\[[^]]*\] +)?|URIs: *)([a-z]+:[^ ]+).*/\3/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | head -n 1)

say 'building Debian 12'
debootstrap --variant=minbase --include=ca-certificates,git,g++,make,python3 bookworm "$root" "$mirror" > "$root.log" ||
  { tail -n 20 "$root.log" >&2; exit 1; }
rm -f "$root.log"

# Node as this machine has it, with its headers; the way to the package sources as well.
for path in "$(command -v node)" /usr/lib/node_modules/npm /usr/include/node /etc/apt /etc/resolv.conf "$HOME/.npmrc" /etc/npmrc /usr/etc/npmrc \
  /etc/ssl /usr/local/share/ca-certificates /usr/share/ca-certificates; do
  [ -e "$path" ] && mkdir -p "$root$(dirname "$path")" && cp -a "$path" "$root$(dirname "$path")/"
done
ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/bin/npm"
ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/bin/npx"
git clone -q --no-hardlinks . "$root/opt/isthmus"

say 'npm run demo, npm test'
unshare --mount --pid --fork --kill-child sh -c '
  mount --make-rprivate / && mount --bind "$1" "$1" && mount --rbind /dev "$1/dev" && mount --rbind /sys "$1/sys" && mount -t proc proc "$1/proc" &&
  mount -t tmpfs tmpfs "$1/run" && exec chroot "$1" sh -c "cd /opt/isthmus && date +%s > /tmp/begin && npm run demo && echo demo after \$((\$(date +%s) - \$(cat /tmp/begin))) s && npm test"
' sh "$root"
say 'both commands work on a fresh machine'

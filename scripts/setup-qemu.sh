#!/bin/sh
# Brings a Debian kernel for the guests of lab/qemu.ts to .lab/qemu; `netdevsim` adds that module, built for this very kernel.
# Packages are unpacked there, not installed. Called by setup.sh, in the folder of the checkout.
set -eu
goal=$1
root=$PWD/.lab/qemu

say() { printf '\033[2m[setup]\033[0m %s\n' "$*" >&2; }
fail() {
  printf '[setup] %s\n        %s\n' "$1" "$2" >&2
  exit 3
}

# Package names of Debian, with =VERSION where only that one fits, into the folder $root/packages.
download() {
  say "downloading Debian packages ($(sizes "$@")): $*"
  mkdir -p "$root/packages"
  (cd "$root/packages" && rm -f ./*.deb && apt-get download -o APT::Sandbox::User=root "$@" >&2) ||
    fail 'a Debian package cannot be downloaded: see above' 'where a version is gone by now: rm -r .lab/qemu, and once more'
}

sizes() {
  apt-cache show --no-all-versions "$@" 2> /dev/null | awk '/^Size:/ { sum += $2 } END { printf "%d MB", sum / 1000000 }'
}

unpack() {
  for file in "$root"/packages/*.deb; do dpkg-deb -x "$file" "$root"; done
  rm -r "$root/packages"
}

# The package of a package that stands for the newest one: linux-image-amd64 is linux-image-6.1.0-56-amd64.
newest() {
  apt-cache depends "$1" 2> /dev/null | awk -v name="^${1%amd64}" '/Depends:/ && $2 ~ name { print $2; exit }'
}

bring_kernel() {
  [ "$(id -u)" != 0 ] || apt-get update -qq || true
  image=$(newest linux-image-amd64)
  [ -n "$image" ] || fail 'apt knows no package linux-image-amd64' 'as root: apt-get update'
  download "$image" busybox-static
  unpack
  release=${image#linux-image-}
  depmod -b "$root" "$release"
  apt-cache show --no-all-versions "$image" | sed -n 's/^Version: //p' > "$root/version"
  echo "$release" > "$root/release"
}

# A first root: busybox, the modules up to a file system of the machine, in the order that they need, and lab/qemu-boot.sh.
pack_first_root() {
  say 'packing the first root of the guest'
  first=$(mktemp -d)
  mkdir "$first/modules"
  cp "$root/bin/busybox" "$first/busybox"
  cp lab/qemu-boot.sh "$first/init"
  chmod +x "$first/init"
  number=10
  for module in virtio_pci 9pnet_virtio 9p; do modprobe -S "$release" -d "$root" --show-depends $module; done |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r file; do
      cp "$file" "$first/modules/$number-${file##*/}"
      number=$((number + 1))
    done
  (cd "$first" && find . | "$root/bin/busybox" cpio -o -H newc 2> /dev/null | gzip -1) > "$root/first-root.new"
  rm -r "$first"
  mv "$root/first-root.new" "$root/first-root"
}

# Debian's kernel comes without it. Its source and the kernel's headers are needed once, and removed again.
build_netdevsim() {
  version=$(cat "$root/version")
  series=${release%%.0-*}
  download "linux-headers-$release=$version" "linux-headers-${release%-amd64}-common=$version" \
    "linux-kbuild-$series=$version" "linux-source-$series=$version"
  source=$(ls "$root"/packages/linux-source-*.deb)
  say "building netdevsim for Linux $release"
  work=$root/netdevsim
  rm -rf "$work" && mkdir -p "$work/source"
  dpkg-deb --fsys-tarfile "$source" | tar -xO "./usr/src/linux-source-$series.tar.xz" |
    tar -xJ -C "$work/source" --strip-components=4 "linux-source-$series/drivers/net/netdevsim"
  rm "$source"
  unpack
  # The headers look for their other half where the package would be installed.
  sed -i "s#/usr/src#$root/usr/src#" "$root/usr/src/linux-headers-$release/Makefile"
  make -s -C "$root/usr/src/linux-headers-$release" M="$work/source" CONFIG_NETDEVSIM=m CONFIG_PSAMPLE=m modules \
    > "$work/log" 2>&1 || fail 'netdevsim was not built' "see $work/log"
  mkdir -p "$root/lib/modules/$release/extra"
  mv "$work/source/netdevsim.ko" "$root/lib/modules/$release/extra/"
  depmod -b "$root" "$release"
  rm -rf "$work" "$root/usr/src" "$root/usr/lib/linux-kbuild-$series"
}

[ -e "$root/release" ] || bring_kernel
release=$(cat "$root/release")
[ "$root/first-root" -nt lab/qemu-boot.sh ] || pack_first_root
[ "$goal" != netdevsim ] || [ -e "$root/lib/modules/$release/extra/netdevsim.ko" ] || build_netdevsim

#!/bin/sh
# Brings a Debian 12 machine to where `npm run demo` (argument: demo; with --dataplane xfrm: uml), `npm test` (test),
# `npm run bench` (bench), `npm run interop -- --all` (interop), a guest of qemu (qemu, netdevsim) or a build (build) can run.
# Installs only what is missing, says what it does, and does nothing when all is there.
set -eu
cd "$(dirname "$0")/.."
goal=${1:-demo}

say() { printf '\033[2m[setup]\033[0m %s\n' "$*" >&2; }
fail() {
  printf '[setup] %s\n        %s\n' "$1" "$2" >&2
  exit 3
}

# Debian package, and a file that shows it is there.
needs() {
  case $goal in
    build) ;;
    fuzz) echo 'clang /usr/bin/clang++
libclang-rt-14-dev /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux
llvm /usr/bin/llvm-cov
libssl-dev /usr/include/openssl/evp.h
patch /usr/bin/patch' ;;
    demo) echo 'nftables /usr/sbin/nft
iproute2 /sbin/ip
iperf3 /usr/bin/iperf3
iputils-ping /bin/ping
procps /sbin/sysctl' ;;
    uml) echo 'nftables /usr/sbin/nft
iproute2 /sbin/ip
iperf3 /usr/bin/iperf3
iputils-ping /bin/ping
procps /sbin/sysctl
user-mode-linux /usr/bin/linux.uml
kmod /sbin/modprobe' ;;
    qemu | netdevsim) echo 'nftables /usr/sbin/nft
iproute2 /sbin/ip
iperf3 /usr/bin/iperf3
iputils-ping /bin/ping
procps /sbin/sysctl
qemu-system-x86 /usr/bin/qemu-system-x86_64
kmod /sbin/modprobe
xz-utils /usr/bin/xz' ;;
    test | routes | bench | interop) echo 'nftables /usr/sbin/nft
iproute2 /sbin/ip
iperf3 /usr/bin/iperf3
iputils-ping /bin/ping
procps /sbin/sysctl
user-mode-linux /usr/bin/linux.uml
kmod /sbin/modprobe
python3 /usr/bin/python3
tshark /usr/bin/tshark
libssl-dev /usr/include/openssl/evp.h
strongswan-charon /usr/lib/ipsec/charon
strongswan-swanctl /usr/sbin/swanctl
libstrongswan-extra-plugins /usr/lib/ipsec/plugins/libstrongswan-curve25519.so
libstrongswan-standard-plugins /usr/lib/ipsec/plugins/libstrongswan-openssl.so
libcharon-extra-plugins /usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so' ;;
  esac
  [ "$goal" != routes ] || echo 'frr /usr/lib/frr/bgpd'
  [ "$goal" != bench ] || echo 'ethtool /usr/sbin/ethtool
wireguard-go /usr/bin/wireguard-go
wireguard-tools /usr/bin/wg'
}

missing_packages() {
  needs | while read -r package file; do [ -e "$file" ] || printf '%s ' "$package"; done
}

# A package must not start its daemon here: policy-rc.d says so for the time of the installation.
install_packages() {
  say "installing Debian packages: $*"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}

packages=$(missing_packages)
if [ -n "$packages" ]; then
  if [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2086
    install_packages $packages
  elif [ "$goal" = demo ] || [ "$goal" = uml ] || [ "$goal" = qemu ] || [ "$goal" = netdevsim ]; then
    fail "missing Debian packages: $packages" "as root: apt-get install $packages"
  else
    say "missing Debian packages: $packages(tests that need them are skipped; as root: apt-get install $packages)"
  fi
fi

# libreswan's package cannot stand beside strongSwan's: it is unpacked, with the libraries that nothing else here brought.
libreswan_root=.lab/libreswan

libreswan_packages() {
  libraries=/usr/lib/x86_64-linux-gnu
  echo "libreswan $libreswan_root/usr/libexec/ipsec/pluto
libnss3-tools $libreswan_root/usr/bin/certutil
libldns3 $libraries/libldns.so.3
libunbound8 $libraries/libunbound.so.8
libevent-core-2.1-7 $libraries/libevent_core-2.1.so.7
libevent-pthreads-2.1-7 $libraries/libevent_pthreads-2.1.so.7
libcurl3-nss $libraries/libcurl-nss.so.4
libnss3 $libraries/libnss3.so
libnspr4 $libraries/libnspr4.so
libcap-ng0 $libraries/libcap-ng.so.0
libldap-2.5-0 $libraries/libldap-2.5.so.0" |
    while read -r package file; do
      [ -e "$file" ] || [ -e "$libreswan_root$file" ] || printf '%s ' "$package"
    done
}

unpack_libreswan() {
  packages=$(libreswan_packages)
  [ -n "$packages" ] || return 0
  say "unpacking Debian packages into $libreswan_root: $packages"
  mkdir -p $libreswan_root
  folder=$(mktemp -d)
  # shellcheck disable=SC2086
  (cd "$folder" && apt-get download -q $packages > log 2>&1) || {
    say "not downloaded, so there is no libreswan here: $(tail -1 "$folder/log")"
    rm -r "$folder"
    return 0
  }
  for file in "$folder"/*.deb; do dpkg-deb -x "$file" $libreswan_root; done
  rm -r "$folder"
  missing=$(LD_LIBRARY_PATH=$libreswan_root/usr/lib/x86_64-linux-gnu ldd $libreswan_root/usr/libexec/ipsec/pluto |
    awk '/not found/ { printf "%s ", $1 }')
  [ -z "$missing" ] || say "libreswan will not start, libraries are missing: $missing"
}

case $goal in
  interop) unpack_libreswan ;;
  qemu | netdevsim) sh scripts/setup-qemu.sh "$goal" ;;
esac

if ! cmp -s package-lock.json node_modules/.setup-lock; then
  say 'installing npm packages'
  # Not `npm ci`: it refuses a lock file without the packages of platforms that a mirror does not carry.
  npm install --no-save --no-fund --no-audit --loglevel=error
  [ -x node_modules/.bin/node ] && [ -e node_modules/node/bin/node ] || npm rebuild --foreground-scripts node
  cp package-lock.json node_modules/.setup-lock
fi
scripts/node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 24 ? 0 : 1)' ||
  fail 'the npm package "node" did not bring Node 24' 'run: npm rebuild --foreground-scripts node'

[ ! -f native/Makefile ] || make -q -C native > /dev/null 2>&1 || {
  say 'building the native addon'
  make -C native --no-print-directory > /dev/null
}

[ "$goal" != bench ] || make -q -C bench/native > /dev/null 2>&1 || {
  say 'building what measures'
  make -C bench/native --no-print-directory > /dev/null
}

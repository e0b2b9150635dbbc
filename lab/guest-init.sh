#!/bin/sh
# The first process of a guest that lab/guest.ts boots; `guest` is uml or qemu. The root is the machine's own file system, mounted
# read-only; what must be writable is memory of the guest. /run/guest of the machine holds `command`, `folder`, `library` and
# `modules`, and takes `status`.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
[ "$guest" = uml ] || mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/machine /run/guest /run/netns /run/modules/lib
mount --bind / /run/machine
for folder in /tmp /var /root /home; do mount -t tmpfs -o mode=755 tmpfs $folder; done
chmod 1777 /tmp
mkdir -p /var/lib /var/log /var/tmp
ln -s /run /var/run
case $guest in
  uml) mount -t hostfs none /run/guest -o /run/guest ;;
  qemu) mount -t 9p -o trans=virtio,version=9p2000.L,cache=none guest /run/guest ;;
esac
# A checkout that lies where the guest has memory of its own.
folder=$(cat /run/guest/folder)
[ -d "$folder" ] || { mkdir -p "$folder" && mount --bind "/run/machine$folder" "$folder"; }
stty -opost < /dev/console 2> /dev/null

# Modules lie where modprobe does not look, and the kernel neither: where it may load more later, it is told how.
ln -s "$(cat /run/guest/library)" /run/modules/lib/modules
xargs modprobe -d /run/modules -a < /run/guest/modules
if [ "$guest" = uml ]; then
  echo > /proc/sys/kernel/modprobe
else
  printf '#!/bin/sh\nexec /sbin/modprobe -d /run/modules "$@"\n' > /run/modprobe
  chmod +x /run/modprobe
  echo /run/modprobe > /proc/sys/kernel/modprobe
fi

echo 8388608 > /proc/sys/net/core/rmem_max
ip link set dev lo up
sh /run/guest/command
echo $? > /run/guest/status
echo o > /proc/sysrq-trigger
# No command, which would have to be read from a file system that goes away.
while :; do :; done

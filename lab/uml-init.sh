#!/bin/sh
# The first process of the guest that lab/uml.ts boots. The root is the machine's own file system, mounted read-only; what
# must be writable is memory of the guest. /run/uml of the machine holds `command`, `folder` and `modules`, and takes `status`.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for folder in /tmp /run /var /root /home; do mount -t tmpfs -o mode=755 tmpfs $folder; done
chmod 1777 /tmp
mkdir -p /run/uml /run/netns /run/modules/lib /var/lib /var/log /var/tmp
ln -s /run /var/run
mount -t hostfs none /run/uml -o /run/uml
# A checkout that lies where the guest has memory of its own.
folder=$(cat /run/uml/folder)
[ -d "$folder" ] || { mkdir -p "$folder" && mount -r -t hostfs none "$folder" -o "$folder"; }
stty -opost < /dev/console 2> /dev/null

# Modules lie where modprobe does not look.
ln -s /usr/lib/uml/modules /run/modules/lib/modules
xargs modprobe -d /run/modules -a < /run/uml/modules
echo > /proc/sys/kernel/modprobe

echo 8388608 > /proc/sys/net/core/rmem_max
ip link set dev lo up
sh /run/uml/command
echo $? > /run/uml/status
echo o > /proc/sysrq-trigger
sleep 60

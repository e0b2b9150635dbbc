#!/busybox sh
# The first root of a guest of qemu (scripts/setup-qemu.sh packs it, with busybox and the modules that it needs): mounts the
# machine's file system and goes on there. `then` is what runs there, `guest` is for that.
for module in /modules/*; do /busybox insmod "$module"; done
/busybox mkdir /machine
/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 machine /machine
exec /busybox switch_root /machine "$then"

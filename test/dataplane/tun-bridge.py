# Two TUN devices for a test: `lan` and `wan`. On stdin a packet: device (0 or 1), length (4 bytes, big-endian), bytes; it
# arrives on that device. On stdout what the kernel then sends on either, or as GRE takes for itself (device 2), in the same
# form, and device 255 behind it. Device 254: see `burst`.
import fcntl, os, select, socket, struct, sys

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


def device(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name, IFF_TUN | IFF_NO_PI))
    return fd


def waiting(fd):
    while True:
        try:
            yield os.read(fd, 65535)
        except BlockingIOError:
            return


def marker(source, destination):
    """A packet of a protocol of nobody's (RFC 3692), between networks that no test protects."""
    header = bytes([0x45, 0, 0, 20, 0, 0, 0, 0, 64, MARKER, 0, 0, *source, *destination])
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]


def through(which, packet):
    """Sends it, and markers behind it: once two of them came out one after the other, so has all that it caused."""
    sent = []
    for one in (packet, MARKERS[which], MARKERS[which]):
        if one:
            os.write(fds[which], one)
        while one is MARKERS[which]:
            ready, _, _ = select.select(fds, [], [], PATIENCE)
            if not ready:
                raise SystemExit("the marker does not come out")
            found = [(fds.index(fd), packet) for fd in ready for packet in waiting(fd)]
            sent += [(number, packet) for number, packet in found if is_of_somebody(packet)]
            if any(is_marker(packet) for _, packet in found):
                break
    # What was decrypted waits in a queue of its own, and may fall behind the markers.
    while not sent and select.select(fds, [], [], GRACE)[0]:
        sent += [(number, packet) for number, fd in enumerate(fds) for packet in waiting(fd) if is_of_somebody(packet)]
    return sent


def burst(packets):
    """Many packets for `wan` at once, each behind its length (2 bytes)."""
    sent, at = [], 0
    while at < len(packets):
        end = at + 2 + struct.unpack_from(">H", packets, at)[0]
        os.write(fds[1], packets[at + 2 : end])
        sent += [(number, one) for number, fd in enumerate(fds) for one in waiting(fd)]
        at = end
    sent += through(1, b"")
    while select.select(fds, [], [], GRACE)[0]:
        sent += [(number, one) for number, fd in enumerate(fds) for one in waiting(fd)]
    return [(number, one) for number, one in sent if is_of_somebody(one)]


def is_marker(packet):
    return packet[0] == 0x45 and packet[9] == MARKER


def is_of_somebody(packet):
    """Not a marker, nor what the kernel says by itself: neighbour and multicast listener discovery."""
    return not is_marker(packet) and not (packet[0] >> 4 == 6 and packet[24] == 0xFF)


MARKER, PATIENCE, GRACE, BURST = 253, 5, 0.05, 254
MARKERS = [marker((10, 9, 0, 1), (203, 0, 113, 1)), marker((203, 0, 113, 1), (10, 1, 255, 254))]
fds = [device(b"lan"), device(b"wan")]
itself = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_GRE)
itself.setblocking(False)
fds.append(itself.fileno())
print("ready", file=sys.stderr, flush=True)
while True:
    header = sys.stdin.buffer.read(5)
    if len(header) < 5:
        break
    which, length = struct.unpack(">BI", header)
    packets = sys.stdin.buffer.read(length)
    for number, sent in burst(packets) if which == BURST else through(which, packets):
        sys.stdout.buffer.write(struct.pack(">BI", number, len(sent)) + sent)
    sys.stdout.buffer.write(struct.pack(">BI", 255, 0))
    sys.stdout.buffer.flush()

#include "coalesce.h"

namespace isthmus {

namespace {

constexpr uint8_t TCP = 6;
constexpr uint8_t PSH = 0x08, ACK = 0x10;
constexpr size_t MOST_BYTES = 65535;

uint8_t* tcpOf(uint8_t* packet, const Flow& flow) { return packet + flow.transport; }
const uint8_t* tcpOf(const uint8_t* packet, const Flow& flow) { return packet + flow.transport; }
size_t tcpHeader(const uint8_t* tcp) { return size_t(tcp[12] >> 4) * 4; }

/** Data only, with ACK and perhaps PSH, no fragment, no IP options. */
bool isPlainSegment(const uint8_t* packet, const Flow& flow) {
  if (flow.protocol != TCP || flow.opaque) return false;
  if (flow.family == 4 ? flow.transport != 20 || (be16(packet + 6) & 0x3fff) != 0 : flow.transport != 40) return false;
  if (flow.length < flow.transport + 20u) return false;
  const uint8_t* tcp = tcpOf(packet, flow);
  if (tcpHeader(tcp) < 20 || flow.length <= flow.transport + tcpHeader(tcp)) return false;
  return (tcp[13] & ~PSH) == ACK;
}

bool checksumFits(const uint8_t* packet, const Flow& flow) {
  const uint32_t length = flow.length - flow.transport;
  if (foldSum(sumBytes(tcpOf(packet, flow), length, pseudoSum(flow, length))) != 0) return false;
  return flow.family == 6 || foldSum(sumBytes(packet, 20, 0)) == 0;
}

}  // namespace

void Coalescer::add(const uint8_t* packet, const Flow& flow, Write write, void* context) {
  const bool plain = isPlainSegment(packet, flow) && checksumFits(packet, flow);
  if (plain && bytes_ != 0 && joins(packet, flow)) {
    const size_t payload = flow.length - headers_;
    memcpy(frame_.data() + VNET_HEADER + bytes_, packet + headers_, payload);
    bytes_ += payload;
    count_++;
    next_ += uint32_t(payload);
    const uint8_t flags = tcpOf(packet, flow)[13];
    tcpOf(frame_.data() + VNET_HEADER, flow_)[13] |= flags & PSH;
    closed_ = payload < segment_ || (flags & PSH) != 0;
    return;
  }
  flush(write, context);
  begin(packet, flow);
  if (!plain) flush(write, context);
}

/** Same flow, same headers but for sequence, checksum, PSH and identification; continues exactly where the last one ended. */
bool Coalescer::joins(const uint8_t* packet, const Flow& flow) const {
  if (closed_ || flow.family != flow_.family || flow.transport != flow_.transport) return false;
  const uint8_t* first = frame_.data() + VNET_HEADER;
  const uint8_t *a = tcpOf(first, flow_), *b = tcpOf(packet, flow);
  if (memcmp(a, b, 4) != 0 || be32(b + 4) != next_ || memcmp(a + 8, b + 8, 5) != 0 || memcmp(a + 14, b + 14, 2) != 0) return false;
  if (memcmp(a + 20, b + 20, tcpHeader(a) - 20) != 0) return false;
  const size_t payload = flow.length - headers_;
  if (payload > segment_ || bytes_ + payload > MOST_BYTES) return false;
  if (flow.family == 6) return memcmp(first, packet, 4) == 0 && memcmp(first + 6, packet + 6, 34) == 0;
  return memcmp(first, packet, 2) == 0 && memcmp(first + 6, packet + 6, 4) == 0 && memcmp(first + 12, packet + 12, 8) == 0 &&
         uint16_t(be16(first + 4) + count_) == be16(packet + 4);
}

void Coalescer::begin(const uint8_t* packet, const Flow& flow) {
  memcpy(frame_.data() + VNET_HEADER, packet, flow.length);
  flow_ = flow;
  bytes_ = flow.length;
  count_ = 1;
  closed_ = false;
  if (!isPlainSegment(packet, flow)) return;
  const uint8_t* tcp = tcpOf(packet, flow);
  headers_ = flow.transport + tcpHeader(tcp);
  segment_ = flow.length - headers_;
  next_ = be32(tcp + 4) + uint32_t(segment_);
  closed_ = (tcp[13] & PSH) != 0;
}

void Coalescer::flush(Write write, void* context) {
  if (bytes_ == 0) return;
  VnetHeader header{};
  uint8_t* packet = frame_.data() + VNET_HEADER;
  if (count_ > 1) {
    header.flags = VnetHeader::NEEDS_CHECKSUM;
    header.kind = flow_.family == 4 ? VnetHeader::TCP_V4 : VnetHeader::TCP_V6;
    header.headerBytes = uint16_t(headers_);
    header.segment = uint16_t(segment_);
    header.checksumStart = flow_.transport;
    header.checksumOffset = 16;
    const uint32_t length = uint32_t(bytes_ - flow_.transport);
    put16(tcpOf(packet, flow_) + 16, uint16_t(~foldSum(pseudoSum(flow_, length))));
    if (flow_.family == 4) {
      put16(packet + 2, uint16_t(bytes_));
      put16(packet + 10, 0);
      put16(packet + 10, foldSum(sumBytes(packet, 20, 0)));
    } else {
      put16(packet + 4, uint16_t(bytes_ - 40));
    }
  }
  memcpy(frame_.data(), &header, sizeof header);
  write(context, frame_.data(), VNET_HEADER + bytes_);
  bytes_ = 0;
}

}  // namespace isthmus

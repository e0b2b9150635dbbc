#include "coalesce.h"

namespace isthmus {

namespace {

constexpr uint8_t TCP = 6, UDP = 17;
constexpr size_t TCP_HEADER = 20, UDP_HEADER = 8;
constexpr uint8_t PSH = 0x08, ACK = 0x10;
constexpr size_t MOST_BYTES = 65535;

uint8_t* firstOf(const iovec* pieces) { return static_cast<uint8_t*>(pieces[1].iov_base); }
size_t tcpHeader(const uint8_t* tcp) { return size_t(tcp[12] >> 4) * 4; }

/** No options, no fragment. */
bool isPlainIp(const uint8_t* packet, const Flow& flow) {
  if (flow.opaque) return false;
  return flow.family == 4 ? flow.transport == 20 && (be16(packet + 6) & 0x3fff) == 0 : flow.transport == 40;
}

/** Data only, with ACK and perhaps PSH. */
bool isPlainTcp(const uint8_t* tcp, size_t bytes) {
  return bytes > TCP_HEADER && tcpHeader(tcp) >= TCP_HEADER && bytes > tcpHeader(tcp) && (tcp[13] & ~PSH) == ACK;
}

/** With a checksum, since the kernel gives one to every packet that it cuts out (RFC 768: 0 means none). */
bool isPlainUdp(const uint8_t* udp, size_t bytes) { return bytes > UDP_HEADER && be16(udp + 4) == bytes && be16(udp + 6) != 0; }

/**
 * The sum begins where decryption began, so that what is read lies within what was just written at once: a read across two
 * writes would wait for both to reach the cache.
 */
bool checksumFits(const uint8_t* packet, const Flow& flow) {
  const uint64_t header = sumBytes(packet, flow.transport, 0);
  if (flow.family == 4 && foldSum(header) != 0) return false;
  return foldSum(sumBytes(packet, flow.length, 0) - header + pseudoSum(flow, flow.length - flow.transport)) == 0;
}

bool sameFlow(const Flow& a, const Flow& b) {
  uint64_t left[4], right[4];
  memcpy(left, a.source, 16);
  memcpy(left + 2, a.destination, 16);
  memcpy(right, b.source, 16);
  memcpy(right + 2, b.destination, 16);
  const uint64_t differing = (left[0] ^ right[0]) | (left[1] ^ right[1]) | (left[2] ^ right[2]) | (left[3] ^ right[3]);
  return differing == 0 && a.protocol == b.protocol && a.sourcePort == b.sourcePort && a.destinationPort == b.destinationPort && a.family == b.family;
}

/** Same class, flags and hop limit; identification continues, so that cutting gives the same bytes. */
bool sameIp(const uint8_t* first, const uint8_t* packet, const Flow& flow, size_t distance) {
  if (flow.family == 6) return memcmp(first, packet, 4) == 0 && memcmp(first + 6, packet + 6, 2) == 0;
  return memcmp(first, packet, 2) == 0 && memcmp(first + 6, packet + 6, 4) == 0 && uint16_t(be16(first + 4) + distance) == be16(packet + 4);
}

/** Acknowledgement, window, urgent pointer and options are the same. */
bool sameTcp(const uint8_t* a, const uint8_t* b) {
  return memcmp(a + 8, b + 8, 5) == 0 && memcmp(a + 14, b + 14, 2) == 0 && memcmp(a + 18, b + 18, tcpHeader(a) - 18) == 0;
}

}  // namespace

void Coalescer::add(uint8_t* packet, const Flow& flow, uint32_t link, Write write, void* context) {
  Train* train = trainOf(flow, link);
  const uint8_t* transport = packet + flow.transport;
  const size_t bytes = flow.length - flow.transport;
  const bool plain = isPlainIp(packet, flow) &&
                     ((flow.protocol == TCP && isPlainTcp(transport, bytes)) || (udp_.load(std::memory_order_relaxed) && flow.protocol == UDP && isPlainUdp(transport, bytes))) &&
                     checksumFits(packet, flow);
  if (plain && train && joins(*train, packet, flow)) return join(*train, packet, flow);
  // What does not join must not overtake what came before it in its flow; of a later fragment the flow is not known.
  if (flow.opaque) flush(write, context);
  else if (train) this->write(*train, write, context);
  if (!plain) return writeAlone(packet, flow, link, write, context);
  if (used_ == MOST_TRAINS) flush(write, context);
  begin(trains_[used_++], packet, flow, link);
}

void Coalescer::flush(Write write, void* context) {
  for (size_t i = 0; i < used_; i++) {
    finish(trains_[i]);
    write(context, trains_[i].link, trains_[i].pieces, trains_[i].count + 1);
  }
  used_ = 0;
}

Coalescer::Train* Coalescer::trainOf(const Flow& flow, uint32_t link) {
  for (size_t i = 0; i < used_; i++) {
    if (trains_[i].link == link && sameFlow(trains_[i].flow, flow)) return &trains_[i];
  }
  return nullptr;
}

/** The place of a train that was written is taken by the last one. */
void Coalescer::write(Train& train, Write write, void* context) {
  finish(train);
  write(context, train.link, train.pieces, train.count + 1);
  Train& last = trains_[--used_];
  if (&last == &train) return;
  train = last;
  train.pieces[0].iov_base = &train.header;
}

void Coalescer::writeAlone(uint8_t* packet, const Flow& flow, uint32_t link, Write write, void* context) {
  VnetHeader header{};
  const iovec pieces[2] = {{&header, VNET_HEADER}, {packet, flow.length}};
  write(context, link, pieces, 2);
}

bool Coalescer::joins(const Train& train, const uint8_t* packet, const Flow& flow) {
  if (train.closed || train.count == MOST_PIECES - 1 || flow.transport != train.flow.transport) return false;
  const uint8_t* first = firstOf(train.pieces);
  if (!sameIp(first, packet, flow, train.count)) return false;
  if (flow.protocol == TCP) {
    const uint8_t *a = first + flow.transport, *b = packet + flow.transport;
    if (tcpHeader(a) != tcpHeader(b) || be32(b + 4) != train.next || !sameTcp(a, b)) return false;
  }
  const size_t payload = flow.length - train.headers;
  return payload <= train.segment && train.bytes + payload <= MOST_BYTES;
}

void Coalescer::join(Train& train, uint8_t* packet, const Flow& flow) {
  const size_t payload = flow.length - train.headers;
  train.count++;
  train.pieces[train.count] = {packet + train.headers, payload};
  train.bytes += payload;
  train.next += uint32_t(payload);
  train.closed = payload < train.segment;
  if (flow.protocol != TCP) return;
  const uint8_t push = packet[flow.transport + 13] & PSH;
  firstOf(train.pieces)[flow.transport + 13] |= push;
  train.closed = train.closed || push != 0;
}

void Coalescer::begin(Train& train, uint8_t* packet, const Flow& flow, uint32_t link) {
  const uint8_t* transport = packet + flow.transport;
  train.link = link;
  train.flow = flow;
  train.header = {};
  train.pieces[0] = {&train.header, VNET_HEADER};
  train.pieces[1] = {packet, flow.length};
  train.count = 1;
  train.bytes = flow.length;
  train.headers = flow.transport + (flow.protocol == TCP ? tcpHeader(transport) : UDP_HEADER);
  train.segment = flow.length - train.headers;
  train.next = flow.protocol == TCP ? be32(transport + 4) + uint32_t(train.segment) : 0;
  train.closed = flow.protocol == TCP && (transport[13] & PSH) != 0;
}

/** Lengths and checksums of the whole; the transport checksum is left to the kernel, which finds the pseudo header's sum. */
void Coalescer::finish(Train& train) {
  if (train.count == 1) return;
  const Flow& flow = train.flow;
  uint8_t* packet = firstOf(train.pieces);
  uint8_t* transport = packet + flow.transport;
  const uint32_t length = uint32_t(train.bytes - flow.transport);
  const bool tcp = flow.protocol == TCP;
  train.header.flags = VnetHeader::NEEDS_CHECKSUM;
  train.header.kind = !tcp ? VnetHeader::UDP_L4 : flow.family == 4 ? VnetHeader::TCP_V4 : VnetHeader::TCP_V6;
  train.header.headerBytes = uint16_t(train.headers);
  train.header.segment = uint16_t(train.segment);
  train.header.checksumStart = flow.transport;
  train.header.checksumOffset = tcp ? 16 : 6;
  if (!tcp) put16(transport + 4, uint16_t(length));
  put16(transport + train.header.checksumOffset, uint16_t(~foldSum(pseudoSum(flow, length))));
  if (flow.family == 6) return put16(packet + 4, uint16_t(train.bytes - 40));
  put16(packet + 2, uint16_t(train.bytes));
  put16(packet + 10, 0);
  put16(packet + 10, foldSum(sumBytes(packet, 20, 0)));
}

}  // namespace isthmus

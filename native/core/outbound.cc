#include "outbound.h"

#include <algorithm>
#include <cstring>

namespace isthmus {

namespace {

constexpr uint8_t TCP = 6, UDP = 17;
constexpr size_t TCP_HEADER = 20, UDP_HEADER = 8, V6_HEADER = 40;
constexpr uint8_t TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80;
/** A train is worth sending when it fills a call; more would only wait. */
constexpr size_t ENOUGH = 60000;

uint8_t trafficClass(const uint8_t* packet) { return packet[0] >> 4 == 6 ? uint8_t(packet[0] << 4 | packet[1] >> 4) : packet[1]; }

/** IPv6 packets are never fragmented on the way, so they ask for the same outside. */
bool mayNotFragment(const uint8_t* packet) { return packet[0] >> 4 == 6 || (packet[6] & 0x40) != 0; }

/** DSCP and DF by policy; congestion bits are always copied (RFC 4301 §5.1.2, RFC 6040 §4.1 normal mode). */
Outer outerOf(const OuterPolicy& policy, const uint8_t* packet) {
  const uint8_t inner = trafficClass(packet);
  const uint8_t dscp = policy.copyDscp ? inner & 0xfc : uint8_t(policy.dscp << 2);
  const bool df = policy.df == OuterPolicy::Df::Copy ? mayNotFragment(packet) : policy.df == OuterPolicy::Df::Set;
  return {uint8_t(dscp | (inner & 0x03)), df};
}

/** Room in front of the inner packet, and room enough for all that becomes of it. */
size_t roomBefore(const Sa& sa) { return isAh(sa.form) ? authenticatedOffset(sa) : innerOffset(sa); }

size_t roomFor(const Sa& sa, size_t innerBytes) {
  // In transport mode it is the payload that is padded to blocks.
  constexpr size_t MOST_PADDING = 16;
  return isAh(sa.form) ? authenticatedOffset(sa) + innerBytes : espBytes(sa, innerBytes) + (isTransport(sa.form) ? MOST_PADDING : 0);
}

Drop wrap(OutboundSa& sa, Lane& lane, uint8_t* buffer, size_t innerBytes, const Outer& outer, size_t& size) {
  switch (sa.form) {
    case Form::EspTunnel:
      return encapsulate(sa, lane, buffer, innerBytes, size);
    case Form::EspTransport:
      return sa.udp ? encapsulateInUdp(sa, lane, buffer, innerBytes, size) : encapsulateTransport(sa, lane, buffer, innerBytes, size);
    case Form::AhTunnel:
    case Form::AhTransport:
      return authenticate(sa, lane, buffer, innerBytes, outer, size);
  }
  return Drop::malformed;
}

/** How a super-packet becomes packets: what stands in front of each, and what differs in it. */
struct Cut {
  const uint8_t* packet;
  const size_t length;
  const Flow& flow;
  const size_t segment;
  const bool tcp;
  /** Bytes of IP and transport header, 0 where the frame contradicts itself. */
  size_t headers = 0;

  Cut(const uint8_t* packet, size_t length, const Flow& flow, const VnetHeader& header)
      : packet(packet), length(length), flow(flow), segment(header.segment), tcp((header.kind & uint8_t(~VnetHeader::ECN)) != VnetHeader::UDP_L4) {
    const size_t least = flow.transport + (tcp ? TCP_HEADER : UDP_HEADER);
    if (flow.protocol != (tcp ? TCP : UDP) || flow.opaque || least > length || segment == 0) return;
    const size_t all = tcp ? flow.transport + size_t(packet[flow.transport + 12] >> 4) * 4 : least;
    const size_t longest = std::min(all + segment, length) - (flow.family == 6 ? V6_HEADER : 0);
    if (all >= least && all < length && longest <= MOST_LENGTH) headers = all;
  }

  bool possible() const { return headers != 0; }

  /** `inner` has the headers of the super-packet and the payload that began at `at` in it; `sum` is that of the payload. */
  void finish(uint8_t* inner, size_t at, size_t payload, size_t index, uint64_t sum) const {
    uint8_t* transport = inner + flow.transport;
    const uint32_t transportBytes = uint32_t(headers + payload - flow.transport);
    if (tcp) finishTcp(transport, uint32_t(at - headers), at + payload == length);
    else put16(transport + 4, uint16_t(transportBytes));
    finishIp(inner, headers + payload, index);
    uint8_t* checksum = transport + (tcp ? 16 : 6);
    put16(checksum, 0);
    const uint16_t folded = foldSum(sumBytes(transport, headers - flow.transport, sum + pseudoSum(flow, transportBytes)));
    put16(checksum, folded == 0 && !tcp ? 0xffff : folded);  // RFC 768: 0 means none
  }

 private:
  void finishTcp(uint8_t* tcp, uint32_t offset, bool last) const {
    put32(tcp + 4, be32(packet + flow.transport + 4) + offset);
    if (!last) tcp[13] &= uint8_t(~(TCP_FIN | TCP_PSH));
    if (offset > 0) tcp[13] &= uint8_t(~TCP_CWR);  // RFC 3168 §6.1.2: once a super-packet
  }

  void finishIp(uint8_t* inner, size_t bytes, size_t index) const {
    if (flow.family == 6) return put16(inner + 4, uint16_t(bytes - 40));
    put16(inner + 2, uint16_t(bytes));
    put16(inner + 4, uint16_t(be16(packet + 4) + index));
    put16(inner + 10, 0);
    put16(inner + 10, foldSum(sumBytes(inner, flow.transport, 0)));
  }
};

}  // namespace

void Outbound::frame(const Spd& spd, const uint8_t* frame, size_t bytes, Sink& sink) {
  Flow flow;
  if (bytes <= VNET_HEADER || !readFlow(frame + VNET_HEADER, bytes - VNET_HEADER, flow)) return drop(Drop::malformed);
  FlowCache::Verdict& verdict = cache_.find(spd, flow);
  const Policy* policy = verdict.policy;
  if (!policy || policy->action == Action::Bypass) return drop(Drop::no_policy);
  if (policy->action == Action::Discard) return drop(Drop::discard_policy);
  OutboundSa* sa = policy->use.load(std::memory_order_seq_cst);
  if (!sa) return keep(*policy, frame, bytes, flow);
  if (verdict.admitted != sa->serial) {
    if (!sa->admits(flow, true)) return drop(Drop::selector);
    verdict.admitted = sa->serial;
  }
  protect(*sa, frame, bytes, flow, sink);
  if (batch_.bytes() >= ENOUGH) flushFull(sink);
}

void Outbound::protect(OutboundSa& sa, const uint8_t* frame, size_t bytes, const Flow& flow, Sink& sink) {
  VnetHeader header;
  memcpy(&header, frame, sizeof header);
  const uint8_t* inner = frame + VNET_HEADER;
  Packet packet{inner, flow.length, flow, outerOf(sa.outer, inner)};
  switch (header.kind & uint8_t(~VnetHeader::ECN)) {
    case 0:
      if (header.flags & VnetHeader::NEEDS_CHECKSUM) protectUnsummed(sa, packet, header, sink);
      else protectOne(sa, packet, sink);
      break;
    case VnetHeader::TCP_V4:
    case VnetHeader::TCP_V6:
    case VnetHeader::UDP_L4:
      packet.length = bytes - VNET_HEADER;
      protectSegments(sa, packet, header, sink);
      break;
    default:
      drop(Drop::malformed);
  }
  sa.lanes[lane_]->last.store(now_, std::memory_order_relaxed);
  events_.tellLimits(sa, false);
}

void Outbound::protectOne(OutboundSa& sa, const Packet& packet, Sink& sink) {
  uint8_t* inner = innerRoom(sa, packet.length, sink);
  memcpy(inner, packet.bytes, packet.length);
  seal(sa, inner, packet.length, packet.outer);
}

/** The transport checksum holds the pseudo header's sum; the rest is ours to add. */
void Outbound::protectUnsummed(OutboundSa& sa, const Packet& packet, const VnetHeader& header, Sink& sink) {
  const size_t start = header.checksumStart, at = start + header.checksumOffset;
  if (start < packet.flow.transport || at + 2 > packet.length) return drop(Drop::malformed);
  uint8_t* inner = innerRoom(sa, packet.length, sink);
  memcpy(inner, packet.bytes, start);
  const uint16_t sum = foldSum(copySum(inner + start, packet.bytes + start, packet.length - start, 0));
  put16(inner + at, sum == 0 && packet.flow.protocol == UDP ? 0xffff : sum);
  seal(sa, inner, packet.length, packet.outer);
}

/** Cuts a super-packet into segments: each is copied once, summed on the way, to where it will be encrypted. */
void Outbound::protectSegments(OutboundSa& sa, const Packet& packet, const VnetHeader& header, Sink& sink) {
  const Cut cut(packet.bytes, packet.length, packet.flow, header);
  if (!cut.possible()) return drop(Drop::malformed);
  for (size_t at = cut.headers, index = 0; at < packet.length; at += header.segment, index++) {
    const size_t payload = std::min(size_t(header.segment), packet.length - at);
    uint8_t* inner = innerRoom(sa, cut.headers + payload, sink);
    memcpy(inner, packet.bytes, cut.headers);
    const uint64_t sum = copySum(inner + cut.headers, packet.bytes + at, payload, 0);
    cut.finish(inner, at, payload, index, sum);
    seal(sa, inner, cut.headers + payload, packet.outer);
  }
}

/** Where the next inner packet of this SA goes. */
uint8_t* Outbound::innerRoom(const OutboundSa& sa, size_t innerBytes, Sink& sink) {
  const size_t size = roomFor(sa, innerBytes);
  uint8_t* room = batch_.room(size);
  if (!room) {
    flush(sink);
    room = batch_.room(size);
  }
  return room + roomBefore(sa);
}

void Outbound::seal(OutboundSa& sa, uint8_t* inner, size_t innerBytes, const Outer& outer) {
  size_t size = 0;
  const Drop why = wrap(sa, *sa.lanes[lane_], inner - roomBefore(sa), innerBytes, outer, size);
  if (why != Drop::none) return drop(why);
  batch_.add(sa, outer, size);
}

void Outbound::flush(Sink& sink) {
  send(batch_.trains().size(), sink);
  batch_.clear(false);
}

/** A train that has just begun waits for what the device gives next: a call for each costs as much as a call for many. */
void Outbound::flushFull(Sink& sink) {
  if (!batch_.lastIsYoung()) return flush(sink);
  if (batch_.trains().size() == 1) return;
  send(batch_.trains().size() - 1, sink);
  batch_.clear(true);
}

void Outbound::send(size_t count, Sink& sink) {
  if (count == 0) return;
  const size_t failed = sink.send(batch_.trains().data(), count);
  if (failed > 0) drop(Drop::send_failed, failed);
}

void Outbound::keep(const Policy& policy, const uint8_t* frame, size_t bytes, const Flow& flow) {
  if (!policy.acquire) return drop(Drop::no_sa);
  const Hold::Added added = hold_.add(policy.link, policy.id, frame, bytes, now_);
  if (added.dropped > 0) drop(Drop::no_sa, added.dropped);
  if (!added.first) return;
  Event event{Event::Type::Acquire};
  event.policy = policy.id;
  event.flow = flow;
  events_.tell(event);
}

void Outbound::release(const Links& links, Sink& sink) {
  const Hold::Taken taken = hold_.take(now_, [&links](uint32_t id, uint32_t policyId) {
    const Link* link = links.find(id);
    const Policy* policy = link ? link->spd->byId(policyId) : nullptr;
    if (!policy) return Hold::State::Gone;
    return policy->use.load(std::memory_order_seq_cst) ? Hold::State::Ready : Hold::State::Waiting;
  });
  if (taken.expired > 0) drop(Drop::hold_expired, taken.expired);
  for (const auto& [link, frames] : taken.ready) {
    for (const std::vector<uint8_t>& held : frames) frame(*links.find(link)->spd, held.data(), held.size(), sink);
  }
}

}  // namespace isthmus

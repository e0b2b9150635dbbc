#include "inbound.h"

namespace isthmus {

namespace {

/** Whether a header has to be made, and there is room for one packet at a time. */
bool isAlone(const InboundSa& sa) { return sa.form == Form::EspTransport && sa.udp; }

}  // namespace

uint64_t digestOf(const Endpoint& endpoint) {
  constexpr uint64_t MULTIPLIER = 0x9e3779b97f4a7c15ull;
  uint64_t words[2];
  memcpy(words, endpoint.address.bytes.data(), sizeof words);
  return ((words[0] * MULTIPLIER ^ words[1]) * MULTIPLIER ^ endpoint.port) * MULTIPLIER;
}

void Inbound::receive(const Arrival& arrival, Write write, void* context) {
  const auto dropped = [this](Drop why) { add(drops[size_t(why)], 1); };
  if (arrival.bytes < ESP_HEADER) return dropped(Drop::malformed);
  const bool ah = arrival.protocol == PROTOCOL_AH;
  const uint32_t spi = be32(arrival.esp + (ah ? 4 : 0));
  InboundSa* sa = sas_.find(spi);
  if (!sa) return receiveUnknown(spi, arrival, write, context);
  if (isAh(sa->form) != ah) return dropped(Drop::unknown_spi);
  if (isAlone(*sa)) flush(write, context);
  Inner inner;
  const Drop why = open(*sa, arrival, inner);
  if (why != Drop::none) return dropped(why);
  sa->lanes[lane_]->last.store(now_, std::memory_order_relaxed);
  tellFirsts(*sa, arrival);
  events_.tellLimits(*sa, true);
  coalescer_.add(inner.packet, inner.flow, sa->link.load(std::memory_order_relaxed), write, context);
}

/** What is expected waits, unless its SA has come this moment. */
void Inbound::receiveUnknown(uint32_t spi, const Arrival& arrival, Write write, void* context) {
  if (early_.hold(lane_, spi, arrival, now_)) return;
  if (sas_.find(spi)) receive(arrival, write, context);
  else add(drops[size_t(Drop::unknown_spi)], 1);
}

void Inbound::receiveEarly(Write write, void* context) {
  if (!early_.isReady(lane_)) return;
  const std::vector<EarlyPacket> packets = early_.take(lane_, now_);
  for (const EarlyPacket& packet : packets) receive(packet.arrival, write, context);
  flush(write, context);
}

/** The window belongs to whoever holds `busy`; alone, nobody else asks. */
Drop Inbound::open(InboundSa& sa, const Arrival& arrival, Inner& inner) {
  const bool shared = sa.lanes.size() > 1;
  while (shared && sa.busy.test_and_set(std::memory_order_acquire)) {
  }
  const Drop why = unwrap(sa, *sa.lanes[lane_], arrival, inner);
  if (shared) sa.busy.clear(std::memory_order_release);
  return why;
}

Drop Inbound::unwrap(InboundSa& sa, Lane& lane, const Arrival& arrival, Inner& inner) {
  switch (sa.form) {
    case Form::EspTunnel:
      return decapsulate(sa, lane, arrival.esp, arrival.bytes, arrival.ecn, inner);
    case Form::EspTransport:
      if (!isAlone(sa) || arrival.place.header != 0) return decapsulateTransport(sa, lane, arrival, inner);
      room_.resize(MOST_LENGTH);
      return decapsulateInUdp(sa, lane, arrival, room_.data(), inner);
    case Form::AhTunnel:
    case Form::AhTransport:
      return verify(sa, lane, arrival, inner);
  }
  return Drop::malformed;
}

void Inbound::tellFirsts(InboundSa& sa, const Arrival& arrival) {
  if (!sa.firstTold.load(std::memory_order_relaxed) && !sa.firstTold.exchange(true, std::memory_order_relaxed)) {
    Event event{Event::Type::FirstInbound};
    event.spi = sa.spi;
    events_.tell(event);
  }
  if (!sa.udp || arrival.remote.port == 0) return;
  const uint64_t from = digestOf(arrival.remote);
  if (from == sa.seenFrom.load(std::memory_order_relaxed)) return;
  sa.seenFrom.store(from, std::memory_order_relaxed);
  Event event{Event::Type::Mapping};
  event.spi = sa.spi;
  event.remote = arrival.remote;
  events_.tell(event);
}

}  // namespace isthmus

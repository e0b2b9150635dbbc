// From the network to the device: ESP packets are opened where they lie and joined to super-packets. One thread each.
#pragma once

#include "ah.h"
#include "coalesce.h"
#include "early.h"
#include "esp.h"
#include "events.h"
#include "spi-table.h"

namespace isthmus {

class Inbound {
 public:
  using Write = Coalescer::Write;

  Inbound(size_t lane, const SpiTable<InboundSa>& sas, Early& early, Events& events) : lane_(lane), sas_(sas), early_(early), events_(events) {}

  void setUdpSegments(bool udp) { coalescer_.setUdp(udp); }
  /** Milliseconds of CLOCK_BOOTTIME; the time of a batch. */
  void setNow(uint64_t now) { now_ = now; }
  void receive(const Arrival& arrival, Write write, void* context);
  /** What has waited for an SA that is there by now, if anything. */
  void receiveEarly(Write write, void* context);
  void flush(Write write, void* context) { coalescer_.flush(write, context); }

  Counter drops[DROPS]{};

 private:
  void receiveUnknown(uint32_t spi, const Arrival& arrival, Write write, void* context);
  Drop open(InboundSa& sa, const Arrival& arrival, Inner& inner);
  Drop unwrap(InboundSa& sa, Lane& lane, const Arrival& arrival, Inner& inner);
  void tellFirsts(InboundSa& sa, const Arrival& arrival);

  const size_t lane_;
  const SpiTable<InboundSa>& sas_;
  Early& early_;
  Events& events_;
  Coalescer coalescer_;
  /** Where packets of transport mode in UDP get their header; one at a time. */
  std::vector<uint8_t> room_;
  uint64_t now_ = 0;
};

/** Tells one endpoint from the next, and proves nothing. */
uint64_t digestOf(const Endpoint& endpoint);

}  // namespace isthmus

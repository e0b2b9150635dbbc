// From the device to the network: one packet or super-packet at a time becomes protected packets of a batch. One thread each.
#pragma once

#include "ah.h"
#include "batch.h"
#include "esp.h"
#include "events.h"
#include "hold.h"
#include "spd.h"
#include "tun.h"

namespace isthmus {

class Outbound {
 public:
  /** Where full batches go. */
  struct Sink {
    /** How many packets could not be sent. */
    virtual size_t send(const Train* trains, size_t count) = 0;

   protected:
    ~Sink() = default;
  };

  /** `lane`: which of an SA's contexts is this thread's. */
  Outbound(size_t lane, Hold& hold, Events& events) : lane_(lane), hold_(hold), events_(events) {}

  /** One packet as a device gives it, behind a virtio header. `spd`: that of the device. */
  void frame(const Spd& spd, const uint8_t* frame, size_t bytes, Sink& sink);
  /** Held packets whose SA is there now, and those that waited too long. */
  void release(const Links& links, Sink& sink);
  /** Sends what was gathered. */
  void flush(Sink& sink);
  /** Milliseconds of CLOCK_BOOTTIME; the time of a batch. */
  void setNow(uint64_t now) { now_ = now; }

  Counter drops[DROPS]{};

 private:
  struct Packet {
    const uint8_t* bytes;
    size_t length;
    const Flow& flow;
    Outer outer;
  };

  void protect(OutboundSa& sa, const uint8_t* frame, size_t bytes, const Flow& flow, Sink& sink);
  void protectOne(OutboundSa& sa, const Packet& packet, Sink& sink);
  void protectUnsummed(OutboundSa& sa, const Packet& packet, const VnetHeader& header, Sink& sink);
  void protectSegments(OutboundSa& sa, const Packet& packet, const VnetHeader& header, Sink& sink);
  void flushFull(Sink& sink);
  void send(size_t count, Sink& sink);
  uint8_t* innerRoom(const OutboundSa& sa, size_t innerBytes, Sink& sink);
  void seal(OutboundSa& sa, uint8_t* inner, size_t innerBytes, const Outer& outer);
  void keep(const Policy& policy, const uint8_t* frame, size_t bytes, const Flow& flow);
  void drop(Drop drop, size_t n = 1) { add(drops[size_t(drop)], n); }

  const size_t lane_;
  Hold& hold_;
  Events& events_;
  FlowCache cache_;
  Batch batch_;
  uint64_t now_ = 0;
};

}  // namespace isthmus

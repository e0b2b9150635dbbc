// The userspace data plane: a TUN on one side, the Port on the other, a thread for each direction.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "coalesce.h"
#include "esp.h"
#include "port.h"
#include "tables.h"

namespace isthmus {

struct Event {
  enum class Type : uint8_t { Acquire, Expire, FirstInbound, Mapping } type;
  uint32_t policy = 0;
  uint32_t spi = 0;
  bool inbound = false;
  bool hard = false;
  Flow flow{};
  Endpoint remote{};
};

/** How a change ended. */
enum class Applied : uint8_t { ok, exists, refused };

class Engine final : public EspReceiver {
 public:
  ~Engine();

  /** Empty, or why not. The device persists when the process ends: packets to it then go nowhere. */
  std::string openTun(const char* name);
  /** `port` outlives the engine's threads. */
  void start(Port* port, void (*wake)(void*), void* context);
  void stop();

  // Changes: one thread, any time.
  Applied addPolicy(Policy policy);
  void removePolicy(uint32_t id);
  Applied addInbound(const SaSpec& spec);
  Applied addOutbound(const SaSpec& spec);
  Applied useOutbound(uint32_t policy, uint32_t spi);
  bool move(bool inbound, uint32_t spi, const Endpoint& remote);
  void remove(bool inbound, uint32_t spi);
  const Tables& tables() const { return published_.latest(); }

  std::vector<Event> takeEvents();

  // The threads' own steps, callable without threads (differential tests, fuzzing, sanitizers).
  /** One packet as the TUN gives it, behind a virtio header. What it becomes is handed to `emit`. */
  void outbound(const Tables& tables, const uint8_t* frame, size_t bytes);
  void begin() override;
  void receive(const EspArrival& arrival) override;
  void end() override;
  /** Sends what `outbound` gathered. */
  void flush();

  /** Instead of the Port and the TUN, for tests. */
  struct Sink {
    virtual void esp(const Sa& sa, const uint8_t* bytes, size_t length, size_t segment, uint8_t ecn) = 0;
    virtual void inner(const uint8_t* bytes, size_t length) = 0;

   protected:
    ~Sink() = default;
  };
  void setSink(Sink* sink) { sink_ = sink; }

  Counter outboundDrops[DROPS]{};
  Counter inboundDrops[DROPS]{};

 private:
  struct Held {
    uint64_t since;
    size_t bytes = 0;
    std::deque<std::vector<uint8_t>> frames;
    bool asked = false;
  };

  void outboundLoop();
  void protect(OutboundSa& sa, const uint8_t* frame, size_t bytes, const Flow& flow);
  void protectOne(OutboundSa& sa, const uint8_t* packet, size_t bytes);
  void segmentTcp(OutboundSa& sa, const uint8_t* frame, size_t bytes, const Flow& flow);
  uint8_t* room(OutboundSa& sa, size_t innerBytes, uint8_t ecn);
  void seal(OutboundSa& sa, uint8_t* buffer, size_t innerBytes);
  void hold(const Policy& policy, const uint8_t* frame, size_t bytes, const Flow& flow);
  void releaseHeld(const Tables& tables);
  void tellLimits(Sa& sa, bool inbound);
  void tell(Event event);
  void dropOutbound(Drop drop) { add(outboundDrops[size_t(drop)], 1); }
  void writeInner(const uint8_t* frame, size_t bytes);
  std::unique_ptr<Tables> copy() const { return std::make_unique<Tables>(tables()); }

  Published published_;
  Port* port_ = nullptr;
  Sink* sink_ = nullptr;
  int tun_ = -1;
  int kick_ = -1;
  std::atomic<bool> running_{false};
  std::thread thread_;
  void (*wake_)(void*) = nullptr;
  void* wakeContext_ = nullptr;

  // The outbound thread's own.
  std::vector<uint8_t> out_;
  size_t outUsed_ = 0, outSegment_ = 0, outCount_ = 0;
  bool outClosed_ = false;
  uint8_t outEcn_ = 0;
  OutboundSa* outSa_ = nullptr;
  std::map<uint32_t, Held> held_;

  // The inbound thread's own.
  const Tables* reading_ = nullptr;
  alignas(8) uint8_t readingRoom_[sizeof(Published::Reading)];
  Coalescer coalescer_;

  std::mutex eventMutex_;  // events are rare; never taken for an ordinary packet
  std::deque<Event> events_;
};

uint64_t bootTime();

}  // namespace isthmus

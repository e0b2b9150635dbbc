// The userspace data plane: TUNs on one side, the Port on the other, threads for each direction and queue.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "inbound.h"
#include "outbound.h"
#include "port.h"

namespace isthmus {

/** How a change ended. */
enum class Applied : uint8_t { ok, exists, refused };

struct EngineOptions {
  static constexpr size_t MOST_WORKERS = Epochs::MOST / 2;
  /** Threads and queues for each direction, 1 to MOST_WORKERS. */
  size_t workers = 1;
  /** Microseconds that a thread looks for more before it sleeps. */
  uint32_t spin = 0;
};

class Engine final : public EspReceiver {
 public:
  explicit Engine(const EngineOptions& options = {});
  ~Engine();

  /** `port` outlives the engine's threads. */
  void start(Port* port, void (*wake)(void*), void* context);
  void stop();
  const EngineOptions& options() const { return options_; }

  // Changes: one thread, any time.
  /** The device of policies with that link. Empty, or why not; doing it again does nothing. */
  std::string openLink(const std::string& name, uint32_t id);
  /** Nothing is read from the device any more, nor written to it. It stands until somebody removes it. */
  void closeLink(uint32_t id);
  void addPolicy(std::shared_ptr<Policy> policy);
  void removePolicy(uint32_t id);
  /** Makes the policies known to the packet threads; until then they see those of before. */
  void publish();
  Applied addInbound(const SaSpec& spec);
  Applied addOutbound(const SaSpec& spec);
  Applied useOutbound(uint32_t policy, uint32_t spi);
  /** Whether every packet of the SAs that were used before has been given to the network. */
  bool hasTurned() const { return epochs_.isPast(turned_); }
  bool move(bool inbound, uint32_t spi, const Endpoint& remote);
  void remove(bool inbound, uint32_t spi);
  /** Packets of that SPI wait a little for their SA, which is being made. */
  void expectInbound(uint32_t spi) { early_.expect(spi); }
  void forgetInbound(uint32_t spi) { early_.forget(spi); }

  // What stands: the same thread.
  const SpiTable<InboundSa>& inboundSas() const { return inboundSas_; }
  const SpiTable<OutboundSa>& outboundSas() const { return outboundSas_; }
  bool inUse(const OutboundSa& sa) const;
  uint64_t outboundDrops(size_t drop) const;
  uint64_t inboundDrops(size_t drop) const;
  std::vector<Event> takeEvents() { return events_.take(); }

  // The receiving threads' steps; `worker` is the index of the thread.
  void begin(size_t worker) override;
  void receive(size_t worker, const Arrival& arrival) override;
  void end(size_t worker) override;

  // The same without threads, for differential tests, fuzzing and benchmarks.
  void outbound(uint32_t link, const uint8_t* const* frames, const size_t* lengths, size_t count, Outbound::Sink& sink);
  void inbound(const Arrival* arrivals, size_t count, Inbound::Write write, void* context);
  /** Whole packets, with the IP headers that they came with. */
  void inboundPackets(uint8_t* const* packets, const size_t* lengths, size_t count, Inbound::Write write, void* context);

 private:
  struct Worker;
  /** What the packet threads are told of a device with the next picture. */
  struct Draft {
    std::shared_ptr<const Tun> tun;
    std::vector<std::shared_ptr<Policy>> policies;  // in order
    std::shared_ptr<const Spd> spd;
    bool changed = true;
  };

  void outboundLoop(Worker& worker);
  /** Turns over the devices that have frames; whether there was anything. */
  bool drainAll(Worker& worker);
  bool drain(Worker& worker);
  bool drainLink(Worker& worker, const Links& links, uint32_t id, Outbound::Sink& sink);
  void watch(const Tun& tun, uint32_t id, bool watched);
  void kick();
  void detach(const Policy& policy);
  void leadInbound(const Policy& policy);
  void publishLinks();
  bool uses(uint32_t id, const OutboundSa& sa) const;
  bool fill(Sa& sa, const SaSpec& spec, bool encrypt);
  Applied putInbound(const SaSpec& spec);
  void releaseEarly(uint32_t spi);

  const EngineOptions options_;
  Epochs epochs_;
  /** When a policy last turned from one SA to another. */
  Epochs::Moment turned_{};
  Events events_;
  Hold hold_;
  Early early_;
  std::map<uint32_t, Draft> drafts_;  // by link
  std::unordered_map<uint32_t, std::shared_ptr<Policy>> policies_;
  std::shared_ptr<const Links> links_;
  std::atomic<const Links*> published_{nullptr};
  bool changed_ = true;
  uint64_t generation_ = 0;
  uint64_t serial_ = 0;
  SpiTable<InboundSa> inboundSas_;
  SpiTable<OutboundSa> outboundSas_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Port* port_ = nullptr;
  std::atomic<bool> running_{false};
};

}  // namespace isthmus

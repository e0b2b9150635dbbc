// The userspace data plane: a TUN on one side, the Port on the other, threads for each direction and queue.
#pragma once

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

  /** Empty, or why not. */
  std::string openTun(const char* name);
  /** `port` outlives the engine's threads. */
  void start(Port* port, void (*wake)(void*), void* context);
  void stop();
  const EngineOptions& options() const { return options_; }

  // Changes: one thread, any time.
  void addPolicy(std::shared_ptr<Policy> policy);
  void removePolicy(uint32_t id);
  /** Makes the policies known to the packet threads; until then they see those of before. */
  void publish();
  Applied addInbound(const SaSpec& spec);
  Applied addOutbound(const SaSpec& spec);
  Applied useOutbound(uint32_t policy, uint32_t spi);
  bool move(bool inbound, uint32_t spi, const Endpoint& remote);
  void remove(bool inbound, uint32_t spi);

  // What stands: the same thread.
  const SpiTable<InboundSa>& inboundSas() const { return inboundSas_; }
  const SpiTable<OutboundSa>& outboundSas() const { return outboundSas_; }
  bool inUse(const OutboundSa& sa) const;
  uint64_t outboundDrops(size_t drop) const;
  uint64_t inboundDrops(size_t drop) const;
  std::vector<Event> takeEvents() { return events_.take(); }

  // The receiving threads' steps; `worker` is the index of the thread.
  void begin(size_t worker) override;
  void receive(size_t worker, const EspArrival& arrival) override;
  void end(size_t worker) override;

  // The same without threads, for differential tests, fuzzing and benchmarks.
  void outbound(const uint8_t* const* frames, const size_t* lengths, size_t count, Outbound::Sink& sink);
  void inbound(const EspArrival* arrivals, size_t count, Inbound::Write write, void* context);

 private:
  struct Worker;

  void outboundLoop(Worker& worker);
  /** One turn over what the device has; whether there was anything. */
  bool drainTun(Worker& worker);
  void kick();
  bool fill(Sa& sa, const SaSpec& spec, bool encrypt);

  const EngineOptions options_;
  Epochs epochs_;
  Events events_;
  Hold hold_;
  Tun tun_;
  std::vector<std::shared_ptr<Policy>> policies_;  // in order
  std::shared_ptr<const Spd> spd_;
  std::atomic<const Spd*> published_;
  bool policiesChanged_ = false;
  uint64_t generation_ = 0;
  uint64_t serial_ = 0;
  SpiTable<InboundSa> inboundSas_;
  SpiTable<OutboundSa> outboundSas_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Port* port_ = nullptr;
  std::atomic<bool> running_{false};
};

}  // namespace isthmus

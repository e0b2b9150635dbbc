#include "engine.h"

#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "clock.h"

namespace isthmus {

namespace {

/** Frames read in one turn, before what they became is sent and the tables are looked at again. */
constexpr size_t TUN_BATCH = 64;
/** Milliseconds between looks at what is held too long. */
constexpr int HOLD_CHECK = 500;
/** Selectors of an SA that are cheaper to walk through than to look up. */
constexpr size_t FEW_SELECTORS = 8;

std::array<uint8_t, 32> fingerprintOf(const SaSpec& spec) {
  std::array<uint8_t, 32> digest{};
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  const uint8_t names[] = {uint8_t(spec.cipher.algorithm), uint8_t(spec.cipher.integrity), spec.cipher.icvBytes};
  EVP_DigestUpdate(context, names, sizeof names);
  EVP_DigestUpdate(context, spec.cipher.key, spec.cipher.keyBytes);
  EVP_DigestUpdate(context, spec.cipher.integrityKey, spec.cipher.integrityKeyBytes);
  EVP_DigestFinal_ex(context, digest.data(), nullptr);
  EVP_MD_CTX_free(context);
  return digest;
}

struct PortSink final : Outbound::Sink {
  PortSink(Port& port, size_t worker) : port(port), worker(worker) {}
  size_t send(const Train* trains, size_t count) override { return port.sendEsp(worker, trains, count); }
  Port& port;
  const size_t worker;
};

}  // namespace

/** What a pair of threads has: the sending one and the receiving one share nothing but this frame. */
struct Engine::Worker {
  Worker(Engine& engine, size_t index)
      : index(index), outbound(index, engine.hold_, engine.events_), inbound(index, engine.inboundSas_, engine.events_), frame(MOST_FRAME + 128) {}

  const size_t index;
  Outbound outbound;
  Inbound inbound;
  std::vector<uint8_t> frame;
  int tun = -1;
  int kick = -1;
  std::thread thread;
  std::optional<Epochs::Reading> receiving;
};

Engine::Engine(const EngineOptions& options)
    : options_(options), spd_(std::make_shared<Spd>()), published_(spd_.get()), inboundSas_(epochs_), outboundSas_(epochs_) {
  for (size_t i = 0; i < options_.workers; i++) workers_.push_back(std::make_unique<Worker>(*this, i));
}

Engine::~Engine() {
  stop();
  for (const auto& worker : workers_) {
    if (worker->kick >= 0) close(worker->kick);
  }
}

std::string Engine::openTun(const char* name) {
  const std::string why = tun_.open(name, options_.workers);
  if (!why.empty()) return why;
  for (const auto& worker : workers_) {
    worker->tun = tun_.queue(worker->index);
    worker->inbound.setUdpSegments(tun_.udpSegments());
  }
  return "";
}

void Engine::start(Port* port, void (*wake)(void*), void* context) {
  port_ = port;
  events_.onEvent(wake, context);
  running_ = true;
  if (!tun_.isOpen()) return;
  for (const auto& worker : workers_) {
    worker->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    worker->thread = std::thread([this, &worker = *worker] { outboundLoop(worker); });
    pthread_setname_np(worker->thread.native_handle(), ("esp-out-" + std::to_string(worker->index)).c_str());
  }
}

void Engine::stop() {
  if (!running_.exchange(false)) return;
  kick();
  for (const auto& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
}

void Engine::kick() {
  const uint64_t one = 1;
  for (const auto& worker : workers_) {
    if (worker->kick >= 0) (void)!write(worker->kick, &one, sizeof one);
  }
}

// Changes

void Engine::addPolicy(std::shared_ptr<Policy> policy) {
  const auto existing = std::find_if(policies_.begin(), policies_.end(), [&](const auto& p) { return p->id == policy->id; });
  if (existing != policies_.end()) {
    policy->use = (*existing)->use.load();
    policies_.erase(existing);
  }
  const auto place = std::find_if(policies_.begin(), policies_.end(), [&](const auto& p) { return p->order > policy->order; });
  policies_.insert(place, std::move(policy));
  policiesChanged_ = true;
}

void Engine::removePolicy(uint32_t id) { policiesChanged_ = std::erase_if(policies_, [id](const auto& policy) { return policy->id == id; }) > 0 || policiesChanged_; }

void Engine::publish() {
  if (!policiesChanged_) return;
  policiesChanged_ = false;
  auto next = std::make_shared<Spd>(policies_, ++generation_);
  published_.store(next.get(), std::memory_order_seq_cst);
  epochs_.retire(std::move(spd_));
  spd_ = std::move(next);
}

bool Engine::fill(Sa& sa, const SaSpec& spec, bool encrypt) {
  sa.serial = ++serial_;
  sa.spi = spec.spi;
  sa.policy = spec.policy;
  sa.local = spec.local;
  sa.remote = spec.remote;
  sa.udp = spec.udp;
  sa.localPort = spec.localPort;
  sa.remotePort = spec.remotePort;
  sa.esn = spec.esn;
  sa.outer = spec.outer;
  sa.selectors = spec.selectors;
  if (sa.selectors.local.size() * sa.selectors.remote.size() > FEW_SELECTORS)
    sa.index = std::make_shared<Classifier>(std::vector<const SelectorSet*>{&sa.selectors});
  sa.softPackets = spec.softPackets;
  sa.hardPackets = spec.hardPackets;
  sa.softBytes = spec.softBytes;
  sa.hardBytes = spec.hardBytes;
  sa.fingerprint = fingerprintOf(spec);
  for (size_t i = 0; i < options_.workers; i++) {
    if (!sa.lanes.emplace_back(std::make_unique<Lane>())->cipher.open(spec.cipher, encrypt)) return false;
  }
  sa.shape = sa.lanes[0]->cipher.shape();
  return true;
}

Applied Engine::addInbound(const SaSpec& spec) {
  const auto existing = inboundSas_.all().find(spec.spi);
  if (existing != inboundSas_.all().end()) return existing->second->fingerprint == fingerprintOf(spec) ? Applied::ok : Applied::exists;
  auto sa = std::make_shared<InboundSa>(spec.window, spec.esn);
  if (!fill(*sa, spec, false)) return Applied::refused;
  sa->seenFrom = digestOf({spec.remote, spec.remotePort});
  inboundSas_.add(std::move(sa));
  return Applied::ok;
}

Applied Engine::addOutbound(const SaSpec& spec) {
  const auto existing = outboundSas_.all().find(spec.spi);
  if (existing != outboundSas_.all().end()) return existing->second->fingerprint == fingerprintOf(spec) ? Applied::ok : Applied::exists;
  auto sa = std::make_shared<OutboundSa>();
  if (!fill(*sa, spec, true)) return Applied::refused;
  outboundSas_.add(std::move(sa));
  return Applied::ok;
}

Applied Engine::useOutbound(uint32_t policy, uint32_t spi) {
  publish();
  const auto sa = outboundSas_.all().find(spi);
  const auto entry = std::find_if(policies_.begin(), policies_.end(), [policy](const auto& p) { return p->id == policy; });
  if (sa == outboundSas_.all().end() || entry == policies_.end()) return Applied::refused;
  (*entry)->use.store(sa->second.get(), std::memory_order_seq_cst);
  kick();
  return Applied::ok;
}

bool Engine::move(bool inbound, uint32_t spi, const Endpoint& remote) {
  if (inbound) return inboundSas_.all().contains(spi);
  const auto sa = outboundSas_.all().find(spi);
  if (sa == outboundSas_.all().end() || !(sa->second->remote == remote.address)) return false;
  sa->second->remotePort = remote.port;
  return true;
}

void Engine::remove(bool inbound, uint32_t spi) {
  publish();
  if (inbound) return inboundSas_.remove(spi);
  const auto sa = outboundSas_.all().find(spi);
  if (sa == outboundSas_.all().end()) return;
  for (const auto& policy : policies_) {
    if (policy->use.load() == sa->second.get()) policy->use.store(nullptr, std::memory_order_seq_cst);
  }
  outboundSas_.remove(spi);
}

bool Engine::inUse(const OutboundSa& sa) const {
  return std::any_of(policies_.begin(), policies_.end(), [&sa](const auto& policy) { return policy->use.load() == &sa; });
}

uint64_t Engine::outboundDrops(size_t drop) const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->outbound.drops[drop].load();
  return sum;
}

uint64_t Engine::inboundDrops(size_t drop) const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->inbound.drops[drop].load();
  return sum;
}

// From the TUN to the network

void Engine::outboundLoop(Worker& worker) {
  pollfd polled[2] = {{worker.tun, POLLIN, 0}, {worker.kick, POLLIN, 0}};
  uint64_t spinUntil = 0;
  while (running_) {
    if (drainTun(worker)) {
      if (options_.spin > 0) spinUntil = bootNanoseconds() + options_.spin * 1000ull;
      continue;
    }
    if (options_.spin > 0 && bootNanoseconds() < spinUntil) continue;
    const int timeout = hold_.empty() ? -1 : HOLD_CHECK;
    if (poll(polled, 2, timeout) < 0 && errno != EINTR) return;
    uint64_t ignored;
    if (polled[1].revents != 0) (void)!read(worker.kick, &ignored, sizeof ignored);
  }
}

bool Engine::drainTun(Worker& worker) {
  PortSink sink(*port_, worker.index);
  const Epochs::Reading reading(epochs_, worker.index);
  const Spd& spd = *published_.load(std::memory_order_seq_cst);
  worker.outbound.setNow(bootTime());
  if (!hold_.empty()) worker.outbound.release(spd, sink);
  size_t count = 0;
  for (; count < TUN_BATCH; count++) {
    const ssize_t bytes = read(worker.tun, worker.frame.data(), worker.frame.size());
    if (bytes <= 0) break;
    worker.outbound.frame(spd, worker.frame.data(), size_t(bytes), sink);
  }
  worker.outbound.flush(sink);
  return count > 0;
}

void Engine::outbound(const uint8_t* const* frames, const size_t* lengths, size_t count, Outbound::Sink& sink) {
  Worker& worker = *workers_[0];
  const Epochs::Reading reading(epochs_, worker.index);
  const Spd& spd = *published_.load(std::memory_order_seq_cst);
  worker.outbound.setNow(bootTime());
  if (!hold_.empty()) worker.outbound.release(spd, sink);
  for (size_t i = 0; i < count; i++) worker.outbound.frame(spd, frames[i], lengths[i], sink);
  worker.outbound.flush(sink);
}

// From the network to the TUN

namespace {

struct TunWriter {
  int tun;
  Counter& failed;
  static void write(void* self, const iovec* pieces, size_t count) {
    const TunWriter& writer = *static_cast<TunWriter*>(self);
    if (writev(writer.tun, pieces, int(count)) < 0) add(writer.failed, 1);
  }
};

}  // namespace

void Engine::begin(size_t worker) {
  workers_[worker]->receiving.emplace(epochs_, options_.workers + worker);
  workers_[worker]->inbound.setNow(bootTime());
}

void Engine::receive(size_t index, const EspArrival& arrival) {
  Worker& worker = *workers_[index];
  TunWriter writer{worker.tun, worker.inbound.drops[size_t(Drop::tun_failed)]};
  worker.inbound.receive(arrival, TunWriter::write, &writer);
}

void Engine::end(size_t index) {
  Worker& worker = *workers_[index];
  TunWriter writer{worker.tun, worker.inbound.drops[size_t(Drop::tun_failed)]};
  worker.inbound.flush(TunWriter::write, &writer);
  worker.receiving.reset();
}

void Engine::inbound(const EspArrival* arrivals, size_t count, Inbound::Write write, void* context) {
  Worker& worker = *workers_[0];
  const Epochs::Reading reading(epochs_, options_.workers);
  worker.inbound.setNow(bootTime());
  for (size_t i = 0; i < count; i++) worker.inbound.receive(arrivals[i], write, context);
  worker.inbound.flush(write, context);
}

}  // namespace isthmus

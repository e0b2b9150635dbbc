#include "engine.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/epoll.h>
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
/** Turns over the devices that had frames, before it is asked again which have. */
constexpr int MOST_TURNS = 16;
/** Devices that one question tells of; the others are told next. */
constexpr int MOST_READY = 64;
/** In the place of a link's number: there is something else to look at. */
constexpr uint64_t KICK = UINT64_MAX;
/** Milliseconds between looks at what is held too long. */
constexpr int HOLD_CHECK = 500;
/** Selectors of an SA that are cheaper to walk through than to look up. */
constexpr size_t FEW_SELECTORS = 8;

std::array<uint8_t, 32> fingerprintOf(const SaSpec& spec) {
  std::array<uint8_t, 32> digest{};
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  const uint8_t names[] = {uint8_t(spec.cipher.algorithm), uint8_t(spec.cipher.integrity), spec.cipher.icvBytes, uint8_t(spec.form)};
  EVP_DigestUpdate(context, names, sizeof names);
  EVP_DigestUpdate(context, spec.cipher.key, spec.cipher.keyBytes);
  EVP_DigestUpdate(context, spec.cipher.integrityKey, spec.cipher.integrityKeyBytes);
  EVP_DigestFinal_ex(context, digest.data(), nullptr);
  EVP_MD_CTX_free(context);
  return digest;
}

bool openLane(Lane& lane, const SaSpec& spec, bool encrypt) {
  if (!isAh(spec.form)) return lane.cipher.open(spec.cipher, encrypt);
  const CipherSpec& cipher = spec.cipher;
  lane.icv = std::make_unique<AhIcv>();
  return lane.icv->open(cipher.integrity, cipher.icvBytes, cipher.integrityKey, cipher.integrityKeyBytes);
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
      : index(index),
        outbound(index, engine.hold_, engine.events_),
        inbound(index, engine.inboundSas_, engine.early_, engine.events_),
        frame(MOST_FRAME + 128),
        poll(epoll_create1(EPOLL_CLOEXEC)),
        kick(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    epoll_event event{EPOLLIN, {.u64 = KICK}};
    (void)epoll_ctl(poll, EPOLL_CTL_ADD, kick, &event);
  }
  ~Worker() {
    close(kick);
    close(poll);
  }

  /** Sleeps until there is something, at most so many milliseconds, -1 for ever; false when it cannot any more. */
  bool wait(int timeout);

  const size_t index;
  Outbound outbound;
  Inbound inbound;
  std::vector<uint8_t> frame;
  /** Tells which devices have frames. */
  const int poll;
  const int kick;
  /** Links that may have frames. */
  std::vector<uint32_t> ready;
  std::thread thread;
  std::optional<Epochs::Reading> receiving;
  /** Of the receiving thread, as long as it is `receiving`. */
  const Links* links = nullptr;
};

bool Engine::Worker::wait(int timeout) {
  epoll_event events[MOST_READY];
  const int count = epoll_wait(poll, events, MOST_READY, timeout);
  ready.clear();
  if (count < 0) return errno == EINTR;
  for (int i = 0; i < count; i++) {
    uint64_t ignored;
    if (events[i].data.u64 == KICK) (void)!read(kick, &ignored, sizeof ignored);
    else ready.push_back(uint32_t(events[i].data.u64));
  }
  return true;
}

Engine::Engine(const EngineOptions& options) : options_(options), early_(epochs_, options.workers), inboundSas_(epochs_), outboundSas_(epochs_) {
  drafts_.try_emplace(SHARED_LINK);
  publish();
  for (size_t i = 0; i < options_.workers; i++) workers_.push_back(std::make_unique<Worker>(*this, i));
}

Engine::~Engine() { stop(); }

void Engine::start(Port* port, void (*wake)(void*), void* context) {
  port_ = port;
  events_.onEvent(wake, context);
  running_ = true;
  for (const auto& worker : workers_) {
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
  for (const auto& worker : workers_) (void)!write(worker->kick, &one, sizeof one);
}

// Links

std::string Engine::openLink(const std::string& name, uint32_t id) {
  const auto known = drafts_.find(id);
  if (known != drafts_.end() && known->second.tun && known->second.tun->name() == name && known->second.tun->stands()) return "";
  closeLink(id);
  for (const auto& [other, draft] : drafts_) {
    if (draft.tun && draft.tun->name() == name && draft.tun->stands()) return name + ": another tunnel has that device";
  }
  auto tun = std::make_shared<Tun>();
  const std::string why = tun->open(name, options_.workers, id == SHARED_LINK ? Tun::Claim::Always : Tun::Claim::IfMarked);
  if (!why.empty()) return why;
  for (const auto& worker : workers_) worker->inbound.setUdpSegments(tun->udpSegments());
  drafts_[id].tun = tun;
  publishLinks();
  watch(*tun, id, true);
  return "";
}

void Engine::closeLink(uint32_t id) {
  const auto draft = drafts_.find(id);
  if (draft == drafts_.end() || !draft->second.tun) return;
  watch(*draft->second.tun, id, false);
  draft->second.tun->release();
  draft->second.tun.reset();
  publishLinks();
}

/** Every worker reads its own queue of the device. */
void Engine::watch(const Tun& tun, uint32_t id, bool watched) {
  for (const auto& worker : workers_) {
    epoll_event event{EPOLLIN, {.u64 = id}};
    (void)epoll_ctl(worker->poll, watched ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, tun.queue(worker->index), &event);
  }
}

// Changes

void Engine::addPolicy(std::shared_ptr<Policy> policy) {
  const auto existing = policies_.find(policy->id);
  const uint32_t before = existing == policies_.end() ? SHARED_LINK : existing->second->link;
  if (existing != policies_.end()) {
    policy->use = existing->second->use.load();
    detach(*existing->second);
  }
  Draft& draft = drafts_[policy->link];
  const auto place = std::find_if(draft.policies.begin(), draft.policies.end(), [&](const auto& p) { return p->order > policy->order; });
  draft.policies.insert(place, policy);
  draft.changed = changed_ = true;
  if (policy->link != before) leadInbound(*policy);
  policies_[policy->id] = std::move(policy);
}

void Engine::removePolicy(uint32_t id) {
  const auto policy = policies_.find(id);
  if (policy == policies_.end()) return;
  detach(*policy->second);
  policies_.erase(policy);
}

/** Takes it out of the SPD of its device. */
void Engine::detach(const Policy& policy) {
  Draft& draft = drafts_[policy.link];
  std::erase_if(draft.policies, [&policy](const auto& one) { return one.get() == &policy; });
  draft.changed = changed_ = true;
}

/** What arrives by the SAs of the policy goes to its device. */
void Engine::leadInbound(const Policy& policy) {
  for (const auto& [spi, sa] : inboundSas_.all()) {
    if (sa->policy == policy.id) sa->link = policy.link;
  }
}

void Engine::publish() {
  if (changed_) publishLinks();
}

void Engine::publishLinks() {
  changed_ = false;
  std::vector<Link> links;
  links.reserve(drafts_.size());
  for (auto& [id, draft] : drafts_) {
    if (draft.changed) draft.spd = std::make_shared<Spd>(draft.policies, ++generation_);
    draft.changed = false;
    links.push_back({id, draft.tun, draft.spd});
  }
  std::erase_if(drafts_, [](const auto& entry) { return entry.first != SHARED_LINK && !entry.second.tun && entry.second.policies.empty(); });
  auto next = std::make_shared<Links>(std::move(links));
  published_.store(next.get(), std::memory_order_seq_cst);
  if (links_) epochs_.retire(std::move(links_));
  links_ = std::move(next);
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
  // In UDP the header is made anew, from the packet's own.
  sa.outer = isTransport(spec.form) && spec.udp ? OuterPolicy{OuterPolicy::Df::Copy} : spec.outer;
  sa.selectors = spec.selectors;
  if (sa.selectors.local.size() * sa.selectors.remote.size() > FEW_SELECTORS)
    sa.index = std::make_shared<Classifier>(std::vector<const SelectorSet*>{&sa.selectors});
  sa.softPackets = spec.softPackets;
  sa.hardPackets = spec.hardPackets;
  sa.softBytes = spec.softBytes;
  sa.hardBytes = spec.hardBytes;
  sa.fingerprint = fingerprintOf(spec);
  sa.form = spec.form;
  sa.padTo = spec.padTo;
  for (size_t i = 0; i < options_.workers; i++) {
    if (!openLane(*sa.lanes.emplace_back(std::make_unique<Lane>()), spec, encrypt)) return false;
  }
  sa.shape = isAh(sa.form) ? CipherShape{0, uint8_t(sa.lanes[0]->icv->fieldBytes()), 1} : sa.lanes[0]->cipher.shape();
  return true;
}

Applied Engine::addInbound(const SaSpec& spec) {
  const Applied outcome = putInbound(spec);
  if (outcome == Applied::ok) releaseEarly(spec.spi);
  else early_.forget(spec.spi);
  return outcome;
}

Applied Engine::putInbound(const SaSpec& spec) {
  const auto existing = inboundSas_.all().find(spec.spi);
  if (existing != inboundSas_.all().end()) return existing->second->fingerprint == fingerprintOf(spec) ? Applied::ok : Applied::exists;
  auto sa = std::make_shared<InboundSa>(spec.window, spec.esn);
  if (!fill(*sa, spec, false)) return Applied::refused;
  sa->originalLocal = spec.originalLocal;
  sa->originalRemote = spec.originalRemote;
  sa->seenFrom = digestOf({spec.remote, spec.remotePort});
  if (const auto policy = policies_.find(spec.policy); policy != policies_.end()) sa->link = policy->second->link;
  inboundSas_.add(std::move(sa));
  return Applied::ok;
}

/** Each packet is opened by the thread that it came to. */
void Engine::releaseEarly(uint32_t spi) {
  const uint64_t workers = early_.release(spi);
  for (size_t i = 0; port_ && i < options_.workers; i++) {
    if (workers >> i & 1) port_->rouse(i);
  }
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
  const auto entry = policies_.find(policy);
  if (sa == outboundSas_.all().end() || entry == policies_.end()) return Applied::refused;
  std::vector<uint32_t>& usedBy = sa->second->usedBy;
  if (std::find(usedBy.begin(), usedBy.end(), policy) == usedBy.end()) usedBy.push_back(policy);
  const OutboundSa* before = entry->second->use.exchange(sa->second.get(), std::memory_order_seq_cst);
  if (before && before != sa->second.get()) turned_ = epochs_.now();
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
  if (inbound) {
    early_.forget(spi);
    return inboundSas_.remove(spi);
  }
  const auto sa = outboundSas_.all().find(spi);
  if (sa == outboundSas_.all().end()) return;
  for (const uint32_t id : sa->second->usedBy) {
    if (uses(id, *sa->second)) policies_.at(id)->use.store(nullptr, std::memory_order_seq_cst);
  }
  outboundSas_.remove(spi);
}

bool Engine::uses(uint32_t id, const OutboundSa& sa) const {
  const auto policy = policies_.find(id);
  return policy != policies_.end() && policy->second->use.load() == &sa;
}

bool Engine::inUse(const OutboundSa& sa) const {
  return std::any_of(sa.usedBy.begin(), sa.usedBy.end(), [&](uint32_t id) { return uses(id, sa); });
}

uint64_t Engine::outboundDrops(size_t drop) const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->outbound.drops[drop].load();
  return sum;
}

uint64_t Engine::inboundDrops(size_t drop) const {
  uint64_t sum = 0;
  for (const auto& worker : workers_) sum += worker->inbound.drops[drop].load();
  return drop == size_t(Drop::early) ? sum + early_.dropped() : sum;
}

// From the devices to the network

void Engine::outboundLoop(Worker& worker) {
  uint64_t spinUntil = 0;
  bool busy = false;
  while (running_) {
    const bool spinning = busy || (options_.spin > 0 && bootNanoseconds() < spinUntil);
    if (!worker.wait(spinning ? 0 : hold_.empty() ? -1 : HOLD_CHECK)) return;
    busy = drainAll(worker);
    if (busy && options_.spin > 0) spinUntil = bootNanoseconds() + options_.spin * 1000ull;
  }
}

bool Engine::drainAll(Worker& worker) {
  int turn = 0;
  while (turn < MOST_TURNS && running_ && drain(worker)) turn++;
  return turn > 0;
}

/** One turn over the devices that are ready; those that have nothing are so no more. */
bool Engine::drain(Worker& worker) {
  PortSink sink(*port_, worker.index);
  const Epochs::Reading reading(epochs_, worker.index);
  const Links& links = *published_.load(std::memory_order_seq_cst);
  worker.outbound.setNow(bootTime());
  if (!hold_.empty()) worker.outbound.release(links, sink);
  std::erase_if(worker.ready, [&](uint32_t id) { return !drainLink(worker, links, id, sink); });
  worker.outbound.flush(sink);
  return !worker.ready.empty();
}

bool Engine::drainLink(Worker& worker, const Links& links, uint32_t id, Outbound::Sink& sink) {
  const Link* link = links.find(id);
  if (!link || !link->tun) return false;
  const int queue = link->tun->queue(worker.index);
  for (size_t count = 0; count < TUN_BATCH; count++) {
    const ssize_t bytes = read(queue, worker.frame.data(), worker.frame.size());
    if (bytes > 0) {
      worker.outbound.frame(*link->spd, worker.frame.data(), size_t(bytes), sink);
      continue;
    }
    // Somebody removed the device: what is not there is always ready.
    if (bytes < 0 && errno == EBADFD) (void)epoll_ctl(worker.poll, EPOLL_CTL_DEL, queue, nullptr);
    return count > 0;
  }
  return true;
}

void Engine::outbound(uint32_t id, const uint8_t* const* frames, const size_t* lengths, size_t count, Outbound::Sink& sink) {
  Worker& worker = *workers_[0];
  const Epochs::Reading reading(epochs_, worker.index);
  const Links& links = *published_.load(std::memory_order_seq_cst);
  worker.outbound.setNow(bootTime());
  if (!hold_.empty()) worker.outbound.release(links, sink);
  const Spd none;
  const Link* link = links.find(id);
  for (size_t i = 0; i < count; i++) worker.outbound.frame(link ? *link->spd : none, frames[i], lengths[i], sink);
  worker.outbound.flush(sink);
}

// From the network to the devices

namespace {

struct TunWriter {
  const Links& links;
  const size_t queue;
  Counter& failed;
  static void write(void* self, uint32_t id, const iovec* pieces, size_t count) {
    const TunWriter& writer = *static_cast<TunWriter*>(self);
    const Link* link = writer.links.find(id);
    if (!link || !link->tun || writev(link->tun->queue(writer.queue), pieces, int(count)) < 0) add(writer.failed, 1);
  }
};

}  // namespace

void Engine::begin(size_t index) {
  Worker& worker = *workers_[index];
  worker.receiving.emplace(epochs_, options_.workers + index);
  worker.links = published_.load(std::memory_order_seq_cst);
  worker.inbound.setNow(bootTime());
  TunWriter writer{*worker.links, index, worker.inbound.drops[size_t(Drop::tun_failed)]};
  worker.inbound.receiveEarly(TunWriter::write, &writer);
}

void Engine::receive(size_t index, const Arrival& arrival) {
  Worker& worker = *workers_[index];
  TunWriter writer{*worker.links, index, worker.inbound.drops[size_t(Drop::tun_failed)]};
  worker.inbound.receive(arrival, TunWriter::write, &writer);
}

void Engine::end(size_t index) {
  Worker& worker = *workers_[index];
  TunWriter writer{*worker.links, index, worker.inbound.drops[size_t(Drop::tun_failed)]};
  worker.inbound.flush(TunWriter::write, &writer);
  worker.receiving.reset();
}

void Engine::inbound(const Arrival* arrivals, size_t count, Inbound::Write write, void* context) {
  Worker& worker = *workers_[0];
  const Epochs::Reading reading(epochs_, options_.workers);
  worker.inbound.setNow(bootTime());
  worker.inbound.receiveEarly(write, context);
  for (size_t i = 0; i < count; i++) worker.inbound.receive(arrivals[i], write, context);
  worker.inbound.flush(write, context);
}

void Engine::inboundPackets(uint8_t* const* packets, const size_t* lengths, size_t count, Inbound::Write write, void* context) {
  Worker& worker = *workers_[0];
  const Epochs::Reading reading(epochs_, options_.workers);
  worker.inbound.setNow(bootTime());
  worker.inbound.receiveEarly(write, context);
  for (size_t i = 0; i < count; i++) {
    Arrival arrival;
    const Drop why = readOuter(packets[i], lengths[i], arrival);
    if (why == Drop::none) worker.inbound.receive(arrival, write, context);
    else add(worker.inbound.drops[size_t(why)], 1);
  }
  worker.inbound.flush(write, context);
}

}  // namespace isthmus

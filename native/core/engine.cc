#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace isthmus {

namespace {

constexpr size_t FRAME = VNET_HEADER + 65536 + 128;
/** One UDP_SEGMENT call: 64 datagrams and less than a UDP payload. */
constexpr size_t MOST_SEGMENTS = 64;
constexpr size_t MOST_SEND = 65000;
constexpr size_t TUN_BATCH = 32;
constexpr size_t HELD_PACKETS = 64, HELD_BYTES = 256 * 1024;
constexpr uint64_t HELD_TIME = 5000;
constexpr size_t MOST_EVENTS = 4096;
constexpr uint8_t TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80;
constexpr int OUTBOUND = 0, INBOUND = 1;

std::array<uint8_t, 32> fingerprintOf(const SaSpec& spec) {
  std::array<uint8_t, 32> digest{};
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  EVP_DigestUpdate(context, &spec.cipher.algorithm, sizeof spec.cipher.algorithm);
  EVP_DigestUpdate(context, spec.cipher.key, spec.cipher.keyBytes);
  EVP_DigestUpdate(context, spec.cipher.integrityKey, spec.cipher.integrityKeyBytes);
  EVP_DigestFinal_ex(context, digest.data(), nullptr);
  EVP_MD_CTX_free(context);
  return digest;
}

/** FNV-1a: tells one endpoint from the next, and proves nothing. */
uint64_t digestOf(const Address& address, uint16_t port) {
  uint64_t digest = 14695981039346656037ull;
  const auto add = [&digest](uint8_t byte) { digest = (digest ^ byte) * 1099511628211ull; };
  for (const uint8_t byte : address.bytes) add(byte);
  add(uint8_t(port >> 8));
  add(uint8_t(port));
  return digest;
}

bool fill(Sa& sa, const SaSpec& spec, bool encrypt) {
  sa.spi = spec.spi;
  sa.policy = spec.policy;
  sa.local = spec.local;
  sa.remote = spec.remote;
  sa.udp = spec.udp;
  sa.localPort = spec.localPort;
  sa.remotePort = spec.remotePort;
  sa.esn = spec.esn;
  sa.selectors = spec.selectors;
  sa.softPackets = spec.softPackets;
  sa.hardPackets = spec.hardPackets;
  sa.softBytes = spec.softBytes;
  sa.hardBytes = spec.hardBytes;
  sa.fingerprint = fingerprintOf(spec);
  return sa.cipher.open(spec.cipher, encrypt);
}

/** The congestion bits, copied to the outer header (RFC 6040 §4.1, normal mode). */
uint8_t ecnOf(const uint8_t* packet) { return uint8_t(packet[0] >> 4 == 6 ? packet[1] >> 4 : packet[1]) & 0x03; }

}  // namespace

uint64_t bootTime() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return uint64_t(now.tv_sec) * 1000 + uint64_t(now.tv_nsec) / 1000000;
}

Engine::~Engine() {
  stop();
  if (tun_ >= 0) close(tun_);
  if (kick_ >= 0) close(kick_);
}

std::string Engine::openTun(const char* name) {
  tun_ = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (tun_ < 0) return std::string("/dev/net/tun: ") + strerror(errno);
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(tun_, TUNSETIFF, &request) != 0) return std::string("TUN ") + name + ": " + strerror(errno);
  const int headerBytes = int(VNET_HEADER);
  if (ioctl(tun_, TUNSETVNETHDRSZ, &headerBytes) != 0) return std::string("TUN offload header: ") + strerror(errno);
  (void)ioctl(tun_, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6);
  if (ioctl(tun_, TUNSETPERSIST, 1) != 0) return std::string("TUN persistence: ") + strerror(errno);
  return "";
}

void Engine::start(Port* port, void (*wake)(void*), void* context) {
  port_ = port;
  wake_ = wake;
  wakeContext_ = context;
  kick_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  running_ = true;
  thread_ = std::thread([this] { outboundLoop(); });
}

void Engine::stop() {
  if (!running_.exchange(false)) return;
  const uint64_t one = 1;
  (void)!write(kick_, &one, sizeof one);
  thread_.join();
}

// Changes

Applied Engine::addPolicy(Policy policy) {
  std::unique_ptr<Tables> next = copy();
  const auto existing = std::find_if(next->policies.begin(), next->policies.end(), [&](const Policy& p) { return p.id == policy.id; });
  if (existing != next->policies.end()) {
    policy.use = existing->use;
    next->policies.erase(existing);
  }
  const auto place = std::find_if(next->policies.begin(), next->policies.end(), [&](const Policy& p) { return p.order > policy.order; });
  next->policies.insert(place, std::move(policy));
  published_.replace(std::move(next));
  return Applied::ok;
}

void Engine::removePolicy(uint32_t id) {
  std::unique_ptr<Tables> next = copy();
  std::erase_if(next->policies, [id](const Policy& policy) { return policy.id == id; });
  published_.replace(std::move(next));
}

Applied Engine::addInbound(const SaSpec& spec) {
  const auto existing = tables().inbound.find(spec.spi);
  if (existing != tables().inbound.end()) return existing->second->fingerprint == fingerprintOf(spec) ? Applied::ok : Applied::exists;
  auto sa = std::make_shared<InboundSa>(spec.window, spec.esn);
  if (!fill(*sa, spec, false)) return Applied::refused;
  sa->seenFrom = digestOf(spec.remote, spec.remotePort);
  std::unique_ptr<Tables> next = copy();
  next->inbound.emplace(spec.spi, std::move(sa));
  published_.replace(std::move(next));
  return Applied::ok;
}

Applied Engine::addOutbound(const SaSpec& spec) {
  const auto existing = tables().outbound.find(spec.spi);
  if (existing != tables().outbound.end()) return existing->second->fingerprint == fingerprintOf(spec) ? Applied::ok : Applied::exists;
  auto sa = std::make_shared<OutboundSa>();
  if (!fill(*sa, spec, true)) return Applied::refused;
  std::unique_ptr<Tables> next = copy();
  next->outbound.emplace(spec.spi, std::move(sa));
  published_.replace(std::move(next));
  return Applied::ok;
}

Applied Engine::useOutbound(uint32_t policy, uint32_t spi) {
  std::unique_ptr<Tables> next = copy();
  const auto sa = next->outbound.find(spi);
  const auto entry = std::find_if(next->policies.begin(), next->policies.end(), [policy](const Policy& p) { return p.id == policy; });
  if (sa == next->outbound.end() || entry == next->policies.end()) return Applied::refused;
  entry->use = sa->second;
  published_.replace(std::move(next));
  const uint64_t one = 1;
  if (kick_ >= 0) (void)!write(kick_, &one, sizeof one);
  return Applied::ok;
}

bool Engine::move(bool inbound, uint32_t spi, const Endpoint& remote) {
  if (inbound) return tables().inbound.contains(spi);
  const auto sa = tables().outbound.find(spi);
  if (sa == tables().outbound.end() || !(sa->second->remote == remote.address)) return false;
  sa->second->remotePort = remote.port;
  return true;
}

void Engine::remove(bool inbound, uint32_t spi) {
  std::unique_ptr<Tables> next = copy();
  if (inbound) {
    next->inbound.erase(spi);
  } else {
    next->outbound.erase(spi);
    for (Policy& policy : next->policies) {
      if (policy.use && policy.use->spi == spi) policy.use.reset();
    }
  }
  published_.replace(std::move(next));
}

// Events

void Engine::tell(Event event) {
  {
    const std::lock_guard lock(eventMutex_);
    if (events_.size() >= MOST_EVENTS) return;
    events_.push_back(event);
  }
  if (wake_) wake_(wakeContext_);
}

std::vector<Event> Engine::takeEvents() {
  const std::lock_guard lock(eventMutex_);
  std::vector<Event> all(events_.begin(), events_.end());
  events_.clear();
  return all;
}

void Engine::tellLimits(Sa& sa, bool inbound) {
  const uint64_t packets = sa.packets.load(std::memory_order_relaxed), bytes = sa.bytes.load(std::memory_order_relaxed);
  const auto over = [&](uint64_t mostPackets, uint64_t mostBytes) {
    return (mostPackets != 0 && packets >= mostPackets) || (mostBytes != 0 && bytes >= mostBytes);
  };
  const auto told = [&](bool hard) {
    Event event{Event::Type::Expire};
    event.spi = sa.spi;
    event.policy = sa.policy;
    event.inbound = inbound;
    event.hard = hard;
    tell(event);
  };
  if (over(sa.softPackets, sa.softBytes) && !sa.softTold.exchange(true)) told(false);
  if (over(sa.hardPackets, sa.hardBytes) && !sa.hardTold.exchange(true)) told(true);
}

// From the TUN to the network

void Engine::outboundLoop() {
  std::vector<uint8_t> frame(FRAME);
  out_.resize(MOST_SEND + 2048);
  pollfd polled[2] = {{tun_, POLLIN, 0}, {kick_, POLLIN, 0}};
  while (running_) {
    const int timeout = held_.empty() ? -1 : 500;
    if (poll(polled, 2, timeout) < 0 && errno != EINTR) return;
    uint64_t ignored;
    if (polled[1].revents != 0) (void)!read(kick_, &ignored, sizeof ignored);
    const Published::Reading reading(published_, OUTBOUND);
    if (!held_.empty()) releaseHeld(*reading);
    for (size_t i = 0; i < TUN_BATCH; i++) {
      const ssize_t bytes = read(tun_, frame.data(), frame.size());
      if (bytes <= 0) break;
      outbound(*reading, frame.data(), size_t(bytes));
    }
    flush();
  }
}

void Engine::outbound(const Tables& tables, const uint8_t* frame, size_t bytes) {
  Flow flow;
  if (bytes <= VNET_HEADER || !readFlow(frame + VNET_HEADER, bytes - VNET_HEADER, flow)) return dropOutbound(Drop::malformed);
  const Policy* policy = tables.find(flow);
  if (!policy || policy->action == Action::Bypass) return dropOutbound(Drop::no_policy);
  if (policy->action == Action::Discard) return dropOutbound(Drop::discard_policy);
  OutboundSa* sa = policy->use.get();
  if (!sa) return hold(*policy, frame, bytes, flow);
  if (!sa->selectors.holds(flow, true)) return dropOutbound(Drop::selector);
  protect(*sa, frame, bytes, flow);
}

void Engine::protect(OutboundSa& sa, const uint8_t* frame, size_t bytes, const Flow& flow) {
  VnetHeader header;
  memcpy(&header, frame, sizeof header);
  const uint8_t kind = header.kind & uint8_t(~VnetHeader::ECN);
  if (kind == VnetHeader::TCP_V4 || kind == VnetHeader::TCP_V6) {
    segmentTcp(sa, frame, bytes, flow);
  } else if (kind != 0) {
    dropOutbound(Drop::malformed);
  } else if (header.flags & VnetHeader::NEEDS_CHECKSUM) {
    // The transport checksum holds the pseudo header's sum; the rest is ours to add.
    const size_t start = header.checksumStart, at = start + header.checksumOffset;
    if (start < flow.transport || at + 2 > flow.length) return dropOutbound(Drop::malformed);
    uint8_t* packet = room(sa, flow.length, ecnOf(frame + VNET_HEADER));
    memcpy(packet, frame + VNET_HEADER, flow.length);
    const uint16_t sum = foldSum(sumBytes(packet + start, flow.length - start, 0));
    put16(packet + at, sum == 0 && flow.protocol == 17 ? 0xffff : sum);
    seal(sa, packet, flow.length);
  } else {
    protectOne(sa, frame + VNET_HEADER, flow.length);
  }
  tellLimits(sa, false);
}

void Engine::protectOne(OutboundSa& sa, const uint8_t* packet, size_t bytes) {
  uint8_t* inner = room(sa, bytes, ecnOf(packet));
  memcpy(inner, packet, bytes);
  seal(sa, inner, bytes);
}

/** Cuts a super-packet into segments, each written where it will be encrypted. */
void Engine::segmentTcp(OutboundSa& sa, const uint8_t* frame, size_t bytes, const Flow& flow) {
  VnetHeader header;
  memcpy(&header, frame, sizeof header);
  const uint8_t* packet = frame + VNET_HEADER;
  const size_t length = bytes - VNET_HEADER;
  if (flow.protocol != 6 || flow.opaque || flow.transport + 20u > length) return dropOutbound(Drop::malformed);
  const size_t headers = flow.transport + size_t(packet[flow.transport + 12] >> 4) * 4;
  if (header.segment == 0 || headers < flow.transport + 20u || headers >= length) return dropOutbound(Drop::malformed);
  const uint32_t sequence = be32(packet + flow.transport + 4);
  const uint8_t flags = packet[flow.transport + 13];
  for (size_t at = headers, index = 0; at < length; at += header.segment, index++) {
    const size_t payload = std::min(size_t(header.segment), length - at);
    const bool last = at + payload == length;
    uint8_t* inner = room(sa, headers + payload, ecnOf(packet));
    memcpy(inner, packet, headers);
    memcpy(inner + headers, packet + at, payload);
    uint8_t* tcp = inner + flow.transport;
    put32(tcp + 4, sequence + uint32_t(at - headers));
    tcp[13] = last ? flags : uint8_t(flags & ~(TCP_FIN | TCP_PSH));
    if (index > 0) tcp[13] &= uint8_t(~TCP_CWR);  // RFC 3168: once a super-packet
    if (flow.family == 4) {
      put16(inner + 2, uint16_t(headers + payload));
      put16(inner + 4, uint16_t(be16(packet + 4) + index));
      put16(inner + 10, 0);
      put16(inner + 10, foldSum(sumBytes(inner, flow.transport, 0)));
    } else {
      put16(inner + 4, uint16_t(headers + payload - 40));
    }
    const uint32_t transport = uint32_t(headers + payload - flow.transport);
    put16(tcp + 16, 0);
    put16(tcp + 16, foldSum(sumBytes(tcp, transport, pseudoSum(flow, transport))));
    seal(sa, inner, headers + payload);
  }
}

/** Where the next inner packet of this SA goes, behind what is already gathered. */
uint8_t* Engine::room(OutboundSa& sa, size_t innerBytes, uint8_t ecn) {
  const size_t size = espBytes(sa, innerBytes);
  const bool fits = outSa_ == &sa && outEcn_ == ecn && !outClosed_ && size <= outSegment_ && outCount_ < MOST_SEGMENTS && outUsed_ + size <= MOST_SEND;
  if (!fits) flush();
  if (out_.size() < outUsed_ + size + ESP_OVERHEAD) out_.resize(outUsed_ + size + ESP_OVERHEAD);
  outSa_ = &sa;
  outEcn_ = ecn;
  return out_.data() + outUsed_ + innerOffset(sa);
}

void Engine::seal(OutboundSa& sa, uint8_t* inner, size_t innerBytes) {
  size_t size = 0;
  const Drop drop = encapsulate(sa, inner - innerOffset(sa), innerBytes, size);
  if (drop != Drop::none) return dropOutbound(drop);
  sa.last.store(bootTime(), std::memory_order_relaxed);
  if (outCount_ == 0) outSegment_ = size;
  outClosed_ = size < outSegment_;
  outUsed_ += size;
  outCount_++;
}

void Engine::flush() {
  if (outCount_ > 0) {
    if (sink_) {
      sink_->esp(*outSa_, out_.data(), outUsed_, outSegment_, outEcn_);
    } else if (!port_->sendEsp(*outSa_, out_.data(), outUsed_, outSegment_, outEcn_)) {
      add(outboundDrops[size_t(Drop::send_failed)], outCount_);
    }
  }
  outUsed_ = outSegment_ = outCount_ = 0;
  outClosed_ = false;
  outSa_ = nullptr;
}

void Engine::hold(const Policy& policy, const uint8_t* frame, size_t bytes, const Flow& flow) {
  if (!policy.acquire) return dropOutbound(Drop::no_sa);
  Held& held = held_.try_emplace(policy.id, Held{bootTime(), 0, {}, false}).first->second;
  while (!held.frames.empty() && (held.frames.size() >= HELD_PACKETS || held.bytes + bytes > HELD_BYTES)) {
    held.bytes -= held.frames.front().size();
    held.frames.pop_front();
    dropOutbound(Drop::no_sa);
  }
  held.frames.emplace_back(frame, frame + bytes);
  held.bytes += bytes;
  if (held.asked) return;
  held.asked = true;
  Event event{Event::Type::Acquire};
  event.policy = policy.id;
  event.flow = flow;
  tell(event);
}

/** In order, once the SA is there; what is older than five seconds goes. */
void Engine::releaseHeld(const Tables& tables) {
  for (auto entry = held_.begin(); entry != held_.end();) {
    const uint32_t id = entry->first;
    const auto policy = std::find_if(tables.policies.begin(), tables.policies.end(), [id](const Policy& p) { return p.id == id; });
    const bool ready = policy != tables.policies.end() && policy->use;
    const bool old = bootTime() - entry->second.since > HELD_TIME || policy == tables.policies.end();
    if (!ready && !old) {
      ++entry;
      continue;
    }
    const Held held = std::move(entry->second);
    entry = held_.erase(entry);
    for (const std::vector<uint8_t>& frame : held.frames) {
      if (ready) {
        outbound(tables, frame.data(), frame.size());
      } else {
        dropOutbound(Drop::hold_expired);
      }
    }
  }
}

// From the network to the TUN

void Engine::begin() { new (readingRoom_) Published::Reading(published_, INBOUND); }

void Engine::receive(const EspArrival& arrival) {
  const Tables& tables = **std::launder(reinterpret_cast<Published::Reading*>(readingRoom_));
  const auto dropped = [this](Drop drop) { add(inboundDrops[size_t(drop)], 1); };
  if (arrival.bytes < ESP_HEADER) return dropped(Drop::malformed);
  const auto found = tables.inbound.find(be32(arrival.esp));
  if (found == tables.inbound.end()) return dropped(Drop::unknown_spi);
  InboundSa& sa = *found->second;
  Inner inner;
  const Drop drop = decapsulate(sa, arrival.esp, arrival.bytes, arrival.ecn, inner);
  if (drop != Drop::none) return dropped(drop);
  sa.last.store(bootTime(), std::memory_order_relaxed);
  if (!sa.firstTold.exchange(true, std::memory_order_relaxed)) {
    Event event{Event::Type::FirstInbound};
    event.spi = sa.spi;
    tell(event);
  }
  const uint64_t from = digestOf(arrival.remote.address, arrival.remote.port);
  if (sa.udp && arrival.remote.port != 0 && from != sa.seenFrom.load(std::memory_order_relaxed)) {
    sa.seenFrom.store(from, std::memory_order_relaxed);
    Event event{Event::Type::Mapping};
    event.spi = sa.spi;
    event.remote = arrival.remote;
    tell(event);
  }
  tellLimits(sa, true);
  coalescer_.add(inner.packet, inner.flow, [](void* self, const uint8_t* frame, size_t bytes) { static_cast<Engine*>(self)->writeInner(frame, bytes); }, this);
}

void Engine::end() {
  coalescer_.flush([](void* self, const uint8_t* frame, size_t bytes) { static_cast<Engine*>(self)->writeInner(frame, bytes); }, this);
  std::launder(reinterpret_cast<Published::Reading*>(readingRoom_))->~Reading();
}

void Engine::writeInner(const uint8_t* frame, size_t bytes) {
  if (sink_) return sink_->inner(frame, bytes);
  if (write(tun_, frame, bytes) != ssize_t(bytes)) add(inboundDrops[size_t(Drop::tun_failed)], 1);
}

}  // namespace isthmus

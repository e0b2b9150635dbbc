// SAD and SPD as the packet threads see them (RFC 4301 §4.4).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cipher.h"
#include "ip.h"
#include "replay.h"

namespace isthmus {

/** Why a packet was dropped: one counter a cause. Names in `dropNames`. */
enum class Drop : uint8_t {
  none,
  malformed,
  no_policy,
  discard_policy,
  no_sa,
  unknown_spi,
  replay,
  authentication,
  padding,
  selector,
  sequence,
  lifetime,
  too_big,
  dummy,
  send_failed,
  tun_failed,
  queue_full,
  hold_expired,
  count,
};
constexpr size_t DROPS = size_t(Drop::count);
extern const char* const dropNames[DROPS];

using Counter = std::atomic<uint64_t>;

/** Written by one thread, read by others. */
inline void add(Counter& counter, uint64_t n) { counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }

/** An inclusive range of addresses and ports; protocol 0 is any. */
struct Selector {
  uint8_t family;
  uint8_t protocol;
  uint16_t startPort;
  uint16_t endPort;
  std::array<uint8_t, 16> start;
  std::array<uint8_t, 16> end;
};

struct SelectorSet {
  std::vector<Selector> local;
  std::vector<Selector> remote;
  /** Whether a packet with these ends is in. A fragment without ports fits only selectors of any port (RFC 4301 §7). */
  bool holds(const Flow& flow, bool outbound) const;
};

struct Address {
  uint8_t family;
  std::array<uint8_t, 16> bytes;
  bool operator==(const Address&) const = default;
};

/** What both directions are made from. */
struct SaSpec {
  uint32_t spi;
  uint32_t policy;
  Address local, remote;
  bool udp;
  uint16_t localPort, remotePort;
  bool esn;
  uint32_t window;
  SelectorSet selectors;
  uint64_t softPackets, hardPackets, softBytes, hardBytes;  // 0: no limit
  CipherSpec cipher;
};

/** Common to both directions; counters are written by the thread that owns the SA. */
struct Sa {
  uint32_t spi = 0;
  uint32_t policy = 0;
  Address local{}, remote{};
  bool udp = false;
  uint16_t localPort = 0;
  std::atomic<uint16_t> remotePort{0};
  bool esn = false;
  SelectorSet selectors;
  uint64_t softPackets = 0, hardPackets = 0, softBytes = 0, hardBytes = 0;
  Cipher cipher;
  /** SHA-256 over algorithm and keys: adding the same SA again is told from another under its SPI. */
  std::array<uint8_t, 32> fingerprint{};
  Counter packets{0}, bytes{0}, last{0};
  std::atomic<bool> softTold{false}, hardTold{false};
};

struct OutboundSa : Sa {
  uint64_t sequence = 0;
};

struct InboundSa : Sa {
  InboundSa(uint32_t window, bool esn) : replay(window, esn) {}
  ReplayWindow replay;
  std::atomic<bool> firstTold{false};
  /** Digest of the endpoint that the last packet came from. */
  std::atomic<uint64_t> seenFrom{0};
};

enum class Action : uint8_t { Protect, Bypass, Discard };

struct Policy {
  uint32_t id = 0;
  Action action = Action::Protect;
  int32_t order = 0;
  bool acquire = false;
  SelectorSet selectors;
  std::shared_ptr<OutboundSa> use;
};

/** An immutable picture, replaced whole: packet threads hold it for a batch and never lock. */
struct Tables {
  std::vector<Policy> policies;  // in order
  std::unordered_map<uint32_t, std::shared_ptr<InboundSa>> inbound;
  std::unordered_map<uint32_t, std::shared_ptr<OutboundSa>> outbound;
  const Policy* find(const Flow& flow) const;
};

}  // namespace isthmus

// The SAD as the packet threads see it (RFC 4301 §4.4.2), and what selects packets.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "ah-icv.h"
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
  fragment,
  extension,
  early,
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

/** Whether one end of a packet is in a selector. */
bool inSelector(const Selector& selector, const uint8_t* address, const Flow& flow, uint16_t port);

struct Address {
  uint8_t family;
  std::array<uint8_t, 16> bytes;
  bool operator==(const Address&) const = default;
};

struct Endpoint {
  Address address;
  uint16_t port;
};

/** What the outer header takes from the inner one, and what it is given (RFC 4301 §5.1.2). */
struct OuterPolicy {
  enum class Df : uint8_t { Clear, Set, Copy } df = Df::Clear;
  bool copyDscp = true;
  /** Six bits, where it is not copied. */
  uint8_t dscp = 0;
};

/** Protocol and mode (RFC 4301 §3.2, §4.1). */
enum class Form : uint8_t { EspTunnel, EspTransport, AhTunnel, AhTransport };

inline bool isAh(Form form) { return form >= Form::AhTunnel; }
inline bool isTransport(Form form) { return form == Form::EspTransport || form == Form::AhTransport; }

/** What both directions are made from. */
struct SaSpec {
  Form form = Form::EspTunnel;
  uint32_t spi;
  uint32_t policy;
  Address local, remote;
  bool udp;
  uint16_t localPort, remotePort;
  bool esn;
  uint32_t window;
  OuterPolicy outer;
  SelectorSet selectors;
  /** Transport mode through a NAT: what the peer made checksums for; family 0: what the headers say. */
  Address originalLocal, originalRemote;
  uint64_t softPackets, hardPackets, softBytes, hardBytes;  // 0: no limit
  /** Bytes of the inner packet with zeros behind it, at least (RFC 4303 §2.7); 0: none. ESP in tunnel mode. */
  uint32_t padTo;
  /** Of AH only the integrity algorithm counts. */
  CipherSpec cipher;
};

class Classifier;

/** What one thread has of an SA: a context of its own, so that threads share nothing but the sequence number. */
struct Lane {
  Cipher cipher;
  Counter packets{0}, bytes{0}, last{0};
  /** AH only. */
  std::unique_ptr<AhIcv> icv;
};

/** Common to both directions. */
struct Sa {
  /** Never the same twice, unlike an SPI or an address. */
  uint64_t serial = 0;
  uint32_t spi = 0;
  uint32_t policy = 0;
  Form form = Form::EspTunnel;
  uint32_t padTo = 0;
  Address local{}, remote{};
  bool udp = false;
  uint16_t localPort = 0;
  std::atomic<uint16_t> remotePort{0};
  bool esn = false;
  OuterPolicy outer;
  SelectorSet selectors;
  /** Instead of a walk through the selectors, where there are many. */
  std::shared_ptr<const Classifier> index;
  uint64_t softPackets = 0, hardPackets = 0, softBytes = 0, hardBytes = 0;
  /** Sizes that follow from the algorithm; the same in every lane. */
  CipherShape shape{};
  /** One a thread; at least one. */
  std::vector<std::unique_ptr<Lane>> lanes;
  /** SHA-256 over algorithm and keys: adding the same SA again is told from another under its SPI. */
  std::array<uint8_t, 32> fingerprint{};
  std::atomic<bool> softTold{false}, hardTold{false};

  /** Whether a packet may travel in it (RFC 4301 §5.2 step 4). */
  bool admits(const Flow& flow, bool outbound) const;
  uint64_t packets() const { return sum(&Lane::packets); }
  uint64_t bytes() const { return sum(&Lane::bytes); }
  uint64_t last() const {
    uint64_t latest = 0;
    for (const auto& lane : lanes) latest = std::max(latest, lane->last.load(std::memory_order_relaxed));
    return latest;
  }
  /** RFC 4301 §4.4.2.1: at a hard limit it stops. */
  bool overHard(size_t more) const {
    return (hardPackets != 0 && packets() >= hardPackets) || (hardBytes != 0 && bytes() + more > hardBytes);
  }

 private:
  uint64_t sum(Counter Lane::*counter) const {
    uint64_t total = 0;
    for (const auto& lane : lanes) total += ((*lane).*counter).load(std::memory_order_relaxed);
    return total;
  }
};

struct OutboundSa : Sa {
  std::atomic<uint64_t> sequence{0};
  /** Policies that were told to send with it; the control thread's. */
  std::vector<uint32_t> usedBy;

  /** The next number, or 0 when all are used up (RFC 4303 §3.3.3). */
  uint64_t takeNumber() {
    const uint64_t most = esn ? UINT64_MAX : UINT32_MAX;
    uint64_t last = sequence.load(std::memory_order_relaxed);
    if (lanes.size() == 1) {
      if (last == most) return 0;
      sequence.store(last + 1, std::memory_order_relaxed);
      return last + 1;
    }
    while (last != most && !sequence.compare_exchange_weak(last, last + 1, std::memory_order_relaxed)) {
    }
    return last == most ? 0 : last + 1;
  }
};

struct InboundSa : Sa {
  InboundSa(uint32_t window, bool esn) : replay(window, esn) {}
  ReplayWindow replay;
  Address originalLocal{}, originalRemote{};
  /** The device that its packets are for: that of its policy. */
  std::atomic<uint32_t> link{0};
  std::atomic<bool> firstTold{false};
  /** Digest of the endpoint that the last packet came from. */
  std::atomic<uint64_t> seenFrom{0};
  /** Steering brings an SPI to one thread; taken for the packets that came with another SPI's in one datagram train. */
  std::atomic_flag busy{};
};

}  // namespace isthmus

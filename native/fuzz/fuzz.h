// What the targets share: an input read as choices, SAs of every kind, and the obvious way to do what the engine does fast.
#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine.h"

namespace isthmus::fuzz {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t TCP = 6, UDP = 17;

/** What must be true of every input; libFuzzer keeps one for which it is not. */
inline void expect(bool holds, const char* sentence) {
  if (holds) return;
  fprintf(stderr, "fuzz: not so: %s\n", sentence);
  abort();
}

/** The input, read from its front. What is no more there is zero. */
class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), left_(size) {}

  bool empty() const { return left_ == 0; }
  uint8_t byte() {
    if (left_ == 0) return 0;
    left_--;
    return *at_++;
  }
  uint16_t word() {
    const uint8_t high = byte();
    return uint16_t(high << 8 | byte());
  }
  /** As many as there are, at most `size`. */
  Bytes bytes(size_t size) {
    size = std::min(size, left_);
    Bytes taken(at_, at_ + size);
    at_ += size;
    left_ -= size;
    return taken;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

struct Suite {
  Algorithm algorithm;
  size_t keyBytes;
  Integrity integrity = Integrity::None;
  uint8_t icvBytes = 0;
  size_t integrityKeyBytes = 0;
};

/** One of each way to make a packet, and of each block and ICV size. */
constexpr Suite SUITES[] = {
    {Algorithm::AesGcm16, 20},
    {Algorithm::AesGcm8, 20},
    {Algorithm::ChaCha20Poly1305, 36},
    {Algorithm::AesCcm12, 19},
    {Algorithm::AesGmac, 20},
    {Algorithm::AesCbc, 16, Integrity::HmacSha256, 16, 32},
    {Algorithm::AesCtr, 20, Integrity::AesCmac, 12, 16},
    {Algorithm::Null, 0, Integrity::AesXcbc, 12, 16},
};
constexpr size_t SUITE_COUNT = sizeof SUITES / sizeof SUITES[0];

/** The keys of all SAs here: secrets of nobody. */
constexpr uint8_t KEYS[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

constexpr uint32_t FIRST_SPI = 0x100;

inline Selector everything(uint8_t family) {
  Selector selector{family, 0, 0, 0xffff, {}, {}};
  selector.end.fill(0xff);
  return selector;
}

inline SelectorSet everywhere() {
  const std::vector<Selector> both = {everything(4), everything(6)};
  return {both, both};
}

inline SaSpec specOf(size_t suite) {
  const Suite& row = SUITES[suite];
  SaSpec made{};
  made.spi = FIRST_SPI + uint32_t(suite);
  made.policy = 1;
  made.local = made.remote = {4, {127, 0, 0, 1}};
  made.esn = suite % 2 == 1;
  made.window = 64;
  made.selectors = everywhere();
  made.cipher = {row.algorithm, KEYS, row.keyBytes, row.integrity, row.icvBytes, KEYS, row.integrityKeyBytes};
  return made;
}

/** The other end of an SA: its cipher, opened once. */
struct Peer {
  Cipher cipher;
  Peer(size_t suite, bool encrypt) { expect(cipher.open(specOf(suite).cipher, encrypt), "every suite is there"); }
};

inline Cipher& sealerOf(size_t suite) {
  static std::array<std::unique_ptr<Peer>, SUITE_COUNT> peers;
  if (!peers[suite]) peers[suite] = std::make_unique<Peer>(suite, true);
  return peers[suite]->cipher;
}

/** ESP around the plaintext, trailer included, which is a multiple of the suite's block. */
inline Bytes sealed(size_t suite, const Bytes& text, uint64_t sequence) {
  Cipher& cipher = sealerOf(suite);
  const size_t before = ESP_HEADER + cipher.shape().ivBytes;
  Bytes esp(before + text.size() + cipher.shape().icvBytes);
  put32(esp.data(), FIRST_SPI + uint32_t(suite));
  put32(esp.data() + 4, uint32_t(sequence));
  std::copy(text.begin(), text.end(), esp.begin() + long(before));
  expect(cipher.seal(esp.data(), text.size(), sequence, specOf(suite).esn), "what is aligned can be sealed");
  return esp;
}

/** Padding as RFC 4303 §2.4 wants it, and the trailer. */
inline Bytes withTrailer(Bytes text, size_t suite, uint8_t next) {
  const size_t unit = std::max<size_t>(sealerOf(suite).shape().blockBytes, 4);
  uint8_t pad = 0;
  while ((text.size() + 2) % unit != 0) text.push_back(++pad);
  text.push_back(pad);
  text.push_back(next);
  return text;
}

/** Bytes none of which is like its neighbour, from `offset` on. */
inline void append(Bytes& packet, size_t size, uint8_t offset) {
  static const Bytes pattern = [] {
    Bytes made(0x10200);
    for (size_t i = 0; i < made.size(); i++) made[i] = uint8_t(i * 7 + i / 256);
    return made;
  }();
  packet.insert(packet.end(), pattern.begin() + offset, pattern.begin() + offset + long(size));
}

// IP, the obvious way

/** The ones' complement sum, word by word (RFC 1071); what is sent is its complement. */
inline uint32_t slowSum(const uint8_t* bytes, size_t size, uint32_t sum = 0) {
  for (size_t i = 0; i + 1 < size; i += 2) sum += be16(bytes + i);
  if (size % 2 == 1) sum += uint32_t(bytes[size - 1]) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/** Of the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1). */
inline uint32_t slowPseudoSum(const uint8_t* packet, uint8_t protocol, size_t transportBytes) {
  const bool v6 = packet[0] >> 4 == 6;
  const uint32_t addresses = v6 ? slowSum(packet + 8, 32) : slowSum(packet + 12, 8);
  return addresses + protocol + uint32_t(transportBytes >> 16) + uint32_t(transportBytes & 0xffff);
}

inline void fixIp(Bytes& packet) {
  if (packet[0] >> 4 == 6) return put16(packet.data() + 4, uint16_t(packet.size() - 40));
  put16(packet.data() + 2, uint16_t(packet.size()));
  put16(packet.data() + 10, 0);
  put16(packet.data() + 10, uint16_t(~slowSum(packet.data(), size_t(packet[0] & 15) * 4)));
}

inline void fixUdpLength(Bytes& packet, size_t transport) { put16(packet.data() + transport + 4, uint16_t(packet.size() - transport)); }

inline void fixChecksum(Bytes& packet, size_t transport, uint8_t protocol) {
  const size_t at = transport + (protocol == TCP ? 16 : 6), bytes = packet.size() - transport;
  put16(packet.data() + at, 0);
  const uint16_t sum = uint16_t(~slowSum(packet.data() + transport, bytes, slowPseudoSum(packet.data(), protocol, bytes)));
  put16(packet.data() + at, sum == 0 && protocol == UDP ? 0xffff : sum);  // RFC 768: 0 says that there is none
}

/** What a super-packet stands for, as a network card would cut it: `headers` bytes, then `segment` bytes of payload each. */
inline std::vector<Bytes> cut(const Bytes& super, size_t transport, size_t headers, size_t segment, uint8_t protocol) {
  std::vector<Bytes> packets;
  for (size_t at = headers; at < super.size(); at += segment) {
    const size_t end = std::min(at + segment, super.size());
    Bytes packet(super.begin(), super.begin() + long(headers));
    packet.insert(packet.end(), super.begin() + long(at), super.begin() + long(end));
    if (packet[0] >> 4 == 4) put16(packet.data() + 4, uint16_t(be16(super.data() + 4) + packets.size()));
    if (protocol == TCP) {
      uint8_t* tcp = packet.data() + transport;
      put32(tcp + 4, be32(tcp + 4) + uint32_t(at - headers));
      if (end < super.size()) tcp[13] &= uint8_t(~0x09);  // FIN and PSH belong to the last
      if (at > headers) tcp[13] &= uint8_t(~0x80);        // CWR to the first
    } else {
      fixUdpLength(packet, transport);
    }
    fixIp(packet);
    fixChecksum(packet, transport, protocol);
    packets.push_back(std::move(packet));
  }
  return packets;
}

/** What the engine writes to the device, cut into the packets that it stands for; each must be one. */
inline std::vector<Bytes> packetsOf(const iovec* pieces, size_t count) {
  Bytes frame;
  for (size_t i = 0; i < count; i++) {
    const auto* from = static_cast<const uint8_t*>(pieces[i].iov_base);
    frame.insert(frame.end(), from, from + pieces[i].iov_len);
  }
  VnetHeader header;
  expect(frame.size() > VNET_HEADER, "a frame has a header and a packet");
  memcpy(&header, frame.data(), VNET_HEADER);
  const Bytes packet(frame.begin() + VNET_HEADER, frame.end());
  Flow flow;
  expect(readFlow(packet.data(), packet.size(), flow) && flow.length == packet.size(), "what is written is as long as it says");
  if (header.kind == 0) {
    expect(header.flags == 0 && count == 2, "a packet alone is complete");
    return {packet};
  }
  const uint8_t protocol = header.kind == VnetHeader::UDP_L4 ? UDP : TCP;
  expect(header.kind == VnetHeader::UDP_L4 || header.kind == (flow.family == 4 ? VnetHeader::TCP_V4 : VnetHeader::TCP_V6), "kinds are known");
  expect(flow.protocol == protocol && !flow.opaque && header.flags == VnetHeader::NEEDS_CHECKSUM && header.segment > 0, "it can be cut");
  expect(header.checksumStart == flow.transport && header.checksumOffset == (protocol == TCP ? 16 : 6), "the checksum is where it belongs");
  const size_t transportBytes = packet.size() - flow.transport;
  const size_t headers = flow.transport + (protocol == TCP ? size_t(packet[flow.transport + 12] >> 4) * 4 : 8);
  expect(header.headerBytes == headers && packet.size() > headers + header.segment, "a super-packet is more than one");
  expect(be16(packet.data() + flow.transport + header.checksumOffset) == slowSum(nullptr, 0, slowPseudoSum(packet.data(), protocol, transportBytes)),
         "the pseudo header's sum is there");
  expect(flow.family == 6 || slowSum(packet.data(), flow.transport) == 0xffff, "the IP header's checksum fits");
  return cut(packet, flow.transport, headers, header.segment, protocol);
}

/** A checksum of 0xffff says the same as one of 0 (RFC 1624 §3), and cutting gives the one that is usual. */
inline bool sameChecksum(uint16_t a, uint16_t b) { return a == b || (a % 0xffff == 0 && b % 0xffff == 0); }

/** Byte by byte, but for the two ways to write a checksum. */
inline bool samePacket(Bytes a, Bytes b) {
  if (a.size() != b.size()) return false;
  Flow flow;
  if (!readFlow(a.data(), a.size(), flow)) return false;
  const auto level = [&](size_t at) {
    if (at + 2 > a.size() || !sameChecksum(be16(a.data() + at), be16(b.data() + at))) return;
    put16(a.data() + at, 0);
    put16(b.data() + at, 0);
  };
  if (flow.family == 4) level(10);
  if (flow.protocol == TCP && !flow.opaque) level(flow.transport + 16u);
  return a == b;
}

inline void print(const char* title, const std::vector<Bytes>& packets, size_t index) {
  fprintf(stderr, "fuzz: %s:", title);
  for (size_t i = 0; index < packets.size() && i < packets[index].size(); i++) fprintf(stderr, " %02x", packets[index][i]);
  fputc('\n', stderr);
}

/** Says which is the first that differs. */
template <typename Equal>
bool samePackets(const std::vector<Bytes>& wanted, const std::vector<Bytes>& got, Equal equal) {
  for (size_t i = 0; i < std::max(wanted.size(), got.size()); i++) {
    if (i < wanted.size() && i < got.size() && equal(wanted[i], got[i])) continue;
    fprintf(stderr, "fuzz: packet %zu of %zu, where %zu are wanted\n", i, got.size(), wanted.size());
    print("wanted", wanted, i);
    print("got", got, i);
    return false;
  }
  return true;
}

}  // namespace isthmus::fuzz

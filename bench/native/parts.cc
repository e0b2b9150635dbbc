// Parts of native/core by themselves, without sockets, and what this machine costs: for `npm run bench`. An addon, so that
// the cryptography is Node's OpenSSL, which the product uses. Every time is in nanoseconds for one of what is counted.

#include <node_api.h>
#include <openssl/evp.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "esp.h"
#include "spd.h"

namespace {

using namespace isthmus;

constexpr size_t BATCH = 64;
constexpr size_t ROOM = 2048;

double now() {
  timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return double(at.tv_sec) * 1e9 + double(at.tv_nsec);
}

// Cryptography and framing

SelectorSet anything() {
  Selector all{4, 0, 0, 0xffff, {}, {}};
  all.end.fill(0xff);
  return {{all}, {all}};
}

template <typename S>
bool prepare(S& sa, const CipherSpec& cipher, bool encrypt) {
  sa.spi = 0x1234;
  sa.esn = true;
  sa.selectors = anything();
  const bool opened = sa.lanes.emplace_back(std::make_unique<Lane>())->cipher.open(cipher, encrypt);
  sa.shape = sa.lanes[0]->cipher.shape();
  return opened;
}

/** An inner UDP packet of that many bytes in all. */
void innerPacket(uint8_t* packet, size_t bytes) {
  memset(packet, 0, bytes);
  packet[0] = 0x45;
  put16(packet + 2, uint16_t(bytes));
  packet[8] = 64;
  packet[9] = 17;
  put32(packet + 12, 0x0a01000a);
  put32(packet + 16, 0x0a02000a);
  put16(packet + 10, foldSum(sumBytes(packet, 20, 0)));
}

struct Times {
  double seal = 0, open = 0;
};

/** Batches through the two functions the engine calls; only they are in the time. All zero: something was refused. */
Times measureEsp(const CipherSpec& cipher, size_t bytes, double nanoseconds) {
  OutboundSa out;
  InboundSa in(1024, true);
  if (!prepare(out, cipher, true) || !prepare(in, cipher, false)) return {};
  std::vector<uint8_t> room(BATCH * ROOM);
  size_t sizes[BATCH];
  Times times;
  size_t batches = 0;
  for (const double until = now() + nanoseconds; now() < until; batches++) {
    for (size_t i = 0; i < BATCH; i++) innerPacket(room.data() + i * ROOM + innerOffset(out), bytes);
    const double begin = now();
    for (size_t i = 0; i < BATCH; i++) {
      if (encapsulate(out, *out.lanes[0], room.data() + i * ROOM, bytes, sizes[i]) != Drop::none) return {};
    }
    const double middle = now();
    Inner inner;
    for (size_t i = 0; i < BATCH; i++) {
      if (decapsulate(in, *in.lanes[0], room.data() + i * ROOM, sizes[i], 0, inner) != Drop::none) return {};
    }
    times.seal += middle - begin;
    times.open += now() - middle;
  }
  const double packets = double(batches * BATCH);
  return {times.seal / packets, times.open / packets};
}

// Lookup

/** A network of its own for each, of one of four sizes, behind the gateway (10.0.0.0/8) and again beyond it (11.0.0.0/8). */
uint32_t networkBits(uint32_t index) { return 24 + 2 * (index % 4); }
uint32_t networkStart(uint32_t index) { return index << 8; }

std::shared_ptr<Policy> networkPair(uint32_t index) {
  const uint32_t start = networkStart(index), last = (1u << (32 - networkBits(index))) - 1;
  Selector local{4, 0, 0, 0xffff, {}, {}}, remote = local;
  put32(local.start.data(), 0x0a000000 + start);
  put32(local.end.data(), 0x0a000000 + start + last);
  put32(remote.start.data(), 0x0b000000 + start);
  put32(remote.end.data(), 0x0b000000 + start + last);
  auto policy = std::make_shared<Policy>();
  policy->id = index + 1;
  policy->order = int32_t(index);
  policy->selectors = {{local}, {remote}};
  return policy;
}

Flow flowIn(uint32_t index, uint32_t draw) {
  const uint32_t start = networkStart(index), mask = (1u << (32 - networkBits(index))) - 1;
  Flow flow{};
  flow.family = 4;
  flow.protocol = 6;
  put32(flow.source, 0x0a000000 + start + (draw & mask));
  put32(flow.destination, 0x0b000000 + start + (draw >> 8 & mask));
  flow.sourcePort = uint16_t(draw >> 16);
  flow.destinationPort = 443;
  return flow;
}

/**
 * Mean time of a lookup among `count` policies as the engine does it, through its cache: `flows` flows, each in a policy drawn
 * at random, in turn. Below 0: one found none.
 */
double measureLookup(uint32_t count, uint32_t flows, double nanoseconds) {
  std::vector<std::shared_ptr<Policy>> policies;
  for (uint32_t i = 0; i < count; i++) policies.push_back(networkPair(i));
  const Spd spd(std::move(policies), 1);
  FlowCache cache;
  std::mt19937 random(7);
  std::vector<Flow> all;
  for (uint32_t i = 0; i < flows; i++) all.push_back(flowIn(random() % count, uint32_t(random())));
  uint64_t found = 0, lookups = 0;
  uint32_t at = 0;
  const double begin = now();
  for (; now() - begin < nanoseconds; lookups += BATCH) {
    for (size_t i = 0; i < BATCH; i++, at = at + 1 == flows ? 0 : at + 1) found += cache.find(spd, all[at]).policy != nullptr;
  }
  const double end = now();
  return found == lookups ? (end - begin) / double(lookups) : -1;
}

// The machine

/** Bytes per nanosecond, which is GB/s. Blocks of a super-packet, so that they stay in the second cache. */
double measureCopy() {
  constexpr size_t BLOCK = 65536, TIMES = 40000;
  std::vector<uint8_t> from(BLOCK, 1), to(BLOCK);
  const double begin = now();
  for (size_t i = 0; i < TIMES; i++) {
    memcpy(to.data(), from.data(), BLOCK);
    asm volatile("" : : "r"(to.data()) : "memory");
  }
  return double(BLOCK * TIMES) / (now() - begin);
}

double measureAes(size_t bytes, size_t times) {
  const uint8_t key[32] = {1};
  uint8_t nonce[12] = {}, tag[16];
  std::vector<uint8_t> text(bytes);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nullptr, key, nullptr);
  const double begin = now();
  for (size_t i = 0; i < times; i++) {
    int out = 0;
    memcpy(nonce, &i, sizeof i);
    EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce);
    EVP_EncryptUpdate(context, text.data(), &out, text.data(), int(bytes));
    EVP_EncryptFinal_ex(context, text.data() + out, &out);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag);
  }
  const double end = now();
  EVP_CIPHER_CTX_free(context);
  return double(bytes * times) / (end - begin);
}

double measureCall() {
  constexpr int TIMES = 1'000'000;
  const double begin = now();
  for (int i = 0; i < TIMES; i++) syscall(SYS_getppid);
  return (now() - begin) / TIMES;
}

/** One thread wakes the other and is woken by it, both having slept for half a millisecond: half of the median way and back. */
double measureWake() {
  constexpr size_t TIMES = 1000;
  constexpr timespec APART{0, 500'000};
  const int there = eventfd(0, EFD_CLOEXEC), back = eventfd(0, EFD_CLOEXEC);
  const auto wait = [](int fd) {
    uint64_t ignored;
    return read(fd, &ignored, sizeof ignored) > 0;
  };
  const auto wake = [](int fd) {
    const uint64_t one = 1;
    return write(fd, &one, sizeof one) > 0;
  };
  std::thread other([&] {
    for (size_t i = 0; i < TIMES && wait(there) && wake(back); i++) {
    }
  });
  std::vector<double> trips;
  for (size_t i = 0; i < TIMES; i++) {
    nanosleep(&APART, nullptr);
    const double begin = now();
    if (!wake(there) || !wait(back)) break;
    trips.push_back(now() - begin);
  }
  other.join();
  close(there);
  close(back);
  std::sort(trips.begin(), trips.end());
  return trips[trips.size() / 2] / 2;
}

// What JavaScript sees; bench/parts.ts checks the arguments

napi_value numbers(napi_env env, std::initializer_list<double> values) {
  napi_value array;
  napi_create_array(env, &array);
  uint32_t at = 0;
  for (const double value : values) {
    napi_value number;
    napi_create_double(env, value, &number);
    napi_set_element(env, array, at++, number);
  }
  return array;
}

struct Words {
  static constexpr size_t MOST = 7;
  uint32_t values[MOST] = {};
  Words(napi_env env, napi_callback_info info) {
    napi_value given[MOST];
    size_t count = MOST;
    napi_get_cb_info(env, info, &count, given, nullptr, nullptr);
    for (size_t i = 0; i < count && i < MOST; i++) napi_get_value_uint32(env, given[i], &values[i]);
  }
};

/**
 * encryption (transform type 1), bytes of its key with its salt, integrity (type 3), bytes of its code and of its key, bytes of
 * the packet, milliseconds → seal, open
 */
napi_value jsEsp(napi_env env, napi_callback_info info) {
  const Words words(env, info);
  const auto [encryption, keyBytes, integrity, icvBytes, integrityKeyBytes, bytes, milliseconds] = words.values;
  uint8_t key[64], integrityKey[64];
  for (size_t i = 0; i < 64; i++) key[i] = integrityKey[i] = uint8_t(i * 7);
  CipherSpec cipher{};
  cipher.algorithm = Algorithm(encryption);
  cipher.key = key;
  cipher.keyBytes = keyBytes;
  cipher.integrity = Integrity(integrity);
  cipher.icvBytes = uint8_t(icvBytes);
  cipher.integrityKey = integrityKey;
  cipher.integrityKeyBytes = integrityKeyBytes;
  const Times times = measureEsp(cipher, bytes, milliseconds * 1e6);
  return numbers(env, {times.seal, times.open});
}

/** policies, flows, milliseconds → one lookup */
napi_value jsLookup(napi_env env, napi_callback_info info) {
  const Words words(env, info);
  return numbers(env, {measureLookup(words.values[0], words.values[1], words.values[2] * 1e6)});
}

/** → copy GB/s, AES-256-GCM GB/s at 64, 1420 and 16384 bytes, a system call, a wake-up */
napi_value jsMachine(napi_env env, napi_callback_info) {
  return numbers(env, {measureCopy(), measureAes(64, 500'000), measureAes(1420, 200'000), measureAes(16384, 40'000), measureCall(), measureWake()});
}

napi_value initialise(napi_env env, napi_value exports) {
  const std::pair<const char*, napi_callback> functions[] = {{"esp", jsEsp}, {"lookup", jsLookup}, {"machine", jsMachine}};
  for (const auto& [name, function] : functions) {
    napi_value made;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &made);
    napi_set_named_property(env, exports, name, made);
  }
  return exports;
}

}  // namespace

NAPI_MODULE(bench, initialise)

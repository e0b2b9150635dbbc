// Parts of native/core by themselves, without sockets, and what this machine costs: for `npm run bench`. An addon, so that
// the cryptography is Node's OpenSSL, which the product uses. Every time is in nanoseconds for one of what is counted.

#include <node_api.h>
#include <openssl/evp.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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
Times measureEsp(const CipherSpec& cipher, size_t bytes, size_t batches) {
  OutboundSa out;
  InboundSa in(1024, true);
  if (!prepare(out, cipher, true) || !prepare(in, cipher, false)) return {};
  std::vector<uint8_t> room(BATCH * ROOM);
  size_t sizes[BATCH];
  Times times;
  for (size_t batch = 0; batch < batches; batch++) {
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

/** Ten million addresses in 10.0.0.0/8 are shared out among the policies, each a pair of networks of its own. */
std::shared_ptr<Policy> networkPair(uint32_t index, uint32_t count) {
  const uint32_t size = (1u << 24) / count, start = 0x0a000000 + index * size;
  Selector local{4, 0, 0, 0xffff, {}, {}}, remote = local;
  put32(local.start.data(), start);
  put32(local.end.data(), start + size - 1);
  put32(remote.start.data(), start + 0x01000000);
  put32(remote.end.data(), start + 0x01000000 + size - 1);
  auto policy = std::make_shared<Policy>();
  policy->id = index + 1;
  policy->order = int32_t(index);
  policy->selectors = {{local}, {remote}};
  return policy;
}

Flow flowIn(uint32_t index, uint32_t count, uint32_t offset) {
  const uint32_t size = (1u << 24) / count;
  Flow flow{};
  flow.family = 4;
  flow.protocol = 6;
  put32(flow.source, 0x0a000000 + index * size + offset % size);
  put32(flow.destination, 0x0b000000 + index * size + offset % size);
  flow.sourcePort = uint16_t(offset);
  flow.destinationPort = 443;
  return flow;
}

/** Mean time of a lookup among `count` policies: `flows` flows, each in a policy drawn at random, over and over. Below 0: none found. */
double measureLookup(uint32_t count, uint32_t flows, uint32_t lookups, bool cached) {
  std::vector<std::shared_ptr<Policy>> policies;
  for (uint32_t i = 0; i < count; i++) policies.push_back(networkPair(i, count));
  const Spd spd(std::move(policies), 1);
  FlowCache cache;
  std::mt19937 random(7);
  std::vector<Flow> all;
  for (uint32_t i = 0; i < flows; i++) all.push_back(flowIn(random() % count, count, random()));
  uint64_t found = 0;
  const double begin = now();
  for (uint32_t i = 0, at = 0; i < lookups; i++, at = at + 1 == flows ? 0 : at + 1) found += (cached ? cache.find(spd, all[at]).policy : spd.find(all[at])) != nullptr;
  const double end = now();
  return found == lookups ? (end - begin) / lookups : -1;
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

/** One thread wakes the other, to and fro: half of the way there and back. */
double measureWake() {
  constexpr int TIMES = 20'000;
  const int there = eventfd(0, EFD_CLOEXEC), back = eventfd(0, EFD_CLOEXEC);
  const auto pass = [](int from, int to) {
    uint64_t one = 1;
    return read(from, &one, sizeof one) > 0 && write(to, &one, sizeof one) > 0;
  };
  std::thread other([&] {
    for (int i = 0; i < TIMES && pass(there, back); i++) {
    }
  });
  const uint64_t one = 1;
  const double begin = now();
  (void)!write(there, &one, sizeof one);
  for (int i = 1; i < TIMES && pass(back, there); i++) {
  }
  uint64_t last;
  (void)!read(back, &last, sizeof last);
  const double end = now();
  other.join();
  close(there);
  close(back);
  return (end - begin) / TIMES / 2;
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
  uint32_t values[5] = {};
  Words(napi_env env, napi_callback_info info) {
    napi_value given[5];
    size_t count = 5;
    napi_get_cb_info(env, info, &count, given, nullptr, nullptr);
    for (size_t i = 0; i < count && i < 5; i++) napi_get_value_uint32(env, given[i], &values[i]);
  }
};

/** What `esp` measures, by index. */
constexpr Algorithm MEASURED[] = {Algorithm::AesGcm16, Algorithm::ChaCha20Poly1305, Algorithm::AesCbc};

/** algorithm, bytes of the key with its salt, bits of the digest, bytes of the packet, batches → seal, open */
napi_value jsEsp(napi_env env, napi_callback_info info) {
  const Words words(env, info);
  const auto [algorithm, keyBytes, digestBits, bytes, batches] = words.values;
  uint8_t key[64], integrity[64];
  for (size_t i = 0; i < 64; i++) key[i] = integrity[i] = uint8_t(i * 7);
  CipherSpec cipher{};
  cipher.algorithm = MEASURED[algorithm % (sizeof MEASURED / sizeof MEASURED[0])];
  cipher.key = key;
  cipher.keyBytes = keyBytes;
  cipher.integrity = digestBits == 512 ? Integrity::HmacSha512 : digestBits == 384 ? Integrity::HmacSha384 : Integrity::HmacSha256;
  cipher.icvBytes = uint8_t(digestBits / 16);
  cipher.integrityKey = integrity;
  cipher.integrityKeyBytes = digestBits / 8;
  const Times times = measureEsp(cipher, bytes, batches);
  return numbers(env, {times.seal, times.open});
}

/** policies, flows, lookups, whether the cache is asked first → one lookup */
napi_value jsLookup(napi_env env, napi_callback_info info) {
  const Words words(env, info);
  return numbers(env, {measureLookup(words.values[0], words.values[1], words.values[2], words.values[3] != 0)});
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

// The core without Node, for the sanitizers: sockets and threads at work on loopback and a TUN of a network namespace of
// its own, while SAs are added, switched and removed. Says what passed; exit code 1 when nothing did.

#include <arpa/inet.h>
#include <linux/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <thread>

#include "echo.h"
#include "engine.h"

using namespace isthmus;

namespace {

using Bytes = std::vector<uint8_t>;

constexpr int ROUNDS = 10000;
constexpr uint16_t IKE_PORT = 500, NAT_PORT = 4500;
constexpr uint32_t POLICY = 1, LINKED_POLICY = 2, LINK = 7;
/** SPIs of the policy of the link lie so far beyond those of the other. */
constexpr uint32_t LINKED_SPIS = 1 << 20;
constexpr char DEVICE[] = "isthmus-driver", LINK_DEVICE[] = "driver-link";

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "driver: %s\n", what);
  exit(1);
}

Address address(const char* text) {
  Address made{4, {}};
  inet_pton(AF_INET, text, made.bytes.data());
  return made;
}

Address address6(const char* text) {
  Address made{6, {}};
  inet_pton(AF_INET6, text, made.bytes.data());
  return made;
}

void setInterface(const char* name, const char* ip, const char* mask) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  auto* inet = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  inet->sin_family = AF_INET;
  inet_pton(AF_INET, ip, &inet->sin_addr);
  bool ok = ioctl(fd, SIOCSIFADDR, &request) == 0;
  inet_pton(AF_INET, mask, &inet->sin_addr);
  ok = ok && ioctl(fd, SIOCSIFNETMASK, &request) == 0;
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  ok = ok && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  close(fd);
  if (!ok) fail("an interface cannot be set up");
}

void setMtu(const char* name, int mtu) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_mtu = mtu;
  const bool ok = ioctl(fd, SIOCSIFMTU, &request) == 0;
  close(fd);
  if (!ok) fail("an interface has another MTU");
}

Selector anything(const char* start, const char* end) {
  Selector selector{4, 0, 0, 0xffff, {}, {}};
  inet_pton(AF_INET, start, selector.start.data());
  inet_pton(AF_INET, end, selector.end.data());
  return selector;
}

struct Choice {
  Algorithm algorithm;
  size_t keyBytes;
  Integrity integrity = Integrity::None;
  uint8_t icvBytes = 0;
  size_t integrityKeyBytes = 0;
};

constexpr Choice CHOICES[] = {
    {Algorithm::AesGcm16, 36},
    {Algorithm::AesGcm12, 28},
    {Algorithm::AesGcm8, 20},
    {Algorithm::ChaCha20Poly1305, 36},
    {Algorithm::AesCcm16, 35},
    {Algorithm::AesCcm12, 27},
    {Algorithm::AesCcm8, 19},
    {Algorithm::AesGmac, 36},
    {Algorithm::AesCbc, 32, Integrity::HmacSha256, 16, 32},
    {Algorithm::AesCbc, 24, Integrity::HmacSha384, 24, 48},
    {Algorithm::AesCbc, 16, Integrity::HmacSha512, 32, 64},
    {Algorithm::AesCtr, 36, Integrity::HmacSha256, 12, 32},
    {Algorithm::AesCtr, 28, Integrity::HmacSha1, 12, 20},
    {Algorithm::AesCtr, 20, Integrity::AesCmac, 12, 16},
    {Algorithm::Null, 0, Integrity::AesXcbc, 12, 16},
};
/** What AH is made of. */
constexpr Choice AH_CHOICES[] = {
    {Algorithm::Null, 0, Integrity::HmacSha256, 16, 32}, {Algorithm::Null, 0, Integrity::HmacSha384, 24, 48}, {Algorithm::Null, 0, Integrity::HmacSha512, 32, 64},
    {Algorithm::Null, 0, Integrity::HmacSha1, 12, 20},   {Algorithm::Null, 0, Integrity::AesXcbc, 12, 16},    {Algorithm::Null, 0, Integrity::AesCmac, 12, 16},
    {Algorithm::Null, 0, Integrity::Aes128Gmac, 16, 20}, {Algorithm::Null, 0, Integrity::Aes192Gmac, 16, 28}, {Algorithm::Null, 0, Integrity::Aes256Gmac, 16, 36},
};
constexpr size_t KEYS = 64;

CipherSpec cipherOf(const Choice& choice, const uint8_t* keys) {
  return {choice.algorithm, keys, choice.keyBytes, choice.integrity, choice.icvBytes, keys, choice.integrityKeyBytes};
}

/** From ourselves to ourselves: the inbound SA has the keys of the outbound one. One algorithm after the other, some in AH. */
SaSpec spec(uint32_t spi, const uint8_t* keys) {
  SaSpec made{};
  made.spi = spi;
  made.policy = spi < LINKED_SPIS ? POLICY : LINKED_POLICY;
  made.local = made.remote = address("127.0.0.1");
  made.udp = true;
  made.localPort = made.remotePort = NAT_PORT;
  made.esn = spi % 2 == 0;
  made.window = 1024;
  made.selectors = {{anything("10.0.0.0", "10.255.255.255")}, {anything("10.0.0.0", "10.255.255.255")}};
  made.cipher = cipherOf(CHOICES[spi % std::size(CHOICES)], keys);
  if (spi % 4 != 3) return made;
  made.form = Form::AhTunnel;
  made.udp = false;
  made.cipher = cipherOf(AH_CHOICES[spi / 4 % std::size(AH_CHOICES)], keys);
  return made;
}

/** Hosts behind the gateway: UDP of many sizes into both devices. */
void sendTraffic(const std::atomic<bool>& running) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  uint8_t payload[1400] = {};
  for (uint32_t i = 0; running; i++) {
    to.sin_addr.s_addr = htonl((i % 3 == 0 ? 0x0a400000 : 0x0a020000) | (i & 0xff));
    (void)!sendto(fd, payload, i * 37 % sizeof payload, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
    if (i % 64 == 0) usleep(200);
  }
  close(fd);
}

/** What was sent with the SA before this one has left. */
void waitForTurn(const Engine& engine) {
  for (int wait = 0; !engine.hasTurned(); wait++) {
    if (wait == 10000) fail("a thread still sends with the SA of before");
    usleep(100);
  }
  usleep(300);
}

/** The peer sends with it before we have it: what comes in between waits, but where nobody expects it any more. */
void changeSa(Engine& engine, uint32_t spi) {
  uint8_t keys[KEYS];
  for (size_t i = 0; i < sizeof keys; i++) keys[i] = uint8_t(spi + i * 7);
  const SaSpec made = spec(spi, keys);
  engine.expectInbound(spi);
  if (engine.addOutbound(made) != Applied::ok) fail("an SA was refused");
  if (engine.useOutbound(made.policy, spi) != Applied::ok) fail("an SA cannot be used");
  if (spi % 8 == 0) waitForTurn(engine);
  if (spi % 32 == 0) engine.forgetInbound(spi);
  if (engine.addInbound(made) != Applied::ok) fail("an SA was refused");
  engine.remove(false, spi - 1);
  engine.remove(true, spi - 2);
}

std::shared_ptr<Policy> policyOf(uint32_t id, uint32_t link) {
  auto policy = std::make_shared<Policy>();
  policy->id = id;
  policy->link = link;
  policy->acquire = true;
  policy->selectors = {{anything("10.0.0.0", "10.255.255.255")}, {anything("10.0.0.0", "10.255.255.255")}};
  return policy;
}

/** The device goes and comes, as does its policy, while packets are read from it and written to it. */
void changeLink(Engine& engine, uint32_t round) {
  if (round % 2 == 0) engine.closeLink(LINK);
  if (round % 3 == 0) engine.removePolicy(LINKED_POLICY);
  engine.publish();
  engine.addPolicy(policyOf(LINKED_POLICY, LINK));
  engine.publish();
  const std::string why = engine.openLink(LINK_DEVICE, LINK);
  if (!why.empty()) fail(why.c_str());
}

void changeAll(Engine& engine, Port& port) {
  for (uint32_t spi = 256; spi < 256 + ROUNDS; spi++) {
    if (spi % 100 == 0) changeLink(engine, spi / 100);
    changeSa(engine, spi);
    if (spi % 4 == 0) changeSa(engine, LINKED_SPIS + spi / 4);
    if (spi % 16 == 0) port.know({spi, spi + 1}, {spi - 16, spi - 15});
    if (spi % 50 == 0) {
      engine.takeEvents();
      port.take();
      usleep(1000);
    }
  }
}

/** RFC 4303 §3.3.3: an SA whose number is used up sends nothing more. */
void checkExhaustion() {
  const uint8_t keys[KEYS] = {};
  Engine engine;
  SaSpec made = spec(301, keys);
  if (made.form != Form::EspTunnel) fail("another form is wanted here");
  made.esn = false;
  engine.addOutbound(made);
  const auto sa = engine.outboundSas().all().at(301);
  sa->sequence = 0xfffffffe;
  uint8_t buffer[256] = {};
  buffer[innerOffset(*sa)] = 0x45;
  size_t size = 0;
  if (encapsulate(*sa, *sa->lanes[0], buffer, 40, size) != Drop::none) fail("the last number is not used");
  if (encapsulate(*sa, *sa->lanes[0], buffer, 40, size) != Drop::sequence) fail("a number was used twice");
}

/** Every algorithm opens what it sealed, time after time in one context, and nothing that has another bit. */
void checkCiphers() {
  uint8_t keys[KEYS], text[200], esp[8 + 16 + sizeof text + 32];
  for (size_t i = 0; i < sizeof keys; i++) keys[i] = uint8_t(i * 11);
  for (size_t i = 0; i < sizeof text; i++) text[i] = uint8_t(i);
  for (uint32_t spi = 256; spi < 256 + 2 * std::size(CHOICES); spi++) {
    SaSpec made = spec(spi, keys);
    made.cipher = cipherOf(CHOICES[spi % std::size(CHOICES)], keys);
    const bool esn = spi % 4 < 2;
    Cipher sealing, opening;
    if (!sealing.open(made.cipher, true) || !opening.open(made.cipher, false)) fail("an algorithm is not there");
    const size_t before = 8 + sealing.shape().ivBytes, icv = sealing.shape().icvBytes;
    for (uint64_t sequence = 0x100000001; sequence < 0x100000010; sequence++) {
      const size_t bytes = 16 * (sequence % 12 + 1);
      put32(esp, spi);
      put32(esp + 4, uint32_t(sequence));
      memcpy(esp + before, text, bytes);
      if (!sealing.seal(esp, bytes, sequence, esn)) fail("an algorithm does not seal");
      uint8_t forged[sizeof esp];
      memcpy(forged, esp, sizeof esp);
      forged[8 + sequence % (before - 8 + bytes + icv)] ^= 0x10;
      if (opening.unseal(forged, before + bytes + icv, sequence, esn)) fail("a forged packet is authentic");
      if (!opening.unseal(esp, before + bytes + icv, sequence, esn)) fail("an algorithm does not open what it sealed");
      if (memcmp(esp + before, text, bytes) != 0) fail("an algorithm gives back something else");
    }
  }
}

/** At most 64 frames and 256 KB a policy, the oldest go; in order once the policy can send; five seconds at the longest. */
void checkHold() {
  using State = Hold::State;
  Hold hold;
  const std::vector<uint8_t> frame(60000);
  const auto add = [&hold](uint32_t policy, const uint8_t* bytes, size_t size, uint64_t now) { return hold.add(LINK, policy, bytes, size, now); };
  if (!add(1, frame.data(), 100, 0).first || add(1, frame.data(), 100, 10).first) fail("an SA is not asked for once");
  for (uint8_t i = 2; i < 100; i++) add(1, &i, 1, 20);
  if (add(2, frame.data(), frame.size(), 1000).dropped != 0) fail("one policy takes the room of another");
  for (int i = 0; i < 3; i++) add(2, frame.data(), frame.size(), 1000);
  if (add(2, frame.data(), frame.size(), 1000).dropped != 1) fail("more than 256 KB are kept");
  const auto ready = [](uint32_t, uint32_t policy) { return policy == 1 ? State::Ready : State::Waiting; };
  const Hold::Taken taken = hold.take(3000, ready);
  if (taken.ready.size() != 1 || taken.ready[0].link != LINK) fail("what is held is not of its device");
  const auto& frames = taken.ready[0].frames;
  if (frames.size() != Hold::MOST_PACKETS || frames.front()[0] != 36 || frames.back()[0] != 99) fail("what is held is not the last 64 in order");
  if (hold.take(1000 + Hold::LONGEST, ready).expired != 0 || hold.take(1001 + Hold::LONGEST, ready).expired != 4) fail("what is held goes too early or too late");
  if (!hold.empty()) fail("something is kept for ever");
}

/** An echo request over loopback, answered by the kernel of the namespace. */
void checkEcho() {
  EchoSockets echo;
  if (!echo.take().empty()) fail("an echo reply without a request");
  std::vector<uint8_t> request = {8, 0, 0, 0, 0x12, 0x34, 0, 7};
  put16(request.data() + 2, foldSum(sumBytes(request.data(), request.size(), 0)));
  int64_t sentAt = 0;
  const std::string failed = echo.send(address("127.0.0.1"), address("127.0.0.1"), request.data(), request.size(), false, sentAt);
  if (!failed.empty()) fail(failed.c_str());
  for (int attempt = 0; attempt < 1000; attempt++, usleep(1000)) {
    const std::vector<EchoSockets::Reply> replies = echo.take();
    if (replies.empty()) continue;
    const EchoSockets::Reply& reply = replies[0];
    if (replies.size() != 1 || reply.bytes.size() != 28 || reply.bytes[20] != 0 || be16(&reply.bytes[24]) != 0x1234)
      fail("an echo reply that is none, or the request as one");
    if (!(reply.source == address("127.0.0.1")) || reply.receivedAt < sentAt) fail("an echo reply from elsewhere, or from before");
    return;
  }
  fail("no echo reply");
}

// Packets that bring their IP header, over the raw sockets

/** A packet of a host: IPv4, or IPv6 behind hop-by-hop options that routers may change, and options for its end. */
Bytes hostPacket(const Address& host, size_t payload) {
  Bytes packet = {0x46, 0x28, 0, 0, 0, 0, 0, 0, 33, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 148, 4, 0, 0};
  if (host.family == 6) {
    packet.assign(40, 0);
    put32(packet.data(), 0x62845678);
    packet[6] = 0;
    packet[7] = 33;
    const uint8_t options[] = {60, 0, 0x3e, 4, 1, 2, 3, 4, 17, 0, 1, 4, 0, 0, 0, 0};
    packet.insert(packet.end(), options, options + sizeof options);
  }
  const bool v6 = host.family == 6;
  memcpy(packet.data() + (v6 ? 8 : 12), host.bytes.data(), v6 ? 16 : 4);
  memcpy(packet.data() + (v6 ? 24 : 16), host.bytes.data(), v6 ? 16 : 4);
  for (size_t i = 0; i < payload + 8; i++) packet.push_back(uint8_t(i));
  put16(packet.data() + (v6 ? 4 : 2), uint16_t(packet.size() - (v6 ? 40 : 0)));
  return packet;
}

/** Opens what arrives, on the port's thread. */
struct Opener final : EspReceiver {
  explicit Opener(InboundSa& sa) : sa(sa) {}
  void begin(size_t) override {}
  void end(size_t) override {}
  void receive(size_t, const Arrival& arrival) override {
    Inner inner;
    Lane& lane = *sa.lanes[0];
    const Drop why = sa.form == Form::EspTransport ? decapsulateTransport(sa, lane, arrival, inner)
                     : isAh(sa.form)               ? verify(sa, lane, arrival, inner)
                                                   : decapsulate(sa, lane, arrival.esp, arrival.bytes, arrival.ecn, inner);
    if (why != Drop::none) fail(dropNames[size_t(why)]);
    last.assign(inner.packet, inner.packet + inner.bytes);
    opened++;
  }
  InboundSa& sa;
  Bytes last;
  std::atomic<uint64_t> opened{0};
};

SelectorSet everyone(uint8_t family) {
  Selector all{family, 0, 0, 0xffff, {}, {}};
  all.end.fill(0xff);
  return {{all}, {all}};
}

Drop wrapAs(OutboundSa& sa, uint8_t* buffer, size_t bytes, size_t& size) {
  Lane& lane = *sa.lanes[0];
  if (isAh(sa.form)) return authenticate(sa, lane, buffer, bytes, {}, size);
  return sa.form == Form::EspTransport ? encapsulateTransport(sa, lane, buffer, bytes, size) : encapsulate(sa, lane, buffer, bytes, size);
}

/** Bytes sent through a raw socket come back through one with everything that a check needs; their size in all. */
size_t overLoopback(Form form, const Address& host, const Choice& choice, size_t payload) {
  const uint8_t keys[KEYS] = {9, 8, 7};
  Engine engine;
  SaSpec made{};
  made.form = form;
  made.spi = 0x1234;
  made.local = made.remote = host;
  made.esn = true;
  made.window = 64;
  made.selectors = everyone(host.family);
  made.cipher = cipherOf(choice, keys);
  if (engine.addOutbound(made) != Applied::ok || engine.addInbound(made) != Applied::ok) fail("an SA was refused");
  OutboundSa& out = *engine.outboundSas().all().at(made.spi);
  Opener opener(*engine.inboundSas().all().at(made.spi));
  Port port;
  Port::Options options;
  options.addresses = {host};
  const std::string problem = port.open(options);
  if (!problem.empty()) fail(problem.c_str());
  port.start(&opener, nullptr, nullptr);
  const Bytes packet = hostPacket(host, payload);
  Bytes buffer(packet.size() + 256);
  const size_t before = isAh(form) ? authenticatedOffset(out) : innerOffset(out);
  size_t size = 0;
  for (uint64_t sent = 1; sent <= 3; sent++) {
    memcpy(buffer.data() + before, packet.data(), packet.size());
    if (wrapAs(out, buffer.data(), packet.size(), size) != Drop::none) fail("a packet cannot be protected");
    const Train train{&out, {}, buffer.data(), size, size, 1};
    if (port.sendEsp(0, &train, 1) != 0) fail("a packet cannot be sent");
    for (int wait = 0; opener.opened < sent && wait < 5000; wait++) usleep(1000);
    if (opener.opened != sent) fail("a packet did not come back");
    Bytes& came = opener.last;
    // Identification and checksum of an IPv4 packet are made on the way.
    for (const size_t at : {4, 10}) {
      if (host.family == 4 && isTransport(form)) memcpy(came.data() + at, packet.data() + at, 2);
    }
    if (came != packet) fail("a packet came back as another one");
  }
  port.stop();
  return size;
}

void checkOverLoopback() {
  const Choice gcm{Algorithm::AesGcm16, 20};
  for (const Address& host : {address("127.0.0.1"), address6("::1")}) {
    for (const Choice& choice : AH_CHOICES) {
      overLoopback(Form::AhTunnel, host, choice, 100);
      overLoopback(Form::AhTransport, host, choice, 101);
    }
    overLoopback(Form::EspTransport, host, gcm, 102);
    overLoopback(Form::EspTunnel, host, gcm, 103);
    // Larger than the device takes: fragments, by us where the packet brings its header.
    setMtu("lo", 1280);
    for (const Form form : {Form::AhTunnel, Form::AhTransport, Form::EspTransport, Form::EspTunnel})
      overLoopback(form, host, isAh(form) ? AH_CHOICES[0] : gcm, 4001);
    setMtu("lo", 65536);
  }
}

/** Packets that the engine wrote to a device of this namespace. */
unsigned long written(const char* device) {
  FILE* file = fopen("/proc/net/dev", "re");
  unsigned long packets = 0, count;
  char line[512], name[32];
  while (file && fgets(line, sizeof line, file)) {
    if (sscanf(line, " %31[^:]: %*u %lu", name, &count) == 2 && strcmp(name, device) == 0) packets = count;
  }
  if (file) fclose(file);
  return packets;
}

/** Sockets, devices and threads at work; false when nothing passed or something was not authentic. */
bool work(size_t workers) {
  Port port;
  Engine engine({workers, 20});
  std::string problem = engine.openLink(DEVICE, SHARED_LINK);
  if (problem.empty()) problem = engine.openLink(LINK_DEVICE, LINK);
  if (problem.empty()) {
    setInterface(DEVICE, "10.1.0.1", "255.0.0.0");
    setInterface(LINK_DEVICE, "10.64.0.1", "255.192.0.0");
    Port::Options options;
    options.addresses = {address("127.0.0.1")};
    options.ikePort = IKE_PORT;
    options.natPort = NAT_PORT;
    options.workers = workers;
    options.spin = 20;
    problem = port.open(options);
  }
  if (!problem.empty()) fail(problem.c_str());
  engine.addPolicy(policyOf(POLICY, SHARED_LINK));
  engine.addPolicy(policyOf(LINKED_POLICY, LINK));
  engine.publish();
  engine.start(&port, nullptr, nullptr);
  port.start(&engine, nullptr, nullptr);
  std::atomic<bool> running{true};
  std::thread hosts([&running] { sendTraffic(running); });
  changeAll(engine, port);
  usleep(100'000);
  running = false;
  hosts.join();
  uint64_t in = 0, out = 0;
  for (const auto& [spi, sa] : engine.inboundSas().all()) in += sa->packets();
  for (const auto& [spi, sa] : engine.outboundSas().all()) out += sa->packets();
  const uint64_t forged = engine.inboundDrops(size_t(Drop::authentication)), early = engine.inboundDrops(size_t(Drop::early));
  port.stop();
  engine.stop();
  const unsigned long shared = written(DEVICE), linked = written(LINK_DEVICE);
  printf("%zu worker%s, %d SAs added, switched and removed; through the last ones %lu packets out, %lu in, %lu not authentic, %lu too early; %lu to the shared device, %lu to the link's\n",
         workers, workers == 1 ? "" : "s", ROUNDS, (unsigned long)out, (unsigned long)in, (unsigned long)forged, (unsigned long)early, shared, linked);
  return in > 0 && out > 0 && forged == 0 && shared > 0 && linked > 0;
}

}  // namespace

int main() {
  checkCiphers();
  checkHold();
  if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) fail("no network namespace can be made here");
  checkExhaustion();
  setInterface("lo", "127.0.0.1", "255.0.0.0");
  checkEcho();
  checkOverLoopback();
  const bool one = work(1), two = work(2);
  return one && two ? 0 : 1;
}

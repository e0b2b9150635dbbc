// What JavaScript sees of core/. Arguments are checked in TypeScript (src/native.ts); a wrong kind here throws a TypeError.

#include <node_api.h>

#include <memory>
#include <string>
#include <vector>

#include "clock.h"
#include "echo.h"
#include "engine.h"
#include "netlink.h"
#include "nftables.h"

namespace {

using namespace isthmus;

/** One daemon's: the sockets, and what protects packets, the engine or the kernel, which is listened to. */
struct Plane {
  explicit Plane(const EngineOptions& options) : engine(options) {}
  Port port;
  Engine engine;
  NetlinkListener kernel;
  EchoSockets echo;
  bool kernelEsp = false;
  napi_threadsafe_function wake = nullptr;
  bool running = false;

  void stop(napi_threadsafe_function_release_mode mode) {
    if (!running) return;
    running = false;
    port.stop();
    engine.stop();
    kernel.stop();
    napi_release_threadsafe_function(wake, mode);
  }
};

// Reading arguments

struct Bytes {
  const uint8_t* data = nullptr;
  size_t length = 0;
};

class Arguments {
 public:
  static constexpr size_t MOST = 27;

  Arguments(napi_env env, napi_callback_info info) : env_(env) { napi_get_cb_info(env, info, &count_, values_, nullptr, nullptr); }

  uint32_t number() {
    uint32_t value = 0;
    check(napi_get_value_uint32(env_, next(), &value));
    return value;
  }
  int32_t integer() {
    int32_t value = 0;
    check(napi_get_value_int32(env_, next(), &value));
    return value;
  }
  uint64_t big() {
    uint64_t value = 0;
    bool lossless = true;
    check(napi_get_value_bigint_uint64(env_, next(), &value, &lossless));
    return value;
  }
  bool flag() {
    bool value = false;
    check(napi_get_value_bool(env_, next(), &value));
    return value;
  }
  std::string text() {
    char buffer[64] = "";
    size_t length = 0;
    check(napi_get_value_string_utf8(env_, next(), buffer, sizeof buffer, &length));
    return std::string(buffer, length);
  }
  Bytes bytes() { return bytesOf(next()); }
  Bytes bytesOf(napi_value value) {
    Bytes bytes;
    void* data = nullptr;
    napi_typedarray_type type;
    check(napi_get_typedarray_info(env_, value, &type, &bytes.length, &data, nullptr, nullptr));
    if (ok_ && type != napi_uint8_array) ok_ = false;
    bytes.data = static_cast<const uint8_t*>(data);
    return ok_ ? bytes : Bytes{};
  }
  /** An array of byte arrays. */
  std::vector<Bytes> manyBytes() {
    const napi_value array = next();
    uint32_t length = 0;
    check(napi_get_array_length(env_, array, &length));
    std::vector<Bytes> all;
    for (uint32_t i = 0; ok_ && i < length; i++) {
      napi_value element;
      check(napi_get_element(env_, array, i, &element));
      all.push_back(bytesOf(element));
    }
    return all;
  }
  Address address() { return addressOf(bytes()); }
  Address addressOf(Bytes bytes) {
    Address address{};
    if (bytes.length != 4 && bytes.length != 16) {
      ok_ = false;
      return address;
    }
    address.family = bytes.length == 4 ? 4 : 6;
    memcpy(address.bytes.data(), bytes.data, bytes.length);
    return address;
  }
  /** Family 0 where no bytes are given. */
  Address optionalAddress() {
    const Bytes given = bytes();
    return given.length == 0 ? Address{} : addressOf(given);
  }
  Endpoint endpoint() {
    const Address at = address();
    return {at, uint16_t(number())};
  }
  /** Forty bytes each: family, protocol, start port, end port, two of nothing, start, end. */
  std::vector<Selector> selectors() {
    constexpr size_t SIZE = 40;
    const Bytes packed = bytes();
    std::vector<Selector> all;
    for (size_t at = 0; at + SIZE <= packed.length; at += SIZE) {
      const uint8_t* p = packed.data + at;
      Selector selector{p[0], p[1], be16(p + 2), be16(p + 4), {}, {}};
      memcpy(selector.start.data(), p + 8, 16);
      memcpy(selector.end.data(), p + 24, 16);
      all.push_back(selector);
    }
    return all;
  }
  napi_value value() { return next(); }
  Plane* plane() {
    void* data = nullptr;
    check(napi_get_value_external(env_, next(), &data));
    return static_cast<Plane*>(data);
  }
  NetlinkExchange* dump() {
    void* data = nullptr;
    check(napi_get_value_external(env_, next(), &data));
    return static_cast<NetlinkExchange*>(data);
  }
  /** False, and an exception waits in JavaScript, when anything was of the wrong kind. */
  bool ok() {
    if (!ok_) napi_throw_type_error(env_, nullptr, "isthmus.node: argument of the wrong kind");
    return ok_;
  }

 private:
  napi_value next() {
    if (at_ >= count_ || at_ >= MOST) {
      ok_ = false;
      napi_value none;
      napi_get_undefined(env_, &none);
      return none;
    }
    return values_[at_++];
  }
  void check(napi_status status) {
    if (status != napi_ok) ok_ = false;
  }

  napi_env env_;
  napi_value values_[MOST];
  size_t count_ = MOST, at_ = 0;
  bool ok_ = true;
};

// Making results

napi_value toNumber(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

napi_value toText(napi_env env, const std::string& value) {
  napi_value result;
  napi_create_string_utf8(env, value.data(), value.size(), &result);
  return result;
}

napi_value toFlag(napi_env env, bool value) {
  napi_value result;
  napi_get_boolean(env, value, &result);
  return result;
}

napi_value toBytes(napi_env env, const uint8_t* bytes, size_t length) {
  napi_value buffer, result;
  void* data = nullptr;
  napi_create_arraybuffer(env, length, &data, &buffer);
  if (length > 0) memcpy(data, bytes, length);
  napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result);
  return result;
}

napi_value toAddress(napi_env env, const Address& address) { return toBytes(env, address.bytes.data(), address.family == 4 ? 4 : 16); }

napi_value toCounters(napi_env env, const std::vector<uint64_t>& values) {
  napi_value buffer, result;
  void* data = nullptr;
  napi_create_arraybuffer(env, values.size() * 8, &data, &buffer);
  if (!values.empty()) memcpy(data, values.data(), values.size() * 8);
  napi_create_typedarray(env, napi_biguint64_array, values.size(), buffer, 0, &result);
  return result;
}

/** An array of values. */
class List {
 public:
  explicit List(napi_env env) : env_(env) { napi_create_array(env, &array_); }
  void push(napi_value value) { napi_set_element(env_, array_, count_++, value); }
  napi_value done() const { return array_; }

 private:
  napi_env env_;
  napi_value array_;
  uint32_t count_ = 0;
};

// The clock, netlink

napi_value jsBootTime(napi_env env, napi_callback_info) { return toNumber(env, double(bootTime())); }

napi_value jsNetlink(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const int family = arguments.integer();
  const Bytes request = arguments.bytes();
  const int answers = arguments.integer();
  if (!arguments.ok()) return nullptr;
  std::vector<uint8_t> answer;
  const std::string failed = netlinkRequest(family, request.data, request.length, answers, answer);
  return failed.empty() ? toBytes(env, answer.data(), answer.size()) : toText(env, failed);
}

/** A request whose answer comes in pieces; it goes away with the object. */
napi_value jsDump(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const int family = arguments.integer();
  const Bytes request = arguments.bytes();
  if (!arguments.ok()) return nullptr;
  auto* dump = new NetlinkExchange();
  const std::string failed = dump->send(family, request.data, request.length, 1);
  if (!failed.empty()) {
    delete dump;
    return toText(env, failed);
  }
  napi_value result;
  napi_create_external(
      env, dump, [](napi_env, void* data, void*) { delete static_cast<NetlinkExchange*>(data); }, nullptr, &result);
  return result;
}

/** The next piece: nothing in it after the last. */
napi_value jsDumped(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  NetlinkExchange* dump = arguments.dump();
  const uint32_t enough = arguments.number();
  if (!arguments.ok()) return nullptr;
  std::vector<uint8_t> answer;
  const std::string failed = dump->receive(enough, answer);
  return failed.empty() ? toBytes(env, answer.data(), answer.size()) : toText(env, failed);
}

/** From `start` on the groups of the family are heard. */
napi_value jsListen(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const int family = arguments.integer();
  const uint32_t groups = arguments.number();
  const int room = arguments.integer();
  if (!arguments.ok()) return nullptr;
  plane->kernelEsp = true;
  return toText(env, plane->kernel.open(family, groups, room));
}

/** What the kernel said, and whether some of it was lost. */
napi_value jsHeard(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (!arguments.ok()) return nullptr;
  bool lost = false;
  const std::vector<uint8_t> heard = plane->kernel.take(lost);
  List list(env);
  list.push(toBytes(env, heard.data(), heard.size()));
  list.push(toFlag(env, lost));
  return list.done();
}

/** Whether it was done, and the answer or the complaint. */
napi_value jsNftables(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const Bytes commands = arguments.bytes();
  if (!arguments.ok()) return nullptr;
  std::string answer;
  const bool done = runNftables(std::string(reinterpret_cast<const char*>(commands.data), commands.length), answer);
  List list(env);
  list.push(toFlag(env, done));
  list.push(toText(env, answer));
  return list.done();
}

napi_value jsDropNames(napi_env env, napi_callback_info) {
  List names(env);
  for (const char* name : dropNames) names.push(toText(env, name));
  return names.done();
}

// Port

/** Threads a direction, and microseconds that they look for more before they sleep. */
napi_value jsCreate(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  EngineOptions options;
  options.workers = arguments.number();
  options.spin = arguments.number();
  if (!arguments.ok()) return nullptr;
  napi_value result;
  napi_create_external(
      env, new Plane(options),
      [](napi_env, void* data, void*) {
        static_cast<Plane*>(data)->stop(napi_tsfn_abort);
        delete static_cast<Plane*>(data);
      },
      nullptr, &result);
  return result;
}

napi_value jsOpenPort(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const napi_value list = arguments.value();
  Port::Options options;
  options.ikePort = uint16_t(arguments.number());
  options.natPort = uint16_t(arguments.number());
  options.mark = arguments.number();
  options.kernelEsp = arguments.flag();
  options.rawIpsec = !options.kernelEsp;
  options.trains = arguments.flag();
  if (!arguments.ok()) return nullptr;
  options.workers = plane->engine.options().workers;
  options.spin = plane->engine.options().spin;
  uint32_t count = 0;
  napi_get_array_length(env, list, &count);
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    napi_get_element(env, list, i, &element);
    options.addresses.push_back(arguments.addressOf(arguments.bytesOf(element)));
  }
  if (!arguments.ok()) return nullptr;
  plane->kernelEsp = options.kernelEsp;
  return toText(env, plane->port.open(options));
}

napi_value jsOpenLink(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const std::string name = arguments.text();
  const uint32_t id = arguments.number();
  if (!arguments.ok()) return nullptr;
  return toText(env, plane->engine.openLink(name, id));
}

napi_value jsCloseLink(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const uint32_t id = arguments.number();
  if (arguments.ok()) plane->engine.closeLink(id);
  return nullptr;
}

void wakeUp(void* wake) { napi_call_threadsafe_function(static_cast<napi_threadsafe_function>(wake), nullptr, napi_tsfn_nonblocking); }

/** The listener is called without arguments when datagrams or events wait; several waits may become one call. */
napi_value jsStart(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const napi_value listener = arguments.value();
  if (!arguments.ok() || plane->running) return nullptr;
  napi_value name = toText(env, "isthmus");
  // One waiting call is enough: it takes everything.
  if (napi_create_threadsafe_function(env, listener, nullptr, name, 1, 1, nullptr, nullptr, nullptr, nullptr, &plane->wake) != napi_ok) return nullptr;
  plane->running = true;
  if (plane->kernelEsp) plane->kernel.start(wakeUp, plane->wake);
  else plane->engine.start(&plane->port, wakeUp, plane->wake);
  plane->port.start(plane->kernelEsp ? nullptr : &plane->engine, wakeUp, plane->wake);
  return nullptr;
}

napi_value jsStop(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (arguments.ok()) plane->stop(napi_tsfn_release);
  return nullptr;
}

napi_value jsSend(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const Endpoint local = arguments.endpoint(), remote = arguments.endpoint();
  const Bytes bytes = arguments.bytes();
  const bool whole = arguments.flag();
  if (!arguments.ok()) return nullptr;
  return toFlag(env, plane->port.send(local, remote, bytes.data, bytes.length, whole));
}

/** Five elements a datagram: local address, local port, remote address, remote port, bytes. */
napi_value jsTake(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (!arguments.ok()) return nullptr;
  List list(env);
  for (const Datagram& datagram : plane->port.take()) {
    list.push(toAddress(env, datagram.local.address));
    list.push(toNumber(env, datagram.local.port));
    list.push(toAddress(env, datagram.remote.address));
    list.push(toNumber(env, datagram.remote.port));
    list.push(toBytes(env, datagram.bytes.data(), datagram.bytes.size()));
  }
  return list.done();
}

std::vector<uint64_t> toSpis(const Bytes& bytes) {
  std::vector<uint64_t> spis(bytes.length / 8);
  if (!spis.empty()) memcpy(spis.data(), bytes.data, spis.size() * 8);
  return spis;
}

napi_value jsKnow(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const Bytes came = arguments.bytes();
  const Bytes went = arguments.bytes();
  if (!arguments.ok()) return nullptr;
  plane->port.know(toSpis(came), toSpis(went));
  return nullptr;
}

// Engine

/** A function of JavaScript for what takes one number: a policy or an SPI. */
template <void (Engine::*CALL)(uint32_t)>
napi_value withNumber(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const uint32_t number = arguments.number();
  if (arguments.ok()) (plane->engine.*CALL)(number);
  return nullptr;
}

napi_value jsAddPolicy(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  auto policy = std::make_shared<Policy>();
  policy->id = arguments.number();
  policy->action = Action(arguments.number());
  policy->order = arguments.integer();
  policy->acquire = arguments.flag();
  policy->link = arguments.number();
  policy->selectors.local = arguments.selectors();
  policy->selectors.remote = arguments.selectors();
  if (arguments.ok()) plane->engine.addPolicy(std::move(policy));
  return nullptr;
}

napi_value jsPublish(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (arguments.ok()) plane->engine.publish();
  return nullptr;
}

napi_value jsAddSa(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const bool inbound = arguments.flag();
  SaSpec spec{};
  spec.form = Form(arguments.number());
  spec.padTo = arguments.number();
  spec.spi = arguments.number();
  spec.policy = arguments.number();
  spec.local = arguments.address();
  spec.remote = arguments.address();
  spec.udp = arguments.flag();
  spec.remotePort = uint16_t(arguments.number());
  spec.esn = arguments.flag();
  spec.window = arguments.number();
  spec.outer.df = OuterPolicy::Df(arguments.number());
  const int32_t dscp = arguments.integer();
  spec.outer.copyDscp = dscp < 0;
  spec.outer.dscp = uint8_t(dscp < 0 ? 0 : dscp);
  spec.softPackets = arguments.big();
  spec.hardPackets = arguments.big();
  spec.softBytes = arguments.big();
  spec.hardBytes = arguments.big();
  spec.selectors.local = arguments.selectors();
  spec.selectors.remote = arguments.selectors();
  spec.originalLocal = arguments.optionalAddress();
  spec.originalRemote = arguments.optionalAddress();
  spec.cipher.algorithm = Algorithm(arguments.number());
  const Bytes key = arguments.bytes();
  spec.cipher.integrity = Integrity(arguments.number());
  spec.cipher.icvBytes = uint8_t(arguments.number());
  const Bytes integrityKey = arguments.bytes();
  if (!arguments.ok()) return nullptr;
  spec.cipher.key = key.data;
  spec.cipher.keyBytes = key.length;
  spec.cipher.integrityKey = integrityKey.data;
  spec.cipher.integrityKeyBytes = integrityKey.length;
  return toNumber(env, double(inbound ? plane->engine.addInbound(spec) : plane->engine.addOutbound(spec)));
}

napi_value jsUseOutbound(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const uint32_t policy = arguments.number(), spi = arguments.number();
  if (!arguments.ok()) return nullptr;
  return toNumber(env, double(plane->engine.useOutbound(policy, spi)));
}

napi_value jsHasTurned(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (!arguments.ok()) return nullptr;
  return toFlag(env, plane->engine.hasTurned());
}

napi_value jsMove(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const bool inbound = arguments.flag();
  const uint32_t spi = arguments.number();
  const Endpoint remote = arguments.endpoint();
  if (!arguments.ok()) return nullptr;
  return toFlag(env, plane->engine.move(inbound, spi, remote));
}

napi_value jsRemoveSa(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const bool inbound = arguments.flag();
  const uint32_t spi = arguments.number();
  if (arguments.ok()) plane->engine.remove(inbound, spi);
  return nullptr;
}

/** Twelve elements an event: type, policy, spi, inbound, hard, then addresses, protocol and ports of its packet or endpoint. */
napi_value jsTakeEvents(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (!arguments.ok()) return nullptr;
  List list(env);
  for (const Event& event : plane->engine.takeEvents()) {
    const Flow& flow = event.flow;
    const size_t size = flow.family == 6 ? 16 : 4;
    list.push(toNumber(env, double(event.type)));
    list.push(toNumber(env, event.policy));
    list.push(toNumber(env, event.spi));
    list.push(toFlag(env, event.inbound));
    list.push(toFlag(env, event.hard));
    list.push(toBytes(env, flow.source, size));
    list.push(toBytes(env, flow.destination, size));
    list.push(toNumber(env, flow.protocol));
    list.push(toNumber(env, flow.sourcePort));
    list.push(toNumber(env, flow.destinationPort));
    list.push(toAddress(env, event.remote.address));
    list.push(toNumber(env, event.remote.port));
  }
  return list.done();
}

/** Seven counters an SA: spi, policy, inbound, in use, packets, bytes, time of the last. */
napi_value jsSas(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (!arguments.ok()) return nullptr;
  std::vector<uint64_t> values;
  const auto push = [&values](const Sa& sa, bool inbound, bool inUse) {
    for (const uint64_t value : {uint64_t(sa.spi), uint64_t(sa.policy), uint64_t(inbound), uint64_t(inUse), sa.packets(), sa.bytes(), sa.last()})
      values.push_back(value);
  };
  for (const auto& [spi, sa] : plane->engine.inboundSas().all()) push(*sa, true, true);
  for (const auto& [spi, sa] : plane->engine.outboundSas().all()) push(*sa, false, plane->engine.inUse(*sa));
  return toCounters(env, values);
}

/** One counter a cause: outbound, then inbound with what the sockets dropped. */
napi_value jsDrops(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (!arguments.ok()) return nullptr;
  std::vector<uint64_t> values;
  for (size_t i = 0; i < DROPS; i++) values.push_back(plane->engine.outboundDrops(i));
  for (size_t i = 0; i < DROPS; i++) values.push_back(plane->engine.inboundDrops(i) + plane->port.dropped(i));
  return toCounters(env, values);
}

/** The time at which it was sent, microseconds of CLOCK_REALTIME, or why it was not. */
napi_value jsSendEcho(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const Address source = arguments.address(), destination = arguments.address();
  const Bytes message = arguments.bytes();
  const bool whole = arguments.flag();
  if (!arguments.ok()) return nullptr;
  int64_t sentAt = 0;
  const std::string failed = plane->echo.send(source, destination, message.data, message.length, whole, sentAt);
  return failed.empty() ? toNumber(env, double(sentAt)) : toText(env, failed);
}

/** Three elements a reply: source, bytes, when it came. */
napi_value jsTakeEchoes(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  if (!arguments.ok()) return nullptr;
  List list(env);
  for (const EchoSockets::Reply& reply : plane->echo.take()) {
    list.push(toAddress(env, reply.source));
    list.push(toBytes(env, reply.bytes.data(), reply.bytes.size()));
    list.push(toNumber(env, double(reply.receivedAt)));
  }
  return list.done();
}

// The batch entry points that the threads use, without threads: for the differential test.

struct Collected final : Outbound::Sink {
  Collected(napi_env env, List& into) : env(env), into(into) {}
  size_t send(const Train* trains, size_t count) override {
    for (size_t i = 0; i < count; i++) {
      const Train& train = trains[i];
      for (size_t at = 0; at < train.length; at += train.segment) {
        into.push(toBytes(env, train.bytes + at, std::min(train.segment, train.length - at)));
        into.push(toNumber(env, train.outer.trafficClass));
        into.push(toFlag(env, train.outer.dontFragment));
      }
    }
    return 0;
  }
  static void inner(void* self, uint32_t link, const iovec* pieces, size_t count) {
    std::vector<uint8_t> frame;
    for (size_t i = 0; i < count; i++) {
      const auto* bytes = static_cast<const uint8_t*>(pieces[i].iov_base);
      frame.insert(frame.end(), bytes, bytes + pieces[i].iov_len);
    }
    auto* collected = static_cast<Collected*>(self);
    collected->into.push(toBytes(collected->env, frame.data(), frame.size()));
    collected->into.push(toNumber(collected->env, link));
  }
  napi_env env;
  List& into;
};

/** What becomes of frames of a link (each behind its virtio header) in one batch: ESP packet, outer traffic class and DF in turn. */
napi_value jsOutbound(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const std::vector<Bytes> frames = arguments.manyBytes();
  const uint32_t link = arguments.number();
  if (!arguments.ok()) return nullptr;
  std::vector<const uint8_t*> starts;
  std::vector<size_t> lengths;
  for (const Bytes& frame : frames) {
    starts.push_back(frame.data);
    lengths.push_back(frame.length);
  }
  List list(env);
  Collected sink(env, list);
  plane->engine.outbound(link, starts.data(), lengths.data(), frames.size(), sink);
  return list.done();
}

/** What becomes of ESP packets in one batch: a frame (behind its virtio header) and the link that it is for, in turn. */
napi_value jsInbound(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const std::vector<Bytes> packets = arguments.manyBytes();
  const uint32_t ecn = arguments.number();
  const Endpoint remote = arguments.endpoint();
  if (!arguments.ok()) return nullptr;
  std::vector<std::vector<uint8_t>> copies;
  std::vector<Arrival> arrivals;
  for (const Bytes& packet : packets) {
    std::vector<uint8_t>& copy = copies.emplace_back(packet.data, packet.data + packet.length);
    arrivals.push_back({copy.data(), copy.size(), uint8_t(ecn), remote});
  }
  List list(env);
  Collected sink(env, list);
  plane->engine.inbound(arrivals.data(), arrivals.size(), Collected::inner, &sink);
  return list.done();
}

/** The same of whole packets: their IP headers are what they came with. */
napi_value jsInboundPackets(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Plane* plane = arguments.plane();
  const std::vector<Bytes> packets = arguments.manyBytes();
  if (!arguments.ok()) return nullptr;
  std::vector<std::vector<uint8_t>> copies;
  std::vector<uint8_t*> starts;
  std::vector<size_t> lengths;
  for (const Bytes& packet : packets) copies.emplace_back(packet.data, packet.data + packet.length);
  for (std::vector<uint8_t>& copy : copies) {
    starts.push_back(copy.data());
    lengths.push_back(copy.size());
  }
  List list(env);
  Collected sink(env, list);
  plane->engine.inboundPackets(starts.data(), lengths.data(), starts.size(), Collected::inner, &sink);
  return list.done();
}

napi_value init(napi_env env, napi_value exports) {
  const std::pair<const char*, napi_callback> functions[] = {
      {"bootTime", jsBootTime}, {"netlink", jsNetlink},           {"dump", jsDump}, {"dumped", jsDumped},           {"dropNames", jsDropNames}, {"create", jsCreate},
      {"openPort", jsOpenPort}, {"openLink", jsOpenLink}, {"closeLink", jsCloseLink}, {"start", jsStart},         {"stop", jsStop},
      {"send", jsSend},         {"take", jsTake},                 {"know", jsKnow},           {"addPolicy", jsAddPolicy},
      {"addSa", jsAddSa},       {"move", jsMove},                 {"useOutbound", jsUseOutbound}, {"hasTurned", jsHasTurned},
      {"removeSa", jsRemoveSa}, {"takeEvents", jsTakeEvents},     {"sas", jsSas},             {"drops", jsDrops},
      {"outbound", jsOutbound}, {"inbound", jsInbound},           {"inboundPackets", jsInboundPackets},
      {"removePolicy", withNumber<&Engine::removePolicy>},
      {"expectInbound", withNumber<&Engine::expectInbound>},
      {"forgetInbound", withNumber<&Engine::forgetInbound>},
      {"nftables", jsNftables},
      {"listen", jsListen},     {"heard", jsHeard},      {"publish", jsPublish},
      {"sendEcho", jsSendEcho}, {"takeEchoes", jsTakeEchoes},
  };
  for (const auto& [name, function] : functions) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  }
  return exports;
}

}  // namespace

NAPI_MODULE(isthmus, init)

// Whole packets with AH as they come from the network: bytes as they are, and authentic packets whose headers, options and
// contents the attacker chose. Nothing forged is written, every packet is written or counted, and what routers may write
// changes nothing.

#include "fuzz.h"

using namespace isthmus;
using namespace isthmus::fuzz;

namespace {

constexpr size_t MOST_ARRIVALS = 16;
constexpr uint8_t RAW = 0x01, FORGED = 0x02, JUMP = 0x04, STRANGE_NEXT = 0x08, WHOLE_INNER = 0x10, INNER_V6 = 0x20, LIE = 0x40, CUT = 0x80;

struct Algorithms {
  Integrity integrity;
  uint8_t icvBytes;
  size_t keyBytes;
};
constexpr Algorithms ALGORITHMS[] = {
    {Integrity::HmacSha256, 16, 32},
    {Integrity::HmacSha1, 12, 20},
    {Integrity::AesXcbc, 12, 16},
    {Integrity::Aes128Gmac, 16, 20},
};
/** Each over IPv4 and IPv6, in tunnel and in transport mode. */
constexpr size_t SAS = 4 * std::size(ALGORITHMS);

bool isV6(size_t index) { return index & 1; }

Address hostOf(size_t index) {
  if (!isV6(index)) return {4, {127, 0, 0, 1}};
  Address made{6, {}};
  made.bytes[15] = 1;
  return made;
}

SaSpec saOf(size_t index) {
  const Algorithms& row = ALGORITHMS[index / 4];
  SaSpec made{};
  made.form = index & 2 ? Form::AhTransport : Form::AhTunnel;
  made.spi = FIRST_SPI + uint32_t(index);
  made.policy = 1;
  made.local = made.remote = hostOf(index);
  made.esn = index / 4 % 2 == 1;
  made.window = 64;
  made.selectors = everywhere();
  made.cipher = {Algorithm::Null, KEYS, 0, row.integrity, row.icvBytes, KEYS, row.keyBytes};
  return made;
}

/** Two engines, for what came as it was sent and as routers left it. Each input begins with SAs that have seen nothing. */
Engine& engineOf(size_t which) {
  static std::array<Engine, 2> engines;
  Engine& engine = engines[which];
  if (engine.inboundSas().all().empty()) {
    for (size_t index = 0; index < SAS; index++) expect(engine.addInbound(saOf(index)) == Applied::ok, "every algorithm is there");
  }
  for (const auto& [spi, sa] : engine.inboundSas().all()) sa->replay = ReplayWindow(64, sa->esn);
  engine.takeEvents();
  return engine;
}

AhIcv& icvOf(size_t index) {
  static std::array<std::unique_ptr<AhIcv>, std::size(ALGORITHMS)> all;
  std::unique_ptr<AhIcv>& icv = all[index / 4];
  if (!icv) {
    const Algorithms& row = ALGORITHMS[index / 4];
    icv = std::make_unique<AhIcv>();
    expect(icv->open(row.integrity, row.icvBytes, KEYS, row.keyBytes), "every algorithm is there");
  }
  return *icv;
}

uint64_t dropsOf(const Engine& engine) {
  uint64_t sum = 0;
  for (size_t drop = 0; drop < DROPS; drop++) sum += engine.inboundDrops(drop);
  return sum;
}

void setAddresses(Bytes& header, size_t index) {
  const Address host = hostOf(index);
  const size_t size = isV6(index) ? 16 : 4, at = isV6(index) ? 8 : 12;
  for (size_t i = 0; i < 2; i++) std::copy_n(host.bytes.begin(), size, header.begin() + long(at + i * size));
}

/** Options as the input wants them. */
Bytes headerV4(Input& input) {
  Bytes header(20);
  const Bytes options = input.bytes(input.byte() % 11 * 4u);
  header.insert(header.end(), options.begin(), options.end());
  header.resize((header.size() + 3) / 4 * 4);
  header[0] = uint8_t(0x40 | header.size() / 4);
  header[1] = uint8_t(input.byte() & 0xfc);
  put16(header.data() + 4, input.word());
  header[8] = 64;
  header[9] = PROTOCOL_AH;
  return header;
}

/** Up to three extension headers, their lengths right or, with LIE, whatever they are. */
Bytes headerV6(Input& input, uint8_t shape) {
  Bytes header(40);
  header[0] = 0x60;
  header[6] = PROTOCOL_AH;
  header[7] = 64;
  size_t next = 6;
  for (uint8_t count = input.byte() % 4; count > 0; count--) {
    constexpr uint8_t KINDS[] = {0, 43, 44, 60};
    const uint8_t kind = KINDS[input.byte() % 4];
    const size_t size = kind == 44 ? 8 : 8 + input.byte() % 4 * 8u;
    Bytes extension = input.bytes(size);
    extension.resize(size);
    header[next] = kind;
    extension[0] = PROTOCOL_AH;
    if (kind == 44) put16(extension.data() + 2, extension[2] & 1);
    else if (!(shape & LIE)) extension[1] = uint8_t(size / 8 - 1);
    next = header.size();
    header.insert(header.end(), extension.begin(), extension.end());
  }
  return header;
}

Bytes payloadOf(Input& input, uint8_t shape) {
  Bytes inner = input.bytes(input.byte());
  if (!(shape & WHOLE_INNER) || inner.size() < 40) return inner;
  inner[0] = shape & INNER_V6 ? 0x60 : 0x45;
  fixIp(inner);
  return inner;
}

struct Arrivals {
  std::vector<Bytes> sent, left;
  size_t forged = 0;
  std::array<uint64_t, SAS> sequence{};
};

/** The field for a packet whose ICV is zero; false where its header cannot be covered. */
bool sealField(size_t index, const Bytes& header, Bytes& ah, uint64_t sequence) {
  Bytes covered = header;
  size_t size = covered.size();
  if (size > MOST_HEADER || !coverHeader(covered.data(), size)) return false;
  covered.resize(size);
  covered.insert(covered.end(), ah.begin(), ah.end());
  return icvOf(index).compute(covered.data(), covered.size(), sequence, saOf(index).esn, nullptr, ah.data() + AH_FIXED);
}

/** A bit that nobody on the way may change: of the header's own fields, or anywhere behind the header. */
void forge(Input& input, size_t header, Bytes& packet) {
  constexpr uint8_t V4[] = {2, 3, 4, 5, 9, 12, 13, 14, 15, 16, 17, 18, 19}, V6[] = {4, 5, 6, 8, 15, 23, 24, 39};
  const uint16_t choice = input.word();
  const uint8_t mask = uint8_t(1 << input.byte() % 8);
  size_t at = header + choice / 2 % (packet.size() - header);
  if (choice & 1) at = packet[0] >> 4 == 6 ? V6[choice / 2 % sizeof V6] : V4[choice / 2 % sizeof V4];
  packet[at] ^= mask;
}

/** A packet that says of itself that it is no longer; in a room of its own size. */
Bytes cutTo(const Bytes& packet, size_t size) {
  Bytes cut(packet.begin(), packet.begin() + long(size));
  if (cut[0] >> 4 == 6) put16(cut.data() + 4, uint16_t(size - 40));
  else put16(cut.data() + 2, uint16_t(size));
  return cut;
}

/** What routers may write. */
void pass(Bytes& packet) {
  if (packet[0] >> 4 == 6) {
    packet[0] = 0x6a;
    packet[1] ^= 0xc5;
    packet[7]--;
    return;
  }
  packet[1] ^= 0xa4;
  packet[8]--;
  packet[10] ^= 0x55;
}

void addSealed(Input& input, uint8_t shape, Arrivals& arrivals) {
  const size_t index = input.byte() % SAS;
  uint64_t& sequence = arrivals.sequence[index];
  sequence += shape & JUMP ? uint64_t(int64_t(int8_t(input.byte()))) : 1;
  Bytes packet = isV6(index) ? headerV6(input, shape) : headerV4(input);
  setAddresses(packet, index);
  const size_t header = packet.size();
  const Bytes payload = payloadOf(input, shape);
  const size_t unit = isV6(index) ? 8 : 4, size = (AH_FIXED + icvOf(index).fieldBytes() + unit - 1) / unit * unit;
  Bytes ah(size);
  ah[0] = shape & STRANGE_NEXT ? input.byte() : !payload.empty() && payload[0] >> 4 == 6 ? 41 : 4;
  ah[1] = uint8_t(size / 4 - 2);
  put32(ah.data() + 4, FIRST_SPI + uint32_t(index));
  put32(ah.data() + 8, uint32_t(sequence));
  ah.insert(ah.end(), payload.begin(), payload.end());
  // The length is covered: it is right before the ICV is made.
  const size_t total = header + ah.size();
  put16(packet.data() + (isV6(index) ? 4 : 2), uint16_t(total - (isV6(index) ? 40 : 0)));
  const bool genuine = sealField(index, packet, ah, sequence) && !(shape & (FORGED | CUT));
  packet.insert(packet.end(), ah.begin(), ah.end());
  if (shape & FORGED) forge(input, header, packet);
  if (shape & CUT) packet = cutTo(packet, header + input.byte() % ah.size());
  if (!genuine) arrivals.forged++;
  arrivals.sent.push_back(packet);
  pass(packet);
  arrivals.left.push_back(std::move(packet));
}

void addRaw(Input& input, Arrivals& arrivals) {
  const Bytes packet = input.bytes(input.byte());
  arrivals.sent.push_back(packet);
  arrivals.left.push_back(packet);
  arrivals.forged++;
}

struct Written {
  std::vector<Bytes> packets;
  static void write(void* self, uint32_t, const iovec* pieces, size_t count) {
    for (Bytes& packet : packetsOf(pieces, count)) static_cast<Written*>(self)->packets.push_back(std::move(packet));
  }
};

/** How many were written. */
size_t receive(size_t which, std::vector<Bytes>& packets, size_t forged) {
  std::vector<uint8_t*> starts;
  std::vector<size_t> lengths;
  for (Bytes& packet : packets) {
    starts.push_back(packet.data());
    lengths.push_back(packet.size());
  }
  Engine& engine = engineOf(which);
  const uint64_t before = dropsOf(engine);
  Written written;
  engine.inboundPackets(starts.data(), lengths.data(), starts.size(), Written::write, &written);
  const uint64_t dropped = dropsOf(engine) - before;
  expect(dropped >= forged, "nothing forged is let in");
  expect(written.packets.size() + dropped == packets.size(), "every packet is written or counted");
  return written.packets.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  Arrivals arrivals;
  while (!input.empty() && arrivals.sent.size() < MOST_ARRIVALS) {
    const uint8_t shape = input.byte();
    if (shape & RAW) addRaw(input, arrivals);
    else addSealed(input, shape, arrivals);
  }
  const size_t sent = receive(0, arrivals.sent, arrivals.forged), left = receive(1, arrivals.left, arrivals.forged);
  expect(sent == left, "what routers may write changes nothing");
  return 0;
}

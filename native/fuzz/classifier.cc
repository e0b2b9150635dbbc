// Policies and flows that share addresses and ports: the classifier finds what a walk through all policies finds.

#include "fuzz.h"

using namespace isthmus;
using namespace isthmus::fuzz;

namespace {

/** Few values, so that selectors overlap: two bytes and runs of one byte. */
std::array<uint8_t, 16> addressOf(Input& input) {
  std::array<uint8_t, 16> address{};
  const uint8_t shape = input.byte();
  if (shape & 0x80) address.fill(shape & 0x40 ? 0xff : 0);
  address[shape & 3] = input.byte();
  address[(shape >> 2) & 15] = input.byte();
  return address;
}

void setBitsAfter(std::array<uint8_t, 16>& address, size_t prefix) {
  for (size_t bit = prefix; bit < 128; bit++) address[bit / 8] |= uint8_t(0x80 >> bit % 8);
}

Selector selectorOf(Input& input) {
  const uint8_t shape = input.byte();
  Selector selector{};
  selector.family = shape & 1 ? 6 : 4;
  selector.protocol = shape & 2 ? (shape & 4 ? TCP : UDP) : 0;
  selector.start = selector.end = addressOf(input);
  if (shape & 8) setBitsAfter(selector.end, input.byte() % 129);
  if (shape & 16) selector.end = addressOf(input);
  selector.endPort = 0xffff;
  if (shape & 32) selector.startPort = selector.endPort = input.byte();
  if (shape & 64) selector.startPort = input.byte();
  if (shape & 128) selector.endPort = input.word();
  return selector;
}

SelectorSet setOf(Input& input) {
  const uint8_t sizes = input.byte();
  SelectorSet set;
  for (int i = 0; i <= (sizes & 3); i++) set.local.push_back(selectorOf(input));
  for (int i = 0; i <= (sizes >> 2 & 3); i++) set.remote.push_back(selectorOf(input));
  return set;
}

/** One end of a flow: an edge of a selector, or the step over it. */
void aimAt(const Selector& selector, uint8_t how, uint8_t* address, uint16_t& port) {
  const std::array<uint8_t, 16>& edge = how & 1 ? selector.end : selector.start;
  memcpy(address, edge.data(), 16);
  uint8_t& last = address[selector.family == 4 ? 3 : 15];
  if (how & 2) last = uint8_t(how & 1 ? last + 1 : last - 1);
  port = how & 4 ? selector.endPort : selector.startPort;
  if (how & 8) port++;
}

Flow flowOf(Input& input, const std::vector<SelectorSet>& sets, bool outbound) {
  const SelectorSet& set = sets[input.byte() % sets.size()];
  const uint8_t which = input.byte(), how = input.byte(), rest = input.byte();
  const Selector &local = set.local[(which & 15) % set.local.size()], &remote = set.remote[(which >> 4) % set.remote.size()];
  Flow flow{};
  flow.family = rest & 1 ? remote.family : local.family;
  flow.protocol = rest & 2 ? (rest & 4 ? TCP : UDP) : local.protocol;
  flow.opaque = (rest & 0x38) == 0x38;
  aimAt(local, how & 15, outbound ? flow.source : flow.destination, outbound ? flow.sourcePort : flow.destinationPort);
  aimAt(remote, how >> 4, outbound ? flow.destination : flow.source, outbound ? flow.destinationPort : flow.sourcePort);
  if (flow.family == 4) {
    memset(flow.source + 4, 0, 12);
    memset(flow.destination + 4, 0, 12);
  }
  if (flow.opaque) flow.sourcePort = flow.destinationPort = 0;
  return flow;
}

uint32_t walk(const std::vector<SelectorSet>& sets, const Flow& flow, bool outbound) {
  for (size_t i = 0; i < sets.size(); i++) {
    if (sets[i].holds(flow, outbound)) return uint32_t(i);
  }
  return Classifier::NONE;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  std::vector<SelectorSet> sets;
  for (int left = input.byte() % 24; left >= 0 && !input.empty(); left--) sets.push_back(setOf(input));
  if (sets.empty()) return 0;
  std::vector<const SelectorSet*> pointers;
  for (const SelectorSet& set : sets) pointers.push_back(&set);
  const Classifier classifier(pointers);
  while (!input.empty()) {
    const bool outbound = input.byte() & 1;
    const Flow flow = flowOf(input, sets, outbound);
    expect(classifier.find(flow, outbound) == walk(sets, flow, outbound), "the classifier finds what a walk finds");
  }
  return 0;
}

#include "classifier.h"

#include <algorithm>
#include <cstring>

namespace isthmus {

namespace {

/** Bits that the first and the last address of a range have in common: its covering prefix. */
uint8_t commonBits(const Selector& selector) {
  const size_t bits = selector.family == 4 ? 32 : 128;
  for (size_t bit = 0; bit < bits; bit++) {
    const uint8_t differing = selector.start[bit / 8] ^ selector.end[bit / 8];
    if (differing & (0x80 >> bit % 8)) return uint8_t(bit);
  }
  return uint8_t(bits);
}

void maskOf(uint8_t bits, uint64_t mask[2]) {
  uint8_t bytes[16] = {};
  for (size_t bit = 0; bit < bits; bit++) bytes[bit / 8] |= uint8_t(0x80 >> bit % 8);
  memcpy(mask, bytes, sizeof bytes);
}

bool onePort(const Selector& selector) { return selector.startPort == selector.endPort; }

/** A few multiplications, so that neighbouring networks fall into different slots. */
template <typename Key>
size_t hashOf(const Key& key) {
  uint64_t hash = 0x9e3779b97f4a7c15ull;
  for (const uint64_t word : key.words) {
    hash = (hash ^ word) * 0xff51afd7ed558ccdull;
    hash ^= hash >> 32;
  }
  return size_t(hash);
}

}  // namespace

Classifier::Classifier(const std::vector<const SelectorSet*>& sets) {
  size_t expected = 0;
  for (const SelectorSet* set : sets) expected += set->local.size() * set->remote.size();
  pairs_.reserve(expected);
  for (uint32_t set = 0; set < sets.size(); set++) {
    for (const Selector& local : sets[set]->local) {
      for (const Selector& remote : sets[set]->remote) add(set, local, remote);
    }
  }
  std::stable_sort(tables_.begin(), tables_.end(), [](const Table& a, const Table& b) { return a.lowest < b.lowest; });
}

Classifier::Form Classifier::formOf(const Selector& local, const Selector& remote) {
  return {local.family, commonBits(local), commonBits(remote), local.protocol != 0 || remote.protocol != 0, onePort(local), onePort(remote)};
}

Classifier::Key Classifier::keyOf(const Table& table, const uint8_t* local, const uint8_t* remote, uint8_t protocol, uint16_t localPort, uint16_t remotePort) {
  Key key;
  memcpy(key.words, local, 16);
  memcpy(key.words + 2, remote, 16);
  for (size_t i = 0; i < 2; i++) {
    key.words[i] &= table.localMask[i];
    key.words[2 + i] &= table.remoteMask[i];
  }
  const Form& form = table.form;
  key.words[4] = uint64_t(form.protocol ? protocol : 0) << 32 | uint64_t(form.localPort ? localPort : 0) << 16 | (form.remotePort ? remotePort : 0);
  return key;
}

/** Where the key is, or the empty slot where it belongs. At most half of the slots are used. */
size_t Classifier::slotOf(const std::vector<Slot>& slots, const Key& key) {
  const size_t mask = slots.size() - 1;
  size_t at = hashOf(key) & mask;
  while (slots[at].first != NONE && !(slots[at].key == key)) at = (at + 1) & mask;
  return at;
}

Classifier::Table& Classifier::tableOf(const Form& form) {
  const auto known = std::find_if(tables_.begin(), tables_.end(), [&form](const Table& table) { return table.form == form; });
  if (known != tables_.end()) return *known;
  Table& table = tables_.emplace_back(Table{form, {}, {}, NONE, 0, std::vector<Slot>(FIRST_SLOTS)});
  maskOf(form.localBits, table.localMask);
  maskOf(form.remoteBits, table.remoteMask);
  return table;
}

/** Room for one key more. A table is as large as what is in it: there may be a thousand forms, of one pair each. */
void Classifier::makeRoom(Table& table) {
  if ((table.used + 1) * 2 <= table.slots.size()) return;
  std::vector<Slot> larger(table.slots.size() * 2);
  for (const Slot& slot : table.slots) {
    if (slot.first != NONE) larger[slotOf(larger, slot.key)] = slot;
  }
  table.slots = std::move(larger);
}

void Classifier::add(uint32_t set, const Selector& local, const Selector& remote) {
  const bool contradiction = local.family != remote.family || (local.protocol != 0 && remote.protocol != 0 && local.protocol != remote.protocol);
  if (contradiction) return;
  Table& table = tableOf(formOf(local, remote));
  table.lowest = std::min(table.lowest, set);
  const uint8_t protocol = local.protocol != 0 ? local.protocol : remote.protocol;
  const Key key = keyOf(table, local.start.data(), remote.start.data(), protocol, local.startPort, remote.startPort);
  makeRoom(table);
  Slot& slot = table.slots[slotOf(table.slots, key)];
  const uint32_t index = uint32_t(pairs_.size());
  pairs_.push_back({&local, &remote, set, NONE});
  if (slot.first == NONE) {
    slot = {key, index, index};
    table.used++;
  } else {
    pairs_[slot.last].next = index;
    slot.last = index;
  }
}

uint32_t Classifier::find(const Flow& flow, bool outbound) const {
  const Ends ends = outbound ? Ends{flow.source, flow.destination, flow.sourcePort, flow.destinationPort}
                             : Ends{flow.destination, flow.source, flow.destinationPort, flow.sourcePort};
  uint32_t best = NONE;
  for (const Table& table : tables_) {
    if (table.lowest >= best) break;
    if (table.form.family != flow.family) continue;
    const Key key = keyOf(table, ends.local, ends.remote, flow.protocol, ends.localPort, ends.remotePort);
    const Slot& slot = table.slots[slotOf(table.slots, key)];
    for (uint32_t at = slot.first; at != NONE && pairs_[at].set < best; at = pairs_[at].next) {
      const Pair& pair = pairs_[at];
      if (inSelector(*pair.local, ends.local, flow, ends.localPort) && inSelector(*pair.remote, ends.remote, flow, ends.remotePort)) best = pair.set;
    }
  }
  return best;
}

}  // namespace isthmus

#include "spd.h"

#include <algorithm>
#include <cstring>

namespace isthmus {

namespace {

std::vector<const SelectorSet*> selectorsOf(const std::vector<std::shared_ptr<Policy>>& policies) {
  std::vector<const SelectorSet*> sets;
  sets.reserve(policies.size());
  for (const auto& policy : policies) sets.push_back(&policy->selectors);
  return sets;
}

/** All that a lookup depends on. */
void wordsOf(const Flow& flow, uint64_t words[5]) {
  memcpy(words, flow.source, 16);
  memcpy(words + 2, flow.destination, 16);
  words[4] = uint64_t(flow.family) << 56 | uint64_t(flow.opaque) << 48 | uint64_t(flow.protocol) << 32 | uint64_t(flow.sourcePort) << 16 | flow.destinationPort;
}

/** The same flow in two SPDs has two places. */
size_t hashOf(const uint64_t words[5], uint64_t generation) {
  uint64_t hash = words[4] ^ generation;
  for (size_t i = 0; i < 4; i++) hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ull;
  return size_t(hash >> 32 ^ hash >> 48);
}

}  // namespace

Spd::Spd(std::vector<std::shared_ptr<Policy>> policies, uint64_t generation)
    : policies_(std::move(policies)), classifier_(selectorsOf(policies_)), generation_(generation) {}

const Policy* Spd::find(const Flow& flow) const {
  const uint32_t index = classifier_.find(flow, true);
  return index == Classifier::NONE ? nullptr : policies_[index].get();
}

const Policy* Spd::byId(uint32_t id) const {
  for (const auto& policy : policies_) {
    if (policy->id == id) return policy.get();
  }
  return nullptr;
}

const Link* Links::find(uint32_t id) const {
  if (id == SHARED_LINK) return &shared();
  const auto place = std::lower_bound(links_.begin(), links_.end(), id, [](const Link& link, uint32_t wanted) { return link.id < wanted; });
  return place != links_.end() && place->id == id ? &*place : nullptr;
}

FlowCache::Verdict& FlowCache::find(const Spd& spd, const Flow& flow) {
  uint64_t words[5];
  wordsOf(flow, words);
  Entry& entry = entries_[hashOf(words, spd.generation()) % SIZE];
  if (entry.generation == spd.generation() && memcmp(entry.words, words, sizeof words) == 0) return entry.verdict;
  entry.generation = spd.generation();
  memcpy(entry.words, words, sizeof words);
  entry.verdict = {spd.find(flow), 0};
  return entry.verdict;
}

}  // namespace isthmus

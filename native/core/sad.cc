#include "sad.h"

#include <cstring>

#include "classifier.h"

namespace isthmus {

const char* const dropNames[DROPS] = {
    "none",     "malformed", "no_policy", "discard_policy", "no_sa",   "unknown_spi", "replay",      "authentication",
    "padding",  "selector",  "sequence",  "lifetime",       "too_big", "dummy",       "send_failed", "tun_failed",
    "queue_full", "hold_expired", "fragment", "extension", "early",
};

namespace {

bool anyOf(const std::vector<Selector>& selectors, const uint8_t* address, const Flow& flow, uint16_t port) {
  for (const Selector& selector : selectors) {
    if (inSelector(selector, address, flow, port)) return true;
  }
  return false;
}

}  // namespace

bool inSelector(const Selector& selector, const uint8_t* address, const Flow& flow, uint16_t port) {
  if (selector.family != flow.family) return false;
  if (selector.protocol != 0 && selector.protocol != flow.protocol) return false;
  const size_t size = flow.family == 4 ? 4 : 16;
  if (memcmp(address, selector.start.data(), size) < 0 || memcmp(address, selector.end.data(), size) > 0) return false;
  const bool anyPort = selector.startPort == 0 && selector.endPort == 0xffff;
  if (anyPort) return true;
  return !flow.opaque && port >= selector.startPort && port <= selector.endPort;
}

bool SelectorSet::holds(const Flow& flow, bool outbound) const {
  return outbound ? anyOf(local, flow.source, flow, flow.sourcePort) && anyOf(remote, flow.destination, flow, flow.destinationPort)
                  : anyOf(remote, flow.source, flow, flow.sourcePort) && anyOf(local, flow.destination, flow, flow.destinationPort);
}

bool Sa::admits(const Flow& flow, bool outbound) const {
  return index ? index->find(flow, outbound) != Classifier::NONE : selectors.holds(flow, outbound);
}

}  // namespace isthmus

// The SPDs as the packet threads see them: one for each device that packets come from (RFC 4301 §4.4.1); immutable pictures,
// replaced whole.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "classifier.h"
#include "tun.h"

namespace isthmus {

constexpr uint32_t SHARED_LINK = 0;

enum class Action : uint8_t { Protect, Bypass, Discard };

struct Policy {
  uint32_t id = 0;
  /** The device whose packets it is for; SHARED_LINK is that of all policies that name none. */
  uint32_t link = SHARED_LINK;
  Action action = Action::Protect;
  int32_t order = 0;
  bool acquire = false;
  SelectorSet selectors;
  /** What it sends with. Changes while packets pass; what it pointed to is freed by epochs. */
  std::atomic<OutboundSa*> use{nullptr};
};

class Spd {
 public:
  Spd() = default;
  /** Policies of one device, in order. `generation` tells this picture from every other one, also of other devices. */
  Spd(std::vector<std::shared_ptr<Policy>> policies, uint64_t generation);

  /** The first policy that a packet towards the network is in. */
  const Policy* find(const Flow& flow) const;
  const Policy* byId(uint32_t id) const;
  const std::vector<std::shared_ptr<Policy>>& policies() const { return policies_; }
  uint64_t generation() const { return generation_; }

 private:
  std::vector<std::shared_ptr<Policy>> policies_;
  Classifier classifier_;
  uint64_t generation_ = 0;
};

/** A device and its SPD. */
struct Link {
  uint32_t id = SHARED_LINK;
  /** Missing where it is not open: nothing comes from there, and what should go there is dropped. */
  std::shared_ptr<const Tun> tun;
  std::shared_ptr<const Spd> spd;
};

/** All of them, that of SHARED_LINK first. */
class Links {
 public:
  /** In the order of their numbers. */
  explicit Links(std::vector<Link> links) : links_(std::move(links)) {}

  const Link& shared() const { return links_.front(); }
  /** One that is not there is nullptr. */
  const Link* find(uint32_t id) const;

 private:
  std::vector<Link> links_;
};

/** What the last packets were found to be; of one thread. */
class FlowCache {
 public:
  struct Verdict {
    const Policy* policy;
    /** The serial number of the SA whose selectors are known to hold this flow. */
    uint64_t admitted;
  };

  FlowCache() : entries_(SIZE) {}
  /** The same answer as `spd.find`, whichever SPD it is; what is returned may be written to until the next call. */
  Verdict& find(const Spd& spd, const Flow& flow);

 private:
  static constexpr size_t SIZE = 1024;
  struct Entry {
    uint64_t generation = 0;
    uint64_t words[5] = {};
    Verdict verdict{};
  };
  std::vector<Entry> entries_;
};

}  // namespace isthmus

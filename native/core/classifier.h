// Which of many selector sets a packet is in, the first of them where several overlap: a look into one hash table for each
// combination of prefix lengths, protocol and ports that the sets use, instead of a walk through all of them.
#pragma once

#include <cstdint>
#include <vector>

#include "sad.h"

namespace isthmus {

class Classifier {
 public:
  static constexpr uint32_t NONE = UINT32_MAX;

  Classifier() = default;
  /** `sets` in order of preference; they outlive the classifier. */
  explicit Classifier(const std::vector<const SelectorSet*>& sets);

  /** The index of the first set that holds the packet, or NONE. `outbound`: its source is the local end. */
  uint32_t find(const Flow& flow, bool outbound) const;

 private:
  /** Local and remote end of a packet, with ports and protocol: what selectors speak of. */
  struct Ends {
    const uint8_t* local;
    const uint8_t* remote;
    uint16_t localPort, remotePort;
  };
  /** One pair of selectors of a set. Pairs with the same key follow each other by `next`, in order of preference. */
  struct Pair {
    const Selector* local;
    const Selector* remote;
    uint32_t set;
    uint32_t next;
  };
  /** What a table's keys are made of: how many bits of each address, and whether protocol and ports are exact. */
  struct Form {
    uint8_t family, localBits, remoteBits;
    bool protocol, localPort, remotePort;
    bool operator==(const Form&) const = default;
  };
  struct Key {
    uint64_t words[5];
    bool operator==(const Key&) const = default;
  };
  struct Slot {
    Key key;
    uint32_t first = NONE, last = NONE;
  };
  struct Table {
    Form form;
    uint64_t localMask[2], remoteMask[2];
    /** The lowest set in it: a later table cannot have a better answer than what was found before it. */
    uint32_t lowest;
    size_t used;  // slots
    std::vector<Slot> slots;
  };

  static Form formOf(const Selector& local, const Selector& remote);
  static Key keyOf(const Table& table, const uint8_t* local, const uint8_t* remote, uint8_t protocol, uint16_t localPort, uint16_t remotePort);
  static constexpr size_t FIRST_SLOTS = 8;
  static size_t slotOf(const std::vector<Slot>& slots, const Key& key);
  Table& tableOf(const Form& form);
  static void makeRoom(Table& table);
  void add(uint32_t set, const Selector& local, const Selector& remote);

  std::vector<Table> tables_;
  std::vector<Pair> pairs_;
};

}  // namespace isthmus

// The kernel over netlink: one request and its answer, and what it tells by itself. What the bytes mean is known in
// src/wire/rtnetlink.ts and src/wire/xfrm.ts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace isthmus {

/**
 * Sends one or more messages in one piece to a family of the kernel (NETLINK_ROUTE, NETLINK_XFRM) and gathers what comes
 * back until `answers` messages were acknowledged, refused or, for a dump, done. Empty, or why there is no answer.
 */
std::string netlinkRequest(int family, const uint8_t* bytes, size_t length, int answers, std::vector<uint8_t>& answer);

/** The same with the answer piece by piece: a dump of thousands is not waited for in one go. */
class NetlinkExchange {
 public:
  NetlinkExchange() = default;
  ~NetlinkExchange();
  NetlinkExchange(const NetlinkExchange&) = delete;
  NetlinkExchange& operator=(const NetlinkExchange&) = delete;

  /** Empty, or why nothing was sent. Once. */
  std::string send(int family, const uint8_t* bytes, size_t length, int answers);
  /** Whole messages, until there are so many bytes or all; nothing where all were received before. Empty, or why there is none. */
  std::string receive(size_t enough, std::vector<uint8_t>& answer);

 private:
  int fd_ = -1;
  /** Ends of answers that are still to come. */
  int missing_ = 0;
};

/** Hears the multicast groups of a family on a thread of its own. */
class NetlinkListener {
 public:
  NetlinkListener() = default;
  ~NetlinkListener();
  NetlinkListener(const NetlinkListener&) = delete;
  NetlinkListener& operator=(const NetlinkListener&) = delete;

  /** `groups`: a bit a group; `room`: bytes that may wait in the kernel, 0 for the usual. Empty, or why it cannot listen. */
  std::string open(int family, uint32_t groups, int room);
  /** `wake` is called from the listening thread when messages wait. */
  void start(void (*wake)(void*), void* context);
  void stop();
  /** Waiting messages in one piece; `lost` says that others were lost before this call. */
  std::vector<uint8_t> take(bool& lost);

 private:
  void listenLoop();
  void heard(const uint8_t* bytes, size_t length);

  int fd_ = -1;
  int stopFd_ = -1;
  std::thread thread_;
  std::atomic<bool> running_{false};
  void (*wake_)(void*) = nullptr;
  void* wakeContext_ = nullptr;
  std::mutex mutex_;  // guards what follows
  std::vector<uint8_t> waiting_;
  bool lost_ = false;
};

}  // namespace isthmus

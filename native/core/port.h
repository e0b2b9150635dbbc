// The outer sockets: UDP 500 and 4500, raw IP 50 and 51. IKE goes up through two bounded queues, ESP goes on in C++. Each worker has
// sockets of its own for ESP, and an SPI always comes to the same one.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "batch.h"
#include "esp.h"

namespace isthmus {

struct Datagram {
  Endpoint local, remote;
  std::vector<uint8_t> bytes;
};

/** Called from the receiving threads, each with its index: a batch at a time. */
class EspReceiver {
 public:
  virtual void begin(size_t worker) = 0;
  virtual void receive(size_t worker, const Arrival& arrival) = 0;
  virtual void end(size_t worker) = 0;

 protected:
  ~EspReceiver() = default;
};

class Port {
 public:
  struct Options {
    std::vector<Address> addresses;
    uint16_t ikePort = 500;
    uint16_t natPort = 4500;
    uint32_t mark = 0;
    bool rawIpsec = true;
    /** ESP is the kernel's: it takes it out of UDP by itself, and no policy of its applies to these sockets. */
    bool kernelEsp = false;
    /** Whether the kernel may cut and join ESP packets (UDP_SEGMENT, UDP_GRO). */
    bool trains = true;
    /** Receiving threads, 1 to 16. */
    size_t workers = 1;
    /** Microseconds that a thread looks for more before it sleeps. */
    uint32_t spin = 0;
  };

  Port();
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  /** Empty when all is open, else what could not be opened and why. */
  std::string open(const Options& options);
  /** `wake` is called from the receiving thread when datagrams wait. */
  void start(EspReceiver* receiver, void (*wake)(void*), void* context);
  void stop();
  /** Lets the thread call `begin` and `end`, though nothing has come. Any thread. */
  void rouse(size_t worker);

  /** An IKE message; the non-ESP marker is added on the NAT port. False when it could not be sent. `whole`: never in fragments. */
  bool send(const Endpoint& local, const Endpoint& remote, const uint8_t* bytes, size_t length, bool whole);
  /** How many packets could not be sent. One thread for each worker. */
  size_t sendEsp(size_t worker, const Train* trains, size_t count);

  /** IKE SPIs whose datagrams go first, and those that do so no more. Called from the control thread. */
  void know(const std::vector<uint64_t>& came, const std::vector<uint64_t>& went);
  /** Waiting datagrams, known SPIs first. */
  std::vector<Datagram> take();

  uint64_t dropped(size_t drop) const;

 private:
  /**
   * UDP 500; UDP 4500 twice, so that no flood of ESP takes the room of IKE; IP 50; IP 51, which also sends every packet that
   * brings its IP header.
   */
  enum class Kind : uint8_t { Ike, IkeNat, EspNat, Esp, Ah };
  struct Socket {
    int fd;
    Kind kind;
    Address address;
    uint16_t port;
    /** Whether the kernel cuts trains for it. */
    bool segmentation = true;
    bool dontFragment = false;
  };
  struct Worker;

  static bool isRaw(Kind kind);
  static Kind kindOf(const Sa& sa);
  void receiveLoop(Worker& worker);
  void roused(Worker& worker);
  void drainAll(Worker& worker, const Socket& socket);
  /** Whether anything came. */
  bool drain(Worker& worker, const Socket& socket);
  void arrived(Worker& worker, const Socket& socket, uint8_t* bytes, size_t length, uint8_t ecn, const Endpoint& remote);
  void cameRaw(Worker& worker, const Socket& socket, msghdr& message, size_t length);
  void queueIke(Worker& worker, const Socket& socket, const uint8_t* bytes, size_t length, const Endpoint& remote);
  size_t sendTrains(Socket& socket, const Train* trains, size_t count) const;
  size_t sendPieces(Socket& socket, const Train& train) const;
  bool sendFragments(Socket& socket, const Train& train, const uint8_t* packet, size_t bytes) const;
  std::string openSockets(Worker& worker, const Address& address, const Options& options);
  static void setWhole(const Socket& socket, bool whole);
  static std::string leaveEspToKernel(const Socket& socket);
  std::string openSocket(Worker& worker, Kind kind, const Address& address, uint16_t port, const Options& options);

  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<bool> running_{false};
  uint32_t spin_ = 0;
  uint32_t mark_ = 0;
  EspReceiver* receiver_ = nullptr;
  void (*wake_)(void*) = nullptr;
  void* wakeContext_ = nullptr;
  std::mutex mutex_;  // guards what follows; taken for IKE only
  std::deque<Datagram> known_, strangers_;
  std::unordered_set<uint64_t> spis_;
};

}  // namespace isthmus

// The outer sockets: UDP 500 and 4500, raw IP 50. IKE goes up through two bounded queues, ESP goes on in C++.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "sad.h"

namespace isthmus {

struct Endpoint {
  Address address;
  uint16_t port;
};

struct Datagram {
  Endpoint local, remote;
  std::vector<uint8_t> bytes;
};

/** One ESP packet as it came, in a buffer that may be written. */
struct EspArrival {
  uint8_t* esp;
  size_t bytes;
  uint8_t ecn;
  Endpoint remote;  // port 0: plain ESP
};

/** Called from the receiving thread. */
class EspReceiver {
 public:
  virtual void begin() = 0;
  virtual void receive(const EspArrival& arrival) = 0;
  virtual void end() = 0;

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
    bool rawEsp = true;
    /** ESP is the kernel's: it takes it out of UDP by itself, and no policy of its applies to these sockets. */
    bool kernelEsp = false;
  };

  Port() = default;
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  /** Empty when all is open, else what could not be opened and why. */
  std::string open(const Options& options);
  /** `wake` is called from the receiving thread when datagrams wait. */
  void start(EspReceiver* receiver, void (*wake)(void*), void* context);
  void stop();

  /** An IKE message; the non-ESP marker is added on the NAT port. False when it could not be sent. */
  bool send(const Endpoint& local, const Endpoint& remote, const uint8_t* bytes, size_t length);
  /** ESP packets of `segment` bytes in one piece, the last may be shorter; `ecn` for the outer header. One thread. */
  bool sendEsp(const Sa& sa, const uint8_t* bytes, size_t length, size_t segment, uint8_t ecn);

  /** IKE SPIs whose datagrams go first. Called from the control thread. */
  void setKnown(std::unordered_set<uint64_t> spis);
  /** Waiting datagrams, known SPIs first. */
  std::vector<Datagram> take();

  Counter dropped[DROPS]{};

 private:
  enum class Kind : uint8_t { Ike, Nat, Raw };
  struct Socket {
    int fd;
    Kind kind;
    Address address;
    uint16_t port;
    bool segmentation = true;
  };

  void receiveLoop();
  void drain(Socket& socket);
  void arrived(const Socket& socket, uint8_t* bytes, size_t length, uint8_t ecn, const Endpoint& remote);
  void queueIke(const Socket& socket, const uint8_t* bytes, size_t length, const Endpoint& remote);
  Socket* find(Kind kind, const Address& address);
  std::string openSocket(Kind kind, const Address& address, uint16_t port, uint32_t mark);
  std::string leaveEspToKernel(const Socket& socket);

  std::vector<Socket> sockets_;
  std::thread thread_;
  std::atomic<bool> running_{false};
  int wakeFd_ = -1;
  EspReceiver* receiver_ = nullptr;
  void (*wake_)(void*) = nullptr;
  void* wakeContext_ = nullptr;
  std::vector<uint8_t> buffers_;
  std::mutex mutex_;  // guards what follows; taken for IKE only
  std::deque<Datagram> known_, strangers_;
  std::unordered_set<uint64_t> spis_;
};

}  // namespace isthmus

// Numbered UDP, cheap enough to measure a gateway with. Each result is one JSON line.
//
//   bench-udp sink ADDRESS PORT                                counts until its standard input ends
//   bench-udp send ADDRESS PORT RATE SECONDS BYTES [SEGMENTS]  at a steady rate; with SEGMENTS by UDP_SEGMENT; until the time
//                                                              is over or its standard input ends
//   bench-udp echo ADDRESS PORT                                sends back what comes, until its standard input ends
//   bench-udp ping ADDRESS PORT COUNT MICROSECONDS             round trips, one after the other, that far apart
//
// RATE 0 is as fast as it goes.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace {

constexpr int BATCH = 64;
constexpr int SOCKET_BUFFER = 32 << 20;
constexpr size_t MOST_DATAGRAM = 2048;
constexpr size_t MOST_GATHERED = 65536;
/** A sender that is later than this lets the rest go: a burst would not be the rate asked for. */
constexpr double MOST_LATE = 0.001;
constexpr double TICK = 0.0002;
/** How often the sink looks: woken for every packet it would cost more than what it measures. */
constexpr double LOOK = 0.001;
/** Enough for a minute at four million packets per second. */
constexpr uint64_t MOST_NUMBER = 1ull << 28;

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "bench-udp: %s: %s\n", what, strerror(errno));
  exit(5);
}

[[noreturn]] void misuse(const char* what) {
  fprintf(stderr, "bench-udp: %s\n", what);
  exit(2);
}

double now() {
  timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return double(at.tv_sec) + double(at.tv_nsec) / 1e9;
}

void sleepFor(double seconds) {
  if (seconds <= 0) return;
  const timespec wait{time_t(seconds), long((seconds - double(time_t(seconds))) * 1e9)};
  nanosleep(&wait, nullptr);
}

double cpuSeconds() {
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  return double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + double(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int openSocket(const char* address, const char* port, bool receives) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(uint16_t(atoi(port)));
  if (inet_pton(AF_INET, address, &name.sin_addr) != 1) misuse("the address is not one of IPv4");
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  for (const int option : {SO_RCVBUFFORCE, SO_SNDBUFFORCE}) (void)setsockopt(fd, SOL_SOCKET, option, &SOCKET_BUFFER, sizeof SOCKET_BUFFER);
  auto* any = reinterpret_cast<sockaddr*>(&name);
  if ((receives ? bind(fd, any, sizeof name) : connect(fd, any, sizeof name)) != 0) fail(receives ? "bind" : "connect");
  return fd;
}

/** Traffic from elsewhere does not wait for a turn on the gateways' cores. Where that is not allowed it goes without. */
void beOutside() {
  const sched_param first{1};
  (void)sched_setscheduler(0, SCHED_FIFO, &first);
  prctl(PR_SET_TIMERSLACK, 1);
}

void ready() {
  puts("ready");
  fflush(stdout);
}

/** False once the parent has closed our standard input and nothing waits. */
bool waitFor(int fd) {
  pollfd polled[2] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  while (poll(polled, 2, -1) < 0) {
    if (errno != EINTR) fail("poll");
  }
  return polled[1].revents == 0 || polled[0].revents != 0;
}

/** Waits that long, or until the parent closes our standard input. */
bool inputEnded(double seconds) {
  pollfd polled{STDIN_FILENO, POLLIN, 0};
  const timespec wait{time_t(seconds), long((seconds - double(time_t(seconds))) * 1e9)};
  return ppoll(&polled, 1, &wait, nullptr) > 0;
}

/** Which numbers have come. */
struct Seen {
  std::vector<uint64_t> bits;
  uint64_t received = 0, distinct = 0;

  void add(uint64_t number) {
    received++;
    if (number >= MOST_NUMBER) return;
    const size_t word = size_t(number / 64);
    if (word >= bits.size()) bits.resize(std::max(word + 1, bits.size() * 2));
    const uint64_t bit = 1ull << (number % 64);
    if ((bits[word] & bit) == 0) distinct++;
    bits[word] |= bit;
  }
};

size_t segmentOf(msghdr& message, size_t length) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO) continue;
    int segment;
    memcpy(&segment, CMSG_DATA(c), sizeof segment);
    return size_t(segment);
  }
  return length;
}

int sink(const char* address, const char* port) {
  const int fd = openSocket(address, port, true);
  const int on = 1;
  (void)setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on);
  std::vector<uint8_t> room(BATCH * MOST_GATHERED);
  alignas(cmsghdr) uint8_t control[BATCH][64];
  iovec vectors[BATCH];
  mmsghdr messages[BATCH];
  Seen seen;
  seen.bits.resize(1 << 16);
  ready();
  for (int count = 0; count == BATCH || waitFor(fd);) {
    if (count != BATCH) sleepFor(LOOK);
    for (int i = 0; i < BATCH; i++) {
      vectors[i] = {room.data() + size_t(i) * MOST_GATHERED, MOST_GATHERED};
      messages[i].msg_hdr = {nullptr, 0, &vectors[i], 1, control[i], sizeof control[i], 0};
    }
    count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, nullptr);
    for (int i = 0; i < count; i++) {
      const size_t length = messages[i].msg_len, segment = segmentOf(messages[i].msg_hdr, length);
      for (size_t at = 0; at + 8 <= length; at += segment) {
        uint64_t number;
        memcpy(&number, room.data() + size_t(i) * MOST_GATHERED + at, sizeof number);
        seen.add(number);
      }
    }
  }
  printf("{\"received\":%lu,\"distinct\":%lu,\"cpu\":%.4f}\n", (unsigned long)seen.received, (unsigned long)seen.distinct, cpuSeconds());
  return 0;
}

class Sender {
 public:
  Sender(int fd, size_t bytes, size_t segments) : fd_(fd), bytes_(bytes), segments_(segments), room_(BATCH * segments * bytes) {
    for (int i = 0; i < BATCH; i++) {
      vectors_[i] = {room_.data() + size_t(i) * segments * bytes, segments * bytes};
      messages_[i].msg_hdr = {nullptr, 0, &vectors_[i], 1, nullptr, 0, 0};
    }
    const int segment = int(bytes);
    if (segments > 1 && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0) fail("UDP_SEGMENT");
  }

  /** Up to `due` datagrams; how many went. */
  uint64_t send(uint64_t due) {
    const size_t calls = std::min(size_t(BATCH), size_t((due + segments_ - 1) / segments_));
    for (size_t i = 0; i < calls * segments_; i++) {
      const uint64_t number = sent_ + i;
      memcpy(room_.data() + i * bytes_, &number, sizeof number);
    }
    const int went = sendmmsg(fd_, messages_, unsigned(calls), 0);
    // A route that is away for a moment is a loss like any other.
    const uint64_t numbers = uint64_t(went > 0 ? went : 1) * segments_;
    sent_ += numbers;
    return numbers;
  }
  uint64_t sent() const { return sent_; }

 private:
  int fd_;
  size_t bytes_, segments_;
  std::vector<uint8_t> room_;
  iovec vectors_[BATCH];
  mmsghdr messages_[BATCH];
  uint64_t sent_ = 0;
};

int send(const char* address, const char* port, double rate, double seconds, size_t bytes, size_t segments) {
  if (bytes < 8 || bytes > MOST_DATAGRAM || segments < 1 || segments * bytes > 65000) misuse("BYTES or SEGMENTS out of range");
  Sender sender(openSocket(address, port, false), bytes, segments);
  if (rate > 0) beOutside();
  const double most = std::max(MOST_LATE, 2 * double(segments) / rate);
  const double begin = now();
  double base = begin, at = begin;
  uint64_t since = 0;  // datagrams since `base`
  for (bool wanted = true; wanted && (at = now()) - begin < seconds;) {
    if (rate <= 0) {
      sender.send(BATCH * segments);
      continue;
    }
    const double late = (at - base) - double(since) / rate;
    if (late > most) base += late - most;
    const uint64_t target = uint64_t((at - base) * rate);
    if (target >= since + segments) {
      since += sender.send((target - since) / segments * segments);
    } else {
      wanted = !inputEnded(std::max(TICK, (double(since + segments) / rate) - (at - base)));
    }
  }
  printf("{\"sent\":%lu,\"seconds\":%.6f,\"cpu\":%.4f}\n", (unsigned long)sender.sent(), at - begin, cpuSeconds());
  return 0;
}

int echo(const char* address, const char* port) {
  const int fd = openSocket(address, port, true);
  uint8_t datagram[MOST_DATAGRAM];
  beOutside();
  ready();
  while (waitFor(fd)) {
    sockaddr_in from;
    socklen_t length = sizeof from;
    const ssize_t bytes = recvfrom(fd, datagram, sizeof datagram, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
    if (bytes > 0) (void)!sendto(fd, datagram, size_t(bytes), 0, reinterpret_cast<sockaddr*>(&from), length);
  }
  return 0;
}

int ping(const char* address, const char* port, int count, int apart) {
  const int fd = openSocket(address, port, false);
  const timeval patience{0, 500'000};
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  beOutside();
  std::vector<double> trips;
  for (uint64_t number = 0; number < uint64_t(count); number++) {
    uint8_t datagram[64] = {};
    memcpy(datagram, &number, sizeof number);
    const double begin = now();
    (void)!::send(fd, datagram, sizeof datagram, 0);
    uint64_t answered = ~0ull;
    // An answer that comes after its time is not taken for the next one's.
    while (answered != number && recv(fd, datagram, sizeof datagram, 0) >= 8) memcpy(&answered, datagram, sizeof answered);
    const double end = now();
    if (answered == number) trips.push_back(1e6 * (end - begin));
    sleepFor(double(apart) / 1e6);
  }
  std::sort(trips.begin(), trips.end());
  const auto part = [&trips](double share) { return trips.empty() ? 0 : trips[size_t(share * double(trips.size() - 1))]; };
  printf("{\"sent\":%d,\"received\":%zu,\"p50\":%.2f,\"p99\":%.2f,\"least\":%.2f}\n", count, trips.size(), part(0.5), part(0.99), part(0));
  return 0;
}

}  // namespace

int main(int count, char** words) {
  const auto is = [&](const char* name, int least) { return count >= least && strcmp(words[1], name) == 0; };
  if (is("sink", 4)) return sink(words[2], words[3]);
  if (is("echo", 4)) return echo(words[2], words[3]);
  if (is("ping", 6)) return ping(words[2], words[3], atoi(words[4]), atoi(words[5]));
  if (is("send", 7)) return send(words[2], words[3], atof(words[4]), atof(words[5]), size_t(atoi(words[6])), count > 7 ? size_t(atoi(words[7])) : 1);
  fprintf(stderr, "usage: bench-udp sink|echo ADDRESS PORT, send ADDRESS PORT RATE SECONDS BYTES [SEGMENTS], ping ADDRESS PORT COUNT MICROSECONDS\n");
  return 2;
}

#include "mark.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstring>
#include <vector>

#include "netlink.h"

namespace isthmus {

namespace {

constexpr char MARK[] = "isthmus: ";
constexpr size_t FIXED = NLMSG_LENGTH(sizeof(ifinfomsg));

void addText(std::vector<uint8_t>& message, uint16_t type, const std::string& text) {
  const rtattr attribute{static_cast<uint16_t>(RTA_LENGTH(text.size() + 1)), type};
  const size_t at = message.size();
  message.resize(at + RTA_SPACE(text.size() + 1));
  memcpy(message.data() + at, &attribute, sizeof attribute);
  memcpy(message.data() + at + RTA_LENGTH(0), text.c_str(), text.size() + 1);
}

/** A message about the device of that name. */
std::vector<uint8_t> messageAbout(const std::string& name, uint16_t type) {
  std::vector<uint8_t> message(FIXED);
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  memcpy(message.data(), &header, sizeof header);
  addText(message, IFLA_IFNAME, name);
  return message;
}

std::vector<uint8_t> ask(std::vector<uint8_t> message) {
  const uint32_t length = uint32_t(message.size());
  memcpy(message.data(), &length, sizeof length);
  std::vector<uint8_t> answer;
  return netlinkRequest(NETLINK_ROUTE, message.data(), message.size(), 1, answer).empty() ? answer : std::vector<uint8_t>{};
}

/** Whether the answer ends with an acknowledgement. */
bool isDone(const std::vector<uint8_t>& answer) {
  constexpr size_t LEAST = NLMSG_LENGTH(sizeof(int));
  nlmsghdr header{};
  for (size_t at = 0; at + sizeof header <= answer.size(); at += NLMSG_ALIGN(header.nlmsg_len)) {
    memcpy(&header, answer.data() + at, sizeof header);
    if (header.nlmsg_len < sizeof header) return false;
    if (header.nlmsg_type != NLMSG_ERROR || at + LEAST > answer.size()) continue;
    int error;
    memcpy(&error, answer.data() + at + NLMSG_LENGTH(0), sizeof error);
    return error == 0;
  }
  return false;
}

/** The alias in a description of a device, or nothing. */
std::string aliasIn(const std::vector<uint8_t>& answer) {
  nlmsghdr header{};
  if (answer.size() < FIXED) return "";
  memcpy(&header, answer.data(), sizeof header);
  const size_t end = header.nlmsg_type == RTM_NEWLINK && header.nlmsg_len <= answer.size() ? header.nlmsg_len : 0;
  rtattr attribute{};
  for (size_t at = NLMSG_ALIGN(FIXED); at + sizeof attribute <= end; at += RTA_ALIGN(attribute.rta_len)) {
    memcpy(&attribute, answer.data() + at, sizeof attribute);
    if (attribute.rta_len < sizeof attribute || at + attribute.rta_len > end) return "";
    if (attribute.rta_type != IFLA_IFALIAS) continue;
    const char* text = reinterpret_cast<const char*>(answer.data() + at + RTA_LENGTH(0));
    return std::string(text, strnlen(text, attribute.rta_len - RTA_LENGTH(0)));
  }
  return "";
}

}  // namespace

bool isMarked(const std::string& name) {
  return aliasIn(ask(messageAbout(name, RTM_GETLINK))).starts_with(MARK);
}

bool setMark(const std::string& name) {
  std::vector<uint8_t> message = messageAbout(name, RTM_NEWLINK);
  addText(message, IFLA_IFALIAS, std::string(MARK) + "packets for a tunnel");
  return isDone(ask(std::move(message)));
}

bool removeDevice(const std::string& name) {
  return isDone(ask(messageAbout(name, RTM_DELLINK)));
}

}  // namespace isthmus

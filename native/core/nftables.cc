#include "nftables.h"

#include <dlfcn.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>

namespace isthmus {
namespace {

/** libnftables(3): of nft_ctx_output_set_flags. */
constexpr unsigned outputJson = 1u << 4;

struct Library {
  void* (*create)(uint32_t);
  void (*free)(void*);
  void (*setFlags)(void*, unsigned);
  int (*bufferOutput)(void*);
  int (*bufferErrors)(void*);
  int (*run)(void*, const char*);
  const char* (*output)(void*);
  const char* (*errors)(void*);
};

template <typename Function>
bool find(void* library, const char* name, Function& into) {
  into = reinterpret_cast<Function>(dlsym(library, name));
  return into != nullptr;
}

bool load(Library& into) {
  void* library = dlopen("libnftables.so.1", RTLD_NOW | RTLD_LOCAL);
  return library && find(library, "nft_ctx_new", into.create) && find(library, "nft_ctx_free", into.free) &&
         find(library, "nft_ctx_output_set_flags", into.setFlags) && find(library, "nft_ctx_buffer_output", into.bufferOutput) &&
         find(library, "nft_ctx_buffer_error", into.bufferErrors) && find(library, "nft_run_cmd_from_buffer", into.run) &&
         find(library, "nft_ctx_get_output_buffer", into.output) && find(library, "nft_ctx_get_error_buffer", into.errors);
}

/** Where the kernel has no such family, the library ends the process. */
bool kernelAnswers() {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

}  // namespace

bool runNftables(const std::string& commands, std::string& answer) {
  if (!kernelAnswers()) {
    answer = "this kernel has no nftables: modprobe nf_tables";
    return false;
  }
  Library library{};
  if (!load(library)) {
    answer = "libnftables.so.1 is missing: apt-get install libnftables1";
    return false;
  }
  void* context = library.create(0);
  if (!context) {
    answer = "libnftables gives no context";
    return false;
  }
  library.setFlags(context, outputJson);
  library.bufferOutput(context);
  library.bufferErrors(context);
  const bool done = library.run(context, commands.c_str()) == 0;
  const char* said = done ? library.output(context) : library.errors(context);
  answer = said ? said : "";
  library.free(context);
  return done;
}

}  // namespace isthmus

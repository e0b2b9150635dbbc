/* libnftables as far as our addon calls it, doing nothing. The kernel of user-mode Linux has no nftables families for IP, so
 * the engine's guards cannot stand there; what is tested there is the protocol. */
#include <stddef.h>

void *nft_ctx_new(unsigned flags) { (void)flags; return ""; }
void nft_ctx_free(void *context) { (void)context; }
void nft_ctx_output_set_flags(void *context, unsigned flags) { (void)context; (void)flags; }
int nft_ctx_buffer_output(void *context) { (void)context; return 0; }
int nft_ctx_buffer_error(void *context) { (void)context; return 0; }
int nft_run_cmd_from_buffer(void *context, const char *commands) { (void)context; (void)commands; return 0; }
const char *nft_ctx_get_output_buffer(void *context) { (void)context; return ""; }
const char *nft_ctx_get_error_buffer(void *context) { (void)context; return ""; }

// Integrity algorithms of ESP and AH on OpenSSL: one context for each SA, fetched once, used by one thread.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>

namespace isthmus {

/** Numbers of transform type 3 of IKEv2. Those of AES-GMAC are for AH alone, which makes them itself (ah-icv.h). */
enum class Integrity : uint8_t {
  None = 0,
  HmacSha1 = 2,
  AesXcbc = 5,
  AesCmac = 8,
  Aes128Gmac = 9,
  Aes192Gmac = 10,
  Aes256Gmac = 11,
  HmacSha256 = 12,
  HmacSha384 = 13,
  HmacSha512 = 14,
};

class Mac {
 public:
  Mac() = default;
  ~Mac();
  Mac(const Mac&) = delete;
  Mac& operator=(const Mac&) = delete;

  /** False where OpenSSL refuses or the key has another size. */
  bool open(Integrity algorithm, const uint8_t* key, size_t keyBytes);
  /** Bytes of the whole code; ESP sends the first of them. */
  size_t codeBytes() const { return codeBytes_; }
  /** The code of `text` and `more` behind it, into `code`, which has room for 64 bytes. */
  bool compute(const uint8_t* text, size_t textBytes, const uint8_t* more, size_t moreBytes, uint8_t* code);

 private:
  bool openXcbc(const uint8_t* key);
  bool computeXcbc(const uint8_t* text, size_t textBytes, const uint8_t* more, size_t moreBytes, uint8_t* code);
  bool absorb(const uint8_t* bytes, size_t count);

  size_t codeBytes_ = 0;
  EVP_MAC_CTX* context_ = nullptr;
  /** AES-XCBC only: AES-CBC with K1, and what covers a whole last block and a padded one. */
  EVP_CIPHER_CTX* chain_ = nullptr;
  uint8_t whole_[16] = {}, part_[16] = {};
};

}  // namespace isthmus

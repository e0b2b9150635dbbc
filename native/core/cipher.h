// ESP's algorithms on OpenSSL: one context for each SA, fetched once, used by one thread.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>

namespace isthmus {

enum class Algorithm : uint8_t { AesGcm16, ChaCha20Poly1305, AesCbcHmac };

struct CipherSpec {
  Algorithm algorithm;
  /** Key, then salt where the algorithm has one. */
  const uint8_t* key;
  size_t keyBytes;
  /** HMAC only: SHA-2 bits (256, 384, 512) and its key. */
  int digestBits;
  const uint8_t* integrityKey;
  size_t integrityKeyBytes;
};

/** Sizes that follow from the algorithm. */
struct CipherShape {
  uint8_t ivBytes;
  uint8_t icvBytes;
  /** Ciphertext is a multiple of this. */
  uint8_t blockBytes;
};

class Cipher {
 public:
  Cipher() = default;
  ~Cipher();
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;

  /** False where OpenSSL refuses: sizes that do not fit, an algorithm it lacks. */
  bool open(const CipherSpec& spec, bool encrypt);
  const CipherShape& shape() const { return shape_; }

  /**
   * Protects in place. `esp` points to SPI and sequence number, IV room and plaintext follow; `textBytes` is a multiple of
   * the block. Writes IV and ICV. `high` is the upper half of an extended sequence number, `esn` whether there is one.
   */
  bool seal(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  /** The reverse, in place; `espBytes` counts header, IV, ciphertext and ICV. False where the ICV does not fit. */
  bool unseal(uint8_t* esp, size_t espBytes, uint64_t sequence, bool esn);

 private:
  bool sealAead(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool unsealAead(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool sealCbc(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool unsealCbc(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool mac(const uint8_t* esp, size_t bytes, uint64_t sequence, bool esn, uint8_t* icv);

  Algorithm algorithm_ = Algorithm::AesGcm16;
  CipherShape shape_{};
  uint8_t salt_[4] = {};
  EVP_CIPHER_CTX* context_ = nullptr;
  EVP_MAC_CTX* mac_ = nullptr;
};

}  // namespace isthmus

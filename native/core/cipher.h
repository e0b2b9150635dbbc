// ESP's algorithms on OpenSSL: one context for each SA, fetched once, used by one thread.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>

#include "mac.h"

namespace isthmus {

/** Numbers of transform type 1 of IKEv2. */
enum class Algorithm : uint8_t {
  Null = 11,
  AesCbc = 12,
  AesCtr = 13,
  AesCcm8 = 14,
  AesCcm12 = 15,
  AesCcm16 = 16,
  AesGcm8 = 18,
  AesGcm12 = 19,
  AesGcm16 = 20,
  AesGmac = 21,
  ChaCha20Poly1305 = 28,
};

struct CipherSpec {
  Algorithm algorithm;
  /** Key, then salt where the algorithm has one. */
  const uint8_t* key;
  size_t keyBytes;
  /** Beside encryption without its own: which, how much of its code is sent, and its key. */
  Integrity integrity;
  uint8_t icvBytes;
  const uint8_t* integrityKey;
  size_t integrityKeyBytes;
};

/** Sizes that follow from the algorithms. */
struct CipherShape {
  uint8_t ivBytes;
  uint8_t icvBytes;
  /** Ciphertext is a multiple of this. */
  uint8_t blockBytes;
};

/** How a packet is made. `Combined` is AES-GCM and ChaCha20-Poly1305. */
enum class Mode : uint8_t { Combined, Ccm, Gmac, Cbc, Ctr, Null };

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
   * the block. Writes IV and ICV. `sequence` is the whole number, `esn` whether it is an extended one.
   */
  bool seal(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  /** The reverse, in place; `espBytes` counts header, IV, ciphertext and ICV. False where the ICV does not fit. */
  bool unseal(uint8_t* esp, size_t espBytes, uint64_t sequence, bool esn);

 private:
  bool openContext(const char* name, const uint8_t* key, bool encrypt);
  void nonceOf(const uint8_t* esp, uint8_t* nonce) const;
  bool sealCombined(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool unsealCombined(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool sealCcm(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool unsealCcm(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool sealGmac(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool unsealGmac(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool sealSeparate(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool unsealSeparate(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn);
  bool crypt(uint8_t* esp, size_t textBytes);
  bool randomIv(uint8_t* iv);

  Mode mode_ = Mode::Combined;
  uint8_t saltBytes_ = 0;
  CipherShape shape_{};
  uint8_t salt_[4] = {};
  EVP_CIPHER_CTX* context_ = nullptr;
  Mac mac_;
  /** Random bytes for IVs, drawn many at once; the first `drawn_` are not used yet. */
  uint8_t drawn_ = 0;
  uint8_t random_[128];
};

}  // namespace isthmus

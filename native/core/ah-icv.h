// The integrity check value of AH (RFC 4302 §2.6): one context for each SA, fetched once, used by one thread.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>

#include "mac.h"

namespace isthmus {

class AhIcv {
 public:
  /** What the longest ICV field takes, without its padding. */
  static constexpr size_t MOST = 32;

  AhIcv() = default;
  ~AhIcv();
  AhIcv(const AhIcv&) = delete;
  AhIcv& operator=(const AhIcv&) = delete;

  /** `icvBytes`: how much of the code is sent. The key of AES-GMAC has its salt behind it. False where sizes do not fit. */
  bool open(Integrity algorithm, uint8_t icvBytes, const uint8_t* key, size_t keyBytes);
  /** Bytes of the ICV field without its padding; of AES-GMAC the IV is part of it (RFC 4543 §4). */
  size_t fieldBytes() const { return fieldBytes_; }
  /**
   * What the field says for a packet in which mutable fields and ICV are zero already. `sequence` is the whole number, `esn`
   * whether it is an extended one; `received` the field that came, whose IV is used, or nullptr to make one.
   */
  bool compute(const uint8_t* packet, size_t bytes, uint64_t sequence, bool esn, const uint8_t* received, uint8_t* field);

 private:
  bool computeGmac(const uint8_t* packet, size_t bytes, const uint8_t* high, size_t highBytes, uint8_t* field);

  size_t fieldBytes_ = 0;
  Mac mac_;
  /** AES-GMAC only. */
  EVP_CIPHER_CTX* gmac_ = nullptr;
  uint8_t salt_[4] = {};
};

}  // namespace isthmus

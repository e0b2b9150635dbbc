#include "ah-icv.h"

#include <openssl/crypto.h>

#include <cstring>

#include "ip.h"

namespace isthmus {

namespace {

constexpr size_t SALT = 4, IV = 8, TAG = 16;
constexpr uint8_t LEAST_ICV = 12;

struct GmacRow {
  Integrity algorithm;
  const char* name;
  size_t keyBytes;
};
constexpr GmacRow GMACS[] = {
    {Integrity::Aes128Gmac, "AES-128-GCM", 16},
    {Integrity::Aes192Gmac, "AES-192-GCM", 24},
    {Integrity::Aes256Gmac, "AES-256-GCM", 32},
};

}  // namespace

AhIcv::~AhIcv() {
  EVP_CIPHER_CTX_free(gmac_);
  OPENSSL_cleanse(salt_, sizeof salt_);
}

bool AhIcv::open(Integrity algorithm, uint8_t icvBytes, const uint8_t* key, size_t keyBytes) {
  for (const GmacRow& row : GMACS) {
    if (row.algorithm != algorithm) continue;
    if (icvBytes != TAG || keyBytes != row.keyBytes + SALT) return false;
    memcpy(salt_, key + row.keyBytes, SALT);
    fieldBytes_ = IV + TAG;
    EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, row.name, nullptr);
    gmac_ = cipher ? EVP_CIPHER_CTX_new() : nullptr;
    const bool ok = gmac_ && EVP_EncryptInit_ex2(gmac_, cipher, key, nullptr, nullptr) == 1;
    EVP_CIPHER_free(cipher);
    return ok;
  }
  fieldBytes_ = icvBytes;
  return icvBytes >= LEAST_ICV && icvBytes <= MOST && mac_.open(algorithm, key, keyBytes) && icvBytes <= mac_.codeBytes();
}

bool AhIcv::compute(const uint8_t* packet, size_t bytes, uint64_t sequence, bool esn, const uint8_t* received, uint8_t* field) {
  // RFC 4302 §3.3.3.2.2: the high half is covered behind the packet and not sent.
  uint8_t high[4], code[64];
  const size_t highBytes = esn ? sizeof high : 0;
  put32(high, uint32_t(sequence >> 32));
  if (gmac_) {
    if (received) memcpy(field, received, IV);
    else put64(field, sequence);
    return computeGmac(packet, bytes, high, highBytes, field);
  }
  if (!mac_.compute(packet, bytes, high, highBytes, code)) return false;
  memcpy(field, code, fieldBytes_);
  return true;
}

/** The IV is the first part of the field; it reaches the tag by the nonce. */
bool AhIcv::computeGmac(const uint8_t* packet, size_t bytes, const uint8_t* high, size_t highBytes, uint8_t* field) {
  uint8_t nonce[SALT + IV], nothing[TAG];
  int out = 0;
  memcpy(nonce, salt_, SALT);
  memcpy(nonce + SALT, field, IV);
  return EVP_EncryptInit_ex2(gmac_, nullptr, nullptr, nonce, nullptr) == 1 &&
         EVP_EncryptUpdate(gmac_, nullptr, &out, packet, int(bytes)) == 1 &&
         (highBytes == 0 || EVP_EncryptUpdate(gmac_, nullptr, &out, high, int(highBytes)) == 1) &&
         EVP_EncryptFinal_ex(gmac_, nothing, &out) == 1 && EVP_CIPHER_CTX_ctrl(gmac_, EVP_CTRL_AEAD_GET_TAG, TAG, field + IV) == 1;
}

}  // namespace isthmus

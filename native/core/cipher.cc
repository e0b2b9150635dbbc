#include "cipher.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <cstring>

#include "ip.h"

namespace isthmus {

namespace {

constexpr size_t ESP_HEADER = 8;

const char* cipherName(Algorithm algorithm, size_t keyBytes) {
  switch (algorithm) {
    case Algorithm::ChaCha20Poly1305:
      return keyBytes == 32 ? "ChaCha20-Poly1305" : nullptr;
    case Algorithm::AesGcm16:
      return keyBytes == 16 ? "AES-128-GCM" : keyBytes == 24 ? "AES-192-GCM" : keyBytes == 32 ? "AES-256-GCM" : nullptr;
    case Algorithm::AesCbcHmac:
      return keyBytes == 16 ? "AES-128-CBC" : keyBytes == 24 ? "AES-192-CBC" : keyBytes == 32 ? "AES-256-CBC" : nullptr;
  }
  return nullptr;
}

/** SPI and sequence number, with the high half in between where there is one (RFC 4106 §5). */
size_t associatedData(const uint8_t* esp, uint64_t sequence, bool esn, uint8_t* aad) {
  memcpy(aad, esp, 4);
  if (!esn) {
    memcpy(aad + 4, esp + 4, 4);
    return 8;
  }
  put64(aad + 4, sequence);
  return 12;
}

}  // namespace

Cipher::~Cipher() {
  EVP_CIPHER_CTX_free(context_);
  EVP_MAC_CTX_free(mac_);
  OPENSSL_cleanse(salt_, sizeof salt_);
}

bool Cipher::open(const CipherSpec& spec, bool encrypt) {
  algorithm_ = spec.algorithm;
  const bool aead = algorithm_ != Algorithm::AesCbcHmac;
  const size_t saltBytes = aead ? sizeof salt_ : 0;
  if (spec.keyBytes <= saltBytes) return false;
  const size_t keyBytes = spec.keyBytes - saltBytes;
  const char* name = cipherName(algorithm_, keyBytes);
  if (!name) return false;
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  context_ = EVP_CIPHER_CTX_new();
  bool ok = cipher && context_ && EVP_CipherInit_ex2(context_, cipher, spec.key, nullptr, encrypt, nullptr) == 1;
  EVP_CIPHER_free(cipher);
  if (!ok) return false;
  if (aead) {
    memcpy(salt_, spec.key + keyBytes, saltBytes);
    shape_ = {8, 16, 1};
    return true;
  }
  EVP_CIPHER_CTX_set_padding(context_, 0);
  shape_ = {16, uint8_t(spec.digestBits / 16), 16};
  char digest[] = "SHA256";
  memcpy(digest + 3, spec.digestBits == 512 ? "512" : spec.digestBits == 384 ? "384" : "256", 3);
  EVP_MAC* hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  mac_ = hmac ? EVP_MAC_CTX_new(hmac) : nullptr;
  EVP_MAC_free(hmac);
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
  return mac_ && EVP_MAC_init(mac_, spec.integrityKey, spec.integrityKeyBytes, params) == 1;
}

bool Cipher::seal(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  return algorithm_ == Algorithm::AesCbcHmac ? sealCbc(esp, textBytes, sequence, esn) : sealAead(esp, textBytes, sequence, esn);
}

bool Cipher::unseal(uint8_t* esp, size_t espBytes, uint64_t sequence, bool esn) {
  const size_t around = ESP_HEADER + shape_.ivBytes + shape_.icvBytes;
  if (espBytes <= around) return false;
  const size_t textBytes = espBytes - around;
  if (textBytes % shape_.blockBytes != 0) return false;
  return algorithm_ == Algorithm::AesCbcHmac ? unsealCbc(esp, textBytes, sequence, esn)
                                             : unsealAead(esp, textBytes, sequence, esn);
}

bool Cipher::sealAead(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t nonce[12], aad[12];
  int out = 0;
  // The sequence number never repeats under one key, so it is the IV (RFC 4106 §3.1).
  put64(esp + ESP_HEADER, sequence);
  memcpy(nonce, salt_, 4);
  memcpy(nonce + 4, esp + ESP_HEADER, 8);
  uint8_t* text = esp + ESP_HEADER + 8;
  const size_t aadBytes = associatedData(esp, sequence, esn, aad);
  return EVP_EncryptInit_ex2(context_, nullptr, nullptr, nonce, nullptr) == 1 &&
         EVP_EncryptUpdate(context_, nullptr, &out, aad, int(aadBytes)) == 1 &&
         EVP_EncryptUpdate(context_, text, &out, text, int(textBytes)) == 1 &&
         EVP_EncryptFinal_ex(context_, text + out, &out) == 1 &&
         EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, 16, text + textBytes) == 1;
}

bool Cipher::unsealAead(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t nonce[12], aad[12];
  int out = 0;
  memcpy(nonce, salt_, 4);
  memcpy(nonce + 4, esp + ESP_HEADER, 8);
  uint8_t* text = esp + ESP_HEADER + 8;
  const size_t aadBytes = associatedData(esp, sequence, esn, aad);
  return EVP_DecryptInit_ex2(context_, nullptr, nullptr, nonce, nullptr) == 1 &&
         EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, 16, text + textBytes) == 1 &&
         EVP_DecryptUpdate(context_, nullptr, &out, aad, int(aadBytes)) == 1 &&
         EVP_DecryptUpdate(context_, text, &out, text, int(textBytes)) == 1 &&
         EVP_DecryptFinal_ex(context_, text + out, &out) == 1;
}

bool Cipher::sealCbc(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  int out = 0;
  uint8_t* iv = esp + ESP_HEADER;
  // RFC 3602 §3: unpredictable.
  if (RAND_bytes(iv, 16) != 1) return false;
  uint8_t* text = iv + 16;
  uint8_t icv[64];
  if (EVP_EncryptInit_ex2(context_, nullptr, nullptr, iv, nullptr) != 1 ||
      EVP_EncryptUpdate(context_, text, &out, text, int(textBytes)) != 1 ||
      !mac(esp, ESP_HEADER + 16 + textBytes, sequence, esn, icv)) {
    return false;
  }
  memcpy(text + textBytes, icv, shape_.icvBytes);
  return true;
}

bool Cipher::unsealCbc(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  int out = 0;
  uint8_t* text = esp + ESP_HEADER + 16;
  uint8_t icv[64];
  // The ICV comes first: a padding fault must not be told from a forged packet.
  if (!mac(esp, ESP_HEADER + 16 + textBytes, sequence, esn, icv)) return false;
  if (CRYPTO_memcmp(icv, text + textBytes, shape_.icvBytes) != 0) return false;
  return EVP_DecryptInit_ex2(context_, nullptr, nullptr, esp + ESP_HEADER, nullptr) == 1 &&
         EVP_DecryptUpdate(context_, text, &out, text, int(textBytes)) == 1;
}

/** The high half of an extended number is covered and not sent (RFC 4303 §2.2.1). */
bool Cipher::mac(const uint8_t* esp, size_t bytes, uint64_t sequence, bool esn, uint8_t* icv) {
  size_t size = 0;
  uint8_t high[4];
  put32(high, uint32_t(sequence >> 32));
  return EVP_MAC_init(mac_, nullptr, 0, nullptr) == 1 && EVP_MAC_update(mac_, esp, bytes) == 1 &&
         (!esn || EVP_MAC_update(mac_, high, 4) == 1) && EVP_MAC_final(mac_, icv, &size, 64) == 1;
}

}  // namespace isthmus

#include "mac.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include <cstring>

namespace isthmus {

namespace {

constexpr size_t BLOCK = 16;

struct Row {
  Integrity algorithm;
  const char* name;       // of the EVP_MAC; AES-XCBC has none
  const char* parameter;  // what the MAC is made with
  const char* value;
  size_t keyBytes, codeBytes;
};

constexpr Row ROWS[] = {
    {Integrity::HmacSha1, "HMAC", OSSL_MAC_PARAM_DIGEST, "SHA1", 20, 20},
    {Integrity::AesXcbc, nullptr, nullptr, nullptr, BLOCK, BLOCK},
    {Integrity::AesCmac, "CMAC", OSSL_MAC_PARAM_CIPHER, "AES-128-CBC", BLOCK, BLOCK},
    {Integrity::HmacSha256, "HMAC", OSSL_MAC_PARAM_DIGEST, "SHA256", 32, 32},
    {Integrity::HmacSha384, "HMAC", OSSL_MAC_PARAM_DIGEST, "SHA384", 48, 48},
    {Integrity::HmacSha512, "HMAC", OSSL_MAC_PARAM_DIGEST, "SHA512", 64, 64},
};

const Row* rowOf(Integrity algorithm) {
  for (const Row& row : ROWS) {
    if (row.algorithm == algorithm) return &row;
  }
  return nullptr;
}

/** AES-128-CBC that encrypts whole blocks, its IV set by each use. */
EVP_CIPHER_CTX* openCbc(const uint8_t* key) {
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-128-CBC", nullptr);
  EVP_CIPHER_CTX* context = cipher ? EVP_CIPHER_CTX_new() : nullptr;
  const bool ok = context && EVP_EncryptInit_ex2(context, cipher, key, nullptr, nullptr) == 1 &&
                  EVP_CIPHER_CTX_set_padding(context, 0) == 1;
  EVP_CIPHER_free(cipher);
  if (ok) return context;
  EVP_CIPHER_CTX_free(context);
  return nullptr;
}

}  // namespace

Mac::~Mac() {
  EVP_MAC_CTX_free(context_);
  EVP_CIPHER_CTX_free(chain_);
  OPENSSL_cleanse(whole_, sizeof whole_);
  OPENSSL_cleanse(part_, sizeof part_);
}

bool Mac::open(Integrity algorithm, const uint8_t* key, size_t keyBytes) {
  const Row* row = rowOf(algorithm);
  if (!row || keyBytes != row->keyBytes) return false;
  codeBytes_ = row->codeBytes;
  if (!row->name) return openXcbc(key);
  EVP_MAC* mac = EVP_MAC_fetch(nullptr, row->name, nullptr);
  context_ = mac ? EVP_MAC_CTX_new(mac) : nullptr;
  EVP_MAC_free(mac);
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(row->parameter, const_cast<char*>(row->value), 0),
                               OSSL_PARAM_construct_end()};
  return context_ && EVP_MAC_init(context_, key, keyBytes, params) == 1;
}

/** RFC 3566 §4: K1, K2 and K3 are blocks of 1, 2 and 3 under the key. */
bool Mac::openXcbc(const uint8_t* key) {
  uint8_t chainKey[BLOCK];
  uint8_t* const made[] = {chainKey, whole_, part_};
  EVP_CIPHER_CTX* under = openCbc(key);
  bool ok = under;
  for (int i = 0; ok && i < 3; i++) {
    const uint8_t zero[BLOCK] = {};
    int out = 0;
    memset(made[i], i + 1, BLOCK);
    ok = EVP_EncryptInit_ex2(under, nullptr, nullptr, zero, nullptr) == 1 &&
         EVP_EncryptUpdate(under, made[i], &out, made[i], BLOCK) == 1;
  }
  EVP_CIPHER_CTX_free(under);
  chain_ = ok ? openCbc(chainKey) : nullptr;
  OPENSSL_cleanse(chainKey, sizeof chainKey);
  return chain_;
}

bool Mac::compute(const uint8_t* text, size_t textBytes, const uint8_t* more, size_t moreBytes, uint8_t* code) {
  if (chain_) return computeXcbc(text, textBytes, more, moreBytes, code);
  size_t size = 0;
  return EVP_MAC_init(context_, nullptr, 0, nullptr) == 1 && EVP_MAC_update(context_, text, textBytes) == 1 &&
         (moreBytes == 0 || EVP_MAC_update(context_, more, moreBytes) == 1) && EVP_MAC_final(context_, code, &size, 64) == 1;
}

bool Mac::computeXcbc(const uint8_t* text, size_t textBytes, const uint8_t* more, size_t moreBytes, uint8_t* code) {
  const size_t total = textBytes + moreBytes;
  const size_t before = total == 0 ? 0 : (total - 1) / BLOCK * BLOCK;
  const size_t ofText = before < textBytes ? before : textBytes;
  const uint8_t zero[BLOCK] = {};
  if (EVP_EncryptInit_ex2(chain_, nullptr, nullptr, zero, nullptr) != 1) return false;
  if (!absorb(text, ofText) || !absorb(more, before - ofText)) return false;
  uint8_t last[BLOCK] = {};
  memcpy(last, text + ofText, textBytes - ofText);
  if (moreBytes > 0) memcpy(last + (textBytes - ofText), more + (before - ofText), moreBytes - (before - ofText));
  if (total - before < BLOCK) last[total - before] = 0x80;
  const uint8_t* cover = total - before == BLOCK ? whole_ : part_;
  for (size_t i = 0; i < BLOCK; i++) last[i] ^= cover[i];
  int out = 0;
  return EVP_EncryptUpdate(chain_, code, &out, last, BLOCK) == 1 && out == int(BLOCK);
}

/** Into the chain; what CBC gives out on the way is not needed. */
bool Mac::absorb(const uint8_t* bytes, size_t count) {
  constexpr size_t STEP = 512;
  uint8_t given[STEP + BLOCK];
  for (size_t at = 0; at < count; at += STEP) {
    int out = 0;
    const size_t step = count - at < STEP ? count - at : STEP;
    if (EVP_EncryptUpdate(chain_, given, &out, bytes + at, int(step)) != 1) return false;
  }
  return true;
}

}  // namespace isthmus

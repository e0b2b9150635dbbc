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
constexpr size_t IV = 8;  // of every mode but CBC
constexpr uint8_t LEAST_ICV = 12;

struct Row {
  Algorithm algorithm;
  Mode mode;
  /** OpenSSL's names with keys of 16, 24 and 32 bytes. */
  const char* names[3];
  uint8_t saltBytes;
  /** Without the ICV of a separate integrity algorithm. */
  CipherShape shape;
};

#define AES(mode) {"AES-128-" mode, "AES-192-" mode, "AES-256-" mode}
constexpr Row ROWS[] = {
    {Algorithm::AesGcm16, Mode::Combined, AES("GCM"), 4, {IV, 16, 1}},
    {Algorithm::AesGcm12, Mode::Combined, AES("GCM"), 4, {IV, 12, 1}},
    {Algorithm::AesGcm8, Mode::Combined, AES("GCM"), 4, {IV, 8, 1}},
    {Algorithm::ChaCha20Poly1305, Mode::Combined, {nullptr, nullptr, "ChaCha20-Poly1305"}, 4, {IV, 16, 1}},
    {Algorithm::AesCcm16, Mode::Ccm, AES("CCM"), 3, {IV, 16, 1}},
    {Algorithm::AesCcm12, Mode::Ccm, AES("CCM"), 3, {IV, 12, 1}},
    {Algorithm::AesCcm8, Mode::Ccm, AES("CCM"), 3, {IV, 8, 1}},
    {Algorithm::AesGmac, Mode::Gmac, AES("GCM"), 4, {IV, 16, 1}},
    {Algorithm::AesCbc, Mode::Cbc, AES("CBC"), 0, {16, 0, 16}},
    {Algorithm::AesCtr, Mode::Ctr, AES("CTR"), 4, {IV, 0, 1}},
    {Algorithm::Null, Mode::Null, {}, 0, {0, 0, 1}},
};
#undef AES

const Row* rowOf(Algorithm algorithm) {
  for (const Row& row : ROWS) {
    if (row.algorithm == algorithm) return &row;
  }
  return nullptr;
}

const char* nameOf(const Row& row, size_t keyBytes) {
  return keyBytes == 16 ? row.names[0] : keyBytes == 24 ? row.names[1] : keyBytes == 32 ? row.names[2] : nullptr;
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

/** A tag to read or to check, as the parameter of one call less than a control would take. */
struct Tag {
  OSSL_PARAM params[2];
  Tag(uint8_t* bytes, size_t size)
      : params{OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, bytes, size), OSSL_PARAM_construct_end()} {}
};

}  // namespace

Cipher::~Cipher() {
  EVP_CIPHER_CTX_free(context_);
  OPENSSL_cleanse(salt_, sizeof salt_);
  OPENSSL_cleanse(random_, sizeof random_);
}

bool Cipher::open(const CipherSpec& spec, bool encrypt) {
  const Row* row = rowOf(spec.algorithm);
  if (!row || spec.keyBytes < row->saltBytes) return false;
  mode_ = row->mode;
  shape_ = row->shape;
  saltBytes_ = row->saltBytes;
  const size_t keyBytes = spec.keyBytes - saltBytes_;
  memcpy(salt_, spec.key + keyBytes, saltBytes_);
  if (shape_.icvBytes == 0) {
    shape_.icvBytes = spec.icvBytes;
    if (!mac_.open(spec.integrity, spec.integrityKey, spec.integrityKeyBytes)) return false;
    if (spec.icvBytes < LEAST_ICV || spec.icvBytes > mac_.codeBytes()) return false;
  }
  if (mode_ == Mode::Null) return keyBytes == 0;
  const char* name = nameOf(*row, keyBytes);
  return name && openContext(name, spec.key, encrypt);
}

bool Cipher::openContext(const char* name, const uint8_t* key, bool encrypt) {
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  context_ = EVP_CIPHER_CTX_new();
  // A counter is encrypted in both directions.
  const bool forwards = encrypt || mode_ == Mode::Ctr;
  bool ok = cipher && context_ && EVP_CipherInit_ex2(context_, cipher, nullptr, nullptr, forwards, nullptr) == 1;
  EVP_CIPHER_free(cipher);
  // CCM's key is set up for these two sizes: they come first.
  if (ok && mode_ == Mode::Ccm) {
    ok = EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_IVLEN, int(saltBytes_ + IV), nullptr) == 1 &&
         EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, shape_.icvBytes, nullptr) == 1;
  }
  return ok && EVP_CipherInit_ex2(context_, nullptr, key, nullptr, -1, nullptr) == 1 &&
         (mode_ != Mode::Cbc || EVP_CIPHER_CTX_set_padding(context_, 0) == 1);
}

bool Cipher::seal(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  // The sequence number never repeats under one key: it is the IV of every mode with a counter (RFC 4106 §3.1).
  if (shape_.ivBytes == IV) put64(esp + ESP_HEADER, sequence);
  switch (mode_) {
    case Mode::Combined:
      return sealCombined(esp, textBytes, sequence, esn);
    case Mode::Ccm:
      return sealCcm(esp, textBytes, sequence, esn);
    case Mode::Gmac:
      return sealGmac(esp, textBytes, sequence, esn);
    case Mode::Cbc:
    case Mode::Ctr:
    case Mode::Null:
      return sealSeparate(esp, textBytes, sequence, esn);
  }
  return false;
}

bool Cipher::unseal(uint8_t* esp, size_t espBytes, uint64_t sequence, bool esn) {
  const size_t around = ESP_HEADER + shape_.ivBytes + shape_.icvBytes;
  if (espBytes <= around) return false;
  const size_t textBytes = espBytes - around;
  if (textBytes % shape_.blockBytes != 0) return false;
  switch (mode_) {
    case Mode::Combined:
      return unsealCombined(esp, textBytes, sequence, esn);
    case Mode::Ccm:
      return unsealCcm(esp, textBytes, sequence, esn);
    case Mode::Gmac:
      return unsealGmac(esp, textBytes, sequence, esn);
    case Mode::Cbc:
    case Mode::Ctr:
    case Mode::Null:
      return unsealSeparate(esp, textBytes, sequence, esn);
  }
  return false;
}

/** Salt and IV: 12 bytes, of CCM 11 (RFC 4309 §4). */
void Cipher::nonceOf(const uint8_t* esp, uint8_t* nonce) const {
  memcpy(nonce, salt_, sizeof salt_);
  memcpy(nonce + saltBytes_, esp + ESP_HEADER, IV);
}

bool Cipher::sealCombined(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t nonce[12], aad[12];
  int out = 0;
  uint8_t* text = esp + ESP_HEADER + IV;
  Tag tag(text + textBytes, shape_.icvBytes);
  nonceOf(esp, nonce);
  const size_t aadBytes = associatedData(esp, sequence, esn, aad);
  return EVP_EncryptInit_ex2(context_, nullptr, nullptr, nonce, nullptr) == 1 &&
         EVP_EncryptUpdate(context_, nullptr, &out, aad, int(aadBytes)) == 1 &&
         EVP_EncryptUpdate(context_, text, &out, text, int(textBytes)) == 1 &&
         EVP_EncryptFinal_ex(context_, text + out, &out) == 1 && EVP_CIPHER_CTX_get_params(context_, tag.params) == 1;
}

bool Cipher::unsealCombined(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t nonce[12], aad[12];
  int out = 0;
  uint8_t* text = esp + ESP_HEADER + IV;
  const Tag tag(text + textBytes, shape_.icvBytes);
  nonceOf(esp, nonce);
  const size_t aadBytes = associatedData(esp, sequence, esn, aad);
  return EVP_DecryptInit_ex2(context_, nullptr, nullptr, nonce, tag.params) == 1 &&
         EVP_DecryptUpdate(context_, nullptr, &out, aad, int(aadBytes)) == 1 &&
         EVP_DecryptUpdate(context_, text, &out, text, int(textBytes)) == 1 &&
         EVP_DecryptFinal_ex(context_, text + out, &out) == 1;
}

/** CCM begins with the length: OpenSSL is told it before the associated data. */
bool Cipher::sealCcm(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t nonce[12], aad[12];
  int out = 0;
  uint8_t* text = esp + ESP_HEADER + IV;
  Tag tag(text + textBytes, shape_.icvBytes);
  nonceOf(esp, nonce);
  const size_t aadBytes = associatedData(esp, sequence, esn, aad);
  return EVP_EncryptInit_ex2(context_, nullptr, nullptr, nonce, nullptr) == 1 &&
         EVP_EncryptUpdate(context_, nullptr, &out, nullptr, int(textBytes)) == 1 &&
         EVP_EncryptUpdate(context_, nullptr, &out, aad, int(aadBytes)) == 1 &&
         EVP_EncryptUpdate(context_, text, &out, text, int(textBytes)) == 1 &&
         EVP_CIPHER_CTX_get_params(context_, tag.params) == 1;
}

/** The tag is checked by the call that decrypts. */
bool Cipher::unsealCcm(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t nonce[12], aad[12];
  int out = 0;
  uint8_t* text = esp + ESP_HEADER + IV;
  const Tag tag(text + textBytes, shape_.icvBytes);
  nonceOf(esp, nonce);
  const size_t aadBytes = associatedData(esp, sequence, esn, aad);
  return EVP_DecryptInit_ex2(context_, nullptr, nullptr, nonce, tag.params) == 1 &&
         EVP_DecryptUpdate(context_, nullptr, &out, nullptr, int(textBytes)) == 1 &&
         EVP_DecryptUpdate(context_, nullptr, &out, aad, int(aadBytes)) == 1 &&
         EVP_DecryptUpdate(context_, text, &out, text, int(textBytes)) == 1;
}

/** RFC 4543 §3: nothing is encrypted; IV and text follow SPI and sequence number as associated data. */
bool Cipher::sealGmac(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t nonce[12], aad[12];
  int out = 0;
  uint8_t* iv = esp + ESP_HEADER;
  Tag tag(iv + IV + textBytes, shape_.icvBytes);
  nonceOf(esp, nonce);
  const size_t aadBytes = associatedData(esp, sequence, esn, aad);
  return EVP_EncryptInit_ex2(context_, nullptr, nullptr, nonce, nullptr) == 1 &&
         EVP_EncryptUpdate(context_, nullptr, &out, aad, int(aadBytes)) == 1 &&
         EVP_EncryptUpdate(context_, nullptr, &out, iv, int(IV + textBytes)) == 1 &&
         EVP_EncryptFinal_ex(context_, nonce, &out) == 1 && EVP_CIPHER_CTX_get_params(context_, tag.params) == 1;
}

bool Cipher::unsealGmac(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t nonce[12], aad[12];
  int out = 0;
  uint8_t* iv = esp + ESP_HEADER;
  const Tag tag(iv + IV + textBytes, shape_.icvBytes);
  nonceOf(esp, nonce);
  const size_t aadBytes = associatedData(esp, sequence, esn, aad);
  return EVP_DecryptInit_ex2(context_, nullptr, nullptr, nonce, tag.params) == 1 &&
         EVP_DecryptUpdate(context_, nullptr, &out, aad, int(aadBytes)) == 1 &&
         EVP_DecryptUpdate(context_, nullptr, &out, iv, int(IV + textBytes)) == 1 &&
         EVP_DecryptFinal_ex(context_, nonce, &out) == 1;
}

/** The high half of an extended number is covered and not sent (RFC 4303 §2.2.1). */
bool Cipher::sealSeparate(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t code[64], high[4];
  const size_t covered = ESP_HEADER + shape_.ivBytes + textBytes;
  put32(high, uint32_t(sequence >> 32));
  if (mode_ == Mode::Cbc && !randomIv(esp + ESP_HEADER)) return false;
  if (!crypt(esp, textBytes) || !mac_.compute(esp, covered, high, esn ? 4 : 0, code)) return false;
  memcpy(esp + covered, code, shape_.icvBytes);
  return true;
}

/** The ICV comes first: a padding fault must not be told from a forged packet. */
bool Cipher::unsealSeparate(uint8_t* esp, size_t textBytes, uint64_t sequence, bool esn) {
  uint8_t code[64], high[4];
  const size_t covered = ESP_HEADER + shape_.ivBytes + textBytes;
  put32(high, uint32_t(sequence >> 32));
  return mac_.compute(esp, covered, high, esn ? 4 : 0, code) && CRYPTO_memcmp(code, esp + covered, shape_.icvBytes) == 0 &&
         crypt(esp, textBytes);
}

/** Encrypts or decrypts the text under the IV in front of it. */
bool Cipher::crypt(uint8_t* esp, size_t textBytes) {
  if (mode_ == Mode::Null) return true;
  int out = 0;
  const uint8_t* iv = esp + ESP_HEADER;
  uint8_t counter[16] = {};
  if (mode_ == Mode::Ctr) {
    nonceOf(esp, counter);
    counter[15] = 1;  // RFC 3686 §4
    iv = counter;
  }
  uint8_t* text = esp + ESP_HEADER + shape_.ivBytes;
  return EVP_CipherInit_ex2(context_, nullptr, nullptr, iv, -1, nullptr) == 1 &&
         EVP_CipherUpdate(context_, text, &out, text, int(textBytes)) == 1;
}

/** RFC 3602 §3: unpredictable. Each byte is given out once. */
bool Cipher::randomIv(uint8_t* iv) {
  constexpr uint8_t SIZE = 16;
  if (drawn_ == 0) {
    if (RAND_bytes(random_, sizeof random_) != 1) return false;
    drawn_ = sizeof random_;
  }
  drawn_ -= SIZE;
  memcpy(iv, random_ + drawn_, SIZE);
  return true;
}

}  // namespace isthmus

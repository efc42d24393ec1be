/* SHA-256 (through libcrypto) for everything whose identity matters: data, tokenizers, checkpoints.
 * Once the context exists its calls can't fail, short of a broken libcrypto: hence assertions. */
#include "base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

enum { DIGEST_BYTES = 32, READ_BYTES = 1 << 20 };

static void to_hex(char hex[ISO_SHA256_HEX_BYTES], const unsigned char *digest) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < DIGEST_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * DIGEST_BYTES] = '\0';
}

iso_status iso_sha256_create(iso_sha256 *hash) {
    hash->state = NULL;
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    if (!state || EVP_DigestInit_ex(state, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(state);
        return iso_fail(ISO_ERR_UNSUPPORTED, "libcrypto offers no SHA-256; check its installation");
    }
    hash->state = state;
    return ISO_OK;
}

void iso_sha256_update(iso_sha256 *hash, const void *bytes, int64_t n_bytes) {
    ISO_ASSERT(n_bytes >= 0);
    ISO_ASSERT(EVP_DigestUpdate(hash->state, bytes, (size_t)n_bytes) == 1);
}

void iso_sha256_finish(iso_sha256 *hash, char hex[ISO_SHA256_HEX_BYTES]) {
    unsigned char digest[DIGEST_BYTES];
    ISO_ASSERT(EVP_DigestFinal_ex(hash->state, digest, NULL) == 1);
    EVP_MD_CTX_free(hash->state);
    hash->state = NULL;
    to_hex(hex, digest);
}

void iso_sha256_bytes(char hex[ISO_SHA256_HEX_BYTES], const void *bytes, int64_t n_bytes) {
    unsigned char digest[DIGEST_BYTES];
    ISO_ASSERT(n_bytes >= 0);
    ISO_ASSERT(EVP_Digest(bytes, (size_t)n_bytes, digest, NULL, EVP_sha256(), NULL) == 1);
    to_hex(hex, digest);
}

iso_status iso_sha256_file(char hex[ISO_SHA256_HEX_BYTES], const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return iso_fail_errno(ISO_ERR_IO, errno, "cannot open %s", path);
    iso_sha256 hash;
    iso_status status = iso_sha256_create(&hash);
    char *buffer = malloc(READ_BYTES);
    if (status == ISO_OK && !buffer)
        status = iso_fail(ISO_ERR_MEMORY, "no memory to hash %s", path);
    while (status == ISO_OK) {
        ssize_t n_read = read(fd, buffer, READ_BYTES);
        if (n_read == 0) break;
        if (n_read > 0)
            iso_sha256_update(&hash, buffer, n_read);
        else if (errno != EINTR)
            status = iso_fail_errno(ISO_ERR_IO, errno, "cannot read %s", path);
    }
    if (hash.state) iso_sha256_finish(&hash, hex);
    free(buffer);
    close(fd);
    return status;
}

#include "proto/id.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

const struct id ID_NONE;

/* libsodium's functions for BLAKE2b fail only on sizes out of their range, which would be a bug of ours. */
static void blake2b(void *out, size_t outlen, const uint8_t *key, const void *a, size_t alen, const void *b, size_t blen)
{
    crypto_generichash_state st;
    int bad = crypto_generichash_init(&st, key, key ? 32 : 0, outlen);
    bad |= crypto_generichash_update(&st, a, alen);
    bad |= crypto_generichash_update(&st, b, blen);
    bad |= crypto_generichash_final(&st, out, outlen);
    assert(!bad);
    sodium_memzero(&st, sizeof st);
}

struct id id_hash(const void *data, size_t len)
{
    struct id out;
    int bad = crypto_generichash(out.b, sizeof out.b, data, len, NULL, 0);
    assert(!bad);
    return out;
}

struct id id_hash_tagged(uint8_t tag, const void *a, size_t alen, const void *b, size_t blen)
{
    struct id out;
    crypto_generichash_state st;
    int bad = crypto_generichash_init(&st, NULL, 0, sizeof out.b);
    bad |= crypto_generichash_update(&st, &tag, 1);
    bad |= crypto_generichash_update(&st, a, alen);
    bad |= crypto_generichash_update(&st, b, blen);
    bad |= crypto_generichash_final(&st, out.b, sizeof out.b);
    assert(!bad);
    return out;
}

void id_derive(void *out, size_t outlen, const uint8_t key[static 32], const char *label, const void *more, size_t morelen)
{
    assert(outlen >= 16 && outlen <= 64);
    size_t labellen = strlen(label) + (more ? 1 : 0);
    blake2b(out, outlen, key, label, labellen, more, more ? morelen : 0);
}

struct sid sid_make(const struct id *group, const struct id *dev, const uint8_t inc[static 8])
{
    struct sid out;
    uint8_t tail[ID_LEN + 8];
    memcpy(tail, dev->b, ID_LEN);
    memcpy(tail + ID_LEN, inc, 8);
    blake2b(out.b, sizeof out.b, NULL, group->b, ID_LEN, tail, sizeof tail);
    return out;
}

bool id_eq(const struct id *a, const struct id *b)
{
    return memcmp(a->b, b->b, ID_LEN) == 0;
}

int id_cmp(const struct id *a, const struct id *b)
{
    return memcmp(a->b, b->b, ID_LEN);
}

bool id_is_none(const struct id *a)
{
    return id_eq(a, &ID_NONE);
}

bool sid_eq(const struct sid *a, const struct sid *b)
{
    return memcmp(a->b, b->b, SID_LEN) == 0;
}

int sid_cmp(const struct sid *a, const struct sid *b)
{
    return memcmp(a->b, b->b, SID_LEN);
}

void hex_encode(char *out, const void *data, size_t len)
{
    static const char digit[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        *out++ = digit[p[i] >> 4];
        *out++ = digit[p[i] & 15];
    }
    *out = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int hex_decode(void *out, size_t len, const char *hex)
{
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(hex[2 * i]);
        int low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]); /* does not look behind a NUL */
        if (low < 0)
            return err_set(ERR_BAD, "\"%s\": expected %zu hexadecimal digits", hex, 2 * len);
        p[i] = (uint8_t)(high << 4 | low);
    }
    if (hex[2 * len])
        return err_set(ERR_BAD, "\"%s\": more than %zu hexadecimal digits", hex, 2 * len);
    return 0;
}

const char *id_hex(const struct id *a, char out[static ID_HEX])
{
    hex_encode(out, a->b, ID_LEN);
    return out;
}

const char *sid_hex(const struct sid *a, char out[static SID_HEX])
{
    hex_encode(out, a->b, SID_LEN);
    return out;
}

const char *id_fingerprint(const struct id *dev, char out[static FINGERPRINT_LEN])
{
    struct id h = id_hash(dev->b, ID_LEN);
    for (size_t i = 0; i < 8; i++) {
        const uint8_t *p = h.b + 4 * i;
        uint32_t word = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        snprintf(out + 6 * i, 6, "%05u", word % 100000u);
        if (i < 7)
            out[6 * i + 5] = '-';
    }
    return out;
}

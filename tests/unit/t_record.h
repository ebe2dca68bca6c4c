/* t_record: what the tests of records share. A `struct shape` is a record under construction, one buffer a field, so that a test
 * takes a valid one, replaces one field, and looks which error comes. */
#ifndef TESTS_UNIT_T_RECORD_H
#define TESTS_UNIT_T_RECORD_H

#include <sodium.h>

#include "proto/record.h"
#include "tests/unit/t.h"

#define SHAPE_FIELDS 20
struct shape { struct buf field[SHAPE_FIELDS]; size_t n; };

/* The next field, or field i anew. */
static inline struct buf *shape_add(struct shape *s)
{
    struct buf *b = &s->field[s->n++];
    *b = (struct buf)BUF_INIT(1u << 22);
    return b;
}
static inline struct buf *shape_set(struct shape *s, size_t i)
{
    if (i == s->n)
        return shape_add(s);
    buf_clear(&s->field[i]);
    return &s->field[i];
}
static inline void shape_release(struct shape *s)
{
    for (size_t i = 0; i < s->n; i++)
        buf_release(&s->field[i]);
    s->n = 0;
}
/* The array of the first n fields. */
static inline void shape_put(struct buf *out, const struct shape *s, size_t n)
{
    mp_put_array(out, n);
    for (size_t i = 0; i < n; i++)
        buf_add(out, s->field[i].data, s->field[i].len);
}

/* A device with keys from a fixed seed. */
static inline struct device_keys *t_device(uint8_t seed)
{
    uint8_t s[32];
    memset(s, seed, sizeof s);
    struct device_keys *k = device_keys_empty();
    crypto_sign_seed_keypair(k->dev.b, k->sign_sk, s);
    memset(s, seed ^ 0x80, sizeof s);
    crypto_box_seed_keypair(k->tr_pk, k->tr_sk, s);
    return k;
}
static inline struct id t_id(uint8_t fill)
{
    struct id a;
    memset(a.b, fill, ID_LEN);
    return a;
}
static inline struct sid t_sid(uint8_t fill)
{
    struct sid a;
    memset(a.b, fill, SID_LEN);
    return a;
}
static inline void t_bytes(uint64_t *seed, void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)t_rand(seed);
}
/* A number of random width, 0..max. */
static inline uint64_t t_num(uint64_t *seed, uint64_t max)
{
    uint64_t v = t_rand(seed) >> (t_rand(seed) % 64);
    return max == UINT64_MAX ? v : v % (max + 1);
}
static inline struct bytes t_str(const char *s)
{
    return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

/* A kind of record: how a valid one is made, and how the (signed) array is decoded. */
struct subject { void (*make)(struct shape *s); int (*decode)(const struct shape *s, size_t nfields); };

/* Field i of a valid record written anew by `put` into `b` is refused with a text that contains `words`. */
#define BAD(subject, i, put, words) do { \
    struct shape t_shape = { 0 }; \
    (subject).make(&t_shape); \
    struct buf *b = shape_set(&t_shape, (i)); \
    put; \
    FAILS((subject).decode(&t_shape, t_shape.n), ERR_BAD, words); \
    shape_release(&t_shape); \
} while (0)
/* The same, accepted: the other side of a limit. */
#define GOOD(subject, i, put) do { \
    struct shape t_shape = { 0 }; \
    (subject).make(&t_shape); \
    struct buf *b = shape_set(&t_shape, (i)); \
    put; \
    OK((subject).decode(&t_shape, t_shape.n)); \
    shape_release(&t_shape); \
} while (0)

/* One field less or more, and another format number where there is one. */
static inline void t_shape_rules(const struct subject *of, const char *name)
{
    struct shape s = { 0 };
    of->make(&s);
    OK(of->decode(&s, s.n));
    FAILS(of->decode(&s, s.n - 1), ERR_BAD, name);
    mp_put_u64(shape_add(&s), 0);
    FAILS(of->decode(&s, s.n), ERR_BAD, name);
    FAILS(of->decode(&s, 0), ERR_BAD, name);
    shape_release(&s);
}

typedef int t_decoder(const void *data, size_t len);
/* Every beginning of the bytes is refused, and the bytes with one more. */
static inline void t_truncations(t_decoder *decode, const struct buf *blob)
{
    for (size_t len = 0; len < blob->len; len++) {
        uint8_t *copy = xcalloc(1, len + 1);   /* its own block: a sanitizer sees the first byte read behind it */
        memcpy(copy, blob->data, len);
        int code = decode(copy, len);
        free(copy);
        CHECK(code < 0);
    }
    uint8_t *longer = xcalloc(1, blob->len + 1);
    memcpy(longer, blob->data, blob->len);
    int code = decode(longer, blob->len + 1);
    free(longer);
    EQ_I(code, ERR_BAD);
}
/* No bit of something signed can be flipped. */
static inline void t_flips(t_decoder *decode, const struct buf *blob)
{
    OK(decode(blob->data, blob->len));
    for (size_t bit = 0; bit < 8 * blob->len; bit++) {
        blob->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int code = decode(blob->data, blob->len);
        blob->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(code == ERR_BAD || code == ERR_DENIED);
    }
    OK(decode(blob->data, blob->len));
}

#endif

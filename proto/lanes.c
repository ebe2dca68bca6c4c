#include "proto/lanes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 8, BLOCK = 128 };
typedef uint64_t vec __attribute__((vector_size(8 * LANES)));

/* A text that is being hashed. Without one (out NULL) a lane takes zeros, again and again. */
struct lane { size_t left; struct id *out; };

struct state {
    vec h[8], count, last;              /* of all lanes: chaining value, bytes so far, all ones in the last block */
    struct lane lane[LANES];
    const uint8_t *block[LANES];        /* what each takes in next */
    uint8_t padded[LANES][BLOCK];       /* last blocks, filled up with zeros */
};

typedef void (*steps_fn)(struct state *s, size_t n);

static const uint8_t zeros[BLOCK];
static const uint64_t iv[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};
#define PARAMETERS (0x01010000 ^ ID_LEN)   /* no key, one text, 32 bytes of output */

/* ---- the compression function ---- */

#define ROTATE(x, n) ((x) >> (n) | (x) << (64 - (n)))
#define MIX(a, b, c, d, x, y) do {          \
        a += b + x; d = ROTATE(d ^ a, 32);  \
        c += d;     b = ROTATE(b ^ c, 24);  \
        a += b + y; d = ROTATE(d ^ a, 16);  \
        c += d;     b = ROTATE(b ^ c, 63);  \
    } while (0)
/* One round: the columns, then the diagonals. i0...i15: the order in which it takes the words of the message. */
#define ROUND(i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11, i12, i13, i14, i15) do {                    \
        MIX(v[0], v[4], v[8], v[12], m[i0], m[i1]);    MIX(v[1], v[5], v[9], v[13], m[i2], m[i3]);          \
        MIX(v[2], v[6], v[10], v[14], m[i4], m[i5]);   MIX(v[3], v[7], v[11], v[15], m[i6], m[i7]);         \
        MIX(v[0], v[5], v[10], v[15], m[i8], m[i9]);   MIX(v[1], v[6], v[11], v[12], m[i10], m[i11]);       \
        MIX(v[2], v[7], v[8], v[13], m[i12], m[i13]);  MIX(v[3], v[4], v[9], v[14], m[i14], m[i15]);        \
    } while (0)
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Takes the next block of every lane into its state. By macros and in one piece, so that all stays in registers. */
static ALWAYS_INLINE void compress(struct state *s)
{
    vec m[16], v[16];
    for (size_t i = 0; i < 16; i++)
        for (size_t k = 0; k < LANES; k++) {
            uint64_t word;
            memcpy(&word, s->block[k] + 8 * i, sizeof word);
            m[i][k] = word;
        }
    for (size_t i = 0; i < 8; i++) {
        v[i] = s->h[i];
        v[8 + i] = (vec){0} + iv[i];
    }
    v[12] ^= s->count;
    v[14] ^= s->last;
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    for (size_t i = 0; i < 8; i++)
        s->h[i] ^= v[i] ^ v[8 + i];
}

/* n blocks of every lane, none of them a last one. */
static ALWAYS_INLINE void steps(struct state *s, size_t n)
{
    for (; n; n--) {
        s->count += BLOCK;
        compress(s);
        for (size_t k = 0; k < LANES; k++)
            s->block[k] += s->lane[k].out ? BLOCK : 0;
    }
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void steps_avx2(struct state *s, size_t n) { steps(s, n); }
__attribute__((target("avx512f"))) static void steps_avx512(struct state *s, size_t n) { steps(s, n); }
#endif

/* ---- lanes ---- */

static void load(struct state *s, size_t k, const struct bytes *text, struct id *out)
{
    s->lane[k] = (struct lane){ text->len, out };
    s->block[k] = text->p;
    s->count[k] = 0;
    for (size_t i = 0; i < 8; i++)
        s->h[i][k] = iv[i];
    s->h[0][k] ^= PARAMETERS;
}

static void unload(struct state *s, size_t k)
{
    for (size_t i = 0; i < ID_LEN; i++)
        s->lane[k].out->b[i] = (uint8_t)(s->h[i / 8][k] >> 8 * (i % 8));
    s->lane[k].out = NULL;
    s->block[k] = zeros;
    s->last[k] = 0;
}

/* The last block of a lane: only what is left of its text counts. */
static void pad(struct state *s, size_t k)
{
    const struct lane *l = &s->lane[k];
    memset(s->padded[k], 0, BLOCK);
    if (l->left)
        memcpy(s->padded[k], s->block[k], l->left);
    s->block[k] = s->padded[k];
    s->count[k] -= BLOCK - l->left;
    s->last[k] = ~0ull;
}

/* Blocks before its last one. */
static size_t before_last(const struct lane *l) { return l->left ? (l->left - 1) / BLOCK : 0; }

/* Until a text has ended, or several have. */
static void run_to_end(struct state *s, steps_fn fn)
{
    size_t n = SIZE_MAX;
    for (size_t k = 0; k < LANES; k++)
        if (s->lane[k].out && before_last(&s->lane[k]) < n)
            n = before_last(&s->lane[k]);
    fn(s, n);
    for (size_t k = 0; k < LANES; k++) {
        s->lane[k].left -= s->lane[k].out ? n * BLOCK : 0;
        if (s->lane[k].out && s->lane[k].left <= BLOCK)
            pad(s, k);
    }
    fn(s, 1);
    for (size_t k = 0; k < LANES; k++)
        if (s->last[k])
            unload(s, k);
        else if (s->lane[k].out)
            s->lane[k].left -= BLOCK;
}

static bool busy(const struct state *s)
{
    for (size_t k = 0; k < LANES; k++)
        if (s->lane[k].out)
            return true;
    return false;
}

/* ---- texts ---- */

/* worth: how many lanes together are as fast as libsodium. */
struct way { steps_fn steps; size_t worth; };

static struct way way_of(enum lanes how)
{
#ifdef __x86_64__
    if (how == LANES_AVX512)
        return (struct way){ steps_avx512, 2 };
    if (how == LANES_AVX2)
        return (struct way){ steps_avx2, 4 };
#endif
    return (struct way){0};
}

enum lanes lanes_best(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return LANES_AVX512;
    if (__builtin_cpu_supports("avx2"))
        return LANES_AVX2;
#endif
    return LANES_NONE;
}

static int longest_first(const void *a, const void *b)
{
    size_t x = (*(const struct bytes *const *)a)->len, y = (*(const struct bytes *const *)b)->len;
    return (x < y) - (x > y);
}

static void hash_in_lanes(const struct way *way, const struct bytes *const *text, size_t n, const struct bytes *in, struct id *out)
{
    struct state s = {0};
    size_t next = 0;
    for (size_t k = 0; k < LANES; k++)
        s.block[k] = zeros;
    do {
        for (size_t k = 0; k < LANES && next < n; k++)
            if (!s.lane[k].out) {
                load(&s, k, text[next], &out[text[next] - in]);
                next++;
            }
        run_to_end(&s, way->steps);
    } while (next < n || busy(&s));
}

void lanes_hash_by(enum lanes how, const struct bytes *in, size_t n, struct id *out)
{
    assert(how <= lanes_best());
    struct way way = way_of(how);
    AUTOFREE const struct bytes **text = xcalloc(n + 1, sizeof *text);
    size_t all = 0, alone = 0;
    for (size_t i = 0; i < n; i++) {
        text[i] = &in[i];
        all += in[i].len + 1;
    }
    qsort(text, n, sizeof *text, longest_first);
    for (; alone < n && (!way.steps || (text[alone]->len + 1) * way.worth > all); alone++) {
        out[text[alone] - in] = id_hash(text[alone]->p, text[alone]->len);
        all -= text[alone]->len + 1;
    }
    if (alone < n)
        hash_in_lanes(&way, text + alone, n - alone, in, out);
}

void lanes_hash(const struct bytes *in, size_t n, struct id *out) { lanes_hash_by(lanes_best(), in, n, out); }

#include <sodium.h>

#include "proto/id.h"
#include "store/chunk.h"
#include "tests/unit/t.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define VECTORS "tests/vectors/chunk.txt"

static const uint8_t KEY[32] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                                 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31 };

static void fill_random(uint8_t *p, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = t_rand(&seed);
        for (size_t k = 0; k < 8 && i + k < len; k++)
            p[i + k] = (uint8_t)(v >> (8 * k));
    }
}

/* The data of tests/vectors/chunk.py. */
static uint8_t *vector_data(size_t len)
{
    uint8_t *p = malloc(len);
    fill_random(p, len, 20160622);
    memset(p + 3 * MIB, 0, MIB);
    memmove(p + 9 * MIB + 77, p + 5 * MIB, MIB);
    return p;
}

static void test_vectors(void)
{
    FILE *f = fopen(VECTORS, "r");
    if (!f)
        T_FAIL("%s: run from the root of the tree", VECTORS);
    char line[256], hex[65];
    uint64_t first, last;
    size_t len;
    CHECK(fgets(line, sizeof line, f) && line[0] == '#');
    CHECK(fscanf(f, " gear %" SCNx64 " %" SCNx64, &first, &last) == 2);
    CHECK(fscanf(f, " data %zu %64s", &len, hex) == 2);

    struct gear g;
    chunk_gear(&g, KEY);
    EQ_U(g.t[0], first);
    EQ_U(g.t[255], last);
    uint8_t *data = vector_data(len);
    char ours[ID_HEX];
    struct id h = id_hash(data, len);
    EQ_S(id_hex(&h, ours), hex);

    for (int c = 0; c < CHUNK_CLASSES; c++) {
        int number;
        size_t count, want, at = 0;
        CHECK(fscanf(f, " class %d %zu", &number, &count) == 2);
        EQ_I(number, c);
        for (size_t i = 0; i < count; i++) {
            CHECK(fscanf(f, " %zu", &want) == 1);
            EQ_U(chunk_cut(&g, &chunk_classes[c], data + at, len - at), want);
            at += want;
        }
        EQ_U(at, len);
    }
    free(data);
    fclose(f);
}

static void test_classes(void)
{
    EQ_U(chunk_classes[0].min, 16 * KIB);
    EQ_U(chunk_classes[2].max, 4 * MIB);
    for (int c = 0; c < CHUNK_CLASSES; c++) {
        const struct chunk_class *k = &chunk_classes[c];
        int bits = __builtin_ctz(k->avg);
        EQ_U(1u << bits, k->avg);
        EQ_I(__builtin_popcountll(k->mask_small), bits + 2);
        EQ_I(__builtin_popcountll(k->mask_large), bits - 2);
        EQ_U(k->mask_large & ~k->mask_small, 0);
        EQ_U(k->mask_small >> 63, 0);
    }
}

static void test_class_of_size(void)
{
    const uint64_t s = 16 * MIB, m = 4096ull * MIB;
    EQ_I(chunk_class_of(0, -1), 0);
    EQ_I(chunk_class_of(s - 1, -1), 0);
    EQ_I(chunk_class_of(s, -1), 1);
    EQ_I(chunk_class_of(m - 1, -1), 1);
    EQ_I(chunk_class_of(m, -1), 2);
    EQ_I(chunk_class_of(UINT64_MAX, -1), 2);
    /* A file keeps its class up to a factor of 2 beyond its range. */
    EQ_I(chunk_class_of(2 * s - 1, 0), 0);
    EQ_I(chunk_class_of(2 * s, 0), 1);
    EQ_I(chunk_class_of(s / 2, 1), 1);
    EQ_I(chunk_class_of(s / 2 - 1, 1), 0);
    EQ_I(chunk_class_of(2 * m - 1, 1), 1);
    EQ_I(chunk_class_of(2 * m, 1), 2);
    EQ_I(chunk_class_of(m / 2, 2), 2);
    EQ_I(chunk_class_of(m / 2 - 1, 2), 1);
    EQ_I(chunk_class_of(1, 2), 0);
    EQ_I(chunk_class_of(UINT64_MAX, 2), 2);
    EQ_I(chunk_class_of(UINT64_MAX, 0), 2);
}

/* Whatever the reader has in its buffer beyond the class's maximum, and wherever the buffer lies, the cuts are the same. */
static void test_buffering(void)
{
    struct gear g;
    chunk_gear(&g, KEY);
    const size_t len = 8 * MIB + 12345;
    uint8_t *data = vector_data(12 * MIB), *copy = malloc(len);
    uint64_t seed = 7;
    for (int c = 0; c < CHUNK_CLASSES; c++) {
        const struct chunk_class *k = &chunk_classes[c];
        for (size_t at = 0; at < len;) {
            size_t left = len - at, want = chunk_cut(&g, k, data + at, left);
            size_t given = left <= k->max ? left : k->max + t_rand(&seed) % (left - k->max + 1);
            size_t shift = t_rand(&seed) % 64;
            if (shift + given > len)
                shift = 0;
            memcpy(copy + shift, data + at, given);
            EQ_U(chunk_cut(&g, k, copy + shift, given), want);
            CHECK(want <= k->max && (want >= k->min || want == left));
            at += want;
        }
    }
    free(copy);
    free(data);
}

/* What content-defined chunking is for: after an insertion the cuts find back. */
static void test_insertion_resynchronises(void)
{
    struct gear g;
    chunk_gear(&g, KEY);
    const size_t len = 4 * MIB;
    uint8_t *a = malloc(len), *b = malloc(len + 1);
    fill_random(a, len, 99);
    memcpy(b, a, 100);
    b[100] = 'x';
    memcpy(b + 101, a + 100, len - 100);
    size_t ends = 0, shared = 0;
    for (size_t i = 0, j = 0; i < len;) {
        i += chunk_cut(&g, &chunk_classes[0], a + i, len - i);
        while (j < i + 1)
            j += chunk_cut(&g, &chunk_classes[0], b + j, len + 1 - j);
        ends++;
        shared += j == i + 1;
    }
    CHECK(ends > 30 && shared >= ends - 5);
    free(a);
    free(b);
}

static void test_short_and_keyed(void)
{
    struct gear g, other;
    chunk_gear(&g, KEY);
    uint8_t key[32] = { 1 };
    chunk_gear(&other, key);
    CHECK(memcmp(&g, &other, sizeof g) != 0);
    uint8_t *p = calloc(1, 8 * MIB);
    for (int c = 0; c < CHUNK_CLASSES; c++) {
        const struct chunk_class *k = &chunk_classes[c];
        EQ_U(chunk_cut(&g, k, p, 1), 1);
        EQ_U(chunk_cut(&g, k, p, k->min), k->min);
        size_t n = chunk_cut(&g, k, p, 8 * MIB);
        CHECK(n >= k->min && n <= k->max);
    }
    fill_random(p, 8 * MIB, 5);
    size_t n = 0, m = 0;
    for (int i = 0; i < 3; i++) {
        n += chunk_cut(&g, &chunk_classes[0], p + n, 8 * MIB - n);
        m += chunk_cut(&other, &chunk_classes[0], p + m, 8 * MIB - m);
    }
    CHECK(n != m);
    free(p);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_vectors);
    RUN(test_classes);
    RUN(test_class_of_size);
    RUN(test_buffering);
    RUN(test_insertion_resynchronises);
    RUN(test_short_and_keyed);
    return t_done();
}

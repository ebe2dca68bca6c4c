/* Whatever is hashed side by side has the hash that it has alone (id_hash, which test_id.c holds against other implementations). */
#include "tests/unit/t.h"

#include "proto/lanes.h"

enum { MOST = 300, ROOM = 1 << 16 };
static uint8_t data[ROOM];

static void check(enum lanes how, const struct bytes *in, size_t n)
{
    struct id out[MOST + 1];
    memset(out, 0xaa, sizeof out);
    lanes_hash_by(how, in, n, out);
    for (size_t i = 0; i < n; i++) {
        struct id alone = id_hash(in[i].p, in[i].len);
        if (!id_eq(&alone, &out[i]))
            T_FAIL("way %d: text %zu of %zu, %zu bytes", how, i, n, in[i].len);
    }
    for (size_t i = 0; i < sizeof out[n].b; i++)
        EQ_U(out[n].b[i], 0xaa);
}

static void each_way(const struct bytes *in, size_t n)
{
    for (enum lanes how = LANES_NONE; how <= lanes_best(); how++)
        check(how, in, n);
}

/* Every length around the borders of the blocks, together: lanes end at different times and are taken over. */
static void test_all_lengths(void)
{
    struct bytes in[MOST];
    for (size_t i = 0; i < MOST; i++)
        in[i] = (struct bytes){i ? data + i : NULL, i};
    for (size_t n = 0; n <= MOST; n = n < 20 ? n + 1 : n + 35)
        each_way(in + MOST - n, n);
    each_way(in, MOST);
    each_way(in, 1);
}

/* As many equal ones as there are lanes, one less and one more; multiples of a block and not. */
static void test_equal_lengths(void)
{
    static const size_t length[] = {0, 1, 127, 128, 129, 256, 1000, 4096};
    struct bytes in[20];
    for (size_t l = 0; l < sizeof length / sizeof *length; l++)
        for (size_t n = 1; n <= 20; n++) {
            for (size_t i = 0; i < n; i++)
                in[i] = (struct bytes){data + 17 * i, length[l]};
            each_way(in, n);
        }
}

static void test_mixed_lengths(void)
{
    uint64_t seed = 7;
    struct bytes in[40];
    for (int round = 0; round < 200; round++) {
        size_t n = 1 + t_rand(&seed) % 40;
        for (size_t i = 0; i < n; i++) {
            size_t len = t_rand(&seed) % (1u << (t_rand(&seed) % 14));
            in[i] = (struct bytes){data + t_rand(&seed) % (ROOM - len), len};
        }
        each_way(in, n);
    }
}

int main(void)
{
    uint64_t seed = 1;
    for (size_t i = 0; i < ROOM; i++)
        data[i] = (uint8_t)t_rand(&seed);
    RUN(test_all_lengths);
    RUN(test_equal_lengths);
    RUN(test_mixed_lengths);
    return t_done();
}

#include "tests/unit/t.h"

#include "proto/limits.h"
#include "proto/mp.h"

#define MSG(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof (const uint8_t[]){ __VA_ARGS__ }
#define REFUSED(words, ...) FAILS(mp_check(MSG(__VA_ARGS__)), ERR_BAD, words)

/* One of everything: [7, -5, true, nil, bin, str, {str: [..]}, large numbers]. */
static void put_sample(struct buf *b)
{
    mp_put_array(b, 9);
    mp_put_u64(b, 7);
    mp_put_i64(b, -5);
    mp_put_bool(b, true);
    mp_put_nil(b);
    mp_put_bin(b, "\x00\xff", 2);
    mp_put_str(b, "text");
    mp_put_map(b, 1);
    mp_put_strn(b, "keys", 3);
    mp_put_array(b, 2);
    mp_put_u64(b, UINT64_MAX);
    mp_put_i64(b, INT64_MIN);
    mp_put_bool(b, false);
    mp_put_u64(b, 70000);
}

static void test_bytes_written(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    put_sample(&b);
    static const uint8_t expected[] = {
        0x99, 0x07, 0xfb, 0xc3, 0xc0, 0xc4, 2, 0x00, 0xff, 0xa4, 't', 'e', 'x', 't', 0x81, 0xa3, 'k', 'e', 'y',
        0x92, 0xcf, 255, 255, 255, 255, 255, 255, 255, 255, 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0, 0xc2, 0xce, 0, 1, 0x11, 0x70 };
    CHECK(buf_ok(&b));
    EQ_U(b.len, sizeof expected);
    EQ_MEM(b.data, expected, sizeof expected);
}

static void test_read_back(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    put_sample(&b);
    OK(mp_check(b.data, b.len));
    struct mp m = mp_reader(b.data, b.len);
    mp_array_of(&m, 9);
    EQ_U(mp_u64(&m, 7), 7);
    EQ_I(mp_i64(&m), -5);
    CHECK(mp_bool(&m));
    CHECK(mp_nil(&m));
    CHECK(!mp_nil(&m));
    uint8_t two[2];
    mp_bin_into(&m, two, 2);
    EQ_MEM(two, "\x00\xff", 2);
    struct bytes s = mp_str(&m, 4);
    EQ_U(s.len, 4);
    EQ_MEM(s.p, "text", 4);
    EQ_U(mp_map(&m, 1), 1);
    EQ_U(mp_str(&m, 9).len, 3);
    struct bytes raw = mp_skip(&m);
    EQ_U(raw.len, 19);
    EQ_U(raw.p[0], 0x92);
    CHECK(!mp_bool(&m));
    EQ_I(mp_done(&m, "sample"), ERR_BAD); /* something is left */
    EQ_I(mp_i64(&m), 70000);
    OK(mp_done(&m, "sample"));
    EQ_I(mp_peek(&m), MP_END);
}

static void test_numbers_round_trip(void)
{
    uint64_t seed = 4;
    for (int i = 0; i < 20000; i++) {
        uint64_t v = t_rand(&seed) >> (t_rand(&seed) % 64);
        int64_t w = (int64_t)(t_rand(&seed) & 1 ? v : -v);
        AUTO(buf_release) struct buf b = BUF_INIT(100);
        mp_put_u64(&b, v);
        mp_put_i64(&b, w);
        struct mp m = mp_reader(b.data, b.len);
        EQ_I(mp_peek(&m), MP_UINT);
        EQ_U(mp_u64(&m, v), v);
        EQ_I(mp_peek(&m), w < 0 ? MP_INT : MP_UINT);
        EQ_I(mp_i64(&m), w);
        OK(mp_done(&m, "numbers"));
    }
}

static void test_lengths_round_trip(void)
{
    static const size_t lengths[] = { 0, 1, 31, 32, 255, 256, 65535, 65536, 100000 };
    static const uint8_t data[100000];
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        AUTO(buf_release) struct buf b = BUF_INIT(1 << 20);
        size_t n = lengths[i];
        mp_put_array(&b, 2);
        mp_put_bin(&b, data, n);
        mp_put_strn(&b, (const char *)data, n);
        OK(mp_check(b.data, b.len));
        struct mp m = mp_reader(b.data, b.len);
        EQ_U(mp_array(&m, 2), 2);
        EQ_U(mp_bin(&m, n).len, n);
        EQ_U(mp_str(&m, n).len, n);
        OK(mp_done(&m, "lengths"));
    }
}

static void test_every_truncation(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    put_sample(&b);
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *exact = xcalloc(1, len); /* so that the address sanitizer sees one byte too far */
        memcpy(exact, b.data, len);
        int r = mp_check(exact, len);
        free(exact);
        EQ_I(r, ERR_BAD);
    }
    OK(mp_check(b.data, b.len));
}

static void test_trailing(void)
{
    REFUSED("behind the end", 0xc0, 0xc0);
    REFUSED("behind the end", 0x91, 1, 0);
    REFUSED("offset 0", 0xc1);
    FAILS(mp_check(NULL, 0), ERR_BAD, "cut off");
}

static void test_huge_counts(void)
{
    REFUSED("more elements", 0xdd, 0x0f, 0xff, 0xff, 0xff);
    REFUSED("more elements", 0xdd, 0xff, 0xff, 0xff, 0xff, 0);
    REFUSED("more elements", 0xdc, 0xff, 0xff);
    REFUSED("more elements", 0x92, 0xc0);
    REFUSED("more pairs", 0xdf, 0xff, 0xff, 0xff, 0xff);
    REFUSED("more pairs", 0xdf, 0x80, 0x00, 0x00, 0x00, 0, 0);
    REFUSED("more pairs", 0xde, 0, 2, 0, 0, 0);
    REFUSED("cut off", 0xc6, 0xff, 0xff, 0xff, 0xff, 0);
    REFUSED("cut off", 0xdb, 0xff, 0xff, 0xff, 0xff, 0);
    REFUSED("cut off", 0x93, 0x92, 0, 0, 0);
}

static void test_types_refused(void)
{
    static const uint8_t types[] = { 0xc1, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8 };
    for (size_t i = 0; i < sizeof types; i++) {
        uint8_t msg[32] = { types[i] };
        FAILS(mp_check(msg, sizeof msg), ERR_BAD, "not allowed");
    }
}

static void test_depth(void)
{
    uint8_t msg[LIMIT_DEPTH + 2];
    memset(msg, 0x91, sizeof msg);
    msg[LIMIT_DEPTH] = 7;
    OK(mp_check(msg, LIMIT_DEPTH + 1));
    msg[LIMIT_DEPTH] = 0x90; /* an empty array is one level more all the same */
    FAILS(mp_check(msg, LIMIT_DEPTH + 1), ERR_BAD, "deep");
    msg[LIMIT_DEPTH] = 0x80;
    FAILS(mp_check(msg, LIMIT_DEPTH + 1), ERR_BAD, "deep");
    static uint8_t deep[100000];
    memset(deep, 0x91, sizeof deep);
    FAILS(mp_check(deep, sizeof deep), ERR_BAD, "deep");
}

static void test_number_of_objects(void)
{
    size_t n = LIMIT_OBJECTS;
    AUTOFREE uint8_t *msg = xcalloc(1, n + 5);
    msg[0] = 0xdd;
    for (int i = 0; i < 4; i++)
        msg[1 + i] = (uint8_t)((n - 1) >> (24 - 8 * i));
    OK(mp_check(msg, 5 + n - 1));
    for (int i = 0; i < 4; i++)
        msg[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    FAILS(mp_check(msg, 5 + n), ERR_BAD, "too many");
}

static void test_longer_encodings(void)
{
    struct mp m = mp_reader(MSG(0xcf, 0, 0, 0, 0, 0, 0, 0, 5, 0xd0, 5, 0xd1, 0xff, 0xfe, 0xd2, 0xff, 0xff, 0xff, 0xff,
                                0xdd, 0, 0, 0, 1, 0xdb, 0, 0, 0, 1, 'a', 0xde, 0, 0, 0xc5, 0, 0, 0xcc, 200));
    EQ_U(mp_u64(&m, 5), 5);
    EQ_U(mp_u64(&m, 5), 5);
    EQ_I(mp_i64(&m), -2);
    EQ_I(mp_i64(&m), -1);
    EQ_U(mp_array(&m, 1), 1);
    EQ_U(mp_str(&m, 1).len, 1);
    EQ_U(mp_map(&m, 1), 0);
    EQ_U(mp_bin(&m, 1).len, 0);
    EQ_U(mp_u64(&m, 200), 200);
    OK(mp_done(&m, "numbers"));
}

/* Each mismatch fails the reader, and everything after it is empty. */
#define MISMATCH(read, ...) do { \
    struct mp m = mp_reader(MSG(__VA_ARGS__, 7, 7, 7, 7)); \
    (void)(read); \
    CHECK(m.failed); \
    EQ_U(mp_u64(&m, 99), 0); \
    EQ_I(mp_i64(&m), 0); \
    CHECK(!mp_bool(&m) && !mp_nil(&m)); \
    EQ_U(mp_array(&m, 99) + mp_map(&m, 99), 0); \
    EQ_U(mp_bin(&m, 99).len + mp_str(&m, 99).len + mp_skip(&m).len, 0); \
    EQ_I(mp_peek(&m), MP_END); \
    FAILS(mp_done(&m, "thing"), ERR_BAD, "thing: malformed"); \
} while (0)

static void test_mismatches(void)
{
    uint8_t out[2] = { 1, 1 };
    MISMATCH(mp_u64(&m, 6), 7);
    MISMATCH(mp_u64(&m, UINT64_MAX), 0xff);
    MISMATCH(mp_u64(&m, 9), 0xc0);
    MISMATCH(mp_i64(&m), 0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0);
    MISMATCH(mp_i64(&m), 0xa0);
    MISMATCH(mp_bool(&m), 1);
    MISMATCH(mp_array(&m, 1), 0x92);
    MISMATCH((mp_array_of(&m, 2), 0), 0x91);
    MISMATCH((mp_array_of(&m, 2), 0), 0x93);
    MISMATCH((mp_array_of(&m, 0), 0), 0x80);
    MISMATCH(mp_map(&m, 0), 0x81);
    MISMATCH(mp_bin(&m, 1).len, 0xc4, 2);
    MISMATCH(mp_bin(&m, 9).len, 0xa2);
    MISMATCH(mp_str(&m, 9).len, 0xc4, 2);
    MISMATCH(mp_str(&m, 1).len, 0xa2);
    MISMATCH((mp_bin_into(&m, out, 2), 0), 0xc4, 1);
    EQ_U(out[0] + out[1], 0);
    MISMATCH((mp_bin_into(&m, out, 2), 0), 0xc4, 3);
    MISMATCH(mp_skip(&m).len, 0x9f);
    MISMATCH(mp_u64(&m, 9), 0xc1);
}

static void test_reader_checks_bounds(void)
{
    struct mp m = mp_reader(NULL, 0);
    EQ_I(mp_peek(&m), MP_END);
    OK(mp_done(&m, "nothing"));
    EQ_U(mp_u64(&m, 9), 0);
    FAILS(mp_done(&m, "nothing"), ERR_BAD, "nothing");
    static const uint8_t cut[] = { 0xc6, 0xff, 0xff, 0xff };
    for (size_t len = 1; len <= sizeof cut; len++) {
        AUTOFREE uint8_t *exact = xcalloc(1, len);
        memcpy(exact, cut, len);
        m = mp_reader(exact, len);
        EQ_U(mp_bin(&m, SIZE_MAX).len, 0);
        CHECK(m.failed);
    }
}

static void test_peek(void)
{
    static const struct { uint8_t byte[2]; int type; } table[] = {
        {{0xc0}, MP_NIL}, {{0xc2}, MP_BOOL}, {{0x7f}, MP_UINT}, {{0xe0}, MP_INT}, {{0xa0}, MP_STR}, {{0xc4, 0}, MP_BIN},
        {{0x90}, MP_ARRAY}, {{0x80}, MP_MAP}, {{0xc1}, MP_END}, {{0xbf}, MP_END} };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct mp m = mp_reader(table[i].byte, 2);
        EQ_I(mp_peek(&m), table[i].type);
        CHECK(!m.failed);
    }
}

/* Any bytes: no crash, and what mp_check passes mp_skip reads to its end, and nothing else. */
static void test_random_bytes(void)
{
    uint64_t seed = 5;
    int passed = 0;
    for (int run = 0; run < 200000; run++) {
        size_t len = 1 + t_rand(&seed) % 12;
        AUTOFREE uint8_t *msg = xcalloc(1, len);
        for (size_t i = 0; i < len; i++)
            msg[i] = t_rand(&seed) % 3 ? (uint8_t)(0x80 + t_rand(&seed) % 0x60) : (uint8_t)(t_rand(&seed) % 3);
        struct mp m = mp_reader(msg, len);
        struct bytes all = mp_skip(&m);
        bool good = mp_check(msg, len) == 0;
        CHECK(good == (all.len == len));
        passed += good;
    }
    CHECK(passed > 1000);
}

static void test_full_buffer(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(4);
    mp_put_bin(&b, "12345", 5);
    mp_put_u64(&b, 1);
    CHECK(!buf_ok(&b));
}

int main(void)
{
    RUN(test_bytes_written);
    RUN(test_read_back);
    RUN(test_numbers_round_trip);
    RUN(test_lengths_round_trip);
    RUN(test_every_truncation);
    RUN(test_trailing);
    RUN(test_huge_counts);
    RUN(test_types_refused);
    RUN(test_depth);
    RUN(test_number_of_objects);
    RUN(test_longer_encodings);
    RUN(test_mismatches);
    RUN(test_reader_checks_bounds);
    RUN(test_peek);
    RUN(test_random_bytes);
    RUN(test_full_buffer);
    return t_done();
}

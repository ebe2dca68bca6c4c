/* The expected values come from Python's hashlib.blake2b. */
#include "tests/unit/t.h"

#include "proto/id.h"

static void counting(uint8_t *p, size_t len, int from)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(from + (int)i);
}

#define EQ_HEX(data, len, expected) do { char t_hex[2 * 64 + 1]; hex_encode(t_hex, (data), (len)); EQ_S(t_hex, expected); } while (0)

static void test_hash(void)
{
    struct id empty = id_hash(NULL, 0), abc = id_hash("abc", 3);
    EQ_HEX(empty.b, 32, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    EQ_HEX(abc.b, 32, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    struct id two = id_hash_tagged(1, "left", 4, "right", 5), one = id_hash_tagged(0, "left", 4, NULL, 0);
    EQ_HEX(two.b, 32, "9a884235792875a4e03352a84113e6d09e07928d534195431fb8f8ca34699d57");
    EQ_HEX(one.b, 32, "12b3b2f9e164579d6fc596593da10b43ae50510e36481173a6ed41458f7a8d97");
}

static void test_derive(void)
{
    uint8_t key[32], out[64];
    counting(key, sizeof key, 0);
    id_derive(out, 32, key, "label", NULL, 0);
    EQ_HEX(out, 32, "7f8088eb65cc4626d4a3ca026af9f97dbd1b8a39b7ac12a63a07745f1fa09847");
    id_derive(out, 16, key, "label", "more", 4);
    EQ_HEX(out, 16, "bf443eeb7a3335aebb110fdf12a89cb1");
    id_derive(out, 64, key, "label", NULL, 0);
    EQ_HEX(out, 64, "d0f663641b165e697e719dbb779688d8b594e4c8ffa8d6fb135972484cae7b5c"
                    "fafea46fc3cd1aebe9e84f4eb7e038a1992af8a394e530b1a969c0c9d96ee8bc");
    uint8_t a[16], b[16];
    id_derive(a, sizeof a, key, "label", "more", 4);
    id_derive(b, sizeof b, key, "labelmore", NULL, 0);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

static void test_sid(void)
{
    struct id group, dev;
    uint8_t inc[8];
    counting(group.b, ID_LEN, 0);
    counting(dev.b, ID_LEN, 32);
    counting(inc, sizeof inc, 0);
    struct sid s = sid_make(&group, &dev, inc);
    char hex[SID_HEX];
    EQ_S(sid_hex(&s, hex), "2b63bb8225c67fe608064ee18e45592f");
}

static void test_fingerprint(void)
{
    struct id dev;
    char text[FINGERPRINT_LEN];
    counting(dev.b, ID_LEN, 32);
    EQ_S(id_fingerprint(&dev, text), "06764-93866-33138-87222-74200-54527-27996-41529");
}

static void test_compare(void)
{
    struct id a = {{1}}, b = {{1, 1}};
    CHECK(id_eq(&a, &a) && !id_eq(&a, &b));
    CHECK(id_cmp(&a, &b) < 0 && id_cmp(&b, &a) > 0 && id_cmp(&a, &a) == 0);
    CHECK(id_is_none(&ID_NONE) && !id_is_none(&a));
    b = (struct id){ .b[31] = 1 };
    CHECK(!id_is_none(&b));
    struct sid x = { .b[15] = 0x80 }, y = { .b[15] = 0x7f };
    CHECK(sid_eq(&x, &x) && !sid_eq(&x, &y) && sid_cmp(&x, &y) > 0);
}

static void test_hex(void)
{
    uint8_t out[4] = {0};
    OK(hex_decode(out, 4, "00fFa9C0"));
    EQ_HEX(out, 4, "00ffa9c0");
    OK(hex_decode(out, 0, ""));
    FAILS(hex_decode(out, 4, "00ffa9c"), ERR_BAD, "expected 8");
    FAILS(hex_decode(out, 4, ""), ERR_BAD, "expected 8");
    FAILS(hex_decode(out, 4, "00ffa9c00"), ERR_BAD, "more than 8");
    FAILS(hex_decode(out, 4, "00ffa9cg"), ERR_BAD, "expected");
    FAILS(hex_decode(out, 4, "00ff 9c0"), ERR_BAD, "expected");
    FAILS(hex_decode(out, 4, "0x00ffa9"), ERR_BAD, "expected");
    struct id a = id_hash("abc", 3), b;
    char hex[ID_HEX];
    OK(hex_decode(b.b, ID_LEN, id_hex(&a, hex)));
    CHECK(id_eq(&a, &b));
}

int main(void)
{
    RUN(test_hash);
    RUN(test_derive);
    RUN(test_sid);
    RUN(test_fingerprint);
    RUN(test_compare);
    RUN(test_hex);
    return t_done();
}

#include "tests/unit/t.h"

#include "proto/hlc.h"

static void test_parts(void)
{
    uint64_t h = hlc_make(1700000000123, 7);
    EQ_U(hlc_ms(h), 1700000000123);
    EQ_U(h, 1700000000123u * 65536 + 7);
    EQ_U(hlc_make(UINT64_MAX, 0xffff), UINT64_MAX);
    EQ_U(hlc_make(UINT64_C(1) << 48, 0), hlc_make((UINT64_C(1) << 48) - 1, 0));
}

static void test_next(void)
{
    uint64_t last = hlc_make(1000, 5);
    EQ_U(hlc_next(last, 1001), hlc_make(1001, 0));
    EQ_U(hlc_next(last, 1000), hlc_make(1000, 6));
    EQ_U(hlc_next(last, 10), hlc_make(1000, 6));       /* the wall clock went back */
    EQ_U(hlc_next(hlc_make(1000, 0xffff), 1000), hlc_make(1001, 0));
    EQ_U(hlc_next(0, 0), 1);
    EQ_U(hlc_next(UINT64_MAX, 1000), UINT64_MAX);
}

static void test_seen(void)
{
    EQ_U(hlc_seen(5, 9), 9);
    EQ_U(hlc_seen(9, 5), 9);
    EQ_U(hlc_seen(9, 9), 9);
}

/* Whatever the wall clock does, local events grow and are never behind it. */
static void test_grows(void)
{
    uint64_t seed = 2, last = 0;
    for (int i = 0; i < 100000; i++) {
        uint64_t wall = 1000 + t_rand(&seed) % 1000;
        uint64_t next = hlc_next(last, wall);
        CHECK(next > last);
        CHECK(hlc_ms(next) >= wall);
        last = t_rand(&seed) % 3 ? next : hlc_seen(next, hlc_make(1000 + t_rand(&seed) % 1000, 3));
    }
}

int main(void)
{
    RUN(test_parts);
    RUN(test_next);
    RUN(test_seen);
    RUN(test_grows);
    return t_done();
}

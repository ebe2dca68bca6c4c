#include "tests/unit/t.h"

#include "proto/buf.h"

static void test_append(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    buf_add(&b, "abc", 3);
    buf_add(&b, NULL, 0);
    buf_add_str(&b, "def");
    buf_addf(&b, "%d-%s", 42, "x");
    uint8_t *room = buf_room(&b, 2);
    CHECK(room != NULL);
    memcpy(room, "yz", 2);
    CHECK(buf_ok(&b));
    EQ_U(b.len, 12);
    EQ_MEM(b.data, "abcdef42-xyz", 12);
}

static void test_maximum(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(5);
    buf_add(&b, "12345", 5);
    CHECK(buf_ok(&b));
    buf_add(&b, NULL, 0);
    CHECK(buf_ok(&b));
    buf_add(&b, "6", 1);
    CHECK(!buf_ok(&b));
    EQ_U(b.len, 5);
    EQ_MEM(b.data, "12345", 5);
}

static void test_failure_is_sticky(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(5);
    buf_add(&b, "abcdef", 6);
    buf_add(&b, "a", 1);
    buf_addf(&b, "%d", 1);
    CHECK(buf_room(&b, 1) == NULL);
    CHECK(buf_room(&b, 0) == NULL);
    CHECK(!buf_ok(&b));
    EQ_U(b.len, 0);
    buf_clear(&b);
    buf_add(&b, "a", 1);
    CHECK(buf_ok(&b));
    EQ_U(b.len, 1);
}

static void test_huge_length_does_not_wrap(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(SIZE_MAX);
    buf_add(&b, "abc", 3);
    CHECK(buf_room(&b, SIZE_MAX) == NULL);
    CHECK(!buf_ok(&b));
    AUTO(buf_release) struct buf c = BUF_INIT(10);
    buf_add(&c, "abc", 3);
    CHECK(buf_room(&c, SIZE_MAX - 2) == NULL);
    CHECK(!buf_ok(&c));
}

static void test_clear_keeps_memory(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(100);
    buf_add_str(&b, "abc");
    uint8_t *before = b.data;
    buf_clear(&b);
    buf_add_str(&b, "xyz");
    CHECK(b.data == before);
    EQ_MEM(b.data, "xyz", 3);
}

static void test_release_and_steal(void)
{
    struct buf b = BUF_INIT(100);
    buf_add_str(&b, "abc");
    size_t len;
    AUTOFREE uint8_t *mine = buf_steal(&b, &len);
    EQ_U(len, 3);
    EQ_MEM(mine, "abc", 3);
    CHECK(b.data == NULL && b.len == 0 && b.cap == 0 && b.max == 100 && buf_ok(&b));
    AUTOFREE uint8_t *empty = buf_steal(&b, &len);
    CHECK(empty != NULL);
    EQ_U(len, 0);
    buf_add(&b, (uint8_t[101]){0}, 101);
    CHECK(buf_steal(&b, &len) == NULL);
    EQ_U(len, 0);
    CHECK(buf_ok(&b));
    buf_add_str(&b, "abc");
    buf_release(&b);
    CHECK(b.data == NULL && b.len == 0 && b.max == 100);
    buf_release(&b);
}

/* Random operations against a plain array. */
static void test_against_model(void)
{
    uint64_t seed = 1;
    for (int run = 0; run < 500; run++) {
        size_t max = t_rand(&seed) % 2000, len = 0;
        uint8_t model[2000], piece[300];
        bool failed = false;
        AUTO(buf_release) struct buf b = BUF_INIT(max);
        for (int i = 0; i < 40; i++) {
            size_t n = t_rand(&seed) % sizeof piece;
            for (size_t k = 0; k < n; k++)
                piece[k] = (uint8_t)t_rand(&seed);
            buf_add(&b, piece, n);
            failed = failed || n > max - len;
            if (!failed) {
                memcpy(model + len, piece, n);
                len += n;
            }
            CHECK(buf_ok(&b) == !failed);
            EQ_U(b.len, len);
            CHECK(len == 0 || memcmp(b.data, model, len) == 0);
            if (t_rand(&seed) % 16 == 0) {
                buf_clear(&b);
                len = 0;
                failed = false;
            }
        }
    }
}

int main(void)
{
    RUN(test_append);
    RUN(test_maximum);
    RUN(test_failure_is_sticky);
    RUN(test_huge_length_does_not_wrap);
    RUN(test_clear_keeps_memory);
    RUN(test_release_and_steal);
    RUN(test_against_model);
    return t_done();
}

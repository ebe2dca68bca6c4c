/* What is made of a peer's silence, slowness and lies. The times are given, nothing waits. */
#include "node/pull_priv.h"
#include "tests/unit/t.h"

enum { MINUTE = 60000, REQUESTS = 6 };

static const uint8_t one[8] = { 1 }, two[8] = { 2 };
static struct source s;
static struct request r[REQUESTS];
static int turns[REQUESTS];                    /* how often a request became late, less how often it was late no more */

static void on_turn(struct request *q, bool late) { turns[q - r] += late ? 1 : -1; }

static void begin(void)
{
    s = (struct source){ 0 };
    source_start(&s, one);
    for (int i = 0; i < REQUESTS; i++) {
        r[i] = (struct request){ .turn = on_turn };
        turns[i] = 0;
    }
}

static void test_three_lies(void)
{
    begin();
    CHECK(!source_strike(&s, 100) && !source_strike(&s, 200) && !source_bad(&s, 200));
    CHECK(source_strike(&s, 300));
    CHECK(source_bad(&s, 300) && source_bad(&s, 300 + 10 * MINUTE - 1));
    CHECK(!source_bad(&s, 300 + 10 * MINUTE));
}

static void test_being_bad_is_said_once_and_not_prolonged(void)
{
    begin();
    for (int i = 0; i < 2; i++)
        source_strike(&s, 0);
    CHECK(source_strike(&s, 0));
    for (uint64_t i = 1; i < 100; i++)
        CHECK(!source_strike(&s, i));
    CHECK(!source_bad(&s, 10 * MINUTE));
}

static void test_strikes_begin_anew(void)
{
    begin();
    for (int i = 0; i < 3; i++)
        source_strike(&s, 0);
    CHECK(!source_strike(&s, 10 * MINUTE) && !source_strike(&s, 10 * MINUTE) && !source_bad(&s, 10 * MINUTE));
    CHECK(source_strike(&s, 10 * MINUTE));
}

static void test_a_new_start_is_a_new_beginning(void)
{
    begin();
    for (int i = 0; i < 3; i++)
        source_strike(&s, 0);
    source_start(&s, one);                     /* it was merely disconnected */
    CHECK(source_bad(&s, 1));
    source_start(&s, two);
    CHECK(!source_bad(&s, 1));
    CHECK(!source_strike(&s, 1) && !source_strike(&s, 1));
    source_start(&s, two);
    CHECK(source_strike(&s, 1));
}

static void test_nothing_is_owed(void)
{
    begin();
    EQ_U(source_watch(&s, 1000000), UINT64_MAX);
    source_sent(&s, &r[0], 1000000);           /* from now on, not since the last answer long ago */
    EQ_U(source_watch(&s, 1004999), 1005000);
}

static void test_silence(void)
{
    begin();
    source_sent(&s, &r[0], 0);
    source_sent(&s, &r[1], 4000);              /* asking more does not make it less silent */
    EQ_U(source_watch(&s, 4999), 5000);
    CHECK(!s.silent && turns[0] == 0);
    source_watch(&s, 5000);
    CHECK(s.silent && r[0].late && r[1].late && turns[0] == 1 && turns[1] == 1);
    EQ_U(source_watch(&s, 6000), UINT64_MAX);
    EQ_I(turns[0], 1);
}

static void test_an_answer_ends_it(void)
{
    begin();
    for (int i = 0; i < 3; i++)
        source_sent(&s, &r[i], 0);
    source_watch(&s, 5000);
    source_heard(&s, &r[0], 7000);
    CHECK(!s.silent && !r[1].late && !r[2].late && turns[1] == 0);
    EQ_I(turns[0], 1);                         /* its owner settles what has been answered */
}

static void test_it_ends_with_the_last_request(void)
{
    begin();
    source_sent(&s, &r[0], 0);
    source_sent(&s, &r[1], 0);
    source_watch(&s, 5000);
    source_gave_up(&s, &r[0]);
    CHECK(s.silent && r[1].late);
    source_gave_up(&s, &r[1]);
    CHECK(!s.silent && !s.first);
}

static void test_whoever_goes_on_is_not_silent(void)
{
    begin();
    for (int i = 0; i < REQUESTS; i++)
        source_sent(&s, &r[i], 0);
    for (int i = 0; i < REQUESTS; i++) {
        uint64_t now = 4000 * ((uint64_t)i + 1);
        source_watch(&s, now - 1);
        source_heard(&s, &r[i], now);
        for (int k = 0; k < REQUESTS; k++)
            EQ_I(turns[k], 0);
    }
}

/* 1 MiB at 100 kB/s: the first answer is waited for too short, the others are not. */
static void test_patience_follows_a_slow_link(void)
{
    begin();
    for (int i = 0; i < REQUESTS; i++)
        source_sent(&s, &r[i], 0);
    source_watch(&s, 5000);
    CHECK(s.silent);
    for (int i = 0; i < REQUESTS - 1; i++) {
        uint64_t now = 10000 * ((uint64_t)i + 1);
        source_heard(&s, &r[i], now);
        EQ_U(source_watch(&s, now + 9999), now + 20000);
        CHECK(!s.silent);
    }
    source_watch(&s, 10000 * (REQUESTS - 1) + 20000);
    CHECK(s.silent);
}

static void test_patience_has_an_end(void)
{
    begin();
    source_sent(&s, &r[0], 0);
    source_sent(&s, &r[1], 0);
    source_watch(&s, 5000);
    source_heard(&s, &r[0], 100000);
    EQ_U(source_watch(&s, 100000), 130000);
}

static void test_a_request_that_is_overtaken(void)
{
    begin();
    source_sent(&s, &r[0], 0);
    source_sent(&s, &r[1], 3000);
    source_heard(&s, &r[1], 4000);             /* jobs end in any order */
    CHECK(!r[0].late);
    source_sent(&s, &r[2], 9000);
    source_sent(&s, &r[3], 9000);
    source_heard(&s, &r[2], 9500);
    CHECK(r[0].late && r[0].overtaken && !r[3].late && !s.silent);
    source_heard(&s, &r[3], 9600);
    CHECK(r[0].late && turns[0] == 1);         /* that it goes on says nothing about what it has left out */
}

static void test_how_long_an_answer_may_take(void)
{
    begin();
    s.outstanding = 4 << 20;
    CHECK(source_patience(&s) > (4 << 20) / 100 + 30000);
    s.outstanding = 0;
    EQ_U(source_patience(&s), 30000);
}

static void test_window(void)
{
    begin();
    uint64_t first = s.window;
    source_move_window(&s, first - 1, true);
    EQ_U(s.window, first);
    source_move_window(&s, 1, true);
    EQ_U(s.window, 2 * first);
    source_move_window(&s, 1, false);
    source_move_window(&s, 1, false);
    EQ_U(s.window, first);
    for (int i = 0; i < 100; i++)
        source_move_window(&s, s.window, true);
    EQ_U(s.window, 32 << 20);
}

/* Fast ones are asked for much at once, slow ones for little, whatever they were before. */
static void test_portion(void)
{
    begin();
    EQ_U(s.portion, 1 << 20);
    source_pace(&s, 32 << 20, 99);
    EQ_U(s.portion, LIMIT_BODY);
    source_pace(&s, 2 << 20, 0);
    EQ_U(s.portion, LIMIT_BODY);
    source_pace(&s, 4 << 20, 99);
    CHECK(s.portion > 2000000 && s.portion < 2 << 20);
    source_pace(&s, 4 << 20, 40000);
    EQ_U(s.portion, 1 << 20);
}

int main(void)
{
    RUN(test_three_lies);
    RUN(test_being_bad_is_said_once_and_not_prolonged);
    RUN(test_strikes_begin_anew);
    RUN(test_a_new_start_is_a_new_beginning);
    RUN(test_nothing_is_owed);
    RUN(test_portion);
    RUN(test_silence);
    RUN(test_an_answer_ends_it);
    RUN(test_it_ends_with_the_last_request);
    RUN(test_whoever_goes_on_is_not_silent);
    RUN(test_patience_follows_a_slow_link);
    RUN(test_patience_has_an_end);
    RUN(test_a_request_that_is_overtaken);
    RUN(test_how_long_an_answer_may_take);
    RUN(test_window);
    return t_done();
}

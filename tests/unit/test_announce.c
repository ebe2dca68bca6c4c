/* How long what is new waits, and how often all is said again. */
#include <sodium.h>

#include "node/announce.h"
#include "tests/unit/t.h"

enum { TRIES = 200 };

static void within(uint64_t pause, uint64_t least, uint64_t most)
{
    if (pause < least || pause > most)
        T_FAIL("%llu is not from %llu to %llu", (unsigned long long)pause, (unsigned long long)least, (unsigned long long)most);
}

static void test_own_news_never_wait(void)
{
    for (size_t peers = 0; peers < 1000; peers += 9)
        EQ_U(announce_news_pause(true, peers), 10);
}

static void test_what_was_learnt_waits_where_many_hear_it(void)
{
    for (size_t peers = 0; peers <= 10; peers++)
        EQ_U(announce_news_pause(false, peers), 10);
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < TRIES; i++) {
        uint64_t pause = announce_news_pause(false, 100);
        within(pause, 450, 910);
        least = pause < least ? pause : least;
        most = pause > most ? pause : most;
        within(announce_news_pause(false, 100000), 500, 1000);
    }
    CHECK(most > least + 100);                           /* not all at the same moment */
}

static void test_few_hear_it_every_15_seconds(void)
{
    uint64_t last = 0;
    for (int i = 0; i < TRIES; i++)
        within(announce_repeat_pause(&last, i == 0, 15), 12000, 18000);
}

static void test_many_hear_it_less_and_less_often(void)
{
    uint64_t last = 0;
    within(announce_repeat_pause(&last, true, 99), 12000, 18000);
    within(announce_repeat_pause(&last, false, 99), 24000, 36000);
    within(announce_repeat_pause(&last, false, 99), 48000, 72000);
    for (int i = 0; i < TRIES; i++)
        within(announce_repeat_pause(&last, false, 99), 84000, 126000);
    within(announce_repeat_pause(&last, false, 20), 24000, 36000);       /* most have gone */
    within(announce_repeat_pause(&last, true, 99), 12000, 18000);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_own_news_never_wait);
    RUN(test_what_was_learnt_waits_where_many_hear_it);
    RUN(test_few_hear_it_every_15_seconds);
    RUN(test_many_hear_it_less_and_less_often);
    return t_done();
}

/* What is news for whom, and which neighbour is asked next. */
#include <stdlib.h>
#include <string.h>

#include "node/far_priv.h"
#include "tests/unit/t_lock.h"

enum { N = 5 };
static struct far_device device[N];
static struct far far;
static bool linked[N];

/* All were asked just now, nothing is new, and no ages are due. */
static void begin(void)
{
    far = (struct far){.d = device, .n = N, .ages_due = loop_now() + 1000000};
    for (size_t i = 0; i < N; i++) {
        device[i] = (struct far_device){.dev = {{(uint8_t)i}}, .asked = loop_now()};
        linked[i] = true;
    }
}

static bool is_linked(const void *arg, const struct id *dev) { return ((const bool *)arg)[dev->b[0]]; }

static struct far_device *next(bool *more) { return far_next(&far, is_linked, linked, more); }

static void is_next(size_t i, bool more)
{
    bool got;
    CHECK(next(&got) == &device[i]);
    EQ_U(got, more);
}

static void nobody_is(bool more)
{
    bool got;
    CHECK(next(&got) == NULL);
    EQ_U(got, more);
}

/* ---- whose turn it is ---- */

static void test_nothing_is_asked_for_nothing(void)
{
    begin();
    nobody_is(false);
    far.ages_due = 0;
    device[3].asked--;
    is_next(3, false);
    linked[3] = false;
    CHECK(next(&(bool){false}) != &device[3]);
    memset(linked, 0, sizeof linked);
    nobody_is(false);
}

static void test_who_was_not_asked_for_long_comes_first(void)
{
    begin();
    device[1].hot = true;
    is_next(1, false);
    device[2].asked -= FAR_OVERDUE_MS - 100;
    is_next(1, false);
    device[2].asked -= 100;
    is_next(2, true);
    device[3].asked = device[2].asked - 1;
    is_next(3, true);
    device[3].busy = true;
    is_next(2, true);
}

static void test_each_in_its_turn(void)
{
    begin();
    far.news = 1;
    device[0].changed = 1;
    for (size_t i = 1; i < N; i++)
        device[i].asked -= 100 * i;
    for (size_t i = N - 1; i > 0; i--) {
        is_next(i, i > 1);
        device[i].asked = loop_now();
        device[i].said = 1;
    }
    nobody_is(false);
}

static void test_questions_under_way_are_few(void)
{
    begin();
    for (size_t i = 0; i < N; i++)
        device[i].hot = true;
    for (size_t i = 0; i < FAR_ASKS_MAX - 1; i++)
        device[i].busy = true;
    CHECK(next(&(bool){false}));
    device[FAR_ASKS_MAX - 1].busy = true;
    nobody_is(true);
}

/* Some may answer as late as they can, all the time. */
static void test_who_is_slow_holds_up_nobody(void)
{
    begin();
    for (size_t i = 0; i < FAR_ASKS_MAX; i++) {
        device[i].busy = true;
        device[i].asked -= FAR_SLOW_MS;
    }
    device[4].hot = true;
    is_next(4, false);
}

/* Each vector of a neighbour may say that it has control records that are new here. */
static void test_whom_one_asks_out_of_its_turn(void)
{
    begin();
    CHECK(!far_may_hurry(&device[0]));
    device[0].asked -= FAR_HURRY_MS;
    CHECK(far_may_hurry(&device[0]));
    device[0].mute_until = loop_now() + FAR_MUTE_MS;
    CHECK(!far_may_hurry(&device[0]));
    device[0].mute_until = 0;
    device[0].busy = true;
    CHECK(!far_may_hurry(&device[0]));
}

/* It is asked all the same, now and then: it may have been busy. */
static void test_who_is_mute_is_asked_in_its_turn_only(void)
{
    begin();
    device[1].hot = true;
    device[1].mute_until = loop_now() + FAR_MUTE_MS;
    nobody_is(false);
    far.news = device[2].changed = 1;
    device[0].said = device[3].said = device[4].said = 1;
    nobody_is(false);
    device[1].asked -= FAR_OVERDUE_MS;
    is_next(1, false);
    device[1].asked = loop_now();
    device[1].mute_until = loop_now();
    is_next(1, false);
}

/* ---- what is news ---- */

static void test_who_is_online_again_is_news_once(void)
{
    begin();
    far_hear(&far, &device[0], loop_now());
    EQ_U(device[0].changed, 1);
    far_hear(&far, &device[0], loop_now());
    EQ_U(far.news, 1);
    device[0].heard = loop_now() - FAR_PRESENT_MS;
    far_hear(&far, &device[0], loop_now() - FAR_PRESENT_MS);
    EQ_U(far.news, 1);
    far_hear(&far, &device[0], loop_now() - FAR_PRESENT_MS / 2);
    EQ_U(device[0].changed, 2);
}

/* However often it goes round. */
static void test_an_age_grows(void)
{
    uint64_t now = loop_now() + 100000;
    EQ_U(far_heard_by_age(now, 0), now);
    EQ_U(far_heard_by_age(now, 500), now - 500);
    EQ_U(far_heard_by_age(now, now + 1), 1);
    begin();
    far_hear(&far, &device[0], loop_now() - 10);
    uint64_t heard = device[0].heard;
    far_hear(&far, &device[0], heard - 5);
    EQ_U(device[0].heard, heard);
}

static void test_only_what_says_something_else_is_news(void)
{
    struct world *w = world_new();
    begin();
    AUTO(buf_release) struct buf first = BUF_INIT(LIMIT_BODY), again = BUF_INIT(LIMIT_BODY), other = BUF_INIT(LIMIT_BODY);
    must(engine_own_vector(w->d[1].e, w->wall, 1, &first));
    must(engine_own_vector(w->d[1].e, w->wall + 1, 1, &again));
    CHECK(far_keep(&far, &device[1], first.data, first.len));
    CHECK(!far_keep(&far, &device[1], again.data, again.len));
    EQ_U(far.news, 1);
    CHECK(device[1].len == again.len && memcmp(device[1].vec, again.data, again.len) == 0);
    save(w, 1, "f", "one");
    must(engine_own_vector(w->d[1].e, w->wall + 2, 1, &other));
    CHECK(far_keep(&far, &device[1], other.data, other.len));
    EQ_U(device[1].changed, 2);
    free(device[1].vec);
    world_free(w);
}

/* A question names what is new since the last one, and nothing of the one that is asked. */
static void test_what_is_named(void)
{
    begin();
    far.news = 3;
    device[0] = (struct far_device){.len = 1, .changed = 3};
    device[1].said = 2;
    CHECK(far_names(&device[0], &device[1]));
    CHECK(!far_names(&device[0], &device[0]));
    device[1].said = 3;
    CHECK(!far_names(&device[0], &device[1]));
    device[1].said = 0;
    device[0].len = 0;
    CHECK(!far_names(&device[0], &device[1]));
}

static void test_what_it_told_is_no_news_for_it(void)
{
    begin();
    far.news = 7;                        /* 5 when it was asked; 6 and 7 came with its answer */
    far_answered(&far, &device[0], 5, 5, 40, false);
    EQ_U(device[0].said, 7);
    EQ_U(device[0].upto, 40);
    far_answered(&far, &device[1], 4, 5, 41, false);        /* and one came from elsewhere, meanwhile */
    EQ_U(device[1].said, 4);
}

/* Parts of a group meet, and one has members that the other has not heard of: what they know may come before who they are. */
static void test_what_came_too_early_is_told_again(void)
{
    begin();
    device[0].upto = 5;
    far_answered(&far, &device[0], 0, 0, 40, true);
    EQ_U(device[0].upto, 5);
    nobody_is(false);
    far_ask_the_early(&far);
    is_next(0, false);
    device[0].hot = false;
    far_ask_the_early(&far);
    nobody_is(false);
    far_answered(&far, &device[0], 0, 0, 40, false);
    EQ_U(device[0].upto, 40);
}

static void test_a_group_that_becomes_small_is_looked_at_once_more(void)
{
    begin();
    far.look_due = loop_now() + 1000;
    CHECK(far_look_is_due(&far, true));
    CHECK(!far_look_is_due(&far, false));
    far.large = true;
    CHECK(!far_look_is_due(&far, true));
    CHECK(far_look_is_due(&far, false));
    far.look_due = loop_now();
    CHECK(far_look_is_due(&far, true));
}

/* ---- who is dialled for what it has ---- */

static void test_who_only_says_so_is_dialled_in_its_turn(void)
{
    begin();
    CHECK(far_to_dial(&far, LACK_SOME, 0) == NULL);
    for (size_t i = 0; i < 3; i++) {
        device[i].lack = LACK_ALL;
        device[i].lacks = loop_now() - 1000;
    }
    device[0].wanted = loop_now() - 20;      /* linked meanwhile, and nothing came */
    device[1].wanted = loop_now() - 30;
    CHECK(far_to_dial(&far, LACK_ALL, 1000) == &device[2]);
    device[2].wanted = loop_now() + 60000;
    CHECK(far_to_dial(&far, LACK_ALL, 1000) == &device[1]);
    device[1].lack = LACK_SOME;
    CHECK(far_to_dial(&far, LACK_ALL, 1000) == &device[0]);
    CHECK(far_to_dial(&far, LACK_SOME, 1000) == &device[1]);
    CHECK(far_to_dial(&far, LACK_SOME, 100000) == NULL);
}

/* ---- what fits into an answer ---- */

static void test_the_earliest_news_first_and_one_at_least(void)
{
    struct far_piece p[] = {{7, 40}, {3, 30}, {5, 30}};
    EQ_U(far_fit(p, 3, 100, 9), 9);
    EQ_U(far_fit(p, 3, 99, 9), 5);
    EQ_U(far_fit(p, 3, 60, 9), 5);
    EQ_U(far_fit(p, 3, 59, 9), 3);
    EQ_U(far_fit(p, 3, 1, 9), 3);
    EQ_U(far_fit((struct far_piece[]){{4, 40}}, 1, 1, 9), 9);
    EQ_U(far_fit(NULL, 0, 1, 9), 9);
}

/* ---- who is wished for ---- */

/* To whom, of those that are online, a connection is kept. */
static void test_to_whom_connections_are_kept(void)
{
    struct node n = {.far = &far};
    begin();
    far.large = true;
    for (size_t i = 0; i < N; i++)
        device[i].heard = loop_now();
    device[1].chosen = true;
    device[2].chose_us = loop_now();
    device[3].wanted = loop_now() + 1000;
    for (size_t i = 0; i < N; i++)
        EQ_U(far_wish(&n, &device[i].dev), i >= 1 && i <= 3 ? WISH_LINK : WISH_NONE);
    far.gather = loop_now() + 1000;
    EQ_U(far_wish(&n, &device[0].dev), WISH_LINK);
    far.large = false;
    far.gather = 0;
    EQ_U(far_wish(&n, &device[0].dev), WISH_LINK);
}

/* Neighbours that keep to themselves whom they hear of, all of them, hide nobody: who is not online by what they say is dialled. */
static void test_who_is_not_heard_of_is_dialled(void)
{
    struct node n = {.far = &far};
    begin();
    far.large = true;
    EQ_U(far_wish(&n, NULL), WISH_ROOM);
    EQ_U(far_wish(&n, &(struct id){{99}}), WISH_ROOM);
    EQ_U(far_wish(&n, &device[0].dev), WISH_ROOM);
    far_hear(&far, &device[0], loop_now());
    EQ_U(far_wish(&n, &device[0].dev), WISH_NONE);
    device[0].chosen = true;
    device[0].heard -= FAR_PRESENT_MS;
    EQ_U(far_wish(&n, &device[0].dev), WISH_ROOM);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_nothing_is_asked_for_nothing);
    RUN(test_who_was_not_asked_for_long_comes_first);
    RUN(test_each_in_its_turn);
    RUN(test_questions_under_way_are_few);
    RUN(test_who_is_slow_holds_up_nobody);
    RUN(test_whom_one_asks_out_of_its_turn);
    RUN(test_who_is_mute_is_asked_in_its_turn_only);
    RUN(test_who_is_online_again_is_news_once);
    RUN(test_an_age_grows);
    RUN(test_only_what_says_something_else_is_news);
    RUN(test_what_is_named);
    RUN(test_what_came_too_early_is_told_again);
    RUN(test_a_group_that_becomes_small_is_looked_at_once_more);
    RUN(test_who_only_says_so_is_dialled_in_its_turn);
    RUN(test_the_earliest_news_first_and_one_at_least);
    RUN(test_what_it_told_is_no_news_for_it);
    RUN(test_to_whom_connections_are_kept);
    RUN(test_who_is_not_heard_of_is_dialled);
    return t_done();
}

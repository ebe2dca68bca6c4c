/* Clocks that are years wrong. */
#include "tests/unit/t_clock.h"
#include "tests/unit/t_forge.h"

static void test_what_was_dated_in_the_future_is_signed_again(void)
{
    struct world *w = world_new();
    EQ_I(save(w, 0, "before", "x"), 1);
    uint64_t now = w->wall;
    w->wall += 10 * YEAR_MS;
    EQ_I(save(w, 0, "a", "ten years on"), 1);
    struct sid was = *engine_own_sid(w->d[0].e);
    w->wall = now + 1000;
    EQ_I(look_at_clock(w, 0), 0);                                      /* nobody is there to say who is right */
    CHECK(!engine_clock_off(w->d[0].e, w->wall));
    meet_clock(w, 1, 0);
    EQ_I(look_at_clock(w, 0), 1);
    EQ_U(engine_known_of(w->d[0].e, &was), 1);
    EQ_U(tally(w, 0, "a").own, 1);
    EQ_I(look_at_clock(w, 0), 0);
    EQ_I(pull_entries(w, 0, 1), 2);
    EQ_U(tally(w, 1, "a").live, 1);
    world_free(w);
}

/* A machine that is ahead at every start (its clock has the time of another zone) until it is told better. */
static void test_a_clock_that_is_ahead_again_and_again(void)
{
    struct world *w = world_new();
    char text[20];
    for (int i = 0; i < 40; i++) {
        uint64_t now = w->wall;
        w->wall += 7200000;
        snprintf(text, sizeof text, "start %d", i);
        EQ_I(save(w, 0, "a", text), 1);
        w->wall = now + 1000;
        meet_clock(w, 1, 0);
        EQ_I(look_at_clock(w, 0), 1);
        CHECK(pull_entries(w, 0, 1) > 0);
        install(w, 1);
        EQ_S(shows(w, 1, "a"), text);
        engine_online(w->d[0].e, &w->d[1].keys->dev, false);
    }
    struct id dev;
    CHECK(!engine_next_distrusted(w->d[0].e, &dev) && !engine_next_distrusted(w->d[1].e, &dev));
    world_free(w);
}

/* It is our clock that is behind: what we have written is taken by the others. */
static void test_who_is_wrong_now_takes_nothing_back(void)
{
    struct world *w = world_new();
    EQ_I(save(w, 0, "a", "x"), 1);
    meet_clock(w, 1, 0);
    w->wall -= 10 * YEAR_MS;
    EQ_I(look_at_clock(w, 0), 0);
    CHECK(engine_clock_off(w->d[0].e, w->wall) > 9 * YEAR_MS);
    world_free(w);
}

static uint64_t age(struct world *w, size_t i, uint64_t run_ms)
{
    must(engine_begin(w->d[i].e));
    engine_age(w->d[i].e, w->wall, run_ms);
    commit(w, i);
    return engine_aged(w->d[i].e);
}

/* What is kept does not become old because a clock is wrong once. */
static void test_things_age_by_more_than_one_look_at_a_clock(void)
{
    struct world *w = world_new();
    uint64_t now = w->wall;
    EQ_U(engine_aged(w->d[0].e), 0);
    EQ_U(age(w, 0, 5000), now);            /* nothing is known yet */
    w->wall += 1000;
    EQ_U(age(w, 0, 1000), now + 1000);
    w->wall += 10 * YEAR_MS;
    EQ_U(age(w, 0, 1000), now + 25000);    /* nobody is there */
    must(engine_begin(w->d[0].e));
    engine_age(w->d[0].e, w->wall, 1000);
    engine_rollback(w->d[0].e);
    EQ_U(engine_aged(w->d[0].e), now + 25000);
    w->wall = now + 2000;
    EQ_U(age(w, 0, 1000), now + 25000);    /* it stands still until the clock is there */
    meet_clock(w, 1, 0);
    EQ_U(age(w, 0, 0), w->wall);
    w->wall += 10 * YEAR_MS;
    EQ_U(age(w, 0, 1000), now + 2000);     /* the others have another time */
    meet_clock(w, 1, 0);
    EQ_U(age(w, 0, 0), w->wall);
    EQ_U(age(w, 1, 0), w->wall);
    world_free(w);
}

int main(void)
{
    must(keys_init());
    RUN(test_what_was_dated_in_the_future_is_signed_again);
    RUN(test_a_clock_that_is_ahead_again_and_again);
    RUN(test_who_is_wrong_now_takes_nothing_back);
    RUN(test_things_age_by_more_than_one_look_at_a_clock);
    return t_done();
}

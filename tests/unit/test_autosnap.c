/* Automatic snapshots under made-up times. */
#include "node/autosnap.h"

#include "tests/unit/t_engine.h"

/* 2026-11-21 is a Saturday, in week 47. */
#define SATURDAY 1795219200000ull
#define HOUR 3600000ull
#define DAY (24 * HOUR)

static struct autosnap schedule(const char *text)
{
    struct autosnap a = {0};
    must(autosnap_parse(text, &a));
    return a;
}

static int run(struct world *w, struct autosnap *a, uint64_t wall)
{
    w->wall = wall;
    int r = autosnap_run(a, w->d[0].e, wall);
    must(r);
    return r;
}

/* All names, one behind the other. */
static const char *names(struct world *w, size_t i)
{
    static char text[4000];
    const struct snapshot *v;
    size_t n;
    text[0] = '\0';
    must(engine_snapshots(w->d[i].e, &v, &n));
    for (size_t k = 0; k < n; k++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k ? " " : "", v[k].name);
    return text;
}

static void test_parse(void)
{
    struct autosnap a = schedule("weekly=4 hourly=24");
    CHECK(a.keep[PERIOD_HOUR] == 24 && a.keep[PERIOD_DAY] == 0 && a.keep[PERIOD_WEEK] == 4);
    must(autosnap_parse("", &a));
    CHECK(!a.keep[PERIOD_HOUR] && !a.keep[PERIOD_DAY] && !a.keep[PERIOD_WEEK]);
    static const char *const bad[] = {" ", "daily=", "daily=0", "daily=7 ", " daily=7", "daily=7  weekly=1", "daily=169", "daily=7 daily=7",
                                      "daily=99999999999999999999", "Daily=7", "7"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(autosnap_parse(bad[i], &a), ERR_BAD, "hourly=24");
}

static const char *name_of(enum period p, uint64_t wall)
{
    static char name[LIMIT_SNAPSHOT_NAME + 1];
    autosnap_name(p, wall, name);
    return name;
}

static void test_period_names(void)
{
    EQ_S(name_of(PERIOD_HOUR, SATURDAY + 14 * HOUR), "auto-hourly-2026-11-21T14");
    EQ_S(name_of(PERIOD_HOUR, SATURDAY + 15 * HOUR - 1), "auto-hourly-2026-11-21T14");
    EQ_S(name_of(PERIOD_DAY, SATURDAY + DAY - 1), "auto-daily-2026-11-21");
    EQ_S(name_of(PERIOD_WEEK, SATURDAY), "auto-weekly-2026-W47");
    EQ_S(name_of(PERIOD_WEEK, SATURDAY + 2 * DAY), "auto-weekly-2026-W48");
    EQ_S(name_of(PERIOD_WEEK, 1798761600000), "auto-weekly-2026-W53");     /* the first of January 2027 */
    EQ_S(name_of(PERIOD_DAY, 0), "auto-daily-1970-01-01");
}

static void test_off(void)
{
    struct world *w = world_new();
    struct autosnap a = schedule("");
    save(w, 0, "a", "one");
    EQ_I(run(w, &a, SATURDAY), 0);
    EQ_S(names(w, 0), "");
    world_free(w);
}

static void test_one_a_period_if_something_changed(void)
{
    struct world *w = world_new();
    struct autosnap a = schedule("hourly=24");
    w->wall = SATURDAY;
    save(w, 0, "a", "one");
    EQ_I(run(w, &a, SATURDAY + 60000), 1);
    save(w, 0, "a", "two");
    EQ_I(run(w, &a, SATURDAY + HOUR - 1), 0);            /* the same hour */
    EQ_I(run(w, &a, SATURDAY + HOUR), 1);
    EQ_I(run(w, &a, SATURDAY + 2 * HOUR), 0);            /* nothing has changed; the snapshot itself is no change */
    must(engine_begin(w->d[0].e));
    OK(engine_snapshot_create(w->d[0].e, "mine", w->wall));
    commit(w, 0);
    must(engine_begin(w->d[0].e));
    OK(engine_snapshot_remove(w->d[0].e, "mine", w->wall));
    commit(w, 0);
    EQ_I(run(w, &a, SATURDAY + 3 * HOUR), 0);
    save(w, 1, "b", "bee");
    pull_entries(w, 1, 0);
    EQ_I(run(w, &a, SATURDAY + 3 * HOUR + 1), 1);        /* in the middle of the hour, once something has */
    EQ_S(names(w, 0), "auto-hourly-2026-11-21T00 auto-hourly-2026-11-21T01 auto-hourly-2026-11-21T03");
    struct autosnap again = schedule("hourly=24");       /* the node has started again */
    save(w, 0, "a", "three");
    EQ_I(run(w, &again, SATURDAY + 3 * HOUR + 2), 0);
    world_free(w);
}

static void test_old_ones_go(void)
{
    struct world *w = world_new();
    struct autosnap a = schedule("hourly=3 daily=2 weekly=1");
    for (uint64_t h = 0; h < 60; h++) {
        char text[16];
        snprintf(text, sizeof text, "%d", (int)h);
        w->wall = SATURDAY + h * HOUR;
        save(w, 0, "a", text);
        run(w, &a, SATURDAY + h * HOUR + 1000);
    }
    EQ_S(names(w, 0), "auto-daily-2026-11-22 auto-daily-2026-11-23 auto-hourly-2026-11-23T09 auto-hourly-2026-11-23T10 "
                      "auto-hourly-2026-11-23T11 auto-weekly-2026-W48");
    a = schedule("hourly=1");
    EQ_I(run(w, &a, SATURDAY + 60 * HOUR), 1);           /* fewer are wanted; the kinds that are not are left alone */
    EQ_S(names(w, 0), "auto-daily-2026-11-22 auto-daily-2026-11-23 auto-hourly-2026-11-23T11 auto-weekly-2026-W48");
    world_free(w);
}

static void test_others_are_left_alone(void)
{
    struct world *w = world_new();
    static const char *const mine[] = {"auto-hourly-by hand", "auto-hourly-2026-11-20T1", "auto-hourly-2026-11-20T100", "auto-daily-2020-01-01"};
    for (size_t i = 0; i < 4; i++) {
        must(engine_begin(w->d[0].e));
        OK(engine_snapshot_create(w->d[0].e, mine[i], w->wall));
        commit(w, 0);
    }
    must(engine_begin(w->d[1].e));
    OK(engine_snapshot_create(w->d[1].e, "auto-hourly-2026-11-20T07", w->wall));
    commit(w, 1);
    pull_entries(w, 1, 0);
    struct autosnap a = schedule("hourly=1");
    EQ_I(run(w, &a, SATURDAY), 1);
    save(w, 0, "a", "x");
    EQ_I(run(w, &a, SATURDAY + HOUR), 1);
    EQ_S(names(w, 0), "auto-daily-2020-01-01 auto-hourly-2026-11-20T07 auto-hourly-2026-11-20T1 auto-hourly-2026-11-20T100 "
                      "auto-hourly-2026-11-21T01 auto-hourly-by hand");
    world_free(w);
}

static void test_one_that_the_user_removes_stays_removed(void)
{
    struct world *w = world_new();
    struct autosnap a = schedule("daily=3");
    save(w, 0, "a", "one");
    EQ_I(run(w, &a, SATURDAY), 1);
    must(engine_begin(w->d[0].e));
    OK(engine_snapshot_remove(w->d[0].e, "auto-daily-2026-11-21", w->wall));
    commit(w, 0);
    save(w, 0, "a", "two");
    EQ_I(run(w, &a, SATURDAY + HOUR), 0);
    EQ_I(run(w, &a, SATURDAY + DAY), 1);
    EQ_S(names(w, 0), "auto-daily-2026-11-22");
    world_free(w);
}

static void test_the_clock_goes_back(void)
{
    struct world *w = world_new();
    struct autosnap a = schedule("hourly=3");
    save(w, 0, "a", "one");
    EQ_I(run(w, &a, SATURDAY + 5 * HOUR), 1);
    EQ_I(run(w, &a, SATURDAY + 4 * HOUR), 0);
    save(w, 0, "a", "two");
    EQ_I(run(w, &a, SATURDAY + 4 * HOUR), 1);
    EQ_I(run(w, &a, SATURDAY + 5 * HOUR), 0);            /* there is one of that hour */
    EQ_S(names(w, 0), "auto-hourly-2026-11-21T04 auto-hourly-2026-11-21T05");
    world_free(w);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_parse);
    RUN(test_period_names);
    RUN(test_off);
    RUN(test_one_a_period_if_something_changed);
    RUN(test_old_ones_go);
    RUN(test_others_are_left_alone);
    RUN(test_one_that_the_user_removes_stays_removed);
    RUN(test_the_clock_goes_back);
    return t_done();
}

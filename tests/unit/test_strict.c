/* Mode strict: files that are read-only for the time, in a real folder. */
#include "node/strict.h"
#include "tests/unit/t_pull.h"

enum { MANY = 700 };                 /* two batches */

static struct strict *strict;
static bool wait_here;               /* no batch begins */
static unsigned ended;
static int files;

static uint32_t usual_mode(int i) { return (const uint32_t[]){0644, 0755, 0600, 0664, 0444}[i % 5]; }

static const char *name(int i)
{
    static char text[32];
    snprintf(text, sizeof text, "d/%d", i);
    return text;
}

static bool may_pass(void *arg) { return (void)arg, !wait_here && quiet(NULL) && !pull_placing(far.pull); }
static void on_off(void *arg) { (void)arg, ended++; }
static bool is_busy(const char *path, size_t len) { return far_busy(path, len) || (strict && strict_touches(strict, path, len)); }

static void start(void)
{
    scan_start();
    pull_start();
    w.also_busy = is_busy;
    struct strict_config c = {.loop = w.loop, .pool = w.pool, .folder = folder, .engine = w.e, .index = w.ix, .ops = {.ready = may_pass, .done = on_off}};
    strict = strict_new(&c);
    settle();
}

static void stop(void)
{
    pull_end();
    if (strict)
        strict_free(&strict);
}

static void folder_with(int n)
{
    stop();
    both_begin();
    wait_here = false;
    ended = 0;
    files = n;
    OK(mkdir(full("d"), 0755));
    for (int i = 0; i < n; i++) {
        put(name(i), name(i));
        OK(chmod(full(name(i)), usual_mode(i)));
    }
    start();
}

/* As after SIGKILL: what a batch did that was under way is not on record. */
static void crash(void)
{
    stop();
    engine_free(&w.e);
    struct engine_config c = {.index = w.ix, .group = &w.g.group, .keys = w.g.dev[0], .inst = {1}};
    t_must(engine_new(&c, &w.e));
    wait_here = false;
    start();
}

static int writable(void)
{
    int n = 0;
    for (int i = 0; i < files; i++)
        n += (mode_of(name(i)) & 0222) != 0;
    return n;
}
static bool none_writable(void *arg) { return (void)arg, writable() == 0; }
static bool is_over(void *arg) { return (void)arg, ended > 0; }
/* Some of those that it will be are, and no more for now. */
static bool is_half_way(void *arg)
{
    int n = writable();
    (void)arg;
    wait_here = n > 0 && n < files * 4 / 5;
    return wait_here;
}

static void all_as_usual(void)
{
    for (int i = 0; i < files; i++)
        EQ_U(mode_of(name(i)), usual_mode(i));
    CHECK(!engine_strict(w.e));
}

static void fence(void)
{
    strict_want(strict, true);
    UNTIL(w.loop, none_writable, NULL);
}

static void test_there_and_back(void)
{
    folder_with(MANY);
    uint64_t before = authored();
    fence();
    scan_again();
    CHECK(!strict_undoing(strict));
    strict_want(strict, false);
    CHECK(strict_undoing(strict));
    UNTIL(w.loop, is_over, NULL);
    all_as_usual();
    scan_again();
    EQ_U(authored(), before);            /* none of it is an edit */
}

static void test_crash_on_both_ways(void)
{
    folder_with(MANY);
    uint64_t before = authored();
    strict_want(strict, true);
    UNTIL(w.loop, is_half_way, NULL);
    crash();
    CHECK(engine_strict(w.e));
    fence();
    strict_want(strict, false);
    UNTIL(w.loop, is_half_way, NULL);
    crash();
    scan_again();
    strict_want(strict, false);
    UNTIL(w.loop, is_over, NULL);
    all_as_usual();
    scan_again();
    EQ_U(authored(), before);
}

static void test_locked_again_on_the_way_back(void)
{
    folder_with(MANY);
    fence();
    strict_want(strict, false);
    UNTIL(w.loop, is_half_way, NULL);
    strict_want(strict, true);
    wait_here = false;
    UNTIL(w.loop, none_writable, NULL);
    EQ_U(ended, 0);
    strict_want(strict, false);
    UNTIL(w.loop, is_over, NULL);
    all_as_usual();
}

/* A file that the pass has left behind it when it comes. */
static void test_what_arrives_on_the_way_back(void)
{
    folder_with(MANY);
    to_far();
    fence();
    strict_want(strict, false);
    UNTIL(w.loop, is_half_way, NULL);
    int i = 0;
    while (!(mode_of(name(i)) & 0222))
        i++;
    far_save(name(i), "of another device");
    take_all();
    wait_here = false;
    UNTIL(w.loop, is_over, NULL);
    EQ_U(mode_of(name(i)), 0640);
    EQ_S(get(name(i)), "of another device");
    no_echo();
}

static void test_what_arrives_while_it_holds(void)
{
    folder_with(MANY);
    to_far();
    fence();
    far_save(name(0), "of another device");
    take_all();
    EQ_U(mode_of(name(0)), 0440);
    strict_want(strict, false);
    UNTIL(w.loop, is_over, NULL);
    EQ_U(mode_of(name(0)), 0640);
    no_echo();
}

/* What its user does with the mode of a file that looks read-only to him is not meant to leave it so. */
static void test_modes_that_the_user_changes(void)
{
    static const struct { uint32_t chosen, then; } of[5] = {
        {0555, 0755}, {0444, 0644}, {0444, 0644}, {0644, 0644}, {0400, 0400},
    };
    folder_with(5);
    fence();
    for (int i = 0; i < 5; i++)
        OK(chmod(full(name(i)), of[i].chosen));
    scan_again();
    strict_want(strict, false);
    UNTIL(w.loop, is_over, NULL);
    for (int i = 0; i < 5; i++)
        EQ_U(mode_of(name(i)), of[i].then);
    no_echo();
}

int main(void)
{
    t_node_init();
    RUN(test_there_and_back);
    RUN(test_crash_on_both_ways);
    RUN(test_locked_again_on_the_way_back);
    RUN(test_what_arrives_on_the_way_back);
    RUN(test_what_arrives_while_it_holds);
    RUN(test_modes_that_the_user_changes);
    stop();
    both_end();
    return t_done();
}

/* What others tell of a device (engine_vector_told), and whether it has something that is not to be had nearby (engine_lacks_far). */
#include "tests/unit/t_lock.h"

static const uint64_t tolerance_ms = 10 * 60 * 1000;

/* The vector of device i as it is now. */
static struct buf vector(struct world *w, size_t i)
{
    struct buf b = BUF_INIT(LIMIT_BODY);
    must(engine_own_vector(w->d[i].e, w->wall, 1, &b));
    return b;
}

static int told_of(struct world *w, size_t to, size_t of, const struct buf *vec)
{
    return engine_vector_told(w->d[to].e, vec->data, vec->len, &w->d[of].keys->dev, w->wall);
}

static void tell(struct world *w, size_t to, size_t of)
{
    AUTO(buf_release) struct buf vec = vector(w, of);
    EQ_I(told_of(w, to, of, &vec), 1);
}

/* ---- vectors that are told ---- */

static void test_only_newer_ones_are_taken(void)
{
    struct world *w = world_new();
    AUTO(buf_release) struct buf first = vector(w, 1), second = vector(w, 1);
    EQ_I(told_of(w, 0, 1, &second), 1);
    EQ_I(told_of(w, 0, 1, &second), 0);
    EQ_I(told_of(w, 0, 1, &first), 0);
    world_free(w);
}

static void test_of_two_starts_the_later_one_counts(void)
{
    struct world *w = world_new();
    AUTO(buf_release) struct buf before = vector(w, 1);
    restart(w, 1, 77);
    w->wall += 1000;
    AUTO(buf_release) struct buf after = vector(w, 1);
    EQ_I(told_of(w, 0, 1, &before), 1);
    EQ_I(told_of(w, 0, 1, &after), 1);
    EQ_I(told_of(w, 0, 1, &before), 0);
    world_free(w);
}

static void keep_vectors(struct world *w, size_t i)
{
    must(engine_begin(w->d[i].e));
    must(engine_save_vectors(w->d[i].e));
    commit(w, i);
}

/* Device 1 lost what it had and began anew. Who repeats to a device that has just started what it said before does not make it have that. */
static void test_what_was_shown_before_a_restart_is_not_undone(void)
{
    struct world *w = world_new();
    AUTO(buf_release) struct buf empty = vector(w, 1);
    save(w, 1, "f", "one");
    AUTO(buf_release) struct buf before = vector(w, 1);
    restart(w, 1, 77);
    w->wall += 1000;
    AUTO(buf_release) struct buf after = vector(w, 1), again = vector(w, 1);
    EQ_I(told_of(w, 0, 1, &after), 1);
    keep_vectors(w, 0);
    restart(w, 0, 78);
    EQ_I(told_of(w, 0, 1, &before), 0);
    EQ_I(told_of(w, 0, 1, &empty), 0);
    EQ_I(told_of(w, 0, 1, &after), 1);
    EQ_I(told_of(w, 0, 1, &after), 0);
    EQ_I(told_of(w, 0, 1, &again), 1);
    world_free(w);
}

/* Device 1 was linked while its clock was a day ahead. Then the clock is put right, and it starts again. */
static void test_a_clock_that_was_ahead_is_forgiven(void)
{
    struct world *w = world_new();
    w->wall += 86400000;
    AUTO(buf_release) struct buf ahead = vector(w, 1);
    w->wall -= 86400000;
    EQ_I(engine_vector(w->d[0].e, ahead.data, ahead.len, NULL, NULL), 1);
    restart(w, 1, 77);
    AUTO(buf_release) struct buf right = vector(w, 1);
    EQ_I(told_of(w, 0, 1, &right), 1);
    EQ_I(engine_vector(w->d[0].e, ahead.data, ahead.len, NULL, NULL), 1);
    keep_vectors(w, 0);
    restart(w, 0, 78);
    EQ_I(told_of(w, 0, 1, &right), 1);
    world_free(w);
}

static void test_who_is_online_speaks_for_himself(void)
{
    struct world *w = world_new();
    AUTO(buf_release) struct buf first = vector(w, 1), second = vector(w, 1);
    engine_online(w->d[0].e, &w->d[1].keys->dev, true);
    EQ_I(told_of(w, 0, 1, &first), 0);
    EQ_I(engine_vector(w->d[0].e, first.data, first.len, NULL, NULL), 1);
    EQ_I(told_of(w, 0, 1, &second), 0);
    engine_online(w->d[0].e, &w->d[1].keys->dev, false);
    EQ_I(told_of(w, 0, 1, &second), 1);
    world_free(w);
}

static void test_lies_are_refused(void)
{
    struct world *w = world_new();
    AUTO(buf_release) struct buf vec = vector(w, 1), own = vector(w, 0);
    EQ_I(told_of(w, 0, 2, &vec), ERR_DENIED);
    EQ_I(told_of(w, 0, 0, &own), ERR_DENIED);
    vec.data[vec.len - 1] ^= 1;
    EQ_I(told_of(w, 0, 1, &vec), ERR_DENIED);
    w->wall += tolerance_ms + 1;
    AUTO(buf_release) struct buf ahead = vector(w, 1);
    w->wall -= tolerance_ms + 1;
    EQ_I(told_of(w, 0, 1, &ahead), ERR_DENIED);
    w->wall++;
    EQ_I(told_of(w, 0, 1, &ahead), 1);
    world_free(w);
}

/* ---- what is lacking ---- */

static enum far_lack lacks(struct world *w, size_t i, size_t of, bool contents)
{
    return engine_lacks_far(w->d[i].e, &w->d[of].keys->dev, contents);
}

static void online(struct world *w, size_t i, size_t other, bool is) { engine_online(w->d[i].e, &w->d[other].keys->dev, is); }

static void test_entries_that_nobody_near_has(void)
{
    struct world *w = world_new();
    EQ_I(lacks(w, 0, 1, true), LACK_NOTHING);
    tell(w, 0, 2);
    online(w, 0, 2, true);
    save(w, 1, "f", "one");
    tell(w, 0, 1);
    EQ_I(lacks(w, 0, 1, false), LACK_ALL);
    pull_entries(w, 1, 2);
    online(w, 0, 2, false);
    tell(w, 0, 2);
    EQ_I(lacks(w, 0, 1, false), LACK_ALL);
    online(w, 0, 2, true);
    EQ_I(lacks(w, 0, 1, false), LACK_SOME);
    pull_entries(w, 1, 0);
    EQ_I(lacks(w, 0, 1, false), LACK_NOTHING);
    world_free(w);
}

/* Device 0 knows of all, and has no content. */
static void test_contents_that_nobody_near_has(void)
{
    struct world *w = world_new();
    save(w, 1, "f", "one");
    pull_entries(w, 1, 0);
    pull_entries(w, 1, 2);
    tell(w, 0, 2);
    online(w, 0, 2, true);
    EQ_I(lacks(w, 0, 1, false), LACK_NOTHING);
    EQ_I(lacks(w, 0, 1, true), LACK_ALL);
    install(w, 2);
    online(w, 0, 2, false);
    tell(w, 0, 2);
    online(w, 0, 2, true);
    EQ_I(lacks(w, 0, 1, true), LACK_SOME);
    engine_peer(w->d[0].e, &w->d[2].keys->dev)->vec.flags |= VEC_PARTIAL;
    EQ_I(lacks(w, 0, 1, true), LACK_ALL);
    engine_peer(w->d[0].e, &w->d[1].keys->dev)->vec.flags |= VEC_PARTIAL;
    EQ_I(lacks(w, 0, 1, true), LACK_NOTHING);
    install(w, 0);
    EQ_I(lacks(w, 0, 1, true), LACK_NOTHING);
    world_free(w);
}

/* ---- a requirement ---- */

/* Who is not linked and in touch with others holds a lock like one who is; who is not does not. */
static void test_a_lock_counts_on_far_devices(void)
{
    struct world *w = world_new();
    save(w, 0, "f", "one");
    require(w, 7, REQUIRE_AUTO, EVERYBODY);
    pull_entries(w, 0, 1);
    EQ_I(look(w, 1), LOCK_BEHIND);
    engine_present(w->d[1].e, &w->d[0].keys->dev, true);
    EQ_I(look(w, 1), LOCK_LOCKED);
    install(w, 1);
    EQ_I(look(w, 1), LOCK_REACHED);
    world_free(w);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_only_newer_ones_are_taken);
    RUN(test_of_two_starts_the_later_one_counts);
    RUN(test_what_was_shown_before_a_restart_is_not_undone);
    RUN(test_a_clock_that_was_ahead_is_forgiven);
    RUN(test_who_is_online_speaks_for_himself);
    RUN(test_lies_are_refused);
    RUN(test_entries_that_nobody_near_has);
    RUN(test_contents_that_nobody_near_has);
    RUN(test_a_lock_counts_on_far_devices);
    return t_done();
}

/* Forgetting among three engines: what may go, what holds it, and that nobody can tell from what is left. */
#include "tests/unit/t_forget.h"

/* ---- what goes ---- */

static void test_dead_versions_go(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    w->wall += 1000;
    save(w, 0, "a", "two");
    uint64_t then = w->wall;
    w->wall += 1000;
    save(w, 0, "a", "three");
    everybody_hears(w);
    EQ_U(forget(w, 0, then - 500), 0);          /* the first was still there then */
    EQ_U(forget(w, 0, then + 500), 1);
    EQ_U(entries_of(w, 0, "a"), 2);
    EQ_U(forget_all(w, 0), 1);
    EQ_U(forget_all(w, 0), 0);
    EQ_U(entries_of(w, 0, "a"), 1);
    EQ_S(shows(w, 0, "a"), "three");
    same_fingerprint(w, 0, 1);
    uint64_t ms;
    must(engine_forgotten_ms(w->d[0].e, &ms));
    CHECK(ms > then && ms <= w->wall);
    must(engine_forgotten_ms(w->d[1].e, &ms));
    EQ_U(ms, 0);
    world_free(w);
}

static void test_a_deletion_goes_when_everybody_knows_it(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    save(w, 0, "b", "two");
    everybody_hears(w);
    delete(w, 0, "a");
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    EQ_U(forget_all(w, 0), 0);                  /* the third has not heard of it */
    pull_entries(w, 0, 2);
    EQ_U(forget_all(w, 0), 0);                  /* and has not said that it has */
    pull_entries(w, 2, 0);
    EQ_U(forget_all(w, 0), 2);                  /* the deletion, and what was deleted */
    CHECK(!has_path(w, 0, "a"));
    CHECK(has_path(w, 1, "a"));
    same_fingerprint(w, 0, 1);
    same_fingerprint(w, 0, 2);
    install(w, 1);
    save(w, 1, "a", "again");
    everybody_hears(w);
    EQ_S(shows(w, 0, "a"), "again");
    same_fingerprint(w, 0, 1);
    EQ_U(conflicts(w, 0), 0);
    world_free(w);
}

static void test_whom_nobody_waits_for(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    delete(w, 0, "a");
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    EQ_U(forget_all(w, 0), 0);
    w->group.member[2].revoked = true;
    EQ_U(forget_all(w, 0), 2);
    w->group.member[2].revoked = false;
    world_free(w);
}

/* Who goes back to an index of before says so, and is waited for again. */
static void test_knowledge_can_be_lost(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    everybody_hears(w);
    delete(w, 0, "a");
    everybody_hears(w);
    restart_empty(w, 2);
    pull_entries(w, 2, 0);
    EQ_U(forget_all(w, 0), 0);
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 2);
    world_free(w);
}

static void test_knowledge_survives_a_restart(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    everybody_hears(w);
    delete(w, 0, "a");
    everybody_hears(w);
    CHECK(engine_vectors_unsaved(w->d[0].e));
    must(engine_begin(w->d[0].e));
    must(engine_save_vectors(w->d[0].e));
    commit(w, 0);
    CHECK(!engine_vectors_unsaved(w->d[0].e));
    restart(w, 0);
    CHECK(!engine_have_all_of(w->d[0].e, &w->d[1].keys->dev));   /* it is not here */
    struct fetch f;
    CHECK(!engine_next_fetch(w->d[0].e, &f));
    EQ_U(forget_all(w, 0), 2);
    restart(w, 1);                              /* has not saved it */
    EQ_U(forget_all(w, 1), 0);
    EQ_U(entries_of(w, 1, "a"), 2);
    world_free(w);
}

static void test_a_damaged_vector_is_none(void)
{
    struct world *w = world_new();
    char key[5 + ID_HEX] = "vec.";
    save(w, 0, "a", "one");
    delete(w, 0, "a");
    everybody_hears(w);
    must(engine_begin(w->d[0].e));
    must(engine_save_vectors(w->d[0].e));
    id_hex(&w->d[1].keys->dev, key + 4);
    must(index_kv_put(w->d[0].ix, key, "nonsense", 8));
    commit(w, 0);
    restart(w, 0);
    EQ_U(forget_all(w, 0), 0);
    EQ_U(entries_of(w, 0, "a"), 2);
    world_free(w);
}

/* ---- what holds ---- */

static void test_what_is_kept_stays(void)
{
    struct world *w = world_new();
    int64_t path, entry;
    save(w, 0, "a", "one");
    must(index_path_id(w->d[0].ix, "a", 1, false, &path));
    must(index_path_get(w->d[0].ix, path, NULL, &entry));
    save(w, 0, "a", "two");
    everybody_hears(w);
    must(engine_begin(w->d[0].e));
    struct id root = id_hash("one", 3);
    must(engine_kept(w->d[0].e, path + 1, 0, &root, 3, "kept", w->wall));   /* the same content may have come from anywhere */
    commit(w, 0);
    EQ_U(forget_all(w, 0), 0);
    EQ_U(forget_all(w, 1), 1);
    struct ix_kept k = {.path = path, .entry = entry, .size = 3, .name = "other"};   /* not known yet what it is */
    must(engine_begin(w->d[0].e));
    must(index_kept_del(w->d[0].ix, 1));
    must(index_kept_put(w->d[0].ix, &k));
    commit(w, 0);
    EQ_U(forget_all(w, 0), 0);
    must(engine_begin(w->d[0].e));
    must(index_kept_del(w->d[0].ix, k.id));
    commit(w, 0);
    EQ_U(forget_all(w, 0), 1);
    world_free(w);
}

static void test_what_is_on_disk_stays(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    everybody_hears(w);
    save(w, 0, "a", "two");
    pull_entries(w, 0, 1);
    pull_entries(w, 0, 2);
    pull_entries(w, 2, 1);
    EQ_U(forget_all(w, 1), 0);                  /* the user sees it still */
    EQ_S(shows(w, 1, "a"), "one");
    install(w, 1);
    EQ_U(forget_all(w, 1), 1);
    world_free(w);
}

static void test_a_removal_that_is_to_be_done_stays(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    everybody_hears(w);
    delete(w, 0, "a");
    for (int round = 0; round < 2; round++)
        for (size_t i = 1; i < DEVICES; i++) {
            pull_entries(w, 0, i);
            pull_entries(w, i, 0);
            pull_entries(w, i, 3 - i);
        }
    EQ_U(forget_all(w, 1), 0);
    install(w, 1);
    EQ_S(shows(w, 1, "a"), "");
    EQ_U(forget_all(w, 1), 2);
    world_free(w);
}

static void test_snapshots_stay_as_they_are(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    save(w, 0, "a", "two");
    save(w, 0, "b", "gone before");
    delete(w, 0, "b");
    save(w, 0, "c", "gone after");
    everybody_hears(w);
    snapshot(w, 0, "now", engine_snapshot_create);
    save(w, 0, "a", "three");
    delete(w, 0, "c");
    everybody_hears(w);
    int64_t a = at_snapshot(w, 0, "a"), c = at_snapshot(w, 0, "c");
    CHECK(a && c && !at_snapshot(w, 0, "b"));
    EQ_U(forget_all(w, 0), 3);                  /* "one", and all of b */
    EQ_I(at_snapshot(w, 0, "a"), a);
    EQ_I(at_snapshot(w, 0, "c"), c);
    CHECK(!has_path(w, 0, "b"));
    snapshot(w, 0, "now", engine_snapshot_remove);
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 5);                  /* "two", c and its deletion, the snapshot and its removal */
    CHECK(!has_path(w, 0, ".lanyard/snapshots/now") || entries_of(w, 0, ".lanyard/snapshots/now") == 0);
    world_free(w);
}

/* A deletion that a snapshot covers holds down what it deleted, as long as that is kept. */
/* Who has not heard that a version has ended may still make a snapshot that needs it, or have made one that has not come yet. */
static void test_a_snapshot_of_who_is_away(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    everybody_hears(w);
    save(w, 0, "a", "two");
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    EQ_U(forget_all(w, 0), 0);
    snapshot(w, 2, "now", engine_snapshot_create);
    pull_entries(w, 0, 2);
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY);
    must(engine_own_vector(w->d[2].e, w->wall, 1, &vec));
    EQ_I(engine_vector(w->d[0].e, vec.data, vec.len, NULL, NULL), 1);
    EQ_U(forget_all(w, 0), 0);                  /* it knows now; what it did before is not here */
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 0);
    CHECK(at_snapshot(w, 0, "a"));
    world_free(w);
}

static void test_a_deletion_in_a_snapshot(void)
{
    struct world *w = world_new();
    struct id root = id_hash("one", 3);
    int64_t path;
    save(w, 0, "a", "one");
    delete(w, 0, "a");
    snapshot(w, 0, "now", engine_snapshot_create);
    save(w, 0, "a", "again");
    everybody_hears(w);
    must(index_path_id(w->d[0].ix, "a", 1, false, &path));
    must(engine_begin(w->d[0].e));
    must(engine_kept(w->d[0].e, path, 0, &root, 3, "kept", w->wall));
    commit(w, 0);
    EQ_U(forget_all(w, 0), 0);
    CHECK(!at_snapshot(w, 0, "a"));
    must(engine_begin(w->d[0].e));
    must(index_kept_del(w->d[0].ix, 1));
    commit(w, 0);
    EQ_U(forget_all(w, 0), 2);
    CHECK(!at_snapshot(w, 0, "a"));
    world_free(w);
}

/* It has to wait for a snapshot; what came before does not. */
static void test_a_deletion_waits_by_itself(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    save(w, 0, "a", "two");
    snapshot(w, 0, "now", engine_snapshot_create);
    delete(w, 0, "a");
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 1);
    EQ_U(entries_of(w, 0, "a"), 2);
    CHECK(at_snapshot(w, 0, "a"));
    world_free(w);
}

/* What supersedes something that has not come yet must be here when it comes. */
static void test_what_is_to_supersede_stays(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    pull_entries(w, 0, 1);
    install(w, 1);
    save(w, 1, "a", "two");
    save(w, 1, "a", "three");
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY), body = BUF_INIT(LIMIT_BODY);
    must(engine_own_vector(w->d[1].e, w->wall, 1, &vec));
    struct msg_range r = {.sid = *engine_own_sid(w->d[1].e), .from = 1, .to = 2};
    must(engine_serve_cs(w->d[1].e, &r, 1, LIMIT_CS_REPLY, &body));
    must(engine_begin(w->d[2].e));
    EQ_I(engine_change_sets(w->d[2].e, &w->d[1].keys->dev, body.data, body.len, w->wall), 2);
    commit(w, 2);
    install(w, 2);
    EQ_U(forget_all(w, 2), 0);
    everybody_hears(w);
    EQ_U(forget_all(w, 2), 2);
    EQ_S(shows(w, 2, "a"), "three");
    world_free(w);
}

/* Two that supersede each other are both dead, and one of them is shown all the same. */
static void test_circles_are_left_alone(void)
{
    struct world *w = world_new();
    forge(w, 0, 1);
    forge(w, 1, 0);
    pull_entries(w, 0, 2);
    pull_entries(w, 1, 2);
    EQ_U(entries_of(w, 2, "a"), 2);
    must(engine_begin(w->d[2].e));
    must(index_want_del(w->d[2].ix, 1));        /* as where the path is ignored */
    must(index_want_del(w->d[2].ix, 2));
    commit(w, 2);
    EQ_U(forget_all(w, 2), 0);
    world_free(w);
}

/* ---- runs ---- */

static void test_runs_grow_together(void)
{
    struct world *w = world_new();
    save_many(w, 0, 100, "one");
    for (int k = 0; k < 100; k += 2) {
        char path[16];
        snprintf(path, sizeof path, "f%03d", k);
        save(w, 0, path, "two");
    }
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 50);
    struct counted c = runs_of(w, 0, 0);
    EQ_U(c.n, 50);                              /* every other leaf of one change set */
    save_many(w, 0, 100, "three");
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 100);
    c = runs_of(w, 0, 0);
    EQ_U(c.n, 51);                              /* the first change set is one run; the others had one entry each */
    EQ_U(c.leaves, 150);
    EQ_U(c.own, 51);
    world_free(w);
}

/* Who comes later gets runs, and does not take what others say for what he has seen himself. */
static void test_runs_of_others_stay_theirs(void)
{
    struct world *w = world_new();
    save_many(w, 0, 8, "one");
    save_many(w, 0, 4, "two");
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 4);
    restart_empty(w, 1);
    EQ_I(pull_entries(w, 0, 1), 12);
    install(w, 1);
    same_fingerprint(w, 0, 1);
    struct counted c = runs_of(w, 1, 0);
    CHECK(c.n == 1 && c.leaves == 4 && c.own == 0);
    save_many(w, 0, 8, "three");
    everybody_hears(w);
    EQ_U(forget_all(w, 1), 8);
    c = runs_of(w, 1, 0);
    EQ_U(c.leaves, 12);
    CHECK(c.n == 3 && c.own == 2);
    EQ_U(forget_all(w, 0), 8);
    restart_empty(w, 2);
    EQ_I(pull_entries(w, 1, 2), 20);            /* and passes on both kinds */
    install(w, 2);
    EQ_S(shows(w, 2, "f007"), "three");
    same_fingerprint(w, 0, 2);
    world_free(w);
}

static void test_a_rollback_forgets_nothing(void)
{
    struct world *w = world_new();
    uint64_t n, ms;
    int64_t path = 0;
    save(w, 0, "a", "one");
    save(w, 0, "a", "two");
    save(w, 0, "b", "one");
    delete(w, 0, "b");
    everybody_hears(w);
    must(engine_begin(w->d[0].e));
    must(engine_forget_old(w->d[0].e, w->wall + 1, &path, &n));
    EQ_U(n, 3);
    engine_rollback(w->d[0].e);
    EQ_U(entries_of(w, 0, "a"), 2);
    CHECK(has_path(w, 0, "b"));
    must(engine_forgotten_ms(w->d[0].e, &ms));
    EQ_U(ms, 0);
    same_fingerprint(w, 0, 1);
    EQ_U(forget_all(w, 0), 3);
    world_free(w);
}

/* An index of before anything could be forgotten counted otherwise. */
static void test_the_fingerprint_is_made_anew(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    save(w, 0, "b", "two");
    delete(w, 0, "a");
    struct id fp = w->d[0].e->now.fp;
    must(engine_begin(w->d[0].e));
    must(index_kv_del(w->d[0].ix, "fp"));
    commit(w, 0);
    restart(w, 0);
    CHECK(id_eq(&w->d[0].e->now.fp, &fp) && !id_is_none(&fp));
    world_free(w);
}

/* ---- anything ---- */

static void something(struct world *w, uint64_t *seed, int run, int step)
{
    size_t i = t_rand(seed) % DEVICES, j = t_rand(seed) % DEVICES;
    char path[2] = {(char)('a' + t_rand(seed) % 3), 0}, text[24];
    w->wall += t_rand(seed) % 5;
    snprintf(text, sizeof text, "%d.%d", run, step);
    switch (t_rand(seed) % 8) {
    case 0: case 1: save(w, i, path, text); break;
    case 2: delete(w, i, path); break;
    case 3: install(w, i); break;
    case 4: forget(w, i, w->wall - t_rand(seed) % 20); break;
    default: if (i != j) pull_entries(w, i, j);
    }
}

/* Whoever forgets whatever he may at any time: all show the same in the end. */
static void test_random_histories(void)
{
    uint64_t seed = 7, gone = 0;
    for (int run = 0; run < 200; run++) {
        struct world *w = world_new();
        for (int step = 0; step < 60; step++)
            something(w, &seed, run, step);
        everybody_hears(w);
        everybody_hears(w);
        gone += forget_all(w, 0);
        for (char p = 'a'; p < 'd'; p++) {
            char path[2] = {p, 0}, first[LIMIT_TEXT + 1];
            snprintf(first, sizeof first, "%s", shows(w, 0, path));
            EQ_S(shows(w, 1, path), first);
            EQ_S(shows(w, 2, path), first);
        }
        same_fingerprint(w, 0, 1);
        same_fingerprint(w, 0, 2);
        EQ_U(conflicts(w, 0), conflicts(w, 1));
        world_free(w);
    }
    CHECK(gone > 500);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_dead_versions_go);
    RUN(test_a_deletion_goes_when_everybody_knows_it);
    RUN(test_whom_nobody_waits_for);
    RUN(test_knowledge_can_be_lost);
    RUN(test_knowledge_survives_a_restart);
    RUN(test_a_damaged_vector_is_none);
    RUN(test_what_is_kept_stays);
    RUN(test_what_is_on_disk_stays);
    RUN(test_a_removal_that_is_to_be_done_stays);
    RUN(test_snapshots_stay_as_they_are);
    RUN(test_a_snapshot_of_who_is_away);
    RUN(test_a_deletion_in_a_snapshot);
    RUN(test_a_deletion_waits_by_itself);
    RUN(test_what_is_to_supersede_stays);
    RUN(test_circles_are_left_alone);
    RUN(test_runs_grow_together);
    RUN(test_runs_of_others_stay_theirs);
    RUN(test_a_rollback_forgets_nothing);
    RUN(test_the_fingerprint_is_made_anew);
    RUN(test_random_histories);
    return t_done();
}

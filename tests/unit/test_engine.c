/* Engines without a disk or a network: what one authors, others take, in any order and through anybody. */
#include "tests/unit/t_engine.h"

static void test_edit_travels(void)
{
    struct world *w = world_new();
    EQ_I(save(w, 0, "a", "one"), 1);
    EQ_I(save(w, 0, "a", "one"), 1);       /* another mtime: a new version */
    EQ_I(pull_entries(w, 0, 1), 2);
    EQ_U(install(w, 1), 1);
    EQ_S(shows(w, 1, "a"), "one");
    EQ_I(pull_entries(w, 0, 1), 0);
    CHECK(engine_have_all_of(w->d[1].e, &w->d[0].keys->dev));
    world_free(w);
}

/* Two versions of a new path in one change set: it is new to whoever takes it, but its state is not that of either alone. */
static void test_twice_in_a_change_set(void)
{
    struct world *w = world_new();
    must(engine_begin(w->d[0].e));
    EQ_I(saw(w, 0, "a", "one"), 1);
    EQ_I(saw(w, 0, "b", "b"), 1);
    EQ_I(saw(w, 0, "a", "second"), 1);
    commit(w, 0);
    EQ_I(pull_entries(w, 0, 1), 3);
    EQ_U(install(w, 1), 2);
    EQ_S(shows(w, 1, "a"), "second");
    EQ_S(shows(w, 1, "b"), "b");
    EQ_U(conflicts(w, 1), 0);
    for (size_t i = 0; i < 2; i++) {
        uint64_t files, bytes;
        engine_totals(w->d[i].e, &files, &bytes);
        EQ_U(files, 2);
        EQ_U(bytes, 7);
    }
    world_free(w);
}

static void test_third_device_passes_on(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    pull_entries(w, 0, 1);
    EQ_I(pull_entries(w, 1, 2), 1);        /* signed by 0, handed over by 1 */
    install(w, 2);
    EQ_S(shows(w, 2, "a"), "one");
    world_free(w);
}

static void test_no_echo(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    pull_entries(w, 0, 1);
    install(w, 1);
    int64_t id;
    struct ix_local l;
    must(index_path_id(w->d[1].ix, "a", 1, false, &id));
    must(index_local_get(w->d[1].ix, id, &l));
    struct content_list c = {.type = CONTENT_INLINE, .size = 3, .inline_len = 3, .root = id_hash("one", 3)};
    c.inline_bytes = (const uint8_t *)"one";
    must(engine_begin(w->d[1].e));
    EQ_I(engine_seen(w->d[1].e, "a", 1, &l.stamp, &c, true, w->wall), 0);
    commit(w, 1);
    CHECK(!engine_own_sid(w->d[1].e));     /* it has never authored anything */
    world_free(w);
}

static void test_last_write_wins_and_the_loser_stays(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "base");
    pull_entries(w, 0, 1);
    install(w, 1);
    save(w, 0, "a", "early");
    w->wall += 1000;
    save(w, 1, "a", "late");
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    install(w, 0);
    install(w, 1);
    EQ_S(shows(w, 0, "a"), "late");
    EQ_S(shows(w, 1, "a"), "late");
    EQ_U(conflicts(w, 0), 1);
    EQ_U(conflicts(w, 1), 1);
    /* An edit of the winner does not swallow the loser: it was never looked at. */
    save(w, 0, "a", "later");
    EQ_U(conflicts(w, 0), 1);
    pull_entries(w, 0, 1);
    EQ_U(conflicts(w, 1), 1);
    world_free(w);
}

static void test_edit_beats_concurrent_delete(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "base");
    pull_entries(w, 0, 1);
    install(w, 1);
    save(w, 0, "a", "edited");
    w->wall += 1000;
    EQ_I(delete(w, 1, "a"), 1);
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    install(w, 0);
    install(w, 1);
    EQ_S(shows(w, 0, "a"), "edited");
    EQ_S(shows(w, 1, "a"), "edited");
    world_free(w);
}

static void test_delete_of_an_old_version_spares_the_new_one(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    pull_entries(w, 0, 1);
    install(w, 1);
    save(w, 0, "a", "two");
    pull_entries(w, 0, 1);                 /* known, not yet on the disk of 1, whose user deletes what is there */
    delete(w, 1, "a");
    EQ_U(install(w, 1), 1);
    EQ_S(shows(w, 1, "a"), "two");
    world_free(w);
}

static void test_delete_travels_and_recreation_is_no_conflict(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    pull_entries(w, 0, 1);
    install(w, 1);
    delete(w, 1, "a");
    EQ_I(delete(w, 1, "a"), 0);
    pull_entries(w, 1, 0);
    EQ_U(install(w, 0), 1);
    EQ_S(shows(w, 0, "a"), "");
    save(w, 0, "a", "again");
    pull_entries(w, 0, 1);
    install(w, 1);
    EQ_S(shows(w, 1, "a"), "again");
    EQ_U(conflicts(w, 0) + conflicts(w, 1), 0);
    world_free(w);
}

static void test_equal_content_is_no_conflict(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "same");
    save(w, 1, "a", "same");
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    install(w, 0);
    install(w, 1);
    EQ_U(conflicts(w, 0) + conflicts(w, 1), 0);
    world_free(w);
}

/* A file is saved twice with the same content. Another device was killed when it had put the first one in place, and knew of the second. */
static void test_the_time_of_what_was_put_in_place_and_not_recorded(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "same");
    int64_t first = (int64_t)w->wall, id;
    pull_entries(w, 0, 1);
    save(w, 0, "a", "same");
    int64_t second = (int64_t)w->wall;
    pull_entries(w, 0, 1);
    must(engine_begin(w->d[1].e));
    w->wall = (uint64_t)first - 1;
    EQ_I(saw(w, 1, "a", "same"), 0);
    w->wall = (uint64_t)second + 1;
    commit(w, 1);
    EQ_U(install(w, 1), 1);
    struct ix_local l;
    must(index_path_id(w->d[1].ix, "a", 1, false, &id));
    must(index_local_get(w->d[1].ix, id, &l));
    EQ_I(l.stamp.mtime_ns, second);
    world_free(w);
}

static int head_ids(void *arg, const struct ix_entry *row)
{
    int64_t *ids = arg;
    if (row->live)
        ids[ids[0] ? 1 : 0] = row->id;
    return 0;
}

static void test_resolve_ends_a_conflict_everywhere(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "mine");
    save(w, 1, "a", "yours");
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    install(w, 0);
    int64_t path, ids[2] = {0};
    must(index_path_id(w->d[0].ix, "a", 1, false, &path));
    must(index_entry_each_of_path(w->d[0].ix, path, head_ids, ids));
    must(engine_begin(w->d[0].e));
    EQ_I(engine_resolve(w->d[0].e, path, 999999, w->wall), ERR_NOTFOUND);
    must(engine_resolve(w->d[0].e, path, ids[0], w->wall));
    commit(w, 0);
    pull_entries(w, 0, 1);
    EQ_U(conflicts(w, 0) + conflicts(w, 1), 0);
    world_free(w);
}

static void test_tampered_change_set_is_refused_whole(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct msg_range r = {.sid = *engine_own_sid(w->d[0].e), .from = 1, .to = 1};
    must(engine_serve_cs(w->d[0].e, &r, 1, LIMIT_CS_REPLY, &body));
    for (size_t i = 0; i < body.len; i++) {
        body.data[i] ^= 1;
        must(engine_begin(w->d[1].e));
        CHECK(engine_change_sets(w->d[1].e, &w->d[0].keys->dev, body.data, body.len, w->wall) <= 0);
        engine_rollback(w->d[1].e);
        body.data[i] ^= 1;
    }
    EQ_U(engine_known_of(w->d[1].e, &r.sid), 0);
    must(engine_begin(w->d[1].e));
    EQ_I(engine_change_sets(w->d[1].e, &w->d[0].keys->dev, body.data, body.len, w->wall), 1);
    commit(w, 1);
    world_free(w);
}

/* Whoever has a slow line asks for little, and gets whole change sets. */
static void test_replies_are_as_small_as_is_asked(void)
{
    struct world *w = world_new();
    char text[1000], path[32];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    must(engine_begin(w->d[0].e));
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "file %d", i);
        struct stamp st = {.kind = STAMP_FILE, .mode = 0644, .dev = 1, .ino = ++w->wall, .size = strlen(text), .mtime_ns = 1};
        struct content_list c = {.type = CONTENT_INLINE, .size = strlen(text), .inline_len = strlen(text), .root = id_hash(text, strlen(text))};
        c.inline_bytes = (const uint8_t *)text;
        must(engine_seen(w->d[0].e, path, strlen(path), &st, &c, true, w->wall));
    }
    commit(w, 0);
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct msg_range r = {.sid = *engine_own_sid(w->d[0].e), .from = 1, .to = 1000};
    must(engine_serve_cs(w->d[0].e, &r, 1, UINT64_MAX, &body));
    CHECK(body.len > 1000 * sizeof text);
    must(engine_serve_cs(w->d[0].e, &r, 1, 600u << 10, &body));
    CHECK(body.len > 300u << 10 && body.len <= 600u << 10);
    must(engine_serve_cs(w->d[0].e, &r, 1, 1, &body));
    CHECK(body.len > 128u << 10 && body.len < 264u << 10);
    world_free(w);
}

static void test_clock_far_ahead_is_deferred(void)
{
    struct world *w = world_new();
    w->wall += 3600 * 1000;
    save(w, 0, "a", "future");
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct msg_range r = {.sid = *engine_own_sid(w->d[0].e), .from = 1, .to = 1};
    must(engine_serve_cs(w->d[0].e, &r, 1, LIMIT_CS_REPLY, &body));
    must(engine_begin(w->d[1].e));
    FAILS(engine_change_sets(w->d[1].e, &w->d[0].keys->dev, body.data, body.len, w->wall - 3600 * 1000), ERR_AGAIN, "clock");
    engine_rollback(w->d[1].e);
    world_free(w);
}

static void test_rollback_is_noticed_and_no_number_used_twice(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    save(w, 0, "a", "two");
    pull_entries(w, 0, 1);
    struct sid old = *engine_own_sid(w->d[0].e);
    /* The index of device 0 comes back empty, with the same incarnation; the peer knows more of its stream than it does itself. */
    engine_free(&w->d[0].e);
    index_close(&w->d[0].ix);
    device_start(w, 0, 1);
    save(w, 0, "b", "other");
    CHECK(sid_eq(engine_own_sid(w->d[0].e), &old));
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY);
    must(engine_own_vector(w->d[1].e, w->wall, 1, &vec));
    must(engine_vector(w->d[0].e, vec.data, vec.len, NULL, NULL));
    save(w, 0, "c", "third");
    CHECK(!sid_eq(engine_own_sid(w->d[0].e), &old));
    world_free(w);
}

/* Claims to know one entry more of the own stream of device 0, each time it has written. */
static size_t streams_after_alarms(struct world *w, size_t liar, uint64_t from, uint64_t to)
{
    for (uint64_t ctr = from; ctr < to; ctr++) {
        AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
        struct vec_stream claim = {.sid = *engine_own_sid(w->d[0].e), .known = LIMIT_SEQ, .content = LIMIT_SEQ};
        struct vec v = {.group = w->group.id, .dev = w->d[liar].keys->dev, .ctr = ctr, .ctl_hash = w->group.id, .stream = &claim, .nstream = 1};
        must(vec_encode(&blob, &v, w->d[liar].keys));
        must(engine_vector(w->d[0].e, blob.data, blob.len, NULL, NULL));
        save(w, 0, "a", ctr % 2 ? "odd" : "even");
    }
    return w->d[0].e->nstream;
}

static void test_alarms_that_are_false(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    EQ_U(streams_after_alarms(w, 1, 1, 50), 9);
    EQ_U(streams_after_alarms(w, 2, 1, 4), 12);          /* another one is believed */
    save(w, 1, "b", "of others");
    pull_entries(w, 1, 0);
    EQ_U(streams_after_alarms(w, 1, 51, 60), 13);
    struct header own = {.wall_ms = w->wall};
    engine_regained(w->d[0].e, &own);
    EQ_U(streams_after_alarms(w, 1, 60, 62), 15);
    world_free(w);
}

static void test_random_histories_converge(void)
{
    uint64_t seed = 42;
    for (int run = 0; run < 150; run++) {
        struct world *w = world_new();
        for (int step = 0; step < 40; step++) {
            size_t i = t_rand(&seed) % DEVICES, j = t_rand(&seed) % DEVICES;
            char path[2] = {(char)('a' + t_rand(&seed) % 3), 0}, text[24];
            w->wall += t_rand(&seed) % 5;
            snprintf(text, sizeof text, "%d.%d", run, step);
            switch (t_rand(&seed) % 6) {
            case 0: case 1: save(w, i, path, text); break;
            case 2: delete(w, i, path); break;
            case 3: install(w, i); break;
            default: if (i != j) pull_entries(w, i, j);
            }
        }
        for (int round = 0; round < 3; round++)
            for (size_t i = 0; i < DEVICES; i++)
                for (size_t j = 0; j < DEVICES; j++)
                    if (i != j)
                        pull_entries(w, i, j);
        for (size_t i = 0; i < DEVICES; i++)
            install(w, i);
        for (char p = 'a'; p < 'd'; p++) {
            char path[2] = {p, 0}, first[LIMIT_TEXT + 1];
            snprintf(first, sizeof first, "%s", shows(w, 0, path));
            EQ_S(shows(w, 1, path), first);
            EQ_S(shows(w, 2, path), first);
        }
        EQ_U(conflicts(w, 0), conflicts(w, 1));
        EQ_U(conflicts(w, 0), conflicts(w, 2));
        world_free(w);
    }
}

/* ---- streams ---- */

enum { MANY = 400 };
static void compare_streams(struct engine *e, const uint8_t (*inc)[8], const int64_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sid sid = sid_make(&e->c.group->id, &e->c.keys->dev, inc[i]);
        const struct stream *s = engine_stream_by_sid(e, &sid);
        CHECK((s != NULL) == (id[i] != 0));
        CHECK(!s || (s->row.id == id[i] && engine_stream(e, id[i]) == s));
    }
}

/* Those of a transaction that was rolled back are forgotten, and their numbers given again. */
static void test_streams_are_found(void)
{
    struct world *w = world_new();
    struct engine *e = w->d[0].e;
    uint8_t inc[MANY][8];
    int64_t id[MANY] = {0}, mine[MANY];
    uint64_t seed = 1;
    for (size_t n = 0; n < MANY; ) {
        size_t first = n, more = n + 1 + t_rand(&seed) % 20;
        bool keep = t_rand(&seed) % 3 != 0;
        must(engine_begin(e));
        for (; n < MANY && n < more; n++) {
            struct stream *s;
            memcpy(inc[n], &(uint64_t){t_rand(&seed)}, 8);
            must(engine_stream_add(e, &e->c.keys->dev, inc[n], &s));
            id[n] = s->row.id;
        }
        memcpy(mine, id, sizeof mine);
        compare_streams(e, inc, mine, n);
        if (keep) {
            commit(w, 0);
        } else {
            engine_rollback(e);
            memset(id + first, 0, (n - first) * sizeof *id);
        }
        compare_streams(e, inc, id, n);
    }
    CHECK(!engine_stream(e, 0) && !engine_stream(e, MANY + 1) && !engine_stream(e, INT64_MAX));
    must(engine_reload(e));
    compare_streams(e, inc, id, MANY);
    world_free(w);
}

int main(void)
{
    must(keys_init());
    RUN(test_edit_travels);
    RUN(test_twice_in_a_change_set);
    RUN(test_third_device_passes_on);
    RUN(test_no_echo);
    RUN(test_last_write_wins_and_the_loser_stays);
    RUN(test_edit_beats_concurrent_delete);
    RUN(test_delete_of_an_old_version_spares_the_new_one);
    RUN(test_delete_travels_and_recreation_is_no_conflict);
    RUN(test_equal_content_is_no_conflict);
    RUN(test_the_time_of_what_was_put_in_place_and_not_recorded);
    RUN(test_resolve_ends_a_conflict_everywhere);
    RUN(test_tampered_change_set_is_refused_whole);
    RUN(test_replies_are_as_small_as_is_asked);
    RUN(test_clock_far_ahead_is_deferred);
    RUN(test_rollback_is_noticed_and_no_number_used_twice);
    RUN(test_alarms_that_are_false);
    RUN(test_random_histories_converge);
    RUN(test_streams_are_found);
    return t_done();
}

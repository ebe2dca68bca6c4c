/* Snapshots among three engines: made, heard of, removed, what they pin, and what is brought back from them. */
#include "proto/path.h"
#include "tests/unit/t_forge.h"

static int change(struct world *w, size_t i, int (*what)(struct engine *, const char *, uint64_t), const char *name)
{
    must(engine_begin(w->d[i].e));
    int r = what(w->d[i].e, name, ++w->wall);
    if (r < 0)
        engine_rollback(w->d[i].e);
    else
        commit(w, i);
    return r;
}

static int make(struct world *w, size_t i, const char *name) { return change(w, i, engine_snapshot_create, name); }
static int drop(struct world *w, size_t i, const char *name) { return change(w, i, engine_snapshot_remove, name); }

static size_t count(struct world *w, size_t i)
{
    const struct snapshot *v;
    size_t n;
    must(engine_snapshots(w->d[i].e, &v, &n));
    return n;
}

static const struct snapshot *get(struct world *w, size_t i, const char *name)
{
    const struct snapshot *v;
    size_t n;
    must(engine_snapshots(w->d[i].e, &v, &n));
    for (size_t k = 0; k < n; k++)
        if (strcmp(v[k].name, name) == 0)
            return &v[k];
    T_FAIL("no snapshot %s on device %zu", name, i);
    return NULL;
}

static void everybody_hears(struct world *w)
{
    for (int round = 0; round < 2; round++)
        for (size_t from = 0; from < DEVICES; from++)
            for (size_t to = 0; to < DEVICES; to++)
                if (from != to)
                    pull_entries(w, from, to);
}

/* What the path had at the snapshot: its text, "" where nothing was. */
static const char *had(struct world *w, size_t i, const char *name, const char *path, int64_t *entry)
{
    static char text[LIMIT_INLINE + 1];
    int64_t id;
    struct ix_entry row;
    const struct dots *vector = &get(w, i, name)->vector;
    text[0] = 0;
    must(index_path_id(w->d[i].ix, path, strlen(path), false, &id));
    must(engine_state_at(w->d[i].e, id, &vector, 1, &row));
    *entry = row.id;
    if (row.id == 0 || row.kind == KIND_TOMBSTONE)
        return text;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    must(engine_entry(w->d[i].e, row.id, &raw, &ent, &row));
    memcpy(text, ent.content.inline_bytes.p, ent.content.inline_bytes.len);
    text[ent.content.inline_bytes.len] = 0;
    return text;
}

static bool pinned(struct world *w, size_t i, int64_t entry)
{
    bool is;
    must(engine_pinned(w->d[i].e, entry, &is));
    return is;
}

static void test_travels(void)
{
    struct world *w = world_new();
    int64_t e;
    uint64_t files, bytes;
    save(w, 0, "a", "one");
    OK(make(w, 0, "first"));
    save(w, 0, "a", "two");
    everybody_hears(w);
    for (size_t i = 0; i < DEVICES; i++) {
        EQ_S(had(w, i, "first", "a", &e), "one");
        const struct snapshot *s = get(w, i, "first");
        CHECK(id_eq(&s->dev, &w->d[0].keys->dev) && s->current && engine_covers(w->d[i].e, &s->vector));
        engine_totals(w->d[i].e, &files, &bytes);
        EQ_U(files, 1);
        EQ_U(conflicts(w, i), 0);
    }
    EQ_U(install(w, 1), 1);                     /* the file, and nothing of the snapshot */
    for (size_t i = 0; i < DEVICES; i++)
        for (size_t k = 0; k < DEVICES; k++)
            CHECK(i == k || engine_have_all_of(w->d[i].e, &w->d[k].keys->dev));
    world_free(w);
}

static void test_names(void)
{
    struct world *w = world_new();
    FAILS(make(w, 0, "a/b"), ERR_BAD, "name");
    FAILS(drop(w, 0, "x"), ERR_NOTFOUND, "none of that name");
    OK(make(w, 0, "x"));                        /* of an empty folder */
    FAILS(make(w, 0, "x"), ERR_EXISTS, "exists");
    OK(drop(w, 0, "x"));
    EQ_U(count(w, 0), 0);
    FAILS(drop(w, 0, "x"), ERR_NOTFOUND, "none of that name");
    OK(make(w, 0, "x"));
    everybody_hears(w);
    EQ_U(count(w, 1), 1);
    FAILS(make(w, 1, "x"), ERR_EXISTS, "exists");
    OK(drop(w, 1, "x"));                        /* anybody may */
    everybody_hears(w);
    EQ_U(count(w, 0), 0);
    EQ_U(count(w, 2), 0);
    world_free(w);
}

static void test_a_failed_one_leaves_nothing(void)
{
    struct world *w = world_new();
    must(engine_begin(w->d[0].e));
    OK(engine_snapshot_create(w->d[0].e, "x", w->wall));
    EQ_U(count(w, 0), 1);
    engine_rollback(w->d[0].e);
    EQ_U(count(w, 0), 0);
    OK(make(w, 0, "x"));
    world_free(w);
}

static void test_same_name_at_the_same_time(void)
{
    struct world *w = world_new();
    int64_t e;
    save(w, 0, "a", "zero");
    save(w, 1, "b", "one");
    OK(make(w, 0, "x"));
    OK(make(w, 1, "x"));
    everybody_hears(w);
    for (size_t i = 0; i < DEVICES; i++) {
        const struct snapshot *v;
        size_t n;
        must(engine_snapshots(w->d[i].e, &v, &n));
        EQ_U(n, 2);                             /* the later one first; the other is not lost */
        CHECK(v[0].current && !v[1].current);
        CHECK(id_eq(&v[0].dev, &w->d[1].keys->dev) && id_eq(&v[1].dev, &w->d[0].keys->dev));
        EQ_S(had(w, i, "x", "b", &e), "one");
        EQ_S(had(w, i, "x", "a", &e), "");
        EQ_U(conflicts(w, i), 0);
    }
    OK(drop(w, 2, "x"));                        /* both */
    everybody_hears(w);
    for (size_t i = 0; i < DEVICES; i++)
        EQ_U(count(w, i), 0);
    world_free(w);
}

static void test_removed_and_made_at_the_same_time(void)
{
    struct world *w = world_new();
    OK(make(w, 0, "x"));
    everybody_hears(w);
    OK(drop(w, 0, "x"));
    OK(drop(w, 1, "x"));
    OK(make(w, 1, "x"));                        /* knows nothing of the removal by 0 */
    everybody_hears(w);
    for (size_t i = 0; i < DEVICES; i++)
        CHECK(id_eq(&get(w, i, "x")->dev, &w->d[1].keys->dev));
    world_free(w);
}

static void test_pinned(void)
{
    struct world *w = world_new();
    int64_t one, two, b;
    save(w, 0, "a", "one");
    save(w, 0, "b", "bee");
    OK(make(w, 0, "x"));
    had(w, 0, "x", "a", &one);
    had(w, 0, "x", "b", &b);
    save(w, 0, "a", "two");
    OK(make(w, 0, "y"));
    had(w, 0, "y", "a", &two);
    save(w, 0, "a", "three");
    delete(w, 0, "b");
    CHECK(one && two && one != two);
    CHECK(pinned(w, 0, one) && pinned(w, 0, b) && pinned(w, 0, two));
    OK(drop(w, 0, "x"));
    CHECK(!pinned(w, 0, one) && pinned(w, 0, two) && pinned(w, 0, b));
    OK(drop(w, 0, "y"));
    CHECK(!pinned(w, 0, one) && !pinned(w, 0, two) && !pinned(w, 0, b));
    world_free(w);
}

/* Both sides of a conflict are needed: who lost is not lost, in a snapshot neither. */
static void test_a_conflict_is_pinned_whole(void)
{
    struct world *w = world_new();
    int64_t won, e[2] = {0};
    save(w, 0, "a", "zero");
    save(w, 1, "a", "one");
    everybody_hears(w);
    OK(make(w, 2, "x"));
    everybody_hears(w);
    EQ_S(had(w, 0, "x", "a", &won), "one");
    const struct snapshot *s = get(w, 0, "x");
    for (size_t i = 0; i < s->vector.n; i++) {
        struct ix_entry row;
        int64_t stream = 1 + (int64_t)i;
        must(index_entry_at(w->d[0].ix, stream, 1, &row, NULL));
        e[i] = row.id;
    }
    EQ_U(s->vector.n, 2);
    CHECK(pinned(w, 0, e[0]) && pinned(w, 0, e[1]) && (won == e[0] || won == e[1]));
    world_free(w);
}

/* Until everything it names has arrived, it says so; what is known of it is right already. */
/* One who makes as many as there may be, with names that come first, pushes out nobody else's. */
static void test_a_device_may_fill_its_own_share_only(void)
{
    struct world *w = world_new();
    char name[16];
    for (unsigned i = 0; i < LIMIT_SNAPSHOTS; i++) {
        snprintf(name, sizeof name, "0%u", i);
        CHECK(make(w, 1, name) == 0);
    }
    CHECK(make(w, 1, "0-one-more") == ERR_FULL);
    CHECK(make(w, 0, "mine") == 0);
    everybody_hears(w);
    CHECK(count(w, 2) == LIMIT_SNAPSHOTS + 1);
    CHECK(get(w, 2, "mine"));
    CHECK(make(w, 0, "another") == 0);
    world_free(w);
}

static void test_known_only_in_part(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    pull_entries(w, 0, 1);
    OK(make(w, 1, "x"));
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct msg_range own = {.sid = *engine_own_sid(w->d[1].e), .from = 1, .to = 1};
    must(engine_serve_cs(w->d[1].e, &own, 1, LIMIT_CS_REPLY, &body));
    must(engine_begin(w->d[2].e));
    EQ_I(engine_change_sets(w->d[2].e, &w->d[1].keys->dev, body.data, body.len, w->wall), 1);
    commit(w, 2);
    CHECK(!engine_covers(w->d[2].e, &get(w, 2, "x")->vector));
    pull_entries(w, 0, 2);
    CHECK(engine_covers(w->d[2].e, &get(w, 2, "x")->vector));
    world_free(w);
}

static void restore(struct world *w, size_t i, const char *name, const char *path)
{
    int64_t entry, id;
    had(w, i, name, path, &entry);
    must(index_path_id(w->d[i].ix, path, strlen(path), false, &id));
    must(engine_begin(w->d[i].e));
    OK(engine_restore(w->d[i].e, id, entry, ++w->wall));
    commit(w, i);
}

static void test_restore(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    save(w, 0, "b", "bee");
    OK(make(w, 0, "x"));
    save(w, 0, "a", "two");
    delete(w, 0, "b");
    save(w, 0, "c", "new");
    everybody_hears(w);
    install(w, 1);
    EQ_S(shows(w, 1, "a"), "two");
    restore(w, 1, "x", "a");
    restore(w, 1, "x", "b");
    restore(w, 1, "x", "c");
    install(w, 1);
    everybody_hears(w);
    install(w, 0);
    for (size_t i = 0; i < 2; i++) {
        EQ_S(shows(w, i, "a"), "one");
        EQ_S(shows(w, i, "b"), "bee");
        EQ_S(shows(w, i, "c"), "");
        EQ_U(conflicts(w, i), 0);
    }
    world_free(w);
}

static void test_many_streams(void)
{
    struct world *w = world_new();
    must(engine_begin(w->d[0].e));
    for (uint64_t i = 0; i <= LIMIT_CTX; i++) {
        struct stream *s;
        uint8_t inc[8];
        memcpy(inc, &i, sizeof inc);
        must(engine_stream_add(w->d[0].e, &w->d[1].keys->dev, inc, &s));
        s->row.known = 1;
    }
    FAILS(engine_snapshot_create(w->d[0].e, "x", w->wall), ERR_FULL, "streams");
    engine_rollback(w->d[0].e);
    world_free(w);
}

/* What a device has written that signs two histories is signed again by the others: so they could be made to have more than are read. */
static void test_those_of_a_split_stream_leave_room(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    for (unsigned i = 0; i < LIMIT_SNAPSHOTS + 8; i++) {
        char path[64];
        int len = snprintf(path, sizeof path, PATH_SNAPSHOTS "/a%03u", i);
        struct entry ent = {.kind = KIND_SNAPSHOT, .path = {(const uint8_t *)path, (size_t)len}, .mtime_ns = 1, .v.hlc = hlc_make(w->wall, 0)};
        pen_entry(&one, &ent);
        if (one.n == 52)
            pen_seal(&one);
        if (i == 0)
            pen_entry(&two, &ent);
    }
    pen_file(&two, "b", "other");
    pen_seal(&two);
    EQ_I(make(w, 0, "mine"), 0);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), LIMIT_SNAPSHOTS + 8);
    EQ_U(count(w, 0), LIMIT_SNAPSHOTS + 1);
    EQ_I(hear(w, 1, 2, (struct pen *[]){&two}, 1), 2);
    AUTO(buf_release) struct buf proof = BUF_INIT(LIMIT_HEAD);
    struct header h[2];
    struct mp m = mp_reader(one.sets.data, one.sets.len);
    struct cs cs;
    must(cs_next(&m, &cs));
    struct signed_header a = {cs.hdr, cs.sig}, b = {{two.rec.data, two.rec.len}, two.sig};
    fork_put(&proof, &a, &b);
    must(fork_verify(proof.data, proof.len, h));
    must(engine_begin(w->d[0].e));
    EQ_I(engine_fork(w->d[0].e, proof.data, proof.len, w->wall), 1);
    commit(w, 0);
    EQ_U(count(w, 0), LIMIT_SNAPSHOTS / 2);
    CHECK(get(w, 0, "mine") && get(w, 0, "a000"));
    EQ_I(make(w, 0, "more"), 0);
    CHECK(get(w, 0, "more"));
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_travels);
    RUN(test_names);
    RUN(test_a_failed_one_leaves_nothing);
    RUN(test_same_name_at_the_same_time);
    RUN(test_removed_and_made_at_the_same_time);
    RUN(test_pinned);
    RUN(test_a_conflict_is_pinned_whole);
    RUN(test_a_device_may_fill_its_own_share_only);
    RUN(test_known_only_in_part);
    RUN(test_restore);
    RUN(test_many_streams);
    RUN(test_those_of_a_split_stream_leave_room);
    return t_done();
}

/* engine: databases. What was closed, and had said nothing since its snapshot, goes with the snapshot; an edit does not. */
#include <inttypes.h>

#include "tests/unit/t_pull.h"

static const char x[] = "x";
static int64_t tick;

static int64_t lies_here(void)
{
    struct ix_local l;
    CHECK(local_of(x, &l));
    return l.entry;
}

/* A look at the database: its state is `text`. says: the version that says the same. Whether that authored one. */
static int see(const char *text, bool apart, int64_t says)
{
    struct content_list c = { .type = CONTENT_INLINE, .size = strlen(text), .inline_len = strlen(text), .root = id_hash(text, strlen(text)) };
    c.inline_bytes = (const uint8_t *)text;
    struct stamp st = { .kind = STAMP_FILE, .mode = 0600, .dev = 1, .ino = 7, .size = c.size, .mtime_ns = ++tick, .ctime_ns = tick };
    struct database_seen how = { .apart = apart, .kept = apart ? "k-1" : NULL, .says = says };
    bool used;
    t_must(engine_begin(w.e));
    int r = engine_seen_database(w.e, x, 1, &st, &c, true, &how, &used, ++far.wall);
    CHECK(r >= 0 && used);
    t_must(engine_commit(w.e, far.wall));
    return r;
}

/* Both know the snapshot, which is deleted there when it has come to rest here. */
static void deleted_meanwhile(int64_t (*says)(void))
{
    both_begin();
    EQ_I(see("snapshot", true, 0), 1);
    to_far();
    far_delete(x);
    EQ_I(see("at rest", false, says()), 1);
}

/* It is on record that what lies here says the same as a snapshot. */
static bool remembered(void)
{
    AUTO(buf_release) struct buf value = BUF_INIT(64);
    struct ix_local l;
    char key[32];
    CHECK(local_of(x, &l));
    snprintf(key, sizeof key, "echo-%" PRIx64, (uint64_t)l.path);
    int r = index_kv_get(w.ix, key, &value);
    CHECK(r == 0 || r == ERR_NOTFOUND);
    return r == 0;
}

static int64_t nothing(void) { return 0; }

static void both_agree(bool deleted)
{
    entries_from(far.e, 1, w.e);
    entries_from(w.e, 0, far.e);
    EQ_I(is_deleted(x), deleted);
    int64_t path, winner;
    struct ix_entry row;
    OK(index_path_id(far.ix, x, 1, false, &path));
    OK(index_path_get(far.ix, path, NULL, &winner));
    OK(index_entry_get(far.ix, winner, &row, NULL));
    EQ_I(row.kind == KIND_TOMBSTONE, deleted);
    EQ_U(conflicts(), 0);
}

static void test_what_says_the_same_is_deleted_too(void)
{
    deleted_meanwhile(lies_here);
    both_agree(true);
    CHECK(!remembered());
}

static void test_an_edit_is_not(void)
{
    deleted_meanwhile(nothing);
    both_agree(false);
}

static void test_nor_is_an_edit_after_that(void)
{
    deleted_meanwhile(lies_here);
    EQ_I(see("written to", true, 0), 1);
    both_agree(false);
}

/* Opened and closed again, in another mode: other bytes once more. */
static void test_what_says_the_same_once_more(void)
{
    deleted_meanwhile(lies_here);
    tick--;                                   /* to be opened gives it no other time */
    EQ_I(see("at rest", true, 0), 0);
    EQ_I(see("at rest in another mode", false, lies_here()), 1);
    both_agree(true);
}

/* Who deletes the file at rest has seen it: there is nothing to add. */
static void test_a_deletion_of_all(void)
{
    both_begin();
    EQ_I(see("snapshot", true, 0), 1);
    EQ_I(see("at rest", false, lies_here()), 1);
    to_far();
    far_delete(x);
    uint64_t before = authored();
    both_agree(true);
    EQ_U(authored(), before);
}

/* Only of what is a version still. */
static void test_what_is_remembered_ends(void)
{
    both_begin();
    EQ_I(see("snapshot", true, 0), 1);
    CHECK(!remembered());
    EQ_I(see("at rest", false, lies_here()), 1);
    CHECK(remembered());
    tick--;
    EQ_I(see("at rest", true, 0), 0);
    EQ_I(see("at rest in another mode", false, lies_here()), 1);
    CHECK(remembered());
    EQ_I(see("written to", true, 0), 1);
    CHECK(!remembered());
    EQ_I(see("at rest once more", false, lies_here()), 1);
    CHECK(remembered());
    to_far();
    far_save(x, "written to there");
    entries_from(far.e, 1, w.e);
    CHECK(!remembered());
}

static int take_row(void *arg, const struct ix_kept *row)
{
    *(struct ix_kept *)arg = *row;
    return 1;
}

/* Of a database in use the snapshot is the version, however long. Its time in the history begins when there is another one. */
static void test_a_snapshot_stays_for_its_time(void)
{
    struct ix_kept row;
    struct id first = id_hash("snapshot", 8);
    both_begin();
    EQ_I(see("snapshot", true, 0), 1);
    EQ_I(index_kept_by_root(w.ix, &first, take_row, &row), 1);
    t_must(index_begin(w.ix));
    t_must(index_kept_since(w.ix, row.id, 1));
    t_must(index_commit(w.ix));
    EQ_I(see("written to", true, 0), 1);
    EQ_I(index_kept_by_root(w.ix, &first, take_row, &row), 1);
    EQ_U(row.kept_ms, far.wall);
}

int main(void)
{
    t_node_init();
    RUN(test_what_says_the_same_is_deleted_too);
    RUN(test_an_edit_is_not);
    RUN(test_nor_is_an_edit_after_that);
    RUN(test_what_says_the_same_once_more);
    RUN(test_a_deletion_of_all);
    RUN(test_what_is_remembered_ends);
    RUN(test_a_snapshot_stays_for_its_time);
    both_end();
    return t_done();
}

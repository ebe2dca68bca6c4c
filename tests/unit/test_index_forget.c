/* index: what forgetting needs: runs that say whose they are, rows that go, and those that are asked for on the way; and what a path that comes needs. */
#include <sqlite3.h>

#include "tests/unit/t_index.h"

static struct index *ix;

static int first_of(void *arg, const struct ix_pruned *p) { *(struct ix_pruned *)arg = *p; return 1; }
static int count_run(void *arg, const struct ix_pruned *p) { (void)p; ++*(size_t *)arg; return 0; }
static struct ix_pruned run_at(uint64_t seq)
{
    struct ix_pruned p = { 0 };
    CHECK(index_pruned_each(ix, 1, seq, seq, first_of, &p) == 1);
    return p;
}

static void test_runs(void)
{
    size_t n = 0;
    OK(index_begin(ix));
    for (uint32_t i = 1; i <= 8; i++)
        OK(index_pruned_put(ix, &(struct ix_pruned){ .stream = 1, .first = i, .count = 1, .own = i % 2, .hash = t_root(i) }));
    CHECK(run_at(1).own && !run_at(2).own && run_at(7).own);
    OK(index_pruned_put(ix, &(struct ix_pruned){ .stream = 1, .first = 1, .count = 4, .own = true, .hash = t_root(9) }));
    CHECK(run_at(2).own && run_at(2).count == 4);
    OK(index_pruned_del(ix, 1, 2, 4));          /* 1..4 does not lie within 2..5, 5 does */
    OK(index_pruned_each(ix, 1, 0, UINT64_MAX, count_run, &n));
    EQ_U(n, 4);
    OK(index_commit(ix));
}

/* Whether a path is new, and whether a removal is wanted, is known without a search. */
static void test_known_without_a_search(void)
{
    int64_t id, again;
    bool made;
    OK(index_begin(ix));
    OK(index_path_make(ix, "new", 3, &id, &made));
    CHECK(made);
    OK(index_path_make(ix, "new", 3, &again, &made));
    CHECK(!made && id == again);
    CHECK(!index_want_removals(ix));
    struct ix_want w = {.entry = 9001, .path = id, .stream = 1, .seq = 1, .role = WANT_INSTALL, .kind = KIND_FILE};
    OK(index_want_put(ix, &w));
    CHECK(!index_want_removals(ix));
    w.kind = KIND_TOMBSTONE;
    OK(index_want_put(ix, &w));          /* in the place of the one before */
    OK(index_want_put(ix, &w));
    CHECK(index_want_removals(ix));
    OK(index_want_del(ix, w.entry));
    CHECK(!index_want_removals(ix));
    OK(index_want_put(ix, &w));
    index_rollback(ix);
    CHECK(!index_want_removals(ix));
}

static int note_id(void *arg, const struct ix_entry *e)
{
    char *list = arg;
    snprintf(list + strlen(list), 64, "%lld ", (long long)e->id);
    return 0;
}
static int note_path(void *arg, int64_t path)
{
    char *list = arg;
    snprintf(list + strlen(list), 64, "%lld ", (long long)path);
    return 0;
}

#define LIVE(after, expected) do { char t_l[1024] = ""; OK(index_entry_live_after(ix, (after), note_id, t_l)); EQ_S(t_l, (expected)); } while (0)
#define OLD(after, hlc, expected) do { char t_l[1024] = ""; OK(index_entry_old_paths(ix, (after), (hlc), note_path, t_l)); EQ_S(t_l, (expected)); } while (0)

static void test_entries(void)
{
    struct ix_entry got;
    OK(index_begin(ix));
    for (uint64_t i = 1; i <= 6; i++) {         /* paths 1, 1, 2, 2, 3, 3 */
        struct ix_entry e = { .stream = 1, .seq = i, .path = (int64_t)(i + 1) / 2, .live = true, .kind = i == 3 ? KIND_TOMBSTONE : KIND_FILE,
                              .hlc = 10 * i, .root = t_root(i), .raw = t_text("the entry") };
        OK(index_entry_put(ix, &e));
    }
    OLD(0, 1000, "2 ");                         /* a deletion is of interest while it lives, too */
    OK(index_entry_set_live(ix, 1, false));
    OK(index_entry_set_live(ix, 4, false));
    OK(index_entry_set_live(ix, 5, false));
    LIVE(0, "2 3 6 ");
    LIVE(3, "6 ");
    LIVE(6, "");
    OLD(0, 1000, "1 2 3 ");
    OLD(0, UINT64_MAX, "1 2 3 ");
    OLD(0, 50, "1 2 ");
    OLD(0, 31, "1 2 ");
    OLD(0, 30, "1 ");
    OLD(1, 1000, "2 3 ");
    OK(index_entry_del(ix, 1));
    OK(index_entry_del(ix, 1));
    FAILS(index_entry_get(ix, 1, &got, NULL), ERR_NOTFOUND, "");
    OLD(0, 1000, "2 3 ");
    OK(index_commit(ix));
}

static bool is_path(int64_t id) { return index_path_get(ix, id, NULL, NULL) == 0; }
static int any_kept(void *arg, const struct ix_kept *k) { *(int64_t *)arg = k->id; return 0; }

/* A path goes when nothing names it, and the last one never: its number would be given again. */
static void test_paths(void)
{
    int64_t p[7], kept = 0;
    struct index *last = ix;
    ix = t_index(":memory:");
    OK(index_begin(ix));
    for (int i = 0; i < 7; i++) {
        char name[2] = { (char)('a' + i), 0 };
        p[i] = t_path(ix, name);
    }
    (void)t_entry(ix, 1, 1, p[0], KIND_FILE, 1);
    OK(index_local_put(ix, &(struct ix_local){ .path = p[1], .entry = 1 }));
    struct ix_entry wanted = t_entry(ix, 1, 9, p[2], KIND_FILE, 9);
    struct ix_want w = t_want(&wanted, WANT_INSTALL);
    OK(index_want_put(ix, &w));
    OK(index_conflict_set(ix, p[3], true));
    struct ix_kept k = { .path = p[4], .size = 1, .name = "x" };
    OK(index_kept_put(ix, &k));
    for (int i = 0; i < 7; i++) {
        OK(index_path_del(ix, p[i]));
        CHECK(is_path(p[i]) == (i != 5));
    }
    OK(index_kept_of_path(ix, p[4], any_kept, &kept));
    EQ_I(kept, k.id);
    kept = 0;
    OK(index_kept_of_path(ix, p[3], any_kept, &kept));
    EQ_I(kept, 0);
    OK(index_commit(ix));
    index_close(&ix);
    ix = last;
}

static void sql(const char *file, const char *text)
{
    sqlite3 *db;
    CHECK(sqlite3_open(file, &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
}

/* One of before: its runs are what others said, and the fingerprint is to be made anew. */
static void test_older_index(void)
{
    const char *file = t_file("old");
    struct index *last = ix;
    struct buf b = BUF_INIT(64);
    ix = t_index(file);
    OK(index_begin(ix));
    OK(index_kv_put(ix, "fp", "x", 1));
    OK(index_kv_put(ix, "hlc", "x", 1));
    OK(index_pruned_put(ix, &(struct ix_pruned){ .stream = 1, .first = 5, .count = 2, .own = true, .hash = t_root(5) }));
    OK(index_commit(ix));
    index_close(&ix);
    sql(file, "DROP INDEX kept_path; DROP INDEX entry_dead; ALTER TABLE pruned DROP COLUMN own");
    for (int i = 0; i < 2; i++) {
        ix = t_index(file);
        CHECK(!run_at(5).own && run_at(5).count == 2);
        EQ_I(index_kv_get(ix, "fp", &b), i ? 0 : ERR_NOTFOUND);
        OK(index_kv_get(ix, "hlc", &b));
        OK(index_begin(ix));
        OK(index_kv_put(ix, "fp", "x", 1));     /* from then on it is right */
        OK(index_commit(ix));
        index_close(&ix);
    }
    buf_release(&b);
    ix = last;
}

int main(void)
{
    t_dir_make();
    ix = t_index(":memory:");
    RUN(test_runs);
    RUN(test_known_without_a_search);
    RUN(test_entries);
    RUN(test_paths);
    RUN(test_older_index);
    index_close(&ix);
    t_dir_remove();
    return t_done();
}

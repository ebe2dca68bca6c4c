/* What the index refuses to open, unchanged; and what it does with a damaged file: it is sound, or says ERR_CORRUPT. */
#include "tests/unit/t_index.h"

#include <sqlite3.h>

static int open_of(const char *path, const struct id *group, bool quick_check)
{
    struct index *ix;
    int rc = index_open(path, group, quick_check, &ix);
    if (rc != 0) {
        CHECK(!ix);
        CHECK(strstr(err_text(), path));
    }
    index_close(&ix);
    return rc;
}

/* Refused with these words and the remedy, with quick_check and without; the file stays as it is. */
static void refused(const char *path, const struct id *group, const char *words)
{
    struct buf before = t_read(path);
    for (int quick = 0; quick < 2; quick++) {
        FAILS(open_of(path, group, quick), ERR_CORRUPT, words);
        CHECK(strstr(err_text(), "move it away and start again"));
        struct buf after = t_read(path);
        EQ_U(after.len, before.len);
        EQ_MEM(after.data, before.data, before.len);
        buf_release(&after);
    }
    buf_release(&before);
}

static void sql(const char *path, const char *text)
{
    sqlite3 *db;
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
}

/* A file with some of everything, over many pages. */
static void make_sample(const char *path)
{
    struct index *ix = t_index(path);
    uint8_t refs[36 * 50];
    struct ix_stream s = { .known = 300, .dev = t_root(5) };
    OK(index_begin(ix));
    OK(index_stream_add(ix, &s));
    for (unsigned i = 1; i <= 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "d%u/file %u", i % 7, i);
        int64_t path_id = t_path(ix, name);
        struct ix_entry e = t_entry(ix, s.id, i, path_id, KIND_FILE, i);
        struct ix_want w = t_want(&e, WANT_INSTALL);
        struct ix_local l = { .path = path_id, .entry = e.id, .stamp = { .kind = STAMP_FILE, .size = i } };
        struct ix_kept k = { .path = path_id, .entry = e.id, .root = e.root, .kept_ms = i, .name = name };
        struct ix_pruned p = { .stream = s.id, .first = 1000 + i, .count = 1, .hash = e.root };
        struct ix_header h = { .stream = s.id, .first = i, .count = 1, .rec = t_text("record"), .sig = refs };
        memset(refs, (int)i, sizeof refs);
        OK(index_path_set_winner(ix, path_id, e.id));
        OK(index_want_put(ix, &w));
        OK(index_local_put(ix, &l));
        OK(index_kept_put(ix, &k));
        OK(index_pruned_put(ix, &p));
        OK(index_header_put(ix, &h));
        OK(index_conflict_set(ix, path_id, true));
        OK(index_kv_put(ix, name, refs, sizeof refs));
        if (i % 10 == 0)
            OK(index_tree_put(ix, &e.root, refs, 50));
    }
    OK(index_commit(ix));
    index_close(&ix);
}

/* ---- refusals ---- */

static void test_not_a_database(void)
{
    struct id group = t_root(0);
    static const char *const content[] = { "", "x", "SQLite format 3", "SQLite format 4 and so on", NULL };
    for (size_t i = 0; content[i]; i++) {
        const char *path = t_file("text");
        char page[8192] = { 0 };
        snprintf(page, sizeof page, "%s", content[i]);
        t_write(path, page, strlen(content[i]));
        refused(path, &group, "not a database");
        t_write(path, page, i == 2 ? 99 : sizeof page);
        refused(path, &group, i == 2 ? "not a database" : "");
    }
    CHECK(!t_exists(t_file("text-wal")));
    EQ_I(open_of(t_dir, &group, false), ERR_IO);
    EQ_I(open_of(t_file("no/such"), &group, false), ERR_IO);
}

static void test_foreign(void)
{
    struct id group = t_root(0);
    const char *path = t_file("foreign");
    sql(path, "PRAGMA journal_mode = WAL; CREATE TABLE bookmarks (url); INSERT INTO bookmarks VALUES ('x')");
    refused(path, &group, "another program");
    CHECK(!t_exists(t_file("foreign-wal")));
    t_write(t_file("foreign-journal"), "journal", 7);
    refused(path, &group, "another program");
    CHECK(t_exists(t_file("foreign-journal")));
}

static void test_other_group(void)
{
    struct id other = t_root(1), ours = t_root(0);
    const char *path = t_file("group");
    make_sample(path);
    refused(path, &other, "another group");
    OK(open_of(path, &ours, true));
}

static void test_schema(void)
{
    struct id group = t_root(0);
    const char *path = t_file("schema");
    make_sample(path);
    sql(path, "PRAGMA user_version = 99");
    refused(path, &group, "newer version");
    sql(path, "PRAGMA user_version = 0");
    refused(path, &group, "of schema 0");
    sql(path, "PRAGMA user_version = 3");
    OK(open_of(path, &group, true));
    sql(path, "ALTER TABLE want RENAME COLUMN role TO part");
    FAILS(open_of(path, &group, false), ERR_CORRUPT, "role");
}

static int count_kept(void *arg, const struct ix_kept *k) { (void)k; ++*(int *)arg; return 0; }

/* The indexes over its tables have changed since it was made: it is brought up to date, and everything is found. */
static void test_older_indexes(void)
{
    static const char older[] = "CREATE INDEX kept_root ON kept (root) WHERE root IS NOT NULL; CREATE INDEX want_path ON want (path);"
                                "CREATE INDEX want_root ON want (substr(root, 1, 8)) WHERE root IS NOT NULL";
    struct id root = t_root(7);
    const char *path = t_file("older");
    int n = 0;
    make_sample(path);
    sql(path, older);
    sql(path, "DROP INDEX kept_content");
    struct index *ix = t_index(path);
    OK(index_kept_by_root(ix, &root, count_kept, &n));
    EQ_I(n, 1);
    index_close(&ix);
    sql(path, older);                            /* they are gone */
    sql(path, "DROP INDEX kept_content");        /* and this one is there again */
}

/* A refused file whose WAL a crash has left: neither is changed. */
static void test_refused_with_wal(void)
{
    struct id other = t_root(1);
    const char *path = t_file("left");
    make_sample(path);
    struct index *ix = t_index(path);
    OK(index_begin(ix));
    OK(index_kv_put(ix, "k", "v", 1));
    OK(index_commit(ix));
    struct buf db = t_read(path), wal = t_read(t_file("left-wal"));
    CHECK(wal.len > 0);
    index_close(&ix);
    t_write(t_file("crash"), db.data, db.len);
    t_write(t_file("crash-wal"), wal.data, wal.len);
    refused(t_file("crash"), &other, "another group");
    struct buf after = t_read(t_file("crash-wal"));
    EQ_U(after.len, wal.len);
    EQ_MEM(after.data, wal.data, wal.len);
    struct buf v = BUF_INIT(10);
    ix = t_index(t_file("crash"));
    OK(index_kv_get(ix, "k", &v));
    index_close(&ix);
    buf_release(&v);
    buf_release(&db);
    buf_release(&wal);
    buf_release(&after);
}

/* ---- creating ---- */

/* What an attempt that died and an index that was moved away have left does no harm to a new one. */
static void test_leftovers(void)
{
    const char *path = t_file("fresh");
    make_sample(path);
    struct index *ix = t_index(path);
    OK(index_begin(ix));
    OK(index_kv_put(ix, "old", "v", 1));
    OK(index_commit(ix));
    struct buf wal = t_read(t_file("fresh-wal"));
    index_close(&ix);
    CHECK(unlink(path) == 0);
    t_write(t_file("fresh-wal"), wal.data, wal.len);
    t_write(t_file("fresh.new"), "half", 4);
    ix = t_index(path);
    struct buf v = BUF_INIT(10);
    EQ_I(index_kv_get(ix, "old", &v), ERR_NOTFOUND);
    CHECK(!t_exists(t_file("fresh.new")));
    index_close(&ix);
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    buf_release(&wal);
    buf_release(&v);
}

/* ---- damage ---- */

static int any_entry(void *arg, const struct ix_entry *e)
{
    *(uint64_t *)arg += e->raw.len ? e->raw.p[e->raw.len - 1] : 0;
    return 0;
}
static int any_local(void *arg, const struct ix_local *l) { *(uint64_t *)arg += l->stamp.size; return 0; }
static int any_want(void *arg, const struct ix_want *w) { *(uint64_t *)arg += w->root.b[31]; return 0; }
static int any_header(void *arg, const struct ix_header *h) { *(uint64_t *)arg += h->sig[63]; return 0; }
static int any_pruned(void *arg, const struct ix_pruned *p) { *(uint64_t *)arg += p->hash.b[31]; return 0; }
static int any_stream(void *arg, const struct ix_stream *s) { *(uint64_t *)arg += s->dev.b[31]; return 0; }
static int any_kept(void *arg, const struct ix_kept *k) { *(uint64_t *)arg += strlen(k->name); return 0; }
static int any_path(void *arg, int64_t p, const char *name, size_t len, int64_t w)
{
    *(uint64_t *)arg += (uint64_t)p + (uint64_t)w + (len ? (uint8_t)name[len - 1] : 0u);
    return 0;
}
static int any_block(void *arg, const struct id *root, uint32_t idx) { *(uint64_t *)arg += root->b[31] + idx; return 0; }

static void fine(int rc)
{
    if (rc != 0 && rc != ERR_NOTFOUND && rc != ERR_EXISTS && rc != ERR_CORRUPT)
        T_FAIL("code %d: %s", rc, err_text());
}

static void read_everything(struct index *ix)
{
    uint64_t sum = 0, n;
    struct buf b = BUF_INIT(1u << 20);
    struct id root = t_root(10), block;
    memset(block.b, 10, sizeof block.b);
    fine(index_entry_recent(ix, UINT32_MAX, any_entry, &sum));
    fine(index_entry_each_of_path(ix, 5, any_entry, &sum));
    fine(index_entry_each_of_stream(ix, 1, 0, UINT64_MAX, any_entry, &sum));
    fine(index_local_each(ix, any_local, &sum));
    fine(index_local_by_root(ix, &root, any_local, &sum));
    fine(index_want_each(ix, 0, any_want, &sum));
    fine(index_want_by_root(ix, &root, any_want, &sum));
    fine(index_header_each(ix, 1, 0, UINT64_MAX, any_header, &sum));
    fine(index_pruned_each(ix, 1, 0, UINT64_MAX, any_pruned, &sum));
    fine(index_stream_each(ix, any_stream, &sum));
    fine(index_kept_each(ix, any_kept, &sum));
    fine(index_kept_by_root(ix, &root, any_kept, &sum));
    fine(index_path_each(ix, "", 0, true, any_path, &sum));
    fine(index_path_each(ix, "d1", 2, false, any_path, &sum));
    fine(index_block_find(ix, &block, any_block, &sum));
    fine(index_tree_get(ix, &root, &b));
    fine(index_kv_get(ix, "d3/file 10", &b));
    fine(index_totals(ix, &n, &sum));
    buf_release(&b);
}

static void write_something(struct index *ix)
{
    int64_t id;
    struct ix_entry e = { .stream = 1, .seq = 301, .path = 5, .kind = KIND_FILE, .raw = t_text("x") };
    struct ix_want w = { .entry = 301, .role = WANT_KEEP, .kind = KIND_FILE };
    OK(index_begin(ix));
    fine(index_path_id(ix, "d3/new", 6, true, &id));
    fine(index_entry_put(ix, &e));
    fine(index_want_put(ix, &w));
    fine(index_want_del(ix, 100));
    fine(index_kv_put(ix, "d3/file 10", "x", 1));
    fine(index_kept_del(ix, 50));
    fine(index_commit(ix));
    index_rollback(ix);
}

/* Whether it was opened; if so, everything can be called. */
static bool survives(const char *path, bool quick_check)
{
    struct id group = t_root(0);
    struct index *ix;
    int rc = index_open(path, &group, quick_check, &ix);
    fine(rc);
    CHECK((rc == 0) == (ix != NULL));
    if (rc != 0) {
        EQ_I(rc, ERR_CORRUPT);
        return false;
    }
    read_everything(ix);
    write_something(ix);
    read_everything(ix);
    index_close(&ix);
    return true;
}

static void forget(const char *name)
{
    char wal[64], shm[64];
    snprintf(wal, sizeof wal, "%s-wal", name);
    snprintf(shm, sizeof shm, "%s-shm", name);
    (void)unlink(t_file(wal));
    (void)unlink(t_file(shm));
}

static void test_truncated(void)
{
    const char *path = t_file("sample"), *cut = t_file("cut");
    make_sample(path);
    struct buf b = t_read(path);
    for (size_t len = 0; len < b.len; len += len < 8192 ? 511 : 4096) {
        t_write(cut, b.data, len);
        forget("cut");
        CHECK(!survives(cut, len % 2));
    }
    t_write(cut, b.data, b.len);
    forget("cut");
    CHECK(survives(cut, true));
    buf_release(&b);
}

static void test_flipped(void)
{
    const char *path = t_file("sample2"), *bad = t_file("bad");
    uint64_t seed = 42;
    unsigned opened = 0, refusals = 0;
    make_sample(path);
    struct buf b = t_read(path);
    for (unsigned round = 0; round < 300; round++) {
        uint8_t *copy = xcalloc(b.len, 1);
        memcpy(copy, b.data, b.len);
        /* first every byte of the file header and of the first pages' own headers, then anywhere */
        for (unsigned flips = 1 + round % 5; flips > 0; flips--) {
            uint64_t page = round < 100 ? 0 : t_rand(&seed) % (b.len / 8192);
            uint64_t at = round < 100 ? round : t_rand(&seed) % (round < 200 ? 64 : 8192);
            copy[page * 8192 + at] ^= (uint8_t)(1u << t_rand(&seed) % 8);
        }
        t_write(bad, copy, b.len);
        free(copy);
        forget("bad");
        *(survives(bad, round % 2) ? &opened : &refusals) += 1;
    }
    CHECK(opened > 50);
    CHECK(refusals > 50);
    buf_release(&b);
}

static int read_entry(struct index *ix, uint64_t *sum) { return index_entry_each_of_stream(ix, 1, 0, 9, any_entry, sum); }
static int read_local(struct index *ix, uint64_t *sum) { return index_local_each(ix, any_local, sum); }
static int read_want(struct index *ix, uint64_t *sum) { return index_want_each(ix, 0, any_want, sum); }
static int read_header(struct index *ix, uint64_t *sum) { return index_header_each(ix, 1, 0, 9, any_header, sum); }
static int read_pruned(struct index *ix, uint64_t *sum) { return index_pruned_each(ix, 1, 0, 9999, any_pruned, sum); }
static int read_stream(struct index *ix, uint64_t *sum) { return index_stream_each(ix, any_stream, sum); }
static int read_kept(struct index *ix, uint64_t *sum) { return index_kept_each(ix, any_kept, sum); }
static int read_block(struct index *ix, uint64_t *sum)
{
    struct id block;
    memset(block.b, 10, sizeof block.b);
    return index_block_find(ix, &block, any_block, sum);
}

/* Rows which SQLite finds sound and we must not: lengths, ranges. */
static void test_bad_rows(void)
{
    static const struct { const char *sql; int (*read)(struct index *, uint64_t *); } cases[] = {
        { "UPDATE entry SET hash = x'0102'", read_entry }, { "UPDATE entry SET hash = NULL, root_at = length(raw)", read_entry },
        { "UPDATE entry SET kind = 7", read_entry },
        { "UPDATE entry SET kind = -1", read_entry }, { "UPDATE entry SET kind = 4294967297", read_entry },
        { "UPDATE local SET kind = 9", read_local },
        { "UPDATE want SET role = 4", read_want }, { "UPDATE want SET kind = 0", read_want },
        { "UPDATE want SET root = zeroblob(33)", read_want },
        { "UPDATE header SET sig = x'01'", read_header }, { "UPDATE header SET count = 4097 WHERE first = 1", read_header },
        { "UPDATE pruned SET hash = x''", read_pruned }, { "UPDATE pruned SET count = 5000000000", read_pruned },
        { "UPDATE stream SET sid = x'01'", read_stream }, { "UPDATE stream SET inc = zeroblob(9)", read_stream },
        { "UPDATE stream SET tip = x''", read_stream },
        { "UPDATE kept SET root = x'01'", read_kept },
        { "UPDATE block SET idx = idx + 16777216", read_block }, { "UPDATE tree SET root = CAST(id AS BLOB)", read_block },
    };
    make_sample(t_file("rows"));
    struct buf b = t_read(t_file("rows"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = t_file("bad rows");
        uint64_t sum = 0;
        t_write(path, b.data, b.len);
        sql(path, cases[i].sql);
        struct index *ix = t_index(path);
        FAILS(cases[i].read(ix, &sum), ERR_CORRUPT, "a row holds");
        index_close(&ix);
    }
    buf_release(&b);
}

/* A damaged WAL ends at its first bad frame: the commits before it are there. */
static void test_damaged_wal(void)
{
    const char *path = t_file("wal");
    struct index *ix = t_index(path);
    for (unsigned i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "%u", i);
        OK(index_begin(ix));
        OK(index_kv_put(ix, key, "v", 1));
        OK(index_commit(ix));
    }
    struct buf db = t_read(path), wal = t_read(t_file("wal-wal")), v = BUF_INIT(10);
    index_close(&ix);
    size_t most = 0;
    for (size_t at = 0; at < wal.len; at += 1001) {
        size_t found = 0;
        wal.data[at] ^= 0x10;
        t_write(t_file("w"), db.data, db.len);
        t_write(t_file("w-wal"), wal.data, wal.len);
        (void)unlink(t_file("w-shm"));
        wal.data[at] ^= 0x10;
        ix = t_index(t_file("w"));
        for (char key[8]; found < 20 && snprintf(key, sizeof key, "%zu", found) > 0 && index_kv_get(ix, key, &v) == 0;)
            found++;
        CHECK(found >= most || at == 0);
        most = found;
        index_close(&ix);
    }
    CHECK(most >= 18);
    buf_release(&db);
    buf_release(&wal);
    buf_release(&v);
}

int main(void)
{
    t_dir_make();
    RUN(test_not_a_database);
    RUN(test_foreign);
    RUN(test_other_group);
    RUN(test_schema);
    RUN(test_older_indexes);
    RUN(test_refused_with_wal);
    RUN(test_leftovers);
    RUN(test_truncated);
    RUN(test_flipped);
    RUN(test_bad_rows);
    RUN(test_damaged_wal);
    t_dir_remove();
    return t_done();
}

/* An index of an older schema is brought up to date when it is opened: nothing is lost, and it is of one or of the other whatever happens. */
#include "tests/unit/t_index.h"

#include <sqlite3.h>

enum { ENTRIES = 3 };
static struct ix_entry made[ENTRIES];          /* raw with the root in it, raw without, a deletion */
static uint8_t raw[ENTRIES][60];

static int64_t sql(const char *path, const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *st = NULL;
    int64_t v = 0;
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    for (const char *next = text; *next; text = next) {
        CHECK(sqlite3_prepare_v2(db, text, -1, &st, &next) == SQLITE_OK);
        v = st && sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
        CHECK(sqlite3_finalize(st) == SQLITE_OK);
    }
    sqlite3_close(db);
    return v;
}

static void make_entries(const char *path)
{
    struct index *ix = t_index(path);
    struct ix_stream s = { .known = ENTRIES, .dev = t_root(5) };
    OK(index_begin(ix));
    OK(index_stream_add(ix, &s));
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct ix_entry *e = &made[i];
        char name[] = { 'f', (char)('0' + i), '\0' };
        memset(raw[i], (int)i, sizeof raw[i]);
        *e = (struct ix_entry){ .stream = s.id, .path = t_path(ix, name), .seq = i + 1, .live = true, .kind = i == 2 ? KIND_TOMBSTONE : KIND_FILE,
                                .hlc = 7, .size = i, .root = i == 2 ? ID_NONE : t_root(10 + i), .raw = { raw[i], sizeof raw[i] } };
        if (i == 0)
            memcpy(raw[i] + 21, e->root.b, ID_LEN);
        OK(index_entry_put(ix, e));
    }
    OK(index_commit(ix));
    index_close(&ix);
}

static int is_id(void *arg, const struct ix_entry *e) { return e->id == *(int64_t *)arg; }

static void check_entries(const char *path)
{
    struct index *ix = t_index(path);
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_ENTRY);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct ix_entry e;
        OK(index_entry_at(ix, made[i].stream, i + 1, &e, &b));
        EQ_I(e.id, made[i].id);
        EQ_I(e.path, made[i].path);
        EQ_I(e.kind, made[i].kind);
        EQ_U(e.size, i);
        CHECK(e.live && e.hlc == 7);
        CHECK(id_eq(&e.root, &made[i].root));
        EQ_U(b.len, sizeof raw[i]);
        EQ_MEM(b.data, raw[i], sizeof raw[i]);
        if (i < 2)
            EQ_I(index_entry_by_root(ix, &made[i].root, is_id, &made[i].id), 1);
    }
    index_close(&ix);
}

static const char to_1[] =
    "DROP TABLE alive;"
    "ALTER TABLE entry RENAME TO new;"
    "CREATE TABLE entry (id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, path INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " live INTEGER NOT NULL, kind INTEGER NOT NULL, hlc INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB,"
    " raw BLOB NOT NULL) STRICT;"
    "INSERT INTO entry SELECT id, stream, path, seq, live, kind, hlc, size, root, raw FROM new; DROP TABLE new;"
    "CREATE UNIQUE INDEX entry_seq ON entry (stream, seq); CREATE INDEX entry_path ON entry (path);"
    "CREATE INDEX entry_root ON entry (substr(root, 1, 8)) WHERE root IS NOT NULL; PRAGMA user_version = 1";

static void test_roots(void)
{
    const char *path = t_file("roots");
    make_entries(path);
    check_entries(path);
    EQ_I(sql(path, "SELECT root_at FROM entry WHERE seq = 1 AND hash IS NULL"), 22);
    EQ_I(sql(path, "SELECT count(*) FROM entry WHERE root_at IS NULL AND (seq = 3) = (hash IS NULL)"), 2);
    (void)sql(path, to_1);
    check_entries(path);
    EQ_I(sql(path, "SELECT root_at FROM entry WHERE seq = 1 AND hash IS NULL"), 22);
    EQ_I(sql(path, "SELECT count(*) FROM sqlite_schema WHERE name IN ('entry_seq', 'entry_path', 'entry_content', 'entry_dead')"), 4);
}

/* What fails at its end leaves all as it was. */
static void test_all_or_nothing(void)
{
    struct id group = t_root(0);
    struct index *ix;
    const char *path = t_file("half");
    make_entries(path);
    (void)sql(path, to_1);
    (void)sql(path, "DROP INDEX entry_seq; INSERT INTO entry SELECT 100, stream, path, seq, live, kind, hlc, size, root, raw FROM entry WHERE seq = 1");
    FAILS(index_open(path, &group, true, &ix), ERR_EXISTS, "entry");
    EQ_I(sql(path, "PRAGMA user_version"), 1);
    EQ_I(sql(path, "SELECT count(*) FROM entry WHERE root IS NOT NULL"), 3);
    EQ_I(sql(path, "SELECT count(*) FROM pragma_table_info('entry') WHERE name = 'hash'"), 0);
    (void)sql(path, "DELETE FROM entry WHERE id = 100; CREATE UNIQUE INDEX entry_seq ON entry (stream, seq)");
    check_entries(path);
}

/* What is packed while it is on disk gets its short form, if it can have one: not the second, whose content lies elsewhere. */
static void test_packed(void)
{
    const char *path = t_file("packed");
    struct ix_piece p;
    make_entries(path);
    struct index *ix = t_index(path);
    OK(index_begin(ix));
    for (unsigned i = 0; i < 2; i++) {
        const struct ix_entry *e = &made[i];
        struct ix_kept k = { .path = e->path, .entry = e->id, .root = e->root, .size = e->size, .kept_ms = KEPT_ALIVE, .name = "" };
        OK(index_kept_put(ix, &k));
        OK(index_piece_put(ix, &(struct ix_piece){ .kind = PACK_BLOCK, .id = e->root, .at = { 3, 100, 10 } }));
        OK(index_piece_put(ix, &(struct ix_piece){ .kind = PACK_CONTENT, .id = e->root, .at = { 3, 110 + i, 20 } }));
    }
    OK(index_commit(ix));
    index_close(&ix);
    (void)sql(path, "DROP TABLE alive; DROP INDEX entry_content; PRAGMA user_version = 2");
    check_entries(path);
    EQ_I(sql(path, "SELECT count(*) FROM alive"), 1);
    EQ_I(sql(path, "SELECT count(*) FROM kept"), 1);
    EQ_I(sql(path, "SELECT count(*) FROM piece"), 2);
    ix = t_index(path);
    for (unsigned i = 0; i < 2; i++) {
        OK(index_piece_get(ix, PACK_BLOCK, &made[i].root, &p));
        EQ_U(p.at.off, 100);
        OK(index_piece_get(ix, PACK_CONTENT, &made[i].root, &p));
        EQ_U(p.at.off, 110 + i);
        EQ_U(p.at.len, 20);
    }
    index_close(&ix);
}

int main(void)
{
    t_dir_make();
    RUN(test_roots);
    RUN(test_packed);
    RUN(test_all_or_nothing);
    t_dir_remove();
    return t_done();
}

/* The tables of the index, and how one of an older schema becomes one of this. */
#include "store/index_priv.h"

#include <stdio.h>

/* The root of most entries is a part of raw, from byte root_at (counted from 1) on, and is not stored a second time. That of a content
 * that is carried in its entry is not: then it is in `hash`. Without a content both are NULL. */
#define ENTRY_TABLE \
    "CREATE TABLE entry (id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, path INTEGER NOT NULL, seq INTEGER NOT NULL," \
    " live INTEGER NOT NULL, kind INTEGER NOT NULL, hlc INTEGER NOT NULL, size INTEGER NOT NULL, root_at INTEGER, hash BLOB," \
    " raw BLOB NOT NULL, root BLOB AS (coalesce(hash, substr(raw, root_at, 32)))) STRICT"
/* A packed content of one block (index_alive.c): where its block lies, and how long the record of the content behind it is. */
#define ALIVE_TABLE \
    "CREATE TABLE alive (key INTEGER PRIMARY KEY, pack INTEGER NOT NULL, off INTEGER NOT NULL, len INTEGER NOT NULL," \
    " rest INTEGER NOT NULL, entry INTEGER AS (" ALIVE_KEY("key") ")) STRICT"
#define PIECE_TABLE \
    "CREATE TABLE IF NOT EXISTS piece (n INTEGER PRIMARY KEY, id BLOB NOT NULL, kind INTEGER NOT NULL, pack INTEGER NOT NULL," \
    " off INTEGER NOT NULL, len INTEGER NOT NULL, UNIQUE (id, kind)) STRICT"
#define ENTRY_SEQ "CREATE UNIQUE INDEX entry_seq ON entry (stream, seq)"
#define ENTRY_PATH "CREATE INDEX entry_path ON entry (path)"
#define ENTRY_ROOT "CREATE INDEX IF NOT EXISTS entry_content ON entry (substr(root, 1, 6)) WHERE root IS NOT NULL"

/* Names are blobs: paths need not be UTF-8, and blobs compare as bytes, which is the order that path ranges rely on.
 * entry_content and kept_content hold the first 6 or 8 bytes of a root only: enough to find the few rows, at a third of the space. */
static const char *const schema[] = {
    "CREATE TABLE meta (group_id BLOB NOT NULL) STRICT",
    "CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
    "CREATE TABLE stream (id INTEGER PRIMARY KEY, sid BLOB NOT NULL UNIQUE, dev BLOB NOT NULL, inc BLOB NOT NULL,"
    " known INTEGER NOT NULL, tip BLOB) STRICT",
    "CREATE TABLE header (stream INTEGER, first INTEGER, count INTEGER NOT NULL, rec BLOB NOT NULL, sig BLOB NOT NULL,"
    " PRIMARY KEY (stream, first)) STRICT, WITHOUT ROWID",
    "CREATE TABLE pruned (stream INTEGER, first INTEGER, count INTEGER NOT NULL, hash BLOB NOT NULL,"
    " own INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (stream, first)) STRICT, WITHOUT ROWID",
    "CREATE TABLE path (id INTEGER PRIMARY KEY, winner INTEGER NOT NULL, name BLOB NOT NULL UNIQUE) STRICT",
    ENTRY_TABLE, ENTRY_SEQ, ENTRY_PATH, ENTRY_ROOT,
    "CREATE TABLE local (path INTEGER PRIMARY KEY, entry INTEGER NOT NULL, kind INTEGER NOT NULL, mode INTEGER NOT NULL,"
    " dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL,"
    " settled INTEGER NOT NULL) STRICT",
    "CREATE TABLE want (entry INTEGER PRIMARY KEY, path INTEGER NOT NULL, stream INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " size INTEGER NOT NULL, role INTEGER NOT NULL, kind INTEGER NOT NULL, root BLOB) STRICT",
    "CREATE INDEX want_seq ON want (stream, seq)",
    "CREATE TABLE conflict (path INTEGER PRIMARY KEY) STRICT",
    "CREATE TABLE tree (id INTEGER PRIMARY KEY, root BLOB NOT NULL UNIQUE, refs BLOB NOT NULL) STRICT",
    "CREATE TABLE block (h8 INTEGER, tree INTEGER, idx INTEGER, PRIMARY KEY (h8, tree, idx)) STRICT, WITHOUT ROWID",
    "CREATE TABLE kept (id INTEGER PRIMARY KEY, path INTEGER NOT NULL, entry INTEGER NOT NULL, size INTEGER NOT NULL,"
    " kept_ms INTEGER NOT NULL, root BLOB, name TEXT NOT NULL) STRICT",
    "CREATE INDEX kept_content ON kept (substr(root, 1, 8)) WHERE root IS NOT NULL",
    "CREATE INDEX kept_age ON kept (kept_ms)",
    ALIVE_TABLE,
};

/* Came later, and an older program does no harm to them: made where they are missing. */
static const char later_schema[] =
    "CREATE TABLE IF NOT EXISTS pack (id INTEGER PRIMARY KEY, size INTEGER NOT NULL) STRICT;"
    PIECE_TABLE ";"
    "CREATE INDEX IF NOT EXISTS piece_pack ON piece (pack, off);"
    "CREATE INDEX IF NOT EXISTS kept_name ON kept (name) WHERE name <> '';"
    "CREATE INDEX IF NOT EXISTS kept_content ON kept (substr(root, 1, 8)) WHERE root IS NOT NULL;"
    ENTRY_ROOT ";"
    "DROP INDEX IF EXISTS kept_root; DROP INDEX IF EXISTS want_path; DROP INDEX IF EXISTS want_root; DROP INDEX IF EXISTS entry_root;"
    "CREATE TABLE IF NOT EXISTS clash (path INTEGER PRIMARY KEY, other INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS receipt (req BLOB NOT NULL, dev BLOB NOT NULL, vec BLOB NOT NULL, UNIQUE (req, dev)) STRICT;"
    "CREATE INDEX IF NOT EXISTS kept_path ON kept (path);"
    "CREATE INDEX IF NOT EXISTS kept_file ON kept (id) WHERE name <> '';"
    "CREATE INDEX IF NOT EXISTS entry_dead ON entry (path, hlc) WHERE (live = 0 OR kind = 4)";

int schema_create(struct index *ix, const struct id *group)
{
    int rc = index_exec(ix, "BEGIN");
    for (size_t i = 0; rc == 0 && i < sizeof schema / sizeof *schema; i++)
        rc = index_exec(ix, schema[i]);
    if (rc != 0)
        return rc;
    char hex[ID_HEX], text[256];
    snprintf(text, sizeof text, "INSERT INTO meta VALUES (x'%s'); PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
             id_hex(group, hex), APPLICATION_ID, SCHEMA_VERSION);
    return index_exec(ix, text);
}

/* ---- from one schema to the next ---- */

/* In 1 an entry had its root as a column of its own. The indexes go with the table that they are of. */
static const char to_2[] =
    "ALTER TABLE entry RENAME TO entry_1;" ENTRY_TABLE ";"
    "INSERT INTO entry SELECT id, stream, path, seq, live, kind, hlc, size, nullif(instr(raw, root), 0),"
    " CASE instr(raw, root) WHEN 0 THEN root END, raw FROM entry_1 ORDER BY id;"
    "DROP TABLE entry_1;" ENTRY_SEQ ";" ENTRY_PATH ";" ENTRY_ROOT ";"
    "PRAGMA user_version = 2";

/* In 2 there was no short form of packed contents. */
static const char to_3[] =
    ALIVE_TABLE ";" PIECE_TABLE ";" ENTRY_ROOT ";"
    "INSERT INTO alive " INDEX_FOLDABLE " GROUP BY k.root;"
    "DELETE FROM piece WHERE id IN (SELECT e.root FROM alive a CROSS JOIN entry e ON e.id = a.entry);"
    "DELETE FROM kept WHERE name = '' AND " INDEX_IS_ALIVE " AND " ALIVE_KEY("entry") " IN (SELECT key FROM alive);"
    "PRAGMA user_version = 3";

/* [i]: from schema i + 1 to the next. */
static const char *const step[SCHEMA_VERSION - 1] = { to_2, to_3 };

static int upgrade(struct index *ix, const char *text)
{
    int rc = index_exec(ix, "BEGIN IMMEDIATE");
    if (rc == 0)
        rc = index_exec(ix, text);
    if (rc == 0)
        rc = index_exec(ix, "COMMIT");
    if (rc != 0 && !sqlite3_get_autocommit(ix->db))
        (void)sqlite3_exec(ix->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* An index from before anything was forgotten: its runs are what others said, and its fingerprint counts tombstones: it is made anew. */
static int add_own(struct index *ix)
{
    int64_t there;
    int rc = index_ask(ix, "SELECT count(*) FROM pragma_table_info('pruned') WHERE name = 'own'", &there);
    return rc != 0 || there ? rc : upgrade(ix, "ALTER TABLE pruned ADD COLUMN own INTEGER NOT NULL DEFAULT 0;"
                                               "DELETE FROM kv WHERE key = 'fp'");
}

int schema_upgrade(struct index *ix)
{
    int64_t version;
    int rc = index_ask(ix, "PRAGMA user_version", &version);
    for (int64_t v = version; rc == 0 && v < SCHEMA_VERSION; v++)
        rc = upgrade(ix, step[v - 1]);
    if (rc == 0)
        rc = index_exec(ix, later_schema);
    return rc == 0 ? add_own(ix) : rc;
}

#include "store/index_priv.h"

#include <assert.h>
#include <string.h>

#define ENTRY "id, stream, path, seq, live, kind, hlc, size, root, raw FROM entry "
#define LOCAL_REST "l.entry, l.kind, l.mode, l.dev, l.ino, l.size, l.mtime, l.ctime, l.settled"
#define LOCAL "l.path, " LOCAL_REST
#define WANT "w.entry, w.path, w.stream, w.seq, w.size, w.role, w.kind, w.root FROM want w "
/* A want is of the path and the content of its entry, which have their indexes; most wants are short-lived, and would pay for others. */
#define WANT_OF_ENTRY "w.entry, w.path, w.stream, w.seq, w.size, w.role, w.kind, w.root FROM entry CROSS JOIN want w ON w.entry = entry.id "
#define KEPT "id, path, entry, size, kept_ms, root, name FROM kept "
#define BENEATH "SELECT id, winner FROM path WHERE name = ? UNION ALL SELECT id, winner FROM path WHERE name > ? AND name < ?"
/* What users see: neither snapshots nor what has removed them. */
#define OF_FOLDER "kind <= 4 AND path NOT IN (SELECT id FROM path" \
                  " WHERE name > CAST('.lanyard/snapshots/' AS BLOB) AND name < CAST('.lanyard/snapshots0' AS BLOB)) "
#define PIECE "n, id, kind, pack, off, len FROM piece "
#define ROOT_IS "substr(root, 1, 8) = substr(?1, 1, 8) AND root = ?1 "
#define CONTENT_IS "substr(root, 1, 6) = substr(?1, 1, 6) AND root = ?1 "      /* of an entry */
/* The first entries that have a content, and what stands for kept rows of it (index_alive.c): their ids are those of the entries, below 0. */
#define FIRST_OF(what, root) "(SELECT id, path, size, root FROM entry i WHERE substr(i.root, 1, 6) = substr(" root ", 1, 6)" \
                             " AND i.root IS NOT NULL ORDER BY i.id LIMIT " ALIVE_AMONG ") " what " "
#define ALIVE "-e.id, e.path, e.id, e.size, 4611686018427387904, e.root, '' "
#define ALIVE_PLACE "a.entry, a.pack, a.off, a.len, a.rest FROM "
#define NEXT_N "max(?2, (SELECT coalesce(max(n), 0) FROM piece)) + 1"
_Static_assert(KEPT_ALIVE == 4611686018427387904, "as it is in the text of statements");
/* CROSS JOIN keeps SQLite from turning the two loops around. */
static const char *const sql[Q_COUNT] = {
    [Q_KV_PUT] = "INSERT INTO kv VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
    [Q_KV_GET] = "SELECT value FROM kv WHERE key = ?",
    [Q_KV_DEL] = "DELETE FROM kv WHERE key = ?",
    [Q_RECEIPT_PUT] = "INSERT INTO receipt VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET vec = excluded.vec",
    [Q_RECEIPT_DEL] = "DELETE FROM receipt WHERE req = ?",
    [Q_RECEIPT_EACH] = "SELECT req, dev, vec FROM receipt ORDER BY req, dev",
    [Q_STREAM_ADD] = "INSERT INTO stream VALUES (NULL, ?, ?, ?, ?, ?)",
    [Q_STREAM_SET] = "UPDATE stream SET known = ?, tip = ? WHERE id = ?",
    [Q_STREAM_EACH] = "SELECT id, sid, dev, inc, known, tip FROM stream ORDER BY id",
    [Q_APART_HEADERS] = "UPDATE header SET stream = ?3 WHERE stream = ?1 AND first > ?2",
    [Q_APART_PRUNED] = "UPDATE pruned SET stream = ?3 WHERE stream = ?1 AND first > ?2",
    [Q_APART_ENTRIES] = "UPDATE entry SET stream = ?3 WHERE stream = ?1 AND seq > ?2",
    [Q_HEADER_PUT] = "INSERT INTO header VALUES (?, ?, ?, ?, ?)",
    [Q_HEADER_EACH] = "SELECT first, count, rec, sig FROM header"
                      " WHERE stream = ? AND first > ? AND first + count > ? AND first <= ? ORDER BY first",
    [Q_PRUNED_DEL] = "DELETE FROM pruned WHERE stream = ?1 AND first >= ?2 AND first < ?3 AND first + count <= ?3",
    [Q_PRUNED_PUT] = "INSERT INTO pruned VALUES (?, ?, ?, ?, ?)",
    [Q_PRUNED_EACH] = "SELECT first, count, hash, own FROM pruned"
                      " WHERE stream = ? AND first > ? AND first + count > ? AND first <= ? ORDER BY first",
    [Q_ENTRY_PUT] = "INSERT INTO entry VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [Q_ENTRY_GET] = "SELECT " ENTRY "WHERE id = ?",
    [Q_ENTRY_AT] = "SELECT " ENTRY "WHERE stream = ? AND seq = ?",
    [Q_ENTRY_SET_LIVE] = "UPDATE entry SET live = ? WHERE id = ?",
    [Q_ENTRY_OF_PATH] = "SELECT " ENTRY "WHERE path = ? ORDER BY id DESC",
    [Q_ENTRY_OF_STREAM] = "SELECT " ENTRY "WHERE stream = ? AND seq BETWEEN ? AND ? ORDER BY seq",
    [Q_ENTRY_UNKEPT] = "SELECT " ENTRY "WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 AND kind = 1 AND size > 0 AND root IS NOT NULL"
                       " AND EXISTS (SELECT 1 FROM local l WHERE l.path = entry.path AND l.entry = entry.id AND l.settled < 2)"
                       " AND NOT EXISTS (SELECT 1 FROM kept WHERE substr(kept.root, 1, 8) = substr(entry.root, 1, 8) AND kept.root = entry.root)"
                       " AND NOT EXISTS (SELECT 1 FROM " FIRST_OF("f", "entry.root") "CROSS JOIN alive a ON a.key = " ALIVE_KEY("f.id") " WHERE f.root = entry.root)"
                       " AND (?4 = 0 OR EXISTS (SELECT 1 FROM entry o WHERE o.path = entry.path AND o.id < entry.id)) ORDER BY seq DESC",
    [Q_ENTRY_RECENT] = "SELECT " ENTRY "WHERE " OF_FOLDER "ORDER BY id DESC LIMIT ?",
    [Q_ENTRY_BENEATH] = "SELECT " ENTRY "WHERE id IN (SELECT e.id FROM (" BENEATH ") p CROSS JOIN entry e ON e.path = p.id"
                        " WHERE " OF_FOLDER "ORDER BY e.hlc DESC LIMIT ?) ORDER BY hlc DESC, id DESC",
    [Q_ENTRY_DELETED] = "SELECT " ENTRY "WHERE id IN (SELECT e.id FROM (" BENEATH ") p CROSS JOIN entry e ON e.id = p.winner"
                        " WHERE e.kind = 4 AND " OF_FOLDER "ORDER BY e.hlc DESC LIMIT ?) ORDER BY hlc DESC, id DESC",
    [Q_ENTRY_DEL] = "DELETE FROM entry WHERE id = ?",
    [Q_ENTRY_LIVE_AFTER] = "SELECT " ENTRY "WHERE id > ? AND live = 1 ORDER BY id",
    [Q_ENTRY_CONTESTED] = "SELECT path FROM entry WHERE live = 1 GROUP BY path HAVING COUNT(*) > 1",
    [Q_ENTRY_OLD_PATHS] = "SELECT DISTINCT path FROM entry WHERE (live = 0 OR kind = 4) AND path > ? AND hlc < ? ORDER BY path",
    [Q_PATH_FIND] = "SELECT id FROM path WHERE name = ?",
    [Q_PATH_ADD] = "INSERT INTO path VALUES (NULL, 0, ?) ON CONFLICT DO NOTHING",
    [Q_PATH_GET] = "SELECT name, winner FROM path WHERE id = ?",
    [Q_PATH_SET_WINNER] = "UPDATE path SET winner = ? WHERE id = ?",
    [Q_PATH_EACH] = "SELECT id, name, winner FROM path WHERE name > ? AND name < ? ORDER BY name",
    [Q_PATH_EACH_LIVE] = "SELECT p.id, p.name, p.winner FROM path p CROSS JOIN entry e ON e.id = p.winner"
                         " WHERE p.name > ? AND p.name < ? AND e.kind < 4 ORDER BY p.name",
    [Q_PATH_MAX] = "SELECT coalesce(max(id), 0) FROM path",
    [Q_PATH_DEL] = "DELETE FROM path WHERE id = ?1 AND id < (SELECT max(id) FROM path)"
                   " AND NOT EXISTS (SELECT 1 FROM entry WHERE path = ?1) AND NOT EXISTS (SELECT 1 FROM local WHERE path = ?1)"
                   " AND NOT EXISTS (SELECT 1 FROM kept WHERE path = ?1)"
                   " AND NOT EXISTS (SELECT 1 FROM conflict WHERE path = ?1)"
                   " AND NOT EXISTS (SELECT 1 FROM clash WHERE path = ?1 OR other = ?1)",
    [Q_PATH_TOTALS] = "SELECT e.size FROM path p CROSS JOIN entry e ON e.id = p.winner WHERE e.kind = 1",
    [Q_LOCAL_PUT] = "INSERT OR REPLACE INTO local VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [Q_LOCAL_GET] = "SELECT " LOCAL " FROM local l WHERE path = ?",
    [Q_LOCAL_FIND] = "SELECT p.id, " LOCAL_REST " FROM path p LEFT JOIN local l ON l.path = p.id WHERE p.name = ?",
    [Q_LOCAL_DEL] = "DELETE FROM local WHERE path = ?",
    [Q_LOCAL_EACH] = "SELECT " LOCAL " FROM local l ORDER BY path",
    [Q_LOCAL_AFTER] = "SELECT " LOCAL " FROM local l WHERE path > ? ORDER BY path",
    [Q_LOCAL_BENEATH] = "SELECT " LOCAL ", p.name FROM path p CROSS JOIN local l ON l.path = p.id"
                        " WHERE p.name > ? AND p.name < ? ORDER BY p.name",
    [Q_LOCAL_BY_ROOT] = "SELECT " LOCAL " FROM entry CROSS JOIN local l ON l.path = entry.path AND l.entry = entry.id"
                        " WHERE l.settled < 2 AND " CONTENT_IS,
    [Q_WANT_PUT] = "INSERT INTO want VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [Q_WANT_GET] = "SELECT " WANT "WHERE entry = ?",
    [Q_WANT_SIZE] = "SELECT size, kind FROM want WHERE entry = ?",
    [Q_WANT_DEL] = "DELETE FROM want WHERE entry = ?",
    [Q_WANT_EACH] = "SELECT " WANT "WHERE entry > ? ORDER BY entry",
    [Q_WANT_BY_ROOT] = "SELECT " WANT_OF_ENTRY "WHERE substr(entry.root, 1, 6) = substr(?1, 1, 6) AND entry.root = ?1",
    [Q_WANT_OF_PATH] = "SELECT " WANT_OF_ENTRY "WHERE entry.path = ?",
    [Q_WANT_MIN] = "SELECT seq FROM want WHERE stream = ? ORDER BY seq LIMIT 1",
    [Q_WANT_SIZES] = "SELECT size, kind FROM want",
    [Q_CONFLICT_ADD] = "INSERT OR IGNORE INTO conflict VALUES (?)",
    [Q_CONFLICT_DEL] = "DELETE FROM conflict WHERE path = ?",
    [Q_CONFLICT_EACH] = "SELECT path FROM conflict ORDER BY path",
    [Q_CONFLICT_IS] = "SELECT count(*) FROM conflict WHERE path = ?",
    [Q_CONFLICT_COUNT] = "SELECT (SELECT count(*) FROM conflict) + (SELECT count(*) FROM clash)",
    [Q_CLASH_PUT] = "INSERT OR REPLACE INTO clash VALUES (?, ?)",
    [Q_CLASH_DEL] = "DELETE FROM clash WHERE path = ?",
    [Q_CLASH_GET] = "SELECT other FROM clash WHERE path = ?",
    [Q_CLASH_EACH] = "SELECT path, other FROM clash ORDER BY path",
    [Q_CLASH_WITH] = "SELECT path, other FROM clash WHERE other = ? ORDER BY path",
    [Q_TREE_PUT] = "INSERT OR IGNORE INTO tree VALUES (NULL, ?, ?)",
    [Q_TREE_GET] = "SELECT refs FROM tree WHERE root = ?",
    [Q_BLOCK_PUT] = "INSERT INTO block VALUES (?, ?, ?)",
    [Q_BLOCK_FIND] = "SELECT t.root, b.idx FROM block b CROSS JOIN tree t ON t.id = b.tree WHERE b.h8 = ?",
    [Q_KEPT_PUT] = "INSERT INTO kept VALUES (NULL, ?, ?, ?, ?, ?, ?)",
    [Q_KEPT_DEL] = "DELETE FROM kept WHERE id = ?",
    [Q_KEPT_BY_ROOT] = "SELECT " KEPT "WHERE " ROOT_IS
                       "UNION ALL SELECT " ALIVE "FROM " FIRST_OF("e", "?1") "CROSS JOIN alive a ON a.key = " ALIVE_KEY("e.id") " WHERE e.root = ?1",
    [Q_KEPT_OF_PATH] = "SELECT " KEPT "WHERE path = ?1"
                       " UNION ALL SELECT " ALIVE "FROM entry e CROSS JOIN alive a ON a.key = " ALIVE_KEY("e.id") " WHERE e.path = ?1 ORDER BY id",
    [Q_KEPT_NAMELESS] = "SELECT " KEPT "WHERE id > ? AND root IS NULL ORDER BY id",
    [Q_KEPT_EACH] = "SELECT " KEPT "ORDER BY kept_ms, id",
    [Q_KEPT_NAMED] = "SELECT " KEPT "WHERE name = ? AND name <> ''",
    [Q_KEPT_PACKED] = "UPDATE kept SET name = '' WHERE id = ?",
    [Q_KEPT_ALIVE] = "SELECT " KEPT "WHERE " INDEX_IS_ALIVE " AND id < ? ORDER BY id DESC",
    [Q_KEPT_SINCE] = "UPDATE kept SET kept_ms = ? WHERE id = ?",
    [Q_KEPT_RENEW] = "UPDATE kept SET kept_ms = ?2 WHERE " ROOT_IS "AND kept_ms < ?2",
    [Q_KEPT_FILES] = "SELECT " KEPT "INDEXED BY kept_file WHERE id > ? AND name <> '' AND root IS NOT NULL ORDER BY id",
    [Q_KEPT_STRAYS] = "SELECT " KEPT "WHERE entry = 0 AND path <> 0 AND root IS NOT NULL ORDER BY id",
    [Q_KEPT_IN_PACKS] = "SELECT " KEPT "WHERE id > ? AND name = '' ORDER BY id",
    [Q_ENTRY_BY_ROOT] = "SELECT " ENTRY "WHERE " CONTENT_IS "ORDER BY id DESC",
    [Q_PACK_PUT] = "INSERT OR REPLACE INTO pack VALUES (?, ?)",
    [Q_PACK_DEL] = "DELETE FROM pack WHERE id = ?",
    [Q_PACK_EACH] = "SELECT id, size FROM pack ORDER BY id",
    [Q_PIECE_PUT] = "INSERT INTO piece SELECT " NEXT_N ", ?1, ?3, ?4, ?5, ?6 WHERE true ON CONFLICT (id, kind) DO UPDATE"
                    " SET pack = excluded.pack, off = excluded.off, len = excluded.len",
    [Q_PIECE_ADD] = "INSERT INTO piece SELECT " NEXT_N ", ?1, ?3, ?4, ?5, ?6 WHERE true ON CONFLICT (id, kind) DO NOTHING",
    [Q_PIECE_GET] = "SELECT " PIECE "WHERE id = ? AND kind = ?",
    [Q_PIECE_DEL] = "DELETE FROM piece WHERE id = ? AND kind = ?",
    [Q_PIECE_CLEAR] = "DELETE FROM piece WHERE pack = ?",
    [Q_PIECE_OF_PACK] = "SELECT " PIECE "WHERE pack = ?1 UNION ALL"
                        " SELECT 0, e.root, 1, a.pack, a.off, a.len FROM alive a CROSS JOIN entry e ON e.id = a.entry WHERE a.pack = ?1 AND ?2 UNION ALL"
                        " SELECT 0, e.root, 2, a.pack, a.off + a.len, a.rest FROM alive a CROSS JOIN entry e ON e.id = a.entry WHERE a.pack = ?1 AND ?2"
                        " ORDER BY off",
    [Q_PIECE_MAX] = "SELECT coalesce(max(n), 0) FROM piece",
    [Q_FOLD] = "INSERT INTO alive " INDEX_FOLDABLE " AND substr(k.root, 1, 8) = substr(?1, 1, 8) AND k.root = ?1 LIMIT 1",
    [Q_FOLD_KEPT] = "DELETE FROM kept WHERE " ROOT_IS "AND name = '' AND " INDEX_IS_ALIVE " AND " ALIVE_KEY("entry") " IN (SELECT key FROM alive)",
    [Q_FOLD_PIECES] = "DELETE FROM piece WHERE id = ?",
    [Q_UNFOLD_BLOCK] = "INSERT INTO piece SELECT " NEXT_N ", e.root, 1, a.pack, a.off, a.len"
                       " FROM alive a CROSS JOIN entry e ON e.id = a.entry WHERE a.key = " ALIVE_KEY("?1"),
    [Q_UNFOLD_CONTENT] = "INSERT INTO piece SELECT " NEXT_N ", e.root, 2, a.pack, a.off + a.len, a.rest"
                         " FROM alive a CROSS JOIN entry e ON e.id = a.entry WHERE a.key = " ALIVE_KEY("?1"),
    [Q_UNFOLD_KEPT] = "INSERT INTO kept SELECT NULL, e.path, e.id, e.size, 4611686018427387904, e.root, ''"
                      " FROM alive a CROSS JOIN entry e ON e.id = a.entry WHERE a.key = " ALIVE_KEY("?1"),
    [Q_UNFOLD_PACK] = "INSERT INTO kept SELECT NULL, e.path, e.id, e.size, 4611686018427387904, e.root, ''"
                      " FROM alive a CROSS JOIN entry e ON e.id = a.entry WHERE a.pack = ?1",
    [Q_ALIVE_BY_ROOT] = "SELECT " ALIVE_PLACE FIRST_OF("e", "?1") "CROSS JOIN alive a ON a.key = " ALIVE_KEY("e.id") " WHERE e.root = ?1",
    [Q_ALIVE_HAS] = "SELECT 1 FROM alive WHERE key = " ALIVE_KEY("?"),
    [Q_ALIVE_DEL] = "DELETE FROM alive WHERE key = " ALIVE_KEY("?"),
    [Q_ALIVE_CLEAR] = "DELETE FROM alive WHERE pack = ?",
    [Q_ALIVE_EACH] = "SELECT " ALIVE_PLACE "alive a WHERE a.key < " ALIVE_KEY("?") " ORDER BY a.key DESC",
    [Q_ALIVE_KEPT_EACH] = "SELECT " ALIVE "FROM alive a CROSS JOIN entry e ON e.id = a.entry ORDER BY a.key DESC",
    [Q_ALIVE_ROWS] = "SELECT " ALIVE "FROM alive a CROSS JOIN entry e ON e.id = a.entry WHERE a.key < " ALIVE_KEY("?") " ORDER BY a.key DESC",
    [Q_ALIVE_IN_PACKS] = "SELECT " ALIVE "FROM alive a CROSS JOIN entry e ON e.id = a.entry WHERE a.key > " ALIVE_KEY("?") " ORDER BY a.key",
};

/* ---- failures ---- */

static int code_of(int sqlite, int extended)
{
    static const struct { int sqlite; enum err code; } codes[] = {
        { SQLITE_FULL, ERR_FULL }, { SQLITE_IOERR, ERR_IO }, { SQLITE_NOMEM, ERR_IO }, { SQLITE_READONLY, ERR_IO },
        { SQLITE_CANTOPEN, ERR_IO }, { SQLITE_PERM, ERR_IO }, { SQLITE_BUSY, ERR_AGAIN }, { SQLITE_LOCKED, ERR_AGAIN },
        { SQLITE_ABORT, ERR_AGAIN },
    };
    if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY)
        return ERR_EXISTS;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].sqlite == sqlite)
            return codes[i].code;
    return ERR_CORRUPT;   /* CORRUPT, NOTADB; and ERROR, MISMATCH...: our SQL is constant, so it is the data that is wrong */
}

static int fail_with(struct index *ix, enum err code, const char *why)
{
    static const char *const remedy[] = {
        [-ERR_FULL] = "make room on its disk", [-ERR_IO] = "check its disk and its permissions",
        [-ERR_AGAIN] = "another program is using it: end that one", [-ERR_CORRUPT] = INDEX_REMEDY,
        [-ERR_EXISTS] = "there is such a row already",
    };
    if (ix->state == IX_TX && (code == ERR_FULL || code == ERR_IO || code == ERR_CORRUPT)) {
        ix->state = IX_FAILED;
        ix->failed = code;
    }
    return err_set(code, "index %s: %s: %s", ix->path, why, remedy[-code]);
}

int index_fail(struct index *ix)
{
    enum err code = (enum err)code_of(sqlite3_errcode(ix->db) & 0xff, sqlite3_extended_errcode(ix->db));
    return fail_with(ix, code, sqlite3_errmsg(ix->db));
}

int index_missing(const struct index *ix, const char *what)
{
    return err_set(ERR_NOTFOUND, "index %s: no such %s", ix->path, what);
}

/* ---- without parameters ---- */

int index_exec(struct index *ix, const char *text)
{
    return sqlite3_exec(ix->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : index_fail(ix);
}

int index_ask(struct index *ix, const char *text, int64_t *v)
{
    sqlite3_stmt *st = NULL;
    int r = sqlite3_prepare_v2(ix->db, text, -1, &st, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_step(st);
    if (r == SQLITE_ROW)
        *v = sqlite3_column_int64(st, 0);
    int rc = r == SQLITE_ROW ? 0 : r == SQLITE_DONE ? index_foreign(ix->path, "damaged") : index_fail(ix);
    sqlite3_finalize(st);
    return rc;
}

/* ---- queries ---- */

static sqlite3_stmt *prepare(struct index *ix, const char *text, unsigned flags)
{
    sqlite3_stmt *st = NULL;
    (void)sqlite3_prepare_v3(ix->db, text, -1, flags, &st, NULL);
    return st;
}

int index_prepare(struct index *ix)
{
    for (int id = 0; id < Q_COUNT; id++)
        if (!(ix->stmt[id] = prepare(ix, sql[id], SQLITE_PREPARE_PERSISTENT)))
            return index_fail(ix);
    return 0;
}

struct query q_begin(struct index *ix, enum query_id id)
{
    struct query q = { .ix = ix, .id = id, .st = ix->stmt[id] };
    if (ix->busy[id])
        q.st = prepare(ix, sql[id], 0);
    if (!q.st) {
        q.rc = index_fail(ix);
        return q;
    }
    if (!sqlite3_stmt_readonly(q.st)) {
        assert(index_in_tx(ix));
        if (ix->state == IX_FAILED)
            q.rc = err_set(ix->failed, "index %s: an earlier write of this transaction failed: roll it back", ix->path);
    }
    if (q.st == ix->stmt[id])
        ix->busy[id] = true;
    return q;
}

void q_end(struct query *q)
{
    if (!q->st)
        return;
    if (q->st != q->ix->stmt[q->id]) {
        sqlite3_finalize(q->st);
        return;
    }
    sqlite3_reset(q->st);
    sqlite3_clear_bindings(q->st);   /* the pointers of q_put_bytes are about to die */
    q->ix->busy[q->id] = false;
}

static void put_done(struct query *q, int sqlite)
{
    if (sqlite != SQLITE_OK)
        q->rc = index_fail(q->ix);
}

void q_put_int(struct query *q, int64_t v)
{
    if (q->rc == 0)
        put_done(q, sqlite3_bind_int64(q->st, ++q->param, v));
}

void q_put_u64(struct query *q, uint64_t v)
{
    q_put_int(q, (int64_t)v);
}

void q_put_seq(struct query *q, uint64_t v)
{
    assert(v <= LIMIT_SEQ);
    q_put_int(q, (int64_t)v);
}

void q_put_bound(struct query *q, uint64_t v)
{
    q_put_int(q, v > INT64_MAX ? INT64_MAX : (int64_t)v);
}

void q_put_bytes(struct query *q, const void *p, size_t len)
{
    if (q->rc == 0)   /* a NULL pointer would bind NULL instead of no bytes */
        put_done(q, sqlite3_bind_blob64(q->st, ++q->param, len ? p : "", len, SQLITE_STATIC));
}

void q_put_text(struct query *q, const char *s)
{
    if (q->rc == 0)
        put_done(q, sqlite3_bind_text(q->st, ++q->param, s, -1, SQLITE_STATIC));
}

void q_put_id(struct query *q, const struct id *v)
{
    if (id_is_none(v))
        q->param++;   /* parameters are NULL until bound */
    else
        q_put_bytes(q, v->b, ID_LEN);
}

int q_step(struct query *q)
{
    if (q->rc != 0)
        return q->rc;
    q->col = 0;
    int r = sqlite3_step(q->st);
    if (r == SQLITE_ROW)
        return 1;
    if (r != SQLITE_DONE)
        q->rc = index_fail(q->ix);
    return q->rc;
}

int q_row(struct query *q)
{
    int rc = q_step(q);
    if (rc == 0)
        q->rc = rc = index_missing(q->ix, "row");
    return rc == 1 ? 0 : rc;
}

int q_run(struct query *q)
{
    int rc = q_step(q);
    assert(rc != 1);
    return rc;
}

int q_run_found(struct query *q)
{
    int rc = q_run(q);
    if (rc == 0 && sqlite3_changes(q->ix->db) == 0)
        rc = index_missing(q->ix, "row");
    return rc;
}

static void damaged(struct query *q, const char *why)
{
    if (q->rc == 0)
        q->rc = fail_with(q->ix, ERR_CORRUPT, why);
}

int64_t q_int(struct query *q)
{
    return q->rc == 0 ? sqlite3_column_int64(q->st, q->col++) : 0;
}

uint64_t q_u64(struct query *q)
{
    return (uint64_t)q_int(q);
}

int q_enum(struct query *q, int min, int max)
{
    int64_t v = q_int(q);
    if (q->rc == 0 && v >= min && v <= max)
        return (int)v;
    damaged(q, "a row holds a number out of its range");
    return min;
}

struct bytes q_bytes(struct query *q)
{
    if (q->rc != 0)
        return (struct bytes){ 0 };
    int i = q->col++;
    const uint8_t *p = sqlite3_column_blob(q->st, i);
    return (struct bytes){ p, p ? (size_t)sqlite3_column_bytes(q->st, i) : 0 };
}

const char *q_text(struct query *q)
{
    const unsigned char *s = q->rc == 0 ? sqlite3_column_text(q->st, q->col++) : NULL;
    return s ? (const char *)s : "";
}

void q_exact(struct query *q, void *out, size_t len)
{
    struct bytes b = q_bytes(q);
    if (q->rc == 0 && b.len == len) {
        memcpy(out, b.p, len);
        return;
    }
    memset(out, 0, len);
    damaged(q, "a row holds bytes of a wrong length");
}

struct id q_id(struct query *q)
{
    struct id v = ID_NONE;
    if (q->rc == 0 && sqlite3_column_type(q->st, q->col) == SQLITE_NULL)
        q->col++;
    else
        q_exact(q, v.b, sizeof v.b);
    return v;
}

void q_copy(struct query *q, struct buf *out)
{
    buf_clear(out);
    struct bytes b = q_bytes(q);
    if (q->rc != 0)
        return;
    buf_add(out, b.p, b.len);
    if (!buf_ok(out))
        damaged(q, "a row is longer than it may be");
}

/* index_priv: what the files of the index share: the connection, its prepared statements, and how they are used.
 *
 *   AUTO(q_end) struct query q = q_begin(ix, Q_WANT_GET);
 *   q_put_int(&q, entry);                       parameters, in order
 *   int rc = q_row(&q);                         or q_run for a write, or q_step in a loop
 *   out->path = q_int(&q);                      columns, in order (one statement each: C does not order initialisers)
 *   return rc ? rc : q.rc;
 *
 * A query is sticky like mp.h: after the first failure nothing happens any more and q.rc keeps the code. Every statement is
 * prepared once, at opening, so a damaged schema is noticed there. A statement that is in use already (a row callback that
 * calls the function it was called from) is prepared a second time for the inner use. Pointers given to q_put_bytes must stay
 * valid until q_end. */
#ifndef STORE_INDEX_PRIV_H
#define STORE_INDEX_PRIV_H

#include <sqlite3.h>

#include "store/index.h"

enum query_id {
    Q_KV_PUT, Q_KV_GET, Q_KV_DEL,
    Q_RECEIPT_PUT, Q_RECEIPT_DEL, Q_RECEIPT_EACH,
    Q_STREAM_ADD, Q_STREAM_SET, Q_STREAM_EACH, Q_APART_HEADERS, Q_APART_PRUNED, Q_APART_ENTRIES,
    Q_HEADER_PUT, Q_HEADER_EACH, Q_PRUNED_DEL, Q_PRUNED_PUT, Q_PRUNED_EACH,
    Q_ENTRY_PUT, Q_ENTRY_GET, Q_ENTRY_AT, Q_ENTRY_SET_LIVE, Q_ENTRY_OF_PATH, Q_ENTRY_OF_STREAM, Q_ENTRY_UNKEPT, Q_ENTRY_RECENT,
    Q_ENTRY_BENEATH, Q_ENTRY_DELETED, Q_ENTRY_DEL, Q_ENTRY_LIVE_AFTER, Q_ENTRY_OLD_PATHS, Q_ENTRY_CONTESTED,
    Q_PATH_FIND, Q_PATH_ADD, Q_PATH_GET, Q_PATH_SET_WINNER, Q_PATH_EACH, Q_PATH_EACH_LIVE, Q_PATH_MAX, Q_PATH_DEL, Q_PATH_TOTALS,
    Q_LOCAL_PUT, Q_LOCAL_GET, Q_LOCAL_FIND, Q_LOCAL_DEL, Q_LOCAL_EACH, Q_LOCAL_AFTER, Q_LOCAL_BENEATH, Q_LOCAL_BY_ROOT,
    Q_WANT_PUT, Q_WANT_GET, Q_WANT_SIZE, Q_WANT_DEL, Q_WANT_EACH, Q_WANT_BY_ROOT, Q_WANT_OF_PATH, Q_WANT_MIN, Q_WANT_SIZES,
    Q_CONFLICT_ADD, Q_CONFLICT_DEL, Q_CONFLICT_EACH, Q_CONFLICT_COUNT, Q_CONFLICT_IS,
    Q_CLASH_PUT, Q_CLASH_DEL, Q_CLASH_GET, Q_CLASH_EACH, Q_CLASH_WITH,
    Q_TREE_PUT, Q_TREE_GET, Q_BLOCK_PUT, Q_BLOCK_FIND,
    Q_KEPT_PUT, Q_KEPT_DEL, Q_KEPT_BY_ROOT, Q_KEPT_OF_PATH, Q_KEPT_NAMELESS, Q_KEPT_EACH,
    Q_KEPT_NAMED, Q_KEPT_PACKED, Q_KEPT_ALIVE, Q_KEPT_SINCE, Q_KEPT_RENEW, Q_KEPT_FILES, Q_KEPT_IN_PACKS, Q_KEPT_STRAYS, Q_ENTRY_BY_ROOT,
    Q_PACK_PUT, Q_PACK_DEL, Q_PACK_EACH, Q_PIECE_PUT, Q_PIECE_ADD, Q_PIECE_GET, Q_PIECE_DEL, Q_PIECE_CLEAR, Q_PIECE_OF_PACK, Q_PIECE_MAX,
    Q_FOLD, Q_FOLD_KEPT, Q_FOLD_PIECES, Q_UNFOLD_BLOCK, Q_UNFOLD_CONTENT, Q_UNFOLD_KEPT, Q_UNFOLD_PACK,
    Q_ALIVE_BY_ROOT, Q_ALIVE_HAS, Q_ALIVE_DEL, Q_ALIVE_CLEAR, Q_ALIVE_EACH, Q_ALIVE_KEPT_EACH, Q_ALIVE_ROWS, Q_ALIVE_IN_PACKS,
    Q_COUNT
};

/* IX_FAILED: a write of this transaction failed, SQLite may have undone the whole of it already: nothing but a rollback is
 * accepted, so that no later write can be committed without the earlier ones. */
enum ix_state { IX_IDLE, IX_READ, IX_TX, IX_FAILED };
struct ix_totals { uint64_t n, bytes, removals; };

struct index {
    sqlite3 *db;
    char *path;
    enum ix_state state;
    enum err failed;                            /* the code of the write that failed, in IX_FAILED */
    struct ix_totals want, want_at_begin;       /* sums over the want table: now, and what a rollback goes back to */
    int wal_pages;                              /* in the WAL after the last commit */
    int64_t piece_max;                          /* as index_piece_max has said: pieces that come have greater numbers */
    sqlite3_stmt *stmt[Q_COUNT];
    bool busy[Q_COUNT];
};

struct query { struct index *ix; sqlite3_stmt *st; enum query_id id; int rc, param, col; };

struct query q_begin(struct index *ix, enum query_id id);  /* asserts that a transaction is open if it writes */
void q_end(struct query *q);

void q_put_int(struct query *q, int64_t v);
void q_put_u64(struct query *q, uint64_t v);               /* any 64 bits; not ordered as a number in SQL */
void q_put_seq(struct query *q, uint64_t v);               /* asserted <= LIMIT_SEQ, so it is ordered */
void q_put_bound(struct query *q, uint64_t v);             /* end of a range of seqs: cut to what a row can hold */
void q_put_bytes(struct query *q, const void *p, size_t len);
void q_put_text(struct query *q, const char *s);
void q_put_id(struct query *q, const struct id *v);        /* ID_NONE is stored as NULL */

int q_step(struct query *q) MUST_CHECK;                    /* 1 a row, 0 no more, or an error */
int q_row(struct query *q) MUST_CHECK;                     /* 0 with the first row; ERR_NOTFOUND */
int q_run(struct query *q) MUST_CHECK;                     /* a statement that yields no rows */
int q_run_found(struct query *q) MUST_CHECK;               /* an update of a row that must exist; ERR_NOTFOUND */

/* Columns. Lengths and ranges are checked: what does not fit is damage and fails the query with ERR_CORRUPT. */
int64_t      q_int(struct query *q);
uint64_t     q_u64(struct query *q);
int          q_enum(struct query *q, int min, int max);
struct bytes q_bytes(struct query *q);                     /* valid until the next step */
const char  *q_text(struct query *q);                      /* the same; never NULL */
void         q_exact(struct query *q, void *out, size_t len);
struct id    q_id(struct query *q);                        /* NULL is ID_NONE */
void         q_copy(struct query *q, struct buf *out);     /* replaces what out held */

/* ---- failures ---- */
#define INDEX_REMEDY "move it away and start again; the folder will be adopted without loss"
int index_fail(struct index *ix) MUST_CHECK;               /* the code and text of SQLite's last failure; may enter IX_FAILED */
int index_missing(const struct index *ix, const char *what) MUST_CHECK;   /* ERR_NOTFOUND "no such `what`" */

int index_prepare(struct index *ix) MUST_CHECK;            /* all statements, once */

int index_exec(struct index *ix, const char *text) MUST_CHECK;          /* statements without rows */
int index_ask(struct index *ix, const char *text, int64_t *v) MUST_CHECK;   /* the first column of the only row */
int index_foreign(const char *path, const char *why) MUST_CHECK;        /* ERR_CORRUPT, with the remedy */

/* index_schema.c. Its number is in the header of the file; an index of a lower one is brought up to date in one transaction when it is
 * opened, so that it is of one or of the other schema whenever the program ends. An older program refuses an index of a higher one. */
#define APPLICATION_ID 0x4c4e5944                          /* "LNYD", in the header, too: what `file FILE` and we recognise an index by */
#define SCHEMA_VERSION 3
int schema_create(struct index *ix, const struct id *group) MUST_CHECK;
int schema_upgrade(struct index *ix) MUST_CHECK;

/* index_alive.c. Pieces and a kept row are made of the short row of an entry, or of a content, if there is one. */
#define ALIVE_AMONG "8"
/* The latest entries are packed first. So the keys of their rows grow as the entries' ids go down: SQLite fills its pages when keys
 * grow, and leaves them half empty when they go down. Up to here a key takes 4 bytes; it may be below 0. */
#define ALIVE_KEY(entry) "(268435455 - " entry ")"
/* kept_ms is KEPT_ALIVE. */
#define INDEX_IS_ALIVE "kept_ms = 4611686018427387904"
/* The short rows of what has none yet. (The + keeps SQLite from going through all that is alive.) */
#define INDEX_FOLDABLE \
    "SELECT " ALIVE_KEY("e.id") ", b.pack, b.off, b.len, c.len FROM kept k" \
    " CROSS JOIN entry e ON e.id = k.entry AND e.path = k.path AND e.size = k.size AND e.root = k.root" \
    " CROSS JOIN piece b ON b.id = k.root AND b.kind = 1" \
    " CROSS JOIN piece c ON c.id = k.root AND c.kind = 2 AND c.pack = b.pack AND c.off = b.off + b.len" \
    " WHERE k.name = '' AND +k." INDEX_IS_ALIVE " AND (SELECT count(*) FROM (SELECT 1 FROM entry o INDEXED BY entry_content" \
    " WHERE substr(o.root, 1, 6) = substr(e.root, 1, 6) AND o.root IS NOT NULL AND o.id < e.id LIMIT " ALIVE_AMONG ")) < " ALIVE_AMONG
int alive_unfold(struct index *ix, int64_t entry, int64_t *kept) MUST_CHECK;        /* the id of the kept row; 0: there was none */
int alive_unfold_entry(struct index *ix, int64_t entry) MUST_CHECK;
int alive_unfold_root(struct index *ix, const struct id *root) MUST_CHECK;
int alive_piece(struct index *ix, enum pack_kind kind, const struct id *root, struct ix_piece *out) MUST_CHECK;   /* 1, 0: there is none */

/* index_beside.c. Before the index at path is opened: ERR_FULL. What would be applied to a new index of that name is removed. */
int  beside_prepare(const char *path) MUST_CHECK;
void beside_remove(const char *path);

/* The names strictly beneath dir ("" = all) lie between two ends (index_state.c). The query borrows them. */
struct range { uint8_t low[LIMIT_PATH + 1], high[LIMIT_PATH + 1]; size_t lowlen, highlen; };
void range_beneath(struct range *r, const char *dir, size_t len);
void q_put_range(struct query *q, const struct range *r);

#endif

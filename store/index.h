/* index: what the node knows, in SQLite: streams, headers, entries, the state of every path, which version is on this disk,
 * what is still wanted, block lists, kept versions. One connection, one thread. WAL, synchronous=FULL.
 *
 * Writes happen between index_begin and index_commit; a commit is durable when it returns. Every function that writes asserts that
 * a transaction is open. After a failed write the caller rolls back; after one that failed with ERR_FULL, ERR_IO or ERR_CORRUPT
 * every later write and the commit are refused with that code until it does. ERR_EXISTS leaves the transaction as it was. Row
 * callbacks return 0 to go on, anything else ends the loop and is returned; they may call index functions, also the one they were
 * called from, except writes to the table being read.
 *
 * Byte strings in rows given to callbacks are valid during the callback only. Rows fetched with *_get copy into a `struct buf`.
 * Deleting what is absent is fine; changing it (*_set, *_set_winner, *_set_live) is ERR_NOTFOUND; adding a stream, header or entry
 * for the second time is ERR_EXISTS. Stream numbers are at most LIMIT_SEQ; a range may end in UINT64_MAX.
 * Errors: ERR_NOTFOUND no such row; ERR_FULL disk full; ERR_AGAIN another program has it locked; ERR_IO; ERR_CORRUPT the database is
 * damaged or not ours, with the remedy. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/record.h"
#include "store/packs.h"
#include "store/stamp.h"

struct index;

/* Opens, or creates under another name and renames, so that an index is there whole or not at all. `path` may be ":memory:".
 * ERR_CORRUPT for a foreign file, another group's index, a newer schema or failed integrity check ("index PATH: ...: move it away
 * and start again; the folder will be adopted without loss"); a refused file is not changed. `quick_check` asks for PRAGMA
 * quick_check first (after an unclean stop). The process must have no other connection to the file. */
int  index_open(const char *path, const struct id *group, bool quick_check, struct index **out) MUST_CHECK;
void index_close(struct index **ix);             /* rolls back an open transaction, checkpoints */
int  index_begin(struct index *ix) MUST_CHECK;
int  index_commit(struct index *ix) MUST_CHECK;
void index_rollback(struct index *ix);
bool index_in_tx(const struct index *ix);
/* Many reads in a row, which see one state, cost half as much between these two: the file is locked once. No writing in between. */
int  index_read_begin(struct index *ix) MUST_CHECK;
void index_read_end(struct index *ix);
/* The writer's own checkpointing (wal_autocheckpoint is 0): PASSIVE when the WAL has passed 32 MiB; TRUNCATE when `idle`,
 * and then it also gives pages back that are no longer used, 8 MiB a call. Costs nothing when nothing was written. Not in a
 * transaction. */
int  index_checkpoint(struct index *ix, bool idle) MUST_CHECK;
/* Gives back the memory of pages that were held to be read again, if that is worth it: for when nothing is to be done. How many bytes it was;
 * some of them may be in use. */
size_t index_rest(struct index *ix);

/* ---- small values ---- */
int index_kv_put(struct index *ix, const char *key, const void *v, size_t len) MUST_CHECK;
int index_kv_get(struct index *ix, const char *key, struct buf *out) MUST_CHECK;      /* out cleared; ERR_NOTFOUND */
int index_kv_del(struct index *ix, const char *key) MUST_CHECK;

/* ---- receipts: the vector in which a device has signed that it has reached the required version with that id (node/proof.h) ---- */
struct ix_receipt { uint8_t req[16]; struct id dev; struct bytes vec; };
int index_receipt_put(struct index *ix, const struct ix_receipt *r) MUST_CHECK;       /* in the place of the one before */
int index_receipt_del(struct index *ix, const uint8_t req[static 16]) MUST_CHECK;     /* of all devices */
int index_receipt_each(struct index *ix, int (*row)(void *, const struct ix_receipt *), void *arg) MUST_CHECK;   /* by req and dev */

/* ---- streams and headers ---- */
struct ix_stream { int64_t id; struct sid sid; struct id dev; uint8_t inc[8]; uint64_t known; struct id tip; };
int index_stream_add(struct index *ix, struct ix_stream *s) MUST_CHECK;               /* sets s->id */
int index_stream_set(struct index *ix, const struct ix_stream *s) MUST_CHECK;         /* known and tip */
/* Change sets and entries of a stream behind `after` become those of another one, which has none of these numbers. None is wanted. */
int index_stream_apart(struct index *ix, int64_t stream, uint64_t after, int64_t to) MUST_CHECK;
int index_stream_each(struct index *ix, int (*row)(void *, const struct ix_stream *), void *arg) MUST_CHECK;

struct ix_header { int64_t stream; uint64_t first; uint32_t count; struct bytes rec; const uint8_t *sig; };
int index_header_put(struct index *ix, const struct ix_header *h) MUST_CHECK;
/* The headers that cover from..to, in order. */
int index_header_each(struct index *ix, int64_t stream, uint64_t from, uint64_t to, int (*row)(void *, const struct ix_header *), void *arg) MUST_CHECK;
/* Pruned runs: leaves first..first+count-1 (numbers in the stream) of which only the subtree's hash is held. own: this device has
 * forgotten them itself; else another one says that they may be. A run replaces the runs that lie within it. Runs and headers are at most
 * LIMIT_CS_COUNT long. */
struct ix_pruned { int64_t stream; uint64_t first; uint32_t count; bool own; struct id hash; };
int index_pruned_put(struct index *ix, const struct ix_pruned *p) MUST_CHECK;
int index_pruned_del(struct index *ix, int64_t stream, uint64_t first, uint32_t count) MUST_CHECK;    /* those that lie within */
int index_pruned_each(struct index *ix, int64_t stream, uint64_t from, uint64_t to, int (*row)(void *, const struct ix_pruned *), void *arg) MUST_CHECK;

/* ---- paths; winner = the entry that should be on disk, 0 = none known ---- */
int index_path_id(struct index *ix, const char *path, size_t len, bool create, int64_t *id) MUST_CHECK;
int  index_path_make(struct index *ix, const char *path, size_t len, int64_t *id, bool *made) MUST_CHECK;   /* made: nothing refers to it yet */
int index_path_get(struct index *ix, int64_t id, struct buf *name, int64_t *winner) MUST_CHECK;   /* either may be NULL */
int index_path_set_winner(struct index *ix, int64_t id, int64_t winner) MUST_CHECK;
/* Paths that lie beneath dir ("" = all), in byte order of the name, with their winner; only files, directories and symlinks
 * when live_only (no tombstones, no snapshots). */
int index_path_each(struct index *ix, const char *dir, size_t len, bool live_only,
                    int (*row)(void *, int64_t path, const char *name, size_t namelen, int64_t winner), void *arg) MUST_CHECK;
/* The same, live or not, behind `after`, which lies beneath dir ("" = all of them): for those who do not want all at once. */
int index_path_each_after(struct index *ix, const char *dir, size_t len, const char *after, size_t afterlen,
                          int (*row)(void *, int64_t path, const char *name, size_t namelen, int64_t winner), void *arg) MUST_CHECK;
int index_path_max(struct index *ix, int64_t *max) MUST_CHECK;                          /* greatest path id, for bitmaps */
/* Unless something refers to it: an entry (also a wanted one), what is on disk or kept. The greatest id always stays, so that none is used twice. */
int index_path_del(struct index *ix, int64_t id) MUST_CHECK;

/* ---- entries; live = head (nothing supersedes it) ---- */
struct ix_entry {
    int64_t id, stream, path; uint64_t seq;
    bool live;
    enum kind kind;
    uint64_t hlc, size;
    struct id root;               /* ID_NONE for none */
    struct bytes raw;             /* the encoded ENT */
};
int index_entry_put(struct index *ix, struct ix_entry *e) MUST_CHECK;                  /* sets e->id; ERR_EXISTS for (stream, seq) */
int index_entry_get(struct index *ix, int64_t id, struct ix_entry *out, struct buf *raw) MUST_CHECK;  /* raw may be NULL: then raw is empty */
int index_entry_at(struct index *ix, int64_t stream, uint64_t seq, struct ix_entry *out, struct buf *raw) MUST_CHECK;
int index_entry_set_live(struct index *ix, int64_t id, bool live) MUST_CHECK;
int index_entry_del(struct index *ix, int64_t id) MUST_CHECK;
int index_entry_live_after(struct index *ix, int64_t id, int (*row)(void *, const struct ix_entry *), void *arg) MUST_CHECK;  /* live ones, by id */
int index_entry_contested(struct index *ix, int (*row)(void *, int64_t path), void *arg) MUST_CHECK;   /* paths of which several entries are live */
/* Paths behind one, by id, that have an entry that is dead or a tombstone and older than hlc: the only ones of which something can be
 * forgotten. */
int index_entry_old_paths(struct index *ix, int64_t after_path, uint64_t hlc, int (*row)(void *, int64_t path), void *arg) MUST_CHECK;
int index_entry_each_of_path(struct index *ix, int64_t path, int (*row)(void *, const struct ix_entry *), void *arg) MUST_CHECK; /* newest id first */
int index_entry_each_of_stream(struct index *ix, int64_t stream, uint64_t from, uint64_t to, int (*row)(void *, const struct ix_entry *), void *arg) MUST_CHECK; /* by seq */
int index_entry_recent(struct index *ix, uint32_t limit, int (*row)(void *, const struct ix_entry *), void *arg) MUST_CHECK;   /* newest id first; no snapshots, as below */
/* Files of a stream, of numbers from..to, that lie on this disk as they were written and of which nothing is kept: greatest number first, none
 * that are empty. edited: only those of paths that had a version before. */
int index_entry_unkept(struct index *ix, int64_t stream, uint64_t from, uint64_t to, bool edited,
                       int (*row)(void *, const struct ix_entry *), void *arg) MUST_CHECK;
/* Of dir and of all that lies, or once lay, beneath it; newest hlc first. index_entry_deleted: only the winners that are tombstones. Neither tells of
 * snapshots, and of what has removed them. */
int index_entry_beneath(struct index *ix, const char *dir, size_t len, uint32_t limit,
                        int (*row)(void *, const struct ix_entry *), void *arg) MUST_CHECK;
int index_entry_deleted(struct index *ix, const char *dir, size_t len, uint32_t limit,
                        int (*row)(void *, const struct ix_entry *), void *arg) MUST_CHECK;

/* ---- local: what is on this disk, and which entry that is ---- */
struct ix_local { int64_t path, entry; /* entry 0: what is there is no version, but a damaged one (node/check.h) */ struct stamp stamp; bool settled; /* false: racily clean, look again */
    bool apart; /* the content is not what lies there but a kept version: a database that was taken as a snapshot (store/database.h) */ };
int index_local_put(struct index *ix, const struct ix_local *l) MUST_CHECK;
int index_local_get(struct index *ix, int64_t path, struct ix_local *out) MUST_CHECK;
/* By name, in one query. ERR_NOTFOUND: no such path. When nothing of it is on this disk: out->entry is 0, out->stamp ABSENT. */
int index_local_find(struct index *ix, const char *path, size_t len, struct ix_local *out) MUST_CHECK;
int index_local_del(struct index *ix, int64_t path) MUST_CHECK;
int index_local_each(struct index *ix, int (*row)(void *, const struct ix_local *), void *arg) MUST_CHECK;     /* order of path id */
int index_local_after(struct index *ix, int64_t path, int (*row)(void *, const struct ix_local *), void *arg) MUST_CHECK;   /* the same, from behind a path id on */
int index_local_beneath(struct index *ix, const char *dir, size_t len, int (*row)(void *, const struct ix_local *, const char *name, size_t namelen), void *arg) MUST_CHECK;
/* Where the content lies as a file: none that are apart. */
int index_local_by_root(struct index *ix, const struct id *root, int (*row)(void *, const struct ix_local *), void *arg) MUST_CHECK;

/* ---- want: entries that are there, whose content or effect is not on this disk yet ----
 * WANT_INSTALL: the path's winner, to be put in place. WANT_KEEP: a loser that is live: its content goes to kept/. WANT_HIDE: the winner is
 * on disk, and is to make room there for what has the same name in the eyes of the file system; or what is there no longer counts, and
 * nothing takes its place (node/engine_withdraw.c). It goes to kept/, and is not deleted. */
enum want_role { WANT_INSTALL = 1, WANT_KEEP, WANT_HIDE };
struct ix_want { int64_t entry, path, stream; uint64_t seq, size; enum want_role role; enum kind kind; struct id root; };
int index_want_put(struct index *ix, const struct ix_want *w) MUST_CHECK;              /* insert or replace by entry */
int index_want_get(struct index *ix, int64_t entry, struct ix_want *out) MUST_CHECK;
int index_want_del(struct index *ix, int64_t entry) MUST_CHECK;                        /* absent is fine */
int index_want_each(struct index *ix, int64_t after_entry, int (*row)(void *, const struct ix_want *), void *arg) MUST_CHECK;  /* by entry id */
int index_want_by_root(struct index *ix, const struct id *root, int (*row)(void *, const struct ix_want *), void *arg) MUST_CHECK;
int index_want_of_path(struct index *ix, int64_t path, int (*row)(void *, const struct ix_want *), void *arg) MUST_CHECK;
int index_want_min(struct index *ix, int64_t stream, uint64_t *seq) MUST_CHECK;        /* lowest wanted number; ERR_NOTFOUND = none */
int index_want_totals(struct index *ix, uint64_t *n, uint64_t *bytes) MUST_CHECK;
bool index_want_removals(const struct index *ix);                                        /* whether a tombstone is wanted; costs nothing */

/* ---- block lists and where blocks are ---- */
int index_tree_put(struct index *ix, const struct id *root, const uint8_t *refs, uint32_t nblocks) MUST_CHECK; /* also fills the block lookup; present is fine */
int index_tree_get(struct index *ix, const struct id *root, struct buf *refs) MUST_CHECK;
/* Candidates for a block by its id: (root of a file with a list, index in it); the caller verifies. */
int index_block_find(struct index *ix, const struct id *block, int (*row)(void *, const struct id *root, uint32_t idx), void *arg) MUST_CHECK;

/* ---- kept versions: files in kept/, or (name "") contents in packs ---- */
struct ix_kept { int64_t id, path, entry; /* entry 0: content of a local state that never became a version */ struct id root; uint64_t size, kept_ms; const char *name; };
#define KEPT_PART (-1)                           /* its entry: a part of a database, which says nothing by itself */
int index_kept_put(struct index *ix, struct ix_kept *k) MUST_CHECK;                    /* sets k->id */
int index_kept_del(struct index *ix, int64_t id) MUST_CHECK;
int index_kept_by_root(struct index *ix, const struct id *root, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK;
int index_kept_of_path(struct index *ix, int64_t path, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK;
int index_kept_nameless(struct index *ix, int64_t after_id, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK; /* root ID_NONE; by id */
int index_kept_each(struct index *ix, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK;         /* oldest first */

int index_kept_packed(struct index *ix, int64_t id) MUST_CHECK;                         /* its file is not needed any more: name becomes "" */
int index_kept_renew(struct index *ix, const struct id *root, uint64_t kept_ms) MUST_CHECK;   /* this content counts as kept since then, if not later */
/* The contents that a file of kept/ may be taken for: its author may have cut it in another way than we would. */
int index_kept_named(struct index *ix, const char *name, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK;
/* What is packed while its version is still on this disk: its retention has not begun. Greatest id first, below before_id. */
#define KEPT_ALIVE LIMIT_SEQ                     /* its kept_ms: later than any time */
/* A content that is packed so is told of in a short form, if it is of one block and the record of the content lies directly behind that of
 * the block: then kept row and pieces are folded into one row. It is still found as those, until one of them changes: the id of the kept row is below 0, the
 * pieces have number 0. */
int index_kept_fold(struct index *ix, const struct id *root) MUST_CHECK;               /* if it can be */
struct ix_alive { int64_t entry; struct pack_at block, content; };
int index_alive_each(struct index *ix, int64_t after_entry, int (*row)(void *, const struct ix_alive *), void *arg) MUST_CHECK;   /* those, by entry */
int index_kept_alive(struct index *ix, int64_t before_id, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK;
int index_kept_since(struct index *ix, int64_t id, uint64_t kept_ms) MUST_CHECK;        /* its retention begins */
/* Contents of a known path that never became a version, by id; another one may have it all the same. */
int index_kept_strays(struct index *ix, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK;
/* By id: contents that are files, and contents that are packed: folded ones, too, if after_id is below 0. */
int index_kept_files(struct index *ix, int64_t after_id, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK;   /* root known */
int index_kept_in_packs(struct index *ix, int64_t after_id, int (*row)(void *, const struct ix_kept *), void *arg) MUST_CHECK;
/* The entries that have this content, newest id first. */
int index_entry_by_root(struct index *ix, const struct id *root, int (*row)(void *, const struct ix_entry *), void *arg) MUST_CHECK;

/* ---- packs, and the pieces in them: blocks and contents, each at one place ---- */
struct ix_pack { uint64_t pack, size; };
int index_pack_put(struct index *ix, const struct ix_pack *p) MUST_CHECK;              /* insert or replace */
int index_pack_del(struct index *ix, uint64_t pack) MUST_CHECK;                        /* and all its pieces */
int index_pack_each(struct index *ix, int (*row)(void *, const struct ix_pack *), void *arg) MUST_CHECK;       /* by number */
struct ix_piece { int64_t n; enum pack_kind kind; struct id id; struct pack_at at; };
int index_piece_put(struct index *ix, const struct ix_piece *p) MUST_CHECK;            /* insert (n is chosen), or move the one there is */
int index_piece_add(struct index *ix, const struct ix_piece *p) MUST_CHECK;            /* the same, but one that is there stays where it is */
int index_piece_get(struct index *ix, enum pack_kind kind, const struct id *id, struct ix_piece *out) MUST_CHECK;
int index_piece_del(struct index *ix, enum pack_kind kind, const struct id *id) MUST_CHECK;
/* By offset. Those that are folded are looked for among all there are. */
int index_piece_of_pack(struct index *ix, uint64_t pack, bool folded, int (*row)(void *, const struct ix_piece *), void *arg) MUST_CHECK;
/* Greatest n, for bitmaps: pieces that come have greater ones, also when some of these have gone. */
int index_piece_max(struct index *ix, int64_t *n) MUST_CHECK;

/* ---- conflicts: paths with more than one head whose contents differ ---- */
int index_conflict_set(struct index *ix, int64_t path, bool in_conflict) MUST_CHECK;
int index_conflict_is(struct index *ix, int64_t path) MUST_CHECK;     /* 1 or 0 */
int index_conflict_each(struct index *ix, int (*row)(void *, int64_t path), void *arg) MUST_CHECK;
int index_conflict_count(struct index *ix, uint64_t *n) MUST_CHECK;                   /* clashes, too */

/* ---- clashes: a path that cannot be shown, since the file system takes its name for that of another one, which is ---- */
int index_clash_set(struct index *ix, int64_t path, int64_t other) MUST_CHECK;         /* other 0: it does not clash */
int index_clash_get(struct index *ix, int64_t path, int64_t *other) MUST_CHECK;
int index_clash_each(struct index *ix, int (*row)(void *, int64_t path, int64_t other), void *arg) MUST_CHECK;
int index_clash_with(struct index *ix, int64_t other, int (*row)(void *, int64_t path, int64_t other), void *arg) MUST_CHECK;

/* Regular files among the winners, and their bytes. Costs a pass over the table: the caller keeps the figures. */
int index_totals(struct index *ix, uint64_t *files, uint64_t *bytes) MUST_CHECK;

#endif

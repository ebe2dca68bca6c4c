/* engine_priv: the insides of the engine, shared by its files only.
 *   engine.c         life cycle, streams, transactions, sealing of change sets, own vector
 *   engine_state.c   the state of a path: heads, winner, wants, conflicts
 *   engine_clash.c   names that this disk's file system cannot tell apart
 *   engine_author.c  what happens on this disk becomes entries
 *   engine_database.c the same of databases, whose versions may be snapshots
 *   engine_sync.c    vectors and change sets of peers
 *   engine_self.c    doubts about who we are: new incarnations
 *   engine_fork.c    streams with two histories
 *   engine_cut.c     streams of devices that may write no more
 *   engine_withdraw.c what no longer counts of a stream
 *   engine_probe.c   where two histories part
 *   engine_clock.c   clocks that are years wrong
 *   engine_snapshot.c names for vectors, and what was there at one
 *   engine_note.c    what users have done, for the record
 *   engine_forget.c  what is dead and old goes
 *   engine_alone.c   which contents it is on this device to keep
 *   engine_live.c    the live state with its proofs, served and taken
 *   engine_strict.c  files that are read-only while a lock of mode strict holds
 *   engine_saved.c   what the index remembers of locks and ended streams, as bytes
 *   engine_lock.c    what is required of this device, and how far it is
 *   engine_require.c whom it lets win, and what a new one names
 *   engine_lacks.c   what others lack of what would be required */
#ifndef NODE_ENGINE_PRIV_H
#define NODE_ENGINE_PRIV_H

#include <stddef.h>

#include "node/engine.h"
#include "node/sidmap.h"

#define CLOCK_TOLERANCE_MS (10 * 60 * 1000)   /* whatever is dated later than that is not accepted yet */

#define KEY_PARTIAL "partial"
enum { PROBES_MAX = 16 };

struct stream { struct ix_stream row; uint64_t end; };     /* end: where the control log cuts it; UINT64_MAX: nowhere */
struct peer_vec {
    struct id dev;
    struct vec vec;
    bool have, online;               /* have: it has shown vec since we have been running */
    bool present;                    /* not online, and others are in touch with it */
    bool patient;                    /* it has been here since before the last engine_forgive */
    struct vec_req req[LIMIT_REQUIRED]; size_t nreq;     /* where it is with what is required of it */
    bool shown;                      /* it has shown vec, perhaps before: what everybody knows must survive our restarts */
    struct buf unsaved;              /* that vector, when the index has an older one */
    struct sidmap asked;             /* streams that it is being asked for: no other peer is meanwhile */
    struct sidmap refused;           /* streams not to be asked of it until engine_forgive */
    struct sidmap told;              /* streams of which it has been sent the proof of a fork */
    unsigned alarms;                 /* how often it claimed to know more of our stream than we do, and nothing came of it */
};

/* What a rollback brings back. */
struct figures { struct id fp; uint64_t files, bytes, hlc, aged; };

/* The live snapshots, read when somebody asks; and which entries of one path they need. */
struct snapshots { struct snapshot *v; size_t n; bool known; };
struct pins { int64_t path; int64_t *entry; size_t n, cap; };      /* path 0: none */

/* What the index remembers of requirements. held: what this device writes is not shown from `hold` on, nor are streams of its own that
 * are newer than `newest`. */
struct lock_of { uint8_t id[16]; uint32_t state, unused; uint64_t since_ms; };
struct lock_saved { struct lock_of of[LIMIT_REQUIRED]; uint64_t n; uint8_t accepted[16]; uint64_t held; int64_t newest; struct cut hold; };

#define CONFLICTS_TOLD 64u           /* of those that come at once */

struct engine {
    struct engine_config c;
    struct stream **stream; size_t nstream, stream_cap;  /* by id, which grows with every new one */
    struct sidmap by_sid;                                /* the same streams */
    int64_t own;                     /* index id of the own stream of this incarnation; 0 = not begun */
    uint8_t inc[8];
    struct peer_vec *peer; size_t npeer;
    struct figures now, saved;
    uint64_t wall;                   /* when entries were last taken in or written, by this clock */
    struct buf authored;             /* raw entries of this transaction, one behind the other */
    struct { size_t *len; size_t n, cap; } lens;
    uint64_t authored_first, authored_hlc;
    uint64_t ctr;
    struct snapshots snapshots;
    struct pins pins;
    struct lock_saved lock;
    uint8_t merged[16];              /* id of the requirement by which winners were last chosen */
    uint64_t unserved;               /* since when nobody can serve what this device is locked for; 0: somebody can */
    uint8_t hoped_of[16]; uint64_t hoped;    /* when content came last for that requirement, or was waited for first, of those who may not have it */
    uint8_t most_of[16]; uint64_t most;  /* of that requirement: the most entries that were left */
    struct fresh { int64_t path[CONFLICTS_TOLD]; size_t n, sure; } fresh;  /* new conflicts; the first `sure` of them are committed */
    bool strict, strict_ends;
    bool inc_unsaved;                /* the index has another incarnation */
    bool doubt, muted;
    bool partial;                    /* rules of this device alone leave paths out */
    bool changed;                    /* while it might not write, its user has changed what was on its disk */
    bool echoes;                     /* a database at rest was a version that says what one before it said, once */
    bool found;                      /* something has been authored in doubt, once: what is known of old copies matters */
    struct end { struct sid sid; struct id dev; uint64_t end; } *end; size_t nend;   /* streams with two histories; the last number that counts */
    struct sidmap ended;             /* the same; value: the place there, plus one */
    struct split { struct id dev; size_t n; bool told; } *split; size_t nsplit;      /* of which devices they are; said in engine_next_distrusted */
    struct probe { struct sid sid; struct id dev; uint64_t from, step; bool moved; } probe[PROBES_MAX]; size_t nprobe;
};

/* engine.c; a stream stays where it is until engine_reload */
struct stream *engine_stream(struct engine *e, int64_t id);
struct stream *engine_stream_by_sid(struct engine *e, const struct sid *sid);
int  engine_stream_add(struct engine *e, const struct id *dev, const uint8_t inc[static 8], struct stream **out) MUST_CHECK;
int  engine_own_stream(struct engine *e, struct stream **out) MUST_CHECK;   /* begins one when there is none */
int  engine_reload(struct engine *e) MUST_CHECK;
/* A small value of the index; left as it is when it is not there yet. */
int  engine_load_value(struct engine *e, const char *key, void *out, size_t len) MUST_CHECK;

/* engine_self.c */
void engine_begin_incarnation(struct engine *e);
/* A peer that knows more of our stream than we do has seen a future of ours that we lost: we must not write those numbers again. */
void engine_notice_rollback(struct engine *e, const struct vec *v);
int  self_load(struct engine *e) MUST_CHECK;
int  self_remember(struct engine *e, const char *key, bool *it) MUST_CHECK;     /* sets *it, for good: there is a value of that key then */
bool self_is_partial(const struct engine *e);          /* it may lack contents that its vector says it wants no more */
int  self_found(struct engine *e) MUST_CHECK;          /* something is being authored in doubt */
/* After news of the path. What this device found in doubt, before it had heard of it, may be an old copy of a version that had been deleted or
 * changed since: then it ends, as that one did. */
int  self_recognize(struct engine *e, int64_t path, uint64_t wall_ms) MUST_CHECK;
void engine_regained(struct engine *e, const struct header *h);             /* entries of our own that we had lost came back */

/* engine_database.c */
int  database_load(struct engine *e) MUST_CHECK;
/* After news of the path. A database that was closed, and has said nothing since its last snapshot, is as that one: who has deleted it
 * without knowing of the file at rest has deleted that, too. */
int  database_recognize(struct engine *e, int64_t path, uint64_t wall_ms) MUST_CHECK;
struct vers;
/* These are the heads of the path now: what is remembered for that of one that is none any more is forgotten. */
int  database_heads(struct engine *e, int64_t path, struct vers *const *head, size_t n) MUST_CHECK;

/* engine_fork.c */
uint64_t fork_end(const struct engine *e, const struct sid *sid);    /* the last number that counts; UINT64_MAX: no end */
bool fork_distrusts(const struct engine *e, const struct id *dev);   /* so many of its streams have two histories that no more of them end */
bool fork_refuses(const struct engine *e, const struct sid *sid, const struct id *dev);   /* so this one does not */
int  fork_load(struct engine *e) MUST_CHECK;
void fork_release(struct engine *e);
/* The stream of h ends before h. 1 = from now on, 0 = it has before; ERR_DENIED: fork_refuses. */
int  fork_end_stream(struct engine *e, const struct header *h, const struct buf *proof, uint64_t wall_ms) MUST_CHECK;
bool fork_is_proof(const struct header *x, const struct header *y);  /* the first headers that differ */
/* Our header that covers number `at`, or found = false. */
struct tip { struct id hash; bool found; struct buf rec; uint8_t sig[SIG_LEN]; uint64_t first; };
int  fork_header_at(struct engine *e, const struct stream *s, uint64_t at, struct tip *t) MUST_CHECK;
int  tip_take(void *tip, const struct ix_header *h);
void tip_release(struct tip *t);

/* engine_cut.c */
uint64_t engine_end(const struct engine *e, const struct sid *sid);  /* the last number that counts, by fork_end and by cuts; UINT64_MAX: no end */
bool engine_belongs(const struct engine *e);     /* this device is a member, and was not revoked */
int  cut_measure(struct engine *e, struct stream *s) MUST_CHECK;       /* sets s->end */
bool cut_allows(struct engine *e, const struct header *h);           /* its device might write this change set, says the control log */
bool cut_vouches(struct engine *e, const struct stream *s);          /* our history of the stream is the one that its cut names */

/* engine_withdraw.c: s counts up to `end`, where a change set ends, and no longer beyond. again: what was live beyond, and whose content is
 * here, is signed again. OVER: superseding what it takes the place of, should that count again. */
enum renewal { AGAIN_NOTHING, AGAIN_BESIDE, AGAIN_OVER };
int  withdraw_beyond(struct engine *e, struct stream *s, uint64_t end, enum renewal again, uint64_t wall_ms) MUST_CHECK;
/* What was withdrawn of the stream and is of another history than what comes now is put apart: to be read, and never to count. */
int  withdrawn_make_way(struct engine *e, struct stream *s) MUST_CHECK;
/* What is seen on this disk is what was put there as that entry, which no longer counts: no edit. */
int  withdrawn_same(struct engine *e, int64_t entry, const struct entry *seen, bool *same) MUST_CHECK;

/* engine_probe.c */
struct probe *probe_find(struct engine *e, const struct sid *sid);
void probe_forget(struct engine *e, const struct id *dev);           /* it is not there any more */
void probe_forgive(struct engine *e);                                /* whoever has not led further is not asked any more */
void probe_suspect(struct engine *e, const struct vec *v);           /* the same numbers, another last header? */
/* A change set against what we have of its stream: 0 = no contradiction; 1 = there was one, and it has been proved or is being looked
 * for; 2 = it is looked for already, and this one says no more. */
int  probe_compare(struct engine *e, const struct id *from, const struct cs *cs, const struct header *h, uint64_t wall_ms) MUST_CHECK;

/* What is put away while our clock is behind is not old once it is right. */
static inline uint64_t clock_at_least_aged(const struct engine *e, uint64_t wall_ms) { return wall_ms > e->now.aged ? wall_ms : e->now.aged; }

/* engine_sync.c; valid until the next one is added */
struct peer_vec *engine_peer_find(struct engine *e, const struct id *dev);
/* A verified vector of its device, or told by somebody else and found to say more than what is here (engine_far.c); what it says is taken if it is
 * of a member and no older one of the same start, and is v's no more then. 1 = news. */
int  engine_put_vector(struct engine *e, struct vec *v, const void *blob, size_t len, bool told) MUST_CHECK;
struct peer_vec *engine_peer(struct engine *e, const struct id *dev);

/* engine_forget.c */
int  forget_load_vectors(struct engine *e) MUST_CHECK;
void forget_note_vector(struct peer_vec *p, const struct vec *v, const void *blob, size_t len);   /* before it takes the place of p->vec */

/* engine_strict.c */
struct versions;
int  strict_load(struct engine *e) MUST_CHECK;
bool strict_is_mode(const struct engine *e, uint32_t mode, const struct entry *ent);  /* a file with that mode has that of the version */
/* The mode of the version that a file with that mode shows: its own, unless strict took its write bits. on_disk: the entry on record. */
uint32_t strict_shown(const struct engine *e, uint32_t mode, const struct versions *vs, int64_t on_disk);

/* engine_require.c */
int  engine_load_winners(struct engine *e) MUST_CHECK;
/* The latest requirement of all decides which versions win. Due: it is another one than when they were last chosen. Choosing is part of the
 * caller's transaction; they are chosen when it is committed. */
bool engine_winners_due(const struct engine *e);
int  engine_choose_winners(struct engine *e) MUST_CHECK;
void engine_winners_chosen(struct engine *e);

/* engine_saved.c; ERR_CORRUPT */
#define SAVED_LOCK_MAX 4096u
#define SAVED_ENDS_MAX (16u << 20)
void saved_lock_put(struct buf *out, const struct lock_saved *s);
int  saved_lock_get(const struct buf *b, struct lock_saved *out) MUST_CHECK;
void saved_ends_put(struct buf *out, const struct end *end, size_t n);
int  saved_ends_each(const struct buf *b, void (*take)(struct engine *e, const struct end *t), struct engine *e) MUST_CHECK;

/* engine_lock.c */
uint64_t engine_content_here(struct engine *e, const struct sid *sid);                 /* up to where the contents of a stream are here */
int  lock_load(struct engine *e) MUST_CHECK;
uint64_t lock_shown(const struct engine *e, const struct ix_stream *row);             /* up to where a stream is shown to others */
const struct id *lock_shown_tip(const struct engine *e, const struct ix_stream *row); /* the hash of its last header that is */
uint32_t lock_reqs(const struct engine *e, struct buf *out);                          /* for the own vector; their number */
bool lock_note_reqs(struct peer_vec *p, const struct vec *v);                         /* whether they are others than before */
bool lock_peer_holds(const struct peer_vec *p);      /* so its fingerprint is that of more than it shows */

/* engine_sync.c: everything that the vector names is here, as far as it counts and is waited for. */
bool engine_have_all_in(struct engine *e, const struct vec *v);

/* engine_versions.c: the versions of one path, decoded */
struct vers { struct ix_entry row; struct entry ent; uint8_t *raw; };
struct versions { struct vers *v; size_t n, cap; struct engine *e; bool all, others; };     /* others: there are some that do not count */
/* What a stream with two histories has beyond their last common header is in the index, but does not count. */
bool versions_counts(const struct engine *e, const struct stream *s, const struct ix_entry *row);
int  versions_load(struct engine *e, int64_t path, struct versions *out) MUST_CHECK;
int  versions_load_all(struct engine *e, int64_t path, struct versions *out) MUST_CHECK;   /* also those that no longer count */
void versions_release(struct versions *vs);
struct vers *versions_find(struct versions *vs, int64_t entry);
/* Those that no other one supersedes; none: they supersede each other in a circle. With room for one. The same in both arrays; they point
 * into vs. */
struct heads { const struct version **v; struct vers **of; size_t n; };
struct heads versions_heads(struct versions *vs);
void heads_release(struct heads *h);
static inline struct vers *vers_of(const struct version *v)
{
    return (struct vers *)((char *)(uintptr_t)v - offsetof(struct vers, ent.v));
}

/* engine_state.c. Brings live flags, winner, wants, conflict flag and figures of the path up to date. */
int  state_update(struct engine *e, int64_t path) MUST_CHECK;
/* The same for an entry that is all there is of a path: nothing else is on record about it but, on_disk, that it lies there. */
int  state_first(struct engine *e, const struct ix_entry *only, const struct bytes *name, bool on_disk) MUST_CHECK;
/* An entry no longer counts: neither live, nor winner, nor wanted. state_update of its path is the caller's. */
int  state_withdraw(struct engine *e, int64_t entry) MUST_CHECK;
/* Something has left `path`: a directory around it that outlived its own deletion because of it may go now, too, and
 * a name that was hidden behind it can be shown. */
int  state_left(struct engine *e, int64_t path) MUST_CHECK;
/* Whether a version that is not on disk at its path has content that this device has not kept. */
int  state_needs_keep(struct engine *e, const struct vers *v, bool *needs) MUST_CHECK;
/* engine_clash.c: what was at `other` is no longer on this disk: the names that were hidden behind it are wanted there again. */
int  clash_over(struct engine *e, int64_t other) MUST_CHECK;
/* One more head, or one less. */
void engine_fp_toggle(struct engine *e, enum kind kind, const struct dot *d);
/* Stores a decoded entry of stream s as number e->v.dot.seq; state_update is the caller's. *row: as it was stored, valid as long as raw is. */
int  state_put(struct engine *e, const struct stream *s, const struct entry *ent, struct bytes raw, int64_t path, struct ix_entry *row) MUST_CHECK;

/* engine_author.c: numbers, encodes and stores one entry; its change set is sealed at the commit. state_update is the caller's. */
int  author(struct engine *e, struct entry *ent, int64_t path, uint64_t wall_ms, int64_t *id) MUST_CHECK;
/* engine_seen, but what it authors has that hlc, or one of now if it is 0. */
int  seen_dated(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
                bool settled, uint64_t dated, uint64_t wall_ms) MUST_CHECK;
/* The deletion of that version of the path, and of nothing else; `heads` are those of the path. */
int  author_end(struct engine *e, const struct entry *of, int64_t path, const struct version **heads, size_t n, uint64_t wall_ms) MUST_CHECK;
uint64_t engine_dated_by_file(int64_t mtime_ns);       /* the hlc of what is found by somebody who does not know when it was written */
int  engine_heads_of(struct engine *e, int64_t path, const struct sid *sid, struct dots *out) MUST_CHECK;    /* the heads of the path that are of that stream */
int  engine_own_heads(struct engine *e, int64_t path, struct dots *own) MUST_CHECK;
/* In the place of a version that no longer counts, and superseding what that one did and, if it is said so, that one itself; `own` are the own
 * heads of its path, of which it is one then, and those of its stream if it supersedes itself. */
int  engine_write_again(struct engine *e, const struct vers *was, struct dots *own, bool itself, uint64_t wall_ms, int64_t *id) MUST_CHECK;
bool have_seen(void *engine, const struct dot *d);     /* for merge_context_all */
bool may_write(const struct engine *e);                /* engine_self.c: this device, by its role and while it has no twin */
/* What a reader has done to its copy is no version. It stays until another one is to come: then what is there now (or nothing) is put on
 * record, of no known content, so that it is displaced, and kept; else the reader would never get that path's versions again. */
int  self_yield(struct engine *e, int64_t path, const struct stamp *st, bool settled) MUST_CHECK;

/* engine_snapshot.c: an entry was put at that path, or all may be different after a rollback (path NULL). */
void snapshots_changed(struct engine *e, const struct bytes *path);
void snapshots_release(struct engine *e);
/* How many of a device's snapshots we may sign again as our own. */
int  snapshots_room(struct engine *e, const struct id *dev, size_t *room) MUST_CHECK;
/* The versions that the vector covers, heads first; the number of heads. Those that supersede each other in a circle are all heads. */
size_t snapshot_heads(struct versions *vs, const struct dots *vector, const struct version **out);

#endif

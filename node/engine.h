/* engine: decides. It knows what this device and its peers know (the index), is fed facts, and answers what follows from them. It
 * does no I/O but the index, has no clock (times are arguments), no threads, no sockets: so hundreds of engines can run in one
 * process under a simulated network, and a run can be repeated exactly.
 *
 * Facts come in:                                      Answers go out:
 *   engine_seen, engine_gone      a look at the disk     engine_own_vector     what to publish
 *   engine_vector                 a peer's vector        engine_next_fetch     which change sets to ask of whom
 *   engine_change_sets            a peer's change sets   engine_sources        who should have a version's content
 *   engine_installed, ..._kept    work that was done     the index's want rows what is to be put on disk
 *   engine_online                 a peer comes or goes   engine_in_sync        who has everything
 *
 * Writes: every fact that changes the index is given between engine_begin and engine_commit. Entries authored in between are signed
 * as change sets at the commit; after it returned 0 they are durable and may be announced. On failure: engine_rollback, and the
 * engine is as before engine_begin.
 *
 * Invariants: a stream number is used once (committed before it is announced); the live state is a function of the set of valid
 * entries; winner and wants of a path are brought up to date in the transaction that changes its entries. */
#ifndef NODE_ENGINE_H
#define NODE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/group.h"
#include "proto/keys.h"
#include "proto/msg.h"
#include "proto/note.h"
#include "store/content.h"
#include "store/index.h"

struct engine;

/* Borrows all pointers for its life. inst: 8 random bytes of this start. */
struct engine_config {
    struct index *index;
    const struct group *group;
    const struct device_keys *keys;
    uint8_t inst[8];
};
int  engine_new(const struct engine_config *c, struct engine **out) MUST_CHECK;
void engine_free(struct engine **e);

int  engine_begin(struct engine *e) MUST_CHECK;
int  engine_commit(struct engine *e, uint64_t wall_ms) MUST_CHECK;
void engine_rollback(struct engine *e);

/* ---- who we are ---- */
/* Continuity is in doubt: the index is new, or older than the disk, or the disk older than the index. A new incarnation begins, and what
 * is on disk counts as not looked at: so nothing that is missing is taken for a deletion, and what is there wins by the time of its
 * last change, not as if it had been written now (until engine_sure). In a transaction. */
int  engine_doubt(struct engine *e) MUST_CHECK;
void engine_sure(struct engine *e);                       /* everything has been looked at since */
/* Somebody else runs with our keys: nothing is authored (ERR_DENIED when asked to) until engine_unmute, which begins a new
 * incarnation, since the other one may have used our next numbers. */
void engine_mute(struct engine *e);
void engine_unmute(struct engine *e);

/* ---- the disk ---- */
/* A stable look at a path: what it is and its content (files: content; symlinks: inline target; directories: NULL). Becomes a new
 * entry unless it is what we already know to be there; content equal to a head of the path adopts that head instead, and just what a
 * version says that was not on this disk before is taken for an install that a crash left unrecorded.
 * Returns 1 when it authored an entry, 0 when not. settled as in ix_local. */
int engine_seen(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
                bool settled, uint64_t wall_ms) MUST_CHECK;
/* The same for a database. Its times say little, since closing it sets them: of what was apart before only the content counts. kept: the name
 * of the kept file that has this content, for it is not what lies at the path; NULL: not needed, it is kept already. says: the
 * snapshot that says the same as this file at rest; 0: none. *used: whether it is on record now; if not (a reader's edit counts for
 * nothing), the kept file may go. */
struct database_seen { bool apart; const char *kept; int64_t says; };
int engine_seen_database(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
                         bool settled, const struct database_seen *how, bool *used, uint64_t wall_ms) MUST_CHECK;
/* A path that was on disk is gone for sure. 1 when it authored a tombstone. */
int engine_gone(struct engine *e, const char *path, size_t len, uint64_t wall_ms) MUST_CHECK;
/* A path that this disk ignores is no longer on it: nobody else hears of that. Should it not be ignored one day, it comes back. */
int engine_forget(struct engine *e, const char *path, size_t len) MUST_CHECK;
/* A kept file of that path has a content that no version names, since the index was lost that knew of it. It becomes a version as of its
 * time, and so does its end: it is in the history, and neither on a disk nor in conflict. 1 and *entry, or 0: nothing may be written. */
int engine_found(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
                 int64_t *entry, uint64_t wall_ms) MUST_CHECK;
/* Something lives beneath `path`, but a file or link has won there: makes a directory that supersedes nothing. It wins everywhere, and the
 * file waits as a conflict. `mode` unless the disk shows a directory. 1 when it authored one, 0 when there is no need. */
int engine_shelter(struct engine *e, const char *path, size_t len, uint32_t mode, uint64_t wall_ms) MUST_CHECK;
/* A new version that settles a conflict: survivor = entry id of one of the heads. */
int engine_resolve(struct engine *e, int64_t path, int64_t survivor, uint64_t wall_ms) MUST_CHECK;

/* The path of a conflict that is new since the last call; false: none. Of many at once 64 are told of. path: at least LIMIT_PATH. */
bool engine_next_conflict(struct engine *e, struct buf *path);

/* ---- the control log ---- */
/* To be called when it has changed, and at the start. What devices that may write no more have written beyond their cuts (proto/group.h)
 * does not count from now on, and what lies on the disk of it is wanted away; what counts again, since the cut has lost against another
 * chain, is there as before. Of itself a device withdraws what it then signs again, if it may. One that is revoked leaves all as it is. In
 * a transaction in which nothing has been authored. Returns the number of streams that count less or more. */
int engine_cuts(struct engine *e, uint64_t wall_ms) MUST_CHECK;

/* ---- peers ---- */
/* A signed vector. 1 = news, 0 = known or older. Refused when its device is no member or its signature is wrong; and, with `dev`, when it
 * is not that device's in the start `inst` (8 bytes) of it, so that nobody can bring up an old one again. */
int  engine_vector(struct engine *e, const void *blob, size_t len, const struct id *dev, const uint8_t *inst) MUST_CHECK;
/* The same, of `dev`, told by somebody else: who is online speaks for himself, of two starts of a device the later one counts, and none is
 * taken that is dated more than 10 minutes ahead: it would outlive all that come. */
int  engine_vector_told(struct engine *e, const void *blob, size_t len, const struct id *dev, uint64_t wall_ms) MUST_CHECK;
void engine_online(struct engine *e, const struct id *dev, bool online);
/* A device that is not online here is in touch with others (node/far.h): it can help, though nothing is asked of it from here. */
void engine_present(struct engine *e, const struct id *dev, bool present);
/* What that device has and this one has not, entries and with `contents` contents, whether others have it who are online or not. Of contents
 * those do not count who may have left them out. */
enum far_lack { LACK_NOTHING, LACK_SOME, LACK_ALL };     /* all: nobody online has some of it */
enum far_lack engine_lacks_far(struct engine *e, const struct id *dev, bool contents);
/* The body of a CS message, asked of `from` through engine_next_fetch. Returns the number of entries taken. A change set that is wrong, or
 * cannot be taken now (its author or an earlier one is not known, its clock is ahead), is refused by itself, and its stream is not asked
 * of `from` again until engine_forgive; if nothing else was taken the result says why: ERR_BAD, ERR_DENIED, ERR_AGAIN.
 * ERR_BAD also when the body itself is malformed. ERR_IO, ERR_FULL: roll back. */
int  engine_change_sets(struct engine *e, const struct id *from, const void *body, size_t len, uint64_t wall_ms) MUST_CHECK;
void engine_forgive(struct engine *e);
/* A proof that a stream has two histories (the body of a FORK message). 1 = it ends where they part, from now on; 0 = known. In a
 * transaction, in which what was live of it beyond is signed again. engine_change_sets finds such proofs by itself. */
int  engine_fork(struct engine *e, const void *body, size_t len, uint64_t wall_ms) MUST_CHECK;
/* Whom to send a proof that he seems not to have: false when nobody. Each is told once, until engine_forgive. body: at least LIMIT_HEAD. */
bool engine_next_fork(struct engine *e, struct id *dev, struct buf *body);
/* A device of which so many streams have two histories that its further ones are refused: true once for each. */
bool engine_next_distrusted(struct engine *e, struct id *dev);
/* Our clock may have been years ahead: what we dated later than 10 minutes from now is accepted by nobody. It is taken back, and signed
 * again with the time of now, once most peers online have our time, one of whom lacks it (else it may be now that our clock is wrong). The number of streams that end so: usually 0. In a transaction. ERR_AGAIN: roll back, and ask again. */
int  engine_clock(struct engine *e, uint64_t wall_ms) MUST_CHECK;
bool engine_is_ahead(const struct engine *e, uint64_t wall_ms);      /* whether engine_clock would look: no need to begin one else */
/* By how many milliseconds our clock differs from those of most peers online, if by more than 10 minutes; else 0. */
uint64_t engine_clock_off(const struct engine *e, uint64_t wall_ms);
/* The time by which the age of what is kept is told, in ms since 1970; 0: not known yet. One wrong look at a clock is to make nothing old, so
 * it follows the clock at once only while most peers online have our time, not at all while they have another one, and at most RUN_AGES
 * times as fast as this device runs while nobody is there. run_ms: how long it has run since the last call. In a transaction. */
void engine_age(struct engine *e, uint64_t wall_ms, uint64_t run_ms);
uint64_t engine_aged(const struct engine *e);
/* What to ask of whom next: false when nothing. A stream is asked of one peer at a time: engine_fetch_done ends that. */
struct fetch { struct id dev; uint32_t n; struct msg_range range[MSG_RANGES]; };
bool engine_next_fetch(struct engine *e, struct fetch *out);
void engine_fetch_done(struct engine *e, const struct id *dev);
/* The same, but nothing useful came: others are asked for those streams, until engine_forgive. */
void engine_fetch_failed(struct engine *e, const struct id *dev);
/* Body of a CS reply for these ranges: whole change sets, at most `credit` and LIMIT_CS_REPLY bytes unless the first alone is longer. */
int  engine_serve_cs(struct engine *e, const struct msg_range *r, uint32_t n, uint64_t credit, struct buf *body) MUST_CHECK;

/* ---- work done ---- */
/* The wanted entry is on disk: st as read back; kind ABSENT after a removal. */
int engine_installed(struct engine *e, int64_t entry, const struct stamp *st, bool settled) MUST_CHECK;
/* A kept file now holds the content of `entry` (or 0) of that path. Ends a WANT_KEEP of it. */
int engine_kept(struct engine *e, int64_t path, int64_t entry, const struct id *root, uint64_t size, const char *name,
                uint64_t wall_ms) MUST_CHECK;

/* The wanted entry cannot be put in place: the file system takes `name`, its path or that of a directory above it, for that of `other`,
 * which is there. One of the two is hidden (index_clash_*): a file that is there when it loses, else the wanted one, whose content is kept
 * only. That ends when the other one leaves this disk, or there is news of the path; engine_clashes_again tries all of them. */
int  engine_clash(struct engine *e, int64_t entry, const struct bytes *name, const struct bytes *other) MUST_CHECK;
int  engine_clashes_again(struct engine *e) MUST_CHECK;

/* The ignore rules that hold, by their hash. When they are not those on record, what should be on this disk and is neither there nor wanted
 * is wanted again: they may have changed while the node was down. own: some of them are of this device alone; its vector says so, for then it
 * may lack what it does not want any more. In a transaction. */
int  engine_rules(struct engine *e, const struct id *hash, bool own) MUST_CHECK;

/* ---- snapshots: names for what this device knew at a moment (docs/PROTOCOL.md "Snapshots"). They travel like any entry ---- */
struct snapshot {
    char name[LIMIT_SNAPSHOT_NAME + 1];
    int64_t entry;
    struct id dev;                   /* who made it */
    uint64_t time_ms;                /* when */
    bool current;                    /* false: another device made one of that name without knowing of this, and later */
    struct dots vector;
};
/* ERR_BAD: no such name is allowed. ERR_EXISTS. ERR_FULL: more than LIMIT_SNAPSHOTS of this device, or a vector longer than LIMIT_CTX. */
int  engine_snapshot_create(struct engine *e, const char *name, uint64_t wall_ms) MUST_CHECK;
int  engine_snapshot_remove(struct engine *e, const char *name, uint64_t wall_ms) MUST_CHECK;   /* ERR_NOTFOUND */
/* All of them by name, of one name the current first; valid until something is written. */
int  engine_snapshots(struct engine *e, const struct snapshot **out, size_t *n) MUST_CHECK;
/* Whether every entry that the vector names is known here. */
bool engine_covers(struct engine *e, const struct dots *vector);
/* Whether anything but snapshots and notes is known here beyond the vector. */
int  engine_changed_since(struct engine *e, const struct dots *vector, bool *changed) MUST_CHECK;
bool engine_is_own(const struct engine *e, const struct id *dev);     /* this device */
/* The winner of a path among its entries that a vector covers, for n vectors at once: out[i].id is 0 where there was none. Without raw. */
int  engine_state_at(struct engine *e, int64_t path, const struct dots *const *vector, size_t n, struct ix_entry *out) MUST_CHECK;
/* Whether a snapshot needs the content of this entry: it is a head when only what the snapshot covers is looked at. Quick for many
 * entries of one path in a row. */
int  engine_pinned(struct engine *e, int64_t entry, bool *pinned) MUST_CHECK;
/* A new version of the path that is as `entry` was (0: deleted), and supersedes all its present versions. */
int  engine_restore(struct engine *e, int64_t path, int64_t entry, uint64_t wall_ms) MUST_CHECK;

/* The same as a version of another path, at which nothing lives: ERR_EXISTS. */
int  engine_copy(struct engine *e, const char *path, size_t len, int64_t entry, uint64_t wall_ms) MUST_CHECK;

/* ---- notes: what users have done, for the record (proto/note.h; docs/PROTOCOL.md "Notes"). They travel like any entry ---- */
/* In a transaction, best in that of what it tells of. 0 also when this device may not write: then nobody hears of it. */
int  engine_note(struct engine *e, const struct note *note, uint64_t wall_ms) MUST_CHECK;
struct told { const struct id *dev; struct dot dot; uint64_t hlc; struct note note; };
/* All that are known, in no order. A callback that returns anything but 0 ends it with that. */
int  engine_notes(struct engine *e, int (*tell)(void *arg, const struct told *n), void *arg) MUST_CHECK;

/* ---- forgetting (docs/PROTOCOL.md "Forgetting") ---- */
/* Forgets of up to 1000 paths behind *path what ended before that time, as every member is known to know, and nothing holds any more:
 * versions that others superseded and whose content is not kept, and deletions. In a transaction in which nothing is authored. *path: 0 at
 * first, and again when all have been looked at. *entries: how many went. */
int  engine_forget_old(struct engine *e, uint64_t before_ms, int64_t *path, uint64_t *entries) MUST_CHECK;
/* Before that time it is not known what there was: when the last of all that was forgotten had ended. 0: nothing has been. */
int  engine_forgotten_ms(struct engine *e, uint64_t *ms) MUST_CHECK;
/* The vectors that members have shown, for the next start: deletions go only when all members know them. */
bool engine_vectors_unsaved(const struct engine *e);
int  engine_save_vectors(struct engine *e) MUST_CHECK;

/* ---- the live state, with proofs (docs/PROTOCOL.md "The audit") ---- */
/* The next peer online that knows just the entries that we know and yet shows another live state: then one of us was told that something
 * is dead that is not, or has gone back. The fingerprints of both. *at: 0 at first; false when there are no more. */
struct differing { struct id dev, theirs, ours; };
bool engine_next_differing(struct engine *e, size_t *at, struct differing *out);
/* Body of a LIVE reply: the heads of paths from <= p < to (empty: no bound) whose rows come behind `cursor`, at most 256 KiB unless the
 * first alone is longer. *next: the cursor for what follows, 0 at the end. */
int  engine_serve_live(struct engine *e, const struct bytes *from, const struct bytes *to, uint64_t cursor, uint64_t *next,
                       struct buf *body) MUST_CHECK;
/* The body of a LIVE message. In a transaction. restored: entries that others had said to be dead; deleted: tombstones that are written
 * again. ERR_BAD: something in it is not genuine; roll back. */
struct live_found { uint64_t items, restored, deleted; };
int  engine_take_live(struct engine *e, const void *body, size_t len, uint64_t wall_ms, struct live_found *found) MUST_CHECK;

/* ---- a required version (docs/PROTOCOL.md "A required version") ---- */
/* Where a device is with what is required of it. The numbers go over the wire. */
enum lock_state {
    LOCK_NONE,          /* nothing is required, or no more */
    LOCK_REACHED,       /* it has had all of it, once */
    LOCK_LOCKED,        /* it is getting what it lacks */
    LOCK_WAITS,         /* as LOCKED, but it gets nothing before its user has accepted */
    LOCK_BEHIND,        /* it lacks something, and no device online has it, or a later one counts: not locked */
    LOCK_OVERRIDDEN,    /* its user went on without */
};
static inline bool lock_state_holds(enum lock_state s) { return s == LOCK_LOCKED || s == LOCK_WAITS; }      /* the user must not work on */
struct engine_lock {
    enum lock_state state; uint64_t since_ms;
    const struct requirement *what;      /* the latest for this device, be it over; NULL: none */
    uint64_t done, total;                /* entries, while locked */
};
int  engine_lock(struct engine *e, struct engine_lock *out) MUST_CHECK;
/* Chooses winners anew when the latest requirement of all is another one, and finds the state anew: to be asked at the start, after the
 * control log has grown, when vectors, peers or contents have come or gone, and now and then. now: a clock that never jumps, in ms. 1: there
 * is news. While it is LOCKED or WAITS, what this device writes is not shown to others. Not in a transaction. */
int  engine_lock_look(struct engine *e, uint64_t wall_ms, uint64_t now) MUST_CHECK;
/* Each entry that is required of this device, known here and not on its disk. What a callback returns but 0 ends it with that. */
int  engine_lock_each(struct engine *e, int (*fn)(void *arg, const struct ix_want *w), void *arg) MUST_CHECK;
/* Contents come: who has left out some of what is required may have this. */
void engine_lock_progress(struct engine *e, uint64_t now);
int  engine_lock_accept(struct engine *e, uint64_t wall_ms) MUST_CHECK;       /* ERR_NOTFOUND: it does not wait; engine_lock_look is the caller's */
int  engine_lock_override(struct engine *e, uint64_t wall_ms) MUST_CHECK;     /* ERR_NOTFOUND: it is not locked */
/* Mode strict (node/strict.h): while it is on, a file whose mode is that of a version but for the write bits has that version's mode, and a
 * version is put in place without them. Durable when it returns. */
bool engine_strict(const struct engine *e);
/* Files get their modes back: what is put in place from now on has its own. Until the word in the index goes, both modes are the version's. */
void engine_strict_ends(struct engine *e, bool ends);
int  engine_set_strict(struct engine *e, bool on, uint64_t wall_ms) MUST_CHECK;
uint32_t engine_disk_mode(const struct engine *e, const struct entry *ent);   /* what its file is to have on this disk now */
/* Whether the file of that row is to get another mode for it to be on, or off again: 1 and *mode, or 0. */
int  engine_strict_row(struct engine *e, const struct ix_local *l, bool on, uint32_t *mode) MUST_CHECK;
/* What this device has now, as cuts: what a REQUIRE of it names. ERR_FULL: in too many streams for a record. */
int  engine_required_min(struct engine *e, struct buf *cuts) MUST_CHECK;
/* Whether receipts of it can be made: false once one of its streams has ended before the number that it names. */
bool engine_provable(const struct engine *e, const struct required *q);
/* What devices lack of such cuts, as their last vectors say: live entries, and the bytes of the files among them (at most: blocks that a
 * device has already are not sent to it). known: it has shown a vector. behind: it lacks something, be it not live any more. */
struct lacks { struct id dev; bool known, behind; uint64_t entries, bytes; };
int  engine_lacks(struct engine *e, const struct bytes *cuts, struct lacks *of, size_t n) MUST_CHECK;     /* dev is given */
bool engine_holds_back(const struct engine *e);
bool engine_shows(struct engine *e, int64_t stream, uint64_t seq);            /* others may hear of this entry: it counts, and is not held back */
/* Whether it may be done on this disk now. A locked device gets what is required, and what may have to make room for it. */
bool engine_lock_allows(struct engine *e, const struct ix_want *w);
/* The same of any device, as its last vector says. false: it has shown none yet. */
struct peer_lock { enum lock_state state; uint64_t since_ms; bool partial; };   /* partial: rules of its own leave files out, of what is required too */
bool engine_lock_of(struct engine *e, const struct required *q, const struct id *dev, struct peer_lock *out);

/* ---- questions ---- */
int  engine_own_vector(struct engine *e, uint64_t wall_ms, uint16_t port, struct buf *blob) MUST_CHECK;
uint64_t engine_own_ctr(const struct engine *e);          /* the number of the newest one */
/* Devices online whose vector says of the content of (stream, seq) that they have it; that they know its entry, or have it; that they have
 * not got it; that they know the entry and have not got it. Who leaves out paths by rules of its own may know, and neither has nor lacks. */
enum engine_source { ENGINE_HAS, ENGINE_KNOWS, ENGINE_LACKS, ENGINE_LACKS_KNOWN };
size_t engine_sources(struct engine *e, int64_t stream, uint64_t seq, enum engine_source what, struct id *dev, size_t max);
/* Of each version one device is in charge, that is to keep its content whatever all users do to their copies: its author; of a device that is a
 * member no more, the one with the smallest id of those that have said to have it (by their last vectors, online or not). engine_charge:
 * numbers that this device is in charge of, of own streams, or of those that devices have left that are gone; the newest stream first, at
 * most max. engine_elsewhere: whether another member has said to have the content of (stream, seq) now. Who leaves out paths by rules of its
 * own is not believed. */
struct own_range { int64_t stream; uint64_t from, to; };
size_t engine_charge(struct engine *e, bool own, struct own_range *v, size_t max);
bool engine_in_charge(struct engine *e, int64_t stream, uint64_t seq);
bool engine_elsewhere(struct engine *e, int64_t stream, uint64_t seq);
/* We have everything they have / they have everything we have, as far as their last vector says. */
bool engine_have_all_of(struct engine *e, const struct id *dev);
bool engine_has_all_of_us(struct engine *e, const struct id *dev);
/* What a peer lacks of what we know: entries, as a rough count. */
uint64_t engine_missing_at(struct engine *e, const struct id *dev);
const struct vec *engine_vector_of(struct engine *e, const struct id *dev);     /* its last one, until the next comes; NULL: none yet */
uint64_t engine_known_of(struct engine *e, const struct sid *sid);
void engine_totals(const struct engine *e, uint64_t *files, uint64_t *bytes);
uint64_t engine_entries_known(const struct engine *e);    /* those that were forgotten included */
/* Decodes an entry row; `raw` keeps its bytes. Then *out must be released. */
int  engine_entry(struct engine *e, int64_t id, struct buf *raw, struct entry *out, struct ix_entry *row) MUST_CHECK;
const struct id *engine_stream_dev(struct engine *e, int64_t stream);    /* who writes it */
const struct sid *engine_stream_sid(struct engine *e, int64_t stream);   /* of a row of the index: it is known */
const struct sid *engine_own_sid(const struct engine *e);

#endif

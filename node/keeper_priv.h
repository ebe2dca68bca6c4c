/* keeper_priv: the insides of keeper.
 *   keeper.c         passes and their steps, files that are not needed any more, figures
 *   keeper_pack.c    the job that packs
 *   keeper_adopt.c   packs that the index does not know
 *   keeper_alone.c   what it is on this device to keep into packs
 *   keeper_fold.c    kept files into packs
 *   keeper_expire.c  retention
 *   keeper_gc.c      what is referred to, packs written anew
 *   keeper_forget.c  entries of which nothing is kept any more */
#ifndef NODE_KEEPER_PRIV_H
#define NODE_KEEPER_PRIV_H

#include "node/keeper.h"
#include "node/pathset.h"
#include "store/packs.h"

/* What a step has come to. STEP_LATER: a job of it is under way, and calls keeper_job_done. */
enum step_result { STEP_AGAIN, STEP_LATER, STEP_OVER, STEP_FAILED };

struct keep_pack { uint64_t pack, size, live; };

/* ---- packing (keeper_pack.c) ---- */

enum { JOB_FILES = 256 };

/* A file of kept/, or one of the folder. */
struct pack_file {
    int64_t id;                           /* of its row: kept, or entry */
    char *name;                           /* of a kept file; NULL: one of the folder, which has */
    struct stamp stamp; uint64_t seq; bool shared;
    char *path; size_t len;               /* NULL, 0: not known */
    struct id root;
    uint64_t size;
    uint8_t *bytes;                       /* a content that its entry carries; NULL: it is read from the file */
    /* set by keeper_pack_add, and in the worker */
    uint64_t off;                         /* of block `from` */
    uint8_t *refs; uint32_t n;            /* its blocks; refs NULL: one */
    uint32_t from, to, next;              /* the blocks for this job; the first that is not in a pack yet */
    struct pack_at *at, content;          /* where these blocks lie, and the record of the whole, as far as known */
    bool whole;                           /* all of it is in packs */
    char broken[160];                     /* why it can not be: damaged, changed, gone */
};
struct partly { int64_t id; uint32_t next; };    /* the file that is in the middle of it, and its next block */

struct pack_job {
    struct job job;
    struct keeper *k;
    /* In the transaction that says where the blocks are, for each file that is whole; and when it is committed, of each that was begun. */
    int (*record)(struct keeper *k, const struct pack_file *f);
    void (*note)(struct keeper *k, const struct pack_file *f);
    struct partly *partly;                /* where this kind of files was left off */
    struct pack_file v[JOB_FILES]; size_t n; uint32_t blocks;
    uint64_t pack, pack_size;             /* where to, and its length: before, then after */
    struct pack_writer *w;
    struct pathset put_set;               /* ids of blocks that were put */
    struct ix_piece *put; size_t nput;
    struct buf buf;
    int code; char text[200];
};
/* new, the three pointers, add until it is true or there are no more, submit; or free. Files of kept/ that are whole are removed. */
struct pack_job *keeper_pack_new(struct keeper *k);
bool keeper_pack_add(struct pack_job *j, const struct pack_file *f);             /* takes over name, path, bytes */
int  keeper_pack_room(const struct pack_job *j) MUST_CHECK;                      /* 0, ERR_FULL */
enum step_result keeper_pack_submit(struct pack_job *j);
void keeper_pack_free(struct pack_job *j);

/* ---- what it is on this device to keep (keeper_alone.c) ---- */

enum { ALONE_STREAMS = 16 };

struct own_number { int64_t stream; uint64_t number; };
struct alone {
    uint64_t seen, small_seen;           /* the greatest own number when all, or small files, were last looked through */
    struct own_number all_to, small_to;  /* up to there they have been */
    /* Of the files of which something is kept so; an upper bound between two reviews. [1]: others have them now. */
    uint64_t bytes[2];
    /* review */
    bool counted, stale;                 /* a review has counted them; but some have been added since, in place of others perhaps */
    bool counting; uint64_t due;         /* when all are looked at again, if nobody asks before */
    int64_t cursor; uint64_t sum[2];
    /* sweep: from high down */
    bool sweeping, small, edited;
    bool refused;                        /* something was too large for what is left */
    struct own_range range[ALONE_STREAMS]; size_t n, at;
    size_t nleft;                        /* streams of devices that are gone, when they were last looked at */
    uint64_t high;
    struct own_number top;               /* where it began */
    struct partly partly;
};

struct keeper {
    struct keeper_config c;
    struct loop_timer timer;
    size_t step;                         /* 0: no pass is under way */
    bool forced, held, running, freeing;
    bool light;                          /* the pass is one for keeper_alone only; not counted */
    size_t removed;                      /* files of kept/, since what is noted of them was tidied up */
    unsigned idle;                       /* seconds */
    _Atomic bool stop;                   /* for the job under way */
    uint64_t aged_at;                    /* when the age of things was told last */
    uint64_t passes, wanted, due;        /* of passes: over, asked for; when the next one begins by itself */
    bool stuck;                          /* the last one failed or found no room: that something waits is no reason for another before `due` */
    char failure[200];
    struct keeper_figures figures;
    /* where the next block goes */
    uint64_t pack, pack_size, next_pack;
    /* adopt */
    bool adopted, listed;
    struct keep_pack *unknown; size_t nunknown, at_unknown;  /* size: up to where the index knows it */
    struct found { struct id root; uint64_t size; uint8_t *refs; uint32_t nblocks; } *found; size_t nfound;
    /* fold */
    int64_t folded_to;                   /* kept rows up to this one have been tried */
    struct partly fold_partly;
    struct alone alone;
    /* gc */
    enum { MARK_BEGIN, MARK_REFERRED, MARK_ALIVE, MARK_SUMS, MARK_SWEPT } mark;
    bool dirty;                          /* there may be something that nothing refers to */
    uint8_t *marks; int64_t nmarks;      /* bit n: piece n is referred to */
    int64_t marked_to;                   /* kept row, then entry of a folded one */
    struct buf refs; size_t refs_at;     /* the block list being marked */
    struct keep_pack *packs; size_t npacks, at_pack;
    /* forget */
    int64_t forgotten_to;                /* paths up to this one have been looked at; 0: none */
};

/* keeper.c */
void keeper_job_done(struct keeper *k);                                  /* at the end of a job's `done` */
enum step_result keeper_fail(struct keeper *k, const char *text);
bool keeper_is_idle(const struct keeper *k);                             /* long enough for everything */
int  keeper_any_kept(void *arg, const struct ix_kept *row);              /* 1: for loops that ask whether there is a row */
int  keeper_commit(struct keeper *k, int r) MUST_CHECK;                  /* ends the transaction: commit, or rollback when r < 0 */
/* Removes files of kept/ that no row names any more, then packs, in a worker. Takes over the names. */
void keeper_remove(struct keeper *k, char **names, size_t n, const uint64_t *packs, size_t npacks);
enum step_result keeper_age(struct keeper *k);
uint64_t keeper_days(const struct keeper *k);                            /* how long old versions stay: by the config, or the policy */
uint64_t keeper_floor(const struct keeper *k);                           /* what is older than that the policy lets go; 0: nothing */
uint64_t keeper_horizon(const struct keeper *k);                         /* what is older than that may go; 0: nothing */
/* keeper_adopt.c */
enum step_result keeper_adopt(struct keeper *k);
void keeper_adopt_release(struct keeper *k);
/* keeper_pack.c */
/* Begins a job that writes to the end of a pack: which one, and how long it is. */
enum step_result keeper_submit(struct keeper *k, struct job *job, uint64_t *pack, uint64_t *size);
/* A transaction is begun: the pieces that have been written to the end of a pack, which has that size now. End it with keeper_commit. */
int  keeper_begin_packed(struct keeper *k, const struct ix_piece *v, size_t n, uint64_t pack, uint64_t size) MUST_CHECK;
void keeper_next_pack(struct keeper *k);                                 /* the present one is full, or not as it should be */
/* keeper_alone.c */
void keeper_alone_init(struct keeper *k);
void keeper_alone_begin(struct keeper *k, bool light);                   /* a pass */
bool keeper_alone_waiting(const struct keeper *k, bool small);           /* something was written since the last sweep; costs nothing */
enum step_result keeper_alone_review(struct keeper *k);                  /* which are still needed */
enum step_result keeper_alone(struct keeper *k);
/* keeper_fold.c */
enum step_result keeper_fold(struct keeper *k);
bool keeper_fold_waiting(struct keeper *k);                              /* there is something to fold */
/* keeper_expire.c */
enum step_result keeper_expire_old(struct keeper *k);
enum step_result keeper_expire_share(struct keeper *k);
uint64_t keeper_share_of_disk(const struct keeper *k);                   /* bytes that the history may take */
/* keeper_gc.c */
enum step_result keeper_mark(struct keeper *k);
enum step_result keeper_compact(struct keeper *k);
void keeper_gc_release(struct keeper *k);
/* keeper_forget.c */
enum step_result keeper_forget(struct keeper *k);

#endif

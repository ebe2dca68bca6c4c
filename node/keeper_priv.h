/* keeper_priv: the insides of keeper.
 *   keeper.c         passes and their steps, files that are not needed any more, figures
 *   keeper_adopt.c   packs that the index does not know
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

struct keeper {
    struct keeper_config c;
    struct loop_timer timer;
    size_t step;                         /* 0: no pass is under way */
    bool forced, held, running, freeing;
    size_t removed;                      /* files of kept/, since what is noted of them was tidied up */
    unsigned idle;                       /* seconds */
    _Atomic bool stop;                   /* for the job under way */
    uint64_t aged_at;                    /* when the age of things was told last */
    uint64_t passes, wanted, due;        /* of passes: over, asked for; when the next one begins by itself */
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
    int64_t fold_id; uint32_t fold_next; /* the one that is in the middle of it, and its next block */
    /* gc */
    enum { MARK_BEGIN, MARK_REFERRED, MARK_SUMS, MARK_SWEPT } mark;
    bool dirty;                          /* there may be something that nothing refers to */
    uint8_t *marks; int64_t nmarks;      /* bit n: piece n is referred to */
    int64_t marked_to;
    struct buf refs; size_t refs_at;     /* the block list being marked */
    struct keep_pack *packs; size_t npacks, at_pack;
    /* forget */
    int64_t forgotten_to;                /* paths up to this one have been looked at; 0: none */
};

/* keeper.c */
void keeper_job_done(struct keeper *k);                                  /* at the end of a job's `done` */
enum step_result keeper_fail(struct keeper *k, const char *text);
int  keeper_commit(struct keeper *k, int r) MUST_CHECK;                  /* ends the transaction: commit, or rollback when r < 0 */
/* Removes files of kept/ that no row names any more, then packs, in a worker. Takes over the names. */
void keeper_remove(struct keeper *k, char **names, size_t n, const uint64_t *packs, size_t npacks);
enum step_result keeper_age(struct keeper *k);
uint64_t keeper_horizon(const struct keeper *k);                         /* what is older than that may go; 0: nothing */
/* keeper_adopt.c */
enum step_result keeper_adopt(struct keeper *k);
void keeper_adopt_release(struct keeper *k);
/* keeper_fold.c */
/* A transaction is begun: the pieces that have been written to the end of a pack, which has that size now. End it with keeper_commit. */
int  keeper_begin_packed(struct keeper *k, const struct ix_piece *v, size_t n, uint64_t pack, uint64_t size) MUST_CHECK;
enum step_result keeper_fold(struct keeper *k);
bool keeper_fold_waiting(struct keeper *k);                              /* there is something to fold */
void keeper_next_pack(struct keeper *k);                                 /* the present one is full, or not as it should be */
/* keeper_expire.c */
enum step_result keeper_expire_old(struct keeper *k);
enum step_result keeper_expire_share(struct keeper *k);
/* keeper_gc.c */
enum step_result keeper_mark(struct keeper *k);
enum step_result keeper_compact(struct keeper *k);
void keeper_gc_release(struct keeper *k);
/* keeper_forget.c */
enum step_result keeper_forget(struct keeper *k);

#endif

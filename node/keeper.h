/* keeper: looks after what was replaced. When the node has been idle for a while, and one small job at a time:
 *
 *   adopt     packs of which the index knows nothing (it was lost, or older than they are) are read and taken in; once a start
 *   alone     contents that it is on this device to keep (engine_charge) are packed while they still lie in the folder, in case they are
 *             overwritten in place: files that are edited first, then the latest, within half of `share`; of those that others have, too, within
 *             a quarter, and no large ones that were never edited. New small ones do not wait until the node has been idle for so long
 *   age       how old things are, for what follows (engine_age)
 *   fold      kept files become blocks in packs, each block once; a file goes when all of it can be read from packs
 *   expire    what is older than `days`, or what the policy says if that is longer, then the oldest that it lets go until all takes no more than `share` percent of the disk, is forgotten: never a
 *             version that is a head (conflicts wait as long as it takes), is pinned by a snapshot, or is wanted just now
 *   compact   packs of which less than half is still referred to are written anew, and removed
 *   forget    what the index knows of versions and deletions that ended before `days` and of which nothing is kept, goes (node/engine.h)
 *
 * Nothing is removed before what takes its place is durable and committed; a pack is read again before it makes a file dispensable. A job
 * ends within a block when the node gets busy; what it has done until then counts. */
#ifndef NODE_KEEPER_H
#define NODE_KEEPER_H

#include "node/engine.h"
#include "node/pool.h"
#include "store/folder.h"

struct keeper;
struct keeper_config {
    struct loop *loop; struct pool *pool; struct folder *folder; struct engine *engine; struct index *index;
    uint64_t days, share;
    const struct group *group;                   /* its policy says how many days at least (history.min_days); NULL: none does */
    bool alone;                                  /* false: nothing is packed before it is overwritten */
    void (*done)(void *arg);                     /* a pass is over */
    void (*adopted)(void *arg); void *arg;       /* contents may have been found that no version names */
};
/* Of the pass under way or the last one, and what there is now. */
struct keeper_figures {
    uint64_t folded, folded_bytes, expired, compacted, forgotten;
    uint64_t kept, kept_bytes, packed, packs, pack_bytes;   /* files in kept/, contents in packs, packs */
    uint64_t current;                                        /* of those in packs: of versions that lie in the folder */
};
int  keeper_new(const struct keeper_config *c, struct keeper **out) MUST_CHECK;
void keeper_stop(struct keeper *k);                          /* the node ends: before the pool does; NULL is fine */
void keeper_free(struct keeper **k);                         /* after the pool */
void keeper_tick(struct keeper *k, bool idle);               /* once a second */
void keeper_busy(struct keeper *k);                          /* there is other work: everything stops soon */
/* Keeps it from touching anything until it is let go; true once nothing is under way. */
bool keeper_hold(struct keeper *k);
void keeper_let_go(struct keeper *k);
/* A whole pass, from its beginning, however busy the node is; over when keeper_passes has reached the result. */
uint64_t keeper_run(struct keeper *k);
uint64_t keeper_passes(const struct keeper *k);
/* Why the last pass did not get to its end; NULL: it did. */
const char *keeper_failure(const struct keeper *k);
int  keeper_figures(struct keeper *k, struct keeper_figures *out) MUST_CHECK;

#endif

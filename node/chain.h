/* chain: what a peer has of the control log, held against ours. What continues our log is appended. What contradicts it is a chain of its
 * own: it is traced back to where both part, collected from there, and taken in the place of ours if it weighs more (proto/group.h).
 *
 *   chain_begin; ask for records from `asked`; while chain_take(...) > 0: ask again
 * Records that come without having been asked for: chain_begin with 0, one chain_take. */
#ifndef NODE_CHAIN_H
#define NODE_CHAIN_H

#include "store/control.h"

struct chain {
    struct control *control;
    /* Our records from `from` on are about to lose. When it fails, nothing is switched. */
    int (*losing)(void *arg, uint64_t from); void *arg;
    uint64_t asked, seen, step;      /* what to ask from; the last record that came; how far back the next question goes */
    bool met, traced;                /* something came that is in our log, too, or continues it; it was asked for farther back than our end */
    uint64_t first, n;               /* the other chain: its first record, how many there are */
    struct id last;                  /* hash of its last one */
    struct buf rival;
    bool kept_ours, switched;        /* what came of it */
};
void chain_begin(struct chain *c, uint64_t asked);      /* control, losing and arg are set */
void chain_release(struct chain *c);
/* The body of a CTL. 1: ask again, from c->asked; 0: that is all. ERR_AGAIN: not without having asked for more. */
int  chain_take(struct chain *c, const void *body, size_t len) MUST_CHECK;

#endif

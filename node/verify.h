/* verify: whether what lies on this disk of the record of a group is what was signed. Of the control log, its file is read anew from the
 * first byte: hashes, signatures and rules. Of each stream: that its headers are a chain without a gap, signed by a member; and that the
 * entries under each, with the hashes that stand for what was forgotten, give the root that was signed. It only reads.
 *
 *   verify_new -> verify_step until *more is false -> verify_result -> verify_free
 * A step takes a bounded time, so that the loop goes on in between. What is written meanwhile is not looked at. */
#ifndef NODE_VERIFY_H
#define NODE_VERIFY_H

#include "store/control.h"
#include "store/index.h"

#define VERIFY_FAULTS 100                 /* of which the texts are kept */

struct verify;
struct verify_result {
    uint64_t records, streams, sets, entries, forgotten;     /* sets: change sets; forgotten: entries of which a hash is left */
    uint64_t faults;
    char *fault[VERIFY_FAULTS];           /* what is wrong, and where */
};

/* Borrows all of it. */
int  verify_new(struct control *control, struct index *ix, struct verify **out) MUST_CHECK;
int  verify_step(struct verify *v, bool *more) MUST_CHECK;   /* fails only when the index cannot be read */
const struct verify_result *verify_result(const struct verify *v);
void verify_free(struct verify **v);

#endif

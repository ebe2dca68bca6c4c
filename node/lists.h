/* lists: the block lists of the contents that are being asked for. A peer asks for the blocks of one content many times, a few at a time, and
 * the list is a large row of the index: so those that were used last stay in memory.
 * At most LISTS_CACHED of them, and of `most` bytes together; a single one that is larger (LIMIT_BLOCKS allows 740 MB) is alone there.
 * For the loop. */
#ifndef NODE_LISTS_H
#define NODE_LISTS_H

#include "store/index.h"

#define LISTS_CACHED 4u
#define LISTS_BYTES ((size_t)64 << 20)     /* `most` of a node */

/* refs: n of BLOCK_REF bytes. at: where each block begins in the content. */
struct list { struct id root; struct buf refs; uint64_t *at; uint32_t n; };
struct lists { struct index *index; size_t most; size_t bytes, count; struct list v[LISTS_CACHED]; };    /* the one used last comes first */

/* NULL: there is none. Valid until the next call. */
const struct list *lists_get(struct lists *l, const struct id *root);
void lists_release(struct lists *l);

#endif

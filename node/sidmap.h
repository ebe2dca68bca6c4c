/* sidmap: a set of streams by their ids, each with something attached. A balanced tree, so that it stays fast whatever ids a hostile
 * member makes up. */
#ifndef NODE_SIDMAP_H
#define NODE_SIDMAP_H

#include "proto/id.h"

struct sidmap { void *root; size_t n; };   /* zero it once */
void  sidmap_put(struct sidmap *m, const struct sid *sid, void *value);     /* value may be NULL; replaces the one that is there */
bool  sidmap_has(const struct sidmap *m, const struct sid *sid);
void *sidmap_get(const struct sidmap *m, const struct sid *sid);            /* NULL when it is absent */
/* In the order of the ids. `row` does not change the map. */
void  sidmap_each(const struct sidmap *m, void (*row)(void *arg, const struct sid *sid, void *value), void *arg);
void  sidmap_clear(struct sidmap *m);                                       /* frees all that it holds; it may be used again */

#endif

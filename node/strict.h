/* strict: the files of a device that is locked in mode strict are read-only for the time: all regular files that are on record lose
 * their write bits, and get the mode of their version back when the lock ends. It is a fence, no wall: root writes all the same, and who
 * gives himself the right back and edits makes a local edit as always.
 *
 *   OFF --strict_want(on)--> the index says so --> pass over all rows, in batches --> ON
 *   ON --strict_want(off)--> pass over all rows --> flush --> the index says so --> OFF
 * The word in the index (engine_set_strict) comes before the first file and goes after the last: while it stands the engine takes a mode
 * without write bits for the version's, so neither a half done pass nor a crash in the middle is an edit, and what is installed meanwhile
 * is installed read-only, but on the way back as it is. The next start goes on in the direction that holds then.
 *
 * A batch is a job: each file is changed if it still is as on record, and its new stamp is recorded when the batch is back. So nothing is
 * read again. While a batch is under way its paths are strict_touches, and the scan comes to them later. */
#ifndef NODE_STRICT_H
#define NODE_STRICT_H

#include "node/engine.h"
#include "node/loop.h"
#include "node/pool.h"
#include "store/folder.h"
#include "store/index.h"

struct strict_ops {
    bool (*ready)(void *arg);        /* a pass may go on: the folder has been looked at, and no batch of pull is under way */
    void (*done)(void *arg);         /* OFF has been reached */
    void *arg;
};
struct strict_config {
    struct loop *loop; struct pool *pool; struct folder *folder; struct engine *engine; struct index *index;
    struct strict_ops ops;
};
struct strict;
struct strict *strict_new(const struct strict_config *c);
void strict_free(struct strict **s);                       /* after the pool, whose jobs end here */
void strict_want(struct strict *s, bool on);               /* may be said again and again */
bool strict_undoing(const struct strict *s);               /* not wanted any more, and not OFF yet */
bool strict_touches(const struct strict *s, const char *path, size_t len);

#endif

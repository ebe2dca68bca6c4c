/* scan: keeps what the engine knows of the disk equal to the disk. Looks (at single paths that the watcher named, or at the whole
 * folder) are made by a worker; what differs from the index is hashed by workers; the results are given to the engine in one
 * transaction a batch, and `committed` is called.
 *
 *   hints -> look job -> differences -> renames matched -> hash jobs -> facts -> engine -> commit
 *
 * Rules that keep work from being lost:
 * - A file is taken only while nobody has it open for writing and it looks the same before and after it was read; otherwise it is
 *   looked at again later (1 s, doubling to 30 s). No torn version is ever announced.
 * - What a version names is on this disk before the version is signed.
 * - A file whose times are too young to prove anything (the clock of the file system has ticks) is taken, and looked at again.
 * - Absence is believed only of a path that was on disk, is not ignored, is not beneath a directory that could not be read, is missing
 *   at a second look, and under a healthy root. If more than a quarter of the files (and over 100) vanish at once, nothing is
 *   announced until scan_accept_deletions: an unmounted disk is not a delete.
 * - Paths that an install is at work on are left alone until it is done. */
#ifndef NODE_SCAN_H
#define NODE_SCAN_H

#include "node/engine.h"
#include "node/pool.h"
#include "node/watch.h"
#include "store/folder.h"

struct scan;
struct scan_ops {
    bool (*busy)(void *arg, const char *path, size_t len);      /* an install is at work on it */
    void (*committed)(void *arg);                               /* new entries are durable */
    void (*trouble)(void *arg, const char *path, size_t len, const char *text);  /* skipped things, each said once */
    /* These ignore rules hold from now on: after a start, and when they change. own: some of them are of this device alone. */
    void (*rules)(void *arg, const struct id *hash, bool own);
    void (*failed)(void *arg, const char *text);                /* the folder or the index cannot be used now; NULL = it can again */
    void *arg;
};
struct scan_config {
    struct loop *loop; struct pool *pool; struct folder *folder; struct engine *engine; struct index *index;
    const struct gear *gear; const struct group *group; struct scan_ops ops;
};
int  scan_new(const struct scan_config *c, struct scan **out) MUST_CHECK;
void scan_stop(struct scan *s);                                 /* the node ends: looks under way mean nothing any more */
void scan_free(struct scan **s);
void scan_all(struct scan *s);                                  /* look at everything, soon */
void scan_hint(struct scan *s, const char *path, size_t len, bool deep);
/* Nothing is being looked at, hashed or waiting to be. `first_done`: the first whole look since the start is over. */
bool scan_idle(struct scan *s);
bool scan_first_done(const struct scan *s);
void scan_accept_deletions(struct scan *s);
bool scan_braked(const struct scan *s, uint64_t *files);        /* waiting for scan_accept_deletions */
uint64_t scan_errors(const struct scan *s);                     /* things in the folder that cannot be synced */
struct scan_figures { uint64_t files, changed; };               /* of the last whole look */
void scan_figures(const struct scan *s, struct scan_figures *out);
/* By the rules, or because it is a part of the database beside it (store/database.h). */
bool scan_ignored(struct scan *s, const char *path, size_t len, bool is_dir);

#endif

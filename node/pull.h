/* pull: makes the disk what the engine wants it to be. Each want of the index becomes an item; the cheapest way to its content is
 * taken first:
 *   nothing to fetch       removals, directories, symlinks, contents carried in their entry, equal content with other mode or time
 *   a rename               the same root lies at a path that is to be removed: renamed, not a byte is read
 *   a copy on this disk    the same root lies elsewhere in the folder or among the kept versions: copied, every block verified
 *   blocks                 first those of the version that is replaced, the others from every peer that has them; long runs of zeros
 *                          stay holes
 *
 *   want --> item --> [list] --> [blocks] --> READY --> batch: folder_apply --> engine_installed, commit
 *
 * Flow control is credit in bytes a peer: what has been asked of it and not yet come stays under a window that grows from 4 to
 * 32 MiB while answers come, and is halved when one does not. One request is for what came in 50 ms lately, 1 to 4 MiB. What a peer owes for 5 s without sending anything is asked of others
 * too (pull_source.c). A block is written only after it matched its id; a peer that sends three wrong ones is asked for no more until
 * it has started anew, at most for 10 minutes. Block lists that are in memory for the files being fetched take PULL_LISTS_BYTES together;
 * one file at a time may be beside them whose list alone is longer (from 1.5 million blocks on, 700 MiB at most). An unfinished download of several blocks keeps its file in tmp/ ("d-" and the root),
 * and goes on after a restart with the blocks in it that prove themselves. */
#ifndef NODE_PULL_H
#define NODE_PULL_H

#include "node/engine.h"
#include "node/peers.h"
#include "node/pool.h"
#include "node/rate.h"
#include "store/folder.h"

#define PULL_LISTS_BYTES (64u << 20)

struct pull;
struct pull_ops {
    void (*committed)(void *arg);                                       /* wants were fulfilled */
    void (*look)(void *arg, const char *path, size_t len);              /* that path is not as we believed */
    bool (*ignored)(void *arg, const char *path, size_t len, bool dir); /* local rules: not to be put on disk */
    bool (*allowed)(void *arg, const struct ix_want *w);                /* it may be done now; NULL: always */
    void (*failed)(void *arg, const char *text);                        /* disk full and the like; NULL = it works again */
    void *arg;
};
struct serve;
/* serve: gives unfinished downloads to peers; NULL: nobody does. self: this device; NULL: others that lack the same are not asked. */
struct pull_config {
    struct serve *serve; const struct id *self;
    struct loop *loop; struct pool *pool; struct folder *folder; struct engine *engine; struct index *index;
    struct peers *peers; const struct gear *gear; struct pull_ops ops;
    struct rate_plan down;           /* how much may be asked for */
};
int  pull_new(const struct pull_config *c, struct pull **out) MUST_CHECK;   /* also cleans up what a crash left in tmp/ */
void pull_free(struct pull **p);
void pull_kick(struct pull *p);                                          /* wants, peers or their vectors have changed */
void pull_choose_anew(struct pull *p);                                   /* `allowed` answers otherwise than before */
/* All has been looked at and heard of: what is in kept/ and no version names becomes a version of the path that it had. Once a start. */
void pull_find(struct pull *p);
void pull_peer_up(struct pull *p, const struct id *dev);                 /* when it goes, its link calls its requests back */
bool pull_busy(const struct pull *p, const char *path, size_t len);      /* a batch under way touches that path */
bool pull_placing(const struct pull *p);                                 /* a batch under way */
bool pull_idle(const struct pull *p);                                    /* no batch, no fetch under way */
struct pull_figures { uint64_t blocks, bytes; };                          /* fetched from peers and verified, since the start */
void pull_figures(const struct pull *p, struct pull_figures *out);

#endif

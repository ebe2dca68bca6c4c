/* pool: a few worker threads for self-contained jobs (hash a file, verify and write blocks, install a batch). A job has its own
 * descriptors and buffers and touches no index, no ZeroMQ socket and no log: what it finds it leaves in its own struct, and `done`
 * runs in the loop thread afterwards.
 *
 *   struct hash_job { struct job job; ... };   job.run = works in a worker;   job.done = in the loop; frees the struct
 *
 * The queue is a mutex, a condition and an eventfd. Slow jobs (a file to hash) never hold all workers: quick ones keep one for
 * themselves. `done` of jobs runs in the order in which they finished. */
#ifndef NODE_POOL_H
#define NODE_POOL_H

#include <stdbool.h>

#include "node/loop.h"

struct job {
    void (*run)(struct job *j);      /* in a worker */
    void (*done)(struct job *j);     /* in the loop */
    bool slow;
    struct job *next;
};
struct pool;

int  pool_new(struct loop *l, unsigned threads, struct pool **out) MUST_CHECK;
/* Waits for running jobs; jobs still queued are not run, but `done` is called for all (they see their result unset). */
void pool_free(struct pool **p);
void pool_submit(struct pool *p, struct job *j);
/* From a worker: hands a part of its result to the loop before it has ended (part->done is called there; part->run is not used).
 * Blocks while more than a few parts wait, so that a walk cannot outrun the loop. */
void pool_part(struct pool *p, struct job *part);
/* Set when the pool is being freed: long jobs look at it and give up. */
const _Atomic bool *pool_stopping(const struct pool *p);

#endif

/* serve_priv: the insides of serve.
 *   serve.c         requests that wait, whose turn it is, what memory and time allow; block lists
 *   serve_read.c    the blocks of one request: where they lie, read and verified in a worker, sent
 *   serve_find.c    where a content lies (serve.h) */
#ifndef NODE_SERVE_PRIV_H
#define NODE_SERVE_PRIV_H

#include "node/lists.h"
#include "node/queue.h"
#include "node/serve.h"

/* A request in as little memory as it goes: n of GET_BLK, else none. */
struct ask {
    struct waiting w;
    struct net_from from; uint64_t req;
    uint64_t until; uint32_t missing;    /* how long it may wait for blocks that are on their way; the first such want */
    enum msg_type type;
    struct id root; uint32_t nblocks, first, count;
    uint32_t n; struct msg_blk_want want[];
};
struct serve {
    struct serve_config c;
    struct lists lists;
    uint64_t bytes;
    struct queue queue;
    struct ask *parked;                      /* wait for blocks */
    serve_part_fn part; void *part_arg;
    uint64_t reading;                        /* bytes of all jobs under way */
    struct rate up; uint64_t soonest;        /* ms until a client that waits for its own rate may be served */
    struct loop_timer timer;
};

void serve_pump(struct serve *s);            /* serves whoever may be served now */
void serve_charge(struct serve *s, struct client *c, uint64_t bytes);    /* so much goes to it */
/* false: some of it is on its way, q->missing, and it may wait. */
bool serve_read(struct serve *s, struct client *c, struct ask *q);

#endif

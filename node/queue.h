/* queue: requests that wait for their turn, a line for each client. Served is the client that has had the fewest bytes (start-time fair
 * queueing), so that none waits for what another one has asked for; whoever comes, or comes again, begins where the others are and not
 * at 0. Whether a client may be served now at all is the user's to say.
 *
 *   queue_put; queue_next -> queue_take -> queue_charge
 *
 * A `waiting` is the first member of the user's struct and the user's to free; clients are the queue's, stay where they are, and are as many as
 * devices have ever asked. For the loop; no clock, no memory but the lines. */
#ifndef NODE_QUEUE_H
#define NODE_QUEUE_H

#include <stdbool.h>

#include "node/rate.h"
#include "proto/id.h"

struct waiting { struct waiting *next; uint64_t since; };       /* since: ms, the user's clock */
struct client {
    struct id who;
    struct waiting *head, *tail; unsigned n;
    unsigned parked;                         /* the user's: requests that wait elsewhere */
    struct rate up;                          /* the user's: what it may be sent */
    uint64_t reading;                        /* the user's: bytes that are being read for it */
    uint64_t had;                            /* bytes, on the clock that all share */
};
struct queue { struct client **client; size_t nclient; size_t n; uint64_t clock; };

struct client *queue_client(struct queue *q, const struct id *who);
void queue_put(struct queue *q, struct client *c, struct waiting *w, uint64_t now);
/* Whose turn it is, of those that wait and may be served; NULL: nobody's. */
struct client *queue_next(const struct queue *q, bool (*may)(void *arg, struct client *c), void *arg);
struct waiting *queue_take(struct queue *q, struct client *c);  /* its oldest; there is one */
void queue_charge(struct client *c, uint64_t bytes);
/* Takes one that has waited since before then, or NULL. */
struct waiting *queue_stale(struct queue *q, uint64_t before, struct client **of);
/* Every line is empty. */
void queue_release(struct queue *q);

#endif

#include "node/queue.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/err.h"

enum { REQUEST_COST = 4096 };    /* what a request costs beside its bytes: the smallest ones are no gift */

struct client *queue_client(struct queue *q, const struct id *who)
{
    for (size_t i = 0; i < q->nclient; i++)
        if (id_eq(&q->client[i]->who, who))
            return q->client[i];
    struct client *c = xcalloc(1, sizeof *c);
    c->who = *who;
    q->client = xrealloc(q->client, q->nclient + 1, sizeof(struct client *));
    q->client[q->nclient++] = c;
    return c;
}

void queue_put(struct queue *q, struct client *c, struct waiting *w, uint64_t now)
{
    if (!c->n && c->had < q->clock)
        c->had = q->clock;
    w->next = NULL;
    w->since = now;
    *(c->tail ? &c->tail->next : &c->head) = w;
    c->tail = w;
    c->n++;
    q->n++;
}

struct client *queue_next(const struct queue *q, bool (*may)(void *arg, struct client *c), void *arg)
{
    struct client *best = NULL;
    for (size_t i = 0; i < q->nclient; i++) {
        struct client *c = q->client[i];
        if (c->n && (!best || c->had < best->had) && may(arg, c))
            best = c;
    }
    return best;
}

struct waiting *queue_take(struct queue *q, struct client *c)
{
    struct waiting *w = c->head;
    assert(w && c->n && q->n);
    if (q->clock < c->had)
        q->clock = c->had;
    c->head = w->next;
    if (!c->head)
        c->tail = NULL;
    c->n--;
    q->n--;
    return w;
}

void queue_charge(struct client *c, uint64_t bytes) { c->had += bytes + REQUEST_COST; }

struct waiting *queue_stale(struct queue *q, uint64_t before, struct client **of)
{
    for (size_t i = 0; i < q->nclient; i++) {
        struct client *c = q->client[i];
        if (!c->n || c->head->since >= before)
            continue;
        *of = c;
        return queue_take(q, c);
    }
    return NULL;
}

void queue_release(struct queue *q)
{
    assert(q->n == 0);
    for (size_t i = 0; i < q->nclient; i++)
        free(q->client[i]);
    free(q->client);
    *q = (struct queue){0};
}

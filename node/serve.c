#include "node/serve_priv.h"

#include <stdlib.h>
#include <string.h>

/* MEMORY: of all that is being read and all that waits to be sent, whatever for. A client may have as much of it as is left over (dynamic
 * thresholds): alone the half of it, with n others an equal part, so that those who do not read what they asked for leave room for the
 * others. Before it is known how large an answer is it counts as LIMIT_BODY. */
#define MEMORY ((uint64_t)32 << 20)
#define SMALL 4096u                   /* an answer of so few bytes does not wait */
#define PATIENCE_MS 20000             /* what has waited for so long is answered BUSY */
#define WAIT_MS 3500                  /* for blocks that are on their way: clients take 5 s of silence for a loss */
#define LOOK_MS 1000
enum { WAITING_MAX = 128 };           /* of one peer at once: more than an honest one asks for */

/* ---- block lists ---- */

static void refuse(struct serve *s, const struct net_from *to, uint64_t req, enum msg_error code, const char *text)
{
    struct msg m = {.type = MSG_ERR, .req = req, .err = {.code = code, .text = {(const uint8_t *)text, strlen(text)}, .retry_ms = 1000}};
    net_reply(s->c.net, to, &m, NULL);
}

void serve_charge(struct serve *s, struct client *c, uint64_t bytes)
{
    queue_charge(c, bytes);
    rate_take(&s->up, (int64_t)bytes);
    rate_take(&c->up, (int64_t)bytes);
}

static void serve_list(struct serve *s, struct client *c, const struct ask *q)
{
    const struct list *l = lists_get(&s->lists, &q->root);
    uint32_t first = q->first, most = LIMIT_BODY / BLOCK_REF;
    if (!l || q->nblocks != l->n) {
        refuse(s, &q->from, q->req, MSGERR_NODATA, "no such block list here");
        return;
    }
    uint32_t n = q->count < l->n - first ? q->count : l->n - first;
    n = n < most ? n : most - most % LIMIT_TREE_LEAF;
    struct msg reply = {.type = MSG_TREE, .req = q->req, .tree = {.root = q->root, .first = first, .count = n}};
    size_t len = (size_t)n * BLOCK_REF;
    void *copy = xrealloc(NULL, len, 1);
    memcpy(copy, l->refs.data + (size_t)first * BLOCK_REF, len);
    zmq_msg_t body;
    net_body_take(&body, copy, len);
    serve_charge(s, c, len);
    net_reply(s->c.net, &q->from, &reply, &body);
}

static void serve_have(struct serve *s, struct client *c, const struct ask *q)
{
    struct place_of at;
    bool here = serve_find(s->c.index, &q->root, &at) == 0;
    place_of_release(&at);
    uint32_t most = LIMIT_BLOCKS, n = q->count < most ? q->count : most;
    size_t len = (n + 7) / 8;
    uint8_t *bits = xcalloc(len + 1, 1);
    memset(bits, here ? 0xff : 0, len);  /* 2 MiB at most: byte by byte, for whoever asks again and again */
    if (here && n % 8)
        bits[len - 1] = (uint8_t)((1u << (n % 8)) - 1);
    struct msg reply = {.type = MSG_HAVE_OK, .req = q->req, .have_ok = {.root = q->root, .first = q->first, .count = n}};
    zmq_msg_t body;
    net_body_take(&body, bits, len);
    serve_charge(s, c, len);
    net_reply(s->c.net, &q->from, &reply, &body);
}

/* ---- turns ---- */

static bool may_serve(void *arg, struct client *c)
{
    struct serve *s = arg;
    uint64_t wait = rate_wait(&c->up, loop_now(), loop_wall());
    if (wait) {
        s->soonest = wait < s->soonest ? wait : s->soonest;
        return false;
    }
    uint64_t all = s->reading + net_waiting_all(s->c.net), own = c->reading + net_waiting(s->c.net, &c->who);
    return all + LIMIT_BODY <= MEMORY && (own == 0 || own + LIMIT_BODY <= MEMORY - all);
}

static void park(struct serve *s, struct client *c, struct ask *q)
{
    q->until = q->until ? q->until : loop_now() + WAIT_MS;
    q->w.next = s->parked ? &s->parked->w : NULL;
    s->parked = q;
    c->parked++;
}

/* Those that wait for that block of that content, or for too long, get in line again. */
static void unpark(struct serve *s, const struct id *root, int64_t block)
{
    uint64_t now = loop_now();
    struct ask *old = s->parked, *next;
    s->parked = NULL;
    for (struct ask *q = old; q; q = next) {
        const struct msg_blk_want *w = &q->want[q->missing];
        next = (struct ask *)q->w.next;
        if (now < q->until && !(root && id_eq(root, &w->root) && (block < 0 || block == w->idx))) {
            q->w.next = s->parked ? &s->parked->w : NULL;
            s->parked = q;
            continue;
        }
        struct client *c = queue_client(&s->queue, &q->from.who);
        c->parked--;
        queue_put(&s->queue, c, &q->w, now);
    }
}

static void answer(struct serve *s, struct client *c, struct ask *q)
{
    bool done = true;
    if (q->type == MSG_GET_BLK)
        done = serve_read(s, c, q);
    else if (q->type == MSG_GET_TREE)
        serve_list(s, c, q);
    else
        serve_have(s, c, q);
    if (done)
        free(q);
    else
        park(s, c, q);
}

static void on_time(void *arg) { serve_pump(arg); }

void serve_pump(struct serve *s)
{
    uint64_t now = loop_now(), wait;
    struct client *c;
    struct waiting *w;
    unpark(s, NULL, -1);
    if ((!s->queue.n && !s->parked) || *pool_stopping(s->c.pool))
        return;
    net_when_sent(s->c.net, on_time, s);
    s->soonest = LOOK_MS;
    while ((wait = rate_wait(&s->up, now, loop_wall())) == 0 && (c = queue_next(&s->queue, may_serve, s)))
        answer(s, c, (struct ask *)queue_take(&s->queue, c));
    while (now > PATIENCE_MS && (w = queue_stale(&s->queue, now - PATIENCE_MS, &c))) {
        struct ask *q = (struct ask *)w;
        refuse(s, &q->from, q->req, MSGERR_BUSY, "it has waited for too long");
        free(q);
    }
    if (s->queue.n || s->parked)
        loop_timer_set(s->c.loop, &s->timer, wait && wait < s->soonest ? wait : s->soonest, on_time, s);
}

/* ---- requests ---- */

static struct ask *ask_of(const struct net_from *from, const struct msg *m)
{
    uint32_t n = m->type == MSG_GET_BLK ? m->get_blk.n : 0;
    struct ask *q = xcalloc(1, sizeof *q + n * sizeof q->want[0]);
    q->from = *from;
    q->req = m->req;
    q->type = m->type;
    q->n = n;
    for (uint32_t i = 0; i < n; i++)
        q->want[i] = m->get_blk.want[i];
    if (m->type == MSG_GET_TREE) {
        q->root = m->get_tree.root;
        q->nblocks = m->get_tree.nblocks;
        q->first = m->get_tree.first;
        q->count = m->get_tree.count;
    } else if (m->type == MSG_HAVE) {
        q->root = m->have.root;
        q->nblocks = m->have.nblocks;
        q->first = m->have.first;
        q->count = m->have.count;
    }
    return q;
}

static bool is_small(const struct msg *m) { return m->type == MSG_HAVE && m->have.count <= 8 * SMALL; }

void serve_request(struct serve *s, const struct net_from *from, const struct msg *m)
{
    struct client *c = queue_client(&s->queue, &from->who);
    if (m->type != MSG_GET_TREE && m->type != MSG_HAVE && m->type != MSG_GET_BLK) {
        refuse(s, from, m->req, MSGERR_PROTO, "not a request for content");
        return;
    }
    if (!c->up.at)
        c->up = (struct rate){.plan = s->c.each, .at = loop_now()};
    if (is_small(m)) {
        answer(s, c, ask_of(from, m));
        return;
    }
    if (c->n + c->parked >= WAITING_MAX) {
        refuse(s, from, m->req, MSGERR_BUSY, "too many requests");
        return;
    }
    queue_put(&s->queue, c, &ask_of(from, m)->w, loop_now());
    serve_pump(s);
}

void serve_unfinished(struct serve *s, serve_part_fn fn, void *arg)
{
    s->part = fn;
    s->part_arg = arg;
}

/* Not at once: whoever tells is in the middle of something. */
void serve_news(struct serve *s, const struct id *root, int64_t block)
{
    if (!s->parked)
        return;
    unpark(s, root, block);
    if (s->queue.n)
        loop_timer_set(s->c.loop, &s->timer, 0, on_time, s);
}

uint64_t serve_bytes(const struct serve *s) { return s->bytes; }

int serve_new(const struct serve_config *c, struct serve **out)
{
    *out = xcalloc(1, sizeof **out);
    (*out)->c = *c;
    (*out)->up = (struct rate){.plan = c->up, .at = loop_now()};
    (*out)->lists = (struct lists){.index = c->index, .most = LISTS_BYTES};
    return 0;
}

void serve_free(struct serve **ps)
{
    struct serve *s = *ps;
    struct client *c;
    struct waiting *w;
    if (!s)
        return;
    net_when_sent(s->c.net, NULL, NULL);
    loop_timer_clear(s->c.loop, &s->timer);
    while ((w = queue_stale(&s->queue, UINT64_MAX, &c)))
        free(w);
    for (struct ask *q = s->parked, *next; q; q = next) {
        next = (struct ask *)q->w.next;
        free(q);
    }
    queue_release(&s->queue);
    lists_release(&s->lists);
    free(s);
    *ps = NULL;
}

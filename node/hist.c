#include "node/hist.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/serve.h"

enum { UNDER_WAY = 32 };             /* questions at one device: its replies wait in a queue of 256 when we are slow */

/* ---- asking ---- */

struct content_of { struct id root; uint32_t nblocks; };
/* A device that was asked: bit i says that it holds content i. */
struct witness { struct id dev; uint8_t *has; size_t next; };
struct hist {
    struct peers *peers;
    const struct group *group;
    struct content_of *v; size_t n, cap;             /* sorted once it is asked */
    struct witness *w; size_t nw;
    size_t waiting;                                  /* for answers */
    char *path; size_t len;                          /* NULL: of whatever path */
    bool asked, closed, all;                         /* all: those that were not linked have been asked, too */
    void (*news)(void *arg); void *arg;
};
struct question { struct hist *h; size_t witness, content; };

struct hist *hist_new(struct peers *peers, const struct group *group)
{
    struct hist *h = xcalloc(1, sizeof *h);
    *h = (struct hist){.peers = peers, .group = group};
    return h;
}

static void destroy(struct hist *h)
{
    for (size_t i = 0; i < h->nw; i++)
        free(h->w[i].has);
    free(h->w);
    free(h->v);
    free(h->path);
    free(h);
}

void hist_free(struct hist **ph)
{
    struct hist *h = *ph;
    *ph = NULL;
    if (!h)
        return;
    h->closed = true;
    if (!h->waiting)
        destroy(h);
}

void hist_add(struct hist *h, const struct id *root, uint32_t nblocks)
{
    assert(!h->asked);
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 16;
        h->v = xrealloc(h->v, h->cap, sizeof *h->v);
    }
    h->v[h->n++] = (struct content_of){*root, nblocks};
}

static int by_root(const void *a, const void *b)
{
    return memcmp(((const struct content_of *)a)->root.b, ((const struct content_of *)b)->root.b, ID_LEN);
}

static void sort_contents(struct hist *h)
{
    size_t k = 0;
    if (h->n)
        qsort(h->v, h->n, sizeof *h->v, by_root);
    for (size_t i = 0; i < h->n; i++)
        if (i == 0 || by_root(&h->v[i], &h->v[k - 1]) != 0)
            h->v[k++] = h->v[i];
    h->n = k;
}

static const struct content_of *content_find(const struct hist *h, const struct id *root)
{
    struct content_of key = {.root = *root};
    return h->n ? bsearch(&key, h->v, h->n, sizeof *h->v, by_root) : NULL;
}

static void on_answer(void *arg, const struct msg *m, zmq_msg_t *body);

static void question(struct hist *h, size_t w, size_t content, struct msg *m)
{
    struct question *q = xcalloc(1, sizeof *q);
    *q = (struct question){h, w, content};
    h->waiting++;
    link_request(peers_link(h->peers, &h->w[w].dev), LANE_CONTROL, m, HIST_MS, on_answer, q);
}

static void ask_path(struct hist *h, size_t w, const char *path, size_t len)
{
    struct msg m = {.type = MSG_GET_HIST, .get_hist = {.path = {(const uint8_t *)path, len}}};
    h->w[w].next = h->n;
    question(h, w, 0, &m);
}

static void ask_next(struct hist *h, size_t w)
{
    size_t i = h->w[w].next++;
    struct msg m = {.type = MSG_HAVE, .have = {.root = h->v[i].root, .nblocks = h->v[i].nblocks, .first = 0, .count = 1}};
    question(h, w, i, &m);
}

static void hold(struct hist *h, size_t w, size_t content) { h->w[w].has[content / 8] |= (uint8_t)(1u << (content % 8)); }

static void take_hist(struct hist *h, size_t w, zmq_msg_t *body)
{
    struct mp m;
    uint32_t n;
    struct hist_item before = {0}, it;
    if (body_open(zmq_msg_data(body), zmq_msg_size(body), &m, &n) < 0)
        return;
    for (; n && hist_next(&m, &before, &it) == 0; n--) {
        const struct content_of *c = content_find(h, &it.root);
        if (c)
            hold(h, w, (size_t)(c - h->v));
        before = it;
    }
}

static void take_have(struct hist *h, const struct question *q, const struct msg *m, zmq_msg_t *body)
{
    const uint8_t *bits = zmq_msg_data(body);
    if (id_eq(&m->have_ok.root, &h->v[q->content].root) && zmq_msg_size(body) == 1 && bits[0] & 1)
        hold(h, q->witness, q->content);
}

static void ask_linked(struct hist *h);

static bool all_held(const struct hist *h)
{
    for (size_t i = 0; i < h->n; i++) {
        bool held = false;
        for (size_t w = 0; w < h->nw && !held; w++)
            held = h->w[w].has[i / 8] >> (i % 8) & 1;
        if (!held)
            return false;
    }
    return true;
}

static void on_gathered(void *arg);

/* True: others will be asked as soon as they are linked. */
static bool go_on(struct hist *h)
{
    if (h->closed || h->all || !h->group->nmember || all_held(h))
        return false;
    h->all = true;
    if (!peers_gather(h->peers, on_gathered, h))
        return false;
    h->waiting++;
    return true;
}

static void end_wait(struct hist *h)
{
    if (--h->waiting || go_on(h))
        return;
    if (h->closed)
        destroy(h);
    else
        h->news(h->arg);
}

static void on_gathered(void *arg)
{
    struct hist *h = arg;
    if (!h->closed)
        ask_linked(h);
    end_wait(h);
}

/* Whoever does not answer one question is not asked another. */
static void on_answer(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct question *q = arg;
    struct hist *h = q->h;
    if (!h->closed && m && m->type == MSG_HIST)
        take_hist(h, q->witness, body);
    else if (!h->closed && m && m->type == MSG_HAVE_OK)
        take_have(h, q, m, body);
    struct witness *w = &h->w[q->witness];
    if (!m)
        w->next = h->n;
    if (!h->closed && w->next < h->n && peers_link(h->peers, &w->dev))
        ask_next(h, q->witness);
    free(q);
    end_wait(h);
}

static bool is_witness(const struct hist *h, const struct id *dev)
{
    for (size_t w = 0; w < h->nw; w++)
        if (id_eq(&h->w[w].dev, dev))
            return true;
    return false;
}

static void find_witnesses(struct hist *h)
{
    for (size_t i = 0; i < h->group->nmember; i++) {
        const struct id *dev = &h->group->member[i].card.dev;
        if (!peers_link(h->peers, dev) || is_witness(h, dev))
            continue;
        h->w = xrealloc(h->w, h->nw + 1, sizeof *h->w);
        h->w[h->nw++] = (struct witness){.dev = *dev, .has = xcalloc(h->n / 8 + 1, 1)};
    }
}

/* Those that have not been asked yet. */
static void ask_linked(struct hist *h)
{
    size_t first = h->nw;
    find_witnesses(h);
    for (size_t w = first; w < h->nw; w++) {
        if (h->path)
            ask_path(h, w, h->path, h->len);
        for (size_t k = 0; k < UNDER_WAY && h->w[w].next < h->n; k++)
            ask_next(h, w);
    }
}

void hist_ask(struct hist *h, const char *path, size_t len, void (*news)(void *arg), void *arg)
{
    assert(!h->asked);
    h->asked = true;
    h->news = news;
    h->arg = arg;
    h->path = path ? xcalloc(len + 1, 1) : NULL;
    h->len = len;
    if (path)
        memcpy(h->path, path, len);
    sort_contents(h);
    if (h->n)
        ask_linked(h);
    if (h->n && !h->waiting)
        go_on(h);
}

bool hist_over(const struct hist *h) { return h->asked && !h->waiting; }

size_t hist_holders(const struct hist *h, const struct id *root, struct id *dev, size_t max)
{
    const struct content_of *c = content_find(h, root);
    size_t n = 0, i = c ? (size_t)(c - h->v) : 0;
    for (size_t w = 0; c && w < h->nw && n < max; w++)
        if (h->w[w].has[i / 8] >> (i % 8) & 1)
            dev[n++] = h->w[w].dev;
    return n;
}

/* ---- answering ---- */

struct held { struct engine *e; struct index *ix; struct hist_item *v; size_t n, looked; };

static int add_held(void *arg, const struct ix_entry *row)
{
    struct held *d = arg;
    struct place_of at;
    if (d->looked++ == HIST_LOOKED)
        return 1;
    if (row->kind != KIND_FILE || id_is_none(&row->root) || !engine_shows(d->e, row->stream, row->seq) || serve_find(d->ix, &row->root, &at) < 0)
        return 0;
    place_of_release(&at);
    d->v[d->n++] = (struct hist_item){{*engine_stream_sid(d->e, row->stream), row->seq}, row->root};
    return 0;
}

static int by_dot(const void *a, const void *b)
{
    return dot_cmp(&((const struct hist_item *)a)->dot, &((const struct hist_item *)b)->dot);
}

int hist_answer(struct engine *e, struct index *ix, const char *path, size_t len, struct buf *body)
{
    int64_t id;
    int r = index_path_id(ix, path, len, false, &id);
    if (r < 0)
        return r;
    struct held d = {.e = e, .ix = ix, .v = xcalloc(HIST_LOOKED, sizeof *d.v)};
    r = index_entry_each_of_path(ix, id, add_held, &d);
    qsort(d.v, d.n, sizeof *d.v, by_dot);
    mp_put_array(body, d.n);
    for (size_t i = 0; i < d.n; i++)
        hist_put(body, &d.v[i]);
    free(d.v);
    return r < 0 ? r : 0;
}

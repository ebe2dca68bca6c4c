/* What neighbours tell each other of all others: GET_VECS and VECS. */
#include <stdlib.h>
#include <string.h>

#include "node/api.h"
#include "node/far_priv.h"
#include "node/lock.h"
#include "node/log.h"
#include "node/proof.h"

#define NEWS_MS 50              /* more of it may come at the same time */
#define REQUEST_MS 5000
#define AGES_MS 4000            /* so often a neighbour is asked of whom it has heard, news or not */

/* news, since: when it was put. */
struct ask { struct node *n; struct id dev; uint64_t sent, news, since; };

/* In a small group, too: it may grow, and then all are told of at once. */
void far_vector(struct node *n, const struct id *dev, const void *blob, size_t len)
{
    if (far_keep(n->far, far_get(n, dev), blob, len) && far_is_large(n))
        far_wake(n, NEWS_MS);
}

/* ---- what is told ---- */

/* 1: it was news. */
static int take(struct node *n, const struct vec_told *t, uint64_t sent)
{
    struct far_device *d = far_get(n, &t->dev);
    if (peers_link(n->peers, &t->dev))
        return 0;
    far_hear(n->far, d, far_heard_by_age(sent, t->age_ms));
    if (!t->vec.len || (t->vec.len == d->len && memcmp(t->vec.p, d->vec, d->len) == 0))
        return 0;
    int r = engine_vector_told(n->engine, t->vec.p, t->vec.len, &t->dev, loop_wall());
    if (r <= 0)
        return r;
    bool news = far_keep(n->far, d, t->vec.p, t->vec.len);
    if (proof_wants(n->proof, &t->dev))
        proof_note(n->proof, t->vec.p, t->vec.len);
    return news;
}

/* 1: there was news. *early: of somebody, perhaps, who will be a member as soon as his record is here. */
static int take_all(struct node *n, const struct ask *q, zmq_msg_t *body, bool *early)
{
    struct mp m;
    uint32_t count;
    struct vec_told t = {0}, before;
    bool news = false;
    int r = body_open(zmq_msg_data(body), zmq_msg_size(body), &m, &count);
    if (r == 0 && count > LIMIT_MEMBERS)
        r = err_set(ERR_BAD, "VECS: more than %u devices", LIMIT_MEMBERS);
    for (; r == 0 && count; count--) {
        before = t;
        r = told_next(&m, &before, &t);
        int taken = r == 0 && far_is_member(n, &t.dev) ? take(n, &t, q->sent) : 0;
        news |= taken > 0;
        *early |= r == 0 && t.vec.len && !group_find(control_group(n->home->control), &t.dev);
        if (taken < 0)
            log_seldom(LOG_INFO, "vector refused why=\"%s\"", err_text());
    }
    if (r < 0)
        log_seldom(LOG_WARN, "answer refused why=\"%s\"", err_text());
    return r < 0 ? r : news;
}

static void on_vecs(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct ask q = *(struct ask *)arg;
    struct node *n = q.n;
    struct far *f = n->far;
    uint64_t before = f->news;
    bool early = false;
    int taken = m && m->type == MSG_VECS ? take_all(n, &q, body, &early) : ERR_BAD;
    struct far_device *d = far_get(n, &q.dev);
    free(arg);
    d->busy = false;
    if (taken < 0) {
        d->mute_until = loop_now() + FAR_MUTE_MS;
    } else {
        far_answered(f, d, q.news, before, m->vecs.upto, early);
        d->hot |= m->vecs.more && d->upto > q.since;
    }
    if (!m)
        return;                      /* perhaps all of the node is ending */
    if (taken > 0) {
        lock_poll(n);
        api_poll(n->api);
    }
    if (f->news != before)
        far_wake(n, NEWS_MS);
}

/* ---- asking ---- */

/* What is new here. */
static void put_held(struct node *n, const struct far_device *to, struct buf *body)
{
    struct far *f = n->far;
    uint32_t count = 0;
    for (size_t i = 0; i < f->n; i++)
        count += count < MSG_HELD && far_names(&f->d[i], to);
    mp_put_array(body, count);
    for (size_t i = 0; i < f->n && count; i++) {
        if (!far_names(&f->d[i], to))
            continue;
        const struct vec *v = engine_vector_of(n->engine, &f->d[i].dev);
        struct vec_held h = {.dev = f->d[i].dev};
        if (v) {
            h.ctr = v->ctr;
            h.wall_ms = v->wall_ms;
            memcpy(h.inst, v->inst, sizeof h.inst);
        }
        memcpy(h.meaning, f->d[i].meaning, sizeof h.meaning);
        held_put(body, &h);
        count--;
    }
}

static void ask(struct node *n, struct far_device *d)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_HEAD * 2);
    struct far *f = n->far;
    struct ask *q = xcalloc(1, sizeof *q);
    uint64_t now = loop_now();
    bool ages = now >= f->ages_due;
    *q = (struct ask){n, d->dev, now, f->news, d->upto};
    put_held(n, d, &body);
    f->ages_due = ages ? now + AGES_MS : f->ages_due;
    d->asked = now;
    d->hot = false;
    d->busy = true;
    struct msg m = {.type = MSG_GET_VECS, .get_vecs = {.chosen = d->chosen, .ages = ages, .since = d->upto}};
    link_request_body(peers_link(n->peers, &d->dev), LANE_CONTROL, &m, &body, REQUEST_MS, on_vecs, q);
}

void far_hurry(struct node *n, const struct id *dev)
{
    struct far_device *d = far_is_large(n) ? far_get(n, dev) : NULL;
    const struct link *l = d ? peers_link(n->peers, dev) : NULL;
    if (!l || link_state(l) != LINK_UP)
        return;
    d->hot = true;
    if (far_may_hurry(d) && !n->paused)
        ask(n, d);
    else
        far_wake(n, NEWS_MS);
}

static bool can_be_asked(const void *arg, const struct id *dev)
{
    const struct node *n = arg;
    const struct link *l = peers_link(n->peers, dev);
    return l && link_state(l) == LINK_UP;
}

bool far_ask_next(struct node *n)
{
    bool more = false;
    struct far_device *d = n->paused ? NULL : far_next(n->far, can_be_asked, n, &more);
    if (d)
        ask(n, d);
    return more;
}

/* ---- answering ---- */

struct held_set { struct vec_held *h; size_t n; };

static int read_held(zmq_msg_t *body, struct held_set *out)
{
    struct mp m;
    uint32_t count;
    int r = body_open(zmq_msg_data(body), zmq_msg_size(body), &m, &count);
    if (r < 0)
        return r;
    if (count > MSG_HELD)
        return err_set(ERR_BAD, "GET_VECS: more than %u devices", MSG_HELD);
    out->h = xcalloc(count + 1, sizeof *out->h);
    for (; out->n < count && r == 0; out->n += r == 0)
        r = held_next(&m, out->n ? &out->h[out->n - 1] : &(struct vec_held){0}, &out->h[out->n]);
    return r;
}

static int by_device(const void *dev, const void *held) { return id_cmp(dev, &((const struct vec_held *)held)->dev); }

static const struct vec_held *held_by(const struct held_set *s, const struct id *dev)
{
    return s->n ? bsearch(dev, s->h, s->n, sizeof *s->h, by_device) : NULL;
}

/* What the client wants to hear: news since then, up to what fits, and with `ages` also of whom anybody has heard lately. */
struct telling { const struct id *to; struct held_set held; uint64_t since, upto; bool ages; };

static void telling_release(struct telling *t) { free(t->held.h); }

static bool is_news(struct node *n, const struct far_device *d, const struct telling *t)
{
    bool changed = d->changed > t->since && d->changed <= t->upto && d->len;
    const struct vec *v = changed ? engine_vector_of(n->engine, &d->dev) : NULL;
    const struct vec_held *h = v ? held_by(&t->held, &d->dev) : NULL;
    return v && (!h || (memcmp(d->meaning, h->meaning, sizeof h->meaning) != 0 && vec_newer(v, h)));
}

static bool may_be_told(const struct node *n, const struct far_device *d, const struct telling *t)
{
    return d->heard && !id_eq(&d->dev, t->to) && far_is_member(n, &d->dev);
}

static uint64_t what_fits(struct node *n, const struct telling *t)
{
    const struct far *f = n->far;
    AUTOFREE struct far_piece *p = xcalloc(f->n + 1, sizeof *p);
    size_t count = 0;
    for (size_t i = 0; i < f->n; i++)
        if (is_news(n, &f->d[i], t) && may_be_told(n, &f->d[i], t))
            p[count++] = (struct far_piece){f->d[i].changed, f->d[i].len};
    return far_fit(p, count, LIMIT_CS_REPLY, t->upto);
}

static void put_told(struct node *n, const struct telling *t, struct buf *out)
{
    AUTO(buf_release) struct buf items = BUF_INIT(LIMIT_BODY);
    uint32_t count = 0;
    uint64_t now = loop_now();
    for (size_t i = 0; i < n->far->n; i++) {
        struct far_device *d = &n->far->d[i];
        bool changed = d->changed > t->since && d->changed <= t->upto;
        if (!(changed || (t->ages && far_heard_lately(d))) || !may_be_told(n, d, t))
            continue;
        if (peers_link(n->peers, &d->dev))
            d->heard = now;
        struct vec_told told = {.dev = d->dev, .age_ms = now - d->heard < MSG_AGE_MAX_MS ? now - d->heard : MSG_AGE_MAX_MS};
        if (is_news(n, d, t))
            told.vec = (struct bytes){d->vec, d->len};
        else if (!far_heard_lately(d))
            continue;
        told_put(&items, &told);
        count++;
    }
    mp_put_array(out, count);
    buf_add(out, items.data, items.len);
}

/* The client has something that is new here. */
static bool has_more(struct node *n, const struct held_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct vec_held *h = &s->h[i];
        const struct far_device *d = far_find(n, &h->dev);
        const struct vec *v = d && d->len ? engine_vector_of(n->engine, &h->dev) : NULL;
        bool same = v && memcmp(d->meaning, h->meaning, sizeof h->meaning) == 0;
        if (far_is_member(n, &h->dev) && !peers_link(n->peers, &h->dev) && !same && (!v || !vec_newer(v, h)))
            return true;
    }
    return false;
}

static void note_choice(struct node *n, const struct id *dev, bool chosen)
{
    struct far_device *d = far_get(n, dev);
    bool news = chosen && far_wish(n, dev) != WISH_LINK;
    d->chose_us = chosen ? loop_now() : 0;
    far_hear(n->far, d, loop_now());
    if (news)
        peers_review(n->peers);
}

void far_serve(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    AUTO(telling_release) struct telling t = {.to = &from->who, .upto = n->far->news, .ages = m->get_vecs.ages};
    AUTO(buf_release) struct buf reply = BUF_INIT(LIMIT_BODY);
    t.since = m->get_vecs.since <= n->far->news ? m->get_vecs.since : 0;
    if (read_held(body, &t.held) < 0) {
        log_seldom(LOG_WARN, "message refused why=\"%s\"", err_text());
        t.upto = t.since;
        mp_put_array(&reply, 0);
    } else {
        if (far_is_member(n, &from->who))
            note_choice(n, &from->who, m->get_vecs.chosen);
        t.upto = what_fits(n, &t);
        put_told(n, &t, &reply);
    }
    zmq_msg_t z;
    net_body_of(&z, &reply);
    struct msg vecs = {.type = MSG_VECS, .req = m->req, .vecs = {.upto = t.upto, .more = t.upto < n->far->news}};
    net_reply(n->net, from, &vecs, &z);
    if (!far_is_large(n) || !far_is_member(n, &from->who) || !has_more(n, &t.held))
        return;
    far_get(n, &from->who)->hot = true;
    far_wake(n, NEWS_MS);
}

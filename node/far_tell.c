/* What neighbours tell each other of all others: GET_VECS and VECS. */
#include <stdlib.h>
#include <string.h>

#include "node/api.h"
#include "node/far_priv.h"
#include "node/lock.h"
#include "node/log.h"
#include "node/proof.h"

#define NEWS_MS 50              /* a neighbour has news, so perhaps of others, too */
#define MORE_MS 100             /* the last answer had news */
#define REQUEST_MS 5000
#define MUTE_MS 60000           /* who left a question unanswered: its news do not count for so long */
#define OVERDUE_MS 30000        /* whoever was not asked for so long comes before all who have news */

struct ask { struct node *n; struct id dev; uint64_t sent; };

/* Whether it says anything new. */
static bool keep(struct far_device *d, const void *blob, size_t len)
{
    struct id meaning = vec_meaning(blob, len);
    bool news = !d->len || memcmp(d->meaning, meaning.b, sizeof d->meaning) != 0;
    memcpy(d->meaning, meaning.b, sizeof d->meaning);
    d->vec = xrealloc(d->vec, len, 1);
    memcpy(d->vec, blob, len);
    d->len = len;
    return news;
}

/* In a small group, too: it may grow, and then all are told of at once. */
void far_vector(struct node *n, const struct id *dev, const void *blob, size_t len)
{
    struct far_device *d = far_get(n, dev);
    if (!keep(d, blob, len) || !far_is_large(n))
        return;
    d->hot = true;
    far_wake(n, NEWS_MS);
}

/* ---- what is told ---- */

/* 1: it was news. `sent`: when it was asked for; the age was true then or later, so what goes round and round becomes no younger. */
static int take(struct node *n, const struct vec_told *t, uint64_t sent)
{
    struct far_device *d = far_get(n, &t->dev);
    uint64_t heard = sent > t->age_ms ? sent - t->age_ms : 1;
    if (peers_link(n->peers, &t->dev))
        return 0;
    d->heard = heard > d->heard ? heard : d->heard;
    if (!t->vec.len)
        return 0;
    int r = engine_vector_told(n->engine, t->vec.p, t->vec.len, &t->dev, loop_wall());
    if (r <= 0)
        return r;
    bool news = keep(d, t->vec.p, t->vec.len);
    if (proof_wants(n->proof, &t->dev))
        proof_note(n->proof, t->vec.p, t->vec.len);
    return news;
}

static bool take_all(struct node *n, const struct ask *q, zmq_msg_t *body)
{
    struct mp m;
    uint32_t count;
    struct vec_told t;
    struct link *l = peers_link(n->peers, &q->dev);
    bool news = false;
    if (body_open(zmq_msg_data(body), zmq_msg_size(body), &m, &count) < 0)
        return false;
    for (; count && told_next(&m, &t) == 0; count--) {
        int r = far_is_member(n, &t.dev) ? take(n, &t, q->sent) : 0;
        news |= r > 0;
        if (r < 0)
            log_seldom(LOG_INFO, "vector refused why=\"%s\"", err_text());
        if (r == ERR_AGAIN && l)
            control_ask(n, l, false);
    }
    return news;
}

static void on_vecs(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct ask *q = arg;
    struct node *n = q->n;
    n->far->busy = false;
    bool news = m && m->type == MSG_VECS && take_all(n, q, body);
    if (!m)
        far_get(n, &q->dev)->mute_until = loop_now() + MUTE_MS;
    free(q);
    if (!m)
        return;                      /* perhaps all of the node is ending */
    far_look_who_is_online(n);
    if (news) {
        lock_poll(n);
        api_poll(n->api);
        far_wake(n, MORE_MS);
    }
}

/* ---- asking ---- */

static void put_held(struct node *n, struct buf *body)
{
    struct far *f = n->far;
    uint32_t count = 0;
    for (size_t i = 0; i < f->n; i++)
        count += count < MSG_HELD && f->d[i].len;
    mp_put_array(body, count);
    for (size_t i = 0; i < f->n && count; i++) {
        if (!f->d[i].len)
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
    struct ask *q = xcalloc(1, sizeof *q);
    *q = (struct ask){n, d->dev, loop_now()};
    put_held(n, &body);
    d->asked = loop_now();
    d->hot = false;
    n->far->busy = true;
    struct msg m = {.type = MSG_GET_VECS, .get_vecs = {.chosen = d->chosen}};
    link_request_body(peers_link(n->peers, &d->dev), LANE_CONTROL, &m, &body, REQUEST_MS, on_vecs, q);
}

static bool has_news(const struct far_device *d) { return d->hot && loop_now() >= d->mute_until; }

/* Who was not asked for long, then who has news, then the others; of them who was not asked for the longest time. */
static int urgency(const struct far_device *d) { return loop_now() >= d->asked + OVERDUE_MS ? 2 : has_news(d); }

void far_ask_next(struct node *n)
{
    struct far_device *best = NULL;
    for (size_t i = 0; i < n->far->n && !n->far->busy && !n->paused; i++) {
        struct far_device *d = &n->far->d[i];
        const struct link *l = peers_link(n->peers, &d->dev);
        if (l && link_state(l) == LINK_UP &&
            (!best || urgency(d) > urgency(best) || (urgency(d) == urgency(best) && d->asked < best->asked)))
            best = d;
    }
    if (best)
        ask(n, best);
}

bool far_news_waits(const struct far *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (has_news(&f->d[i]))
            return true;
    return false;
}

/* ---- answering ---- */

struct held_set { struct vec_held *h; size_t n; };
static void held_set_release(struct held_set *s) { free(s->h); }

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
        r = held_next(&m, &out->h[out->n]);
    return r;
}

static const struct vec_held *held_by(const struct held_set *s, const struct id *dev)
{
    for (size_t i = 0; i < s->n; i++)
        if (id_eq(&s->h[i].dev, dev))
            return &s->h[i];
    return NULL;
}

static bool is_news(struct node *n, const struct far_device *d, const struct vec_held *h)
{
    const struct vec *v = d->len ? engine_vector_of(n->engine, &d->dev) : NULL;
    return v && (!h || (memcmp(d->meaning, h->meaning, sizeof h->meaning) != 0 && vec_newer(v, h)));
}

static void put_told(struct node *n, const struct held_set *s, const struct id *who, struct buf *out)
{
    AUTO(buf_release) struct buf items = BUF_INIT(LIMIT_BODY);
    uint32_t count = 0;
    uint64_t now = loop_now();
    for (size_t i = 0; i < n->far->n; i++) {
        struct far_device *d = &n->far->d[i];
        if (id_eq(&d->dev, who) || !far_is_member(n, &d->dev) || !d->heard)
            continue;
        if (peers_link(n->peers, &d->dev))
            d->heard = now;
        struct vec_told t = {.dev = d->dev, .age_ms = now - d->heard < MSG_AGE_MAX_MS ? now - d->heard : MSG_AGE_MAX_MS};
        if (is_news(n, d, held_by(s, &d->dev)) && items.len + d->len < LIMIT_CS_REPLY)
            t.vec = (struct bytes){d->vec, d->len};
        if (!t.vec.len && !far_heard_lately(d))
            continue;
        told_put(&items, &t);
        count++;
    }
    mp_put_array(out, count);
    buf_add(out, items.data, items.len);
}

static void note_choice(struct node *n, const struct id *dev, bool chosen)
{
    struct far_device *d = far_get(n, dev);
    bool news = chosen && far_wish(n, dev) != WISH_LINK;
    d->chose_us = chosen ? loop_now() : 0;
    d->heard = loop_now();
    if (news)
        peers_review(n->peers);
}

void far_serve(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    AUTO(held_set_release) struct held_set s = {0};
    AUTO(buf_release) struct buf reply = BUF_INIT(LIMIT_BODY);
    if (read_held(body, &s) < 0) {
        log_seldom(LOG_WARN, "message refused why=\"%s\"", err_text());
        mp_put_array(&reply, 0);
    } else {
        if (far_is_member(n, &from->who))
            note_choice(n, &from->who, m->get_vecs.chosen);
        put_told(n, &s, &from->who, &reply);
    }
    zmq_msg_t z;
    net_body_of(&z, &reply);
    net_reply(n->net, from, &(struct msg){.type = MSG_VECS, .req = m->req}, &z);
}

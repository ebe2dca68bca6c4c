/* The audit. Vectors carry a fingerprint of the live state. Whoever knows just the entries that a peer knows must show the same; if not, one of
 * the two was told that something is dead that is not, or knows less than it says (declared in node_priv.h). */
#include <stdlib.h>

#include "node/log.h"
#include "node/node_priv.h"

#define REQUEST_MS 20000
#define PAUSE_MS (10u * 60 * 1000)    /* before the same peer is gone through again, when that came to nothing */

/* Of a peer that was gone through: what both showed then. */
struct audited { struct differing was; bool whole; uint64_t next_ms; };
struct audit {
    struct audited *seen; size_t nseen;
    bool walking;
    struct differing who;            /* the one that is gone through now */
    uint64_t cursor, left;           /* left: so many entries may still come */
    struct live_found found;
};

void audit_free(struct node *n)
{
    if (n->audit)
        free(n->audit->seen);
    free(n->audit);
    n->audit = NULL;
}

static struct audited *seen_of(struct audit *a, const struct id *dev)
{
    for (size_t i = 0; i < a->nseen; i++)
        if (id_eq(&a->seen[i].was.dev, dev))
            return &a->seen[i];
    a->seen = xrealloc(a->seen, a->nseen + 1, sizeof *a->seen);
    a->seen[a->nseen] = (struct audited){.was.dev = *dev};
    return &a->seen[a->nseen++];
}

/* Again only when there is another reason; and after a walk that found nothing not before some time has passed. */
static bool is_due(const struct audited *s, const struct differing *d)
{
    bool news = !s->whole || !id_eq(&s->was.theirs, &d->theirs) || !id_eq(&s->was.ours, &d->ours);
    return news && loop_now() >= s->next_ms;
}

static void end_walk(struct node *n, bool whole)
{
    struct audit *a = n->audit;
    bool changed = a->found.restored || a->found.deleted;
    const struct member *m = group_find(control_group(n->home->control), &a->who.dev);
    *seen_of(a, &a->who.dev) = (struct audited){a->who, whole, changed ? 0 : loop_now() + PAUSE_MS};
    a->walking = false;
    if (a->found.restored)
        log_warn("audit restored=%llu with=%s why=\"hidden by a false pruning\"", (unsigned long long)a->found.restored, m ? m->card.name : "?");
    if (a->found.deleted)
        log_info("audit deleted_again=%llu with=%s why=\"died long ago\"", (unsigned long long)a->found.deleted, m ? m->card.name : "?");
    if (!changed)
        log_info("audit with=%s whole=%d why=\"shows something else than we do; nothing of ours is wrong\"", m ? m->card.name : "?", whole);
}

static int take_page(struct node *n, zmq_msg_t *body, struct live_found *page)
{
    int r = engine_begin(n->engine);
    if (r < 0)
        return r;
    r = engine_take_live(n->engine, zmq_msg_data(body), zmq_msg_size(body), loop_wall(), page);
    if (r < 0) {
        engine_rollback(n->engine);
        return r;
    }
    r = engine_commit(n->engine, loop_wall());
    if (r == 0 && (page->restored || page->deleted))
        node_committed(n);
    return r;
}

static void ask(struct node *n);

/* A page without entries that is not the last one, and more entries than there can be, come from nobody who is honest. */
static void on_live(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct node *n = arg;
    struct audit *a = n->audit;
    struct live_found page = {0};
    int r = m && m->type == MSG_LIVE ? take_page(n, body, &page) : ERR_CLOSED;
    if (m && r < 0)
        log_seldom(LOG_WARN, "live state refused why=\"%s\"", m->type == MSG_LIVE ? err_text() : "not served");
    if (r < 0) {
        end_walk(n, false);
        return;
    }
    a->found.restored += page.restored;
    a->found.deleted += page.deleted;
    bool more = m->live.next > a->cursor && page.items && page.items <= a->left;
    a->left -= page.items <= a->left ? page.items : a->left;
    a->cursor = m->live.next;
    if (more)
        ask(n);
    else
        end_walk(n, m->live.next == 0);
}

static void ask(struct node *n)
{
    struct link *l = peers_link(n->peers, &n->audit->who.dev);
    struct msg m = {.type = MSG_GET_LIVE, .get_live = {.cursor = n->audit->cursor}};
    if (l)
        link_request(l, LANE_CONTROL, &m, REQUEST_MS, on_live, n);
    else
        end_walk(n, false);
}

void audit_poll(struct node *n)
{
    struct differing d;
    size_t at = 0;
    if (!n->audit)
        n->audit = xcalloc(1, sizeof *n->audit);
    struct audit *a = n->audit;
    while (!a->walking && !n->paused && engine_next_differing(n->engine, &at, &d)) {
        if (!is_due(seen_of(a, &d.dev), &d))
            continue;
        a->walking = true;
        a->who = d;
        a->cursor = 0;
        a->left = engine_entries_known(n->engine);
        a->found = (struct live_found){0};
        ask(n);
    }
}

void audit_serve(struct node *n, const struct net_from *from, const struct msg *m)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct msg reply = {.type = MSG_LIVE, .req = m->req};
    if (engine_serve_live(n->engine, &m->get_live.from, &m->get_live.to, m->get_live.cursor, &reply.live.next, &body) < 0) {
        log_seldom(LOG_WARN, "the live state cannot be served why=\"%s\"", err_text());
        buf_clear(&body);
        mp_put_array(&body, 0);
        reply.live.next = 0;
    }
    zmq_msg_t z;
    net_body_of(&z, &body);
    net_reply(n->net, from, &reply, &z);
}

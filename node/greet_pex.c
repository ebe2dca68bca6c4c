/* Address cards on the network: which are told to whom, and when. A PEX without cards asks for all that the other side holds; one with
 * cards tells news and is answered by an empty one. Both go one at a time over each link, so they work also where only one side can
 * dial the other. */
#include <stdlib.h>

#include "node/node_priv.h"
#include "node/pex.h"

#define TICK_MS 1000
#define ASK_MS 120000           /* for those who cannot dial us, and so cannot tell us */
#define REQUEST_MS 20000
#define CARD_MAX 2048           /* bytes of a kept card: more than any has */

/* With one device of the group, while it is linked. */
struct talk { struct id dev; uint64_t told, ask_due; bool busy; };
struct greet_pex {
    struct pex *pex;
    struct loop_timer tick;
    struct talk *talk; size_t ntalk;
};
struct pex_request { struct node *n; struct id dev; bool ask; uint64_t upto; };

static struct talk *talk_with(struct node *n, const struct id *dev)
{
    struct greet_pex *p = n->pex;
    for (size_t i = 0; i < p->ntalk; i++)
        if (id_eq(&p->talk[i].dev, dev))
            return &p->talk[i];
    p->talk = xrealloc(p->talk, p->ntalk + 1, sizeof *p->talk);
    p->talk[p->ntalk] = (struct talk){.dev = *dev};
    return &p->talk[p->ntalk++];
}

/* ---- telling ---- */

static void go_on(struct node *n, const struct id *dev);

static void on_reply(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct pex_request *q = arg;
    struct talk *t = talk_with(q->n, &q->dev);
    t->busy = false;
    if (m && m->type == MSG_PEX &&
        pex_take(q->n->pex->pex, &q->dev, zmq_msg_data(body), zmq_msg_size(body), LIMIT_MEMBERS, loop_wall()) > 0)
        pex_tick(q->n->pex->pex, loop_now(), loop_wall());
    if (m && q->ask)
        t->ask_due = loop_now() + ASK_MS;
    else if (m)
        t->told = q->upto;
    if (m)                               /* without an answer: again with the next tick */
        go_on(q->n, &q->dev);
    free(q);
}

/* The next thing that is to be said to a member, if any: a question first. */
static void go_on(struct node *n, const struct id *dev)
{
    struct link *l = peers_link(n->peers, dev);
    if (!l || link_state(l) != LINK_UP)
        return;
    struct talk *t = talk_with(n, dev);
    if (t->busy)
        return;
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_HEAD);
    bool ask = loop_now() >= t->ask_due;
    uint64_t upto = t->told;
    uint32_t count = 0;
    if (ask)
        mp_put_array(&body, 0);
    else
        upto = pex_news(n->pex->pex, dev, t->told, &body, &count);
    if (!ask && count == 0) {
        t->told = upto;
        return;
    }
    struct pex_request *q = xcalloc(1, sizeof *q);
    *q = (struct pex_request){n, *dev, ask, upto};
    t->busy = true;
    link_request_body(l, LANE_CONTROL, &(struct msg){.type = MSG_PEX}, &body, REQUEST_MS, on_reply, q);
}

static void go_on_with_all(struct node *n)
{
    for (size_t i = 0; i < node_group(n)->nmember; i++)
        go_on(n, &node_group(n)->member[i].card.dev);
}

void greet_pex_up(struct node *n, const struct id *dev)
{
    *talk_with(n, dev) = (struct talk){.dev = *dev};
    go_on(n, dev);
}

void greet_pex_ask_all(struct node *n)
{
    for (size_t i = 0; i < n->pex->ntalk; i++)
        n->pex->talk[i].ask_due = 0;
    go_on_with_all(n);
}

void greet_pex_serve(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    AUTO(buf_release) struct buf reply = BUF_INIT(LIMIT_BODY);
    int r = pex_take(n->pex->pex, &from->who, zmq_msg_data(body), zmq_msg_size(body), PEX_CARDS, loop_wall());
    if (r == 0)
        pex_all(n->pex->pex, &reply);
    else
        mp_put_array(&reply, 0);
    zmq_msg_t z;
    net_body_of(&z, &reply);
    net_reply(n->net, from, &(struct msg){.type = MSG_PEX, .req = m->req}, &z);
}

/* ---- life cycle ---- */

static void on_hint(void *arg, const struct id *dev, uint32_t naddr, char (*addr)[64])
{
    struct node *n = arg;
    peers_hint(n->peers, dev, naddr, addr);
}

static void on_keep(void *arg, const struct id *dev, const void *blob, size_t len) { greet_remember(arg, "card", dev, blob, len); }

static void on_tick(void *arg)
{
    struct node *n = arg;
    pex_tick(n->pex->pex, loop_now(), loop_wall());
    go_on_with_all(n);
    loop_timer_set(n->loop, &n->pex->tick, TICK_MS, on_tick, n);
}

void greet_pex_start(struct node *n)
{
    const struct group *g = node_group(n);
    n->pex = xcalloc(1, sizeof *n->pex);
    struct pex_config c = {.keys = n->home->keys, .group = g, .listen = net_address(n->net), .ops = {.hint = on_hint, .keep = on_keep, .arg = n}};
    pex_new(&c, &n->pex->pex);
    for (size_t i = 0; i < g->nmember; i++) {
        AUTO(buf_release) struct buf v = BUF_INIT(CARD_MAX);
        if (greet_recall(n, "card", &g->member[i].card.dev, &v) == 0)
            pex_restore(n->pex->pex, v.data, v.len, loop_wall());
    }
    on_tick(n);
}

void greet_pex_free(struct node *n)
{
    if (!n->pex)
        return;
    loop_timer_clear(n->loop, &n->pex->tick);
    pex_free(&n->pex->pex);
    free(n->pex->talk);
    free(n->pex);
    n->pex = NULL;
}

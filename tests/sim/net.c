#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

void net_send(struct world *w, struct message *m)
{
    struct net *n = &w->net;
    if (n->cut[m->from][m->to] || !w->d[m->to].engine) {
        buf_release(&m->body);
        return;
    }
    if (n->n == n->cap) {
        n->cap = n->cap ? 2 * n->cap : 64;
        n->v = xrealloc(n->v, n->cap, sizeof *n->v);
    }
    n->v[n->n++] = *m;
}

static struct message take(struct net *n, size_t i)
{
    struct message m = n->v[i];
    memmove(&n->v[i], &n->v[i + 1], (n->n - i - 1) * sizeof *n->v);
    n->n--;
    return m;
}

static void copy(struct world *w, const struct message *m)
{
    struct message twin = *m;
    twin.body = (struct buf)BUF_INIT(LIMIT_BODY);
    buf_add(&twin.body, m->body.data, m->body.len);
    net_send(w, &twin);
}

void net_deliver(struct world *w, size_t i)
{
    struct message m = take(&w->net, i);
    if (!w->quiet && chance(w, w->faults.duplicate))
        copy(w, &m);
    if (w->d[m.to].engine)
        device_receive(w, &m);
    buf_release(&m.body);
}

void net_lose(struct world *w, size_t i)
{
    struct message m = take(&w->net, i);
    buf_release(&m.body);
}

static void forget(struct world *w, int a, int b)
{
    struct net *n = &w->net;
    for (size_t i = n->n; i-- > 0; ) {
        const struct message *m = &n->v[i];
        bool here = (m->from == a && (b < 0 || m->to == b)) || (m->to == a && (b < 0 || m->from == b));
        if (here)
            net_lose(w, i);
    }
}

void net_forget(struct world *w, int device) { forget(w, device, -1); }

/* Both sides notice, in the end: here at once. */
static void notice(struct world *w, int a, int b, bool online)
{
    struct device *d = &w->d[a];
    if (!d->engine)
        return;
    if (online || !twins_talk(w, a, b))
        engine_online(d->engine, &w->d[b].keys->dev, online);
    if (!online)
        d->asked[b] = false;
    else
        device_publish(w, a);
}

void net_cut(struct world *w, int a, int b, bool cut)
{
    if (a == b)
        return;
    w->net.cut[a][b] = w->net.cut[b][a] = cut;
    if (cut)
        forget(w, a, b);
    if (!w->d[a].engine || !w->d[b].engine)
        return;
    notice(w, a, b, !cut);
    notice(w, b, a, !cut);
}

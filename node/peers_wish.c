/* Which links are wished for. */
#include <string.h>

#include "node/peers_priv.h"

#define STAY_MS 10000           /* for that long a link that is not wished for is kept: both sides see what the other one knows */

struct address *peers_by_link(const struct peers *p, const struct link *l)
{
    for (size_t i = 0; i < p->naddr; i++)
        if (p->addr[i]->link == l)
            return p->addr[i];
    return NULL;
}

struct device *peers_device(const struct peers *p, const struct id *dev)
{
    for (size_t i = 0; i < p->ndev; i++)
        if (id_eq(&p->dev[i].dev, dev))
            return &p->dev[i];
    return NULL;
}

bool peers_hinted(const struct device *d, const char *text)
{
    for (uint32_t i = 0; i < d->nhint; i++)
        if (strcmp(d->hint[i], text) == 0)
            return true;
    return false;
}

static enum peer_wish wish_for(const struct peers *p, const struct id *dev)
{
    return p->c.ops.wish ? p->c.ops.wish(p->c.ops.arg, dev) : WISH_LINK;
}

static bool leads_to(const struct device *d, const struct address *a)
{
    return id_eq(&a->dev, &d->dev) || (id_is_none(&a->dev) && (strcmp(d->heard, a->text) == 0 || peers_hinted(d, a->text)));
}

/* By whom it may lead to. Where nobody has answered yet that is only said, by the device or its card: others who know of it count, too. */
enum peer_wish peers_wish_at(const struct peers *p, const struct address *a)
{
    enum peer_wish unknown = wish_for(p, NULL), most = id_is_none(&a->dev) && a->sources & (ADDR_MDNS | ADDR_CACHE) ? unknown : WISH_NONE;
    if (unknown == WISH_LINK || a->sources & ADDR_STATIC || a->twin)
        return WISH_LINK;
    for (size_t i = 0; i < p->ndev; i++)
        if (leads_to(&p->dev[i], a) && wish_for(p, &p->dev[i].dev) > most)
            most = wish_for(p, &p->dev[i].dev);
    return most;
}

size_t peers_unwished(const struct peers *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->ndev; i++)
        n += p->dev[i].link && wish_for(p, &p->dev[i].dev) == WISH_NONE;
    return n;
}

static bool has_stayed(const struct peers *p, const struct device *d)
{
    return loop_now() >= d->up + (p->c.stay_ms ? p->c.stay_ms : STAY_MS) && !link_busy(d->link);
}

void peers_review(struct peers *p)
{
    for (size_t i = 0; i < p->ndev; i++) {
        const struct device *d = &p->dev[i];
        const struct address *a = d->link ? peers_by_link(p, d->link) : NULL;
        if (a && !(a->sources & ADDR_STATIC) && has_stayed(p, d) && wish_for(p, &d->dev) == WISH_NONE)
            link_kill(d->link, "other neighbours are enough");
    }
    peers_wake(p);
}

bool peers_gather(struct peers *p, loop_fn fn, void *arg) { return p->c.ops.gather && p->c.ops.gather(p->c.ops.arg, fn, arg); }

bool peers_reachable(const struct peers *p, const struct id *dev)
{
    const struct device *d = peers_device(p, dev);
    bool found = d && d->link;
    for (size_t i = 0; d && i < p->naddr && !found; i++)
        found = !p->addr[i]->failed && !p->addr[i]->self && leads_to(d, p->addr[i]);
    return found;
}

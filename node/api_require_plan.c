/* What it would mean to require what this device has now: shown, and nothing changed. */
#include <stdlib.h>

#include "node/api_priv.h"
#include "node/node_priv.h"

/* An empty list means all. */
static bool is_meant(const struct bytes *to, const struct id *dev)
{
    struct mp m = to_reader(to);
    bool any = false;
    while (mp_peek(&m) != MP_END) {
        struct id one;
        to_next(&m, &one);
        if (id_eq(&one, dev))
            return true;
        any = true;
    }
    return !any;
}

static void put_lacks(struct buf *b, struct node *n, const struct lacks *l)
{
    struct peer_info p = {0};
    bool self = id_eq(&l->dev, &n->home->keys->dev);
    peers_info(n->peers, &l->dev, &p);
    mp_put_map(b, 6);
    put_text(b, "name", member_name(n, &l->dev));
    put_id(b, "id", &l->dev);
    put_bool(b, "online", self || node_online(n, &l->dev));
    put_text(b, "state", !l->known ? "unknown" : l->behind ? "behind" : "reached");
    mp_put_str(b, "missing");
    if (l->known) {
        mp_put_map(b, 2);
        put_u64(b, "files", l->entries);
        put_u64(b, "bytes", l->bytes);
    } else {
        mp_put_nil(b);
    }
    put_time(b, "last_seen", node_online(n, &l->dev) ? loop_wall() : p.last_seen_ms);
}

int require_plan(struct session *s, const struct bytes *to, const struct bytes *cuts)
{
    struct node *n = s->n;
    const struct group *g = control_group(n->home->control);
    AUTOFREE struct lacks *of = xcalloc(g->nmember, sizeof *of);
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    size_t k = 0;
    for (size_t i = 0; i < g->nmember; i++)
        if (!g->member[i].revoked && is_meant(to, &g->member[i].card.dev))
            of[k++].dev = g->member[i].card.dev;
    int r = engine_lacks(n->engine, cuts, of, k);
    if (r < 0)
        return r;
    mp_put_map(&b, 1);
    mp_put_str(&b, "devices");
    mp_put_array(&b, k);
    for (size_t i = 0; i < k; i++)
        put_lacks(&b, n, &of[i]);
    session_reply(s, false, &b);
    return 0;
}

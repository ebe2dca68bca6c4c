/* Which blocks are asked of whom: credit, what goes into a request, and what is nobody's to give. */
#include <stdlib.h>

#include "node/pull_priv.h"

#define SOURCELESS_MS 1000
#define SHARING_MS 250
#define OWNER_BYTES (4u << 20)        /* asked at once of who has not got it yet itself */
/* Requests at a source at once: the sending side drops replies beyond 256, and learns of those read in steps of 128. */
enum { REQUESTS_MAX = 96 };

static bool may_ask(struct pull *p, const struct item *it, const struct id *dev)
{
    struct id all[SOURCES_MAX];
    size_t n = sources_of(p, it, all);
    for (size_t i = 0; i < n; i++)
        if (id_eq(&all[i], dev))
            return true;
    return false;
}

/* ---- one request ---- */

/* The first block from `from` on that nobody was asked for yet and that is so-and-so's (pull_share.c); nblocks: none. */
static uint32_t unasked(const struct item *it, uint32_t from, int whose)
{
    uint32_t i = from, n = it->ent.content.nblocks;
    while (i < n && (bit(it->asked, i) || !share_is_of(it, i, whose)))
        i = bit(it->asked, i) ? i + 1 : (i / it->share.unit + 1) * it->share.unit;
    return i < n ? i : n;
}

static void piece_of(struct item *it, uint32_t idx, struct piece *v)
{
    *v = (struct piece){.it = it, .idx = idx, .len = (uint32_t)it->ent.size, .id = it->ent.content.root};
    if (it->ent.content.nblocks > 1) {
        struct block_ref ref;
        block_ref_get(it->list.data + (size_t)idx * BLOCK_REF, &ref);
        v->len = ref.len;
        v->id = ref.id;
        v->at = it->offset[idx];
    }
}

/* The next block of an item that nobody was asked for yet; false when all were. */
static bool next_block(struct item *it, int whose, struct piece *v)
{
    uint32_t n = it->ent.content.nblocks, i;
    if (it->state != ITEM_BLOCKS || it->cancelled)
        return false;
    while (it->next < n && bit(it->asked, it->next))
        it->next++;
    i = unasked(it, it->next, whose);
    if (i >= n)
        return false;
    piece_of(it, i, v);
    return true;
}

static void send_request(struct pull *p, struct block_request *q)
{
    struct msg m = {.type = MSG_GET_BLK, .get_blk = {.n = q->n}};
    for (uint32_t i = 0; i < q->n; i++)
        m.get_blk.want[i] = (struct msg_blk_want){.root = q->v[i].it->ent.content.root, .idx = q->v[i].idx, .id = q->v[i].id};
    struct source *s = source_find(p, &q->r.dev);
    s->outstanding += q->bytes;
    q->ahead = s->outstanding;
    rate_take(&p->down, (int64_t)q->bytes);
    s->requests++;
    p->fetching++;
    source_sent(s, &q->r, loop_now());
    link_request(peers_link(p->c.peers, &q->r.dev), LANE_BULK, &m, source_patience(s), fetch_answer, q);
}

static void add_piece(struct block_request *q, const struct piece *v)
{
    q->v[q->n] = *v;
    q->v[q->n++].code = ERR_NOTFOUND;
    q->bytes += v->len;
    v->it->refs++;
    bit_set(v->it->asked, v->idx);
}

/* Entries may describe one content in different ways; a block is asked for once in a request. */
static bool asks_for(const struct block_request *q, const struct item *it)
{
    for (uint32_t i = 0; i < q->n; i++)
        if (q->v[i].it != it && id_eq(&q->v[i].it->ent.content.root, &it->ent.content.root))
            return true;
    return false;
}

/* Whose blocks of an item a source may be asked for; false: nobody's. What it owns, and what it has, do not go into one request. */
static bool whose_blocks(struct pull *p, struct item *it, size_t i, const struct block_request *q, int *whose)
{
    struct piece v;
    if (!next_block(it, SHARE_ANY, &v) || asks_for(q, it))
        return false;
    share_look(p, it);
    p->sharing |= it->share.owner != NULL;
    bool owner = share_lacks(it, i);
    if (owner && p->source[i].outstanding >= OWNER_BYTES)
        return false;
    *whose = owner ? (int)i : it->share.owner ? SHARE_SELF : SHARE_ANY;
    if (q->n && q->owner != owner)
        return false;
    return it->share.owner ? owner || share_has(it, i) : may_ask(p, it, &q->r.dev);
}

/* The first item of which somebody can be asked for something. Those before it are not looked at again until that may have changed. */
static struct item *first_open(struct pull *p)
{
    struct item *it = p->asked_to ? p->asked_to->next_item : p->all.head;
    for (struct piece v; it && !next_block(it, SHARE_ANY, &v); it = it->next_item)
        p->asked_to = it;
    return it;
}

/* Fills one request for a source from the items that wait, oldest first. NULL when there is nothing to ask it for. */
static struct block_request *gather(struct pull *p, size_t i)
{
    struct block_request *q = fetch_new(p, &p->source[i].dev);
    bool full = false;
    for (struct item *it = first_open(p); it && !full; it = it->next_item) {
        struct piece v;
        int whose;
        if (!whose_blocks(p, it, i, q, &whose))
            continue;
        while (!full && next_block(it, whose, &v)) {
            full = q->n == LIMIT_GET_BLK || (q->n && q->bytes + v.len > p->source[i].portion);
            if (full)
                break;
            q->owner = whose >= 0;
            add_piece(q, &v);
        }
    }
    if (q->n)
        return q;
    free(q);
    return NULL;
}

/* A source that has all has sent what is ours: one block of others that nobody was asked for. Which one is different for every receiver. */
static struct block_request *steal(struct pull *p, size_t source)
{
    struct piece v, best = {0};
    uint64_t most = 0;
    for (struct item *it = p->all.head; it; it = it->next_item) {
        if (!share_has(it, source) || !next_block(it, SHARE_ANY, &v))
            continue;
        for (uint32_t i = v.idx, n = it->ent.content.nblocks; i < n; i = unasked(it, (i / it->share.unit + 1) * it->share.unit, SHARE_ANY)) {
            uint64_t w = share_weight(p->c.self, &it->ent.content.root, i / it->share.unit);
            if (w <= most)
                continue;
            most = w;
            piece_of(it, i, &best);
        }
    }
    if (!best.it)
        return NULL;
    struct block_request *q = fetch_new(p, &p->source[source].dev);
    add_piece(q, &best);
    return q;
}

/* Items that nobody can serve now: whoever said no may have it later. Or nobody wants them any more. */
static void forgive(struct pull *p)
{
    bool waiting = false;
    struct ix_want now;
    for (struct item *it = p->all.head, *n; it; it = n) {
        n = it->next_item;
        if ((it->state != ITEM_BLOCKS && it->state != ITEM_LIST) || it->cancelled || it->refs != it->late)
            continue;
        it->ndenied = 0;
        waiting = true;
        if (index_want_get(p->c.index, it->want.entry, &now) == ERR_NOTFOUND)
            item_done(p, it);
    }
    if (waiting)
        pull_wake(p, SOURCELESS_MS);
}

static bool ask_blocks(struct pull *p, size_t i)
{
    const struct source *s = &p->source[i];
    uint64_t now = loop_now(), wait = rate_wait(&p->down, now, loop_wall());
    if (wait) {
        pull_wake(p, wait);
        return false;
    }
    if (s->silent || source_bad(s, now) || s->busy_until > now || s->requests >= REQUESTS_MAX || s->outstanding + s->portion > s->window ||
        !peers_link(p->c.peers, &s->dev))
        return false;
    struct block_request *q = gather(p, i);
    if (!q && p->sharing && s->outstanding < s->portion)
        q = steal(p, i);
    if (q)
        send_request(p, q);
    return q != NULL;
}

static void watch(struct pull *p)
{
    uint64_t now = loop_now(), next = UINT64_MAX;
    for (size_t i = 0; i < p->nsource; i++) {
        uint64_t due = source_watch(&p->source[i], now);
        next = due < next ? due : next;
    }
    if (next != UINT64_MAX)
        pull_wake(p, next - now);
}

void fetch_pump(struct pull *p)
{
    list_pump(p);
    p->sharing = false;
    bool asked = true;
    while (asked) {
        asked = false;
        for (size_t i = 0; i < p->nsource; i++)
            asked |= ask_blocks(p, i);
    }
    if (!p->fetching && !p->ready && !p->placing)
        forgive(p);
    if (p->sharing)
        pull_wake(p, SHARING_MS);        /* time goes by: somebody has become silent, or owns something again */
    watch(p);
}

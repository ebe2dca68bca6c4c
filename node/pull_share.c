/* Receivers of the same content serve each other. When those that lack a content outnumber those that have it, each of its blocks has
 * one of them as its owner: only the owner asks a device that has all, the others ask the owner. All find the same owner without asking
 * anybody (rendezvous hashing: the device with the greatest weight for that block), from the vectors that they have anyhow. So who
 * has all sends little more than one copy as long as owners keep up; where they do not, more (tests/bench: rows swarm and require).
 *
 * Nobody waits in a circle, also when they see different devices: who asks an owner has a smaller weight for that block than it. And nobody
 * waits for long. An owner that gives nothing for a while, or is silent, bad or gone, owns nothing for a while: its blocks are those of
 * the next in weight. Who has its own share takes, one request at a time, blocks of others that nobody was asked for (fetch: steal). */
#include <stdlib.h>
#include <string.h>

#include "node/pull_priv.h"

#define SHARE_MIN (64u << 10)         /* smaller contents cost more to share than to send */
#define UNITS_MAX 65536u
enum { LOOK_MS = 500, LEARN_MS = 5000, STALL_MS = 1000, STALLS_MAX = 6, GRACE_MS = 5000 };

/* ---- weights ---- */

static uint64_t mix(uint64_t x)              /* the finaliser of splitmix64 (Steele et al. 2014) */
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t first_bytes(const struct id *id)
{
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--)
        x = x << 8 | id->b[i];
    return x;
}

uint64_t share_weight(const struct id *dev, const struct id *root, uint32_t unit)
{
    return mix(first_bytes(dev) ^ mix(first_bytes(root) + unit));
}

uint32_t share_unit(uint32_t nblocks) { return (nblocks + UNITS_MAX - 1) / UNITS_MAX; }

/* ---- who owns what ---- */

static bool helps(const struct pull *p, const struct source *s, uint64_t now)
{
    return s && !s->silent && !source_bad(s, now) && s->busy_until <= now && s->unshared_until <= now && peers_link(p->c.peers, &s->dev);
}

/* Bits of the sources that have it. */
static size_t holders(struct pull *p, const struct item *it, uint8_t bits[static SHARE_MAX / 8])
{
    struct id dev[SHARE_MAX];
    memset(bits, 0, SHARE_MAX / 8);
    size_t k = 0, n = engine_sources(p->c.engine, it->want.stream, it->want.seq, ENGINE_HAS, dev, SHARE_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct source *s = source_find(p, &dev[i]);
        if (!s || denied(it, &dev[i]) || s->silent || source_bad(s, loop_now()) || !peers_link(p->c.peers, &s->dev) || s - p->source >= SHARE_MAX)
            continue;
        bit_set(bits, (size_t)(s - p->source));
        k++;
    }
    return k;
}

/* Bits of the sources that lack it, and with `know` only of those that know that they do. */
static size_t lackers(struct pull *p, const struct item *it, bool know, uint8_t bits[static SHARE_MAX / 8])
{
    struct id dev[SHARE_MAX];
    size_t k = 0, n = engine_sources(p->c.engine, it->want.stream, it->want.seq, know ? ENGINE_LACKS_KNOWN : ENGINE_LACKS, dev, SHARE_MAX);
    memset(bits, 0, SHARE_MAX / 8);
    for (size_t i = 0; i < n; i++) {
        const struct source *s = source_find(p, &dev[i]);
        if (!helps(p, s, loop_now()) || s - p->source >= SHARE_MAX)
            continue;
        bit_set(bits, (size_t)(s - p->source));
        k++;
    }
    return k;
}

static int heaviest(const struct pull *p, const struct id *root, uint32_t unit, const uint8_t *bits)
{
    int owner = SHARE_SELF;
    uint64_t most = share_weight(p->c.self, root, unit);
    for (size_t i = 0; i < p->nsource && i < SHARE_MAX; i++) {
        uint64_t w = bit(bits, i) ? share_weight(&p->source[i].dev, root, unit) : 0;
        if (w <= most)
            continue;
        owner = (int)i;
        most = w;
    }
    return owner;
}

static void assign(const struct pull *p, struct item *it, const uint8_t *owners)
{
    struct share *h = &it->share;
    uint32_t units = (it->ent.content.nblocks + h->unit - 1) / h->unit;
    if (h->owner && memcmp(h->owners, owners, sizeof h->owners) == 0)
        return;
    memcpy(h->owners, owners, sizeof h->owners);
    if (!h->owner)
        h->owner = xcalloc(units, sizeof *h->owner);
    for (uint32_t u = 0; u < units; u++)
        h->owner[u] = (int16_t)heaviest(p, &it->ent.content.root, u, owners);
}

void share_drop(struct item *it)
{
    free(it->share.owner);
    it->share = (struct share){0};
}

void share_look(struct pull *p, struct item *it)
{
    struct share *h = &it->share;
    uint64_t now = loop_now();
    uint8_t owners[SHARE_MAX / 8];
    if (!p->c.self || it->ent.size < SHARE_MIN)
        return;
    if (h->looked > p->share_changed && now < h->looked + LOOK_MS)
        return;
    h->since = h->since ? h->since : now;
    h->looked = now;
    h->unit = share_unit(it->ent.content.nblocks);
    /* Who does not know of it yet will in a moment. */
    size_t n = lackers(p, it, now >= h->since + LEARN_MS, owners), have = n ? holders(p, it, h->has) : 0;
    if (have && n + 1 > have) {
        lackers(p, it, true, h->lacks);
        assign(p, it, owners);
        return;
    }
    free(h->owner);
    h->owner = NULL;
    memset(h->lacks, 0, sizeof h->lacks);
}

bool share_lacks(const struct item *it, size_t source) { return it->share.owner && source < SHARE_MAX && bit(it->share.lacks, source); }
bool share_has(const struct item *it, size_t source) { return it->share.owner && source < SHARE_MAX && bit(it->share.has, source); }
bool share_is_of(const struct item *it, uint32_t block, int who)
{
    return who == SHARE_ANY || it->share.owner[block / it->share.unit] == who;
}

/* ---- what owners are worth ---- */

/* unknown: it knows nothing of them. Else it may just be slow. */
void share_stalled(struct pull *p, struct source *s, bool unknown)
{
    uint64_t ms = (uint64_t)STALL_MS << s->stalls;
    if (s->unshared_until > loop_now() || (!unknown && loop_now() < s->helped + GRACE_MS))
        return;                          /* all that was asked of it comes back at once */
    s->stalls += s->stalls < STALLS_MAX;
    s->unshared_until = loop_now() + ms;
    p->share_changed = loop_now();
    pull_wake(p, ms);
}

void share_helped(struct source *s)
{
    s->stalls = 0;
    s->helped = loop_now();
}

/* ---- unfinished downloads, for peers ---- */

static int part_of(const struct item *it, uint32_t idx, const struct id *id, struct serve_part *out)
{
    uint32_t n = it->ent.content.nblocks;
    bool whole = it->state == ITEM_READY || it->state == ITEM_PLACING;
    struct block_ref ref = {.id = it->ent.content.root, .len = (uint32_t)it->ent.size};
    if (it->cancelled || it->state == ITEM_DELAYED || idx >= n)
        return ERR_NOTFOUND;
    if (!whole && (it->state != ITEM_BLOCKS || n == 1))
        return ERR_AGAIN;
    *out = (struct serve_part){.path = it->state == ITEM_PLACING ? it->path : NULL, .pathlen = it->len};
    if (n > 1) {
        if (it->list.len != (size_t)n * BLOCK_REF || !it->offset)
            return ERR_NOTFOUND;
        block_ref_get(it->list.data + (size_t)idx * BLOCK_REF, &ref);
        out->off = it->offset[idx];
    }
    if (!id_eq(&ref.id, id) || ref.len > LIMIT_BLOCK)
        return ERR_NOTFOUND;
    if (it->state == ITEM_BLOCKS && !bit(it->have, idx))
        return ERR_AGAIN;
    out->len = ref.len;
    memcpy(out->tmp, it->tmp, sizeof out->tmp);
    return 0;
}

int share_part(void *arg, const struct msg_blk_want *w, struct serve_part *out)
{
    const struct pull *p = arg;
    for (const struct item *it = p->all.head; it; it = it->next_item)
        if (it->way == WAY_FETCH && id_eq(&it->ent.content.root, &w->root))
            return part_of(it, w->idx, &w->id, out);
    return ERR_NOTFOUND;
}

void share_news(const struct pull *p, const struct item *it, int64_t block)
{
    if (p->c.serve && it->way == WAY_FETCH)
        serve_news(p->c.serve, &it->ent.content.root, block);
}

#include "node/pex.h"

#include <stdlib.h>
#include <string.h>

#include "node/address.h"
#include "node/log.h"
#include "proto/mp.h"
#include "proto/msg.h"

#define AHEAD_MAX_MS (10 * 60 * 1000)      /* as with change sets */
#define OWN_MS 5000                        /* how often our own addresses are looked at */

struct held {
    struct addr_card card;
    uint8_t *blob; size_t len;
    struct id from;             /* who told us */
    bool fresh, kept;           /* not used yet; kept already */
    uint64_t used_ms, number;   /* of the last use; number 0 = never */
};

struct pex {
    struct pex_config c;
    struct held *held; size_t nheld;
    uint64_t last;              /* number of the last use */
    uint64_t ctl_n;             /* with which members were looked at */
    uint64_t own_due, own_min;  /* a card of our own from before is out there: ours must be newer */
    bool loopback;              /* our own card has a loopback address */
};

static struct held *find(const struct pex *p, const struct id *dev)
{
    for (size_t i = 0; i < p->nheld; i++)
        if (id_eq(&p->held[i].card.dev, dev))
            return &p->held[i];
    return NULL;
}

static bool is_held(const struct pex *p, const struct bytes *blob)
{
    for (size_t i = 0; i < p->nheld; i++)
        if (p->held[i].len == blob->len && memcmp(p->held[i].blob, blob->p, blob->len) == 0)
            return true;
    return false;
}

static struct held *put(struct pex *p, const struct addr_card *c, const struct bytes *blob, const struct id *from)
{
    struct held *h = find(p, &c->dev);
    if (!h) {
        p->held = xrealloc(p->held, p->nheld + 1, sizeof *p->held);
        h = &p->held[p->nheld++];
        *h = (struct held){0};
    }
    h->card = *c;
    h->blob = xrealloc(h->blob, blob->len, 1);
    memcpy(h->blob, blob->p, blob->len);
    h->len = blob->len;
    h->from = *from;
    h->fresh = true;
    h->kept = false;
    return h;
}

/* ---- taking ---- */

static bool is_member(const struct pex *p, const struct id *dev)
{
    const struct member *m = group_find(p->c.group, dev);
    return m && !m->revoked;
}

/* 0: not newer than what is here; 1: taken. ERR_NOTFOUND, ERR_AGAIN: not to be taken, at least not now; others: forged. */
static int take(struct pex *p, const struct id *from, const struct bytes *blob, uint64_t wall_ms)
{
    struct addr_card c;
    int r = addr_card_decode(blob->p, blob->len, &c);
    if (r < 0)
        return r;
    if (!id_eq(&c.group, &p->c.group->id))
        return err_set(ERR_DENIED, "address card: of another group");
    if (!is_member(p, &c.dev))
        return err_set(ERR_NOTFOUND, "address card: of a device that is no member");
    if (c.wall_ms > wall_ms + AHEAD_MAX_MS)
        return err_set(ERR_AGAIN, "address card: more than 10 minutes ahead of our clock: check both clocks");
    const struct held *h = find(p, &c.dev);
    if (h && h->card.wall_ms >= c.wall_ms)
        return 0;
    if (!id_eq(&c.dev, &p->c.keys->dev)) {
        put(p, &c, blob, from);
        return 1;
    }
    p->own_min = c.wall_ms + 1;      /* our clock was ahead then: nobody would take a card of now */
    return 0;
}

int pex_take(struct pex *p, const struct id *from, const void *body, size_t len, uint32_t most, uint64_t wall_ms)
{
    struct mp m;
    uint32_t n;
    int r = body_open(body, len, &m, &n);
    if (r == 0 && n > most)
        r = err_set(ERR_BAD, "PEX: %u cards, at most %u allowed", n, most);
    for (uint32_t i = 0; r >= 0 && i < n; i++) {
        struct bytes blob = mp_skip(&m);
        r = is_held(p, &blob) ? 0 : take(p, from, &blob, wall_ms);
        if (r == ERR_NOTFOUND || r == ERR_AGAIN) {
            log_seldom(LOG_INFO, "address card not taken why=\"%s\"", err_text());
            r = 0;
        }
    }
    if (r >= 0)
        r = mp_done(&m, "address cards");
    const struct member *who = group_find(p->c.group, from);
    if (r < 0)
        log_seldom(LOG_WARN, "address cards refused from=%s why=\"%s\"", who ? who->card.name : "?", err_text());
    return r < 0 ? r : (int)n;
}

void pex_restore(struct pex *p, const void *blob, size_t len, uint64_t wall_ms)
{
    struct bytes b = {blob, len};
    struct addr_card c;
    if (take(p, &ID_NONE, &b, wall_ms) <= 0)
        log_debug("kept address card not taken");
    else if (addr_card_decode(blob, len, &c) == 0)
        find(p, &c.dev)->kept = true;
}

/* ---- our own card ---- */

static uint32_t own_addresses(const struct pex *p, char out[static LIMIT_ADDRS][64])
{
    char all[LIMIT_ADDRS][64];
    uint32_t n = 0, nall = address_own(p->c.listen, all);
    for (uint32_t i = 0; i < nall; i++)
        if (address_kind(all[i]) != ADDRESS_USELESS)
            memcpy(out[n++], all[i], sizeof all[i]);
    return n;
}

static bool same_addresses(const struct addr_card *a, const struct addr_card *b)
{
    bool same = a->naddr == b->naddr;
    for (uint32_t i = 0; same && i < a->naddr; i++)
        same = strcmp(a->addr[i], b->addr[i]) == 0;
    return same;
}

static void sign_own(struct pex *p, uint64_t wall_ms)
{
    struct addr_card c = {.group = p->c.group->id, .dev = p->c.keys->dev, .wall_ms = wall_ms};
    c.naddr = own_addresses(p, c.addr);
    const struct held *h = find(p, &c.dev);
    if (c.naddr == 0 || (h && same_addresses(&h->card, &c) && h->card.wall_ms >= p->own_min))
        return;
    if (c.wall_ms < p->own_min)
        c.wall_ms = p->own_min;
    if (h && c.wall_ms <= h->card.wall_ms)
        c.wall_ms = h->card.wall_ms + 1;
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_HEAD);
    if (addr_card_encode(&blob, &c, p->c.keys) < 0)
        log_seldom(LOG_WARN, "own address card why=\"%s\"", err_text());
    else
        put(p, &c, &(struct bytes){blob.data, blob.len}, &ID_NONE);
}

/* ---- using ---- */

static void hint(const struct pex *p, const struct held *h)
{
    char addr[LIMIT_ADDRS][64];
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->card.naddr; i++) {
        enum address_kind k = address_kind(h->card.addr[i]);
        if (k == ADDRESS_PLAIN || (k == ADDRESS_LOOPBACK && p->loopback))
            memcpy(addr[n++], h->card.addr[i], sizeof addr[0]);
    }
    p->c.ops.hint(p->c.ops.arg, &h->card.dev, n, addr);
}

/* Whether our card has a loopback address says which of the others' are worth dialling. */
static void use_own(struct pex *p, const struct held *own)
{
    bool before = p->loopback;
    p->loopback = false;
    for (uint32_t i = 0; i < own->card.naddr; i++)
        p->loopback |= address_kind(own->card.addr[i]) == ADDRESS_LOOPBACK;
    for (size_t i = 0; i < p->nheld && p->loopback != before; i++)
        if (&p->held[i] != own && p->held[i].number)
            hint(p, &p->held[i]);
}

static void use(struct pex *p, struct held *h, uint64_t now_ms)
{
    h->fresh = false;
    h->used_ms = now_ms;
    h->number = ++p->last;
    if (id_eq(&h->card.dev, &p->c.keys->dev)) {
        use_own(p, h);
        return;
    }
    hint(p, h);
    if (!h->kept)
        p->c.ops.keep(p->c.ops.arg, &h->card.dev, h->blob, h->len);
    h->kept = true;
}

static void use_if_due(struct pex *p, struct held *h, uint64_t now_ms)
{
    if (h && h->fresh && (h->number == 0 || now_ms - h->used_ms >= PEX_GAP_MS))
        use(p, h, now_ms);
}

static void forget_revoked(struct pex *p)
{
    for (size_t i = p->nheld; i-- > 0;)
        if (!is_member(p, &p->held[i].card.dev)) {
            p->c.ops.hint(p->c.ops.arg, &p->held[i].card.dev, 0, NULL);
            free(p->held[i].blob);
            p->held[i] = p->held[--p->nheld];
        }
    p->ctl_n = p->c.group->ctl_n;
}

void pex_tick(struct pex *p, uint64_t now_ms, uint64_t wall_ms)
{
    if (p->ctl_n != p->c.group->ctl_n)
        forget_revoked(p);
    if (now_ms >= p->own_due) {
        sign_own(p, wall_ms);
        p->own_due = now_ms + OWN_MS;
    }
    use_if_due(p, find(p, &p->c.keys->dev), now_ms);     /* first: it says what is worth dialling of the others' */
    for (size_t i = 0; i < p->nheld; i++)
        use_if_due(p, &p->held[i], now_ms);
}

/* ---- telling ---- */

static void put_list(struct buf *body, uint32_t n, const struct buf *list)
{
    mp_put_array(body, n);
    buf_add(body, list->data, list->len);
}

void pex_all(const struct pex *p, struct buf *body)
{
    AUTO(buf_release) struct buf list = BUF_INIT(LIMIT_CS_REPLY);
    uint32_t n = 0;
    for (; n < p->nheld && list.len + p->held[n].len <= LIMIT_CS_REPLY; n++)
        buf_add(&list, p->held[n].blob, p->held[n].len);
    put_list(body, n, &list);
}

static const struct held *used_after(const struct pex *p, uint64_t number)
{
    const struct held *next = NULL;
    for (size_t i = 0; i < p->nheld; i++)
        if (p->held[i].number > number && (!next || p->held[i].number < next->number))
            next = &p->held[i];
    return next;
}

uint64_t pex_news(const struct pex *p, const struct id *to, uint64_t told, struct buf *body, uint32_t *n)
{
    AUTO(buf_release) struct buf list = BUF_INIT(LIMIT_HEAD);
    *n = 0;
    for (const struct held *h; *n < PEX_CARDS && (h = used_after(p, told)); told = h->number) {
        if (id_eq(&h->card.dev, to) || id_eq(&h->from, to))
            continue;
        buf_add(&list, h->blob, h->len);
        ++*n;
    }
    put_list(body, *n, &list);
    return told;
}

uint64_t pex_last(const struct pex *p) { return p->last; }

/* ---- life cycle ---- */

void pex_new(const struct pex_config *c, struct pex **out)
{
    struct pex *p = xcalloc(1, sizeof *p);
    p->c = *c;
    p->ctl_n = c->group->ctl_n;
    *out = p;
}

void pex_free(struct pex **pp)
{
    struct pex *p = *pp;
    if (!p)
        return;
    for (size_t i = 0; i < p->nheld; i++)
        free(p->held[i].blob);
    free(p->held);
    free(p);
    *pp = NULL;
}

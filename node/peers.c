#include "node/peers_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/log.h"

#define TICK_MS 50
#define PAUSE_MIN_MS 200
#define PAUSE_MAX_MS 15000
#define PAUSE_CARD_MS 120000    /* of an address that only a card speaks for: whoever comes back there signs a new card, or dials us */
#define PAUSE_TWIN_MS 5000
#define ADDRESSES_MAX 2048      /* a flood of announcements must not become a flood of dials */
#define DIALS_MAX 64
#define ROOM_DIALS 4            /* so many at once of those that are not urgent (WISH_ROOM) */
#define ROOM_MS 250             /* and then a pause: whom the first ones lead to makes most others needless */
#define ROOM_MAX 16             /* of them under way; those that are up and not wished for count twice, for they take memory */

static struct address *by_text(struct peers *p, const char *text)
{
    for (size_t i = 0; i < p->naddr; i++)
        if (strcmp(p->addr[i]->text, text) == 0)
            return p->addr[i];
    return NULL;
}

static struct device *device_get(struct peers *p, const struct id *dev)
{
    struct device *d = peers_device(p, dev);
    if (d)
        return d;
    p->dev = xrealloc(p->dev, p->ndev + 1, sizeof *p->dev);
    p->dev[p->ndev] = (struct device){.dev = *dev};
    return &p->dev[p->ndev++];
}

struct link *peers_link(const struct peers *p, const struct id *dev)
{
    const struct device *d = peers_device(p, dev);
    return d ? d->link : NULL;
}

size_t peers_online(const struct peers *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->ndev; i++)
        n += p->dev[i].link != NULL;
    return n;
}

void peers_info(const struct peers *p, const struct id *dev, struct peer_info *out)
{
    *out = (struct peer_info){0};
    const struct device *d = peers_device(p, dev);
    if (!d)
        return;
    out->online = d->link != NULL;
    out->address = d->address[0] ? d->address : NULL;
    const struct address *a = d->link ? peers_by_link(p, d->link) : NULL;
    out->source = a ? a->sources : d->sources;
    out->last_seen_ms = d->link ? loop_wall() : d->last_seen_ms;
}

/* ---- what links report ---- */

static void on_tick(void *arg);

static void on_hello(void *arg, struct msg_hello *h)
{
    struct peers *p = arg;
    p->c.ops.hello(p->c.ops.arg, h);
}

void peers_wake(struct peers *p)
{
    if (!p->tick.set || p->tick.due > loop_now() + TICK_MS)
        loop_timer_set(p->c.loop, &p->tick, TICK_MS, on_tick, p);
}

static void settle(struct peers *p, struct address *a)
{
    peers_wake(p);
    a->pause = PAUSE_MIN_MS;
    a->failed = false;
    assert(p->dialling > 0);
    p->dialling--;
    p->rooms -= a->room;
    a->room = false;
}

static bool on_up(void *arg, struct link *l, const struct msg_hello *h)
{
    struct peers *p = arg;
    struct address *a = peers_by_link(p, l);
    settle(p, a);
    a->dev = h->dev;
    a->twin = a->revoked = false;
    if (id_eq(&h->dev, &p->c.keys->dev)) {
        a->self = p->c.ops.self(p->c.ops.arg, h);
        a->twin = !a->self;
        return false;
    }
    struct device *d = device_get(p, &h->dev);
    if (d->link)
        return false;
    d->link = l;
    d->up = loop_now();
    d->sources = a->sources;
    snprintf(d->address, sizeof d->address, "%s", a->text);
    p->c.ops.up(p->c.ops.arg, &h->dev, l, h);
    return true;
}

static void drop_address(struct peers *p, struct address *a)
{
    for (size_t i = 0; i < p->naddr; i++)
        if (p->addr[i] == a) {
            p->addr[i] = p->addr[--p->naddr];
            break;
        }
    free(a);
}

static void device_down(struct peers *p, struct link *l)
{
    for (size_t i = 0; i < p->ndev; i++)
        if (p->dev[i].link == l) {
            struct id dev = p->dev[i].dev;
            p->dev[i].link = NULL;
            p->dev[i].last_seen_ms = loop_wall();
            peers_wake(p);
            p->c.ops.down(p->c.ops.arg, &dev);
            return;
        }
}

static void on_down(void *arg, struct link *l, const char *why)
{
    struct peers *p = arg;
    struct address *a = peers_by_link(p, l);
    bool was_up = !id_is_none(link_device(l));
    log_debug("link down address=%s why=\"%s\"", a->text, why);
    if (!was_up)
        settle(p, a);
    a->failed = !was_up;
    /* Whoever was there a moment ago may be back at once; whoever never answered is asked less and less often. */
    uint64_t longest = a->sources == ADDR_CARD ? PAUSE_CARD_MS : PAUSE_MAX_MS;
    a->pause = a->revoked ? PAUSE_CARD_MS : a->twin ? PAUSE_TWIN_MS : was_up || !a->pause ? PAUSE_MIN_MS : a->pause * 2 > longest ? longest : a->pause * 2;
    a->due = loop_now() + a->pause;
    a->link = NULL;
    peers_wake(p);
    device_down(p, l);
    link_free(&l);
    if (!a->sources)
        drop_address(p, a);
}

static void on_stranger(void *arg, struct link *l)
{
    struct peers *p = arg;
    p->c.ops.stranger(p->c.ops.arg, l);
}

static void on_revoked(void *arg, struct link *l, bool self)
{
    struct peers *p = arg;
    peers_by_link(p, l)->revoked = !self;
    if (p->c.ops.revoked)
        p->c.ops.revoked(p->c.ops.arg, l, self);
    else
        link_kill(l, "a revoked device");
}

void peers_expel(struct peers *p, bool (*last_word)(void *arg, struct link *l), void *arg)
{
    for (size_t i = 0; i < p->ndev; i++) {
        struct link *l = p->dev[i].link;
        const struct member *m = group_find(p->c.group, &p->dev[i].dev);
        if (!l || (m && !m->revoked))
            continue;
        device_down(p, l);
        peers_by_link(p, l)->revoked = true;
        if (!last_word(arg, l))
            link_kill(l, "no member any more");
    }
}

static void on_vector(void *arg, struct link *l, const void *blob, size_t len)
{
    struct peers *p = arg;
    p->c.ops.vector(p->c.ops.arg, l, blob, len);
}

static void on_published(void *arg, struct link *l, uint64_t ctr)
{
    struct peers *p = arg;
    p->c.ops.published(p->c.ops.arg, l, ctr);
}

/* ---- dialling ---- */

/* The address stands on a card; with `missed` on that of a device that is not linked. */
static bool hinted(const struct peers *p, const char *text, bool missed)
{
    for (size_t i = 0; i < p->ndev; i++)
        if (!(missed && p->dev[i].link) && peers_hinted(&p->dev[i], text))
            return true;
    return false;
}

/* When it is due. Whom it leads to may be here already, by what answered there last or, when only a card speaks for it, by that. */
static bool worth_dialling(const struct peers *p, const struct address *a)
{
    if (a->link || a->self || (!id_is_none(&a->dev) && peers_link(p, &a->dev)))
        return false;
    return a->sources != ADDR_CARD || hinted(p, a->text, true);
}

static void dial(struct peers *p, struct address *a)
{
    uint64_t pause = a->pause;
    int r = link_dial(&p->link_config, a->text, &a->link);
    a->pause = pause;
    if (r == 0) {
        p->dialling++;
        return;
    }
    log_seldom(LOG_WARN, "cannot dial address=%s why=\"%s\"", a->text, err_text());
    a->due = loop_now() + PAUSE_MAX_MS;
}

/* Whether one more may be dialled now of those that are not urgent. */
static bool has_room(struct peers *p)
{
    if (p->room_due <= loop_now()) {
        p->room_due = loop_now() + ROOM_MS;
        p->room = 0;
        p->unwished = peers_unwished(p);
    }
    return p->rooms + 2 * p->unwished < ROOM_MAX && p->room < ROOM_DIALS;
}

/* When to look again; what is not wished for waits for peers_review. */
static uint64_t dial_wished(struct peers *p, struct address *a)
{
    enum peer_wish w = peers_wish_at(p, a);
    if (w == WISH_NONE)
        return UINT64_MAX;
    if (w == WISH_ROOM && !has_room(p))
        return p->room_due;
    dial(p, a);
    a->room = w == WISH_ROOM && a->link;
    p->room += w == WISH_ROOM;
    p->rooms += a->room;
    return a->link ? UINT64_MAX : a->due;
}

/* Not always from the first on: there may not be room for all that are due. */
static void on_tick(void *arg)
{
    struct peers *p = arg;
    uint64_t now = loop_now(), next = UINT64_MAX;
    size_t first = p->first;
    for (size_t i = 0; i < p->naddr && p->dialling < DIALS_MAX && !p->paused; i++) {
        size_t at = (first + i) % p->naddr;
        struct address *a = p->addr[at];
        bool was = a->room;
        uint64_t again = worth_dialling(p, a) ? a->due <= now ? dial_wished(p, a) : a->due : UINT64_MAX;
        next = again < next ? again : next;
        if (a->room && !was)
            p->first = at + 1;
    }
    if (next != UINT64_MAX)
        loop_timer_set(p->c.loop, &p->tick, next > now + TICK_MS ? next - now : TICK_MS, on_tick, p);
}

void peers_add(struct peers *p, const char *address, enum addr_source source)
{
    struct address *a = by_text(p, address);
    if (!a) {
        if (p->naddr >= ADDRESSES_MAX || strlen(address) >= sizeof a->text) {
            log_seldom(LOG_WARN, "address ignored address=%.80s why=\"too many, or too long\"", address);
            return;
        }
        a = xcalloc(1, sizeof *a);
        snprintf(a->text, sizeof a->text, "%s", address);
        p->addr = xrealloc(p->addr, p->naddr + 1, sizeof *p->addr);
        p->addr[p->naddr++] = a;
    } else if (!(a->sources & (unsigned)source)) {
        a->due = 0;
        a->self = false;
    }
    a->sources |= (unsigned)source;
    peers_wake(p);
}

void peers_remove(struct peers *p, const char *address, enum addr_source source)
{
    struct address *a = by_text(p, address);
    if (!a)
        return;
    a->sources &= ~(unsigned)source;
    if (!a->sources && !a->link)
        drop_address(p, a);
}

/* As peers_remove, and a dial that nothing speaks for any more ends at once. */
static void take_back(struct peers *p, const char *text, enum addr_source source)
{
    const struct address *a = by_text(p, text);
    if (a && a->sources == (unsigned)source && a->link && link_state(a->link) != LINK_UP)
        link_kill(a->link, "it is elsewhere now");
    peers_remove(p, text, source);
}

/* Only the last address that a device was heard from counts: a member that greets with ever new ports takes nobody's room. */
static void set_heard(struct peers *p, const struct id *dev, const char *text)
{
    struct device *d = device_get(p, dev);
    if (strcmp(d->heard, text) == 0)
        return;
    take_back(p, d->heard, ADDR_HEARD);
    snprintf(d->heard, sizeof d->heard, "%s", text);
}

void peers_heard(struct peers *p, const struct id *dev, const uint8_t inst[static 8], const char *ip, uint16_t port)
{
    char text[80];
    struct link *l = peers_link(p, dev);
    if (l && memcmp(link_inst(l), inst, 8) != 0)
        link_kill(l, "it has started anew");
    if (!port || !*ip)
        return;
    const char *v4 = strncmp(ip, "::ffff:", 7) == 0 ? ip + 7 : ip;
    snprintf(text, sizeof text, strchr(v4, ':') ? "[%s]:%u" : "%s:%u", v4, port);
    set_heard(p, dev, text);
    peers_add(p, text, ADDR_HEARD);
    struct address *a = by_text(p, text);
    if (!a)
        return;
    /* It knows us now. A dial that it refused before hangs for seconds in libzmq: a new one does not. */
    if (a->link && link_state(a->link) == LINK_DIALLING)
        link_kill(a->link, "to be dialled again");
    a->pause = 0;
    a->due = 0;
    peers_wake(p);
}

void peers_hint(struct peers *p, const struct id *dev, uint32_t n, char (*addr)[64])
{
    assert(n <= LIMIT_ADDRS);
    struct device *d = device_get(p, dev), before = *d;
    d->nhint = n;
    if (n)
        memcpy(d->hint, addr, n * sizeof *addr);
    for (uint32_t i = 0; i < before.nhint; i++)
        if (!hinted(p, before.hint[i], false))
            take_back(p, before.hint[i], ADDR_CARD);
    for (uint32_t i = 0; i < n; i++) {
        peers_add(p, addr[i], ADDR_CARD);
        struct address *a = by_text(p, addr[i]);
        if (a && !a->link)
            a->due = a->pause = 0;       /* a new card: perhaps it is there again */
    }
}

void peers_pause(struct peers *p, bool paused)
{
    p->paused = paused;
    peers_wake(p);
    for (size_t i = 0; i < p->naddr; i++) {
        p->addr[i]->due = 0;
        if (paused && p->addr[i]->link)
            link_kill(p->addr[i]->link, "paused");
    }
}

int peers_new(const struct peers_config *c, struct peers **out)
{
    struct peers *p = xcalloc(1, sizeof *p);
    p->c = *c;
    p->link_config = (struct link_config){.loop = c->loop, .net = c->net, .keys = c->keys, .group = c->group,
        .ops = {.hello = on_hello, .up = on_up, .stranger = on_stranger, .revoked = on_revoked, .down = on_down, .vector = on_vector,
                .published = on_published, .arg = p}};
    loop_timer_set(c->loop, &p->tick, 0, on_tick, p);
    *out = p;
    return 0;
}

void peers_free(struct peers **pp)
{
    struct peers *p = *pp;
    if (!p)
        return;
    loop_timer_clear(p->c.loop, &p->tick);
    /* Requests are called back while links end: none of them may find a link that is gone. */
    for (size_t i = 0; i < p->ndev; i++)
        p->dev[i].link = NULL;
    for (size_t i = 0; i < p->naddr; i++) {
        link_free(&p->addr[i]->link);
        free(p->addr[i]);
    }
    free(p->addr);
    free(p->dev);
    free(p);
    *pp = NULL;
}

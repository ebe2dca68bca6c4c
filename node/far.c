#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "node/far_priv.h"
#include "node/log.h"
#include "node/ring.h"

#define TICK_MS 2000
#define SMALL_MS 10000          /* the group may have grown */
#define NEWS_MS 50              /* it is asked then what it knows */
#define MORE_MS 100             /* the next question, when there are news */
#define LOOK_MS 1000            /* who is online, while questions are asked more often */
#define CHOOSE_MS 5000
#define CHOSEN_MS 150000        /* since it said so last: the round of all neighbours takes less */
#define DRAW_MS 600000          /* in the mean: over a new link each end tells the other of all devices, and verifies what it is told */
#define WANTED_MS 60000
#define LACKS_MS 4000           /* for so long nothing of it came from a neighbour */
#define STUCK_MS 20000          /* the same of what neighbours show to have */
#define WANTED_MAX 2            /* so many are dialled at a time: what is lacking may be the same everywhere */

bool far_is_large(const struct node *n) { return n->far && n->far->large; }

static size_t most_linked(const struct node *n) { return (size_t)strtoull(n->config.mesh, NULL, 10); }

static bool look_how_large(const struct node *n)
{
    const struct group *g = node_group(n);
    size_t count = 0;
    for (size_t i = 0; i < g->nmember; i++)
        count += !g->member[i].revoked;
    return count > most_linked(n);
}

/* Where it is, or belongs. */
static size_t place_of(const struct far *f, const struct id *dev)
{
    size_t low = 0, high = f->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (id_cmp(&f->d[middle].dev, dev) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct far_device *far_find(const struct node *n, const struct id *dev)
{
    size_t at = n->far ? place_of(n->far, dev) : 0;
    return n->far && at < n->far->n && id_eq(&n->far->d[at].dev, dev) ? &n->far->d[at] : NULL;
}

struct far_device *far_get(struct node *n, const struct id *dev)
{
    struct far *f = n->far;
    struct far_device *d = far_find(n, dev);
    if (d)
        return d;
    size_t at = place_of(f, dev);
    f->d = xrealloc(f->d, f->n + 1, sizeof *f->d);
    memmove(&f->d[at + 1], &f->d[at], (f->n++ - at) * sizeof *f->d);
    f->d[at] = (struct far_device){.dev = *dev};
    return &f->d[at];
}

bool far_is_member(const struct node *n, const struct id *dev)
{
    const struct member *m = group_find(node_group(n), dev);
    return m && !m->revoked && !id_eq(dev, &n->home->keys->dev);
}

/* ---- who is online ---- */

bool far_present(const struct node *n, const struct id *dev)
{
    const struct far_device *d = far_is_large(n) && !n->paused ? far_find(n, dev) : NULL;
    return d && far_heard_lately(d) && !peers_link(n->peers, dev) && far_is_member(n, dev);
}

static void tell(struct node *n, struct far_device *d, bool online)
{
    const struct member *m = group_find(node_group(n), &d->dev);
    const char *name = m ? m->card.name : "?";
    d->told = online;
    log_info(online ? "peer online name=%s address=far" : "peer offline name=%s", name);
    node_event(n, online ? "peer-online" : "peer-offline", "name", name, NULL);
}

void far_look_who_is_online(struct node *n)
{
    n->far->look_due = loop_now() + LOOK_MS;
    for (size_t i = 0; i < n->far->n; i++) {
        struct far_device *d = &n->far->d[i];
        bool linked = peers_link(n->peers, &d->dev) != NULL, present = far_present(n, &d->dev);
        if (linked)
            d->heard = loop_now();
        engine_present(n->engine, &d->dev, present);
        if ((linked || present) != d->told)
            tell(n, d, linked || present);
    }
}

/* ---- who is chosen ---- */

enum peer_wish far_wish(struct node *n, const struct id *dev)
{
    const struct far_device *d = dev ? far_find(n, dev) : NULL;
    uint64_t now = loop_now();
    if (!far_is_large(n))
        return WISH_LINK;
    if (!d || !far_heard_lately(d))
        return WISH_ROOM;
    return d->chosen || now < d->wanted || now < n->far->gather || (d->chose_us && now < d->chose_us + CHOSEN_MS) ? WISH_LINK : WISH_NONE;
}

struct candidates { struct id *dev; bool *chosen; size_t n; };
static void candidates_release(struct candidates *c)
{
    free(c->dev);
    free(c->chosen);
}

static void find_candidates(struct node *n, struct candidates *c)
{
    struct far *f = n->far;
    *c = (struct candidates){xcalloc(f->n + 1, sizeof *c->dev), xcalloc(f->n + 1, sizeof *c->chosen), 0};
    for (size_t i = 0; i < f->n; i++)
        if (far_heard_lately(&f->d[i]) && far_is_member(n, &f->d[i].dev) && peers_reachable(n->peers, &f->d[i].dev))
            c->dev[c->n++] = f->d[i].dev;
}

static uint64_t draw(struct far *f)
{
    if (loop_now() >= f->draw_until) {
        f->draw = UINT64_C(1) + randombytes_random();
        f->draw_until = loop_now() + DRAW_MS / 2 + randombytes_uniform(DRAW_MS);   /* not all devices at once */
    }
    return f->draw;
}

/* It is to hear of that soon. */
static void set_chosen(struct far_device *d, bool chosen)
{
    d->hot |= chosen && !d->chosen;
    d->chosen = chosen;
}

static void choose(struct node *n)
{
    struct far *f = n->far;
    AUTO(candidates_release) struct candidates c;
    bool all;
    find_candidates(n, &c);
    all = c.n < most_linked(n);
    if (!all)
        ring_choose(&n->home->keys->dev, c.dev, c.n, draw(f), c.chosen);
    for (size_t i = 0, k = 0; i < f->n; i++) {
        bool candidate = k < c.n && id_eq(&c.dev[k], &f->d[i].dev);
        set_chosen(&f->d[i], candidate && (all || c.chosen[k]));
        k += candidate;
    }
    f->choose_due = loop_now() + CHOOSE_MS;
}

/* ---- what does not come from neighbours ---- */

/* Nobody is dialled at once because of it: mostly it is under way. */
static enum far_lack lack_of(struct node *n, const struct far_device *d, bool wants)
{
    const struct vec *v = far_present(n, &d->dev) ? engine_vector_of(n->engine, &d->dev) : NULL;
    if (!v)
        return LACK_NOTHING;
    return v->ctl_n > node_group(n)->ctl_n ? LACK_ALL : engine_lacks_far(n->engine, &d->dev, wants);
}

static void look_what_lacks(struct node *n)
{
    struct far *f = n->far;
    uint64_t files = 0, bytes = 0, now = loop_now();
    bool wants = index_want_totals(n->index, &files, &bytes) == 0 && files;
    for (size_t i = 0; i < f->n; i++) {
        struct far_device *d = &f->d[i];
        d->lack = lack_of(n, d, wants);
        d->lacks = d->lack == LACK_NOTHING ? 0 : d->lacks ? d->lacks : now;
    }
    struct far_device *stuck = now >= f->stuck_due ? far_to_dial(f, LACK_SOME, STUCK_MS) : NULL;
    if (stuck) {
        stuck->wanted = now + WANTED_MS;
        f->stuck_due = now + STUCK_MS;
    }
    struct far_device *d;
    for (size_t wanted = stuck != NULL; wanted < WANTED_MAX && (d = far_to_dial(f, LACK_ALL, LACKS_MS)); wanted++)
        d->wanted = now + WANTED_MS;
}

bool far_wish_all(struct node *n)
{
    if (!far_is_large(n))
        return false;
    n->far->gather = loop_now() + WANTED_MS;
    peers_review(n->peers);
    return true;
}

/* ---- in time ---- */

static void on_tick(void *arg);

void far_wake(struct node *n, uint64_t in_ms)
{
    struct loop_timer *t = &n->far->tick;
    if (!t->set || t->due > loop_now() + in_ms)
        loop_timer_set(n->loop, t, in_ms, on_tick, n);
}

static void on_tick(void *arg)
{
    struct node *n = arg;
    struct far *f = n->far;
    bool was = f->large;
    f->large = look_how_large(n);
    bool due = f->large && loop_now() >= f->choose_due && loop_now() >= f->choose_from;
    if (far_look_is_due(f, was))
        far_look_who_is_online(n);
    if (due) {
        choose(n);
        look_what_lacks(n);
    }
    if (due || f->large != was)
        peers_review(n->peers);
    if (!f->large) {
        far_wake(n, SMALL_MS);
        return;
    }
    far_wake(n, far_ask_next(n) ? MORE_MS : TICK_MS + randombytes_uniform(TICK_MS / 4));
}

void far_members(struct node *n)
{
    if (!n->far)
        return;
    far_ask_the_early(n->far);
    far_wake(n, 0);
}

/* ---- what links tell ---- */

void far_up(struct node *n, const struct id *dev)
{
    struct far_device *d = far_get(n, dev);
    far_hear(n->far, d, loop_now());
    d->said = d->upto = d->mute_until = 0;
    d->told = d->hot = true;
    engine_present(n->engine, dev, false);
    if (far_is_large(n))
        far_wake(n, NEWS_MS);
}

bool far_down(struct node *n, const struct id *dev)
{
    struct far_device *d = far_get(n, dev);
    n->far->choose_due = 0;
    d->told = far_present(n, dev);
    engine_present(n->engine, dev, d->told);
    return d->told;
}

/* ---- life cycle ---- */

void far_start(struct node *n)
{
    n->far = xcalloc(1, sizeof *n->far);
    n->far->large = look_how_large(n);
    n->far->choose_from = loop_now() + CHOOSE_MS;
    far_wake(n, TICK_MS);
}

void far_free(struct node *n)
{
    struct far *f = n->far;
    if (!f)
        return;
    loop_timer_clear(n->loop, &f->tick);
    for (size_t i = 0; i < f->n; i++)
        free(f->d[i].vec);
    free(f->d);
    free(f);
    n->far = NULL;
}

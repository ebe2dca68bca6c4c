/* The peers that content comes from.
 *
 * Silence. A connection that has died is noticed by its PING; here it is about peers that go on answering PING and leave requests
 * unanswered, and about links so slow that they only look like it. What comes in is seen a whole answer at a time: one of 1 MiB is 10 s
 * under way at 100 kB/s, a block of 4 MiB 42 s. So silence never costs an answer. A source from which nothing has come for its patience
 * (5 s) while something was asked of it is silent: its requests turn late, others are asked for the same blocks as well, and it is asked
 * for nothing new. But the requests stay, and whatever comes first is taken: where nobody else has the blocks nothing is asked twice,
 * however slow the link is. With its next answer the source is not silent any more, what nobody else was asked for in the meantime is
 * its again, and its patience becomes twice the pause it made (at most 30 s), so that two slow sources do not do each other's work for
 * long. A request also turns late when one sent much later is answered before it: its answer got lost, or is withheld.
 *
 * The end of a request comes after the time that all that was asked of its source takes at 32 kB/s, and 30 s: 160 s for a block of 4 MiB
 * alone, 17 minutes for a full window of 32 MiB. Nothing waits for it that others can serve, so that it may be long; below 26 kB/s a
 * block of 4 MiB does not arrive at all. */
#include <string.h>

#include "node/log.h"
#include "node/pull_priv.h"

#define WINDOW_MIN (4ull << 20)
#define WINDOW_MAX (32ull << 20)
#define PORTION_MIN (1u << 20)
#define PORTION_MAX LIMIT_BODY
#define PORTION_MS 50
#define PATIENCE_MS 5000
#define PATIENCE_MAX_MS 30000
#define TIMEOUT_MS 30000
#define SLOWEST 32                    /* bytes a millisecond */
#define BAD_MS (10 * 60 * 1000)
#define REST_MIN_MS 100
#define REST_MAX_MS 10000
enum { STRIKES = 3, FUTILE_MAX = 8 };

/* ---- one source ---- */

struct source *source_find(const struct pull *p, const struct id *dev)
{
    for (size_t i = 0; i < p->nsource; i++)
        if (id_eq(&p->source[i].dev, dev))
            return &p->source[i];
    return NULL;
}

void source_start(struct source *s, const uint8_t inst[static 8])
{
    if (s->window && memcmp(s->inst, inst, sizeof s->inst) == 0)
        return;
    memcpy(s->inst, inst, sizeof s->inst);
    s->strikes = 0;
    s->bad_until = s->busy_until = s->unshared_until = s->good = 0;
    s->stalls = 0;
    s->window = WINDOW_MIN;
    s->portion = PORTION_MIN;
    s->patience = PATIENCE_MS;
}

bool source_bad(const struct source *s, uint64_t now) { return now < s->bad_until; }

bool source_strike(struct source *s, uint64_t now)
{
    if (source_bad(s, now) || ++s->strikes < STRIKES)
        return false;
    s->strikes = 0;
    s->bad_until = now + BAD_MS;
    return true;
}

void source_move_window(struct source *s, uint64_t bytes, bool ok)
{
    s->good = ok ? s->good + bytes : 0;
    if (!ok)
        s->window = s->window / 2 < WINDOW_MIN ? WINDOW_MIN : s->window / 2;
    if (s->good < s->window || s->window >= WINDOW_MAX)
        return;
    s->window *= 2;
    s->good = 0;
}

/* Where much comes at once, much is asked for at once: many blocks are verified faster than one (proto/lanes.h). What is slow comes in
 * small answers, so that there is one now and then. */
void source_pace(struct source *s, uint64_t bytes, uint64_t ms)
{
    uint64_t n = bytes / (ms + 1) * PORTION_MS;
    s->portion = (uint32_t)(n < PORTION_MIN ? PORTION_MIN : n > PORTION_MAX ? PORTION_MAX : n);
}

/* ---- silence ---- */

uint64_t source_patience(const struct source *s) { return TIMEOUT_MS + s->outstanding / SLOWEST; }

void source_sent(struct source *s, struct request *r, uint64_t now)
{
    struct request **p = &s->first;
    if (!*p)
        s->heard = now;
    while (*p)
        p = &(*p)->next;
    *p = r;
    r->next = NULL;
    r->sent = now;
}

static void turn(struct request *r, bool late)
{
    if (r->late == late)
        return;
    r->late = late;
    r->turn(r, late);
}

static void remove_request(struct source *s, struct request *r)
{
    struct request **p = &s->first;
    while (*p != r)
        p = &(*p)->next;
    *p = r->next;
    r->next = NULL;
}

/* The clock of silence begins anew with every answer, so that the last pause is what the source can do. */
void source_heard(struct source *s, struct request *r, uint64_t now)
{
    uint64_t twice = 2 * (now - s->heard);
    uint64_t patience = twice > s->patience ? twice : s->patience;
    remove_request(s, r);
    for (struct request *q = s->first; q; q = q->next)
        q->overtaken |= q->sent + s->patience < r->sent;
    s->heard = now;
    s->patience = patience < PATIENCE_MAX_MS ? patience : PATIENCE_MAX_MS;
    s->silent = false;
    for (struct request *q = s->first; q; q = q->next)
        turn(q, q->overtaken);
}

void source_gave_up(struct source *s, struct request *r)
{
    remove_request(s, r);
    if (!s->first)
        s->silent = false;
}

uint64_t source_watch(struct source *s, uint64_t now)
{
    if (!s->first || s->silent)
        return UINT64_MAX;
    if (now < s->heard + s->patience)
        return s->heard + s->patience;
    s->silent = true;
    for (struct request *q = s->first; q; q = q->next)
        turn(q, true);
    return UINT64_MAX;
}

/* ---- all of them ---- */

void pull_peer_up(struct pull *p, const struct id *dev)
{
    struct source *s = source_find(p, dev);
    if (!s) {
        p->source = xrealloc(p->source, p->nsource + 1, sizeof *p->source);
        s = &p->source[p->nsource++];
        *s = (struct source){.dev = *dev};
    }
    source_start(s, link_inst(peers_link(p->c.peers, dev)));
    pull_kick(p);
}

void strike(struct pull *p, const struct id *dev, const char *what)
{
    struct source *s = source_find(p, dev);
    const struct link *l = peers_link(p->c.peers, dev);
    char hex[ID_HEX];
    log_seldom(LOG_WARN, "wrong content from a peer what=\"%s\" device=%.16s", what, id_hex(dev, hex));
    if (source_strike(s, loop_now()))
        log_warn("peer has sent wrong content %d times: it is asked for no more until it has started anew, at most for %d minutes"
                 " device=%.16s address=%s", STRIKES, BAD_MS / 60000, id_hex(dev, hex), l ? link_address(l) : "?");
}

void rest(struct pull *p, struct source *s, uint64_t ms)
{
    ms = ms < REST_MIN_MS ? REST_MIN_MS : ms > REST_MAX_MS ? REST_MAX_MS : ms;
    s->busy_until = loop_now() + ms;
    pull_wake(p, ms);
}

void sources_forget(struct pull *p, const struct item *it)
{
    for (size_t i = 0; i < p->nsource && it->late; i++)
        for (struct request *r = p->source[i].first; r; r = r->next)
            if (r->late)
                r->forget(r, it);
    pull_wake(p, 0);
}

bool denied(const struct item *it, const struct id *dev)
{
    for (unsigned i = 0; i < it->ndenied; i++)
        if (id_eq(&it->denied[i], dev))
            return true;
    return false;
}

void deny(struct item *it, const struct id *dev)
{
    if (denied(it, dev))
        return;
    if (it->ndenied == ITEM_DENIED_MAX)
        it->ndenied = 0;             /* all have said no: ask them all again, later */
    it->denied[it->ndenied++] = *dev;
    it->share.looked = 0;
}

static size_t askable(struct pull *p, const struct item *it, bool sure, struct id *dev, size_t max)
{
    size_t k = 0, n = engine_sources(p->c.engine, it->want.stream, it->want.seq, sure ? ENGINE_HAS : ENGINE_KNOWS, dev, max);
    uint64_t now = loop_now();
    for (size_t i = 0; i < n; i++) {
        const struct source *s = source_find(p, &dev[i]);
        if (s && !s->silent && !source_bad(s, now) && !denied(it, &dev[i]) && peers_link(p->c.peers, &dev[i]))
            dev[k++] = dev[i];
    }
    return k;
}

size_t sources_of(struct pull *p, const struct item *it, struct id *dev)
{
    size_t n = askable(p, it, true, dev, SOURCES_MAX);
    if (n == 0 || it->ndenied)
        n += askable(p, it, false, dev + n, SOURCES_MAX - n);
    return n;
}

bool item_unserved(struct pull *p, const struct item *it)
{
    struct id dev[SOURCES_MAX];
    return it->refs == it->late && !it->cancelled && (it->state == ITEM_LIST || it->state == ITEM_BLOCKS) &&
           (it->futile >= FUTILE_MAX || sources_of(p, it, dev) == 0);
}

/* Forgetting, and the audit that finds what came of it: as node/keeper_forget.c and node/audit.c do it. */
#include <string.h>

#include "tests/sim/sim.h"

/* The horizon is short: a schedule takes some minutes. */
void device_forget(struct world *w, int i)
{
    struct engine *e = w->d[i].engine;
    uint64_t wall = device_wall(w, i), age = pick(w, 60000), n = 0;
    int64_t path = 0;
    if (wall < age || engine_clock_off(e, wall))
        return;
    device_begin(w, i);
    if (chance(w, 70))
        MUST(engine_save_vectors(e));
    MUST(engine_forget_old(e, wall - age, &path, &n));
    if (n)
        tell(w, "d%d: forgets %llu entries", i, (unsigned long long)n);
    device_commit(w, i, false);
}

static void ask(struct world *w, int from, int to, uint64_t cursor)
{
    struct message m = {.type = M_GET_LIVE, .from = from, .to = to, .body = BUF_INIT(1), .cursor = cursor};
    net_send(w, &m);
}

void device_audit(struct world *w, int i)
{
    struct differing d;
    size_t at = 0;
    if (mutant == MUTANT_FORGET_EARLY || mutant == MUTANT_NO_AUDIT)
        return;
    while (engine_next_differing(w->d[i].engine, &at, &d)) {
        tell(w, "d%d: d%d shows something else", i, device_of(w, i, &d.dev));
        ask(w, i, device_of(w, i, &d.dev), 0);
    }
}

void serve_live(struct world *w, const struct message *q)
{
    static const struct bytes all;
    struct message m = {.type = M_LIVE, .from = q->to, .to = q->from, .body = BUF_INIT(LIMIT_BODY)};
    if (lies_here(w, q->to))
        mp_put_array(&m.body, 0);
    else
        MUST(engine_serve_live(w->d[q->to].engine, &all, &all, q->cursor, &m.cursor, &m.body));
    net_send(w, &m);
}

void receive_live(struct world *w, const struct message *m)
{
    struct live_found found;
    device_begin(w, m->to);
    MUST(engine_take_live(w->d[m->to].engine, m->body.data, m->body.len, device_wall(w, m->to), &found));
    bool news = found.restored || found.deleted;
    if (news)
        tell(w, "d%d: %llu come back, %llu are deleted again", m->to, (unsigned long long)found.restored, (unsigned long long)found.deleted);
    w->progress |= news;
    if (device_commit(w, m->to, news) && m->cursor)
        ask(w, m->to, m->from, m->cursor);
}

static void model_end(struct bytes path, const struct dot *dead)
{
    for (int p = 0; p < PATHS; p++)
        if (path.len == strlen(path_name[p]) && memcmp(path.p, path_name[p], path.len) == 0)
            model_add(busy_world, busy_device, p, DEAD_ALREADY, &(struct name){.dot = *dead});
}

/* A deletion that is written again names what it deletes. */
int __real_author(struct engine *e, struct entry *ent, int64_t path, uint64_t wall_ms, int64_t *id);
int __wrap_author(struct engine *e, struct entry *ent, int64_t path, uint64_t wall_ms, int64_t *id);
int __wrap_author(struct engine *e, struct entry *ent, int64_t path, uint64_t wall_ms, int64_t *id)
{
    struct dot dead = ent->v.ctx.n == 1 ? ent->v.ctx.v[0] : (struct dot){.seq = 0};
    int r = __real_author(e, ent, path, wall_ms, id);
    if (r == 0)
        model_end(ent->path, &dead);
    return r;
}

/* So does that of an old copy that was found before it was known. */
int __real_author_end(struct engine *e, const struct entry *of, int64_t path, const struct version **heads, size_t n, uint64_t wall_ms);
int __wrap_author_end(struct engine *e, const struct entry *of, int64_t path, const struct version **heads, size_t n, uint64_t wall_ms);
int __wrap_author_end(struct engine *e, const struct entry *of, int64_t path, const struct version **heads, size_t n, uint64_t wall_ms)
{
    int r = __real_author_end(e, of, path, heads, n, wall_ms);
    if (r == 0)
        model_end(of->path, &of->v.dot);
    return r;
}

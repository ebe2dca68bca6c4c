/* What the node does around an engine, with a modelled disk and network: see node/scan for the reasons of its looks. */
#include <stdlib.h>
#include <string.h>

#include "proto/path.h"
#include "tests/sim/sim.h"

uint64_t device_wall(const struct world *w, int i) { return (uint64_t)((int64_t)w->now + w->d[i].clock); }

int device_of(const struct world *w, int from, const struct id *dev)
{
    int found = -1;
    for (int i = 0; i < w->n; i++)
        if (i != from && id_eq(&w->d[i].keys->dev, dev) && (found < 0 || !w->net.cut[from][i]))
            found = i;
    return found;
}

/* ---- transactions ---- */

void device_begin(struct world *w, int i)
{
    mutant_remember(w, i);
    busy_device = i;
    w->batch++;
    w->d[i].mark = w->model.n;
    w->d[i].withdrawn_mark = w->nwithdrawn;
    MUST(engine_begin(w->d[i].engine));
}

static void forget_transaction(struct world *w, int i)
{
    w->model.n = w->d[i].mark;
    w->nwithdrawn = w->d[i].withdrawn_mark;
}

static void roll_back(struct world *w, int i)
{
    engine_rollback(w->d[i].engine);
    forget_transaction(w, i);
}

/* Durable first, announced then. False when it came to nothing, or when the device is no more. */
bool device_commit(struct world *w, int i, bool news)
{
    struct device *d = &w->d[i];
    if (mutant == MUTANT_EARLY) {
        MUST(engine_commit(d->engine, device_wall(w, i)));
        device_publish(w, i);
        if (crashes_here(w, i, "after an announcement that came too early")) {
            mutant_forget(w, i);
            return false;
        }
        return true;
    }
    if (crashes_here(w, i, "before a commit"))
        return false;
    if (disk_fails_here(w, i, "at a commit")) {
        roll_back(w, i);
        return false;
    }
    MUST(engine_commit(d->engine, device_wall(w, i)));
    if (crashes_here(w, i, "after a commit"))
        return false;
    if (news)
        device_publish(w, i);
    return true;
}

void device_publish(struct world *w, int i)
{
    struct device *d = &w->d[i];
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY);
    MUST(engine_own_vector(d->engine, device_wall(w, i), 1, &vec));
    for (int j = 0; j < w->n; j++) {
        if (j == i)
            continue;
        struct message m = {.type = M_VEC, .from = i, .to = j, .body = BUF_INIT(LIMIT_BODY)};
        buf_add(&m.body, vec.data, vec.len);
        net_send(w, &m);
    }
}

/* ---- looks at the disk ---- */

bool device_local(struct world *w, int i, int path, struct ix_local *l)
{
    int64_t id;
    const char *name = path_name[path];
    return index_path_id(w->d[i].index, name, strlen(name), false, &id) == 0 && index_local_get(w->d[i].index, id, l) == 0;
}

static struct name name_of(struct world *w, int i, int64_t entry)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    MUST(engine_entry(w->d[i].engine, entry, &raw, &ent, &row));
    return (struct name){ent.v.dot, id_hash(raw.data, raw.len)};
}

/* What the engine says: with a number that stands for two versions it may not see one of them, until it knows. */
static bool is_winner(struct world *w, int i, const struct ix_local *local)
{
    int64_t winner;
    MUST(index_path_get(w->d[i].index, local->path, NULL, &winner));
    return winner == local->entry;
}

static int look_gone(struct world *w, int i, int path, const struct ix_local *local)
{
    struct name base = {.dot = {.seq = 0}};
    bool all = false;
    if (local) {
        base = name_of(w, i, local->entry);
        all = model_ambiguous(w, i, path) || w->faults.forget ? is_winner(w, i, local) : model_winner_is(w, i, path, &base);
    }
    int r = engine_gone(w->d[i].engine, path_name[path], strlen(path_name[path]), device_wall(w, i));
    if (r == 1)
        model_add(w, i, path, all ? ON_ALL_HEADS : local ? ON_DISK : ON_NOTHING, &base);
    return r;
}

static int look_seen(struct world *w, int i, int path, const struct thing *t, const struct ix_local *local)
{
    struct stamp st = stamp_of(t);
    AUTO(content_list_release) struct content_list c = content_of(t->content, t->kind == STAMP_SYMLINK);
    struct name base = {.dot = {.seq = 0}};
    if (local && local->entry)
        base = name_of(w, i, local->entry);
    bool counts = !local || (local->entry && engine_known_of(w->d[i].engine, &base.dot.sid) >= base.dot.seq);
    int r = engine_seen(w->d[i].engine, path_name[path], strlen(path_name[path]), &st, t->kind == STAMP_DIR ? NULL : &c, true,
                        device_wall(w, i));
    if (r == 1)
        model_add(w, i, path, local && counts ? ON_DISK : ON_NOTHING, counts ? &base : NULL);
    return r;
}

int device_look_at(struct world *w, int i, int path)
{
    struct ix_local l;
    bool have = device_local(w, i, path, &l), version = have && l.entry;        /* what a reader changed here is none */
    const struct thing *t = &w->d[i].disk.at[path];
    struct stamp st = stamp_of(t);
    if (t->kind == STAMP_ABSENT)
        return look_gone(w, i, path, version ? &l : NULL);
    bool same = version && stamp_same(&l.stamp, &st);
    if (same && !l.apart)                 /* of what is there no more is known than that: node/scan_see.c reads it again */
        return 0;
    int r = look_seen(w, i, path, t, have ? &l : NULL);
    return r < 0 || same ? r : 1;
}

void device_look(struct world *w, int i, bool all)
{
    int one = (int)pick(w, PATHS), changes = 0;
    device_begin(w, i);
    /* What is there first, then what is gone, deepest first. */
    for (int k = 0; k < 2 * PATHS; k++) {
        int path = k < PATHS ? k : 2 * PATHS - 1 - k;
        bool gone = w->d[i].disk.at[path].kind == STAMP_ABSENT;
        if ((!all && path != one) || gone != (k >= PATHS))
            continue;
        int r = device_look_at(w, i, path);
        MUST(r);
        changes += r;
    }
    w->progress |= changes > 0;
    device_commit(w, i, changes > 0);
}

void device_tell_forks(struct world *w, int i)
{
    struct id dev;
    AUTO(buf_release) struct buf proof = BUF_INIT(LIMIT_HEAD);
    while (engine_next_fork(w->d[i].engine, &dev, &proof)) {
        struct message m = {.type = M_FORK, .from = i, .to = device_of(w, i, &dev), .body = BUF_INIT(LIMIT_HEAD)};
        buf_add(&m.body, proof.data, proof.len);
        net_send(w, &m);
    }
}

bool device_clock(struct world *w, int i)
{
    device_begin(w, i);
    int r = engine_clock(w->d[i].engine, device_wall(w, i));
    if (r == ERR_AGAIN) {
        roll_back(w, i);
        return false;
    }
    MUST(r);
    if (r > 0)
        tell(w, "d%d: takes back what it dated in the future", i);
    w->progress |= r > 0;
    if (r > 0)
        return device_commit(w, i, true);
    MUST(engine_commit(w->d[i].engine, device_wall(w, i)));
    return true;
}

void device_time_out(struct world *w, int i)
{
    struct device *d = &w->d[i];
    for (int j = 0; j < w->n; j++) {
        if (d->asked[j])
            engine_fetch_failed(d->engine, &w->d[j].keys->dev);
        d->asked[j] = false;
    }
    engine_forgive(d->engine);
}

/* ---- conflicts ---- */

struct some_heads { int64_t entry[16]; size_t n; };
static int live_one(void *arg, const struct ix_entry *row)
{
    struct some_heads *h = arg;
    if (row->live && row->kind != KIND_TOMBSTONE && h->n < 16)
        h->entry[h->n++] = row->id;
    return 0;
}

void device_resolve(struct world *w, int i)
{
    int path = (int)pick(w, PATHS);
    int64_t id;
    struct some_heads h = {.n = 0};
    if (!may_write(w->d[i].engine))
        return;
    if (index_path_id(w->d[i].index, path_name[path], strlen(path_name[path]), false, &id) == 0)
        MUST(index_entry_each_of_path(w->d[i].index, id, live_one, &h));
    if (h.n < 2) {                                        /* there is nothing to resolve, but always something to say */
        device_note(w, i);
        return;
    }
    tell(w, "d%d: resolve %s", i, path_name[path]);
    device_begin(w, i);
    MUST(engine_resolve(w->d[i].engine, id, h.entry[pick(w, h.n)], device_wall(w, i)));
    model_add(w, i, path, ON_ALL_HEADS, NULL);
    device_commit(w, i, true);
}

void device_note(struct world *w, int i)
{
    tell(w, "d%d: a note", i);
    device_begin(w, i);
    MUST(engine_note(w->d[i].engine, &(struct note){.what = NOTE_STR("said")}, device_wall(w, i)));
    model_add(w, i, NOTES, ON_NOTHING, NULL);
    device_commit(w, i, true);
}

/* ---- messages ---- */

static void receive_change_sets(struct world *w, struct message *m)
{
    struct device *d = &w->d[m->to];
    const struct id *from = &w->d[m->from].keys->dev;
    if (!d->asked[m->from])
        return;
    device_begin(w, m->to);
    int r = engine_change_sets(d->engine, from, m->body.data, m->body.len, device_wall(w, m->to));
    /* Two histories: of one device at a time it is looked for where they part. */
    if (r < 0 && r != ERR_AGAIN && !(r == ERR_BAD && w->nsplit) && !(r == ERR_DENIED && w->faults.revoke))
        fail(w, "d%d: change sets of d%d: %s", m->to, m->from, err_text());
    if (r < 0) {
        tell(w, "d%d: change sets of d%d refused: %s", m->to, m->from, err_text());
        roll_back(w, m->to);
        device_begin(w, m->to);
    }
    if (r > 0)
        w->progress = true;
    if (!device_commit(w, m->to, r > 0) && !d->engine)
        return;
    check_cuts(w, m->to);
    check_held(w);
    d->asked[m->from] = false;
    if (r > 0)
        engine_fetch_done(d->engine, from);
    else
        engine_fetch_failed(d->engine, from);
}

/* A vector that says so has come. */
static void note_warning(struct world *w, int i, const struct buf *blob)
{
    struct device *d = &w->d[i];
    AUTO(vec_release) struct vec v = {0};
    struct sid own = sid_make(&w->group.id, &d->keys->dev, d->engine->inc);
    MUST(vec_decode(blob->data, blob->len, &v));
    const struct vec_stream *s = vec_find(&v, &own);
    if (!s || s->known <= engine_known_of(d->engine, &own))
        return;
    d->warned = true;
    d->of = own;
}

static void reply(struct world *w, const struct message *q, struct message *m)
{
    m->from = q->to;
    m->to = q->from;
    net_send(w, m);
}

/* What is in a vector about the control log is believed before the vector is. */
static void hear(struct world *w, const struct message *m)
{
    AUTO(vec_release) struct vec v = {0};
    MUST(vec_decode(m->body.data, m->body.len, &v));
    device_hears(w, m->to, v.ctl_n);
}

void device_receive(struct world *w, struct message *m)
{
    struct device *d = &w->d[m->to];
    if ((w->faults.revoke || w->faults.require) && m->type == M_VEC)
        hear(w, m);
    if (!d->engine || ignores(w, m->to, m->from))
        return;
    struct message answer = {.body = BUF_INIT(LIMIT_BODY)};
    const struct msg_range *range;
    int r;
    switch (m->type) {
    case M_VEC:
        note_warning(w, m->to, &m->body);
        r = engine_vector(d->engine, m->body.data, m->body.len, NULL, NULL);
        MUST(r);
        device_tell_forks(w, m->to);
        if (chance(w, 30))
            device_audit(w, m->to);
        device_lock(w, m->to);
        break;
    case M_GET_CS:
        answer.type = M_CS;
        range = (const struct msg_range *)(const void *)m->body.data;
        MUST(engine_serve_cs(d->engine, range, (uint32_t)(m->body.len / sizeof *range), LIMIT_CS_REPLY, &answer.body));
        if (lies_here(w, m->to))
            lie(w, &answer.body);
        reply(w, m, &answer);
        break;
    case M_CS:
        receive_change_sets(w, m);
        break;
    case M_FORK:
        device_begin(w, m->to);
        r = engine_fork(d->engine, m->body.data, m->body.len, device_wall(w, m->to));
        if (r == ERR_AGAIN) {                /* its clock has not been looked at */
            roll_back(w, m->to);
            break;
        }
        MUST(r);
        w->progress |= r > 0;
        device_commit(w, m->to, r > 0);
        break;
    case M_GET_LIVE:
        serve_live(w, m);
        break;
    case M_LIVE:
        receive_live(w, m);
        break;
    case M_GET_BLK:
        answer.type = M_BLK;
        answer.content = m->content;
        answer.found = disk_has_content(&d->disk, m->content);
        reply(w, m, &answer);
        break;
    case M_BLK:
        w->progress |= m->found && !d->here[m->content];
        d->here[m->content] |= m->found;
        break;
    }
}

/* ---- start and end ---- */

void device_reset(struct world *w, int i)
{
    struct device *d = &w->d[i];
    memset(&d->disk.at, 0, sizeof d->disk.at);
    memset(d->disk.ever, 0, sizeof d->disk.ever);
    d->lock = (struct locked){.held = false};
    memset(d->here, 0, sizeof d->here);
    memset(d->asked, 0, sizeof d->asked);
    memset(d->failures, 0, sizeof d->failures);
    d->disk.nkept = 0;
    d->clock = 0;
    d->lost_index = d->turned_back = d->muted = d->warned = false;
    d->backup.has = d->doubt = d->cuts_due = false;
    group_release(&d->group);
    group_copy(&d->group, &w->group);
    index_empty(w, i);
}

void device_start(struct world *w, int i)
{
    struct device *d = &w->d[i];
    struct engine_config c = {.index = d->index, .group = &d->group, .keys = d->keys};
    for (size_t k = 0; k < sizeof c.inst; k++)
        c.inst[k] = (uint8_t)pick(w, 256);
    MUST(engine_new(&c, &d->engine));
    if (d->doubt) {
        tell(w, "d%d: continuity in doubt", i);
        MUST(engine_begin(d->engine));
        MUST(engine_doubt(d->engine));
        MUST(engine_commit(d->engine, device_wall(w, i)));
        d->doubt = false;
    }
    device_cuts(w, i);
    d->lock.unserved = 0;                /* it waits anew for somebody who can help it */
    device_lock(w, i);
    if (!d->engine)
        return;
    for (int j = 0; j < w->n; j++)
        if (j != i)
            net_cut(w, i, j, w->net.cut[i][j]);
}

void device_crash(struct world *w, int i)
{
    struct device *d = &w->d[i];
    if (index_in_tx(d->index)) {
        index_rollback(d->index);
        forget_transaction(w, i);
    }
    engine_free(&d->engine);
    net_forget(w, i);
    d->muted = d->warned = false;
    memset(d->here, 0, sizeof d->here);
    memset(d->asked, 0, sizeof d->asked);
    memset(d->failures, 0, sizeof d->failures);
    for (int j = 0; j < w->n; j++)
        if (j != i && w->d[j].engine && !twins_talk(w, j, i)) {
            engine_online(w->d[j].engine, &d->keys->dev, false);
            w->d[j].asked[i] = false;
        }
}

/* Three engines (t_engine.h) that forget. */
#ifndef TESTS_T_FORGET_H
#define TESTS_T_FORGET_H

#include "tests/unit/t_engine.h"

/* What ended before that time goes. */
static inline uint64_t forget(struct world *w, size_t i, uint64_t before)
{
    struct engine *e = w->d[i].e;
    uint64_t total = 0, n;
    int64_t path = 0;
    do {
        must(engine_begin(e));
        must(engine_forget_old(e, before, &path, &n));
        commit(w, i);
        total += n;
    } while (path);
    return total;
}
static inline uint64_t forget_all(struct world *w, size_t i) { return forget(w, i, w->wall + 1); }

/* They hear of each other's news, and of what the others know of that. */
static inline void everybody_hears(struct world *w)
{
    for (int round = 0; round < 3; round++)
        for (size_t from = 0; from < DEVICES; from++)
            for (size_t to = 0; to < DEVICES; to++)
                if (from != to)
                    pull_entries(w, from, to);
    for (size_t i = 0; i < DEVICES; i++)
        install(w, i);
}

static inline int count_entry(void *arg, const struct ix_entry *row) { (void)row; ++*(size_t *)arg; return 0; }

static inline size_t entries_of(struct world *w, size_t i, const char *path)
{
    int64_t id;
    size_t n = 0;
    if (index_path_id(w->d[i].ix, path, strlen(path), false, &id) == 0)
        must(index_entry_each_of_path(w->d[i].ix, id, count_entry, &n));
    return n;
}

static inline bool has_path(struct world *w, size_t i, const char *path)
{
    int64_t id;
    return index_path_id(w->d[i].ix, path, strlen(path), false, &id) == 0;
}

static inline void same_fingerprint(struct world *w, size_t i, size_t k)
{
    CHECK(id_eq(&w->d[i].e->now.fp, &w->d[k].e->now.fp));
}

struct counted { size_t n, leaves, own; };
static inline int count_run(void *arg, const struct ix_pruned *p)
{
    struct counted *c = arg;
    c->n++;
    c->leaves += p->count;
    c->own += p->own;
    return 0;
}

static inline struct counted runs_of(struct world *w, size_t i, size_t author)
{
    struct counted c = {0};
    const struct stream *s = engine_stream_by_sid(w->d[i].e, engine_own_sid(w->d[author].e));
    CHECK(s);
    must(index_pruned_each(w->d[i].ix, s->row.id, 0, UINT64_MAX, count_run, &c));
    return c;
}

/* Files f000, f001..., in one change set. */
static inline void save_many(struct world *w, size_t i, int n, const char *text)
{
    must(engine_begin(w->d[i].e));
    for (int k = 0; k < n; k++) {
        char path[16];
        struct content_list c = {.type = CONTENT_INLINE, .size = strlen(text), .inline_len = strlen(text), .root = id_hash(text, strlen(text))};
        c.inline_bytes = (const uint8_t *)text;
        struct stamp st = {.kind = STAMP_FILE, .mode = 0644, .dev = 1, .ino = ++w->wall, .size = c.size, .mtime_ns = (int64_t)w->wall};
        int len = snprintf(path, sizeof path, "f%03d", k);
        must(engine_seen(w->d[i].e, path, (size_t)len, &st, &c, true, w->wall));
    }
    commit(w, i);
}

/* A fresh device in the place of one that is gone, with the same keys. */
static inline void restart_empty(struct world *w, size_t i)
{
    engine_free(&w->d[i].e);
    index_close(&w->d[i].ix);
    device_start(w, i, (uint8_t)(0x80 + i));
}

static inline void restart(struct world *w, size_t i)
{
    struct engine_config c = {.index = w->d[i].ix, .group = &w->group, .keys = w->d[i].keys};
    memset(c.inst, 0x40 + (int)i, sizeof c.inst);
    engine_free(&w->d[i].e);
    must(engine_new(&c, &w->d[i].e));
}

/* Makes or removes one. */
static inline void snapshot(struct world *w, size_t i, const char *name, int (*what)(struct engine *, const char *, uint64_t))
{
    must(engine_begin(w->d[i].e));
    must(what(w->d[i].e, name, ++w->wall));
    commit(w, i);
}

/* The entry that the only snapshot shows at a path, or 0. */
static inline int64_t at_snapshot(struct world *w, size_t i, const char *path)
{
    const struct snapshot *s;
    size_t n;
    int64_t id;
    struct ix_entry row;
    must(engine_snapshots(w->d[i].e, &s, &n));
    EQ_U(n, 1);
    const struct dots *vector = &s->vector;
    if (index_path_id(w->d[i].ix, path, strlen(path), false, &id) < 0)
        return 0;
    must(engine_state_at(w->d[i].e, id, &vector, 1, &row));
    return row.kind == KIND_TOMBSTONE ? 0 : row.id;
}

/* A directory at "a" of device i that claims to descend from the first entry of device k. */
static inline void forge(struct world *w, size_t i, size_t k)
{
    struct entry ent = {.kind = KIND_DIR, .path = {(const uint8_t *)"a", 1}, .mode = 0755};
    struct sid other = sid_make(&w->group.id, &w->d[k].keys->dev, w->d[k].e->inc);
    int64_t path, id;
    ctx_raise(&ent.v.ctx, &other, 1);
    must(engine_begin(w->d[i].e));
    must(index_path_id(w->d[i].ix, "a", 1, true, &path));
    must(author(w->d[i].e, &ent, path, w->wall, &id));
    must(state_update(w->d[i].e, path));
    commit(w, i);
    dots_release(&ent.v.ctx);
    dots_release(&ent.v.except);
}

#endif

/* Histories that no engine would sign: written here, entry by entry, with the keys of a device of t_engine.h. */
#ifndef TESTS_T_FORGE_H
#define TESTS_T_FORGE_H

#include "proto/hlc.h"
#include "proto/merkle.h"
#include "tests/unit/t_engine.h"

/* ---- a device that signs what it likes ---- */

struct pen {
    struct world *w;
    const struct device_keys *keys;
    uint8_t inc[8];
    struct sid sid;
    uint64_t known;
    struct id tip;
    struct buf items, sets, rec;         /* not sealed yet; sealed; the last header */
    uint8_t sig[SIG_LEN];
    struct id leaf[64];
    uint32_t n, nsets;
};

static inline struct pen pen_new(struct world *w, size_t device, uint8_t inc)
{
    struct pen p = {.w = w, .keys = w->d[device].keys, .items = BUF_INIT(LIMIT_BODY), .sets = BUF_INIT(LIMIT_BODY), .rec = BUF_INIT(4096)};
    memset(p.inc, inc, sizeof p.inc);
    p.sid = sid_make(&w->group.id, &p.keys->dev, p.inc);
    return p;
}

static inline void pen_release(struct pen *p)
{
    buf_release(&p->items);
    buf_release(&p->sets);
    buf_release(&p->rec);
}

static inline void pen_entry(struct pen *p, const struct entry *ent)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    must(entry_encode(&raw, ent));
    p->leaf[p->n++] = merkle_leaf(raw.data, raw.len);
    cs_put_entry(&p->items, &(struct bytes){raw.data, raw.len});
}

/* A version that supersedes nothing. */
static inline void pen_file_at(struct pen *p, const char *path, const char *text, uint16_t tick)
{
    struct entry ent = {.kind = KIND_FILE, .path = {(const uint8_t *)path, strlen(path)}, .mode = 0644, .size = strlen(text), .mtime_ns = 1,
                        .v.hlc = hlc_make(p->w->wall, tick)};
    ent.content = (struct content){.type = CONTENT_INLINE, .inline_bytes = {(const uint8_t *)text, strlen(text)}};
    pen_entry(p, &ent);
}

/* The later ones of a pen are greater. */
static inline void pen_file(struct pen *p, const char *path, const char *text)
{
    pen_file_at(p, path, text, (uint16_t)(p->known + p->n));
}

static inline void pen_blocks(struct pen *p, const char *path, const struct id *root)
{
    struct entry ent = {.kind = KIND_FILE, .path = {(const uint8_t *)path, strlen(path)}, .mode = 0644, .size = 5, .mtime_ns = 1,
                        .v.hlc = hlc_make(p->w->wall, (uint16_t)(p->known + p->n))};
    ent.content = (struct content){.type = CONTENT_BLOCKS, .nblocks = 1, .root = *root};
    pen_entry(p, &ent);
}

static inline void pen_seal(struct pen *p)
{
    struct header h = {.group = p->w->group.id, .dev = p->keys->dev, .root = merkle_root(p->leaf, p->n), .prev = p->tip, .first = p->known + 1,
                       .count = p->n, .hlc_max = hlc_make(p->w->wall, UINT16_MAX), .wall_ms = p->w->wall, .ctl_n = p->w->group.ctl_n};
    memcpy(h.inc, p->inc, sizeof h.inc);
    buf_clear(&p->rec);
    must(header_encode(&p->rec, p->sig, &h, p->keys));
    cs_put_head(&p->sets, &(struct bytes){p->rec.data, p->rec.len}, p->sig, p->n);
    buf_add(&p->sets, p->items.data, p->items.len);
    buf_clear(&p->items);
    p->tip = id_hash(p->rec.data, p->rec.len);
    p->known += p->n;
    p->nsets++;
    p->n = 0;
}

/* Device `to` gets all that the pens have written, in one reply of device `from`. */
static inline int hear(struct world *w, size_t to, size_t from, struct pen *const *pen, size_t n)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    uint32_t sets = 0;
    for (size_t i = 0; i < n; i++)
        sets += pen[i]->nsets;
    mp_put_array(&body, sets);
    for (size_t i = 0; i < n; i++)
        buf_add(&body, pen[i]->sets.data, pen[i]->sets.len);
    must(engine_begin(w->d[to].e));
    int r = engine_change_sets(w->d[to].e, &w->d[from].keys->dev, body.data, body.len, w->wall);
    commit(w, to);
    return r;
}

static inline int prove(struct world *w, size_t to, const struct pen *x, const struct pen *y)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_HEAD);
    struct signed_header a = {{x->rec.data, x->rec.len}, x->sig}, b = {{y->rec.data, y->rec.len}, y->sig};
    fork_put(&body, &a, &b);
    must(engine_begin(w->d[to].e));
    int r = engine_fork(w->d[to].e, body.data, body.len, w->wall);
    if (r < 0)
        engine_rollback(w->d[to].e);
    else
        commit(w, to);
    return r;
}

static inline void show_vector(struct world *w, size_t from, size_t to)
{
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY);
    must(engine_own_vector(w->d[from].e, w->wall, 1, &vec));
    must(engine_vector(w->d[to].e, vec.data, vec.len, NULL, NULL));
}

/* ---- what a path has ---- */

struct tally { struct world *w; size_t device; size_t rows, live, own; char least[16]; };

static inline int tally_row(void *arg, const struct ix_entry *row)
{
    struct tally *t = arg;
    AUTO(entry_release) struct entry ent = {0};
    const struct sid *own = engine_own_sid(t->w->d[t->device].e);
    t->rows++;
    if (!row->live)
        return 0;
    t->live++;
    t->own += own && sid_eq(engine_stream_sid(t->w->d[t->device].e, row->stream), own);
    must(entry_decode(row->raw.p, row->raw.len, &ent));
    char text[16];
    snprintf(text, sizeof text, "%.*s", (int)ent.content.inline_bytes.len, (const char *)ent.content.inline_bytes.p);
    if (!t->least[0] || strcmp(text, t->least) < 0)
        memcpy(t->least, text, sizeof text);
    return 0;
}

static inline struct tally tally(struct world *w, size_t i, const char *path)
{
    struct tally t = {.w = w, .device = i};
    int64_t id;
    must(index_path_id(w->d[i].ix, path, strlen(path), false, &id));
    must(index_entry_each_of_path(w->d[i].ix, id, tally_row, &t));
    return t;
}

#endif

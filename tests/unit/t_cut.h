/* Devices of t_engine.h that are revoked, made readers, or members again. Device 0 says so, and all hear of it; cuts() is when they act. */
#ifndef TESTS_T_CUT_H
#define TESTS_T_CUT_H

#include "tests/unit/t_forge.h"

/* ---- records ---- */

static inline void issue(struct world *w, struct ctl_op *op, const struct cut *cut, uint32_t n)
{
    AUTO(buf_release) struct buf cuts = BUF_INIT(65536), rec = BUF_INIT(LIMIT_CTL_BYTES);
    mp_put_array(&cuts, n);
    for (uint32_t i = 0; i < n; i++)
        cut_put(&cuts, &cut[i]);
    op->cuts = (struct bytes){cuts.data, cuts.len};
    struct ctl c = {.group = w->group.id, .prev = w->group.ctl_hash, .signer = w->d[0].keys->dev, .n = w->group.ctl_n + 1, .ts_ms = 1}, back;
    must(ctl_encode(&rec, &c, op, 1, w->d[0].keys));
    must(ctl_decode(rec.data, rec.len, &back));
    must(group_apply(&w->group, &back));
}

static inline void change_role(struct world *w, size_t i, enum role role, const struct cut *cut, uint32_t n)
{
    struct ctl_op op = {.type = OP_ROLE, .dev = w->d[i].keys->dev, .role = role};
    issue(w, &op, cut, n);
}

/* What device 0 has of device i, by stream. */
static inline uint32_t cuts_of(struct world *w, size_t i, struct cut *cut)
{
    const struct engine *e = w->d[0].e;
    uint32_t n = 0;
    for (size_t k = 0; k < e->nstream; k++) {
        const struct ix_stream *s = &e->stream[k]->row;
        if (s->known && id_eq(&s->dev, &w->d[i].keys->dev))
            cut[n++] = (struct cut){s->sid, s->known, s->tip};
    }
    if (n == 2 && sid_cmp(&cut[0].sid, &cut[1].sid) > 0)
        cut[2] = cut[0], cut[0] = cut[1], cut[1] = cut[2];
    return n;
}

static inline void revoke(struct world *w, size_t i)
{
    struct cut cut[4];
    struct ctl_op op = {.type = OP_REVOKE, .dev = w->d[i].keys->dev};
    issue(w, &op, cut, cuts_of(w, i, cut));
}

static inline void demote(struct world *w, size_t i)
{
    struct cut cut[4];
    change_role(w, i, ROLE_READER, cut, cuts_of(w, i, cut));
}

static inline int cuts(struct world *w, size_t i)
{
    must(engine_begin(w->d[i].e));
    int r = engine_cuts(w->d[i].e, ++w->wall);
    must(r);
    commit(w, i);
    return r;
}

static inline void restart(struct world *w, size_t i, uint8_t inst)
{
    engine_free(&w->d[i].e);
    struct engine_config c = {.index = w->d[i].ix, .group = &w->group, .keys = w->d[i].keys};
    memset(c.inst, inst, sizeof c.inst);
    must(engine_new(&c, &w->d[i].e));
}

/* ---- what they hear of each other ---- */

/* All others take what device i has, and put it on their disks. */
static inline void spread(struct world *w, size_t i)
{
    for (size_t k = 0; k < DEVICES; k++)
        if (k != i) {
            pull_entries(w, i, k);
            install(w, k);
        }
}

/* ---- what they have ---- */

static inline struct vec vector_of(struct world *w, size_t i)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    struct vec v = {0};
    must(engine_own_vector(w->d[i].e, w->wall, 1, &blob));
    must(vec_decode(blob.data, blob.len, &v));
    return v;
}

static inline struct id figures(struct world *w, size_t i)
{
    AUTO(vec_release) struct vec v = vector_of(w, i);
    return v.fp;
}

/* Neither would take the other for a liar: they name the same entries, and show the same. */
static inline void same_state(struct world *w, size_t i, size_t k)
{
    AUTO(vec_release) struct vec a = vector_of(w, i), b = vector_of(w, k);
    EQ_U(a.nstream, b.nstream);
    for (size_t s = 0; s < a.nstream && s < b.nstream; s++) {
        CHECK(sid_eq(&a.stream[s].sid, &b.stream[s].sid));
        EQ_U(a.stream[s].known, b.stream[s].known);
        EQ_MEM(a.stream[s].tip8, b.stream[s].tip8, 8);
    }
    CHECK(id_eq(&a.fp, &b.fp));
}

static inline int first_want(void *arg, const struct ix_want *w)
{
    *(struct ix_want *)arg = *w;
    return 1;
}

/* role 0: nothing */
static inline struct ix_want want_of(struct world *w, size_t i, const char *path)
{
    struct ix_want want = {0};
    int64_t id;
    must(index_path_id(w->d[i].ix, path, strlen(path), false, &id));
    must(index_want_of_path(w->d[i].ix, id, first_want, &want));
    return want;
}

#endif

/* Devices of t_engine.h of which a version is required. Device 0 says so, and all hear of it; look() is when one finds out what follows. */
#ifndef TESTS_T_LOCK_H
#define TESTS_T_LOCK_H

#include "tests/unit/t_cut.h"

enum { EVERYBODY = DEVICES };

/* What is to be required, made by request() and changed before issue_request(). */
struct request { struct ctl_op op; struct buf min, to; };

static inline void request_release(struct request *q)
{
    buf_release(&q->min);
    buf_release(&q->to);
}

/* What device `of` has, of device `to`, under the id that begins with `id`. */
static inline struct request request(struct world *w, uint8_t id, size_t of, size_t to)
{
    struct request q = {.op = {.type = OP_REQUIRE, .mode = REQUIRE_AUTO}, .min = BUF_INIT(65536), .to = BUF_INIT(1024)};
    memset(q.op.require_id, id, sizeof q.op.require_id);
    must(engine_required_min(w->d[of].e, &q.min));
    mp_put_array(&q.to, to < DEVICES);
    if (to < DEVICES)
        mp_put_bin(&q.to, w->d[to].keys->dev.b, ID_LEN);
    return q;
}

static inline void issue_op(struct world *w, const struct ctl_op *op)
{
    AUTO(buf_release) struct buf rec = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl c = {.group = w->group.id, .prev = w->group.ctl_hash, .signer = w->d[0].keys->dev, .n = w->group.ctl_n + 1, .ts_ms = w->wall}, back;
    must(ctl_encode(&rec, &c, op, 1, w->d[0].keys));
    must(ctl_decode(rec.data, rec.len, &back));
    must(group_apply(&w->group, &back));
}

/* It looks at that time of a clock that never jumps. */
static inline enum lock_state look_at(struct world *w, size_t i, uint64_t now)
{
    struct engine_lock l;
    must(engine_lock_look(w->d[i].e, w->wall, now));
    must(engine_lock(w->d[i].e, &l));
    return l.state;
}

static inline enum lock_state look(struct world *w, size_t i) { return look_at(w, i, 1000); }

static inline void issue_request(struct world *w, struct request *q)
{
    q->op.cuts = (struct bytes){q->min.data, q->min.len};
    q->op.to = (struct bytes){q->to.data, q->to.len};
    issue_op(w, &q->op);
}

static inline void require(struct world *w, uint8_t id, enum require_mode mode, size_t to)
{
    AUTO(request_release) struct request q = request(w, id, 0, to);
    q.op.mode = mode;
    issue_request(w, &q);
}

static inline void cancel(struct world *w, uint8_t id)
{
    struct ctl_op op = {.type = OP_CANCEL};
    memset(op.require_id, id, sizeof op.require_id);
    issue_op(w, &op);
}

/* `to` is connected with `from`, and knows its vector. */
static inline void meet(struct world *w, size_t from, size_t to)
{
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY);
    must(engine_own_vector(w->d[from].e, w->wall, 1, &vec));
    must(engine_vector(w->d[to].e, vec.data, vec.len, NULL, NULL));
    engine_online(w->d[to].e, &w->d[from].keys->dev, true);
}

static inline void part(struct world *w, size_t from, size_t to) { engine_online(w->d[to].e, &w->d[from].keys->dev, false); }

/* The entries alone: nothing of them is on the disk. They stay connected. */
static inline void learn(struct world *w, size_t from, size_t to)
{
    pull_entries(w, from, to);
    meet(w, from, to);
}

/* Puts on device i's disk what it wants at that path. */
static inline void install_path(struct world *w, size_t i, const char *path)
{
    struct ix_want want = want_of(w, i, path);
    struct stamp st = {.kind = want.kind == KIND_TOMBSTONE ? STAMP_ABSENT : STAMP_FILE, .mode = 0644, .dev = 1, .ino = ++w->wall, .size = want.size};
    EQ_U(want.role, WANT_INSTALL);
    must(engine_begin(w->d[i].e));
    must(engine_installed(w->d[i].e, want.entry, &st, true));
    commit(w, i);
}

static inline bool allows(struct world *w, size_t i, const char *path)
{
    struct ix_want want = want_of(w, i, path);
    return engine_lock_allows(w->d[i].e, &want);
}

/* Device 2 lacks what devices 0 and 1 wrote and have of each other; it knows the entries, and is connected with device 0. */
static inline struct world *world_ahead(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "of the owner");
    save(w, 1, "b", "of device 1");
    pull_entries(w, 1, 0);
    install(w, 0);
    learn(w, 0, 2);
    return w;
}

#endif

/* Engines without a disk or a network: three devices of one group, what their users do, and what they hear of each other. */
#ifndef TESTS_T_ENGINE_H
#define TESTS_T_ENGINE_H

#include <sodium.h>

#include "node/engine_priv.h"
#include "tests/unit/t.h"

enum { DEVICES = 3 };

struct device { struct device_keys *keys; struct index *ix; struct engine *e; };
struct world { struct group group; struct device d[DEVICES]; uint64_t wall; };

static inline void must(int r)
{
    if (r < 0)
        T_FAIL("%s", err_text());
}

static inline void card_of(const struct device_keys *k, const char *name, struct buf *out)
{
    struct card c = {.dev = k->dev, .created_ms = 1};
    memcpy(c.tr_pk, k->tr_pk, sizeof c.tr_pk);
    snprintf(c.name, sizeof c.name, "%s", name);
    must(card_encode(out, &c, k));
}

static inline void add_member(struct world *w, const struct device *d, const char *name)
{
    AUTO(buf_release) struct buf card = BUF_INIT(4096), rec = BUF_INIT(65536);
    card_of(d->keys, name, &card);
    uint8_t sealed[40 + SEAL_EXTRA] = {0};
    struct ctl_op op = {.type = OP_ADD, .card = {card.data, card.len}, .role = ROLE_MEMBER, .sealed = {sealed, sizeof sealed}};
    struct ctl c = {.group = w->group.id, .prev = w->group.ctl_hash, .signer = w->d[0].keys->dev, .n = w->group.ctl_n + 1, .ts_ms = 1};
    must(ctl_encode(&rec, &c, &op, 1, w->d[0].keys));
    struct ctl back;
    must(ctl_decode(rec.data, rec.len, &back));
    must(group_apply(&w->group, &back));
}

static inline void device_start(struct world *w, size_t i, uint8_t inst)
{
    struct device *d = &w->d[i];
    must(index_open(":memory:", &w->group.id, false, &d->ix));
    struct engine_config c = {.index = d->ix, .group = &w->group, .keys = d->keys};
    memset(c.inst, inst, sizeof c.inst);
    must(engine_new(&c, &d->e));
}

static inline struct world *world_new(void)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->wall = 1700000000000;
    for (size_t i = 0; i < DEVICES; i++)
        w->d[i].keys = device_keys_new();
    AUTO(buf_release) struct buf card = BUF_INIT(4096), gen = BUF_INIT(8192);
    card_of(w->d[0].keys, "d0", &card);
    must(genesis_encode(&gen, &(struct bytes){card.data, card.len}, 1, w->d[0].keys));
    must(group_init(&w->group, gen.data, gen.len));
    add_member(w, &w->d[1], "d1");
    add_member(w, &w->d[2], "d2");
    for (size_t i = 0; i < DEVICES; i++)
        device_start(w, i, (uint8_t)(i + 1));
    return w;
}

static inline void world_free(struct world *w)
{
    for (size_t i = 0; i < DEVICES; i++) {
        engine_free(&w->d[i].e);
        index_close(&w->d[i].ix);
        device_keys_free(&w->d[i].keys);
    }
    group_release(&w->group);
    free(w);
}

static inline void commit(struct world *w, size_t i) { must(engine_commit(w->d[i].e, w->wall)); }

/* The user of device i saves a file; in a transaction. */
static inline int saw(struct world *w, size_t i, const char *path, const char *text)
{
    struct content_list c = {.type = CONTENT_INLINE, .size = strlen(text), .inline_len = strlen(text), .root = id_hash(text, strlen(text))};
    c.inline_bytes = (const uint8_t *)text;
    struct stamp st = {.kind = STAMP_FILE, .mode = 0644, .dev = 1, .ino = ++w->wall, .size = strlen(text), .mtime_ns = (int64_t)w->wall};
    int r = engine_seen(w->d[i].e, path, strlen(path), &st, &c, true, w->wall);
    must(r);
    return r;
}

static inline int save(struct world *w, size_t i, const char *path, const char *text)
{
    must(engine_begin(w->d[i].e));
    int r = saw(w, i, path, text);
    commit(w, i);
    return r;
}

static inline int delete(struct world *w, size_t i, const char *path)
{
    w->wall++;
    must(engine_begin(w->d[i].e));
    int r = engine_gone(w->d[i].e, path, strlen(path), w->wall);
    must(r);
    commit(w, i);
    return r;
}

/* `to` learns from `from` what it can, as over the network. */
static inline int pull_entries(struct world *w, size_t from, size_t to)
{
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY), body = BUF_INIT(LIMIT_BODY);
    struct engine *a = w->d[from].e, *b = w->d[to].e;
    int total = 0;
    must(engine_own_vector(a, w->wall, 1, &vec));
    must(engine_vector(b, vec.data, vec.len, NULL, NULL));
    engine_online(b, &w->d[from].keys->dev, true);
    struct fetch f;
    while (engine_next_fetch(b, &f)) {
        must(engine_serve_cs(a, f.range, f.n, LIMIT_CS_REPLY, &body));
        must(engine_begin(b));
        int r = engine_change_sets(b, &w->d[from].keys->dev, body.data, body.len, w->wall);
        must(r);
        commit(w, to);
        engine_fetch_done(b, &f.dev);
        total += r;
        if (r == 0)
            break;
    }
    engine_online(b, &w->d[from].keys->dev, false);
    return total;
}

/* Puts on device i's imaginary disk what it wants. */
static inline int install_one(void *arg, const struct ix_want *w)
{
    *(struct ix_want *)arg = *w;
    return 1;
}

static inline size_t install(struct world *w, size_t i)
{
    size_t n = 0;
    struct ix_want want;
    while (index_want_each(w->d[i].ix, 0, install_one, &want) == 1) {
        struct ix_entry row;
        AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
        AUTO(entry_release) struct entry ent = {0};
        must(engine_entry(w->d[i].e, want.entry, &raw, &ent, &row));
        struct stamp st = {.kind = ent.kind == KIND_TOMBSTONE || want.role == WANT_HIDE ? STAMP_ABSENT : STAMP_FILE, .mode = ent.mode, .dev = 1, .ino = ++w->wall,
                           .size = ent.size, .mtime_ns = ent.mtime_ns};
        must(engine_begin(w->d[i].e));
        if (want.role == WANT_KEEP)
            must(engine_kept(w->d[i].e, want.path, want.entry, &want.root, want.size, "kept", w->wall));
        else
            must(engine_installed(w->d[i].e, want.entry, &st, true));
        commit(w, i);
        n++;
    }
    return n;
}

/* The content that device i shows at a path; "" when nothing. */
static inline const char *shows(struct world *w, size_t i, const char *path)
{
    static char text[LIMIT_INLINE + 1];
    int64_t id;
    struct ix_local l;
    text[0] = 0;
    if (index_path_id(w->d[i].ix, path, strlen(path), false, &id) < 0 || index_local_get(w->d[i].ix, id, &l) < 0)
        return text;
    struct ix_entry row;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    must(engine_entry(w->d[i].e, l.entry, &raw, &ent, &row));
    memcpy(text, ent.content.inline_bytes.p, ent.content.inline_bytes.len);
    text[ent.content.inline_bytes.len] = 0;
    return text;
}

static inline uint64_t conflicts(struct world *w, size_t i)
{
    uint64_t n;
    must(index_conflict_count(w->d[i].ix, &n));
    return n;
}

#endif

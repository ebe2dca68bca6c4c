#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/hlc.h"
#include "proto/limits.h"

/* ---- streams ---- */

static int cmp_id(const void *key, const void *slot)
{
    int64_t a = *(const int64_t *)key, b = (*(struct stream *const *)slot)->row.id;
    return a < b ? -1 : a > b;
}

struct stream *engine_stream(struct engine *e, int64_t id)
{
    struct stream **s = e->nstream ? bsearch(&id, e->stream, e->nstream, sizeof *e->stream, cmp_id) : NULL;
    return s ? *s : NULL;
}

struct stream *engine_stream_by_sid(struct engine *e, const struct sid *sid)
{
    return sidmap_get(&e->by_sid, sid);
}

static struct stream *remember(struct engine *e, const struct ix_stream *row)
{
    if (e->nstream == e->stream_cap) {
        e->stream_cap = e->stream_cap ? 2 * e->stream_cap : 8;
        e->stream = xrealloc(e->stream, e->stream_cap, sizeof(struct stream *));
    }
    assert(e->nstream == 0 || e->stream[e->nstream - 1]->row.id < row->id);
    struct stream *s = xcalloc(1, sizeof *s);
    s->row = *row;
    s->end = UINT64_MAX;
    e->stream[e->nstream++] = s;
    sidmap_put(&e->by_sid, &row->sid, s);
    return s;
}

static void forget_streams(struct engine *e)
{
    sidmap_clear(&e->by_sid);
    for (size_t i = 0; i < e->nstream; i++)
        free(e->stream[i]);
    e->nstream = 0;
}

int engine_stream_add(struct engine *e, const struct id *dev, const uint8_t inc[static 8], struct stream **out)
{
    if (e->nstream >= LIMIT_STREAMS)
        return err_set(ERR_FULL, "group: more than %u streams: a device makes new ones without end", LIMIT_STREAMS);
    struct ix_stream row = {.dev = *dev, .sid = sid_make(&e->c.group->id, dev, inc)};
    memcpy(row.inc, inc, sizeof row.inc);
    int r = index_stream_add(e->c.index, &row);
    if (r < 0)
        return r;
    *out = remember(e, &row);
    return cut_measure(e, *out);
}

int engine_own_stream(struct engine *e, struct stream **out)
{
    if (e->own) {
        *out = engine_stream(e, e->own);
        return 0;
    }
    int r = engine_stream_add(e, &e->c.keys->dev, e->inc, out);
    if (r == 0) {
        e->own = (*out)->row.id;
        e->inc_unsaved = true;
    }
    return r;
}

static int load_stream(void *arg, const struct ix_stream *row)
{
    remember(arg, row);
    return 0;
}

static void find_own(struct engine *e)
{
    struct sid sid = sid_make(&e->c.group->id, &e->c.keys->dev, e->inc);
    struct stream *s = engine_stream_by_sid(e, &sid);
    e->own = s ? s->row.id : 0;
}

int engine_reload(struct engine *e)
{
    forget_streams(e);
    int r = index_stream_each(e->c.index, load_stream, e);
    if (r == 0)
        r = fork_load(e);
    for (size_t i = 0; r == 0 && i < e->nstream; i++)
        r = cut_measure(e, e->stream[i]);
    if (r == 0)
        r = self_load(e);
    e->partial = false;
    if (r == 0)
        r = engine_load_value(e, KEY_PARTIAL, &e->partial, sizeof e->partial);
    if (r == 0)
        find_own(e);
    return r;
}

/* ---- life cycle ---- */

int engine_load_value(struct engine *e, const char *key, void *out, size_t len)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1024);
    int r = index_kv_get(e->c.index, key, &b);
    if (r == ERR_NOTFOUND)
        return 0;
    if (r == 0 && b.len != len)
        return err_set(ERR_CORRUPT, "index: value %s has %zu bytes instead of %zu: move the index away and start again", key, b.len, len);
    if (r == 0)
        memcpy(out, b.data, len);
    return r;
}

static int toggle(void *arg, const struct ix_entry *row)
{
    struct engine *e = arg;
    engine_fp_toggle(e, row->kind, &(struct dot){.sid = *engine_stream_sid(e, row->stream), .seq = row->seq});
    return 0;
}

/* An index of before tombstones could be forgotten has none. */
static int load_fp(struct engine *e)
{
    AUTO(buf_release) struct buf b = BUF_INIT(256);
    int r = index_kv_get(e->c.index, "fp", &b);
    if (r == ERR_NOTFOUND)
        return index_entry_live_after(e->c.index, 0, toggle, e);
    return r == 0 ? engine_load_value(e, "fp", &e->now.fp, sizeof e->now.fp) : r;
}

static int load(struct engine *e)
{
    /* A new index has no continuity with streams written before: a new incarnation, named by this start's random bytes. */
    memcpy(e->inc, e->c.inst, sizeof e->inc);
    int r = engine_load_value(e, "inc", e->inc, sizeof e->inc);
    if (r == 0)
        r = engine_load_value(e, "hlc", &e->now.hlc, sizeof e->now.hlc);
    if (r == 0)
        r = engine_load_value(e, "aged", &e->now.aged, sizeof e->now.aged);
    if (r == 0)
        r = engine_reload(e);
    if (r == 0)
        r = load_fp(e);
    if (r == 0)
        r = forget_load_vectors(e);
    if (r == 0)
        r = lock_load(e);
    if (r == 0)
        r = strict_load(e);
    if (r == 0)
        r = index_totals(e->c.index, &e->now.files, &e->now.bytes);
    return r;
}

int engine_new(const struct engine_config *c, struct engine **out)
{
    struct engine *e = xcalloc(1, sizeof *e);
    e->c = *c;
    e->authored = (struct buf)BUF_INIT(1ull << 30);
    int r = load(e);
    if (r < 0) {
        engine_free(&e);
        return r;
    }
    *out = e;
    return 0;
}

void engine_free(struct engine **pe)
{
    struct engine *e = *pe;
    if (!e)
        return;
    for (size_t i = 0; i < e->npeer; i++) {
        vec_release(&e->peer[i].vec);
        sidmap_clear(&e->peer[i].asked);
        sidmap_clear(&e->peer[i].refused);
        sidmap_clear(&e->peer[i].told);
        buf_release(&e->peer[i].unsaved);
    }
    free(e->peer);
    forget_streams(e);
    fork_release(e);
    free(e->stream);
    free(e->lens.len);
    buf_release(&e->authored);
    snapshots_release(e);
    free(e);
    *pe = NULL;
}

/* ---- transactions ---- */

static void forget_authored(struct engine *e)
{
    buf_clear(&e->authored);
    e->lens.n = 0;
    e->authored_hlc = 0;
}

int engine_begin(struct engine *e)
{
    int r = index_begin(e->c.index);
    if (r == 0)
        e->saved = e->now;
    return r;
}

void engine_rollback(struct engine *e)
{
    index_rollback(e->c.index);
    e->now = e->saved;
    e->fresh.n = e->fresh.sure;
    forget_authored(e);
    snapshots_changed(e, NULL);
    /* The streams in memory are those of the index; reading them back cannot fail for want of anything we could mend here. It must not
     * hide why there was something to roll back, either. */
    AUTOFREE char *why = xstrdup(err_text());
    int r = engine_reload(e);
    assert(r == 0);
    (void)err_set(ERR_AGAIN, "%s", why);
}

/* Signs entries [i, i+n) of this transaction, whose bytes begin at `off`, as one change set. */
static int seal_one(struct engine *e, struct stream *s, size_t i, size_t n, size_t off, uint64_t wall_ms)
{
    struct id leaf[LIMIT_CS_COUNT];
    for (size_t k = 0; k < n; k++) {
        leaf[k] = merkle_leaf(e->authored.data + off, e->lens.len[i + k]);
        off += e->lens.len[i + k];
    }
    struct header h = {.group = e->c.group->id, .dev = e->c.keys->dev, .root = merkle_root(leaf, n), .prev = s->row.tip,
                       .first = e->authored_first + i, .count = (uint32_t)n, .hlc_max = e->authored_hlc, .wall_ms = wall_ms,
                       .ctl_n = e->c.group->ctl_n};
    memcpy(h.inc, s->row.inc, sizeof h.inc);
    AUTO(buf_release) struct buf rec = BUF_INIT(1024);
    uint8_t sig[SIG_LEN];
    int r = header_encode(&rec, sig, &h, e->c.keys);
    if (r < 0)
        return r;
    s->row.tip = id_hash(rec.data, rec.len);
    s->row.known = h.first + n - 1;
    struct ix_header row = {.stream = s->row.id, .first = h.first, .count = h.count, .rec = {rec.data, rec.len}, .sig = sig};
    return index_header_put(e->c.index, &row);
}

/* Less than may be: whoever has a slow line is to get one whole, and to answer on that line meanwhile. */
#define SEAL_BYTES (256u << 10)

static int seal(struct engine *e, uint64_t wall_ms)
{
    struct stream *s = engine_stream(e, e->own);
    size_t i = 0, off = 0;
    while (i < e->lens.n) {
        size_t n = 0, bytes = 0;
        while (i + n < e->lens.n && n < LIMIT_CS_COUNT && (n == 0 || bytes + e->lens.len[i + n] <= SEAL_BYTES))
            bytes += e->lens.len[i + n++];
        int r = seal_one(e, s, i, n, off, wall_ms);
        if (r < 0)
            return r;
        i += n;
        off += bytes;
    }
    return index_stream_set(e->c.index, &s->row);
}

static int write_figures(struct engine *e)
{
    int r = 0;
    if (!id_eq(&e->now.fp, &e->saved.fp))
        r = index_kv_put(e->c.index, "fp", &e->now.fp, sizeof e->now.fp);
    if (r == 0 && e->now.hlc != e->saved.hlc)
        r = index_kv_put(e->c.index, "hlc", &e->now.hlc, sizeof e->now.hlc);
    if (r == 0 && e->now.aged != e->saved.aged)
        r = index_kv_put(e->c.index, "aged", &e->now.aged, sizeof e->now.aged);
    if (r == 0 && e->inc_unsaved)
        r = index_kv_put(e->c.index, "inc", e->inc, sizeof e->inc);
    return r;
}

int engine_commit(struct engine *e, uint64_t wall_ms)
{
    int r = e->lens.n ? seal(e, wall_ms) : 0;
    if (r == 0)
        r = write_figures(e);
    if (r == 0)
        r = index_commit(e->c.index);
    if (r < 0) {
        engine_rollback(e);
        return r;
    }
    forget_authored(e);
    e->inc_unsaved = false;
    e->fresh.sure = e->fresh.n;
    return 0;
}

/* ---- own vector, small questions ---- */

static int by_sid(const void *a, const void *b)
{
    return sid_cmp(&((const struct vec_stream *)a)->sid, &((const struct vec_stream *)b)->sid);
}

static int vector_stream(struct engine *e, const struct stream *s, struct vec_stream *out)
{
    uint64_t shown = lock_shown(e, &s->row), lowest;
    *out = (struct vec_stream){.sid = s->row.sid, .known = shown, .content = shown};
    memcpy(out->tip8, lock_shown_tip(e, &s->row)->b, sizeof out->tip8);
    int r = index_want_min(e->c.index, s->row.id, &lowest);
    if (r == 0 && lowest <= shown)        /* of what no longer counts something may be about to go from this disk */
        out->content = lowest - 1;
    return r == ERR_NOTFOUND ? 0 : r;
}

uint64_t engine_own_ctr(const struct engine *e) { return e->ctr; }

int engine_own_vector(struct engine *e, uint64_t wall_ms, uint16_t port, struct buf *blob)
{
    AUTO(vec_release) struct vec v = {.group = e->c.group->id, .dev = e->c.keys->dev, .ctr = ++e->ctr, .wall_ms = wall_ms,
                                      .ctl_n = e->c.group->ctl_n, .ctl_hash = e->c.group->ctl_hash, .port = port, .fp = e->now.fp,
                                      .flags = self_is_partial(e) ? VEC_PARTIAL : 0};
    AUTO(buf_release) struct buf reqs = BUF_INIT(LIMIT_HEAD);
    v.nreqs = lock_reqs(e, &reqs);
    v.reqs = (struct bytes){reqs.data, reqs.len};
    memcpy(v.inst, e->c.inst, sizeof v.inst);
    v.stream = xcalloc(e->nstream + 1, sizeof *v.stream);
    for (size_t i = 0; i < e->nstream; i++) {
        if (lock_shown(e, &e->stream[i]->row) == 0)
            continue;
        int r = vector_stream(e, e->stream[i], &v.stream[v.nstream++]);
        if (r < 0)
            return r;
    }
    qsort(v.stream, v.nstream, sizeof *v.stream, by_sid);
    buf_clear(blob);
    return vec_encode(blob, &v, e->c.keys);
}

void engine_totals(const struct engine *e, uint64_t *files, uint64_t *bytes)
{
    *files = e->now.files;
    *bytes = e->now.bytes;
}

uint64_t engine_entries_known(const struct engine *e)
{
    uint64_t n = 0;
    for (size_t i = 0; i < e->nstream; i++)
        n += e->stream[i]->row.known;
    return n;
}

int engine_entry(struct engine *e, int64_t id, struct buf *raw, struct entry *out, struct ix_entry *row)
{
    int r = index_entry_get(e->c.index, id, row, raw);
    if (r == 0)
        r = entry_decode(raw->data, raw->len, out);
    if (r == 0) {
        const struct stream *s = engine_stream(e, row->stream);
        assert(s);
        out->v.dot = (struct dot){.sid = s->row.sid, .seq = row->seq};
    }
    return r;
}

const struct id *engine_stream_dev(struct engine *e, int64_t stream)
{
    const struct stream *s = engine_stream(e, stream);
    return s ? &s->row.dev : &ID_NONE;
}

const struct sid *engine_stream_sid(struct engine *e, int64_t stream)
{
    const struct stream *s = engine_stream(e, stream);
    assert(s);
    return &s->row.sid;
}

const struct sid *engine_own_sid(const struct engine *e)
{
    const struct stream *s = e->own ? engine_stream((struct engine *)e, e->own) : NULL;
    return s ? &s->row.sid : NULL;
}

uint64_t engine_known_of(struct engine *e, const struct sid *sid)
{
    const struct stream *s = engine_stream_by_sid(e, sid);
    return s ? s->row.known : 0;
}

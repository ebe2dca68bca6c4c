#include "node/proof.h"

#include <stdlib.h>
#include <string.h>

#include "proto/receipt.h"

/* blob: until it is saved. */
struct held { uint8_t id[16]; struct id dev, ctl_hash; uint64_t ctl_n, signed_ms; bool partial; struct buf blob; };
struct proof { struct proof_config c; struct held *v; size_t n, cap; };

static const struct group *group_of(const struct proof *p) { return control_group(p->c.control); }

/* ---- what is there ---- */

static struct held *find(const struct proof *p, const uint8_t id[static 16], const struct id *dev)
{
    for (size_t i = 0; i < p->n; i++)
        if (memcmp(p->v[i].id, id, sizeof p->v[i].id) == 0 && id_eq(&p->v[i].dev, dev))
            return &p->v[i];
    return NULL;
}

/* Not of a chain that lost, nor of an earlier requirement with that id. */
static bool still_counts(const struct proof *p, const struct held *h)
{
    const struct requirement *q = group_requirement(group_of(p), h->id);
    struct id hash;
    return q && h->ctl_n >= q->what->n && control_hash(p->c.control, h->ctl_n, &hash) == 0 && id_eq(&hash, &h->ctl_hash);
}

static struct held *put(struct proof *p, const uint8_t id[static 16], const struct vec *v)
{
    struct held *h = find(p, id, &v->dev);
    if (!h) {
        if (p->n == p->cap) {
            p->cap = p->cap ? 2 * p->cap : 32;
            p->v = xrealloc(p->v, p->cap, sizeof *p->v);
        }
        h = &p->v[p->n++];
        *h = (struct held){.dev = v->dev, .blob = BUF_INIT(LIMIT_BODY)};
        memcpy(h->id, id, sizeof h->id);
    }
    h->ctl_n = v->ctl_n;
    h->ctl_hash = v->ctl_hash;
    h->signed_ms = v->wall_ms;
    h->partial = v->flags & VEC_PARTIAL;
    return h;
}

static int load_one(void *arg, const struct ix_receipt *r)
{
    AUTO(vec_release) struct vec v = {0};
    if (vec_decode(r->vec.p, r->vec.len, &v) == 0 && id_eq(&v.dev, &r->dev))
        put(arg, r->req, &v);            /* one that is damaged is as good as none */
    return 0;
}

int proof_new(const struct proof_config *c, struct proof **out)
{
    struct proof *p = xcalloc(1, sizeof *p);
    p->c = *c;
    int r = index_receipt_each(c->index, load_one, p);
    if (r < 0)
        proof_free(&p);
    *out = p;
    return r;
}

void proof_free(struct proof **pp)
{
    struct proof *p = *pp;
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        buf_release(&p->v[i].blob);
    free(p->v);
    free(p);
    *pp = NULL;
}

/* ---- what is new ---- */

static bool lacks(const struct proof *p, const struct required *q, const struct id *dev)
{
    struct peer_lock l;
    const struct held *h = find(p, q->id, dev);
    bool have = h && still_counts(p, h);
    if (!required_is_for(q, dev) || (have && !h->partial))
        return false;
    return engine_lock_of(p->c.engine, q, dev, &l) && l.state == LOCK_REACHED && !(have && l.partial);
}

bool proof_wants(const struct proof *p, const struct id *dev)
{
    const struct group *g = group_of(p);
    const struct member *self = group_find(g, &p->c.self);
    if (!member_may_admin(self))
        return false;
    for (size_t i = 0; i < g->nrequirement; i++)
        if (lacks(p, g->requirement[i].what, dev))
            return true;
    return false;
}

void proof_note(struct proof *p, const void *blob, size_t len)
{
    AUTO(vec_release) struct vec v = {0};
    const struct group *g = group_of(p);
    if (vec_decode(blob, len, &v) < 0)
        return;
    for (size_t i = 0; i < g->nrequirement; i++) {
        const struct required *q = g->requirement[i].what;
        if (!lacks(p, q, &v.dev) || receipt_check(g, q->id, &v) < 0)
            continue;                    /* signed before it had our control log: another will come */
        struct held *h = put(p, q->id, &v);
        buf_clear(&h->blob);
        buf_add(&h->blob, blob, len);
    }
}

/* ---- saving ---- */

static bool is_past(const struct proof *p, const struct held *h) { return !group_requirement(group_of(p), h->id); }

bool proof_unsaved(const struct proof *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].blob.len || is_past(p, &p->v[i]))
            return true;
    return false;
}

static int save_all(struct proof *p)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        const struct held *h = &p->v[i];
        struct ix_receipt row = {.dev = h->dev, .vec = {h->blob.data, h->blob.len}};
        memcpy(row.req, h->id, sizeof row.req);
        if (is_past(p, h))
            r = index_receipt_del(p->c.index, h->id);
        else if (h->blob.len)
            r = index_receipt_put(p->c.index, &row);
    }
    return r;
}

int proof_save(struct proof *p, uint64_t wall_ms)
{
    int r = engine_begin(p->c.engine);
    if (r < 0)
        return r;
    r = save_all(p);
    if (r == 0)
        r = engine_commit(p->c.engine, wall_ms);
    else
        engine_rollback(p->c.engine);
    if (r < 0)
        return r;
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        buf_release(&p->v[i].blob);
        if (!is_past(p, &p->v[i]))
            p->v[kept++] = p->v[i];
    }
    p->n = kept;
    return 0;
}

/* ---- what others ask ---- */

uint64_t proof_signed_ms(const struct proof *p, const uint8_t id[static 16], const struct id *dev)
{
    const struct held *h = find(p, id, dev);
    return h && !h->blob.len && still_counts(p, h) ? h->signed_ms : 0;
}

struct export { struct proof *p; const uint8_t *id; struct buf vec; size_t nvec; };
static int export_one(void *arg, const struct ix_receipt *r)
{
    struct export *x = arg;
    if (memcmp(r->req, x->id, sizeof r->req) != 0 || !proof_signed_ms(x->p, x->id, &r->dev))
        return 0;
    buf_add(&x->vec, r->vec.p, r->vec.len);
    x->nvec++;
    return 0;
}

static void export_release(struct export *x)
{
    buf_release(&x->vec);
}

static int put_log(const struct control *c, struct buf *out, size_t *n)
{
    struct bytes blob;
    for (*n = 0; control_record(c, *n + 1, &blob) == 0; (*n)++)
        buf_add(out, blob.p, blob.len);
    return buf_ok(out) ? 0 : err_set(ERR_FULL, "the control log is longer than %u bytes", LIMIT_RECEIPTS);
}

int proof_export(struct proof *p, const uint8_t id[static 16], struct buf *out)
{
    AUTO(export_release) struct export x = {.p = p, .id = id, .vec = BUF_INIT(LIMIT_RECEIPTS)};
    AUTO(buf_release) struct buf log = BUF_INIT(LIMIT_RECEIPTS);
    struct receipts_parts parts = {0};
    memcpy(parts.id, id, sizeof parts.id);
    int r = control_record(p->c.control, 0, &parts.genesis);
    if (r == 0)
        r = put_log(p->c.control, &log, &parts.nrecord);
    if (r == 0)
        r = index_receipt_each(p->c.index, export_one, &x);
    if (r == 0 && !buf_ok(&x.vec))
        r = err_set(ERR_FULL, "the receipts of all devices are longer than %u bytes", LIMIT_RECEIPTS);
    if (r < 0)
        return r;
    parts.record = (struct bytes){log.data, log.len};
    parts.vec = (struct bytes){x.vec.data, x.vec.len};
    parts.nvec = x.nvec;
    return receipts_write(out, &parts);
}

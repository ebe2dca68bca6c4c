/* Device 0 revokes others, makes them readers, and takes them back: with cuts that say what it has of them itself. Each device has its own
 * copy of the group and hears of the records when it meets somebody who knows more; what it has then beyond a cut must not count on
 * it, from whomever it comes. In the end all are members again, and what they wrote in between counts nowhere but where they have signed
 * it again themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* ---- who is what, in the eyes of a device ---- */

static const struct member *member_of(const struct world *w, int i, int who) { return group_find(&w->d[i].group, &w->d[who].keys->dev); }

bool ignores(const struct world *w, int i, int from)
{
    const struct member *self = member_of(w, i, i), *other = member_of(w, i, from);
    return !self || self->revoked || !other || other->revoked;
}

/* ---- records ---- */

static int by_sid(const void *a, const void *b) { return sid_cmp(&((const struct cut *)a)->sid, &((const struct cut *)b)->sid); }

static void put_cuts(struct world *w, int who, struct buf *out)
{
    const struct engine *e = w->d[0].engine;
    AUTOFREE struct cut *cut = xcalloc(e->nstream + 1, sizeof *cut);
    uint32_t n = 0;
    for (size_t i = 0; i < e->nstream; i++) {
        const struct ix_stream *s = &e->stream[i]->row;
        if (s->known && id_eq(&s->dev, &w->d[who].keys->dev))
            cut[n++] = (struct cut){s->sid, s->known, s->tip};
    }
    qsort(cut, n, sizeof *cut, by_sid);
    mp_put_array(out, n);
    for (uint32_t i = 0; i < n; i++)
        cut_put(out, &cut[i]);
}

static void card_of(struct world *w, int who, struct buf *out)
{
    const struct device_keys *k = w->d[who].keys;
    struct card c = {.dev = k->dev, .created_ms = 1};
    memcpy(c.tr_pk, k->tr_pk, sizeof c.tr_pk);
    snprintf(c.name, sizeof c.name, "d%d", who);
    MUST(card_encode(out, &c, k));
}

static void apply_next(struct world *w, struct group *g)
{
    const struct buf *rec = &w->record[g->ctl_n - w->group.ctl_n];
    struct ctl c;
    MUST(ctl_decode(rec->data, rec->len, &c));
    MUST(group_apply(g, &c));
}

void admin_issue(struct world *w, int by, const struct ctl_op *op)
{
    struct group *g = &w->d[by].group;
    struct ctl c = {.group = g->id, .prev = g->ctl_hash, .signer = w->d[by].keys->dev, .n = g->ctl_n + 1, .ts_ms = 1};
    struct buf *rec = &w->record[w->nrecord++];
    *rec = (struct buf)BUF_INIT(LIMIT_CTL_BYTES);
    MUST(ctl_encode(rec, &c, op, 1, w->d[by].keys));
    apply_next(w, g);
}

static void issue(struct world *w, int who, enum ctl_op_type type, enum role role)
{
    AUTO(buf_release) struct buf cuts = BUF_INIT(LIMIT_CTL_BYTES), card = BUF_INIT(4096);
    static const uint8_t sealed[SEALED_KEYS];
    struct ctl_op op = {.type = type, .dev = w->d[who].keys->dev, .role = role, .sealed = {sealed, sizeof sealed}};
    put_cuts(w, who, &cuts);
    card_of(w, who, &card);
    op.cuts = (struct bytes){cuts.data, cuts.len};
    op.card = (struct bytes){card.data, card.len};
    admin_issue(w, 0, &op);
    tell(w, "d0: record %llu: d%d %s", (unsigned long long)w->d[0].group.ctl_n, who, type == OP_REVOKE ? "revoked" : type == OP_ADD ? "added" : role_name(role));
    device_cuts(w, 0);
}

static void take_back(struct world *w, int who)
{
    const struct member *m = member_of(w, 0, who);
    if (m->revoked)
        issue(w, who, OP_ADD, ROLE_MEMBER);
    else if (!role_may_write(m->role))
        issue(w, who, OP_ROLE, ROLE_MEMBER);
}

void admin_acts(struct world *w)
{
    if (!w->faults.revoke || !chance(w, w->faults.revoke) || !w->d[0].engine || w->nrecord + DEVICES_MAX >= RECORDS_MAX)
        return;
    int who = 1 + (int)pick(w, (uint64_t)w->n - 1);
    if (id_eq(&w->d[who].keys->dev, &w->d[0].keys->dev))
        return;                          /* its twin */
    if (!member_may_write(member_of(w, 0, who)))
        take_back(w, who);
    else
        issue(w, who, chance(w, 50) ? OP_REVOKE : OP_ROLE, ROLE_READER);
}

/* ---- hearing of them ---- */

void device_cuts(struct world *w, int i)
{
    struct device *d = &w->d[i];
    if (!w->faults.revoke)
        return;
    d->cuts_due = true;
    if (!d->engine || crashes_here(w, i, "between a record and what follows"))
        return;
    device_begin(w, i);
    int r = engine_cuts(d->engine, device_wall(w, i));
    MUST(r);
    if (r > 0)
        tell(w, "d%d: of %d streams another part counts now", i, r);
    w->progress |= r > 0;
    d->cuts_due = false;
    if (!device_commit(w, i, r > 0))
        d->cuts_due = true;
}

void device_hears(struct world *w, int i, uint64_t ctl_n)
{
    struct group *g = &w->d[i].group;
    if (g->ctl_n >= ctl_n || (!w->quiet && chance(w, 30)))
        return;
    while (g->ctl_n < ctl_n)
        apply_next(w, g);
    tell(w, "d%d: knows %llu records", i, (unsigned long long)ctl_n);
    device_cuts(w, i);
    if (w->faults.require && !crashes_here(w, i, "between a record and what follows"))
        device_lock(w, i);
}

void admin_heals(struct world *w)
{
    for (int i = 1; i < w->n && w->faults.revoke; i++)
        take_back(w, i);
    for (int i = 0; i < w->n; i++)
        device_hears(w, i, w->group.ctl_n + w->nrecord);
}

/* ---- what must hold ---- */

static int first(void *arg, const struct ix_header *row) { return header_decode(row->rec.p, row->rec.len, row->sig, arg) < 0 ? -1 : 1; }

/* How far a stream counts that device i has, as far as it has heard. */
static uint64_t end_of(struct world *w, int i, const struct ix_stream *s)
{
    struct header h = {.ctl_n = 0};
    if (index_header_each(w->d[i].index, s->id, 1, 1, first, &h) != 1)
        return UINT64_MAX;
    return group_end(&w->d[i].group, &s->dev, &s->sid, h.ctl_n);
}

void check_cuts(struct world *w, int i)
{
    const struct engine *e = w->d[i].engine;
    for (size_t k = 0; w->faults.revoke && e && !w->d[i].cuts_due && !ignores(w, i, i) && k < e->nstream; k++) {
        const struct ix_stream *s = &e->stream[k]->row;
        if (s->known > end_of(w, i, s))
            fail(w, "d%d: %llu entries of a stream count, which was cut at %llu", i, (unsigned long long)s->known, (unsigned long long)end_of(w, i, s));
    }
}

bool is_cut(const struct world *w, int i, const struct dot *d)
{
    const struct stream *s = engine_stream_by_sid(w->d[i].engine, &d->sid);
    return s && s->end < d->seq;
}

void admin_ends(struct world *w)
{
    for (size_t i = 0; i < w->nrecord; i++)
        buf_release(&w->record[i]);
    w->nrecord = 0;
}

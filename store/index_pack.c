/* Packs and the pieces in them; kept versions that are there. */
#include "store/index_priv.h"

#include <assert.h>

/* ---- packs ---- */

int index_pack_put(struct index *ix, const struct ix_pack *p)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PACK_PUT);
    q_put_seq(&q, p->pack);
    q_put_seq(&q, p->size);
    return q_run(&q);
}

int index_pack_del(struct index *ix, uint64_t pack)
{
    static const enum query_id what[] = { Q_UNFOLD_PACK, Q_ALIVE_CLEAR, Q_PIECE_CLEAR, Q_PACK_DEL };
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        AUTO(q_end) struct query q = q_begin(ix, what[i]);
        q_put_seq(&q, pack);
        int rc = q_run(&q);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int index_pack_each(struct index *ix, int (*row)(void *, const struct ix_pack *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PACK_EACH);
    int rc;
    while ((rc = q_step(&q)) == 1) {
        struct ix_pack p = { .pack = q_u64(&q) };
        p.size = q_u64(&q);
        if ((rc = q.rc) != 0 || (rc = row(arg, &p)) != 0)
            return rc;
    }
    return rc;
}

/* ---- pieces ---- */

static int piece_write(struct index *ix, enum query_id id, const struct ix_piece *p)
{
    AUTO(q_end) struct query q = q_begin(ix, id);
    q_put_bytes(&q, p->id.b, sizeof p->id.b);
    q_put_int(&q, ix->piece_max);
    q_put_int(&q, p->kind);
    q_put_seq(&q, p->at.pack);
    q_put_seq(&q, p->at.off);
    q_put_int(&q, p->at.len);
    return q_run(&q);
}

int index_piece_put(struct index *ix, const struct ix_piece *p)
{
    int rc = alive_unfold_root(ix, &p->id);
    return rc == 0 ? piece_write(ix, Q_PIECE_PUT, p) : rc;
}

int index_piece_add(struct index *ix, const struct ix_piece *p)
{
    struct ix_piece there;
    int rc = alive_piece(ix, p->kind, &p->id, &there);
    return rc == 0 ? piece_write(ix, Q_PIECE_ADD, p) : rc == 1 ? 0 : rc;
}

static int piece_row(struct query *q, struct ix_piece *out)
{
    *out = (struct ix_piece){ .n = q_int(q) };
    out->id = q_id(q);
    out->kind = (enum pack_kind)q_enum(q, PACK_BLOCK, PACK_CONTENT);
    out->at.pack = q_u64(q);
    out->at.off = q_u64(q);
    out->at.len = (uint32_t)q_enum(q, 1, INT32_MAX);
    return q->rc;
}

/* A row of its own: 1, 0. */
static int piece_find(struct index *ix, enum pack_kind kind, const struct id *id, struct ix_piece *out)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PIECE_GET);
    q_put_bytes(&q, id->b, sizeof id->b);
    q_put_int(&q, kind);
    int rc = q_step(&q);
    return rc == 1 && piece_row(&q, out) < 0 ? q.rc : rc;
}

int index_piece_get(struct index *ix, enum pack_kind kind, const struct id *id, struct ix_piece *out)
{
    int rc = piece_find(ix, kind, id, out);
    if (rc == 0)
        rc = alive_piece(ix, kind, id, out);
    return rc == 1 ? 0 : rc == 0 ? index_missing(ix, "piece") : rc;
}

int index_piece_del(struct index *ix, enum pack_kind kind, const struct id *id)
{
    int rc = alive_unfold_root(ix, id);
    if (rc != 0)
        return rc;
    AUTO(q_end) struct query q = q_begin(ix, Q_PIECE_DEL);
    q_put_bytes(&q, id->b, sizeof id->b);
    q_put_int(&q, kind);
    return q_run(&q);
}

int index_piece_of_pack(struct index *ix, uint64_t pack, bool folded, int (*row)(void *, const struct ix_piece *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PIECE_OF_PACK);
    int rc;
    q_put_seq(&q, pack);
    q_put_int(&q, folded);
    while ((rc = q_step(&q)) == 1) {
        struct ix_piece p;
        if ((rc = piece_row(&q, &p)) != 0 || (rc = row(arg, &p)) != 0)
            return rc;
    }
    return rc;
}

int index_piece_max(struct index *ix, int64_t *n)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PIECE_MAX);
    int rc = q_row(&q);
    if (rc == 0)
        ix->piece_max = *n = q_int(&q);
    return rc != 0 ? rc : q.rc;
}

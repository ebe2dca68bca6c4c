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
    for (int i = 0; i < 2; i++) {
        AUTO(q_end) struct query q = q_begin(ix, i ? Q_PACK_DEL : Q_PIECE_CLEAR);
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
    q_put_int(&q, p->kind);
    q_put_seq(&q, p->at.pack);
    q_put_seq(&q, p->at.off);
    q_put_int(&q, p->at.len);
    return q_run(&q);
}

int index_piece_put(struct index *ix, const struct ix_piece *p) { return piece_write(ix, Q_PIECE_PUT, p); }
int index_piece_add(struct index *ix, const struct ix_piece *p) { return piece_write(ix, Q_PIECE_ADD, p); }

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

int index_piece_get(struct index *ix, enum pack_kind kind, const struct id *id, struct ix_piece *out)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PIECE_GET);
    q_put_bytes(&q, id->b, sizeof id->b);
    q_put_int(&q, kind);
    int rc = q_row(&q);
    return rc != 0 ? rc : piece_row(&q, out);
}

int index_piece_del(struct index *ix, int64_t n)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PIECE_DEL);
    q_put_int(&q, n);
    return q_run(&q);
}

int index_piece_of_pack(struct index *ix, uint64_t pack, uint64_t from, int (*row)(void *, const struct ix_piece *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PIECE_OF_PACK);
    int rc;
    q_put_seq(&q, pack);
    q_put_seq(&q, from);
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
        *n = q_int(&q);
    return rc != 0 ? rc : q.rc;
}

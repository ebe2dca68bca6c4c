/* Contents that are packed while their version is on this disk: what a device keeps of nearly all that was written on it. Most are of one
 * block, whose record is directly followed by that of the content; of such a one a single short row says what else three rows with six
 * keys would. For whoever reads it is those three: the queries of kept versions and of pieces have both kinds in them. Before one of the
 * three changes they are made again ("unfolded").
 *
 * It is found by its root among the entries that have it. Those may be many, so it is one of the first ALIVE_AMONG of them: then only so
 * many are to be looked at. Later entries have greater ids, and it stays one of the first. */
#include "store/index_priv.h"

static int run_for(struct index *ix, enum query_id id, int64_t entry)
{
    AUTO(q_end) struct query q = q_begin(ix, id);
    q_put_int(&q, entry);
    return q_run(&q);
}

static int make_piece(struct index *ix, enum query_id id, int64_t entry)
{
    AUTO(q_end) struct query q = q_begin(ix, id);
    q_put_int(&q, entry);
    q_put_int(&q, ix->piece_max);
    return q_run(&q);
}

static int run_root(struct index *ix, enum query_id id, const struct id *root)
{
    AUTO(q_end) struct query q = q_begin(ix, id);
    q_put_id(&q, root);
    return q_run(&q);
}

int index_kept_fold(struct index *ix, const struct id *root)
{
    int rc = run_root(ix, Q_FOLD, root);
    if (rc != 0 || sqlite3_changes(ix->db) == 0)
        return rc;
    rc = run_root(ix, Q_FOLD_KEPT, root);
    return rc == 0 ? run_root(ix, Q_FOLD_PIECES, root) : rc;
}

int alive_unfold(struct index *ix, int64_t entry, int64_t *kept)
{
    int rc = make_piece(ix, Q_UNFOLD_BLOCK, entry);
    if (rc == 0)
        rc = make_piece(ix, Q_UNFOLD_CONTENT, entry);
    if (rc == 0)
        rc = run_for(ix, Q_UNFOLD_KEPT, entry);
    if (rc != 0)
        return rc;
    *kept = sqlite3_changes(ix->db) ? sqlite3_last_insert_rowid(ix->db) : 0;
    return run_for(ix, Q_ALIVE_DEL, entry);
}

static int alive_row(struct query *q, struct ix_alive *out)
{
    *out = (struct ix_alive){ .entry = q_int(q) };
    out->block.pack = out->content.pack = q_u64(q);
    out->block.off = q_u64(q);
    out->block.len = (uint32_t)q_enum(q, 1, INT32_MAX);
    out->content.off = out->block.off + out->block.len;
    out->content.len = (uint32_t)q_enum(q, 1, INT32_MAX);
    return q->rc;
}

/* 1 and where it lies; 0: there is none. */
static int find(struct index *ix, const struct id *root, struct ix_alive *out)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ALIVE_BY_ROOT);
    q_put_id(&q, root);
    int rc = q_step(&q);
    return rc == 1 ? alive_row(&q, out) < 0 ? q.rc : 1 : rc;
}

int alive_unfold_root(struct index *ix, const struct id *root)
{
    struct ix_alive a;
    int64_t kept;
    int rc = find(ix, root, &a);
    return rc == 1 ? alive_unfold(ix, a.entry, &kept) : rc;
}

int alive_unfold_entry(struct index *ix, int64_t entry)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ALIVE_HAS);
    int64_t kept;
    q_put_int(&q, entry);
    int rc = q_step(&q);
    return rc == 1 ? alive_unfold(ix, entry, &kept) : rc;
}

int alive_piece(struct index *ix, enum pack_kind kind, const struct id *root, struct ix_piece *out)
{
    struct ix_alive a;
    int rc = find(ix, root, &a);
    if (rc == 1)
        *out = (struct ix_piece){ .kind = kind, .id = *root, .at = kind == PACK_BLOCK ? a.block : a.content };
    return rc;
}

int index_alive_each(struct index *ix, int64_t after_entry, int (*row)(void *, const struct ix_alive *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ALIVE_EACH);
    int rc;
    q_put_int(&q, after_entry);
    while ((rc = q_step(&q)) == 1) {
        struct ix_alive a;
        if ((rc = alive_row(&q, &a)) != 0 || (rc = row(arg, &a)) != 0)
            return rc;
    }
    return rc;
}

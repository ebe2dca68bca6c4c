/* Block lists, where blocks are, kept versions. */
#include "store/index_priv.h"

#include <assert.h>

#include "proto/block.h"

/* The lookup goes by the first 8 bytes of a block's id: the caller verifies what it finds, so a chance match does no harm. */
static int64_t block_key(const uint8_t *id)
{
    uint64_t key = 0;
    for (int i = 0; i < 8; i++)
        key = key << 8 | id[i];
    return (int64_t)key;
}

static int block_put(struct index *ix, int64_t tree, const uint8_t *ref, uint32_t idx)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_BLOCK_PUT);
    q_put_int(&q, block_key(ref));
    q_put_int(&q, tree);
    q_put_int(&q, idx);
    return q_run(&q);
}

/* Sets *id to the new list's row, to 0 when there is a list already. */
static int tree_add(struct index *ix, const struct id *root, const uint8_t *refs, uint32_t nblocks, int64_t *id)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_TREE_PUT);
    q_put_bytes(&q, root->b, sizeof root->b);
    q_put_bytes(&q, refs, (size_t)nblocks * BLOCK_REF);
    int rc = q_run(&q);
    *id = rc == 0 && sqlite3_changes(ix->db) > 0 ? sqlite3_last_insert_rowid(ix->db) : 0;
    return rc;
}

int index_tree_put(struct index *ix, const struct id *root, const uint8_t *refs, uint32_t nblocks)
{
    assert(nblocks <= LIMIT_BLOCKS);
    int64_t tree;
    int rc = tree_add(ix, root, refs, nblocks, &tree);
    if (rc != 0 || tree == 0)
        return rc;
    for (uint32_t i = 0; rc == 0 && i < nblocks; i++)
        rc = block_put(ix, tree, refs + (size_t)i * BLOCK_REF, i);
    return rc;
}

int index_tree_get(struct index *ix, const struct id *root, struct buf *refs)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_TREE_GET);
    buf_clear(refs);
    q_put_bytes(&q, root->b, sizeof root->b);
    int rc = q_row(&q);
    if (rc != 0)
        return rc;
    q_copy(&q, refs);
    return q.rc;
}

int index_block_find(struct index *ix, const struct id *block, int (*row)(void *, const struct id *root, uint32_t idx), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_BLOCK_FIND);
    int rc;
    q_put_int(&q, block_key(block->b));
    while ((rc = q_step(&q)) == 1) {
        struct id root = q_id(&q);
        uint32_t idx = (uint32_t)q_enum(&q, 0, LIMIT_BLOCKS - 1);
        if ((rc = q.rc) != 0 || (rc = row(arg, &root, idx)) != 0)
            return rc;
    }
    return rc;
}

/* ---- kept versions ---- */

int index_kept_put(struct index *ix, struct ix_kept *k)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_PUT);
    q_put_int(&q, k->path);
    q_put_int(&q, k->entry);
    q_put_u64(&q, k->size);
    q_put_seq(&q, k->kept_ms);
    q_put_id(&q, &k->root);
    q_put_text(&q, k->name);
    int rc = q_run(&q);
    if (rc == 0)
        k->id = sqlite3_last_insert_rowid(ix->db);
    return rc;
}

/* Below 0: one that is folded. */
static int unfolded(struct index *ix, int64_t *id) { return *id < 0 ? alive_unfold(ix, -*id, id) : 0; }

int index_kept_del(struct index *ix, int64_t id)
{
    int rc = unfolded(ix, &id);
    if (rc != 0)
        return rc;
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_DEL);
    q_put_int(&q, id);
    return q_run(&q);
}

static int kept_each(struct query *q, int (*row)(void *, const struct ix_kept *), void *arg)
{
    int rc;
    while ((rc = q_step(q)) == 1) {
        struct ix_kept k = { .id = q_int(q) };
        k.path = q_int(q);
        k.entry = q_int(q);
        k.size = q_u64(q);
        k.kept_ms = q_u64(q);
        k.root = q_id(q);
        k.name = q_text(q);
        if ((rc = q->rc) != 0 || (rc = row(arg, &k)) != 0)
            return rc;
    }
    return rc;
}

int index_kept_by_root(struct index *ix, const struct id *root, int (*row)(void *, const struct ix_kept *), void *arg)
{
    const struct id key = *root;
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_BY_ROOT);
    q_put_id(&q, &key);
    return kept_each(&q, row, arg);
}

int index_kept_of_path(struct index *ix, int64_t path, int (*row)(void *, const struct ix_kept *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_OF_PATH);
    q_put_int(&q, path);
    return kept_each(&q, row, arg);
}

int index_kept_nameless(struct index *ix, int64_t after_id, int (*row)(void *, const struct ix_kept *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_NAMELESS);
    q_put_int(&q, after_id);
    return kept_each(&q, row, arg);
}

static int kept_all(struct index *ix, enum query_id id, int (*row)(void *, const struct ix_kept *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, id);
    return kept_each(&q, row, arg);
}

int index_kept_each(struct index *ix, int (*row)(void *, const struct ix_kept *), void *arg)
{
    int rc = kept_all(ix, Q_KEPT_EACH, row, arg);
    return rc == 0 ? kept_all(ix, Q_ALIVE_KEPT_EACH, row, arg) : rc;
}

int index_kept_named(struct index *ix, const char *name, int (*row)(void *, const struct ix_kept *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_NAMED);
    q_put_text(&q, name);
    return kept_each(&q, row, arg);
}

int index_kept_packed(struct index *ix, int64_t id)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_PACKED);
    q_put_int(&q, id);
    return q_run_found(&q);
}

int index_kept_renew(struct index *ix, const struct id *root, uint64_t kept_ms)
{
    const struct id key = *root;
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_RENEW);
    q_put_id(&q, &key);
    q_put_seq(&q, kept_ms);
    return q_run(&q);
}

static int kept_from(struct index *ix, enum query_id id, int64_t from, int (*row)(void *, const struct ix_kept *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, id);
    q_put_int(&q, from);
    return kept_each(&q, row, arg);
}

int index_kept_alive(struct index *ix, int64_t before_id, int (*row)(void *, const struct ix_kept *), void *arg)
{
    int rc = kept_from(ix, Q_KEPT_ALIVE, before_id, row, arg);
    return rc == 0 ? kept_from(ix, Q_ALIVE_ROWS, before_id < 0 ? -before_id : 0, row, arg) : rc;
}

int index_kept_since(struct index *ix, int64_t id, uint64_t kept_ms)
{
    int rc = unfolded(ix, &id);
    if (rc != 0)
        return rc;
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_SINCE);
    q_put_seq(&q, kept_ms);
    q_put_int(&q, id);
    return q_run_found(&q);
}

int index_kept_files(struct index *ix, int64_t after_id, int (*row)(void *, const struct ix_kept *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_FILES);
    q_put_int(&q, after_id);
    return kept_each(&q, row, arg);
}

int index_kept_in_packs(struct index *ix, int64_t after_id, int (*row)(void *, const struct ix_kept *), void *arg)
{
    int rc = after_id < 0 ? kept_from(ix, Q_ALIVE_IN_PACKS, after_id == INT64_MIN ? INT64_MAX : -after_id, row, arg) : 0;
    return rc == 0 ? kept_from(ix, Q_KEPT_IN_PACKS, after_id, row, arg) : rc;
}

int index_kept_strays(struct index *ix, int (*row)(void *, const struct ix_kept *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KEPT_STRAYS);
    return kept_each(&q, row, arg);
}

/* Packs that the index does not know, or not to their end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/keeper_priv.h"
#include "node/log.h"

/* ---- which ---- */

static int known_pack(void *arg, const struct ix_pack *p)
{
    struct keeper *k = arg;
    k->packs = xrealloc(k->packs, k->npacks + 1, sizeof *k->packs);
    k->packs[k->npacks++] = (struct keep_pack){.pack = p->pack, .size = p->size};
    if (p->pack >= k->next_pack)
        k->next_pack = p->pack + 1;
    return 0;
}

/* `live` says here that its file was found. */
static int file_found(void *arg, uint64_t pack, uint64_t size)
{
    struct keeper *k = arg;
    uint64_t known = 0;
    if (pack >= k->next_pack)
        k->next_pack = pack + 1;
    for (size_t i = 0; i < k->npacks; i++)
        if (k->packs[i].pack == pack) {
            known = k->packs[i].size;
            k->packs[i].live = 1;
        }
    if (size <= known)
        return 0;
    k->unknown = xrealloc(k->unknown, k->nunknown + 1, sizeof *k->unknown);
    k->unknown[k->nunknown++] = (struct keep_pack){.pack = pack, .size = known};
    return 0;
}

/* What is not there cannot be read: that the index says so would only hinder what is missing from being packed anew. */
static int forget_missing(struct keeper *k)
{
    int r = engine_begin(k->c.engine);
    for (size_t i = 0; r == 0 && i < k->npacks; i++)
        if (!k->packs[i].live) {
            log_error("a pack is missing from .lanyard/packs pack=%llx", (unsigned long long)k->packs[i].pack);
            r = index_pack_del(k->c.index, k->packs[i].pack);
        }
    return keeper_commit(k, r);
}

static int list_packs(struct keeper *k)
{
    k->next_pack = 1;
    k->npacks = 0;
    int r = index_pack_each(k->c.index, known_pack, k);
    if (r == 0)
        r = packs_list(folder_packs(k->c.folder), file_found, k);
    if (r == 0)
        r = forget_missing(k);
    for (size_t i = 0; i < k->npacks; i++)
        if (k->packs[i].live && k->packs[i].size < PACK_SIZE && k->packs[i].pack > k->pack) {
            k->pack = k->packs[i].pack;
            k->pack_size = k->packs[i].size;
        }
    k->listed = r == 0;
    return r;
}

/* ---- reading one ---- */

struct adopt_job {
    struct job job;
    struct keeper *k;
    uint64_t pack, from, size;
    struct ix_piece *v; size_t n;
    struct found *found; size_t nfound;
    unsigned damaged;
    int code; char text[160];
};

static int adopt_record(void *arg, const struct pack_sight *s)
{
    struct adopt_job *j = arg;
    struct pack_content c;
    j->size = s->at.off + s->at.len;
    if (s->code < 0) {
        j->damaged++;
        return 0;
    }
    if (j->n % 256 == 0)
        j->v = xrealloc(j->v, j->n + 256, sizeof *j->v);
    j->v[j->n++] = (struct ix_piece){.kind = s->rec->kind, .id = s->rec->id, .at = s->at};
    if (s->rec->kind == PACK_CONTENT && pack_content_get(&s->rec->id, s->data, s->len, &c) == 0) {
        size_t len = c.refs ? (size_t)c.nblocks * BLOCK_REF : 0;
        j->found = xrealloc(j->found, j->nfound + 1, sizeof *j->found);
        j->found[j->nfound] = (struct found){.root = s->rec->id, .size = c.size, .nblocks = c.nblocks, .refs = len ? xcalloc(len, 1) : NULL};
        if (len)
            memcpy(j->found[j->nfound].refs, c.refs, len);
        j->nfound++;
    }
    return *pool_stopping(j->k->c.pool) ? ERR_CLOSED : 0;
}

static void adopt_run(struct job *job)
{
    struct adopt_job *j = (struct adopt_job *)job;
    const struct packs *packs = folder_packs(j->k->c.folder);
    j->code = pack_flush(packs, j->pack);
    if (j->code == 0)
        j->code = pack_scan(packs, j->pack, j->from, adopt_record, j);
    if (j->code < 0)
        snprintf(j->text, sizeof j->text, "%s", err_text());
}

static int adopt_commit(struct adopt_job *j)
{
    struct keeper *k = j->k;
    int r = engine_begin(k->c.engine);
    for (size_t i = 0; r == 0 && i < j->n; i++)
        r = index_piece_add(k->c.index, &j->v[i]);
    if (r == 0)
        r = index_pack_put(k->c.index, &(struct ix_pack){j->pack, j->size});
    return keeper_commit(k, r);
}

static void adopt_done(struct job *job)
{
    struct adopt_job *j = (struct adopt_job *)job;
    struct keeper *k = j->k;
    if (j->code == 0 && adopt_commit(j) < 0)
        log_warn("%s", err_text());
    else if (j->code < 0)
        log_warn("pack not read why=\"%s\"", j->text);
    else
        log_info("pack taken in pack=%llx records=%zu damaged=%u", (unsigned long long)j->pack, j->n, j->damaged);
    if (j->nfound) {
        k->found = xrealloc(k->found, k->nfound + j->nfound, sizeof *k->found);
        memcpy(k->found + k->nfound, j->found, j->nfound * sizeof *k->found);
        k->nfound += j->nfound;
    }
    free(j->found);
    free(j->v);
    keeper_job_done(k);
    free(j);
}

static void read_pack(struct keeper *k, const struct keep_pack *p)
{
    struct adopt_job *j = xcalloc(1, sizeof *j);
    *j = (struct adopt_job){.job = {.run = adopt_run, .done = adopt_done, .slow = true}, .k = k, .pack = p->pack, .from = p->size,
                            .size = p->size, .code = ERR_CLOSED};
    k->running = k->dirty = true;
    pool_submit(k->c.pool, &j->job);
}

/* ---- what the packs held ---- */

static int newest(void *arg, const struct ix_entry *row)
{
    struct ix_entry *out = arg;
    *out = *row;
    return row->live;
}

static bool complete(struct keeper *k, const struct found *c)
{
    struct ix_piece p;
    for (uint32_t i = 0; i < c->nblocks; i++) {
        struct block_ref ref = {c->root, 0};
        if (c->refs)
            block_ref_get(c->refs + (size_t)i * BLOCK_REF, &ref);
        if (index_piece_get(k->c.index, PACK_BLOCK, &ref.id, &p) < 0)
            return false;
    }
    return true;
}

/* Its retention begins anew: an index that was lost knows nothing yet of heads that protect it. */
static int take_in(struct keeper *k, const struct found *c)
{
    struct ix_entry e = {0};
    int r = index_kept_by_root(k->c.index, &c->root, keeper_any_kept, NULL);
    if (r != 0 || !complete(k, c))
        return r < 0 ? r : 0;
    r = index_entry_by_root(k->c.index, &c->root, newest, &e);
    if (r >= 0 && c->refs)
        r = index_tree_put(k->c.index, &c->root, c->refs, c->nblocks);
    return r < 0 ? r : engine_kept(k->c.engine, e.path, e.id, &c->root, c->size, "", loop_wall());
}

static enum step_result take_in_some(struct keeper *k)
{
    enum { BLOCKS = 4096 };
    uint32_t blocks = 0;
    int r = engine_begin(k->c.engine);
    while (r == 0 && k->nfound && blocks < BLOCKS) {
        struct found *c = &k->found[--k->nfound];
        blocks += c->nblocks + 1;
        r = take_in(k, c);
        free(c->refs);
    }
    return keeper_commit(k, r) < 0 ? keeper_fail(k, err_text()) : STEP_AGAIN;
}

enum step_result keeper_adopt(struct keeper *k)
{
    if (k->adopted)
        return STEP_OVER;
    if (!k->listed)
        return list_packs(k) < 0 ? keeper_fail(k, err_text()) : STEP_AGAIN;
    if (k->at_unknown < k->nunknown) {
        read_pack(k, &k->unknown[k->at_unknown++]);
        return STEP_LATER;
    }
    if (k->nfound)
        return take_in_some(k);
    if (k->nunknown)
        k->c.adopted(k->c.arg);
    keeper_adopt_release(k);
    k->adopted = true;
    return STEP_OVER;
}

void keeper_adopt_release(struct keeper *k)
{
    while (k->nfound)
        free(k->found[--k->nfound].refs);
    free(k->found);
    free(k->unknown);
    k->found = NULL;
    k->unknown = NULL;
    k->nunknown = k->at_unknown = 0;
}

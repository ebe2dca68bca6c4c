/* What of the packs is still referred to; packs written anew. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/keeper_priv.h"
#include "node/log.h"

enum { STEP_BLOCKS = 4096 };

void keeper_gc_release(struct keeper *k)
{
    free(k->marks);
    free(k->packs);
    k->marks = NULL;
    k->packs = NULL;
    k->npacks = k->at_pack = 0;
    k->mark = MARK_BEGIN;
    buf_release(&k->refs);
    k->refs_at = 0;
}

/* ---- marking ---- */

/* What is folded is referred to (number 0), and so may be what came after the marking had begun. */
static bool marked(const struct keeper *k, int64_t n) { return n == 0 || n > k->nmarks || (k->marks[n / 8] >> (n % 8) & 1); }

static int mark(struct keeper *k, enum pack_kind kind, const struct id *id)
{
    struct ix_piece p;
    int r = index_piece_get(k->c.index, kind, id, &p);
    if (r == 0 && p.n <= k->nmarks)
        k->marks[p.n / 8] |= (uint8_t)(1u << (p.n % 8));
    return r == ERR_NOTFOUND ? 0 : r;
}

static int begin_marking(struct keeper *k)
{
    keeper_gc_release(k);
    k->marked_to = 0;
    int r = index_piece_max(k->c.index, &k->nmarks);
    if (r == 0)
        k->marks = xcalloc((size_t)k->nmarks / 8 + 1, 1);
    return r;
}

static int take_row(void *arg, const struct ix_kept *row)
{
    *(struct ix_kept *)arg = *row;
    return 1;
}

/* 1: there was another packed content; its list is what is marked next. */
static int next_content(struct keeper *k)
{
    struct ix_kept row;
    int r = index_kept_in_packs(k->c.index, k->marked_to, take_row, &row);
    if (r <= 0)
        return r;
    k->marked_to = row.id;
    k->refs_at = 0;
    r = mark(k, PACK_CONTENT, &row.root);
    if (r == 0)
        r = mark(k, PACK_BLOCK, &row.root);
    if (r == 0)
        r = index_tree_get(k->c.index, &row.root, &k->refs);
    return r == 0 || r == ERR_NOTFOUND ? 1 : r;
}

static int mark_some(struct keeper *k)
{
    int r = 1;
    for (unsigned i = 0; r == 1 && i < STEP_BLOCKS; i++) {
        struct block_ref ref;
        if (k->refs_at == k->refs.len) {
            r = next_content(k);
            continue;
        }
        block_ref_get(k->refs.data + k->refs_at, &ref);
        k->refs_at += BLOCK_REF;
        r = mark(k, PACK_BLOCK, &ref.id) < 0 ? -1 : 1;
    }
    return r;
}

/* ---- how much of each pack is marked ---- */

static int list_pack(void *arg, const struct ix_pack *p)
{
    struct keeper *k = arg;
    k->packs = xrealloc(k->packs, k->npacks + 1, sizeof *k->packs);
    k->packs[k->npacks++] = (struct keep_pack){.pack = p->pack, .size = p->size};
    return 0;
}

struct sums { struct keeper *k; size_t n; };

static int sum_alive(void *arg, const struct ix_alive *a)
{
    struct sums *s = arg;
    struct keeper *k = s->k;
    k->marked_to = a->entry;
    for (size_t i = 0; i < k->npacks; i++)
        if (k->packs[i].pack == a->block.pack)
            k->packs[i].live += (uint64_t)a->block.len + a->content.len;
    return ++s->n == STEP_BLOCKS;
}

static int sum_live(void *arg, const struct ix_piece *p)
{
    struct keeper *k = arg;
    k->packs[k->at_pack].live += marked(k, p->n) ? p->at.len : 0;
    return 0;
}

enum step_result keeper_mark(struct keeper *k)
{
    int r = 0;
    if (!k->dirty)
        return STEP_OVER;
    switch (k->mark) {
    case MARK_SWEPT:
    case MARK_BEGIN:
        r = begin_marking(k);
        k->mark = MARK_REFERRED;
        break;
    case MARK_REFERRED:
        r = mark_some(k);
        if (r == 0) {
            r = index_pack_each(k->c.index, list_pack, k);
            k->mark = MARK_ALIVE;
            k->marked_to = 0;
        }
        break;
    case MARK_ALIVE:
        r = index_alive_each(k->c.index, k->marked_to, sum_alive, &(struct sums){k, 0});
        if (r == 0)
            k->mark = MARK_SUMS;
        break;
    case MARK_SUMS:
        if (k->at_pack < k->npacks) {
            r = index_piece_of_pack(k->c.index, k->packs[k->at_pack].pack, false, sum_live, k);
            k->at_pack++;
            break;
        }
        k->at_pack = 0;
        k->mark = MARK_SWEPT;
        return STEP_OVER;
    }
    return r < 0 ? keeper_fail(k, err_text()) : STEP_AGAIN;
}

/* ---- writing a pack anew ---- */

struct compact_job {
    struct job job;
    struct keeper *k;
    uint64_t old, pack, pack_size;
    struct ix_piece *v; size_t n;         /* what is referred to: where it was, then where it is */
    int code; char text[200];
};

static int copy_piece(const struct compact_job *j, struct pack_writer *w, struct ix_piece *p, struct buf *b)
{
    if (j->k->stop || *pool_stopping(j->k->c.pool))
        return ERR_CLOSED;
    b->max = p->kind == PACK_BLOCK ? LIMIT_BLOCK : PACK_CONTENT_MAX;
    int r = pack_read(folder_packs(j->k->c.folder), &p->at, p->kind, &p->id, b);
    return r < 0 ? r : pack_put(w, p->kind, &p->id, b->data, (uint32_t)b->len, &p->at);
}

static void compact_run(struct job *job)
{
    struct compact_job *j = (struct compact_job *)job;
    struct pack_writer *w = NULL;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
    j->code = j->n ? pack_begin(folder_packs(j->k->c.folder), j->pack, j->pack_size, &w) : 0;
    for (size_t i = 0; j->code == 0 && i < j->n; i++)
        j->code = copy_piece(j, w, &j->v[i], &b);
    if (j->code == 0 && w)
        j->code = pack_end(&w, &j->pack_size);
    pack_abandon(&w);
    if (j->code < 0)
        snprintf(j->text, sizeof j->text, "%s", err_text());
}

static int compact_record(struct compact_job *j)
{
    struct keeper *k = j->k;
    int r = keeper_begin_packed(k, j->v, j->n, j->pack, j->pack_size);
    if (r == 0)
        r = index_pack_del(k->c.index, j->old);
    for (size_t i = 0; r == 0 && i < j->n; i++)
        if (j->v[i].kind == PACK_CONTENT)
            r = index_kept_fold(k->c.index, &j->v[i].id);
    return keeper_commit(k, r);
}

static void compact_done(struct job *job)
{
    struct compact_job *j = (struct compact_job *)job;
    struct keeper *k = j->k;
    bool ok = j->code == 0 && compact_record(j) == 0;
    if (ok) {
        k->figures.compacted++;
        if (j->n)
            k->pack_size = j->pack_size;
    } else {
        k->dirty = true;
        k->pack = 0;
        if (j->code != ERR_CLOSED)
            log_warn("pack not written anew pack=%llx why=\"%s\"", (unsigned long long)j->old, j->code < 0 ? j->text : err_text());
    }
    if (k->pack_size >= PACK_SIZE)
        k->pack = 0;
    keeper_remove(k, NULL, 0, &j->old, ok);
    free(j->v);
    free(j);
}

static int take_live(void *arg, const struct ix_piece *p)
{
    struct compact_job *j = arg;
    if (!marked(j->k, p->n))
        return 0;
    if (j->n % 256 == 0)
        j->v = xrealloc(j->v, j->n + 256, sizeof *j->v);
    j->v[j->n++] = *p;
    return 0;
}

static enum step_result write_anew(struct keeper *k, const struct keep_pack *p)
{
    struct compact_job *j = xcalloc(1, sizeof *j);
    *j = (struct compact_job){.job = {.run = compact_run, .done = compact_done, .slow = true}, .k = k, .old = p->pack, .code = ERR_CLOSED};
    int r = index_piece_of_pack(k->c.index, p->pack, true, take_live, j);
    bool room = r < 0 || j->n == 0 || folder_room(k->c.folder, p->live) == 0;
    if (r < 0 || !room) {
        free(j->v);
        free(j);
        return r < 0 ? keeper_fail(k, err_text()) : STEP_AGAIN;
    }
    if (k->pack == p->pack)
        k->pack = 0;
    return keeper_submit(k, &j->job, &j->pack, &j->pack_size);
}

enum step_result keeper_compact(struct keeper *k)
{
    if (k->mark != MARK_SWEPT)
        return STEP_OVER;
    k->dirty = false;
    while (k->at_pack < k->npacks) {
        const struct keep_pack *p = &k->packs[k->at_pack++];
        if (p->live < p->size / 2)
            return write_anew(k, p);
    }
    return STEP_OVER;
}

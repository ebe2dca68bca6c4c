/* Content that is already on this disk. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"
#include "node/serve.h"
#include "store/sys.h"

enum { COPY_TRIES = 2, COPY_AGAIN_MS = 100, BATCH = 16, BATCH_BYTES = 16 << 20, THREAD_FROM = 32 << 20 };

/* ---- a rename ---- */

struct move_search { struct pull *p; struct item *it; bool found; };

static int is_removal(void *arg, const struct ix_want *w)
{
    struct move_search *m = arg;
    if (w->role != WANT_INSTALL || w->kind != KIND_TOMBSTONE || item_known(m->p, w->entry))
        return 0;
    m->it->from_entry = w->entry;
    return 1;
}

static int movable(void *arg, const struct ix_local *l)
{
    struct move_search *m = arg;
    if (l->path == m->it->want.path || l->stamp.kind != STAMP_FILE)
        return 0;
    int r = index_want_of_path(m->p->c.index, l->path, is_removal, m);
    if (r <= 0)
        return r;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    if ((r = index_path_get(m->p->c.index, l->path, &name, NULL)) < 0)
        return r;
    m->it->fromlen = name.len;
    m->it->from = (char *)buf_steal(&name, &m->it->fromlen);
    m->it->from_stamp = l->stamp;
    m->it->from_settled = l->settled;
    m->found = true;
    return 1;
}

bool local_move(struct pull *p, struct item *it)
{
    struct move_search m = {.p = p, .it = it};
    it->tried_move = true;
    if (it->want.role != WANT_INSTALL || !index_want_removals(p->c.index))
        return false;
    if (index_local_by_root(p->c.index, &it->ent.content.root, movable, &m) < 0 || !m.found) {
        it->from_entry = 0;
        return false;
    }
    item_claim(p, it->from_entry);
    it->way = WAY_MOVE;
    item_state(p, it, ITEM_READY);
    return true;
}

/* ---- jobs on one item ---- */

struct local_job {
    struct job job;
    struct pull *p;
    struct item *it;
    struct place_of at;                      /* of the folder: its file must be as the stamp says */
    struct content_list content;
    uint8_t *old_list; uint32_t old_n;       /* blocks of the replaced version */
    int fd, code;
    char text[160];
};

static void job_free(struct local_job *j)
{
    place_of_release(&j->at);
    free(j->old_list);
    free(j->content.refs);
    free(j);
}

static int open_source(const struct local_job *j, int *fd)
{
    const struct folder *f = j->p->c.folder;
    struct stamp now;
    int r = j->at.kept ? 0 : folder_stat(f, j->at.path, j->at.len, &now);
    if (r == 0 && !j->at.kept && !stamp_same(&now, &j->at.stamp))
        r = err_set(ERR_CHANGED, "changed since it was hashed");
    return r < 0 ? r : serve_open(f, &j->at, fd);
}

/* ---- a copy ---- */

static void copy_run(struct job *job)
{
    struct local_job *j = (struct local_job *)job;
    int from = -1, to = -1;
    j->code = open_source(j, &from);
    if (j->code == 0)
        j->code = folder_room(j->p->c.folder, j->content.size);
    if (j->code == 0)
        j->code = folder_tmp_create(j->p->c.folder, j->it->tmp, j->content.size, &to);
    if (j->code == 0)
        j->code = content_copy(from, to, &j->content);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    if (j->code < 0)
        snprintf(j->text, sizeof j->text, "%s", err_text());
}

static void copy_done(struct job *job)
{
    struct local_job *j = (struct local_job *)job;
    struct item *it = j->it;
    if (!it->cancelled && j->code == 0) {
        item_state(j->p, it, ITEM_READY);
    } else if (!it->cancelled) {
        /* What lay there has perhaps just been replaced, and is among the kept versions by now. */
        it->tried_copy = it->failures >= COPY_TRIES;
        log_debug("copy on this disk failed why=\"%s\"", j->text);
        item_fail(j->p, it, it->tried_copy ? 0 : COPY_AGAIN_MS);
    }
    item_unref(j->p, it);
    pull_wake(j->p, 0);
    job_free(j);
}

struct copy_search { struct pull *p; struct local_job *job; };

/* What was written a moment ago is looked at again first: then it is asked for once more (pull.c). */
static bool usable(const struct ix_local *l) { return l->stamp.kind == STAMP_FILE && l->settled; }

static int is_usable(void *arg, const struct ix_local *l)
{
    (void)arg;
    return usable(l);
}

bool local_has(struct pull *p, const struct item *it)
{
    struct place_of at = {0};
    int r = index_local_by_root(p->c.index, &it->ent.content.root, is_usable, NULL);
    if (r == 0)
        r = serve_find_kept(p->c.index, &it->ent.content.root, &at) == 0;
    place_of_release(&at);
    return r > 0;
}

static int copy_local(void *arg, const struct ix_local *l)
{
    struct copy_search *s = arg;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    if (!usable(l) || index_path_get(s->p->c.index, l->path, &name, NULL) < 0)
        return 0;
    s->job->at = (struct place_of){.len = name.len, .stamp = l->stamp};
    s->job->at.path = (char *)buf_steal(&name, &s->job->at.len);
    return 1;
}

static bool list_of(struct pull *p, struct item *it, struct content_list *c)
{
    *c = (struct content_list){.type = CONTENT_BLOCKS, .class = it->ent.content.class, .nblocks = it->ent.content.nblocks,
                               .root = it->ent.content.root, .size = it->ent.size};
    if (c->nblocks < 2)
        return true;
    /* Its entry may say what it likes about a content that we have. */
    if (index_tree_get(p->c.index, &c->root, &it->list) < 0 || it->list.len != (size_t)c->nblocks * BLOCK_REF ||
        block_list_check(it->list.data, c->nblocks, &c->root, c->size) < 0)
        return false;
    size_t len;
    c->refs = buf_steal(&it->list, &len);
    return true;
}

bool local_copy(struct pull *p, struct item *it)
{
    struct local_job *j = xcalloc(1, sizeof *j);
    *j = (struct local_job){.job = {.run = copy_run, .done = copy_done, .slow = it->ent.size > (8u << 20)}, .p = p, .it = it, .fd = -1,
                            .code = ERR_CLOSED};
    struct copy_search s = {p, j};
    it->tried_copy = true;
    int r = index_local_by_root(p->c.index, &it->ent.content.root, copy_local, &s);
    if (r == 0)
        r = serve_find_kept(p->c.index, &it->ent.content.root, &j->at);
    if (r >= 0)
        r = serve_gather(p->c.index, &j->at);
    if (r < 0 || !list_of(p, it, &j->content)) {
        job_free(j);
        return false;
    }
    it->way = WAY_COPY;
    snprintf(it->tmp, sizeof it->tmp, "f-%llx", (unsigned long long)it->want.entry);
    item_state(p, it, ITEM_LOCAL);
    it->refs++;
    pool_submit(p->c.pool, &j->job);
    return true;
}

/* ---- an unfinished download, and the blocks of the version that is replaced ---- */

static int by_id(const void *a, const void *b)
{
    return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, ID_LEN);
}

/* The old version's blocks by id, and where each lies. */
struct old { const uint8_t **sorted; uint64_t *at; };

static void old_sort(const struct local_job *j, struct old *o)
{
    uint64_t off = 0;
    *o = (struct old){xcalloc(j->old_n, sizeof *o->sorted), xcalloc(j->old_n, sizeof *o->at)};
    for (uint32_t i = 0; i < j->old_n; i++) {
        struct block_ref ref;
        o->sorted[i] = j->old_list + (size_t)i * BLOCK_REF;
        block_ref_get(o->sorted[i], &ref);
        o->at[i] = off;
        off += ref.len;
    }
    qsort(o->sorted, j->old_n, sizeof *o->sorted, by_id);
}

static void old_release(struct old *o)
{
    free(o->sorted);
    free(o->at);
}

/* Some blocks that are read and verified together. */
struct batch { struct block_read v[BATCH]; uint32_t idx[BATCH]; size_t n, used; uint8_t *data; };

/* The disk begins with what was written at once, so that the flush before the rename finds little to wait for. */
static void copy_batch(const struct local_job *j, struct batch *g)
{
    struct item *it = j->it;
    content_blocks(g->v, g->n);
    for (size_t k = 0; k < g->n; k++) {
        const struct block_read *b = &g->v[k];
        off_t at = (off_t)it->offset[g->idx[k]];
        if (b->code != 0 || pwrite(j->fd, b->buf, b->len, at) != (ssize_t)b->len)
            continue;
        bit_set(it->have, g->idx[k]);
        (void)!sync_file_range(j->fd, at, b->len, SYNC_FILE_RANGE_WRITE);
    }
    g->n = g->used = 0;
}

/* Blocks of the new version, and where the old one lies. */
struct reuse { const struct local_job *j; const struct old *old; int from; uint32_t first, end; };

/* Copies every one of these blocks that the old version has too, wherever it lies there. */
static void *reuse_range(void *arg)
{
    const struct reuse *u = arg;
    const struct local_job *j = u->j;
    const struct old *old = u->old;
    struct item *it = j->it;
    AUTOFREE uint8_t *data = xrealloc(NULL, BATCH_BYTES, 1);
    struct batch g = {.data = data};
    for (uint32_t i = u->first; i < u->end && !*pool_stopping(j->p->c.pool); i++) {
        struct block_ref ref;
        const uint8_t *key = it->list.data + (size_t)i * BLOCK_REF;
        block_ref_get(key, &ref);
        const uint8_t **hit = bit(it->have, i) ? NULL : bsearch(&key, old->sorted, j->old_n, sizeof *old->sorted, by_id);
        if (!hit)
            continue;
        if (g.n == BATCH || ref.len > BATCH_BYTES - g.used)
            copy_batch(j, &g);
        g.idx[g.n] = i;
        g.v[g.n++] = (struct block_read){.fd = u->from, .off = old->at[(size_t)(*hit - j->old_list) / BLOCK_REF], .len = ref.len,
                                         .id = ref.id, .buf = g.data + g.used};
        g.used += ref.len;
    }
    copy_batch(j, &g);
    return NULL;
}

/* The second half of a large file by a thread of its own. Each has whole bytes of the bitmap. */
static void reuse_blocks(const struct local_job *j, int from)
{
    uint32_t n = j->it->ent.content.nblocks, half = j->it->ent.size < THREAD_FROM ? 0 : n / 16 * 8;
    AUTO(old_release) struct old old;
    old_sort(j, &old);
    struct reuse all = {j, &old, from, 0, n}, second = {j, &old, from, half, n};
    pthread_t thread;
    bool two = half && pthread_create(&thread, NULL, reuse_range, &second) == 0;
    if (two)
        all.end = half;
    reuse_range(&all);
    if (two)
        pthread_join(thread, NULL);
}

/* Long runs of zeros are cut into blocks of the largest length that are all alike. They stay holes of the new file: nobody is asked for
 * them, and they take no room. Marks them, returns their bytes. */
static uint64_t leave_holes(struct item *it)
{
    const uint32_t len = chunk_classes[it->ent.content.class].max;
    struct id zeros = {0};
    bool known = false;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < it->ent.content.nblocks; i++) {
        struct block_ref r;
        block_ref_get(it->list.data + (size_t)i * BLOCK_REF, &r);
        if (r.len != len)
            continue;
        if (!known)
            zeros = content_zeros(len);
        known = true;
        if (!id_eq(&r.id, &zeros))
            continue;
        bit_set(it->have, i);
        bytes += len;
    }
    return bytes;
}

/* A file for the download, or the one that an earlier start has left. */
static int open_download(struct local_job *j)
{
    struct item *it = j->it;
    const struct folder *f = j->p->c.folder;
    uint64_t holes = leave_holes(it);
    int r = folder_tmp_open(f, it->tmp, &j->fd);
    bool begun = r == 0;
    if (r == ERR_NOTFOUND)
        r = folder_room(f, it->ent.size - holes);
    if (r == 0 && !begun)
        r = folder_tmp_create(f, it->tmp, holes ? 0 : it->ent.size, &j->fd);
    if (r == 0 && holes && sys->ftruncate(j->fd, (off_t)it->ent.size) < 0)
        r = err_set(errno == ENOSPC || errno == EFBIG ? ERR_FULL : ERR_IO, "%s: a file of %llu bytes: %m", folder_path(f),
                    (unsigned long long)it->ent.size);
    if (r == 0 && begun)
        r = content_have(j->fd, it->list.data, it->ent.content.nblocks, &it->ent.content.root, it->ent.size, it->have);
    return r;
}

static void prepare_run(struct job *job)
{
    struct local_job *j = (struct local_job *)job;
    j->code = open_download(j);
    if (j->code < 0)
        snprintf(j->text, sizeof j->text, "%s", err_text());
    int from = -1;
    if (j->code == 0 && j->old_n && open_source(j, &from) == 0)
        reuse_blocks(j, from);
    if (from >= 0)
        close(from);
}

static void prepare_done(struct job *job)
{
    struct local_job *j = (struct local_job *)job;
    struct item *it = j->it;
    if (it->cancelled || j->code < 0) {
        if (j->fd >= 0)
            close(j->fd);
        it->troubled = j->code == ERR_FULL || j->code == ERR_IO;
        if (it->troubled)
            pull_set_failed(j->p, j->text);
        if (!it->cancelled)
            item_fail(j->p, it, 2000);
    } else {
        it->fd = j->fd;
        it->missing = 0;
        for (uint32_t i = 0; i < it->ent.content.nblocks; i++)
            it->missing += !(it->have[i / 8] >> (i % 8) & 1);
        memcpy(it->asked, it->have, (it->ent.content.nblocks + 7) / 8);
        item_state(j->p, it, it->missing ? ITEM_BLOCKS : ITEM_READY);
    }
    item_unref(j->p, it);
    pull_wake(j->p, 0);
    job_free(j);
}

/* The block list of what lies at the path now, if that has several blocks. */
static void old_version(struct pull *p, struct item *it, struct local_job *j)
{
    struct ix_local l;
    struct ix_entry row;
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    if (index_local_get(p->c.index, it->want.path, &l) < 0 || l.stamp.kind != STAMP_FILE)
        return;
    /* No version: one that is damaged, and is being mended (check). Most of it is what it should be. */
    struct id root = it->ent.content.root;
    if (l.entry && index_entry_get(p->c.index, l.entry, &row, NULL) == 0)
        root = row.root;
    if (index_tree_get(p->c.index, &root, &refs) < 0)
        return;
    if (l.apart) {
        if (serve_find_kept(p->c.index, &root, &j->at) < 0 || serve_gather(p->c.index, &j->at) < 0)
            return;
    } else {
        j->at = (struct place_of){.path = xcalloc(it->len + 1, 1), .len = it->len, .stamp = l.stamp};
        memcpy(j->at.path, it->path, it->len);
    }
    j->old_n = (uint32_t)(refs.len / BLOCK_REF);
    size_t len;
    j->old_list = buf_steal(&refs, &len);
}

void local_prepare(struct pull *p, struct item *it)
{
    uint32_t n = it->ent.content.nblocks;
    assert(it->list.len == (size_t)n * BLOCK_REF);
    char hex[ID_HEX];
    snprintf(it->tmp, sizeof it->tmp, "d-%.40s", id_hex(&it->ent.content.root, hex));
    it->have = xcalloc((n + 7) / 8, 1);
    it->asked = xcalloc((n + 7) / 8, 1);
    it->offset = xcalloc(n, sizeof *it->offset);
    uint64_t off = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct block_ref ref;
        block_ref_get(it->list.data + (size_t)i * BLOCK_REF, &ref);
        it->offset[i] = off;
        off += ref.len;
    }
    struct local_job *j = xcalloc(1, sizeof *j);
    *j = (struct local_job){.job = {.run = prepare_run, .done = prepare_done, .slow = true}, .p = p, .it = it, .fd = -1, .code = ERR_CLOSED};
    old_version(p, it, j);
    item_state(p, it, ITEM_LOCAL);
    it->refs++;
    pool_submit(p->c.pool, &j->job);
}

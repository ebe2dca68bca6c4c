/* Kept files into packs. A file may take several jobs: each ends with what it put being durable and committed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/keeper_priv.h"
#include "node/log.h"
#include "store/content.h"

enum { JOB_FILES = 256, JOB_BLOCKS = 2048 };

struct fold_file {
    int64_t id;
    char *name;
    struct id root;
    uint64_t size, off;                   /* off: of block `from` */
    uint8_t *refs; uint32_t n;            /* its blocks; refs NULL: one */
    uint32_t from, to, next;              /* the blocks for this job; the first that is not in a pack yet */
    struct pack_at *at, content;          /* where these blocks lie, and the record of the whole, as far as known */
    bool whole;                           /* all of it is in packs */
    char broken[160];                     /* why it can not be: damaged, gone */
};
struct fold_job {
    struct job job;
    struct keeper *k;
    struct fold_file v[JOB_FILES]; size_t n; uint32_t blocks;
    uint64_t pack, pack_size;             /* where to, and its length: before, then after */
    struct pack_writer *w;
    struct pathset put_set;               /* ids of blocks that were put */
    struct ix_piece *put; size_t nput;
    struct buf buf;
    int code; char text[200];
};

static struct block_ref ref_of(const struct fold_file *f, uint32_t i)
{
    struct block_ref ref = {f->root, (uint32_t)f->size};
    if (f->refs)
        block_ref_get(f->refs + (size_t)i * BLOCK_REF, &ref);
    return ref;
}

/* ---- in the worker ---- */

static bool full(const struct fold_job *j) { return j->w && pack_length(j->w) >= PACK_SIZE; }

static int put(struct fold_job *j, enum pack_kind kind, const struct id *id, const void *data, size_t len)
{
    const struct packs *packs = folder_packs(j->k->c.folder);
    int r = j->w ? 0 : pack_begin(packs, j->pack, j->pack_size, &j->w);
    struct ix_piece p = {.kind = kind, .id = *id};
    if (r == 0)
        r = pack_put(j->w, kind, id, data, (uint32_t)len, &p.at);
    if (r < 0)
        return r;
    if (j->nput % 256 == 0)
        j->put = xrealloc(j->put, j->nput + 256, sizeof *j->put);
    if (kind == PACK_BLOCK)
        pathset_put(&j->put_set, (const char *)id->b, ID_LEN, 0);
    j->put[j->nput++] = p;
    return 0;
}

/* What is in a pack already counts only if it can be read there. */
static bool packed(struct fold_job *j, const struct pack_at *at, enum pack_kind kind, const struct id *id)
{
    j->buf.max = kind == PACK_BLOCK ? LIMIT_BLOCK : (size_t)LIMIT_BLOCKS * BLOCK_REF + 64;
    return at->len && pack_read(folder_packs(j->k->c.folder), at, kind, id, &j->buf) == 0;
}

static int fold_block(struct fold_job *j, const struct fold_file *f, uint32_t i, uint64_t off, int *fd, uint8_t *data)
{
    struct block_ref ref = ref_of(f, i);
    int r = 0;
    if (pathset_get(&j->put_set, (const char *)ref.id.b, ID_LEN, NULL) || packed(j, &f->at[i - f->from], PACK_BLOCK, &ref.id))
        return 0;
    if (*fd < 0)
        r = folder_kept_open(j->k->c.folder, f->name, fd);
    if (r == 0)
        r = content_block(*fd, off, ref.len, &ref.id, data);
    if (r < 0)
        return ERR_BAD;
    return put(j, PACK_BLOCK, &ref.id, data, ref.len);
}

static int fold_content(struct fold_job *j, struct fold_file *f)
{
    if (packed(j, &f->content, PACK_CONTENT, &f->root))
        return 0;
    AUTO(buf_release) struct buf b = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF + 64);
    pack_content_put(&b, f->size, f->refs, f->n);
    return buf_ok(&b) ? put(j, PACK_CONTENT, &f->root, b.data, b.len) : err_set(ERR_FULL, "no memory");
}

static int fold_file(struct fold_job *j, struct fold_file *f, uint8_t *data)
{
    int fd = -1, r = 0;
    uint64_t off = f->off;
    f->next = f->from;
    while (r == 0 && f->next < f->to && !j->k->stop && !*pool_stopping(j->k->c.pool) && !full(j)) {
        r = fold_block(j, f, f->next, off, &fd, data);
        off += ref_of(f, f->next).len;
        f->next += r == 0;
    }
    if (fd >= 0)
        close(fd);
    if (r == 0 && f->next == f->n) {
        r = fold_content(j, f);
        f->whole = r == 0;
    }
    if (r != ERR_BAD)
        return r;
    snprintf(f->broken, sizeof f->broken, "%s", err_text());   /* the fault is the file's: the others go on */
    return 0;
}

static void fold_run(struct job *job)
{
    struct fold_job *j = (struct fold_job *)job;
    AUTOFREE uint8_t *data = xrealloc(NULL, LIMIT_BLOCK, 1);
    j->code = 0;
    for (size_t i = 0; j->code == 0 && i < j->n && !j->k->stop && !full(j); i++)
        j->code = j->v[i].broken[0] ? 0 : fold_file(j, &j->v[i], data);
    if (j->code == 0 && j->w)
        j->code = pack_end(&j->w, &j->pack_size);
    pack_abandon(&j->w);
    if (j->code < 0)
        snprintf(j->text, sizeof j->text, "%s", err_text());
}

/* ---- back in the loop ---- */

void keeper_next_pack(struct keeper *k)
{
    k->pack = k->next_pack++;
    k->pack_size = 0;
}

int keeper_begin_packed(struct keeper *k, const struct ix_piece *v, size_t n, uint64_t pack, uint64_t size)
{
    int r = engine_begin(k->c.engine);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = index_piece_put(k->c.index, &v[i]);
    return r == 0 && n ? index_pack_put(k->c.index, &(struct ix_pack){pack, size}) : r;
}

static int fold_record(struct fold_job *j)
{
    struct keeper *k = j->k;
    int r = keeper_begin_packed(k, j->put, j->nput, j->pack, j->pack_size);
    for (size_t i = 0; r == 0 && i < j->n; i++)
        if (j->v[i].whole)
            r = index_kept_packed(k->c.index, j->v[i].id);
    return keeper_commit(k, r);
}

static void note(struct keeper *k, const struct fold_file *f)
{
    bool begun = f->next > f->from && f->next < f->n;
    k->fold_id = begun ? f->id : 0;
    k->fold_next = begun ? f->next : 0;
    if (f->broken[0])
        log_warn("a kept version is damaged: run lanyard check name=%s why=\"%s\"", f->name, f->broken);
    if (f->whole || f->broken[0])
        k->folded_to = f->id;
    k->figures.folded += f->whole;
    k->figures.folded_bytes += f->whole ? f->size : 0;
}

/* The rest is begun anew. */
static size_t note_all(struct fold_job *j, char **names)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) {
        struct fold_file *f = &j->v[i];
        note(j->k, f);
        if (f->whole) {
            names[n++] = f->name;
            f->name = NULL;
        }
        if (!f->whole && !f->broken[0])
            break;
    }
    return n;
}

static void fold_free(struct fold_job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        free(j->v[i].name);
        free(j->v[i].refs);
        free(j->v[i].at);
    }
    free(j->put);
    pathset_release(&j->put_set);
    buf_release(&j->buf);
    free(j);
}

static void fold_done(struct job *job)
{
    struct fold_job *j = (struct fold_job *)job;
    struct keeper *k = j->k;
    size_t n = 0;
    char **names = xcalloc(JOB_FILES, sizeof *names);
    k->dirty |= j->nput > 0;
    if (j->code == 0 && fold_record(j) < 0) {
        j->code = ERR_IO;
        snprintf(j->text, sizeof j->text, "%s", err_text());
    }
    if (j->code == 0) {
        if (j->nput)
            k->pack_size = j->pack_size;
        if (k->pack_size >= PACK_SIZE)
            k->pack = 0;
        n = note_all(j, names);
    } else {
        k->pack = 0;                    /* whatever became of it: what comes goes elsewhere */
        if (j->code != ERR_CHANGED && j->code != ERR_EXISTS)
            (void)keeper_fail(k, j->text);
    }
    fold_free(j);
    keeper_remove(k, names, n, NULL, 0);
}

/* ---- the next ones ---- */

static int load_list(struct keeper *k, struct fold_file *f)
{
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    size_t len;
    f->n = 1;
    int r = index_tree_get(k->c.index, &f->root, &refs);
    if (r == ERR_NOTFOUND)
        return f->size <= LIMIT_BLOCK ? 0 : ERR_NOTFOUND;
    if (r < 0)
        return r;
    f->n = (uint32_t)(refs.len / BLOCK_REF);
    f->refs = buf_steal(&refs, &len);
    return block_list_check(f->refs, f->n, &f->root, f->size) < 0 ? ERR_NOTFOUND : 0;
}

static struct pack_at place_of(struct keeper *k, enum pack_kind kind, const struct id *id)
{
    struct ix_piece p;
    return index_piece_get(k->c.index, kind, id, &p) == 0 ? p.at : (struct pack_at){0};
}

static void locate(struct keeper *k, struct fold_job *j, struct fold_file *f)
{
    f->from = f->id == k->fold_id ? k->fold_next : 0;
    f->to = f->n - f->from < JOB_BLOCKS ? f->n : f->from + JOB_BLOCKS;
    f->next = f->from;
    for (uint32_t i = 0; i < f->from; i++)
        f->off += ref_of(f, i).len;
    f->at = xcalloc((size_t)(f->to - f->from) + 1, sizeof *f->at);
    for (uint32_t i = f->from; i < f->to; i++) {
        struct id id = ref_of(f, i).id;
        f->at[i - f->from] = place_of(k, PACK_BLOCK, &id);
    }
    f->content = place_of(k, PACK_CONTENT, &f->root);
    j->blocks += f->to - f->from;
}

static int any_entry(void *arg, const struct ix_entry *row) { (void)arg, (void)row; return 1; }

static int any_version(void *arg, const struct ix_kept *row)
{
    const struct keeper *k = arg;
    return index_entry_by_root(k->c.index, &row->root, any_entry, NULL);
}

/* What no version names stays a file: by its name its path is found, of which it may become a version yet (pull_found.c). */
static bool nameless(struct keeper *k, const struct ix_kept *row)
{
    return row->path == 0 && index_kept_named(k->c.index, row->name, any_version, k) == 0;
}

static int choose(void *arg, const struct ix_kept *row)
{
    struct fold_job *j = arg;
    if (nameless(j->k, row)) {
        j->k->folded_to = row->id;
        return 0;
    }
    struct fold_file *f = &j->v[j->n++];
    *f = (struct fold_file){.id = row->id, .name = xstrdup(row->name), .root = row->root, .size = row->size};
    if (load_list(j->k, f) == 0)
        locate(j->k, j, f);
    else
        snprintf(f->broken, sizeof f->broken, "its block list is not known");
    return j->n == JOB_FILES || j->blocks >= JOB_BLOCKS;
}

static int any(void *arg, const struct ix_kept *row) { (void)arg, (void)row; return 1; }

bool keeper_fold_waiting(struct keeper *k)
{
    return index_kept_files(k->c.index, k->folded_to, any, NULL) == 1;
}

static uint64_t bytes_of(const struct fold_job *j)
{
    uint64_t n = 0;
    for (size_t i = 0; i < j->n; i++)
        n += j->v[i].size;
    return n < PACK_SIZE ? n : PACK_SIZE;
}

enum step_result keeper_fold(struct keeper *k)
{
    if (k->failure[0])
        return STEP_FAILED;
    struct fold_job *j = xcalloc(1, sizeof *j);
    *j = (struct fold_job){.job = {.run = fold_run, .done = fold_done, .slow = true}, .k = k, .code = ERR_CLOSED,
                           .buf = BUF_INIT(LIMIT_BLOCK)};
    int r = index_kept_files(k->c.index, k->folded_to, choose, j);
    bool room = r < 0 || j->n == 0 || folder_room(k->c.folder, bytes_of(j)) == 0;
    if (!room)
        log_seldom(LOG_WARN, "kept versions wait to be packed why=\"%s\"", err_text());   /* what expires makes room */
    if (r < 0 || j->n == 0 || !room) {
        fold_free(j);
        return r < 0 ? keeper_fail(k, err_text()) : STEP_OVER;
    }
    if (!k->pack)
        keeper_next_pack(k);
    j->pack = k->pack;
    j->pack_size = k->pack_size;
    k->running = true;
    pool_submit(k->c.pool, &j->job);
    return STEP_LATER;
}

/* Contents into packs: the job that does it, whether they are files of kept/ or of the folder. A large file takes several jobs: each ends with what it put
 * being durable and committed. Every block is compared with its id, and a content is its blocks: so what a user writes meanwhile cannot
 * come into a pack under the name of what was there before. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/keeper_priv.h"
#include "store/content.h"

enum { JOB_BLOCKS = 2048 };

static struct block_ref ref_of(const struct pack_file *f, uint32_t i)
{
    struct block_ref ref = {f->root, (uint32_t)f->size};
    if (f->refs)
        block_ref_get(f->refs + (size_t)i * BLOCK_REF, &ref);
    return ref;
}

/* ---- in the worker ---- */

static bool full(const struct pack_job *j) { return j->w && pack_length(j->w) >= PACK_SIZE; }
static bool stopped(const struct pack_job *j) { return j->k->stop || *pool_stopping(j->k->c.pool); }

static int put(struct pack_job *j, enum pack_kind kind, const struct id *id, const void *data, size_t len)
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
static bool packed(struct pack_job *j, const struct pack_at *at, enum pack_kind kind, const struct id *id)
{
    j->buf.max = kind == PACK_BLOCK ? LIMIT_BLOCK : PACK_CONTENT_MAX;
    return at->len && pack_read(folder_packs(j->k->c.folder), at, kind, id, &j->buf) == 0;
}

/* A file of the folder that is not as it was needs not be read: it is another version by now. That of a kept one is learned. */
static int open_file(const struct pack_job *j, struct pack_file *f, int *fd)
{
    const struct folder *folder = j->k->c.folder;
    struct statx sx;
    struct stamp now;
    int r = f->name ? folder_kept_open(folder, f->name, fd) : folder_open_file(folder, f->path, f->len, fd);
    if (r < 0)
        return r;
    if (statx(*fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) == 0) {
        stamp_from(&now, &sx);
        if (f->name)
            f->stamp = now;
        if (stamp_same(&now, &f->stamp))
            return 0;
    }
    close(*fd);
    *fd = -1;
    return err_set(ERR_CHANGED, "it has been written to");
}

static int pack_block(struct pack_job *j, struct pack_file *f, uint32_t i, uint64_t off, int *fd, uint8_t *data)
{
    struct block_ref ref = ref_of(f, i);
    int r = 0;
    if (pathset_get(&j->put_set, (const char *)ref.id.b, ID_LEN, NULL) || packed(j, &f->at[i - f->from], PACK_BLOCK, &ref.id))
        return 0;
    if (*fd < 0 && !f->bytes)
        r = open_file(j, f, fd);
    if (r == 0 && !f->bytes)
        r = content_block(*fd, off, ref.len, &ref.id, data);
    if (r < 0)
        return ERR_BAD;
    return put(j, PACK_BLOCK, &ref.id, f->bytes ? f->bytes : data, ref.len);
}

/* With its path and times, so that it can be listed when no version names it any more (pull_found.c). */
static int pack_content(struct pack_job *j, struct pack_file *f, int *fd)
{
    if (packed(j, &f->content, PACK_CONTENT, &f->root))
        return 0;
    AUTO(buf_release) struct buf b = BUF_INIT(PACK_CONTENT_MAX);
    bool looked = !f->name || *fd >= 0 || open_file(j, f, fd) == 0;
    struct pack_origin from = {f->path, looked ? f->len : 0, f->stamp.mode, f->stamp.mtime_ns};
    pack_content_put(&b, f->size, f->refs, f->n, &from);
    return buf_ok(&b) ? put(j, PACK_CONTENT, &f->root, b.data, b.len) : err_set(ERR_FULL, "no memory");
}

static int pack_one(struct pack_job *j, struct pack_file *f, uint8_t *data)
{
    int fd = -1, r = 0;
    uint64_t off = f->off;
    f->next = f->from;
    while (r == 0 && f->next < f->to && !stopped(j) && !full(j)) {
        r = pack_block(j, f, f->next, off, &fd, data);
        off += ref_of(f, f->next).len;
        f->next += r == 0;
    }
    if (r == 0 && f->next == f->n) {
        r = pack_content(j, f, &fd);
        f->whole = r == 0;
    }
    if (fd >= 0)
        close(fd);
    if (r != ERR_BAD)
        return r;
    snprintf(f->broken, sizeof f->broken, "%s", err_text());   /* the fault is the file's: the others go on */
    return 0;
}

static void pack_run(struct job *job)
{
    struct pack_job *j = (struct pack_job *)job;
    AUTOFREE uint8_t *data = xrealloc(NULL, LIMIT_BLOCK, 1);
    j->code = 0;
    for (size_t i = 0; j->code == 0 && i < j->n && !j->k->stop && !full(j); i++)
        j->code = j->v[i].broken[0] ? 0 : pack_one(j, &j->v[i], data);
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

static int record(struct pack_job *j)
{
    struct keeper *k = j->k;
    int r = keeper_begin_packed(k, j->put, j->nput, j->pack, j->pack_size);
    for (size_t i = 0; r == 0 && i < j->n; i++)
        if (j->v[i].whole)
            r = j->record(k, &j->v[i]);
    return keeper_commit(k, r);
}

/* What was done of the rest is found again when it is tried again. */
static size_t note_all(struct pack_job *j, char **names)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n; i++) {
        struct pack_file *f = &j->v[i];
        bool begun = f->next > f->from && f->next < f->n;
        *j->partly = begun ? (struct partly){f->id, f->next} : (struct partly){0};
        j->note(j->k, f);
        if (f->whole && f->name) {
            names[n++] = f->name;
            f->name = NULL;
        }
        if (!f->whole && !f->broken[0])
            break;
    }
    return n;
}

void keeper_pack_free(struct pack_job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        free(j->v[i].name);
        free(j->v[i].path);
        free(j->v[i].bytes);
        free(j->v[i].refs);
        free(j->v[i].at);
    }
    free(j->put);
    pathset_release(&j->put_set);
    buf_release(&j->buf);
    free(j);
}

/* Whatever became of a pack that could not be written: what comes goes into another one. */
static void packing_failed(struct pack_job *j)
{
    j->k->pack = 0;
    if (j->code != ERR_CHANGED && j->code != ERR_EXISTS)
        (void)keeper_fail(j->k, j->text);
}

static void pack_done(struct job *job)
{
    struct pack_job *j = (struct pack_job *)job;
    struct keeper *k = j->k;
    size_t n = 0;
    char **names = xcalloc(JOB_FILES, sizeof *names);
    k->dirty |= j->nput > 0;
    if (j->code == 0 && record(j) < 0) {
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
        packing_failed(j);
    }
    keeper_pack_free(j);
    if (n) {
        keeper_remove(k, names, n, NULL, 0);
        return;
    }
    free(names);
    keeper_job_done(k);
}

/* ---- what is to be packed ---- */

static int load_list(struct keeper *k, struct pack_file *f)
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

static void locate(struct pack_job *j, struct pack_file *f)
{
    struct keeper *k = j->k;
    f->from = f->id == j->partly->id ? j->partly->next : 0;
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

struct pack_job *keeper_pack_new(struct keeper *k)
{
    struct pack_job *j = xcalloc(1, sizeof *j);
    *j = (struct pack_job){.job = {.run = pack_run, .done = pack_done, .slow = true}, .k = k, .code = ERR_CLOSED, .buf = BUF_INIT(LIMIT_BLOCK)};
    return j;
}

bool keeper_pack_add(struct pack_job *j, const struct pack_file *file)
{
    struct pack_file *f = &j->v[j->n++];
    *f = *file;
    if (load_list(j->k, f) == 0)
        locate(j, f);
    else
        snprintf(f->broken, sizeof f->broken, "its block list is not known");
    return j->n == JOB_FILES || j->blocks >= JOB_BLOCKS;
}

static uint64_t bytes_of(const struct pack_job *j)
{
    uint64_t n = 0;
    for (size_t i = 0; i < j->n; i++)
        n += j->v[i].size;
    return n < PACK_SIZE ? n : PACK_SIZE;
}

int keeper_pack_room(const struct pack_job *j) { return folder_room(j->k->c.folder, bytes_of(j)); }

enum step_result keeper_submit(struct keeper *k, struct job *job, uint64_t *pack, uint64_t *size)
{
    if (!k->pack)
        keeper_next_pack(k);
    *pack = k->pack;
    *size = k->pack_size;
    k->running = true;
    pool_submit(k->c.pool, job);
    return STEP_LATER;
}

enum step_result keeper_pack_submit(struct pack_job *j) { return keeper_submit(j->k, &j->job, &j->pack, &j->pack_size); }

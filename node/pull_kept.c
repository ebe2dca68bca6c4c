/* Kept files of which the index does not know what is in them: all of them after an index was lost, otherwise those of a moment in which
 * the user was faster. Each is read once, and is found by its root from then on, whenever a version with that root is known again. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"

enum { JOB_FILES = 32, JOB_BYTES = 8 << 20 };

/* The author of a version has cut it into blocks of one class or another where a file has grown past a border: all of them are tried. */
struct nameless { struct ix_kept row; char *name; struct content_list as[CHUNK_CLASSES]; size_t n; };
struct name_job { struct job job; struct pull *p; size_t n; struct nameless v[JOB_FILES]; };

/* ---- in the worker ---- */

static int read_as(const struct pull *p, struct nameless *k, int fd, int class)
{
    int r = content_read(fd, k->row.size, p->c.gear, class, pool_stopping(p->c.pool), &k->as[k->n]);
    if (r == 0)
        k->n++;
    return r;
}

static int read_open(const struct pull *p, struct nameless *k, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(ERR_IO, "kept/%s: not a file", k->name);
    k->row.size = (uint64_t)st.st_size;
    int natural = chunk_class_of(k->row.size, -1);
    int r = read_as(p, k, fd, -1);
    for (int class = 0; r == 0 && k->row.size > LIMIT_INLINE && class < CHUNK_CLASSES; class++)
        if (class != natural && chunk_class_of(k->row.size, class) == class)
            r = read_as(p, k, fd, class);
    if (r == 0 && st.st_nlink && folder_quiet(fd) == ERR_AGAIN)    /* without a name nobody else has it */
        r = err_set(ERR_AGAIN, "kept/%s: somebody has it open for writing", k->name);
    return r;
}

static void forget(struct nameless *k)
{
    while (k->n)
        content_list_release(&k->as[--k->n]);
}

static void name_run(struct job *job)
{
    struct name_job *j = (struct name_job *)job;
    for (size_t i = 0; i < j->n; i++) {
        int fd;
        int r = folder_kept_open(j->p->c.folder, j->v[i].name, &fd);
        if (r == 0) {
            r = read_open(j->p, &j->v[i], fd);
            close(fd);
        }
        if (r < 0)
            forget(&j->v[i]);           /* it stays nameless, and is tried again at the next start */
    }
}

/* ---- back in the loop ---- */

static int first_keep(void *arg, const struct ix_want *w)
{
    *(struct ix_want *)arg = *w;
    return w->role == WANT_KEEP;
}

int kept_found(struct pull *p, const struct id *root)
{
    struct ix_want w;
    int r;
    while ((r = index_want_by_root(p->c.index, root, first_keep, &w)) == 1)
        if ((r = index_want_del(p->c.index, w.entry)) < 0)
            return r;
    if (r == 0)
        pathset_put(&p->kept, (const char *)root->b, ID_LEN, 0);
    return r;
}

void kept_tell(struct pull *p)
{
    for (struct item *it = p->kept.n ? p->all.head : NULL; it; it = it->next_item) {
        if (it->cancelled || it->ent.kind != KIND_FILE || !pathset_get(&p->kept, (const char *)it->ent.content.root.b, ID_LEN, NULL))
            continue;
        it->tried_copy = false;
        if (it->refs == it->late && (it->state == ITEM_LIST || it->state == ITEM_BLOCKS))
            item_fail(p, it, 0);
    }
    pathset_release(&p->kept);
}

static int record_as(struct pull *p, const struct nameless *k, const struct content_list *c)
{
    struct ix_kept row = k->row;
    row.root = c->root;
    row.name = k->name;
    int r = index_kept_put(p->c.index, &row);
    if (r == 0 && c->refs)
        r = index_tree_put(p->c.index, &c->root, c->refs, c->nblocks);
    return r < 0 ? r : kept_found(p, &c->root);
}

static int record(struct name_job *j)
{
    struct pull *p = j->p;
    int r = engine_begin(p->c.engine);
    for (size_t i = 0; r == 0 && i < j->n; i++) {
        const struct nameless *k = &j->v[i];
        if (k->n)
            r = index_kept_del(p->c.index, k->row.id);
        for (size_t c = 0; r == 0 && c < k->n; c++)
            r = record_as(p, k, &k->as[c]);
    }
    kept_tell(p);
    if (r == 0)
        return engine_commit(p->c.engine, loop_wall());
    if (index_in_tx(p->c.index))
        engine_rollback(p->c.engine);
    return r;
}

static void name_done(struct job *job)
{
    struct name_job *j = (struct name_job *)job;
    struct pull *p = j->p;
    p->naming = false;
    if (record(j) < 0)
        log_warn("kept files are still without a version why=\"%s\"", err_text());
    else
        p->c.ops.committed(p->c.ops.arg);
    for (size_t i = 0; i < j->n; i++) {
        forget(&j->v[i]);
        free(j->v[i].name);
    }
    free(j);
    pull_wake(p, 0);
}

/* ---- the next ones ---- */

struct choice { struct name_job *job; uint64_t bytes; };

static uint64_t size_of(const struct pull *p, const char *name)
{
    struct stat st;
    int fd;
    if (folder_kept_open(p->c.folder, name, &fd) < 0)
        return 0;
    uint64_t size = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    close(fd);
    return size;
}

static int take(void *arg, const struct ix_kept *row)
{
    struct choice *c = arg;
    struct name_job *j = c->job;
    j->v[j->n++] = (struct nameless){.row = *row, .name = xstrdup(row->name)};
    j->p->named = row->id;
    c->bytes += size_of(j->p, row->name);
    return j->n == JOB_FILES || c->bytes >= JOB_BYTES;
}

void kept_pump(struct pull *p)
{
    if (!p->nameless || p->naming)
        return;
    struct choice c = {.job = xcalloc(1, sizeof *c.job)};
    *c.job = (struct name_job){.job = {.run = name_run, .done = name_done, .slow = true}, .p = p};
    int r = index_kept_nameless(p->c.index, p->named, take, &c);
    if (r < 0)
        log_warn("index: %s", err_text());
    if (c.job->n == 0) {
        p->nameless = false;
        free(c.job);
        return;
    }
    p->naming = true;
    pool_submit(p->c.pool, &c.job->job);
}

/* Kept files and packed contents that no version names: an index was lost, and nobody else had heard of what was in it. Once everything
 * else is known, each becomes a version of the path that is noted for it (store/folder_paths.c; store/packs.h, origin), one that has ended
 * already. On a device that may not write it is put on record with that path: there it is found beside the versions (api_kept.c).
 *   pull_find -> which have no version -> their paths -> read, a few at a time -> engine_found, commit */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"
#include "node/serve.h"
#include "store/packs.h"

enum { JOB_FILES = 32 };

struct found_file { struct lost lost; struct place_of place; struct pack_at record; struct stamp st; struct content_list content; bool read; };
struct found_job { struct job job; struct pull *p; size_t n; struct found_file v[JOB_FILES]; };

static void lost_release(struct lost *l)
{
    free(l->name);
    free(l->path);
}

void found_release(struct pull *p)
{
    while (p->nlost)
        lost_release(&p->lost[--p->nlost]);
    free(p->lost);
    p->lost = NULL;
}

/* ---- which ---- */

struct search { struct pull *p; struct pathset names; };

static int any_entry(void *arg, const struct ix_entry *row) { (void)arg, (void)row; return 1; }
static int any_version(void *arg, const struct ix_kept *row)
{
    const struct pull *p = arg;
    return index_entry_by_root(p->c.index, &row->root, any_entry, NULL);
}

/* It may be cut in several ways: one that a version has is enough. */
static int nameless(void *arg, const struct ix_kept *row)
{
    struct search *s = arg;
    size_t len = strlen(row->name);
    if (row->path || pathset_get(&s->names, row->name, len, NULL))
        return 0;
    int r = index_kept_named(s->p->c.index, row->name, any_version, s->p);
    if (r == 0)
        pathset_put(&s->names, row->name, len, 0);
    return r < 0 ? r : 0;
}

static int noted(void *arg, const char *name, const char *path, size_t len)
{
    struct search *s = arg;
    struct pull *p = s->p;
    size_t n = strlen(name);
    if (!pathset_get(&s->names, name, n, NULL))
        return 0;
    pathset_del(&s->names, name, n);
    p->lost = xrealloc(p->lost, p->nlost + 1, sizeof *p->lost);
    struct lost *l = &p->lost[p->nlost++];
    *l = (struct lost){.name = xstrdup(name), .path = xcalloc(len + 1, 1), .len = len};
    memcpy(l->path, path, len);
    return 0;
}

static int packed_nameless(void *arg, const struct ix_kept *row)
{
    struct pull *p = arg;
    int r = row->path ? 1 : index_entry_by_root(p->c.index, &row->root, any_entry, NULL);
    if (r != 0)
        return r < 0 ? r : 0;
    p->lost = xrealloc(p->lost, p->nlost + 1, sizeof *p->lost);
    p->lost[p->nlost++] = (struct lost){.name = xstrdup(""), .root = row->root};
    return 0;
}

static int look_for(struct pull *p)
{
    struct search s = {.p = p};
    folder_kept_tidy(p->c.folder);
    int r = index_kept_files(p->c.index, 0, nameless, &s);
    if (r == 0 && s.names.n)
        r = folder_kept_paths(p->c.folder, noted, &s);
    if (r == 0 && s.names.n)
        log_info("kept files that no version names, of unknown path files=%zu", s.names.n);
    pathset_release(&s.names);
    if (r == 0)
        r = index_kept_in_packs(p->c.index, 0, packed_nameless, p);
    return r;
}

/* ---- in the worker ---- */

static int read_content(const struct pull *p, struct found_file *f, int fd)
{
    return content_read(fd, f->st.size, p->c.gear, -1, pool_stopping(p->c.pool), &f->content);
}

/* Of an old pack the path is not known. */
static int read_origin(const struct pull *p, struct found_file *f)
{
    AUTO(buf_release) struct buf b = BUF_INIT(PACK_CONTENT_MAX);
    struct pack_content c;
    int r = pack_read(folder_packs(p->c.folder), &f->record, PACK_CONTENT, &f->lost.root, &b);
    if (r == 0)
        r = pack_content_get(&f->lost.root, b.data, b.len, &c);
    if (r == 0 && c.origin.len == 0)
        r = err_set(ERR_NOTFOUND, "a packed content of unknown path");
    if (r < 0)
        return r;
    f->lost.path = xcalloc(c.origin.len + 1, 1);
    f->lost.len = c.origin.len;
    memcpy(f->lost.path, c.origin.path, c.origin.len);
    f->st = (struct stamp){.kind = STAMP_FILE, .mode = c.origin.mode, .size = c.size, .mtime_ns = c.origin.mtime_ns};
    return 0;
}

static int read_packed(const struct pull *p, struct found_file *f)
{
    int fd;
    int r = f->place.block ? read_origin(p, f) : ERR_NOTFOUND;
    if (r == 0)
        r = serve_open(p->c.folder, &f->place, &fd);
    if (r < 0)
        return r;
    r = read_content(p, f, fd);
    close(fd);
    return r;
}

static int read_file(const struct pull *p, struct found_file *f)
{
    struct statx sx;
    int fd;
    if (!*f->lost.name)
        return read_packed(p, f);
    int r = folder_kept_open(p->c.folder, f->lost.name, &fd);
    if (r < 0)
        return r;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) < 0 || !S_ISREG(sx.stx_mode))
        r = err_set(ERR_IO, "kept/%s: not a file", f->lost.name);
    if (r == 0) {
        stamp_from(&f->st, &sx);
        r = read_content(p, f, fd);
    }
    close(fd);
    return r;
}

static void found_run(struct job *job)
{
    struct found_job *j = (struct found_job *)job;
    for (size_t i = 0; i < j->n; i++)
        j->v[i].read = read_file(j->p, &j->v[i]) == 0;   /* else it stays as it is, and is tried again at the next start */
}

/* ---- back in the loop ---- */

struct row_of { const char *name; struct ix_kept row; };

static int is_row(void *arg, const struct ix_kept *row)
{
    struct row_of *o = arg;
    if (strcmp(row->name, o->name) != 0)
        return 0;
    o->row = *row;
    o->row.name = o->name;
    return 1;
}

static int give_path(struct pull *p, const struct found_file *f, struct ix_kept *row)
{
    int r = index_path_id(p->c.index, f->lost.path, f->lost.len, true, &row->path);
    if (r == 0)
        r = index_kept_del(p->c.index, row->id);
    return r == 0 ? index_kept_put(p->c.index, row) : r;
}

/* Of the row that said only what is in the file, one is made that says of which version. */
static int record_one(struct pull *p, const struct found_file *f, uint64_t wall)
{
    struct row_of row = {.name = f->lost.name};
    struct ix_entry known;
    int64_t entry;
    if (index_kept_by_root(p->c.index, &f->content.root, is_row, &row) != 1)
        return 0;                       /* it is not what it was, or gone */
    int r = index_entry_by_root(p->c.index, &f->content.root, any_entry, NULL);
    if (r == 0)
        r = engine_found(p->c.engine, f->lost.path, f->lost.len, &f->st, &f->content, &entry, wall);
    else
        return r < 0 ? r : 0;           /* the same content as one before it */
    if (r == 0)
        return give_path(p, f, &row.row);
    if (r == 1)
        r = index_entry_get(p->c.index, entry, &known, NULL);
    if (r == 0)
        r = index_kept_del(p->c.index, row.row.id);
    return r < 0 ? r : engine_kept(p->c.engine, known.path, entry, &f->content.root, f->content.size, f->lost.name, wall);
}

static int record(struct found_job *j)
{
    struct pull *p = j->p;
    uint64_t wall = loop_wall();
    int r = engine_begin(p->c.engine);
    for (size_t i = 0; r == 0 && i < j->n; i++)
        if (j->v[i].read)
            r = record_one(p, &j->v[i], wall);
    if (r == 0)
        return engine_commit(p->c.engine, wall);
    if (index_in_tx(p->c.index))
        engine_rollback(p->c.engine);
    return r;
}

static void found_done(struct job *job)
{
    struct found_job *j = (struct found_job *)job;
    struct pull *p = j->p;
    p->finding = false;
    if (record(j) < 0)
        log_warn("kept files are still of no version why=\"%s\"", err_text());
    else
        p->c.ops.committed(p->c.ops.arg);
    for (size_t i = 0; i < j->n; i++) {
        if (j->v[i].read)
            content_list_release(&j->v[i].content);
        place_of_release(&j->v[i].place);
        lost_release(&j->v[i].lost);
    }
    free(j);
    pull_wake(p, 0);
}

/* ---- the next ones ---- */

/* Where it cannot be found it is not read. */
static void find_packed(struct pull *p, struct found_file *f)
{
    struct ix_piece piece;
    if (index_piece_get(p->c.index, PACK_CONTENT, &f->lost.root, &piece) < 0 || serve_find_kept(p->c.index, &f->lost.root, &f->place) < 0)
        return;
    f->record = piece.at;
    if (!f->place.packed || serve_gather(p->c.index, &f->place) < 0)
        place_of_release(&f->place);
}

static void read_some(struct pull *p)
{
    struct found_job *j = xcalloc(1, sizeof *j);
    j->job = (struct job){.run = found_run, .done = found_done, .slow = true};
    j->p = p;
    while (p->nlost && j->n < JOB_FILES) {
        struct found_file *f = &j->v[j->n++];
        f->lost = p->lost[--p->nlost];
        if (!*f->lost.name)
            find_packed(p, f);
    }
    p->finding = true;
    pool_submit(p->c.pool, &j->job);
}

void found_pump(struct pull *p)
{
    if (!p->find || p->finding || p->nameless || p->naming)
        return;
    if (!p->looked && look_for(p) < 0)
        log_warn("kept files are not looked through why=\"%s\"", err_text());
    p->looked = true;
    if (p->nlost)
        read_some(p);
    else
        p->find = false;
}

void pull_find(struct pull *p)
{
    p->find = true;
    p->looked = false;
    pull_wake(p, 0);
}

/* Batches: items that are READY are put into the folder together, with two flushes, and recorded in one transaction. One batch is under
 * way at a time; what becomes ready meanwhile makes the next one, so batches grow with the load by themselves. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"
#include "proto/path.h"
#include "store/database.h"
#include "store/sys.h"

enum { BATCH_MAX = 1000, CHANGED_MS = 300, CHANGED_TRIES = 30, CHANGED_LONG_MS = 4000, FULL_MS = 2000, NOT_EMPTY_MS = 200, NOT_EMPTY_TRIES = 5, CLOCK_BACK_MS = 2000,
       NAME_TRIES = 5 };

struct place { struct item *it; struct ix_local local; bool have_local; struct id old_root; uint64_t old_size; char tmp[TMP_NAME], kept[TMP_NAME]; struct database_moved moved; int code; };
struct batch { struct job job; struct pull *p; size_t n; struct place *v; struct change *c; int code; char text[200]; };

/* ---- building a batch ---- */

/* Directories come before what is in them, removals last, of directories deepest first. */
static int rank(const struct item *it)
{
    if (it->ent.kind != KIND_TOMBSTONE && it->want.role != WANT_HIDE)
        return it->ent.kind == KIND_DIR ? 0 : 1;
    return 2;
}
static int by_order(const void *a, const void *b)
{
    const struct item *x = ((const struct place *)a)->it, *y = ((const struct place *)b)->it;
    if (rank(x) != rank(y))
        return rank(x) - rank(y);
    int r = strcmp(x->path, y->path);
    return rank(x) == 2 ? -r : r;
}

static void find_local(struct pull *p, struct place *v)
{
    struct ix_entry row;
    v->have_local = index_local_get(p->c.index, v->it->want.path, &v->local) == 0;
    if (v->have_local && index_entry_get(p->c.index, v->local.entry, &row, NULL) == 0) {
        v->old_root = row.root;
        v->old_size = row.size;
    }
}

static enum change_op op_of(const struct place *v)
{
    const struct item *it = v->it;
    if (it->want.role == WANT_HIDE)
        return CHANGE_REMOVE;
    switch (it->ent.kind) {
    case KIND_DIR:
        return CHANGE_DIR;
    case KIND_SYMLINK:
        return CHANGE_SYMLINK;
    case KIND_TOMBSTONE:
        return CHANGE_REMOVE;
    default:
        break;
    }
    if (it->way == WAY_MOVE)
        return CHANGE_MOVE;
    bool same = v->have_local && v->local.stamp.kind == STAMP_FILE && !v->local.apart && id_eq(&v->old_root, &it->ent.content.root) &&
                v->old_size == it->ent.size;
    return same && it->way == WAY_PLAIN ? CHANGE_META : CHANGE_FILE;
}

/* The version that will be displaced (or kept), the one that displaces it, and the time: ids begin anew in a new index, but what an old
 * one has put into kept/ is still there. */
static void name_kept(struct place *v)
{
    uint64_t was = (uint64_t)v->local.entry, new = (uint64_t)v->it->want.entry, now = loop_wall();
    if (v->it->want.role == WANT_KEEP)
        snprintf(v->kept, sizeof v->kept, "k-%" PRIx64 "-%" PRIx64, new, now);
    else
        snprintf(v->kept, sizeof v->kept, "k-%" PRIx64 "-%" PRIx64 "-%" PRIx64, was, new, now);
}

/* Its content is in its entry, and is not moved here from another path. */
static bool is_written(const struct item *it)
{
    return it->ent.kind == KIND_FILE && it->ent.content.type == CONTENT_INLINE && it->way != WAY_MOVE;
}

static void describe(struct pull *p, struct place *v, struct change *c)
{
    struct item *it = v->it;
    find_local(p, v);
    const struct content *content = &it->ent.content;
    if (is_written(it)) {
        snprintf(it->tmp, sizeof it->tmp, "f-%llx", (unsigned long long)it->want.entry);
        it->plain = !database_begins(content->inline_bytes.p, content->inline_bytes.len);
    }
    snprintf(v->tmp, sizeof v->tmp, "%s", it->tmp);
    name_kept(v);
    *c = (struct change){.op = op_of(v), .path = it->path, .len = it->len, .kept = v->kept, .tmp = v->tmp,
                         .mode = engine_disk_mode(p->c.engine, &it->ent), .mtime_ns = it->ent.mtime_ns};
    c->plain = it->plain;
    if (v->have_local)
        c->expected = v->local.stamp;
    if (it->ent.kind == KIND_SYMLINK)
        c->target = it->ent.content.inline_bytes;
    if (c->op == CHANGE_MOVE) {
        c->from = it->from;
        c->fromlen = it->fromlen;
        c->from_expected = it->from_stamp;
        pathset_put(&p->busy, it->from, it->fromlen, 0);
    }
    pathset_put(&p->busy, it->path, it->len, 0);
}

/* ---- in the worker ---- */

static int write_inline(const struct folder *f, const struct place *v, const struct change *c)
{
    const struct bytes *b = &v->it->ent.content.inline_bytes;
    int fd;
    int r = folder_tmp_create(f, v->tmp, b->len, &fd);
    if (r < 0)
        return r;
    if (sys->pwrite(fd, b->p, b->len, 0) != (ssize_t)b->len)
        r = err_set(ERR_FULL, "%s: writing a file: %m", folder_path(f));
    folder_tmp_dress(fd, c->mode, c->mtime_ns);
    close(fd);
    return r;
}

static int stage(const struct folder *f, const struct place *v, const struct change *c)
{
    return is_written(v->it) ? write_inline(f, v, c) : 0;
}

/* What lies there may have been edited in the very moment in which it was looked at: to be displaced it must have been read again, or the
 * edit would pass for the version before it. Where that will not be soon (no right to read it, a clock that was set back) it is as settled
 * as can be. */
static int unsettled(const struct folder *f, const struct place *v, const struct change *c)
{
    bool displaces = v->have_local && !v->local.settled && c->op != CHANGE_META && c->expected.kind == STAMP_FILE;
    int fd;
    if (!displaces || c->expected.ctime_ns / 1000000 > (int64_t)loop_wall() + CLOCK_BACK_MS || folder_open_file(f, c->path, c->len, &fd) < 0)
        return 0;                       /* folder_apply says what is the matter */
    close(fd);
    return err_set(ERR_CHANGED, "it was written a moment ago, and is to be read again first");
}

/* A database that lies there, or is to. */
static int make_way(const struct pull *p, struct place *v, struct change *c)
{
    bool comes = c->op == CHANGE_FILE, becomes_one = v->it->ent.size >= DATABASE_LEAST && !(comes && c->plain);
    bool large = c->expected.size >= DATABASE_LEAST || becomes_one;
    return c->op == CHANGE_META || !large ? 0 : database_make_way(p->c.folder, c->path, c->len, &c->expected, comes ? v->tmp : NULL, v->kept,
                                                                  pool_stopping(p->c.pool), &v->moved);
}

static int make_ready(const struct pull *p, struct place *v, struct change *c)
{
    const struct folder *f = p->c.folder;
    int r = stage(f, v, c);
    if (r == 0 && v->it->want.role == WANT_KEEP) {
        folder_kept_note(f, v->kept, c->path, c->len);
        return folder_kept_adopt(f, v->tmp, v->kept);
    }
    if (r == 0)
        r = unsettled(f, v, c);
    return r == 0 ? make_way(p, v, c) : r;
}

static void batch_run(struct job *job)
{
    struct batch *b = (struct batch *)job;
    const struct folder *f = b->p->c.folder;
    size_t n = 0;
    b->code = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct place *v = &b->v[i];
        v->code = make_ready(b->p, v, &b->c[i]);
        if (v->code < 0)
            snprintf(b->c[i].text, sizeof b->c[i].text, "%s", err_text());
    }
    /* folder_apply takes an array without holes: those that are to be applied are put in front, in order. */
    struct change *dense = xcalloc(b->n + 1, sizeof *dense);
    for (size_t i = 0; i < b->n; i++)
        if (b->v[i].code == 0 && b->v[i].it->want.role != WANT_KEEP)
            dense[n++] = b->c[i];
    if (n)
        b->code = folder_apply(f, dense, n);
    if (b->code < 0)
        snprintf(b->text, sizeof b->text, "%s", err_text());
    n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->v[i].code == 0 && b->v[i].it->want.role != WANT_KEEP) {
            b->c[i] = dense[n++];
            b->v[i].code = b->c[i].code;
        }
    free(dense);
}

/* ---- recording ---- */

static int record_displaced(struct pull *p, const struct place *v, const struct change *c, uint64_t wall)
{
    if (!c->was_kept)
        return 0;
    bool known = v->have_local && v->local.entry && !v->local.apart && v->code == 0;
    p->nameless |= !known;
    int r = engine_kept(p->c.engine, v->it->want.path, known ? v->local.entry : 0, known ? &v->old_root : &ID_NONE,
                        known ? v->old_size : c->expected.size, v->kept, wall);
    return r == 0 && known ? kept_found(p, &v->old_root) : r;
}

/* Where a file stayed and was given another time, an edit made in that very moment shows only in its content: to be looked at again. So
 * is one that was to be looked at again before. */
static bool settled(const struct place *v, const struct change *c)
{
    if (v->it->ent.kind != KIND_FILE || (c->op != CHANGE_MOVE && c->op != CHANGE_META))
        return true;
    const struct stamp *before = c->op == CHANGE_MOVE ? &c->from_expected : &c->expected;
    bool was = c->op == CHANGE_MOVE ? v->it->from_settled : v->local.settled;
    return was && before->mtime_ns == v->it->ent.mtime_ns;
}

/* Parts of a database: of no version, but the user's. */
static int record_moved(struct pull *p, const struct place *v, uint64_t wall)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && i < v->moved.n; i++)
        r = engine_kept(p->c.engine, v->it->want.path, KEPT_PART, &ID_NONE, 0, v->moved.name[i], wall);
    p->nameless |= v->moved.n > 0;
    return r;
}

static int record_one(struct pull *p, struct place *v, const struct change *c, uint64_t wall)
{
    struct item *it = v->it;
    int r = record_displaced(p, v, c, wall);
    if (r == 0)
        r = record_moved(p, v, wall);
    if (r < 0 || v->code < 0)
        return r;
    if (it->want.role == WANT_KEEP)
        return engine_kept(p->c.engine, it->want.path, it->want.entry, &it->want.root, it->want.size, v->kept, wall);
    r = engine_installed(p->c.engine, it->want.entry, &c->now, settled(v, c));
    if (r == 0 && it->way == WAY_MOVE)
        r = engine_installed(p->c.engine, it->from_entry, &(struct stamp){0}, true);
    return r;
}

/* A directory that is to go but is not empty: what is in it may be on its way out; if not, it stays as long as that is there. */
static bool stays(const struct place *v)
{
    bool goes = v->it->ent.kind == KIND_TOMBSTONE || v->it->want.role == WANT_HIDE;
    return v->code == ERR_EXISTS && goes && v->have_local && v->local.stamp.kind == STAMP_DIR &&
           v->it->failures >= NOT_EMPTY_TRIES;
}

/* Where something lives there must be a directory: if a file has won its path (or that of a directory above it), neither could ever be
 * put in place. What only is on its way out or in is given time. */
static int shelter(struct pull *p, const struct place *v, uint64_t wall)
{
    const struct item *it = v->it;
    if (v->code == 0 || it->want.role != WANT_INSTALL || it->ent.kind == KIND_TOMBSTONE || it->failures < NOT_EMPTY_TRIES)
        return 0;
    int r = 0;
    if (v->have_local && v->local.stamp.kind == STAMP_DIR)
        r = engine_shelter(p->c.engine, it->path, it->len, v->local.stamp.mode, wall);
    for (size_t n = it->len; r >= 0 && (n = path_parent(it->path, n)) > 0; )
        r = engine_shelter(p->c.engine, it->path, n, 0755, wall);
    return r < 0 ? r : 0;
}

/* The file system takes the name for that of another file. A rename from that one may be on its way, so it is given time. */
static int clash(struct pull *p, const struct place *v)
{
    const struct item *it = v->it;
    AUTO(buf_release) struct buf other = BUF_INIT(LIMIT_PATH);
    size_t taken;
    if (v->code != ERR_DENIED || it->want.role != WANT_INSTALL || it->failures < NAME_TRIES ||
        folder_taken_by(p->c.folder, it->path, it->len, &taken, &other) < 0)
        return 0;
    return engine_clash(p->c.engine, it->want.entry, &(struct bytes){(const uint8_t *)it->path, taken}, &(struct bytes){other.data, other.len});
}

static int record(struct batch *b)
{
    struct pull *p = b->p;
    uint64_t wall = loop_wall();
    int r = engine_begin(p->c.engine);
    for (size_t i = 0; r == 0 && i < b->n; i++) {
        if (stays(&b->v[i])) {
            b->v[i].code = 0;
            b->c[i].now = b->v[i].local.stamp;
        }
        r = record_one(p, &b->v[i], &b->c[i], wall);
        if (r == 0)
            r = shelter(p, &b->v[i], wall);
        if (r == 0)
            r = clash(p, &b->v[i]);
    }
    kept_tell(p);
    if (r == 0)
        return engine_commit(p->c.engine, wall);
    if (index_in_tx(p->c.index))
        engine_rollback(p->c.engine);
    return r;
}

static void next_step(struct pull *p, const struct place *v, const struct change *c)
{
    struct item *it = v->it;
    if (v->code == 0) {
        /* The user may have changed or removed it already, in a directory on which there is no watch yet. */
        p->c.ops.look(p->c.ops.arg, it->path, it->len);
        it->placed = c->op == CHANGE_FILE;   /* its download has become the file */
        item_done(p, it);
        return;
    }
    log_debug("not placed path=%s why=\"%s\"", path_show(it->path, it->len), c->text);
    if (it->way == WAY_MOVE)
        it->tried_move = true;
    item_release_root(p, it);
    switch (v->code) {
    case ERR_EXISTS:
        item_fail(p, it, NOT_EMPTY_MS);
        break;
    case ERR_CHANGED:
        p->c.ops.look(p->c.ops.arg, it->path, it->len);
        it->tried_copy = false;                 /* the copy of before is used up */
        item_fail(p, it, it->failures < CHANGED_TRIES ? CHANGED_MS : CHANGED_LONG_MS);
        break;
    case ERR_DENIED:                            /* the name: see clash */
        it->tried_copy = false;
        item_fail(p, it, NOT_EMPTY_MS);
        break;
    default:
        it->troubled = true;
        pull_set_failed(p, c->text);
        item_fail(p, it, FULL_MS);
    }
}

static void batch_free(struct batch *b)
{
    free(b->v);
    free(b->c);
    free(b);
}

/* After a flush that failed the next one says nothing of what this one could not write, though it still can be read: it is got anew. That
 * may be some of any file on this disk, also of what has come meanwhile for later batches, or has been left for later. */
static void distrust_all(struct pull *p)
{
    downloads_remove(p);
    for (struct item *it = p->all.head; it; it = it->next_item)
        if (it->tmp[0] && !it->placed && it->state != ITEM_DELAYED) {
            it->unsafe = true;
            it->tried_copy = false;
        }
}

static bool is_safe(struct pull *p, struct item *it)
{
    if (it->unsafe)
        item_fail(p, it, 0);
    return !it->unsafe;
}

static void batch_done(struct job *job)
{
    struct batch *b = (struct batch *)job;
    struct pull *p = b->p;
    int r = b->code < 0 ? b->code : record(b);
    if (r < 0) {
        pull_set_failed(p, b->code < 0 ? b->text : err_text());
        log_error("batch not recorded why=\"%s\"", b->code < 0 ? b->text : err_text());
    }
    p->placing = false;
    if (b->code < 0 && b->code != ERR_CLOSED)
        distrust_all(p);
    for (size_t i = 0; i < b->n; i++) {
        struct item *it = b->v[i].it;
        /* What was placed but not recorded shows itself as a changed file: the next look adopts it. */
        if (r < 0) {
            p->c.ops.look(p->c.ops.arg, it->path, it->len);
            it->troubled = true;
            item_fail(p, it, FULL_MS);
        } else if (!it->cancelled) {
            next_step(p, &b->v[i], &b->c[i]);
        }
        item_unref(p, it);
    }
    pathset_release(&p->busy);
    batch_free(b);
    if (r == 0)
        p->c.ops.committed(p->c.ops.arg);
    pull_wake(p, 0);
}

/* A newer version may have come since its content became ready, or the user may have made one. A loser may have become the winner, too,
 * or the other way round: then it goes another way. */
static bool still_wanted(struct pull *p, struct item *it)
{
    struct ix_want now;
    if (index_want_get(p->c.index, it->want.entry, &now) < 0) {
        item_done(p, it);
        return false;
    }
    if (now.role == it->want.role)
        return true;
    it->want = now;
    it->tried_move = it->tried_copy = false;
    item_fail(p, it, 0);
    return false;
}

/* The items that are ready, in the order in which they are put in place. */
static void gather(struct batch *b, size_t max)
{
    struct pull *p = b->p;
    for (struct item *it = p->all.head, *next; it && b->n < max; it = next) {
        next = it->next_item;
        if (it->state != ITEM_READY || !is_safe(p, it) || !still_wanted(p, it) || !item_allowed(p, it))
            continue;
        item_state(p, it, ITEM_PLACING);
        it->refs++;
        b->v[b->n++].it = it;
    }
    qsort(b->v, b->n, sizeof *b->v, by_order);
}

void place_pump(struct pull *p)
{
    if (p->placing || !p->ready)
        return;
    struct batch *b = xcalloc(1, sizeof *b);
    *b = (struct batch){.job = {.run = batch_run, .done = batch_done}, .p = p, .code = ERR_CLOSED};
    size_t max = p->ready < BATCH_MAX ? p->ready : BATCH_MAX;
    b->v = xcalloc(max, sizeof *b->v);
    b->c = xcalloc(max, sizeof *b->c);
    bool reading = index_read_begin(p->c.index) == 0;
    gather(b, max);
    for (size_t i = 0; i < b->n; i++)
        describe(p, &b->v[i], &b->c[i]);
    if (reading)
        index_read_end(p->c.index);
    if (b->n == 0) {
        batch_free(b);
        return;
    }
    p->placing = true;
    pool_submit(p->c.pool, &b->job);
}

/* The job that looks: walks the folder or stats single paths, in a worker, and reports in parts. */
#include <stdlib.h>
#include <string.h>

#include "node/scan_priv.h"
#include "proto/path.h"

enum { PART_SIGHTS = 2048 };

static void part_done(struct job *j)
{
    struct sights *p = (struct sights *)j;
    scan_on_sights(p->scan, p);
    free(p->v);
    free(p->bytes);
    free(p);
}

static struct sights *part_of(struct look *l)
{
    if (!l->part) {
        l->part = xcalloc(1, sizeof *l->part);
        *l->part = (struct sights){.job = {.done = part_done}, .scan = l->scan};
        l->part->v = xcalloc(PART_SIGHTS, sizeof *l->part->v);
    }
    return l->part;
}

static void send_part(struct look *l)
{
    if (!l->part)
        return;
    struct job *j = &l->part->job;
    l->part = NULL;
    pool_part(l->scan->c.pool, j);
}

static size_t put_bytes(struct sights *p, const void *data, size_t len)
{
    if (p->used + len >= p->room) {
        p->room = 2 * (p->used + len) + 4096;
        p->bytes = xrealloc(p->bytes, p->room, 1);
    }
    memcpy(p->bytes + p->used, data, len);
    p->used += len;
    return p->used - len;
}

static void report(struct look *l, struct sight v, const char *path, size_t len, const void *target, size_t targetlen)
{
    struct sights *p = part_of(l);
    v.path = put_bytes(p, path, len);
    v.len = len;
    v.target = put_bytes(p, target ? target : "", targetlen);
    v.targetlen = targetlen;
    p->v[p->n++] = v;
    if (p->n == PART_SIGHTS)
        send_part(l);
}

static void on_trouble(void *arg, const char *path, size_t len)
{
    report(arg, (struct sight){.kind = SIGHT_TROUBLE, .wd = -1}, path, len, err_text(), strlen(err_text()));
}

/* Watched before it is read, so that nothing that appears in between is missed. */
static int watch_dir(struct look *l, const char *path, size_t len)
{
    int wd = watch_add(l->scan->watch, path, len);
    if (wd == ERR_FULL && !l->watch_full) {
        l->watch_full = true;
        strncpy(l->watch_text, err_text(), sizeof l->watch_text - 1);
    }
    return wd;
}

/* A file beside a database: whatever happened to it happened to the database. */
static void report_part(struct look *l, const char *path, size_t len, const struct stamp *st)
{
    const struct folder *f = l->scan->c.folder;
    size_t n = database_base(path, len);
    struct stamp whole;
    report(l, (struct sight){.kind = SIGHT_PART, .st = *st, .wd = -1}, path, len, NULL, 0);
    if (ignore_match_deep(l->scan->ignore, path, n, false))
        return;
    int r = folder_stat(f, path, n, &whole);
    if (r == 0 && whole.kind == STAMP_FILE)
        r = database_whole(f, path, n, &whole);
    if (r < 0)
        on_trouble(l, path, n);
    else if (whole.kind == STAMP_FILE)
        report(l, (struct sight){.kind = SIGHT_WHOLE, .st = whole, .wd = -1}, path, n, NULL, 0);
}

static int on_entry(void *arg, const char *path, size_t len, const struct stamp *st)
{
    struct look *l = arg;
    if (*pool_stopping(l->scan->c.pool))
        return err_set(ERR_CLOSED, "scan: stopped");
    if (ignore_match(l->scan->ignore, path, len, st->kind == STAMP_DIR))
        return WALK_SKIP;
    if (st->kind == STAMP_FILE && database_part(l->scan->c.folder, path, len)) {
        report_part(l, path, len, st);
        return WALK_SKIP;
    }
    struct sight v = {.st = *st, .wd = -1};
    AUTO(buf_release) struct buf target = BUF_INIT(LIMIT_PATH + 1);
    if (st->kind == STAMP_SYMLINK && folder_readlink(l->scan->c.folder, path, len, &target) < 0) {
        on_trouble(l, path, len);
        return WALK_SKIP;
    }
    if (st->kind == STAMP_DIR)
        v.wd = watch_dir(l, path, len);
    report(l, v, path, len, target.data, target.len);
    return WALK_DESCEND;
}

static int walk(struct look *l, const char *path, size_t len)
{
    struct walk_ops ops = {.entry = on_entry, .trouble = on_trouble, .arg = l};
    return folder_walk(l->scan->c.folder, path, len, &ops);
}

int look_stat(const struct folder *f, struct folder_near *near, const char *path, size_t len, struct stamp *out)
{
    int r = folder_stat_near(f, near, path, len, out);
    for (size_t n = len; r < 0 && (n = path_parent(path, n)) > 0; ) {
        struct stamp up;
        if (folder_stat(f, path, n, &up) < 0)
            continue;
        *out = (struct stamp){.kind = STAMP_ABSENT};
        return up.kind == STAMP_SYMLINK ? 0 : r;
    }
    return r;
}

static void look_at(struct look *l, struct folder_near *near, const struct hint *h)
{
    struct stamp st;
    if (look_stat(l->scan->c.folder, near, h->path, h->len, &st) < 0) {
        on_trouble(l, h->path, h->len);
        return;
    }
    if (st.kind == STAMP_ABSENT) {
        if (database_part(l->scan->c.folder, h->path, h->len))
            report_part(l, h->path, h->len, &st);
        else
            report(l, (struct sight){.st = st, .wd = -1}, h->path, h->len, NULL, 0);
        return;
    }
    if (ignore_match_deep(l->scan->ignore, h->path, h->len, st.kind == STAMP_DIR))
        return;
    if (on_entry(l, h->path, h->len, &st) == WALK_DESCEND && st.kind == STAMP_DIR && h->deep && walk(l, h->path, h->len) < 0)
        on_trouble(l, h->path, h->len);
}

static void look_run(struct job *j)
{
    struct look *l = (struct look *)j;
    const struct folder *f = l->scan->c.folder;
    l->code = folder_healthy(f);
    /* What was saved, or put in place, before this start is not flushed file by file, unless this fails. */
    if (l->code == 0 && l->full && atomic_load(&l->scan->flushed) == 0)
        (void)!take_flush_all(l->scan);
    if (l->code == 0 && l->full) {
        int wd = watch_dir(l, "", 0);
        if (wd >= 0)
            report(l, (struct sight){.st = {.kind = STAMP_DIR}, .wd = wd}, "", 0, NULL, 0);
        l->code = walk(l, "", 0);
    }
    AUTO(folder_near_release) struct folder_near near = FOLDER_NEAR_INIT;
    for (size_t i = 0; l->code == 0 && !l->full && i < l->hints.n; i++) {
        look_at(l, &near, &l->hints.v[i]);
        if (l->hints.v[i].deep)
            folder_near_release(&near);      /* a walk takes its time */
    }
    if (l->code == 0)
        l->code = folder_healthy(f);
    if (l->code < 0)
        strncpy(l->text, err_text(), sizeof l->text - 1);
    send_part(l);
}

static void look_done(struct job *j)
{
    struct look *l = (struct look *)j;
    scan_on_look_done(l->scan, l);
    hints_release(&l->hints);
    free(l);
}

void look_start(struct scan *s, struct hints *hints, bool full)
{
    struct look *l = xcalloc(1, sizeof *l);
    *l = (struct look){.job = {.run = look_run, .done = look_done, .slow = full}, .scan = s, .hints = *hints, .full = full,
                       .code = ERR_CLOSED};
    *hints = (struct hints){0};
    pool_submit(s->c.pool, &l->job);
}

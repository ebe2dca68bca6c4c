/* Snapshots: create, remove, list. */
#include "node/api_snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "proto/path.h"

/* ---- create, remove ---- */

struct named { const char *name; };

static int create(struct node *n, void *arg) { return engine_snapshot_create(n->engine, ((const struct named *)arg)->name, loop_wall()); }
static int removal(struct node *n, void *arg)
{
    const char *name = ((const struct named *)arg)->name;
    int r = engine_snapshot_remove(n->engine, name, loop_wall());
    return r < 0 ? r : engine_note(n->engine, &(struct note){.what = NOTE_STR("removed"), .name = NOTE_STR(name)}, loop_wall());
}

static int change(struct session *s, const char *name, int (*what)(struct node *n, void *arg))
{
    int r = need_writer(s->n);
    if (r == 0)
        r = api_commit(s->n, what, &(struct named){name});
    if (r == 0)
        session_reply(s, false, NULL);
    return r;
}

int snapshot_scanned(struct session *s)
{
    if (scan_idle(s->n->scan))
        return 1;
    return s->n->scan_error[0] && loop_now() - s->began > STALLED_MS ? err_set(ERR_IO, "%s", s->n->scan_error) : 0;
}

/* What lies in the folder now is in it: it is looked at first. */
static int check_create(struct session *s)
{
    int r = snapshot_scanned(s);
    return r == 1 ? change(s, s->data, create) : r;
}

static int begin_create(struct session *s, char **name)
{
    int r = snapshot_name_check(*name, strlen(*name));
    if (r == 0)
        r = need_writer(s->n);
    if (r == 0)
        r = need_folder(s->n);
    if (r < 0)
        return r;
    s->data = *name;
    s->release = free;
    *name = NULL;
    scan_all(s->n->scan);
    session_wait(s, check_create, NO_LIMIT, NULL);
    return 0;
}

/* ---- list ---- */

/* Figures of all snapshots, made in one walk over the paths, a slice at a time. */
struct figures_of { struct snapshot s; uint64_t files, bytes; bool complete; };
struct listing {
    struct node *n;
    struct figures_of *v; size_t nv;
    const struct dots **vector;
    struct ix_entry *row;
    int64_t next, last;
};

static void listing_free(void *data)
{
    struct listing *l = data;
    for (size_t i = 0; i < l->nv; i++)
        dots_release(&l->v[i].s.vector);
    free(l->v);
    free(l->vector);
    free(l->row);
    free(l);
}

/* Snapshots that are near in time share most of their entries: each is looked for once. */
static int count_path(struct listing *l, int64_t path)
{
    int r = engine_state_at(l->n->engine, path, l->vector, l->nv, l->row);
    int64_t looked = 0;
    bool here = true;
    for (size_t i = 0; r == 0 && i < l->nv; i++) {
        const struct ix_entry *row = &l->row[i];
        if (row->id == 0 || row->kind != KIND_FILE)
            continue;
        l->v[i].files++;
        l->v[i].bytes += row->size;
        if (row->id != looked && (r = content_here(l->n, row, &here)) < 0)
            return r;
        looked = row->id;
        l->v[i].complete &= here;
    }
    return r;
}

static void put_snapshot(struct buf *b, struct node *n, const struct figures_of *f)
{
    const struct member *m = group_find(control_group(n->home->control), &f->s.dev);
    mp_put_map(b, 7);
    put_text(b, "name", f->s.name);
    put_text(b, "device", m ? m->card.name : "?");
    put_time(b, "time", f->s.time_ms);
    put_u64(b, "files", f->files);
    put_u64(b, "bytes", f->bytes);
    put_bool(b, "complete", f->complete);
    put_bool(b, "current", f->s.current);
}

static int check_list(struct session *s)
{
    struct listing *l = s->data;
    for (int i = 0; i < SLICE && l->next <= l->last; i++) {
        int r = count_path(l, l->next++);
        if (r < 0)
            return r;
    }
    if (l->next <= l->last) {
        session_wait(s, check_list, NO_LIMIT, NULL);
        return 0;
    }
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    mp_put_array(&b, l->nv);
    for (size_t i = 0; i < l->nv; i++)
        put_snapshot(&b, l->n, &l->v[i]);
    session_reply(s, false, &b);
    return 0;
}

static int list(struct session *s)
{
    const struct snapshot *v;
    size_t n;
    struct listing *l = xcalloc(1, sizeof *l);
    s->data = l;
    s->release = listing_free;
    *l = (struct listing){.n = s->n, .next = 1};
    int r = engine_snapshots(s->n->engine, &v, &n);
    if (r == 0)
        r = index_path_max(s->n->index, &l->last);
    if (r < 0)
        return r;
    l->v = xcalloc(n + 1, sizeof *l->v);
    l->vector = xcalloc(n + 1, sizeof *l->vector);
    l->row = xcalloc(n + 1, sizeof *l->row);
    for (; l->nv < n; l->nv++) {
        struct figures_of *f = &l->v[l->nv];
        f->s = v[l->nv];
        f->s.vector = (struct dots){0};
        dots_copy(&f->s.vector, &v[l->nv].vector);
        f->complete = engine_covers(s->n->engine, &f->s.vector);
        l->vector[l->nv] = &f->s.vector;
    }
    if (n == 0)
        l->last = 0;
    session_wait(s, check_list, NO_LIMIT, NULL);
    return 0;
}

/* ---- the request ---- */

static int run_named(struct session *s, const char *op, char **name, const char *device, const struct bytes *path, bool dry_run)
{
    if (!*name)
        return err_set(ERR_USAGE, "snapshot %s: give a name", op);
    if (strcmp(op, "create") == 0)
        return begin_create(s, name);
    if (strcmp(op, "remove") == 0)
        return change(s, *name, removal);
    if (strcmp(op, "restore") == 0)
        return snapshot_restore(s, *name, device, path, dry_run);
    if (strcmp(op, "export") == 0)
        return snapshot_export(s, *name, device);
    return err_set(ERR_USAGE, "snapshot cannot \"%s\": use list, create, restore, export or remove", path_show(op, strlen(op)));
}

int run_snapshot(struct session *s, const struct bytes *args)
{
    AUTOFREE char *op = NULL, *name = NULL, *device = NULL;
    struct bytes path;
    bool dry_run = false;
    int r = arg_text(args, "op", &op);
    if (r == 0)
        r = arg_text(args, "name", &name);
    if (r == 0)
        r = arg_text(args, "device", &device);
    if (r == 0)
        r = arg_path(args, "path", false, &path);
    if (r == 0)
        r = arg_bool(args, "dry_run", &dry_run);
    if (r < 0)
        return r;
    if (!op || strcmp(op, "list") == 0)
        return list(s);
    return run_named(s, op, &name, device, &path, dry_run);
}

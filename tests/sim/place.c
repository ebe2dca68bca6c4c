/* What is wanted of an engine, and put on the modelled disk: see node/pull and store/folder_apply for the reasons. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { NOT_EMPTY_TRIES = 5 };

/* ---- what is wanted ---- */

struct job {
    struct ix_want want;
    struct entry ent; struct buf raw;
    struct ix_local local; bool have_local;
    int path, from;                      /* from: a file that is renamed, -1 */
    struct ix_want from_want; struct ix_local from_local;
    uint32_t content;
    int code;
    struct stamp now;
    bool was_kept; uint32_t displaced;
};
struct jobs { struct ix_want want[WANTS_MAX]; size_t n; };

static int collect(void *arg, const struct ix_want *want)
{
    struct jobs *j = arg;
    j->want[j->n++] = *want;
    return j->n == WANTS_MAX;
}

static int path_of(struct world *w, int i, int64_t id)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    MUST(index_path_get(w->d[i].index, id, &name, NULL));
    for (int p = 0; p < PATHS; p++)
        if (name.len == strlen(path_name[p]) && memcmp(name.data, path_name[p], name.len) == 0)
            return p;
    fail(w, "d%d: an unknown path", i);
}

static void job_load(struct world *w, int i, const struct ix_want *want, struct job *j)
{
    struct ix_entry row;
    *j = (struct job){.want = *want, .raw = BUF_INIT(LIMIT_ENTRY), .from = -1};
    MUST(engine_entry(w->d[i].engine, want->entry, &j->raw, &j->ent, &row));
    j->path = path_of(w, i, want->path);
    j->have_local = device_local(w, i, j->path, &j->local);
    if (j->ent.kind == KIND_FILE || j->ent.kind == KIND_SYMLINK)
        j->content = content_by_root(w, &j->ent.content.root);
}

static void job_release(struct job *j)
{
    buf_release(&j->raw);
    entry_release(&j->ent);
}

static bool ready(const struct device *d, const struct job *j)
{
    return j->want.role == WANT_HIDE || j->ent.kind != KIND_FILE || j->ent.content.type == CONTENT_INLINE || d->here[j->content] || disk_has_content(&d->disk, j->content);
}

static void ask_content(struct world *w, int i, const struct job *j)
{
    struct id dev[DEVICES_MAX];
    size_t n = engine_sources(w->d[i].engine, j->want.stream, j->want.seq, ENGINE_HAS, dev, DEVICES_MAX);
    if (n == 0 || chance(w, 30))
        n += engine_sources(w->d[i].engine, j->want.stream, j->want.seq, ENGINE_KNOWS, dev + n, DEVICES_MAX - n);
    for (size_t k = 0; k < n; k++) {
        if (!w->quiet && k != pick(w, n))
            continue;
        struct message m = {.type = M_GET_BLK, .from = i, .to = device_of(w, i, &dev[k]), .content = j->content};
        net_send(w, &m);
    }
}

void device_ask(struct world *w, int i)
{
    struct device *d = &w->d[i];
    struct fetch f;
    while (engine_next_fetch(d->engine, &f)) {
        struct message m = {.type = M_GET_CS, .from = i, .to = device_of(w, i, &f.dev), .body = BUF_INIT(LIMIT_BODY)};
        buf_add(&m.body, f.range, f.n * sizeof *f.range);
        d->asked[m.to] = true;
        net_send(w, &m);
    }
    struct jobs jobs = {.n = 0};
    MUST(index_want_each(d->index, 0, collect, &jobs));
    for (size_t k = 0; k < jobs.n; k++) {
        struct job j;
        job_load(w, i, &jobs.want[k], &j);
        if (!ready(d, &j) && engine_lock_allows(d->engine, &j.want))
            ask_content(w, i, &j);
        job_release(&j);
    }
}

/* ---- batches ---- */

/* The same content lies at a path that is to be removed: renamed. */
static void find_move(struct world *w, int i, struct job *j, const struct jobs *all)
{
    if (j->want.role != WANT_INSTALL || j->ent.kind != KIND_FILE || !chance(w, 50))
        return;
    for (size_t k = 0; k < all->n; k++) {
        const struct ix_want *t = &all->want[k];
        struct ix_local l;
        if (t->kind != KIND_TOMBSTONE || t->path == j->want.path)
            continue;
        int from = path_of(w, i, t->path);
        struct stamp now = stamp_of(&w->d[i].disk.at[from]);
        if (w->d[i].disk.at[from].kind != STAMP_FILE || w->d[i].disk.at[from].content != j->content)
            continue;
        if (!device_local(w, i, from, &l) || !stamp_same(&l.stamp, &now))
            continue;
        j->from = from;
        j->from_want = *t;
        j->from_local = l;
        return;
    }
}

static bool goes(const struct job *j) { return j->ent.kind == KIND_TOMBSTONE || j->want.role == WANT_HIDE; }
static int rank(const struct job *j) { return goes(j) ? 2 : j->ent.kind != KIND_DIR; }

static int by_order(const void *a, const void *b)
{
    const struct job *x = a, *y = b;
    if (rank(x) != rank(y))
        return rank(x) - rank(y);
    return rank(x) == 2 ? y->path - x->path : x->path - y->path;
}

static void keep(struct disk *k, struct job *j, const struct thing *t)
{
    disk_keep(k, t->content);
    j->was_kept = true;
    j->displaced = t->content;
}

/* Makes room at the path: 0, or why not. */
static int clear(struct disk *k, struct job *j)
{
    struct thing *at = &k->at[j->path];
    if (at->kind == STAMP_DIR && disk_has_children(k, j->path))
        return ERR_EXISTS;
    if (at->kind == STAMP_FILE || at->kind == STAMP_SYMLINK)
        keep(k, j, at);
    *at = (struct thing){.kind = STAMP_ABSENT};
    return 0;
}

static int install(struct world *w, struct disk *k, struct job *j)
{
    struct thing *at = &k->at[j->path];
    struct thing t = {.kind = j->ent.kind == KIND_DIR ? STAMP_DIR : j->ent.kind == KIND_FILE ? STAMP_FILE : STAMP_SYMLINK,
                      .mode = j->ent.mode, .content = j->content, .mtime = j->ent.mtime_ns};
    bool only_meta = t.kind == at->kind && (t.kind == STAMP_DIR || t.content == at->content);
    if (only_meta)
        t.ino = at->ino;
    int r = only_meta ? 0 : clear(k, j);
    if (r < 0)
        return r;
    if (!disk_parents(w, k, j->path))
        return ERR_IO;
    if (j->from >= 0) {
        struct thing *from = &k->at[j->from];
        struct stamp now = stamp_of(from);
        if (!stamp_same(&j->from_local.stamp, &now)) {
            j->from = -1;
            return ERR_CHANGED;
        }
        t.ino = from->ino;
        *from = (struct thing){.kind = STAMP_ABSENT};
    }
    disk_put(w, k, j->path, &t);
    return 0;
}

static void apply(struct world *w, int i, struct job *j)
{
    struct disk *k = &w->d[i].disk;
    if (j->want.role == WANT_KEEP) {
        disk_keep(k, j->content);
        return;
    }
    const struct thing *at = &k->at[j->path];
    struct stamp actual = stamp_of(at), expected = j->have_local ? j->local.stamp : (struct stamp){0};
    bool fits = stamp_same(&expected, &actual) || (j->ent.kind == KIND_DIR && at->kind == STAMP_DIR && expected.kind == STAMP_ABSENT);
    j->code = !fits ? ERR_CHANGED : goes(j) ? clear(k, j) : install(w, k, j);
    j->now = stamp_of(at);
}

static void record_displaced(struct world *w, int i, struct job *j)
{
    if (!j->was_kept)
        return;
    bool known = j->have_local && !j->local.apart && j->code == 0;
    struct id root = known ? w->root[j->displaced] : ID_NONE;
    MUST(engine_kept(w->d[i].engine, j->want.path, known ? j->local.entry : 0, &root, 1, "kept", device_wall(w, i)));
}

static void shelter_at(struct world *w, int i, int path)
{
    const char *name = path_name[path];
    int r = engine_shelter(w->d[i].engine, name, strlen(name), 0755, device_wall(w, i));
    MUST(r);
    if (r == 1)
        model_add(w, i, path, ON_NOTHING, NULL);
}

static void shelter(struct world *w, int i, const struct job *j)
{
    if (j->code == 0 || j->want.role != WANT_INSTALL || j->ent.kind == KIND_TOMBSTONE || w->d[i].failures[j->path] < NOT_EMPTY_TRIES)
        return;
    if (j->have_local && j->local.stamp.kind == STAMP_DIR)
        shelter_at(w, i, j->path);
    for (int up = path_parent_of[j->path]; up >= 0; up = path_parent_of[up])
        shelter_at(w, i, up);
}

static void record(struct world *w, int i, struct job *j)
{
    struct engine *e = w->d[i].engine;
    bool stays = j->code == ERR_EXISTS && goes(j) && j->have_local && j->local.stamp.kind == STAMP_DIR &&
                 w->d[i].failures[j->path] >= NOT_EMPTY_TRIES;
    if (stays) {
        j->code = 0;
        j->now = j->local.stamp;
    }
    record_displaced(w, i, j);
    if (j->code == 0 && j->want.role == WANT_KEEP) {
        MUST(engine_kept(e, j->want.path, j->want.entry, &j->want.root, j->want.size, "kept", device_wall(w, i)));
    } else if (j->code == 0) {
        MUST(engine_installed(e, j->want.entry, &j->now, true));
        if (j->from >= 0)
            MUST(engine_installed(e, j->from_want.entry, &(struct stamp){0}, true));
    }
    shelter(w, i, j);
    w->d[i].failures[j->path] = j->code == 0 ? 0 : w->d[i].failures[j->path] + 1;
    tell(w, "d%d: %s kind %d content %u at %s: %d", i, j->want.role == WANT_KEEP ? "keep" : j->want.role == WANT_HIDE ? "hide" : "place", j->ent.kind, j->content,
         path_name[j->path], j->code);
    /* Who has failed that often goes on, but that is no news. */
    w->progress |= w->d[i].failures[j->path] <= NOT_EMPTY_TRIES + 1;
}

static size_t load_jobs(struct world *w, int i, struct job *job)
{
    struct jobs jobs = {.n = 0};
    size_t n = 0;
    MUST(index_want_each(w->d[i].index, 0, collect, &jobs));
    for (size_t k = 0; k < jobs.n; k++) {
        struct job *j = &job[n];
        job_load(w, i, &jobs.want[k], j);
        bool allowed = engine_lock_allows(w->d[i].engine, &j->want);
        if (!allowed || !ready(&w->d[i], j) || (!w->quiet && chance(w, 30))) {
            job_release(j);
            continue;
        }
        find_move(w, i, j, &jobs);
        n++;
    }
    qsort(job, n, sizeof *job, by_order);
    return n;
}

static void look_again(struct world *w, int i, const struct job *j)
{
    device_begin(w, i);
    int r = device_look_at(w, i, j->path);
    MUST(r);
    device_commit(w, i, r > 0);
}

static bool apply_all(struct world *w, int i, struct job *job, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        apply(w, i, &job[k]);
        if (crashes_here(w, i, "in the middle of a batch"))
            return false;
        if (!w->quiet && chance(w, 5))
            user_acts(w, i);
    }
    return true;
}

void device_place(struct world *w, int i)
{
    struct job job[WANTS_MAX];
    size_t n = load_jobs(w, i, job);
    bool up = n && apply_all(w, i, job, n);
    if (up) {
        device_begin(w, i);
        for (size_t k = 0; k < n; k++)
            record(w, i, &job[k]);
        up = device_commit(w, i, true);
    }
    for (size_t k = 0; k < n; k++) {
        if (up && w->d[i].engine && job[k].code == ERR_CHANGED)
            look_again(w, i, &job[k]);
        job_release(&job[k]);
    }
}

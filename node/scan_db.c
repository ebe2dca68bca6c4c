/* Databases: when their snapshots are made, and what becomes of them.
 *
 * A database at rest is hashed like any file. One in use, or with a log beside, is taken as a snapshot (store/database.h): when nothing
 * was written to it for QUIET_MS, or else every PERIOD_MS, or as often as costs a twentieth of the time. The snapshot is a kept file, and
 * the row of its path says that the content is there, and of which state of the files it is. Later snapshots leave it behind as an old
 * version like any other. When the database comes to rest it is a file again, whose bytes differ from the snapshot's in numbers that SQLite
 * keeps of a file. So that it is the same everywhere, that is a version of its own; but not when another is to come in its place, with
 * which it would be in conflict though nothing was written: then it counts as what a snapshot of it says. Of the others one more snapshot
 * is made and looked at: if it is the one on record, nothing was written, and the version is dated as that one (engine_seen_database). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/log.h"
#include "node/scan_priv.h"

enum { QUIET_MS = 2000, PERIOD_MS = 10000, COST = 20, NAME = 64 };

struct db_job {
    struct job job;
    struct scan *scan;
    struct waiting w; char *path;            /* of its own */
    int64_t base; struct id was, known;      /* the version on record; its content; the same if that is kept */
    bool at_rest, same;                      /* the content is what lies at the path; and it says what the version on record says */
    struct stamp st; bool settled;
    char name[NAME]; bool kept;              /* in tmp/, then in kept/ */
    struct content_list content;
    uint64_t began;
    int code; char text[160];
};

/* ---- in the worker ---- */

static int read_at_rest(const struct scan *s, struct hashed *h, const struct database *d)
{
    struct database after;
    int64_t began = take_now();
    int fd;
    int r = folder_open_file(s->c.folder, h->w.path, h->w.len, &fd);
    if (r < 0)
        return r;
    r = content_read(fd, d->file.size, s->c.gear, h->w.class, pool_stopping(s->c.pool), &h->content);
    close(fd);
    if (r == 0)
        r = database_look(s->c.folder, h->w.path, h->w.len, &after);
    if (r < 0)
        return r == ERR_NOTFOUND ? err_set(ERR_CHANGED, "no longer a database") : r;
    if (after.open || !stamp_same(&after.whole, &d->whole))
        return err_set(ERR_CHANGED, "changed while it was read");
    h->settled = take_settled(s, &h->st, began);
    return 0;
}

int db_hash(const struct scan *s, struct hashed *h)
{
    struct database d;
    int r = database_look(s->c.folder, h->w.path, h->w.len, &d);
    if (r < 0)
        return r == ERR_NOTFOUND ? err_set(ERR_CHANGED, "no longer a database") : r;
    h->database = true;
    h->st = d.whole;
    return d.open || d.logged ? ERR_AGAIN : read_at_rest(s, h, &d);
}

static int hash_copy(const struct db_job *j, struct content_list *out)
{
    const struct scan *s = j->scan;
    struct stat st;
    int fd;
    int r = folder_tmp_open(s->c.folder, j->name, &fd);
    if (r < 0)
        return r;
    r = fstat(fd, &st) < 0 ? err_set(ERR_IO, "%s: %m", j->name)
                           : content_read(fd, (uint64_t)st.st_size, s->c.gear, j->w.class, pool_stopping(s->c.pool), out);
    close(fd);
    return r;
}

/* Whatever keeps us from knowing, the user's file becomes a version: as an edit then. */
static int compare(struct db_job *j)
{
    const struct folder *f = j->scan->c.folder;
    const _Atomic bool *stop = pool_stopping(j->scan->c.pool);
    struct content_list copy = {0};
    struct database d;
    int r = database_look(f, j->w.path, j->w.len, &d);
    if (r < 0 || d.open || d.logged || !stamp_same(&d.whole, &j->st))
        return err_set(ERR_CHANGED, "changed since it was read");
    r = database_snapshot(f, j->w.path, j->w.len, &d, j->name, stop);
    if (r == 0)
        r = hash_copy(j, &copy);
    j->same = r == 0 && id_eq(&copy.root, &j->was);
    content_list_release(&copy);
    (void)!folder_tmp_remove(f, j->name);
    return r == ERR_CHANGED || r == ERR_CLOSED ? r : 0;
}

static int make_snapshot(struct db_job *j)
{
    const struct folder *f = j->scan->c.folder;
    int64_t began = take_now();
    struct database d;
    int r = database_look(f, j->w.path, j->w.len, &d);
    if (r < 0)
        return r == ERR_NOTFOUND ? err_set(ERR_CHANGED, "no longer a database") : r;
    j->st = d.whole;
    j->settled = take_settled(j->scan, &d.whole, began);
    r = database_snapshot(f, j->w.path, j->w.len, &d, j->name, pool_stopping(j->scan->c.pool));
    if (r < 0)
        return r;
    r = hash_copy(j, &j->content);
    j->kept = r == 0 && !id_eq(&j->content.root, &j->known);
    if (j->kept) {
        folder_kept_note(f, j->name, j->w.path, j->w.len);
        r = folder_kept_adopt(f, j->name, j->name);
    } else if (folder_tmp_remove(f, j->name) < 0 && r == 0)
        r = ERR_IO;
    return r;
}

static void db_run(struct job *job)
{
    struct db_job *j = (struct db_job *)job;
    j->code = j->at_rest ? compare(j) : make_snapshot(j);
    if (j->code < 0) {
        strncpy(j->text, err_text(), sizeof j->text - 1);
        content_list_release(&j->content);
    }
}

/* ---- back in the loop ---- */

/* How long until the next one, at the least, while it never rests. */
static void next_period(struct scan *s, const struct db_job *j, bool rests)
{
    uint64_t now = loop_now(), cost = COST * (now - j->began);
    pathset_put(&s->databases, j->w.path, j->w.len, rests ? 0 : (uint32_t)((now + (cost > PERIOD_MS ? cost : PERIOD_MS)) / 1000));
}

static bool rests(const struct stamp *st)
{
    int64_t newest = st->mtime_ns > st->ctime_ns ? st->mtime_ns : st->ctime_ns;
    return take_now() - newest >= QUIET_MS * 1000000ll;
}

static void take_result(struct scan *s, struct db_job *j)
{
    struct fact f = {.kind = FACT_SEEN, .path = j->path, .len = j->w.len, .st = j->st, .settled = j->settled, .database = true,
                     .apart = !j->at_rest, .base = j->base, .same = j->same, .kept = j->kept ? xstrdup(j->name) : NULL};
    f.content = xcalloc(1, sizeof *f.content);
    *f.content = j->content;
    j->path = NULL;
    take_fact(s, f);
}

static void db_job_done(struct job *job)
{
    struct db_job *j = (struct db_job *)job;
    struct scan *s = j->scan;
    uint32_t look_again = 0;
    s->hashing--;
    pathset_get(&s->in_hash, j->w.path, j->w.len, &look_again);
    pathset_del(&s->in_hash, j->w.path, j->w.len);
    if (j->code == 0) {
        if (!j->at_rest)
            next_period(s, j, rests(&j->st));
        pathset_del(&s->backoff, j->w.path, j->w.len);
        pathset_del(&s->told, j->w.path, j->w.len);
        if (look_again)
            scan_later(s, j->w.path, j->w.len, 0);
        take_result(s, j);
    } else {
        if (j->code != ERR_CHANGED && j->code != ERR_CLOSED && !s->stopped)
            take_trouble(s, &j->w, j->text);
        take_again(s, &j->w);
    }
    free(j->path);
    free(j);
    take_pump(s);
}

static int any(void *arg, const struct ix_kept *k) { (void)arg, (void)k; return 1; }

/* With code 0 its content is known, and goes to the job. */
static void start(struct scan *s, struct hashed *h, const struct ix_local *l, const struct ix_entry *on_record)
{
    bool kept = index_kept_by_root(s->c.index, &on_record->root, any, NULL) > 0;
    struct db_job *j = xcalloc(1, sizeof *j);
    *j = (struct db_job){.job = {.run = db_run, .done = db_job_done, .slow = true}, .scan = s, .w = h->w, .path = xcalloc(h->w.len + 1, 1),
                         .base = l->entry, .was = on_record->root, .known = kept ? on_record->root : ID_NONE, .at_rest = h->code == 0,
                         .st = h->st, .settled = h->settled, .content = h->content, .began = loop_now(), .code = ERR_CLOSED};
    h->content = (struct content_list){0};
    memcpy(j->path, h->w.path, h->w.len);
    j->w.path = j->path;
    snprintf(j->name, sizeof j->name, "s-%llx-%llx", (unsigned long long)loop_wall(), (unsigned long long)(uintptr_t)j);
    s->hashing++;
    pool_submit(s->c.pool, &j->job);
}

/* In how many ms it is to be taken: 0 now. */
static uint64_t wait_for(struct scan *s, const struct hashed *h)
{
    uint64_t now = loop_now();
    uint32_t due = 0;
    if (!pathset_get(&s->databases, h->w.path, h->w.len, &due) || !due)
        pathset_put(&s->databases, h->w.path, h->w.len, due = (uint32_t)((now + PERIOD_MS) / 1000));
    if (rests(&h->st))
        return 0;
    uint64_t left = due * 1000ull > now ? due * 1000ull - now : 0;
    return left < QUIET_MS ? left : QUIET_MS;
}

/* Whether another version is to come in the place of the one on record, which the same file still is, if anything. */
static bool is_to_go(struct scan *s, const struct ix_local *l, const struct hashed *h)
{
    int64_t winner;
    return l->stamp.ino == h->st.ino && l->stamp.dev == h->st.dev && index_path_get(s->c.index, l->path, NULL, &winner) == 0 &&
           winner != l->entry;
}

bool db_done(struct scan *s, struct hashed *h)
{
    struct ix_local l = {0};
    struct ix_entry row = {0};
    bool have = index_local_find(s->c.index, h->w.path, h->w.len, &l) == 0 && l.entry && index_entry_get(s->c.index, l.entry, &row, NULL) == 0;
    bool same = have && l.apart && l.settled && stamp_same(&l.stamp, &h->st);
    bool rested = h->code == 0 && have && l.apart;
    if (h->code != ERR_AGAIN && (!rested || id_eq(&h->content.root, &row.root)))
        return false;
    bool is_file = rested && !is_to_go(s, &l, h);
    uint64_t wait = same || is_file ? 0 : wait_for(s, h);
    if (!is_file) {
        content_list_release(&h->content);
        h->code = ERR_AGAIN;
    }
    if (is_file || (!same && wait == 0)) {
        start(s, h, &l, &row);
        return true;
    }
    if (!same)
        scan_later(s, h->w.path, h->w.len, wait);
    pathset_del(&s->in_hash, h->w.path, h->w.len);
    return true;
}

/* ---- facts ---- */

/* The database may have been written to since: then there will be another. But it must be the one that was looked at, and nothing else
 * must have been put in its place. */
bool db_still_true(struct scan *s, const struct fact *f)
{
    struct stamp now;
    struct ix_local l = {0};
    if (s->c.ops.busy(s->c.ops.arg, f->path, f->len) || folder_stat(s->c.folder, f->path, f->len, &now) < 0)
        return false;
    int r = index_local_find(s->c.index, f->path, f->len, &l);
    return now.kind == STAMP_FILE && now.dev == f->st.dev && now.ino == f->st.ino && (r == 0 || r == ERR_NOTFOUND) && l.entry == f->base;
}

void db_drop(struct scan *s, const struct fact *f)
{
    if (f->kept && folder_kept_remove(s->c.folder, f->kept) < 0)
        log_warn("%s", err_text());
}

int db_give(struct scan *s, const struct fact *f, uint64_t wall)
{
    struct database_seen how = {.apart = f->apart, .kept = f->kept, .says = f->same ? f->base : 0};
    bool used;
    int r = engine_seen_database(s->c.engine, f->path, f->len, &f->st, f->content, f->settled, &how, &used, wall);
    if (r >= 0 && !used)
        db_drop(s, f);
    return r;
}

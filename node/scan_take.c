/* Hashing what has changed, and giving the results to the engine in transactions. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/log.h"
#include "node/scan_priv.h"
#include "proto/path.h"
#include "proto/policy.h"

enum { JOBS_MAX = 32, JOB_FILES = 64, JOB_BYTES = 8 << 20, FACTS_MAX = 2000, FLUSH_MS = 100, RETRY_MIN_MS = 1000, RETRY_MAX_MS = 30000,
       AHEAD_MIN_MS = 1000, AHEAD_MAX_MS = 3600 * 1000, SETTLE_MS = 20, MANY_LOST = 100, FEW_FILES = 4, LARGE_BYTES = 1 << 20, AGE_BYTES = 64 << 20, AGE_MAX_MS = 100 };

struct hash_job {
    struct job job;
    struct scan *scan;
    struct hash_job *next;           /* in the queue */
    uint64_t bytes; size_t n;
    struct waiting w[JOB_FILES];
    struct hashed *v;                /* n of them, once it is started */
};

/* ---- in the worker ---- */

int64_t take_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* A time in the future was set by somebody: no write of this moment has it. But the times that the file system gives itself are in the
 * future only if the clock was set back, and then a write may have just this time when the clock comes to it again. */
uint64_t take_young(const struct stamp *st, int64_t now_ns, int64_t grain_ns)
{
    int64_t newest = st->ctime_ns;
    if (st->mtime_ns > newest && st->mtime_ns <= now_ns)
        newest = st->mtime_ns;
    if (newest < now_ns - grain_ns)
        return 0;
    int64_t ms = newest / 1000000 - (now_ns - grain_ns) / 1000000 + 1;
    if (newest <= now_ns)
        return (uint64_t)ms;
    return ms < AHEAD_MIN_MS ? AHEAD_MIN_MS : ms < AHEAD_MAX_MS ? (uint64_t)ms : AHEAD_MAX_MS;
}

static int read_quiet(const struct scan *s, struct hashed *h, int fd)
{
    int r = folder_quiet(fd);
    if (r == ERR_AGAIN)
        return r;
    return content_read(fd, h->st.size, s->c.gear, h->w.class, pool_stopping(s->c.pool), &h->content);
}

bool take_settled(const struct scan *s, const struct stamp *st, int64_t began)
{
    return take_young(st, began, folder_granularity(s->c.folder)) == 0;
}

/* What was written a moment ago is read once more later, when its times prove something. A large file takes longer to be read than its times
 * take to be old enough: that is waited for, and it is read once. `began`: before it was looked at. */
static int look_aged(const struct scan *s, struct folder_near *near, struct hashed *h, int64_t *began)
{
    const struct folder *f = s->c.folder;
    *began = take_now();
    int r = folder_stat_near(f, near, h->w.path, h->w.len, &h->st);
    uint64_t ms = r < 0 || h->st.size < AGE_BYTES ? 0 : take_young(&h->st, *began, folder_granularity(f));
    if (ms == 0 || ms > AGE_MAX_MS)
        return r;
    nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
    *began = take_now();
    return folder_stat_near(f, near, h->w.path, h->w.len, &h->st);
}

/* A power cut takes back what a user has saved within half a minute, and what it leaves, an empty file as a rule, is an edit to the next scan,
 * and goes to all. So what a version names is on this disk before the version is signed. A flush of the file system was begun at `flushed`,
 * and has ended: what is older than that is on the disk, unless the clock was set back meanwhile. */
static bool on_disk(const struct scan *s, const struct stamp *st)
{
    int64_t flushed = atomic_load(&s->flushed);
    return folder_flush_covers(s->c.folder, st) && st->ctime_ns < flushed && flushed <= take_now();
}

int take_flush_all(struct scan *s)
{
    int64_t began = take_now() - folder_granularity(s->c.folder);
    int r = folder_flush(s->c.folder);
    if (r == 0)
        atomic_store(&s->flushed, began);
    return r;
}

static void *write_out(void *fd)
{
    (void)!sync_file_range(*(int *)fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return NULL;
}

/* The disk writes a large file while it is read, so that there is less to wait for then. Handing that much to the disk takes as long as it
 * has no room for more: so a thread does it. */
static int read_flushed(const struct scan *s, struct hashed *h, int fd)
{
    pthread_t thread;
    bool large = h->st.size >= LARGE_BYTES && pthread_create(&thread, NULL, write_out, &fd) == 0;
    int r = read_quiet(s, h, fd);
    if (large)
        pthread_join(thread, NULL);
    return r == 0 ? folder_flush_file(fd) : r;
}

/* few: each file is flushed by itself, so that nobody waits for what other programs write. So is what lies in another file system. */
static int hash_one(const struct scan *s, struct folder_near *near, struct hashed *h, bool few)
{
    const struct folder *f = s->c.folder;
    int64_t began;
    int fd;
    int r = look_aged(s, near, h, &began);
    if (r == 0 && h->st.kind != STAMP_FILE)
        return err_set(ERR_CHANGED, "no longer a file");
    if (r < 0 || (r = folder_open_file(f, h->w.path, h->w.len, &fd)) < 0)
        return r;
    bool there = on_disk(s, &h->st);
    h->flushed = there;
    if (database_is(fd)) {
        close(fd);
        return db_hash(s, h);
    }
    bool alone = !there && (few || !folder_flush_covers(f, &h->st));
    h->flushed = there || alone;
    r = alone ? read_flushed(s, h, fd) : read_quiet(s, h, fd);
    struct stamp after;
    if (r == 0)
        r = folder_stat_near(f, near, h->w.path, h->w.len, &after);
    /* A second writer that came and is still there may not have touched the times yet (a mapping). */
    if (r == 0 && folder_quiet(fd) == ERR_AGAIN)
        r = ERR_AGAIN;
    close(fd);
    if (r == 0 && !stamp_same(&h->st, &after))
        return err_set(ERR_CHANGED, "changed while it was read");
    h->settled = take_settled(s, &h->st, began);
    return r;
}

static void hash_failed(struct hashed *h, int code)
{
    h->code = code;
    strncpy(h->text, err_text(), sizeof h->text - 1);
    content_list_release(&h->content);
}

/* One flush for all that have not been flushed by themselves. */
static void flush_rest(struct hash_job *h)
{
    size_t rest = 0;
    for (size_t i = 0; i < h->n; i++)
        rest += h->v[i].code == 0 && !h->v[i].flushed;
    int r = rest ? take_flush_all(h->scan) : 0;
    for (size_t i = 0; r < 0 && i < h->n; i++)
        if (h->v[i].code == 0 && !h->v[i].flushed)
            hash_failed(&h->v[i], r);
}

static void hash_run(struct job *j)
{
    struct hash_job *h = (struct hash_job *)j;
    AUTO(folder_near_release) struct folder_near near = FOLDER_NEAR_INIT;
    for (size_t i = 0; i < h->n; i++) {
        if (h->job.slow)
            folder_near_release(&near);
        int r = h->v[i].code = hash_one(h->scan, &near, &h->v[i], h->n <= FEW_FILES);
        if (r < 0)
            hash_failed(&h->v[i], r);
    }
    flush_rest(h);
}

/* ---- back in the loop ---- */

void take_again(struct scan *s, const struct waiting *w)
{
    uint32_t pause = RETRY_MIN_MS;
    if (pathset_get(&s->backoff, w->path, w->len, &pause))
        pause = pause * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : pause * 2;
    pathset_put(&s->backoff, w->path, w->len, pause);
    scan_later(s, w->path, w->len, pause);
}

void take_trouble(struct scan *s, const struct waiting *w, const char *text)
{
    if (pathset_get(&s->told, w->path, w->len, NULL))
        return;
    pathset_put(&s->told, w->path, w->len, s->looks);
    s->c.ops.trouble(s->c.ops.arg, w->path, w->len, text);
}

static struct fact fact_of(struct hashed *h)
{
    struct fact f = {.kind = FACT_SEEN, .path = xcalloc(h->w.len + 1, 1), .len = h->w.len, .st = h->st, .settled = h->settled,
                     .database = h->database};
    memcpy(f.path, h->w.path, h->w.len);
    f.content = xcalloc(1, sizeof *f.content);
    *f.content = h->content;
    return f;
}

static void hashed_done(struct scan *s, struct hashed *h)
{
    uint32_t look_again = 0;
    pathset_get(&s->in_hash, h->w.path, h->w.len, &look_again);
    if (h->database && db_done(s, h))
        return;
    if (h->code == ERR_AGAIN || h->code == ERR_CHANGED || h->code == ERR_CLOSED) {
        take_again(s, &h->w);
    } else if (h->code == ERR_NOTFOUND) {
        scan_later(s, h->w.path, h->w.len, 0);
    } else if (h->code < 0) {
        take_trouble(s, &h->w, h->text);
        take_again(s, &h->w);
    } else {
        pathset_del(&s->backoff, h->w.path, h->w.len);
        pathset_del(&s->told, h->w.path, h->w.len);
        if (look_again)
            scan_later(s, h->w.path, h->w.len, 0);
        take_fact(s, fact_of(h));
    }
    pathset_del(&s->in_hash, h->w.path, h->w.len);
}

static void hash_done(struct job *j)
{
    struct hash_job *h = (struct hash_job *)j;
    struct scan *s = h->scan;
    s->hashing--;
    for (size_t i = 0; i < h->n; i++)
        hashed_done(s, &h->v[i]);
    free(h->v);
    free(h);
    if (!s->in_hash.n)
        pathset_release(&s->in_hash);   /* it has room for as many as ever were in it */
    take_pump(s);
}

static struct hash_job *pop(struct scan *s)
{
    struct hash_job *h = s->queue;
    if (h && !(s->queue = h->next))
        s->queue_last = NULL;
    return h;
}

static void start_job(struct scan *s)
{
    struct hash_job *h = pop(s);
    h->v = xcalloc(h->n, sizeof *h->v);
    for (size_t i = 0; i < h->n; i++) {
        h->v[i].w = h->w[i];
        h->v[i].code = ERR_CLOSED;
    }
    h->job.slow = h->bytes > JOB_BYTES / 8;
    s->hashing++;
    pool_submit(s->c.pool, &h->job);
}

/* The last job of the queue, if it has room for a file of that size, or a new one. */
static struct hash_job *job_with_room(struct scan *s, uint64_t size)
{
    struct hash_job *h = s->queue_last;
    if (h && h->n < JOB_FILES && h->bytes + size <= JOB_BYTES)
        return h;
    h = xcalloc(1, sizeof *h);
    h->job = (struct job){.run = hash_run, .done = hash_done};
    h->scan = s;
    if (s->queue)
        s->queue_last->next = h;
    else
        s->queue = h;
    return s->queue_last = h;
}

void take_file(struct scan *s, const char *path, size_t len, uint64_t size, int class)
{
    if (pathset_get(&s->in_hash, path, len, NULL)) {
        pathset_put(&s->in_hash, path, len, 1);
        return;
    }
    struct hash_job *h = job_with_room(s, size);
    h->w[h->n++] = (struct waiting){pathset_put(&s->in_hash, path, len, 0), (uint32_t)len, class};
    h->bytes += size;
}

/* By the policy: such a file stays as it is, here, and its earlier version everywhere. */
static bool too_large(struct scan *s, const char *path, size_t len, uint64_t size)
{
    uint64_t max = policy_number(s->c.group, "max_file_size");
    if (max == 0 || size <= max)
        return false;
    char why[120];
    snprintf(why, sizeof why, "larger than the policy max_file_size allows (%llu bytes): not synced", (unsigned long long)max);
    scan_trouble(s, path, len, why);
    return true;
}

void take_changed(struct scan *s, const char *path, size_t len, uint64_t size, int class)
{
    if (!too_large(s, path, len, size))
        take_file(s, path, len, size, class);
}

/* ---- facts ---- */

static void fact_release(struct fact *f)
{
    if (f->content)
        content_list_release(f->content);
    free(f->content);
    free(f->kept);
    free(f->path);
}

void take_fact(struct scan *s, struct fact f)
{
    if (s->nfact == s->fact_cap) {
        s->fact_cap = s->fact_cap ? 2 * s->fact_cap : 64;
        s->fact = xrealloc(s->fact, s->fact_cap, sizeof *s->fact);
    }
    s->fact[s->nfact++] = f;
}

/* Between the look and now an install may have changed the path: a fact that is no longer true would bring back what was deleted, or
 * pass for an edit. Installs that are under way make it wait, too. */
static bool still_true(struct scan *s, struct folder_near *near, const struct fact *f)
{
    struct stamp now;
    if (f->kind == FACT_PART)
        return database_part(s->c.folder, f->path, f->len);
    if (f->apart)
        return db_still_true(s, f);
    if (s->c.ops.busy(s->c.ops.arg, f->path, f->len) || look_stat(s->c.folder, near, f->path, f->len, &now) < 0)
        return false;
    return f->kind == FACT_SEEN ? stamp_same(&now, &f->st) : now.kind == STAMP_ABSENT;
}

static int is_coming_dir(void *arg, const struct ix_want *w)
{
    (void)arg;
    return w->role == WANT_INSTALL && w->kind == KIND_DIR;
}

/* A directory that only was made for what is in it, or by a change that failed, while its version is still to be put in place: it will
 * have that version's mode. Taken for the user's, it would give everybody a mode that nobody has chosen. */
static bool made_on_the_way(struct scan *s, const struct fact *f)
{
    struct ix_local l;
    int64_t path;
    return f->kind == FACT_SEEN && f->st.kind == STAMP_DIR && index_path_id(s->c.index, f->path, f->len, false, &path) == 0 &&
           (index_local_get(s->c.index, path, &l) < 0 || l.stamp.kind == STAMP_ABSENT) &&
           index_want_of_path(s->c.index, path, is_coming_dir, NULL) > 0;
}

static int give(struct scan *s, struct folder_near *near, const struct fact *f)
{
    if (made_on_the_way(s, f))
        return 0;
    if (!still_true(s, near, f)) {
        scan_later(s, f->path, f->len, FLUSH_MS);
        db_drop(s, f);
        return 0;
    }
    uint64_t wall = loop_wall();
    if (f->kind == FACT_FORGET)
        return engine_forget(s->c.engine, f->path, f->len);
    if (f->kind == FACT_GONE || f->kind == FACT_PART)
        return engine_gone(s->c.engine, f->path, f->len, wall);
    if (f->database)
        return db_give(s, f, wall);
    return engine_seen(s->c.engine, f->path, f->len, &f->st, f->content, f->settled, wall);
}

static int give_all(struct scan *s, bool *news)
{
    int r = engine_begin(s->c.engine);
    if (r < 0)
        return r;
    uint64_t lost = 0;
    AUTO(folder_near_release) struct folder_near near = FOLDER_NEAR_INIT;
    for (size_t i = 0; i < s->nfact; i++) {
        if ((r = give(s, &near, &s->fact[i])) < 0) {
            err_prefix(r, "%s", path_show(s->fact[i].path, s->fact[i].len));
            engine_rollback(s->c.engine);
            return r;
        }
        *news |= r > 0;
        lost += r > 0 && s->fact[i].lost;
        s->counting.changed += (uint64_t)r;
    }
    if (lost > MANY_LOST)                /* so many at once are worth a note */
        r = engine_note(s->c.engine, &(struct note){.what = NOTE_STR("deleted"), .deleted = lost}, loop_wall());
    if (r < 0) {
        engine_rollback(s->c.engine);
        return r;
    }
    return engine_commit(s->c.engine, loop_wall());
}

bool take_flush(struct scan *s)
{
    if (!s->nfact)
        return true;
    bool news = false;
    int r = give_all(s, &news);
    int64_t grain = folder_granularity(s->c.folder), now = take_now();
    for (size_t i = 0; i < s->nfact; i++) {
        if (r == 0 && s->fact[i].kind == FACT_SEEN && !s->fact[i].settled)
            scan_later(s, s->fact[i].path, s->fact[i].len, take_young(&s->fact[i].st, now, grain) + SETTLE_MS);
        fact_release(&s->fact[i]);
    }
    s->nfact = 0;
    if (r < 0) {
        s->c.ops.failed(s->c.ops.arg, err_text());
        s->root_bad = true;
        s->full_wanted = true;               /* nothing was recorded: look at it all again */
        scan_wake(s, 2000);
        return false;
    }
    s->c.ops.committed(s->c.ops.arg);
    return true;
}

void take_relieve(struct scan *s)
{
    if (s->nfact >= FACTS_MAX)
        take_flush(s);
}

static void on_flush(void *arg) { take_flush(arg); }

void take_pump(struct scan *s)
{
    while (!s->stopped && s->hashing < JOBS_MAX && s->queue)
        start_job(s);
    if (s->nfact >= FACTS_MAX || (!s->hashing && !s->looking))
        take_flush(s);
    else if (s->nfact && !s->flush_timer.set)
        loop_timer_set(s->c.loop, &s->flush_timer, FLUSH_MS, on_flush, s);
}

void take_release(struct scan *s)
{
    loop_timer_clear(s->c.loop, &s->flush_timer);
    for (size_t i = 0; i < s->nfact; i++)
        fact_release(&s->fact[i]);
    free(s->fact);
    for (struct hash_job *h; (h = pop(s)); )
        free(h);
    pathset_release(&s->in_hash);
    pathset_release(&s->backoff);
    pathset_release(&s->databases);
    pathset_release(&s->told);
}

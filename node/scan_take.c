/* Hashing what has changed, and giving the results to the engine in transactions. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/log.h"
#include "node/scan_priv.h"
#include "proto/path.h"

enum { JOBS_MAX = 8, JOB_FILES = 64, JOB_BYTES = 8 << 20, FACTS_MAX = 1000, FLUSH_MS = 100, RETRY_MIN_MS = 1000, RETRY_MAX_MS = 30000 };

struct hashed { struct candidate c; struct content_list content; struct stamp st; bool settled; int code; char text[160]; };
struct hash_job { struct job job; struct scan *scan; size_t n; struct hashed v[JOB_FILES]; };

/* ---- in the worker ---- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int read_quiet(const struct scan *s, struct hashed *h, int fd)
{
    int r = folder_quiet(fd);
    if (r == ERR_AGAIN)
        return r;
    return content_read(fd, h->st.size, s->c.gear, h->c.class, pool_stopping(s->c.pool), &h->content);
}

static int hash_one(const struct scan *s, struct hashed *h)
{
    const struct folder *f = s->c.folder;
    int64_t began = now_ns();
    int fd;
    int r = folder_stat(f, h->c.path, h->c.len, &h->st);
    if (r == 0 && h->st.kind != STAMP_FILE)
        return err_set(ERR_CHANGED, "no longer a file");
    if (r < 0 || (r = folder_open_file(f, h->c.path, h->c.len, &fd)) < 0)
        return r;
    r = read_quiet(s, h, fd);
    struct stamp after;
    if (r == 0)
        r = folder_stat(f, h->c.path, h->c.len, &after);
    /* A second writer that came and is still there may not have touched the times yet (a mapping). */
    if (r == 0 && folder_quiet(fd) == ERR_AGAIN)
        r = ERR_AGAIN;
    close(fd);
    if (r == 0 && !stamp_same(&h->st, &after))
        return err_set(ERR_CHANGED, "changed while it was read");
    /* A time in the future was set by somebody: no write of this moment has it. */
    int64_t newest = h->st.ctime_ns;
    if (h->st.mtime_ns > newest && h->st.mtime_ns <= began)
        newest = h->st.mtime_ns;
    h->settled = began - newest > folder_granularity(f);
    return r;
}

static void hash_run(struct job *j)
{
    struct hash_job *h = (struct hash_job *)j;
    for (size_t i = 0; i < h->n; i++) {
        h->v[i].code = hash_one(h->scan, &h->v[i]);
        if (h->v[i].code < 0) {
            strncpy(h->v[i].text, err_text(), sizeof h->v[i].text - 1);
            content_list_release(&h->v[i].content);
        }
    }
}

/* ---- back in the loop ---- */

static void again(struct scan *s, const struct candidate *c)
{
    uint32_t pause = RETRY_MIN_MS;
    if (pathset_get(&s->backoff, c->path, c->len, &pause))
        pause = pause * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : pause * 2;
    pathset_put(&s->backoff, c->path, c->len, pause);
    scan_later(s, c->path, c->len, pause);
}

static void hashed_done(struct scan *s, struct hashed *h)
{
    uint32_t look_again = 0;
    pathset_get(&s->in_hash, h->c.path, h->c.len, &look_again);
    pathset_del(&s->in_hash, h->c.path, h->c.len);
    if (h->code == ERR_AGAIN || h->code == ERR_CHANGED || h->code == ERR_CLOSED) {
        again(s, &h->c);
    } else if (h->code == ERR_NOTFOUND) {
        scan_later(s, h->c.path, h->c.len, 0);
    } else if (h->code < 0) {
        if (!pathset_get(&s->told, h->c.path, h->c.len, NULL)) {
            pathset_put(&s->told, h->c.path, h->c.len, s->looks);
            s->c.ops.trouble(s->c.ops.arg, h->c.path, h->c.len, h->text);
        }
        again(s, &h->c);
    } else {
        pathset_del(&s->backoff, h->c.path, h->c.len);
        pathset_del(&s->told, h->c.path, h->c.len);
        if (look_again)
            scan_later(s, h->c.path, h->c.len, 0);
        take_fact(s, (struct fact){.kind = FACT_SEEN, .path = h->c.path, .len = h->c.len, .st = h->st, .content = h->content,
                                   .settled = h->settled});
        return;
    }
    free(h->c.path);
}

static void hash_done(struct job *j)
{
    struct hash_job *h = (struct hash_job *)j;
    struct scan *s = h->scan;
    s->hashing--;
    for (size_t i = 0; i < h->n; i++)
        hashed_done(s, &h->v[i]);
    free(h);
    take_pump(s);
}

static void start_job(struct scan *s)
{
    struct hash_job *h = xcalloc(1, sizeof *h);
    h->job = (struct job){.run = hash_run, .done = hash_done};
    h->scan = s;
    uint64_t bytes = 0;
    while (h->n < JOB_FILES && s->queue_at < s->nqueue && (h->n == 0 || bytes + s->queue[s->queue_at].st.size <= JOB_BYTES)) {
        struct candidate *c = &s->queue[s->queue_at++];
        bytes += c->st.size;
        h->v[h->n++] = (struct hashed){.c = *c, .code = ERR_CLOSED};
    }
    h->job.slow = bytes > JOB_BYTES / 8;
    if (s->queue_at == s->nqueue)
        s->queue_at = s->nqueue = 0;
    s->hashing++;
    pool_submit(s->c.pool, &h->job);
}

void take_file(struct scan *s, const char *path, size_t len, const struct stamp *st, int class)
{
    if (pathset_get(&s->in_hash, path, len, NULL)) {
        pathset_put(&s->in_hash, path, len, 1);
        return;
    }
    pathset_put(&s->in_hash, path, len, 0);
    if (s->nqueue == s->queue_cap) {
        s->queue_cap = s->queue_cap ? 2 * s->queue_cap : 64;
        s->queue = xrealloc(s->queue, s->queue_cap, sizeof *s->queue);
    }
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, path, len);
    s->queue[s->nqueue++] = (struct candidate){copy, len, *st, class};
}

/* ---- facts ---- */

static void fact_release(struct fact *f)
{
    content_list_release(&f->content);
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
static bool still_true(struct scan *s, const struct fact *f)
{
    struct stamp now;
    if (s->c.ops.busy(s->c.ops.arg, f->path, f->len) || look_stat(s->c.folder, f->path, f->len, &now) < 0)
        return false;
    return f->kind == FACT_SEEN ? stamp_same(&now, &f->st) : now.kind == STAMP_ABSENT;
}

static int give(struct scan *s, const struct fact *f)
{
    if (!still_true(s, f)) {
        scan_later(s, f->path, f->len, FLUSH_MS);
        return 0;
    }
    uint64_t wall = loop_wall();
    if (f->kind == FACT_FORGET)
        return engine_forget(s->c.engine, f->path, f->len);
    if (f->kind == FACT_GONE)
        return engine_gone(s->c.engine, f->path, f->len, wall);
    bool dir = f->st.kind == STAMP_DIR;
    return engine_seen(s->c.engine, f->path, f->len, &f->st, dir ? NULL : &f->content, f->settled, wall);
}

static int give_all(struct scan *s, bool *news)
{
    int r = engine_begin(s->c.engine);
    if (r < 0)
        return r;
    for (size_t i = 0; i < s->nfact; i++) {
        if ((r = give(s, &s->fact[i])) < 0) {
            err_prefix(r, "%s", path_show(s->fact[i].path, s->fact[i].len));
            engine_rollback(s->c.engine);
            return r;
        }
        *news |= r > 0;
        s->counting.changed += (uint64_t)r;
    }
    return engine_commit(s->c.engine, loop_wall());
}

bool take_flush(struct scan *s)
{
    if (!s->nfact)
        return true;
    bool news = false;
    int r = give_all(s, &news);
    int64_t grain_ms = folder_granularity(s->c.folder) / 1000000;
    for (size_t i = 0; i < s->nfact; i++) {
        if (r == 0 && s->fact[i].kind == FACT_SEEN && !s->fact[i].settled)
            scan_later(s, s->fact[i].path, s->fact[i].len, (uint64_t)grain_ms + 20);
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

static void on_flush(void *arg) { take_flush(arg); }

void take_pump(struct scan *s)
{
    while (!s->stopped && s->hashing < JOBS_MAX && s->queue_at < s->nqueue)
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
    for (size_t i = s->queue_at; i < s->nqueue; i++)
        free(s->queue[i].path);
    free(s->fact);
    free(s->queue);
    pathset_release(&s->in_hash);
    pathset_release(&s->backoff);
    pathset_release(&s->told);
}

/* A former state of the folder, or of a directory in it, is brought back.
 *
 *   PLAN    which paths are to become what they were, a few hundred at a time; nothing is changed up to FETCH
 *   ASK     who has the contents that are not here. Some that nobody online has: the request fails, unless it is for what can be had
 *   FETCH   they are fetched and kept
 *   WRITE   the new versions, a transaction for WRITE_MAX of them; peers may take them from then on
 *   PLACE   the pull puts them on the disk, as it does with versions from elsewhere; what they displace is kept
 *
 * No step holds up the loop, and each is begun by the session's check. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_tree.h"
#include "node/log.h"
#include "node/note.h"
#include "proto/path.h"

#define STILL_MS (60u * 1000)          /* without any progress */
enum { WRITE_MAX = 1000, PLACE_MAX = 5000, NAMES_MAX = 10 };

/* ---- life ---- */

static int drop_wants(struct node *n, void *arg)
{
    const struct tree *t = arg;
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->nv; i++)
        if (t->v[i].asked)
            r = index_want_del(n->index, t->v[i].entry);
    return r;
}

static bool any_asked(const struct tree *t)
{
    for (size_t i = 0; i < t->nv; i++)
        if (t->v[i].asked)
            return true;
    return false;
}

static void tree_free(void *data)
{
    struct tree *t = data;
    if (any_asked(t) && api_commit(t->n, drop_wants, t) < 0)
        log_warn("wants are left over why=\"%s\"", err_text());
    for (size_t i = 0; i < t->nv; i++)
        free(t->v[i].path);
    free(t->v);
    hist_free(&t->holders);
    free(t);
}

static void late(struct session *s)
{
    err_set(ERR_TIMEOUT, "restore: nothing has moved for %u s: see lanyard status", STILL_MS / 1000);
    session_fail(s, EXIT_TIMED_OUT, err_text());
}

/* The next check comes at once. */
static void go_on(struct session *s)
{
    s->until = loop_now() + STILL_MS;
    api_poll(s->api);
}

static void next_step(struct session *s, int (*check)(struct session *))
{
    ((struct tree *)s->data)->at = 0;
    session_wait(s, check, STILL_MS, late);
}

/* ---- the reply ---- */

static void put_step(struct buf *b, const struct tree *t, const struct step *v)
{
    char id[VERSION_ID];
    struct ix_entry row = {.stream = v->stream, .seq = v->seq};
    static const char *const kinds[] = {[KIND_FILE] = "file", [KIND_DIR] = "dir", [KIND_SYMLINK] = "symlink"};
    mp_put_map(b, 6);
    put_path(b, "path", v->path, v->len);
    put_text(b, "change", v->entry ? "restore" : "delete");
    put_text(b, "kind", v->entry ? kinds[v->kind] : NULL);
    put_u64(b, "size", v->size);
    put_text(b, "version", v->entry ? version_id(t->n, &row, id) : NULL);
    put_text(b, "available", v->gone ? "gone" : v->away ? "peers" : "here");
}

static void reply_plan(struct session *s)
{
    const struct tree *t = s->data;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    mp_put_array(&b, t->nv);
    for (size_t i = 0; i < t->nv; i++)
        put_step(&b, t, &t->v[i]);
    session_reply(s, false, &b);
}

/* "a, b, c and 4 more" */
static void name_gone(const struct tree *t, struct buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < t->nv; i++)
        if (t->v[i].gone && n++ < NAMES_MAX)
            buf_addf(b, "%s%s", n > 1 ? ", " : "", path_show(t->v[i].path, t->v[i].len));
    if (n > NAMES_MAX)
        buf_addf(b, " and %zu more", n - NAMES_MAX);
    buf_add(b, "", 1);
}

static size_t count_gone(const struct tree *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->nv; i++)
        n += t->v[i].gone;
    return n;
}

static void reply_done(struct session *s)
{
    const struct tree *t = s->data;
    AUTO(buf_release) struct buf b = BUF_INIT(2 * LIMIT_CTL_REQUEST), names = BUF_INIT(LIMIT_CTL_REQUEST);
    size_t gone = count_gone(t);
    if (gone) {
        name_gone(t, &names);
        err_set(ERR_NOTFOUND, "restored all but %zu: no device that is online has the content of %s", gone,
                buf_ok(&names) ? (const char *)names.data : "many");
        session_fail(s, EXIT_FAILED, err_text());
        return;
    }
    mp_put_map(&b, 4);
    put_path(&b, "path", t->q.to.len ? t->q.to.p : t->q.dir.p, t->q.to.len ? t->q.to.len : t->q.dir.len);
    put_u64(&b, "restored", t->restored);
    put_u64(&b, "deleted", t->deleted);
    put_u64(&b, "unchanged", t->unchanged);
    session_reply(s, false, &b);
}

/* ---- PLACE ---- */

/* A want that has gone was fulfilled, or something newer has come. */
static int is_placed(struct tree *t, const struct step *v, bool *placed)
{
    int64_t path, winner;
    struct ix_want w;
    int r = index_path_id(t->n->index, v->path, v->len, false, &path);
    if (r == 0)
        r = index_path_get(t->n->index, path, NULL, &winner);
    if (r == 0)
        r = index_want_get(t->n->index, winner, &w);
    *placed = r == ERR_NOTFOUND;
    return r == ERR_NOTFOUND ? 0 : r;
}

static int check_placed(struct session *s)
{
    struct tree *t = s->data;
    size_t end = t->at + PLACE_MAX;
    bool placed = true;
    for (; t->at < t->nv && t->at < end; t->at++) {
        int r = t->v[t->at].gone ? 0 : is_placed(t, &t->v[t->at], &placed);
        if (r < 0)
            return r;
        if (!placed)
            break;
        s->until = loop_now() + STILL_MS;
    }
    if (t->at == t->nv)
        reply_done(s);
    else if (t->at == end)
        go_on(s);
    return 0;
}

/* ---- WRITE ---- */

static int write_one(struct tree *t, const struct step *v)
{
    if (t->q.to.len)
        return engine_copy(t->n->engine, v->path, v->len, v->entry, loop_wall());
    return engine_restore(t->n->engine, v->id, v->entry, loop_wall());
}

static int write_some(struct node *n, void *arg)
{
    (void)n;
    struct tree *t = arg;
    size_t end = t->at + WRITE_MAX;
    int r = 0;
    for (size_t i = t->at; r == 0 && i < t->nv && i < end; i++) {
        t->v[i].gone |= !is_here(t->n, &t->v[i].root, t->v[i].nblocks);       /* its user, or its retention, may have been quicker */
        if (!t->v[i].gone)
            r = write_one(t, &t->v[i]);
    }
    return r;
}

static int check_written(struct session *s)
{
    struct tree *t = s->data;
    int r = api_commit(t->n, write_some, t);
    if (r < 0)
        return r;
    for (size_t end = t->at + WRITE_MAX; t->at < t->nv && t->at < end; t->at++) {
        const struct step *v = &t->v[t->at];
        t->restored += !v->gone && v->entry;
        t->deleted += !v->gone && !v->entry;
    }
    if (t->at == t->nv) {
        note_put(t->n, &(struct note){.what = NOTE_STR("restored"), .path = t->q.to.len ? t->q.to : t->q.dir, .files = t->restored, .deleted = t->deleted});
        next_step(s, check_placed);
    } else {
        go_on(s);
    }
    return 0;
}

/* ---- FETCH ---- */

static bool is_missing(struct tree *t, const struct step *v) { return v->away && !v->gone && !is_here(t->n, &v->root, v->nblocks); }

static int want_some(struct node *n, void *arg)
{
    struct tree *t = arg;
    int r = 0;
    for (size_t i = t->at, k = 0; r == 0 && i < t->nv && k < WRITE_MAX; i++) {
        struct step *v = &t->v[i];
        struct ix_want w = {.entry = v->entry, .path = v->id, .stream = v->stream, .seq = v->seq, .size = v->size, .role = WANT_KEEP,
                            .kind = KIND_FILE, .root = v->root}, there;
        if (!is_missing(t, v) || (r = index_want_get(n->index, v->entry, &there)) != ERR_NOTFOUND)
            continue;
        r = index_want_put(n->index, &w);
        v->asked = r == 0;
        k++;
    }
    return r;
}

/* Wants are put as far as WRITE_MAX reaches; again when those have come, or when something else at their paths has swept them away. */
static int check_fetched(struct session *s)
{
    struct tree *t = s->data;
    struct pull_figures f;
    struct ix_want w;
    size_t before = t->at;
    for (; t->at < t->nv && !is_missing(t, &t->v[t->at]); t->at++)
        t->v[t->at].asked = false;
    pull_figures(t->n->pull, &f);
    if (t->at != before || f.bytes != t->fetched)
        s->until = loop_now() + STILL_MS;
    t->fetched = f.bytes;
    if (t->at == t->nv) {
        next_step(s, check_written);
        return 0;
    }
    int r = index_want_get(t->n->index, t->v[t->at].entry, &w);
    return r == ERR_NOTFOUND ? api_commit(t->n, want_some, t) : r;
}

/* ---- ASK ---- */

static int refuse(const struct tree *t, size_t gone)
{
    AUTO(buf_release) struct buf names = BUF_INIT(LIMIT_CTL_REQUEST);
    name_gone(t, &names);
    return err_set(ERR_NOTFOUND, "restore: of %zu changes %zu cannot be made, no device that is online has the content of %s: nothing has been "
                   "changed; try again when others are online, or bring back the rest with --partial", t->nv, gone,
                   buf_ok(&names) ? (const char *)names.data : "many");
}

static int decide(struct session *s)
{
    struct tree *t = s->data;
    struct id dev;
    for (size_t i = 0; i < t->nv; i++)
        t->v[i].gone = t->v[i].away && !hist_holders(t->holders, &t->v[i].root, &dev, 1) && !is_here(t->n, &t->v[i].root, t->v[i].nblocks);
    size_t gone = count_gone(t);
    if (t->q.dry_run)
        reply_plan(s);
    else if (gone && !t->q.partial)
        return refuse(t, gone);
    else
        next_step(s, check_fetched);
    return 0;
}

static int check_asked(struct session *s)
{
    return hist_over(((const struct tree *)s->data)->holders) ? decide(s) : 0;
}

static void late_asked(struct session *s)
{
    int r = decide(s);
    if (r < 0)
        session_fail(s, ctl_exit_code(r), err_text());
}

static void on_news(void *api) { api_poll(api); }

static void ask(struct session *s)
{
    struct tree *t = s->data;
    t->holders = hist_new(t->n->peers, control_group(t->n->home->control));
    for (size_t i = 0; i < t->nv; i++) {
        t->v[i].away = !is_here(t->n, &t->v[i].root, t->v[i].nblocks);
        if (t->v[i].away)
            hist_add(t->holders, &t->v[i].root, t->v[i].nblocks);
    }
    hist_ask(t->holders, NULL, 0, on_news, s->api);
    session_wait(s, check_asked, inquiry_ms(t->n), late_asked);
}

/* ---- PLAN ---- */

static int check_planned(struct session *s)
{
    struct tree *t = s->data;
    const struct bytes *dir = &t->q.dir;
    bool more;
    int r = tree_plan_some(t, &more);
    if (r < 0)
        return r;
    if (more)
        go_on(s);
    else if (t->existed)
        ask(s);
    else
        r = err_set(ERR_NOTFOUND, "%s: nothing is known of that time: lanyard log shows what is known",
                    dir->len ? path_show(dir->p, dir->len) : "the folder");
    return r;
}

/* ---- before ---- */

static int one_lives(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    (void)arg, (void)path, (void)name, (void)len, (void)winner;
    return 1;
}

static int must_be_free(struct tree *t)
{
    struct stamp now;
    const char *to = (const char *)t->q.to.p;
    if (!t->q.to.len)
        return 0;
    int r = folder_stat(t->n->folder, to, t->q.to.len, &now);
    if (r == 0)
        r = index_path_each(t->n->index, to, t->q.to.len, true, one_lives, NULL);
    if (r == 1 || (r == 0 && now.kind != STAMP_ABSENT))
        return err_set(ERR_EXISTS, "%s: exists already: choose another name", path_show(to, t->q.to.len));
    return r;
}

void tree_restore(struct session *s, const struct tree_request *q)
{
    struct tree *t = xcalloc(1, sizeof *t);
    t->n = s->n;
    t->q = *q;
    s->data = t;
    s->release = tree_free;
    int r = must_be_free(t);
    if (r == 0)
        r = tree_plan_dir(t);
    if (r < 0)
        session_fail(s, ctl_exit_code(r), err_text());
    else
        next_step(s, check_planned);
}

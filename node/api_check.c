/* check, and gc: the history is packed and what has expired goes, now instead of when the node is idle. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "node/check.h"

#define PROGRESS_MS 500

/* ---- gc ---- */

static int reply_figures(struct session *s)
{
    struct keeper_figures f;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    int r = keeper_figures(s->n->keeper, &f);
    if (r < 0)
        return r;
    mp_put_map(&b, 11);
    put_u64(&b, "folded", f.folded);
    put_u64(&b, "folded_bytes", f.folded_bytes);
    put_u64(&b, "expired", f.expired);
    put_u64(&b, "compacted", f.compacted);
    put_u64(&b, "forgotten", f.forgotten);
    put_u64(&b, "kept", f.kept);
    put_u64(&b, "kept_bytes", f.kept_bytes);
    put_u64(&b, "packed", f.packed);
    put_u64(&b, "current", f.current);
    put_u64(&b, "packs", f.packs);
    put_u64(&b, "pack_bytes", f.pack_bytes);
    session_reply(s, false, &b);
    return 0;
}

static int check_gc(struct session *s)
{
    struct keeper *k = s->n->keeper;
    int r = need_folder(s->n);
    if (r < 0 || keeper_passes(k) < s->number)
        return r;
    const char *why = keeper_failure(k);
    return why ? err_set(ERR_IO, "%s", why) : reply_figures(s);
}

int run_gc(struct session *s, const struct bytes *args)
{
    (void)args;
    int r = need_folder(s->n);
    if (r < 0)
        return r;
    s->number = keeper_run(s->n->keeper);
    session_wait(s, check_gc, NO_LIMIT, NULL);
    return 0;
}

/* ---- check ---- */

struct checking { struct check *check; uint64_t told; };

static void end_check(void *data)
{
    struct checking *c = data;
    check_stop(c->check);
    free(c);
}

static size_t count(const struct check_finding *v, size_t n, enum check_state state)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += v[i].state == state;
    return k;
}

static const char *outcome(const struct check_finding *f)
{
    static const char *const words[] = {[CHECK_DAMAGED] = "damaged", [CHECK_WANTED] = "not yet", [CHECK_REPAIRED] = "repaired",
                                        [CHECK_LOST] = "lost"};
    return words[f->state];
}

static void put_check(struct buf *b, struct check *check)
{
    const struct check_finding *v;
    const struct check_figures *f = check_figures(check);
    size_t n = check_findings(check, &v), good = count(v, n, CHECK_REPAIRED);
    mp_put_map(b, 8);
    put_bool(b, "ok", good == n);
    put_u64(b, "files", f->files);
    put_u64(b, "kept", f->kept);
    put_u64(b, "packs", f->packs);
    put_u64(b, "versions", f->versions);
    put_u64(b, "bytes", f->bytes);
    put_u64(b, "repaired", good);
    mp_put_str(b, "damaged");
    mp_put_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mp_put_map(b, 4);
        put_text(b, "what", v[i].what);
        put_path(b, "name", v[i].name, v[i].len);
        put_text(b, "why", v[i].why);
        put_text(b, "state", outcome(&v[i]));
    }
}

static int finish_check(struct session *s, struct check *check)
{
    const struct check_finding *v;
    size_t n = check_findings(check, &v), good = count(v, n, CHECK_REPAIRED);
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    const char *why = check_failure(check);
    if (why && n == 0)
        return err_set(ERR_IO, "%s", why);
    put_check(&b, check);
    session_reply(s, good < n || why, &b);
    s->check = NULL;
    if (why)
        return err_set(ERR_CORRUPT, "%s", why);
    if (good == n)
        return 0;
    size_t not_yet = count(v, n, CHECK_WANTED);
    return err_set(ERR_CORRUPT, "%zu of %zu damaged things could not be repaired%s", n - good, n,
                   not_yet ? ": some of them will be when a device that has them sends them: see lanyard status" :
                   ": connect a device that has them, and check again");
}

static int check_check(struct session *s)
{
    struct checking *c = s->data;
    if (check_done(c->check))
        return finish_check(s, c->check);
    if (loop_now() < c->told + PROGRESS_MS)
        return 0;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    c->told = loop_now();
    mp_put_map(&b, 1);
    put_u64(&b, "checked", check_figures(c->check)->bytes);
    session_reply(s, true, &b);
    return 0;
}

static bool under_way(const struct api *a)
{
    for (const struct session *s = a->sessions; s; s = s->next)
        if (s->state == SESSION_RUNNING && s->check == check_check)
            return true;
    return false;
}

static void on_wants(void *arg) { node_committed(arg); }

int run_check(struct session *s, const struct bytes *args)
{
    struct node *n = s->n;
    bool repair = true;
    int r = arg_bool(args, "repair", &repair);
    if (r == 0)
        r = need_folder(n);
    if (r < 0)
        return r;
    if (under_way(s->api))
        return err_set(ERR_AGAIN, "a check is under way: wait for it");
    struct check_config cc = {.loop = n->loop, .pool = n->pool, .folder = n->folder, .engine = n->engine, .index = n->index,
                              .keeper = n->keeper, .repair = repair, .committed = on_wants, .arg = n};
    cc.index_path = home_file(n->home, "index.db");
    struct checking *c = xcalloc(1, sizeof *c);
    check_new(&cc, &c->check);
    c->told = loop_now();
    s->data = c;
    s->release = end_check;
    session_wait(s, check_check, NO_LIMIT, NULL);
    return 0;
}

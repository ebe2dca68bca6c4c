/* restore: which version, or which state of a directory or of the whole folder, is to be brought back. The work is done in
 * api_restore_file.c and api_tree.c. */
#include <stdlib.h>

#include "node/api_priv.h"
#include "node/lock.h"
#include "proto/hlc.h"
#include "proto/path.h"

#define LOOK_MS (10u * 1000)
#define TOGETHER_MS (60u * 1000)

/* ---- choosing ---- */

static int choose_at(const struct history *h, uint64_t at, const struct past **out)
{
    *out = history_at(h, at);
    if (*out)
        return 0;
    return err_set(ERR_NOTFOUND, "%s: did not exist at that time: lanyard log shows its versions", path_show(h->name, h->len));
}

static int choose(const struct history *h, const char *version, uint64_t at, const struct past **out)
{
    int r = 0;
    if (version)
        r = history_find(h, version, out);
    else if (at != NO_LIMIT)
        r = choose_at(h, at, out);
    else if ((r = history_need_version(h)) == 0)
        *out = history_latest(h);
    if (r == 0 && (*out)->ent.kind == KIND_TOMBSTONE)
        return err_set(ERR_NOTFOUND, "%s: was deleted then: choose another version or time", path_show(h->name, h->len));
    return r;
}

/* ---- the request ---- */

/* What was asked for. The paths are in the session's frame. */
struct request {
    struct bytes path, to;
    char *version;
    uint64_t at;
    bool dry_run, partial;
};

static void request_free(void *data)
{
    struct request *q = data;
    free(q->version);
    free(q);
}

static void restore_tree(struct session *s, const struct request *q, uint64_t at)
{
    tree_restore(s, &(struct tree_request){.dir = q->path, .to = q->to, .at = at, .dry_run = q->dry_run, .partial = q->partial});
}

static void reply_dry(struct session *s, const struct history *h, const struct past *p, const struct bytes *to)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REQUEST);
    char id[VERSION_ID];
    mp_put_array(&b, 1);
    mp_put_map(&b, 3);
    put_path(&b, "path", to->len ? (const char *)to->p : h->name, to->len ? to->len : h->len);
    put_text(&b, "change", "restore");
    put_text(&b, "version", version_id(s->n, &p->row, id));
    session_reply(s, false, &b);
}

static int one_is(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    (void)arg, (void)path, (void)name, (void)len, (void)winner;
    return 1;
}

/* At a time when it was a directory, or may have been one: something lay in it once, and no file was there. */
static bool is_tree(struct node *n, const struct request *q, const struct history *h)
{
    const struct past *then = h->nv ? history_at(h, q->at) : NULL;
    if (q->at == NO_LIMIT || (then && then->ent.kind == KIND_DIR))
        return q->at != NO_LIMIT;
    return (!then || then->ent.kind == KIND_TOMBSTONE) &&
           index_path_each(n->index, (const char *)q->path.p, q->path.len, false, one_is, NULL) == 1;
}

/* When a directory was deleted, what was in it went just before. The time before all of that: no more than TOGETHER_MS lie between any two
 * of these deletions. */
struct deletions { uint64_t last; bool apart; };

static int deleted_with(void *arg, const struct ix_entry *row)
{
    struct deletions *d = arg;
    d->apart = d->last && d->last - hlc_ms(row->hlc) > TOGETHER_MS;
    if (!d->apart)
        d->last = hlc_ms(row->hlc);
    return d->apart;
}

static int before_deletion(struct node *n, const struct bytes *dir, uint64_t *at)
{
    struct deletions d = {0};
    int r = index_entry_deleted(n->index, (const char *)dir->p, dir->len, UINT32_MAX, deleted_with, &d);
    *at = d.last ? d.last - 1 : 0;
    return r < 0 ? r : 0;
}

static int restore(struct session *s, const struct request *q)
{
    AUTO(history_release) struct history h = {0};
    const struct past *p = NULL;
    uint64_t at = q->at;
    int r = q->path.len ? history_load_kept(s->n, &q->path, &h) : 0;
    if (r < 0 && r != ERR_NOTFOUND)
        return r;
    if (!q->path.len || is_tree(s->n, q, &h)) {
        restore_tree(s, q, at);
        return 0;
    }
    if (r == 0)
        r = choose(&h, q->version, at, &p);
    if (r < 0)
        return r;
    if (!q->version && p->ent.kind == KIND_DIR && history_winner(&h)->ent.kind == KIND_TOMBSTONE) {
        r = before_deletion(s->n, &q->path, &at);
        if (r == 0)
            restore_tree(s, q, at);
        return r;
    }
    if (!q->dry_run)
        return restore_file(s, &h, p, &q->to);
    reply_dry(s, &h, p, &q->to);
    return 0;
}

static void looked(struct session *s)
{
    struct request *q = s->data;
    s->data = NULL;
    s->release = NULL;
    s->check = NULL;
    int r = restore(s, q);
    request_free(q);
    if (r < 0)
        session_fail(s, ctl_exit_code(r), err_text());
}

static int check_looked(struct session *s)
{
    if (scan_idle(s->n->scan))
        looked(s);
    return 0;
}

/* What was done to the disk a moment ago is recorded first: it is a version then, and what is brought back comes after it. A folder in
 * which there is always something going on is not waited for longer: what is not recorded is in nobody's way, but kept. */
static void begin_look(struct session *s, const struct request *q)
{
    if (q->path.len)
        scan_hint(s->n->scan, (const char *)q->path.p, q->path.len, true);
    else
        scan_all(s->n->scan);
    session_wait(s, check_looked, LOOK_MS, looked);
}

static int read_request(const struct bytes *args, struct request *q)
{
    int r = arg_path(args, "path", false, &q->path);
    if (r == 0)
        r = arg_path(args, "to", false, &q->to);
    if (r == 0)
        r = arg_u64(args, "at", &q->at);
    if (r == 0)
        r = arg_bool(args, "dry_run", &q->dry_run);
    if (r == 0)
        r = arg_bool(args, "partial", &q->partial);
    if (r == 0)
        r = arg_text(args, "version", &q->version);
    if (r == 0 && !q->path.len && (q->at == NO_LIMIT || q->version))
        r = err_set(ERR_USAGE, "restore: of the whole folder: which time?");
    return r;
}

/* Of a time before that of the last thing that was forgotten only a part is known. */
static int need_known(struct node *n, uint64_t at)
{
    uint64_t from;
    char text[40];
    int r = engine_forgotten_ms(n->engine, &from);
    if (r < 0 || at >= from)
        return r;
    node_time(text, from);
    return err_set(ERR_NOTFOUND, "restore: what there was at that time has been forgotten here; it is known from %s on", text);
}

int run_restore(struct session *s, const struct bytes *args)
{
    struct request *q = xcalloc(1, sizeof *q);
    q->at = NO_LIMIT;
    s->data = q;
    s->release = request_free;
    int r = read_request(args, q);
    if (r == 0)
        r = need_folder(s->n);
    if (r == 0)
        r = need_writer(s->n);
    if (r == 0 && !q->dry_run)
        r = need_unlocked(s->n);
    if (r == 0)
        r = need_known(s->n, q->at);
    if (r == 0)
        begin_look(s, q);
    return r;
}

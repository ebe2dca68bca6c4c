/* The content of a version, from this disk or from a peer; cat.
 *
 * cat reads a few MiB a job and begins the next one when the client has taken most of them: a slow reader holds neither a worker nor
 * memory, and every block is checked against its id before a byte of it is sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/api_priv.h"
#include "node/log.h"
#include "proto/path.h"

#define FETCH_MS (60u * 1000)
#define CAT_PIECE (1u << 20)           /* of one frame */
#define CAT_BATCH (2u << 20)           /* read a job, and at most one block more */

/* ---- a work ---- */

static bool in_blocks(const struct work *w) { return w->ent.kind == KIND_FILE && w->ent.content.type == CONTENT_BLOCKS; }

static int drop_want(struct node *n, void *arg)
{
    return index_want_del(n->index, ((struct work *)arg)->row.id);
}

static void work_free(struct work *w)
{
    if (w->end)
        w->end(w);
    entry_release(&w->ent);
    buf_release(&w->raw);
    place_of_release(&w->at);
    content_list_release(&w->list);
    hist_free(&w->holders);
    free(w->path);
    free(w);
}

/* The session has gone. A want that was only for it goes too, or it would count as something that is still to be synced. */
static void work_release(void *data)
{
    struct work *w = data;
    w->s = NULL;
    if (w->asked && api_commit(w->n, drop_want, w) < 0)
        log_warn("a want is left over why=\"%s\"", err_text());
    w->asked = false;
    if (!w->running)
        work_free(w);
}

int work_new(struct session *s, const struct history *h, const struct past *p, size_t size, struct work **out)
{
    struct work *w = xcalloc(1, size);
    w->n = s->n;
    w->raw = (struct buf)BUF_INIT(LIMIT_ENTRY);
    int r = p->row.id ? engine_entry(s->n->engine, p->row.id, &w->raw, &w->ent, &w->row) : 0;
    if (r < 0) {
        work_free(w);
        return r;
    }
    w->path = xcalloc(h->len + 1, 1);
    w->len = h->len;
    memcpy(w->path, h->name, h->len);
    if (!p->row.id) {
        w->row = p->row;
        w->ent = p->ent;
        w->ent.path.p = (const uint8_t *)w->path;
    }
    version_id(s->n, &p->row, w->version);
    snprintf(w->device, sizeof w->device, "%s", version_device(s->n, &p->row));
    w->s = s;
    s->data = w;
    s->release = work_release;
    *out = w;
    return 0;
}

void work_submit(struct work *w)
{
    w->running = true;
    w->code = ERR_CLOSED;
    snprintf(w->text, sizeof w->text, "the node is ending");
    pool_submit(w->n->pool, &w->job);
}

bool work_back(struct work *w)
{
    w->running = false;
    if (w->s)
        return true;
    work_free(w);
    return false;
}

int work_failed(struct work *w, int code)
{
    w->code = code;
    snprintf(w->text, sizeof w->text, "%s", err_text());
    return code;
}

/* ---- finding the content ---- */

static int locate(struct work *w)
{
    const struct content *c = &w->ent.content;
    place_of_release(&w->at);
    int r = serve_find(w->n->index, &c->root, &w->at);
    if (r == 0)
        r = serve_gather(w->n->index, &w->at);
    if (r < 0 || c->nblocks < 2 || w->list.refs)
        return r;
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    size_t len = 0;
    r = index_tree_get(w->n->index, &c->root, &refs);
    if (r == 0 && refs.len != (size_t)c->nblocks * BLOCK_REF)
        r = err_set(ERR_CORRUPT, "index: the block list of %s is damaged: run lanyard check", path_show(w->path, w->len));
    if (r == 0)
        w->list.refs = buf_steal(&refs, &len);
    return r;
}

static int put_want(struct node *n, void *arg)
{
    const struct work *w = arg;
    struct ix_want want = {.entry = w->row.id, .path = w->row.path, .stream = w->row.stream, .seq = w->row.seq, .size = w->row.size,
                           .role = WANT_KEEP, .kind = w->row.kind, .root = w->row.root};
    return index_want_put(n->index, &want);
}

/* Unless it is wanted already. */
static int ask(struct work *w)
{
    struct ix_want there;
    int r = index_want_get(w->n->index, w->row.id, &there);
    if (r != ERR_NOTFOUND)
        return r;
    r = api_commit(w->n, put_want, w);
    w->asked |= r == 0;
    return r;
}

static int check_content(struct session *s)
{
    struct work *w = s->data;
    int r = locate(w);
    if (r == ERR_NOTFOUND)
        return ask(w);
    if (r < 0)
        return r;
    s->check = NULL;
    w->asked = false;
    return w->go(w);
}

static void late_content(struct session *s)
{
    const struct work *w = s->data;
    err_set(ERR_TIMEOUT, "version %s of %s is not on this device, and no device that is online has sent it within %u s: try again later",
            w->version, path_show(w->path, w->len), FETCH_MS / 1000);
    session_fail(s, EXIT_TIMED_OUT, err_text());
}

/* Somebody holds it: it is wanted for as long as the session lives. */
static int fetch(struct session *s)
{
    struct work *w = s->data;
    struct id dev;
    if (!hist_holders(w->holders, &w->ent.content.root, &dev, 1))
        return err_set(ERR_NOTFOUND, "version %s of %s is not on this device, and no device that is online has it: it was made on %s: "
                       "try again when that or another one is online", w->version, path_show(w->path, w->len), w->device);
    int r = ask(w);
    if (r == 0)
        session_wait(s, check_content, FETCH_MS, late_content);
    return r;
}

static int check_holders(struct session *s)
{
    return hist_over(((const struct work *)s->data)->holders) ? fetch(s) : 0;
}

static void late_holders(struct session *s)
{
    int r = fetch(s);
    if (r < 0)
        session_fail(s, ctl_exit_code(r), err_text());
}

static void on_news(void *api) { api_poll(api); }

int work_begin(struct work *w)
{
    w->list = (struct content_list){.type = w->ent.content.type, .class = w->ent.content.class, .nblocks = w->ent.content.nblocks,
                                    .root = w->ent.content.root, .size = w->ent.size};
    int r = in_blocks(w) ? locate(w) : 0;
    if (r == 0)
        return w->go(w);
    if (r == ERR_NOTFOUND && !w->row.id)
        return err_set(ERR_NOTFOUND, "%s: what was kept as %s is not here any more: lanyard log shows what is", path_show(w->path, w->len), w->version);
    if (r != ERR_NOTFOUND)
        return r;
    w->holders = hist_new(w->n->peers, control_group(w->n->home->control));
    hist_add(w->holders, &w->ent.content.root, w->ent.content.nblocks);
    hist_ask(w->holders, NULL, 0, on_news, w->s->api);
    session_wait(w->s, check_holders, inquiry_ms(w->n), late_holders);
    return 0;
}

struct stale { struct engine *e; int64_t entry[256]; size_t n; };

static int take_stale(void *arg, const struct ix_want *w)
{
    struct stale *t = arg;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    if (w->role != WANT_KEEP || engine_entry(t->e, w->entry, &raw, &ent, &row) < 0 || row.live)
        return 0;
    t->entry[t->n++] = w->entry;
    return t->n == sizeof t->entry / sizeof *t->entry;
}

static int drop_stale(struct node *n, void *arg)
{
    struct stale *t = arg;
    int r;
    do {
        t->n = 0;
        r = index_want_each(n->index, 0, take_stale, t);
        for (size_t i = 0; r >= 0 && i < t->n; i++)
            if (index_want_del(n->index, t->entry[i]) < 0)
                return ERR_IO;
    } while (r > 0);
    return r;
}

int api_clean_up(struct node *n)
{
    return api_commit(n, drop_stale, &(struct stale){.e = n->engine});
}

/* ---- cat ---- */

struct cat {
    struct work w;
    int fd;
    uint32_t next;                     /* block to be read next, at byte `off` */
    uint64_t off;
    uint8_t *data; size_t used;
};

static void cat_end(struct work *w)
{
    struct cat *c = (struct cat *)w;
    if (c->fd >= 0)
        close(c->fd);
    free(c->data);
}

static int cat_open(struct cat *c)
{
    struct work *w = &c->w;
    if (c->fd >= 0)
        return 0;
    const struct content_list *l = &w->list;
    int r = l->refs ? block_list_check(l->refs, l->nblocks, &l->root, l->size) : l->size <= LIMIT_BLOCK ? 0 : ERR_BAD;
    if (r < 0)
        return err_set(ERR_CORRUPT, "its block list is damaged");
    c->data = xrealloc(NULL, CAT_BATCH + LIMIT_BLOCK, 1);
    int fd;
    r = serve_open(w->n->folder, &w->at, &fd);
    if (r == 0)
        c->fd = fd;
    return r;
}

static void cat_run(struct job *j)
{
    struct cat *c = (struct cat *)j;
    const struct content_list *l = &c->w.list;
    int r = cat_open(c);
    c->used = 0;
    while (r == 0 && c->next < l->nblocks && c->used < CAT_BATCH) {
        struct block_ref ref = {l->root, (uint32_t)l->size};
        if (l->refs)
            block_ref_get(l->refs + (size_t)c->next * BLOCK_REF, &ref);
        r = content_block(c->fd, c->off, ref.len, &ref.id, c->data + c->used);
        if (r < 0)
            break;
        c->next++;
        c->off += ref.len;
        c->used += ref.len;
    }
    c->w.code = 0;
    if (r < 0)
        work_failed(&c->w, r);
}

static void send_piece(struct session *s, const uint8_t *p, size_t len)
{
    AUTO(buf_release) struct buf b = BUF_INIT(CAT_PIECE + 16u);
    mp_put_bin(&b, p, len);
    session_reply(s, true, &b);
}

/* The file is not what the index believes: it is looked at again, and then its content may be found elsewhere. */
static void cat_failed(struct cat *c)
{
    struct work *w = &c->w;
    if (!w->at.kept && w->n->scan)
        scan_hint(w->n->scan, w->at.path, w->at.len, false);
    err_set(ERR_IO, "%s: cannot be read here just now: %s: try again", path_show(w->path, w->len), w->text);
    session_fail(w->s, EXIT_FAILED, err_text());
}

static void cat_next(struct session *s)
{
    struct cat *c = s->data;
    if (!c->w.running && s->state == SESSION_RUNNING && session_waiting(s) < SESSION_LOW)
        work_submit(&c->w);
}

static void cat_done(struct job *j)
{
    struct cat *c = (struct cat *)j;
    if (!work_back(&c->w))
        return;
    struct session *s = c->w.s;
    if (c->w.code < 0) {
        cat_failed(c);
        return;
    }
    for (size_t at = 0; at < c->used; at += CAT_PIECE)
        send_piece(s, c->data + at, c->used - at < CAT_PIECE ? c->used - at : CAT_PIECE);
    if (c->next == c->w.list.nblocks)
        session_reply(s, false, NULL);
    else
        cat_next(s);
}

static int cat_go(struct work *w)
{
    if (in_blocks(w)) {
        w->s->drained = cat_next;
        work_submit(w);
        return 0;
    }
    const struct bytes *b = &w->ent.content.inline_bytes;
    if (b->len)
        send_piece(w->s, b->p, b->len);
    session_reply(w->s, false, NULL);
    return 0;
}

static int cat_version(struct session *s, const struct bytes *path, const char *version)
{
    AUTO(history_release) struct history h;
    int r = history_load_kept(s->n, path, &h);
    if (r < 0)
        return r;
    const struct past *p = h.nv ? history_winner(&h) : NULL;
    r = version ? history_find(&h, version, &p) : history_need_version(&h);
    if (r == 0 && p->ent.kind == KIND_DIR)
        r = err_set(ERR_BAD, "%s: is a directory: name a file in it", path_show(h.name, h.len));
    if (r == 0 && p->ent.kind == KIND_TOMBSTONE)
        r = err_set(ERR_NOTFOUND, "%s: is deleted: choose a version that lanyard log shows", path_show(h.name, h.len));
    struct work *w = NULL;
    if (r == 0)
        r = work_new(s, &h, p, sizeof(struct cat), &w);
    if (r < 0)
        return r;
    w->job = (struct job){.run = cat_run, .done = cat_done, .slow = true};
    w->go = cat_go;
    w->end = cat_end;
    ((struct cat *)w)->fd = -1;
    return work_begin(w);
}

int run_cat(struct session *s, const struct bytes *args)
{
    AUTOFREE char *version = NULL;
    struct bytes path;
    int r = arg_path(args, "path", true, &path);
    if (r == 0)
        r = arg_text(args, "version", &version);
    if (r == 0)
        r = need_folder(s->n);
    return r == 0 ? cat_version(s, &path, version) : r;
}

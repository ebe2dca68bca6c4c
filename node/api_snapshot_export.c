/* A snapshot as a tar archive, sent in pieces. As with cat, a job reads a few MiB and the next one begins when the client has taken most
 * of them; every block is checked against its id before a byte of it is sent.
 *
 * The loop says for a few items at a time where their contents lie; the worker writes headers and reads. A file that is changed while it
 * is being read is looked for again, and read on from where it was: its content may be among the kept versions meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/api_snapshot.h"
#include "proto/path.h"
#include "store/tar.h"

enum { PART = 64, RETRY_MS = 300 };    /* items prepared at a time */
#define PIECE (1u << 20)               /* of one frame */
#define BATCH_BYTES (2u << 20)         /* read a job, and at most one block more */

struct part {
    struct buf raw; struct entry ent;
    bool blocks;                       /* its content lies in a file */
    struct place_of at; struct content_list list;
};
struct export {
    struct moment m;
    struct job job;
    struct part part[PART]; size_t n_parts;
    size_t at;                         /* the part that is being written */
    bool headed; int fd; uint32_t next; uint64_t off;     /* of it: header written; block to be read next */
    uint8_t *block;
    struct buf out;
    int code; char text[256];
};

/* ---- life cycle ---- */

static void part_release(struct part *p)
{
    buf_release(&p->raw);
    entry_release(&p->ent);
    place_of_release(&p->at);
    content_list_release(&p->list);
    *p = (struct part){0};
}

static void parts_release(struct export *e)
{
    for (size_t i = 0; i < e->n_parts; i++)
        part_release(&e->part[i]);
    e->n_parts = e->at = 0;
}

static void export_end(struct moment *m)
{
    struct export *e = (struct export *)m;
    parts_release(e);
    if (e->fd >= 0)
        close(e->fd);
    free(e->block);
    buf_release(&e->out);
}

/* ---- in the worker ---- */

static void put_header(struct export *e, const struct part *p)
{
    const struct entry *ent = &p->ent;
    struct tar_item t = {.path = (const char *)ent->path.p, .len = ent->path.len, .mode = ent->mode, .mtime_ns = ent->mtime_ns};
    switch (ent->kind) {
    case KIND_DIR:
        t.type = TAR_DIR;
        t.mtime_ns = (int64_t)(e->m.time_ms * 1000000);    /* entries do not say when a directory was changed */
        break;
    case KIND_SYMLINK:
        t.type = TAR_SYMLINK;
        t.target = ent->content.inline_bytes;
        t.mode = 0777;
        break;
    default:
        t.type = TAR_FILE;
        t.size = ent->size;
    }
    tar_header(&e->out, &t);
    e->headed = true;
}

static int open_part(struct export *e, const struct part *p)
{
    const struct content_list *l = &p->list;
    if (e->fd >= 0)
        return 0;
    int r = l->refs ? block_list_check(l->refs, l->nblocks, &l->root, l->size) : l->size <= LIMIT_BLOCK ? 0 : ERR_BAD;
    if (r < 0)
        return err_set(ERR_CORRUPT, "its block list is damaged");
    int fd;
    r = serve_open(e->m.n->folder, &p->at, &fd);
    if (r == 0)
        e->fd = fd;
    return r;
}

static int put_blocks(struct export *e, const struct part *p)
{
    const struct content_list *l = &p->list;
    int r = open_part(e, p);
    while (r == 0 && e->next < l->nblocks && e->out.len < BATCH_BYTES) {
        struct block_ref ref = {l->root, (uint32_t)l->size};
        if (l->refs)
            block_ref_get(l->refs + (size_t)e->next * BLOCK_REF, &ref);
        r = content_block(e->fd, e->off, ref.len, &ref.id, e->block);
        if (r < 0)
            break;
        buf_add(&e->out, e->block, ref.len);
        e->next++;
        e->off += ref.len;
    }
    return r;
}

/* 1 = the part is written whole. */
static int put_part(struct export *e, const struct part *p)
{
    if (!e->headed)
        put_header(e, p);
    if (p->ent.kind != KIND_FILE)
        return 1;
    const struct bytes *b = &p->ent.content.inline_bytes;
    if (!p->blocks) {
        buf_add(&e->out, b->p, b->len);
    } else {
        int r = put_blocks(e, p);
        if (r < 0)
            return r;
        if (e->next < p->list.nblocks)
            return 0;
    }
    tar_pad(&e->out, p->ent.size);
    return 1;
}

static void run(struct job *j)
{
    struct export *e = (struct export *)((char *)j - offsetof(struct export, job));
    int r = 1;
    while (r == 1 && e->at < e->n_parts && e->out.len < BATCH_BYTES) {
        r = put_part(e, &e->part[e->at]);
        if (r != 1)
            break;
        if (e->fd >= 0)
            close(e->fd);
        e->fd = -1;
        e->at++;
        e->headed = false;
        e->next = 0;
        e->off = 0;
    }
    e->code = r < 0 ? r : 0;
    if (r < 0)
        snprintf(e->text, sizeof e->text, "%s", err_text());
}

/* ---- where a content lies ---- */

static int locate(struct moment *m, struct part *p)
{
    const struct content *c = &p->ent.content;
    place_of_release(&p->at);
    int r = serve_find(m->n->index, &c->root, &p->at);
    if (r == 0)
        r = serve_gather(m->n->index, &p->at);
    if (r < 0 || c->nblocks < 2 || p->list.refs)
        return r;
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    size_t len = 0;
    r = index_tree_get(m->n->index, &c->root, &refs);
    if (r == 0 && refs.len != (size_t)c->nblocks * BLOCK_REF)
        r = err_set(ERR_CORRUPT, "index: the block list of %s is damaged: run lanyard check", path_show(p->ent.path.p, p->ent.path.len));
    if (r == 0)
        p->list.refs = buf_steal(&refs, &len);
    return r;
}

static int prepare(struct moment *m, struct part *p, int64_t entry)
{
    struct ix_entry row;
    p->raw = (struct buf)BUF_INIT(LIMIT_ENTRY);
    int r = engine_entry(m->n->engine, entry, &p->raw, &p->ent, &row);
    const struct content *c = &p->ent.content;
    p->blocks = r == 0 && p->ent.kind == KIND_FILE && c->type == CONTENT_BLOCKS;
    if (!p->blocks)
        return r;
    p->list = (struct content_list){.type = c->type, .class = c->class, .nblocks = c->nblocks, .root = c->root, .size = p->ent.size};
    r = locate(m, p);
    return r == ERR_NOTFOUND ? 0 : r;      /* gone again since it was gathered: opening fails, and it is looked for anew */
}

/* Something that lives beneath a file or link: there the directory was shown. */
static bool is_hidden(const struct moment *m, size_t i)
{
    const struct item *it = &m->v[i];
    return it->kind != KIND_DIR && i + 1 < m->n_items && path_beneath(m->v[i + 1].name, m->v[i + 1].len, it->name, it->len);
}

static int next_parts(struct export *e)
{
    struct moment *m = &e->m;
    int r = 0;
    parts_release(e);
    for (; r == 0 && e->n_parts < PART && m->at < m->n_items; m->at++)
        if (!is_hidden(m, m->at))
            r = prepare(m, &e->part[e->n_parts++], m->v[m->at].entry);
    return r;
}

/* ---- sending ---- */

static void send_out(struct export *e)
{
    for (size_t at = 0; at < e->out.len; at += PIECE) {
        AUTO(buf_release) struct buf b = BUF_INIT(PIECE + 16u);
        mp_put_bin(&b, e->out.data + at, e->out.len - at < PIECE ? e->out.len - at : PIECE);
        session_reply(e->m.s, true, &b);
    }
    buf_clear(&e->out);
}

static void submit(struct export *e)
{
    e->m.running = true;
    e->code = ERR_CLOSED;
    snprintf(e->text, sizeof e->text, "the node is ending");
    pool_submit(e->m.n->pool, &e->job);
}

static void fail(struct export *e, int r) { session_fail(e->m.s, ctl_exit_code(r), err_text()); }

static void proceed(struct session *s)
{
    struct export *e = s->data;
    if (e->m.running || s->check || s->state != SESSION_RUNNING || session_waiting(s) >= SESSION_LOW)
        return;
    int r = e->at == e->n_parts ? next_parts(e) : 0;
    if (r < 0) {
        fail(e, r);
    } else if (e->n_parts) {
        submit(e);
    } else {
        tar_end(&e->out);
        send_out(e);
        session_reply(s, false, NULL);
    }
}

/* The content is looked for where it may be now. */
static int check_again(struct session *s)
{
    struct export *e = s->data;
    struct part *p = &e->part[e->at];
    if (loop_now() - s->began < RETRY_MS || !scan_idle(s->n->scan))
        return 0;
    int r = locate(&e->m, p);
    if (moment_stalled(&e->m))
        return err_set(ERR_CHANGED, "%s: was changed while it was being exported, and its old content is not on this device any more: try again",
                       path_show(p->ent.path.p, p->ent.path.len));
    if (r < 0)
        return r == ERR_NOTFOUND ? 0 : r;
    s->check = NULL;
    proceed(s);
    return 0;
}

static void trouble(struct export *e)
{
    const struct part *p = &e->part[e->at];
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
    if (e->code == ERR_CLOSED) {
        err_set(ERR_CLOSED, "%s", e->text);
        fail(e, e->code);
        return;
    }
    if (!p->at.kept && p->at.path && e->m.n->scan)
        scan_hint(e->m.n->scan, p->at.path, p->at.len, false);
    session_wait(e->m.s, check_again, NO_LIMIT, NULL);
}

static void done(struct job *j)
{
    struct export *e = (struct export *)((char *)j - offsetof(struct export, job));
    e->m.running = false;
    if (!e->m.s) {
        moment_free(&e->m);
        return;
    }
    if (e->out.len)
        e->m.progress = loop_now();
    send_out(e);
    if (e->code < 0)
        trouble(e);
    else
        proceed(e->m.s);
}

static int begin(struct moment *m)
{
    struct export *e = (struct export *)m;
    e->block = xrealloc(NULL, LIMIT_BLOCK, 1);
    m->progress = loop_now();
    m->s->drained = proceed;
    proceed(m->s);
    return 0;
}

int snapshot_export(struct session *s, const char *name, const char *device)
{
    struct moment *m;
    int r = need_folder(s->n);
    if (r == 0)
        r = moment_new(s, name, device, NULL, sizeof(struct export), &m);
    if (r < 0)
        return r;
    struct export *e = (struct export *)m;
    e->fd = -1;
    e->job = (struct job){.run = run, .done = done, .slow = true};
    e->out = (struct buf)BUF_INIT(BATCH_BYTES + LIMIT_BLOCK + PART * (size_t)(TAR_HEADER_MAX + 4096u));
    m->go = begin;
    m->end = export_end;
    moment_begin(m);
    return 0;
}

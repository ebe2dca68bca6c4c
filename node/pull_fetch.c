/* Blocks from peers. A block may be asked of several sources, when one of them is late; it is taken from the first that sends it. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"
#include "proto/lanes.h"
#include "proto/path.h"
#include "store/database.h"
#include "store/sys.h"

#define SILENT_REST_MS 10000

/* ---- requests ---- */

static struct block_request *of_job(struct job *j) { return (struct block_request *)((char *)j - offsetof(struct block_request, job)); }
static bool alive(const struct piece *v) { return v->it && !v->it->cancelled && v->it->state == ITEM_BLOCKS; }

/* Somebody is to be asked for it, unless it has come. */
static void give_back(struct pull *p, struct piece *v)
{
    if (bit(v->it->have, v->idx))
        return;
    p->asked_to = NULL;
    bit_clear(v->it->asked, v->idx);
    v->it->next = v->idx < v->it->next ? v->idx : v->it->next;
}

static void blocks_forget(struct request *r, const struct item *it)
{
    struct block_request *q = (struct block_request *)r;
    for (uint32_t i = 0; i < q->n; i++) {
        struct item *old = q->v[i].it;
        if (!old || (it && it != old))
            continue;
        q->v[i].it = NULL;
        old->late--;
        item_unref(r->p, old);
    }
}

static void piece_turn(struct request *r, struct piece *v, bool late)
{
    v->it->late += late ? 1u : (unsigned)-1;
    if (!alive(v))
        return;
    if (!late) {
        bit_set(v->it->asked, v->idx);
        return;
    }
    give_back(r->p, v);
    if (r->overtaken)
        deny(v->it, &r->dev);
}

static void blocks_turn(struct request *r, bool late)
{
    struct block_request *q = (struct block_request *)r;
    r->p->fetching += late ? (size_t)-1 : 1;
    for (uint32_t i = 0; i < q->n; i++)
        if (q->v[i].it)
            piece_turn(r, &q->v[i], late);
    for (uint32_t i = 0; late && i < q->n; i++)
        if (q->v[i].it && !alive(&q->v[i]))
            blocks_forget(r, q->v[i].it);
    pull_wake(r->p, 0);
}

/* ---- writing ---- */

static bool is_block(const uint8_t *data, size_t len, const struct id *id)
{
    struct id have = id_hash(data, len);
    return id_eq(&have, id);
}

static const uint8_t *bytes_of(const struct block_request *q, const struct piece *v)
{
    return (const uint8_t *)zmq_msg_data((zmq_msg_t *)&q->body) + v->off;
}

/* What is not what its id says is not written: code ERR_CORRUPT. */
static void verify(struct block_request *q)
{
    struct bytes text[LIMIT_GET_BLK] = {0};
    struct id found[LIMIT_GET_BLK];
    struct piece *of[LIMIT_GET_BLK];
    size_t n = 0;
    for (uint32_t i = 0; i < q->n; i++) {
        if (q->v[i].code <= 0)
            continue;
        text[n] = (struct bytes){bytes_of(q, &q->v[i]), q->v[i].len};
        of[n++] = &q->v[i];
    }
    lanes_hash(text, n, found);
    for (size_t i = 0; i < n; i++)
        if (!id_eq(&found[i], &of[i]->id))
            of[i]->code = ERR_CORRUPT;
}

/* room: whether there is any for what is new. */
static void write_one(const struct pull *p, const struct block_request *q, struct piece *v, int room)
{
    int fd = v->it->fd;
    v->code = fd < 0 ? room : 0;
    if (v->code == 0 && fd < 0)
        v->code = folder_tmp_create(p->c.folder, v->it->tmp, v->len, &fd);
    if (v->code == 0 && sys->pwrite(fd, bytes_of(q, v), v->len, (off_t)v->at) != (ssize_t)v->len)
        v->code = err_set(ERR_FULL, "%s: writing a download: %m", folder_path(p->c.folder));
    if (v->it->fd >= 0 || fd < 0)
        return;
    v->plain = !database_begins(bytes_of(q, v), v->len);
    folder_tmp_dress(fd, v->mode, v->it->ent.mtime_ns);
    close(fd);
}

/* The disk begins with what was written while more comes in, so that the flush before the rename finds little to wait for. It says nothing
 * of errors: that is the flush's part. */
static void push_out(const struct block_request *q)
{
    for (uint32_t i = 0, n; i < q->n; i = n) {
        const struct piece *v = &q->v[i];
        uint64_t end = v->at + v->len;
        for (n = i + 1; n < q->n && q->v[n].it == v->it && q->v[n].at == end && q->v[n].code == 0; n++)
            end += q->v[n].len;
        if (v->code == 0 && v->it->fd >= 0)
            (void)!sync_file_range(v->it->fd, (off_t)v->at, (off_t)(end - v->at), SYNC_FILE_RANGE_WRITE);
    }
}

static void write_run(struct job *job)
{
    struct block_request *q = of_job(job);
    verify(q);
    int room = folder_room(q->r.p->c.folder, q->bytes);
    for (uint32_t i = 0; i < q->n; i++)
        if (q->v[i].code > 0)
            write_one(q->r.p, q, &q->v[i], room);
    push_out(q);
}

static void written(struct pull *p, struct block_request *q, struct piece *v)
{
    struct item *it = v->it;
    if (v->code == 0) {
        it->troubled = false;
        it->futile = 0;
        it->plain = v->plain;
        p->figures.blocks++;
        p->figures.bytes += v->len;
        share_news(p, it, v->idx);
        if (--it->missing == 0) {
            if (it->fd >= 0)
                close(it->fd);
            it->fd = -1;
            item_state(p, it, ITEM_READY);
        }
        return;
    }
    bit_clear(it->have, v->idx);
    give_back(p, v);
    if (v->code == ERR_CORRUPT) {
        it->futile++;
        strike(p, &q->r.dev, "a block is not what its id says");
        deny(it, &q->r.dev);
    } else if (v->code == ERR_FULL || v->code == ERR_IO) {
        it->troubled = true;
        pull_set_failed(p, "the disk of the folder is full or cannot be written");
        item_fail(p, it, 2000);
    }
}

/* What was asked for counts against the credit until it is on disk: a slow disk slows the asking. */
static void request_end(struct block_request *q)
{
    struct pull *p = q->r.p;
    struct source *s = source_find(p, &q->r.dev);
    s->outstanding -= q->bytes;
    s->requests--;
    p->fetching--;
    for (uint32_t i = 0; i < q->n; i++)
        if (q->v[i].it)
            item_unref(p, q->v[i].it);
    pull_wake(p, 0);
    free(q);
}

static void write_done(struct job *job)
{
    struct block_request *q = of_job(job);
    for (uint32_t i = 0; i < q->n; i++)
        if (alive(&q->v[i]) && q->v[i].code <= 0 && q->v[i].code != ERR_CLOSED)
            written(q->r.p, q, &q->v[i]);
    zmq_msg_close(&q->body);
    request_end(q);
}

/* ---- answers ---- */

/* Which pieces of the body are whose: lengths as asked for, in the order of the reply. code 1 = to be written. */
static int sort_reply(struct block_request *q, const struct msg *m, zmq_msg_t *body)
{
    const uint8_t *data = zmq_msg_data(body);
    size_t off = 0, len = zmq_msg_size(body);
    for (uint32_t i = 0; i < m->blk.n; i++) {
        const struct msg_blk_item *b = &m->blk.item[i];
        if (b->item >= q->n || (b->status == BLK_OK && b->len > len - off))
            return err_set(ERR_BAD, "blocks: not what was asked for");
        struct piece *v = &q->v[b->item];
        if (b->status == BLK_OK && b->len != v->len) {
            if (!is_block(data + off, b->len, &v->id))
                return err_set(ERR_BAD, "blocks: not what was asked for");
            off += b->len;               /* the entry says something else of it, and is wrong: it stays ERR_NOTFOUND */
            continue;
        }
        v->code = b->status == BLK_OK ? 1 : b->status == BLK_BUSY ? ERR_AGAIN : ERR_NOTFOUND;
        v->off = (uint32_t)off;
        off += b->status == BLK_OK ? b->len : 0;
    }
    return off == len ? 0 : err_set(ERR_BAD, "blocks: more than was asked for");
}

/* What an owner has not had yet. It is no fault of its, and nothing that it will not have later. */
static void owner_missing(struct block_request *q, bool late)
{
    bool some = false, all = true, unknown = false;
    for (uint32_t i = 0; i < q->n; i++) {
        struct piece *v = &q->v[i];
        some |= v->code > 0;
        all &= v->code > 0;
        unknown |= v->code == ERR_NOTFOUND;
        if (v->code > 0)
            continue;
        if (alive(v) && !late)
            give_back(q->r.p, v);
        v->code = ERR_CLOSED;
    }
    if (some)
        share_helped(source_find(q->r.p, &q->r.dev));
    else if (!all)
        share_stalled(q->r.p, source_find(q->r.p, &q->r.dev), unknown);
}

/* What has not come. If the request was late, others have been asked for it since. */
static void missing(struct block_request *q, const struct msg *m, bool late)
{
    for (uint32_t i = 0; i < q->n; i++) {
        struct piece *v = &q->v[i];
        if (v->code > 0)
            continue;
        if (alive(v) && !late)
            give_back(q->r.p, v);
        if (alive(v) && v->code == ERR_NOTFOUND)
            deny(v->it, &q->r.dev);
        if (alive(v) && v->code == ERR_AGAIN && m && m->type == MSG_BLK)
            rest(q->r.p, source_find(q->r.p, &q->r.dev), 0);
        if (alive(v) && m && (i == 0 || q->v[i - 1].it != v->it))
            v->it->futile++;
        v->code = ERR_CLOSED;
    }
}

/* Who waits for a version that has been superseded may wait for ever: those who never had it skip it, and say so to nobody. */
static void drop_outdated(struct block_request *q)
{
    for (uint32_t i = 0; i < q->n; i++)
        if (alive(&q->v[i]) && q->v[i].code == ERR_CLOSED && (i == 0 || q->v[i - 1].it != q->v[i].it))
            (void)item_outdated(q->r.p, q->v[i].it);
}

/* Each block is written once, by whoever has it first: to be written counts as had. */
static void claim(struct block_request *q)
{
    for (uint32_t i = 0; i < q->n; i++) {
        struct piece *v = &q->v[i];
        if (v->code <= 0)
            continue;
        if (!alive(v) || bit(v->it->have, v->idx)) {
            v->code = ERR_CLOSED;
            continue;
        }
        bit_set(v->it->have, v->idx);
        bit_set(v->it->asked, v->idx);
        v->mode = engine_disk_mode(q->r.p->c.engine, &v->it->ent);
    }
}

/* No answer at all. It is different with a link that has died: it may be back at once. */
static void unanswered(struct block_request *q)
{
    struct pull *p = q->r.p;
    const struct link *l = peers_link(p->c.peers, &q->r.dev);
    if (p->freeing || !l || link_state(l) == LINK_DEAD)
        return;
    for (uint32_t i = 0; i < q->n; i++)
        if (alive(&q->v[i]))
            deny(q->v[i].it, &q->r.dev);
    rest(p, source_find(p, &q->r.dev), SILENT_REST_MS);
}

/* Takes the request from those that are unanswered. Returns whether it was late. */
static bool request_over(struct block_request *q, struct source *s, bool answered)
{
    bool late = q->r.late;
    if (answered)
        source_heard(s, &q->r, loop_now());
    else
        source_gave_up(s, &q->r);
    if (!late)
        return false;
    q->r.late = false;
    q->r.p->fetching++;
    for (uint32_t i = 0; i < q->n; i++)
        if (q->v[i].it)
            q->v[i].it->late--;
    return true;
}

static uint64_t came(const struct block_request *q)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < q->n; i++)
        bytes += q->v[i].code > 0 ? q->v[i].len : 0;
    return bytes;
}

void fetch_answer(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct block_request *q = arg;
    struct pull *p = q->r.p;
    struct source *s = source_find(p, &q->r.dev);
    bool late = request_over(q, s, m != NULL);
    bool ok = m && m->type == MSG_BLK && sort_reply(q, m, body) == 0;
    if (!ok && m && m->type != MSG_ERR)
        strike(p, &q->r.dev, "not what was asked for");
    if (m && m->type == MSG_ERR)
        rest(p, s, m->err.retry_ms);
    if (!m)
        unanswered(q);
    for (uint32_t i = 0; !ok && i < q->n; i++)
        q->v[i].code = ERR_AGAIN;
    uint64_t bytes = ok ? came(q) : 0;
    rate_take(&p->down, (int64_t)bytes - (int64_t)q->bytes);
    source_move_window(s, bytes, ok);
    if (ok)
        source_pace(s, q->ahead, loop_now() - q->r.sent);
    if (q->owner && ok)
        owner_missing(q, late);
    else
        missing(q, m, late);
    if (!p->freeing)
        drop_outdated(q);
    if (!ok || p->freeing) {
        request_end(q);
        return;
    }
    claim(q);
    zmq_msg_init(&q->body);
    zmq_msg_move(&q->body, body);
    pool_submit(p->c.pool, &q->job);
    pull_wake(p, 0);
}

struct block_request *fetch_new(struct pull *p, const struct id *dev)
{
    struct block_request *q = xcalloc(1, sizeof *q);
    *q = (struct block_request){.r = {.p = p, .dev = *dev, .turn = blocks_turn, .forget = blocks_forget},
                                .job = {.run = write_run, .done = write_done}};
    return q;
}

void fetch_release(struct pull *p) { free(p->source); }

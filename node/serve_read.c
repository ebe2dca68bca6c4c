/* The blocks of one request. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/serve_priv.h"

/* whole: a kept file that is one block, or a packed block; it is as long as it is. fd: where it is to be read from, or -1; out: its place in
 * the answer. */
struct piece { struct place_of at; struct pack_at packed; struct id id; char tmp[64]; uint64_t off; uint32_t len, asked; bool whole; int fd; size_t out; int code; };
struct read_job {
    struct job job;
    struct serve *s; struct client *client; struct net_from to; uint64_t req;
    uint64_t bytes;                          /* that it counts for */
    uint8_t *data; size_t used, room;
    uint32_t n; struct piece v[];
};

static void locate_here(struct serve *s, const struct msg_blk_want *w, struct piece *v)
{
    *v = (struct piece){.id = w->id};
    v->code = serve_find(s->c.index, &w->root, &v->at);
    if (v->code < 0)
        return;
    if (v->at.packed) {
        struct ix_piece found;
        v->code = index_piece_get(s->c.index, PACK_BLOCK, &w->id, &found);
        v->packed = found.at;
        v->whole = true;
        return;
    }
    if (id_eq(&w->root, &w->id) && w->idx == 0 && !v->at.kept) {
        v->len = (uint32_t)v->at.stamp.size;
        v->code = v->at.stamp.size <= LIMIT_BLOCK ? 0 : ERR_NOTFOUND;
        return;
    }
    const struct list *l = id_eq(&w->root, &w->id) ? NULL : lists_get(&s->lists, &w->root);
    if (!l) {
        v->whole = v->at.kept && id_eq(&w->root, &w->id);
        v->code = v->whole ? 0 : ERR_NOTFOUND;
        return;
    }
    struct block_ref ref = {0};
    if (w->idx < l->n)
        block_ref_get(l->refs.data + (size_t)w->idx * BLOCK_REF, &ref);
    v->code = id_eq(&ref.id, &w->id) ? 0 : ERR_NOTFOUND;
    v->len = ref.len;
    v->off = w->idx < l->n ? l->at[w->idx] : 0;
}

static void locate(struct serve *s, const struct msg_blk_want *w, struct piece *v)
{
    struct serve_part part;
    locate_here(s, w, v);
    if (v->code == 0 || !s->part)
        return;
    place_of_release(&v->at);
    v->at = (struct place_of){0};
    v->code = s->part(s->part_arg, w, &part);
    if (v->code < 0)
        return;
    v->off = part.off;
    v->len = part.len;
    memcpy(v->tmp, part.tmp, sizeof v->tmp);
    if (!part.path)
        return;
    v->at = (struct place_of){.path = xcalloc(part.pathlen + 1, 1), .len = part.pathlen};
    memcpy(v->at.path, part.path, part.pathlen);
}

static int open_piece(const struct folder *f, const struct piece *v, int *fd)
{
    int r = v->tmp[0] ? folder_tmp_open(f, v->tmp, fd) : serve_open(f, &v->at, fd);
    return r < 0 && v->tmp[0] && v->at.path ? serve_open(f, &v->at, fd) : r;
}

/* A place for it in the answer. */
static void make_room(struct read_job *j, struct piece *v)
{
    if (!v->len || j->used + v->len > LIMIT_BODY) {
        v->code = ERR_FULL;
        return;
    }
    v->out = j->used;
    j->used += v->len;
    if (j->used <= j->room)
        return;
    j->room = j->used > 2 * j->room ? j->used : 2 * j->room;
    j->data = xrealloc(j->data, j->room, 1);
}

static void read_packed(struct read_job *j, struct piece *v)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
    v->code = pack_read(folder_packs(j->s->c.folder), &v->packed, PACK_BLOCK, &v->id, &b);
    v->len = (uint32_t)b.len;
    if (v->code == 0)
        make_room(j, v);
    if (v->code == 0)
        memcpy(j->data + v->out, b.data, b.len);
}

static void open_one(struct read_job *j, struct piece *v)
{
    v->code = open_piece(j->s->c.folder, v, &v->fd);
    if (v->code < 0) {
        v->fd = -1;
        return;
    }
    if (v->whole) {
        off_t size = lseek(v->fd, 0, SEEK_END);
        v->len = size > 0 && size <= (off_t)LIMIT_BLOCK ? (uint32_t)size : 0;
    }
    make_room(j, v);
}

/* All that have been opened, verified together. */
static void read_opened(struct read_job *j)
{
    struct block_read b[LIMIT_GET_BLK];
    struct piece *of[LIMIT_GET_BLK];
    size_t n = 0;
    for (uint32_t i = 0; i < j->n; i++) {
        struct piece *v = &j->v[i];
        if (v->fd < 0 || v->code < 0)
            continue;
        b[n] = (struct block_read){.fd = v->fd, .off = v->off, .len = v->len, .id = v->id, .buf = j->data + v->out};
        of[n++] = v;
    }
    content_blocks(b, n);
    for (size_t i = 0; i < n; i++)
        of[i]->code = b[i].code;
}

/* The answer has no gaps where something was not what it should be. */
static void close_gaps(struct read_job *j)
{
    size_t used = 0;
    for (uint32_t i = 0; i < j->n; i++) {
        const struct piece *v = &j->v[i];
        if (v->code < 0)
            continue;
        if (used != v->out)
            memmove(j->data + used, j->data + v->out, v->len);
        used += v->len;
    }
    j->used = used;
}

/* A download is still being written, or has just become the file: it will be there in a moment. */
static bool is_busy(const struct piece *v) { return v->code == ERR_FULL || v->code == ERR_AGAIN || v->tmp[0]; }

static void read_run(struct job *job)
{
    struct read_job *j = (struct read_job *)job;
    uint64_t known = 0;
    for (uint32_t i = 0; i < j->n; i++)
        known += j->v[i].code == 0 ? j->v[i].len : 0;
    j->room = known < LIMIT_BODY ? (size_t)known : LIMIT_BODY;
    j->data = xrealloc(NULL, j->room + 1, 1);
    for (uint32_t i = 0; i < j->n; i++) {
        struct piece *v = &j->v[i];
        v->fd = -1;
        if (v->code == 0 && v->at.packed)
            read_packed(j, v);
        else if (v->code == 0)
            open_one(j, v);
    }
    read_opened(j);
    for (uint32_t i = 0; i < j->n; i++)
        if (j->v[i].fd >= 0)
            close(j->v[i].fd);
    close_gaps(j);
}

static uint64_t job_bytes(const struct read_job *j)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < j->n; i++)
        n += j->v[i].asked;
    return n < LIMIT_BODY ? n : LIMIT_BODY;
}

static void read_done(struct job *job)
{
    struct read_job *j = (struct read_job *)job;
    struct serve *s = j->s;
    struct msg m = {.type = MSG_BLK, .req = j->req, .blk = {.n = j->n}};
    for (uint32_t i = 0; i < j->n; i++) {
        struct piece *v = &j->v[i];
        bool ok = v->code == 0;
        m.blk.item[i] = (struct msg_blk_item){.item = i, .status = ok ? BLK_OK : is_busy(v) ? BLK_BUSY : BLK_NODATA,
                                              .len = ok ? v->len : 0};
        if (!ok && !is_busy(v) && v->at.path && !v->at.kept)
            s->c.look(s->c.arg, v->at.path, v->at.len);
        place_of_release(&v->at);
    }
    s->bytes += j->used;
    rate_take(&s->up, (int64_t)j->used - (int64_t)j->bytes);
    rate_take(&j->client->up, (int64_t)j->used - (int64_t)j->bytes);
    s->reading -= j->bytes;
    j->client->reading -= j->bytes;
    zmq_msg_t body;
    net_body_take(&body, j->data ? j->data : xcalloc(1, 1), j->used);
    net_reply(s->c.net, &j->to, &m, &body);
    free(j);
    serve_pump(s);
}

static void drop(struct read_job *j)
{
    for (uint32_t i = 0; i < j->n; i++)
        place_of_release(&j->v[i].at);
    free(j);
}

/* false: one of them will be here in a moment. */
static bool locate_all(struct read_job *j, struct ask *q, bool may_wait)
{
    struct serve *s = j->s;
    bool reading = index_read_begin(s->c.index) == 0, all = true;
    for (uint32_t i = 0; i < j->n && all; i++) {
        locate(s, &q->want[i], &j->v[i]);
        all = j->v[i].code != ERR_AGAIN || !may_wait;
        if (!all)
            q->missing = i;
    }
    if (reading)
        index_read_end(s->c.index);
    return all;
}

bool serve_read(struct serve *s, struct client *c, struct ask *q)
{
    struct read_job *j = xcalloc(1, sizeof *j + q->n * sizeof j->v[0]);
    bool may_wait = !q->until || loop_now() < q->until;
    *j = (struct read_job){.job = {.run = read_run, .done = read_done}, .s = s, .client = c, .to = q->from, .req = q->req, .n = q->n};
    if (!locate_all(j, q, may_wait)) {
        drop(j);
        return false;
    }
    for (uint32_t i = 0; i < j->n; i++)
        j->v[i].asked = j->v[i].code < 0 ? 0 : j->v[i].whole ? LIMIT_BLOCK : j->v[i].len;
    j->bytes = job_bytes(j);
    s->reading += j->bytes;
    c->reading += j->bytes;
    serve_charge(s, c, j->bytes);
    pool_submit(s->c.pool, &j->job);
    return true;
}

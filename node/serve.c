#include "node/serve.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/lists.h"

enum { JOBS_MAX = 128, BYTES_MAX = 64 << 20 };   /* of one peer at once: more than an honest one asks for */

struct serve {
    struct serve_config c;
    struct lists lists;
    uint64_t bytes;
    struct client { struct id who; unsigned jobs; uint64_t bytes; } *peer; size_t npeer;
};

/* ---- block lists ---- */

static void refuse(struct serve *s, const struct net_from *to, uint64_t req, enum msg_error code, const char *text)
{
    struct msg m = {.type = MSG_ERR, .req = req, .err = {.code = code, .text = {(const uint8_t *)text, strlen(text)}, .retry_ms = 1000}};
    net_reply(s->c.net, to, &m, NULL);
}

static void serve_list(struct serve *s, const struct net_from *to, const struct msg *m)
{
    const struct list *l = lists_get(&s->lists, &m->get_tree.root);
    uint32_t first = m->get_tree.first, most = LIMIT_BODY / BLOCK_REF;
    if (!l || m->get_tree.nblocks != l->n) {
        refuse(s, to, m->req, MSGERR_NODATA, "no such block list here");
        return;
    }
    uint32_t n = m->get_tree.count < l->n - first ? m->get_tree.count : l->n - first;
    n = n < most ? n : most - most % LIMIT_TREE_LEAF;
    struct msg reply = {.type = MSG_TREE, .req = m->req, .tree = {.root = m->get_tree.root, .first = first, .count = n}};
    size_t len = (size_t)n * BLOCK_REF;
    void *copy = xrealloc(NULL, len, 1);
    memcpy(copy, l->refs.data + (size_t)first * BLOCK_REF, len);
    zmq_msg_t body;
    net_body_take(&body, copy, len);
    net_reply(s->c.net, to, &reply, &body);
}

static void serve_have(struct serve *s, const struct net_from *to, const struct msg *m)
{
    struct place_of at;
    bool here = serve_find(s->c.index, &m->have.root, &at) == 0;
    place_of_release(&at);
    uint32_t most = LIMIT_BLOCKS, n = m->have.count < most ? m->have.count : most;
    size_t len = (n + 7) / 8;
    uint8_t *bits = xcalloc(len + 1, 1);
    memset(bits, here ? 0xff : 0, len);  /* 2 MiB at most: byte by byte, for whoever asks again and again */
    if (here && n % 8)
        bits[len - 1] = (uint8_t)((1u << (n % 8)) - 1);
    struct msg reply = {.type = MSG_HAVE_OK, .req = m->req, .have_ok = {.root = m->have.root, .first = m->have.first, .count = n}};
    zmq_msg_t body;
    net_body_take(&body, bits, len);
    net_reply(s->c.net, to, &reply, &body);
}

/* ---- blocks ---- */

/* whole: a kept file that is one block, or a packed block; it is as long as it is. */
struct piece { struct place_of at; struct pack_at packed; struct id id; uint64_t off; uint32_t len, asked; bool whole; int code; };
struct read_job { struct job job; struct serve *s; struct net_from to; uint64_t req; uint32_t n; struct piece v[LIMIT_GET_BLK]; uint8_t *data; size_t used, room; };

static void locate(struct serve *s, const struct msg_blk_want *w, struct piece *v)
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

static void make_room(struct read_job *j, uint32_t len)
{
    if (j->used + len <= j->room)
        return;
    j->room = j->used + len > 2 * j->room ? j->used + len : 2 * j->room;
    j->data = xrealloc(j->data, j->room, 1);
}

static void read_packed(struct read_job *j, struct piece *v)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
    v->code = pack_read(folder_packs(j->s->c.folder), &v->packed, PACK_BLOCK, &v->id, &b);
    v->len = (uint32_t)b.len;
    if (v->code == 0 && (!v->len || j->used + v->len > LIMIT_BODY))
        v->code = ERR_FULL;
    if (v->code < 0)
        return;
    make_room(j, v->len);
    memcpy(j->data + j->used, b.data, b.len);
    j->used += b.len;
}

static void read_one(struct read_job *j, struct piece *v)
{
    const struct folder *f = j->s->c.folder;
    int fd;
    if (v->at.packed) {
        read_packed(j, v);
        return;
    }
    v->code = serve_open(f, &v->at, &fd);
    if (v->code < 0)
        return;
    if (v->whole) {
        off_t size = lseek(fd, 0, SEEK_END);
        v->len = size > 0 && size <= (off_t)LIMIT_BLOCK ? (uint32_t)size : 0;
    }
    if (!v->len || j->used + v->len > LIMIT_BODY)
        v->code = ERR_FULL;
    if (v->code == 0)
        make_room(j, v->len);
    if (v->code == 0)
        v->code = content_block(fd, v->off, v->len, &v->id, j->data + j->used);
    if (v->code == 0)
        j->used += v->len;
    close(fd);
}

static void read_run(struct job *job)
{
    struct read_job *j = (struct read_job *)job;
    for (uint32_t i = 0; i < j->n; i++)
        if (j->v[i].code == 0)
            read_one(j, &j->v[i]);
}

static struct client *client_of(struct serve *s, const struct id *who)
{
    for (size_t i = 0; i < s->npeer; i++)
        if (id_eq(&s->peer[i].who, who))
            return &s->peer[i];
    s->peer = xrealloc(s->peer, s->npeer + 1, sizeof *s->peer);
    s->peer[s->npeer] = (struct client){.who = *who};
    return &s->peer[s->npeer++];
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
        m.blk.item[i] = (struct msg_blk_item){.item = i, .status = ok ? BLK_OK : v->code == ERR_FULL ? BLK_BUSY : BLK_NODATA,
                                              .len = ok ? v->len : 0};
        if (!ok && v->code != ERR_FULL && v->at.path && !v->at.kept)
            s->c.look(s->c.arg, v->at.path, v->at.len);
        place_of_release(&v->at);
    }
    s->bytes += j->used;
    struct client *c = client_of(s, &j->to.who);
    c->jobs--;
    c->bytes -= job_bytes(j);
    zmq_msg_t body;
    net_body_take(&body, j->data ? j->data : xcalloc(1, 1), j->used);
    net_reply(s->c.net, &j->to, &m, &body);
    free(j);
}

static void serve_blocks(struct serve *s, const struct net_from *to, const struct msg *m)
{
    struct client *c = client_of(s, &to->who);
    if (c->jobs >= JOBS_MAX || c->bytes >= BYTES_MAX || net_is_full(s->c.net, &to->who)) {
        refuse(s, to, m->req, MSGERR_BUSY, "too many requests");
        return;
    }
    struct read_job *j = xcalloc(1, sizeof *j);
    *j = (struct read_job){.job = {.run = read_run, .done = read_done}, .s = s, .to = *to, .req = m->req, .n = m->get_blk.n};
    for (uint32_t i = 0; i < j->n; i++) {
        locate(s, &m->get_blk.want[i], &j->v[i]);
        j->v[i].asked = j->v[i].whole ? LIMIT_BLOCK : j->v[i].len;
    }
    c->jobs++;
    c->bytes += job_bytes(j);
    pool_submit(s->c.pool, &j->job);
}

void serve_request(struct serve *s, const struct net_from *from, const struct msg *m)
{
    switch (m->type) {
    case MSG_GET_TREE:
        serve_list(s, from, m);
        break;
    case MSG_HAVE:
        serve_have(s, from, m);
        break;
    case MSG_GET_BLK:
        serve_blocks(s, from, m);
        break;
    default:
        refuse(s, from, m->req, MSGERR_PROTO, "not a request for content");
    }
}

uint64_t serve_bytes(const struct serve *s) { return s->bytes; }

int serve_new(const struct serve_config *c, struct serve **out)
{
    *out = xcalloc(1, sizeof **out);
    (*out)->c = *c;
    (*out)->lists = (struct lists){.index = c->index, .most = LISTS_BYTES};
    return 0;
}

void serve_free(struct serve **s)
{
    if (!*s)
        return;
    lists_release(&(*s)->lists);
    free((*s)->peer);
    free(*s);
    *s = NULL;
}

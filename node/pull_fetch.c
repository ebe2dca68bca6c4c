/* Content from peers. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"
#include "proto/path.h"
#include "store/sys.h"

#define WINDOW_MIN (4ull << 20)
#define WINDOW_MAX (32ull << 20)
#define REQUEST_BYTES (1u << 20)      /* small blocks are asked for together up to this much */
#define TIMEOUT_MS 30000
#define SOURCELESS_MS 1000
#define REST_MIN_MS 100
#define REST_MAX_MS 10000
/* Requests at a source at once: the sending side drops replies beyond 256, and learns of those read in steps of 128. */
enum { STRIKES = 3, SOURCES_MAX = 64, LIST_LEAVES = 24, REQUESTS_MAX = 96 };

/* ---- sources ---- */

static struct source *source_find(struct pull *p, const struct id *dev)
{
    for (size_t i = 0; i < p->nsource; i++)
        if (id_eq(&p->source[i].dev, dev))
            return &p->source[i];
    return NULL;
}

void pull_peer_up(struct pull *p, const struct id *dev)
{
    if (!source_find(p, dev)) {
        p->source = xrealloc(p->source, p->nsource + 1, sizeof *p->source);
        p->source[p->nsource++] = (struct source){.dev = *dev, .window = WINDOW_MIN};
    }
    pull_kick(p);
}

static void strike(struct pull *p, const struct id *dev)
{
    struct source *s = source_find(p, dev);
    if (s)
        s->bad = ++s->strikes >= STRIKES;
}

static bool denied(const struct item *it, const struct id *dev)
{
    for (unsigned i = 0; i < it->ndenied; i++)
        if (id_eq(&it->denied[i], dev))
            return true;
    return false;
}

static void deny(struct item *it, const struct id *dev)
{
    if (denied(it, dev))
        return;
    if (it->ndenied == ITEM_DENIED_MAX)
        it->ndenied = 0;             /* all have said no: ask them all again, later */
    it->denied[it->ndenied++] = *dev;
}

/* Peers that may be asked for this item, surest first. */
static size_t sources_of(struct pull *p, const struct item *it, struct id *dev)
{
    size_t n = engine_sources(p->c.engine, it->want.stream, it->want.seq, true, dev, SOURCES_MAX);
    if (n == 0 || it->ndenied)
        n += engine_sources(p->c.engine, it->want.stream, it->want.seq, false, dev + n, SOURCES_MAX - n);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const struct source *s = source_find(p, &dev[i]);
        if (s && !s->bad && !denied(it, &dev[i]) && peers_link(p->c.peers, &dev[i]))
            dev[k++] = dev[i];
    }
    return k;
}

static bool may_ask(struct pull *p, const struct item *it, const struct id *dev)
{
    struct id all[SOURCES_MAX];
    size_t n = sources_of(p, it, all);
    for (size_t i = 0; i < n; i++)
        if (id_eq(&all[i], dev))
            return true;
    return false;
}

/* ---- block lists ---- */

struct list_request { struct pull *p; struct item *it; struct id dev; };

static int take_list(struct pull *p, struct item *it, const struct msg *m, zmq_msg_t *body)
{
    uint32_t first = (uint32_t)(it->list.len / BLOCK_REF);
    if (m->tree.first != first || !m->tree.count || zmq_msg_size(body) != (size_t)m->tree.count * BLOCK_REF ||
        first + m->tree.count > it->ent.content.nblocks ||
        (m->tree.count % LIMIT_TREE_LEAF && first + m->tree.count != it->ent.content.nblocks))
        return err_set(ERR_BAD, "block list: not what was asked for");
    buf_add(&it->list, zmq_msg_data(body), zmq_msg_size(body));
    if (!buf_ok(&it->list))
        return err_set(ERR_FULL, "block list: no memory");
    if (it->list.len < (size_t)it->ent.content.nblocks * BLOCK_REF)
        return 0;
    int r = block_list_check(it->list.data, it->ent.content.nblocks, &it->ent.content.root, it->ent.size);
    if (r == 0 && (r = engine_begin(p->c.engine)) == 0) {
        r = index_tree_put(p->c.index, &it->ent.content.root, it->list.data, it->ent.content.nblocks);
        if (r == 0)
            r = engine_commit(p->c.engine, loop_wall());
        else
            engine_rollback(p->c.engine);
    }
    return r;
}

static void on_list(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct list_request *q = arg;
    struct pull *p = q->p;
    struct item *it = q->it;
    p->fetching--;
    if (!it->cancelled && !p->freeing) {
        int r = !m || m->type != MSG_TREE ? ERR_NOTFOUND : take_list(p, it, m, body);
        if (r < 0) {
            if (r == ERR_BAD)
                strike(p, &q->dev);
            buf_clear(&it->list);
            deny(it, &q->dev);
        }
        if (r == 0 && it->list.len == (size_t)it->ent.content.nblocks * BLOCK_REF)
            local_prepare(p, it);
    }
    item_unref(p, it);
    free(q);
    pull_wake(p, 0);
}

static void ask_list(struct pull *p, struct item *it, const struct id *dev)
{
    uint32_t first = (uint32_t)(it->list.len / BLOCK_REF), left = it->ent.content.nblocks - first;
    uint32_t most = LIST_LEAVES * LIMIT_TREE_LEAF;
    struct msg m = {.type = MSG_GET_TREE, .get_tree = {.root = it->ent.content.root, .nblocks = it->ent.content.nblocks,
                                                       .first = first, .count = left < most ? left : most}};
    struct list_request *q = xcalloc(1, sizeof *q);
    *q = (struct list_request){p, it, *dev};
    it->refs++;
    p->fetching++;
    link_request(peers_link(p->c.peers, dev), LANE_BULK, &m, TIMEOUT_MS, on_list, q);
}

/* ---- blocks ---- */

struct piece { struct item *it; uint32_t idx, len, off; uint64_t at; struct id id; int code; };
struct block_request { struct job job; struct pull *p; struct id dev; uint64_t bytes; uint32_t n; struct piece v[LIMIT_GET_BLK]; zmq_msg_t body; };

static void give_back(struct piece *v)
{
    struct item *it = v->it;
    if (it->asked) {
        it->asked[v->idx / 8] &= (uint8_t)~(1u << (v->idx % 8));
        it->next = v->idx < it->next ? v->idx : it->next;
    } else {
        it->next = 0;
    }
}

static void write_one(const struct pull *p, const struct block_request *q, struct piece *v)
{
    const uint8_t *data = (const uint8_t *)zmq_msg_data((zmq_msg_t *)&q->body) + v->off;
    struct id have = id_hash(data, v->len);
    if (!id_eq(&have, &v->id)) {
        v->code = err_set(ERR_CORRUPT, "block: not what its id says");
        return;
    }
    int fd = v->it->fd;
    if (fd < 0)
        v->code = folder_tmp_create(p->c.folder, v->it->tmp, v->len, &fd);
    else
        v->code = 0;
    if (v->code == 0 && sys->pwrite(fd, data, v->len, (off_t)v->at) != (ssize_t)v->len)
        v->code = err_set(ERR_FULL, "%s: writing a download: %m", folder_path(p->c.folder));
    if (v->it->fd < 0 && fd >= 0)
        close(fd);
}

static void write_run(struct job *job)
{
    struct block_request *q = (struct block_request *)job;
    for (uint32_t i = 0; i < q->n; i++)
        if (q->v[i].code > 0)
            write_one(q->p, q, &q->v[i]);
}

static void written(struct pull *p, struct block_request *q, struct piece *v)
{
    struct item *it = v->it;
    if (v->code == 0) {
        it->troubled = false;
        p->figures.blocks++;
        p->figures.bytes += v->len;
        if (it->have)
            it->have[v->idx / 8] |= (uint8_t)(1u << (v->idx % 8));
        if (--it->missing == 0) {
            if (it->fd >= 0)
                close(it->fd);
            it->fd = -1;
            item_state(p, it, ITEM_READY);
        }
        return;
    }
    give_back(v);
    if (v->code == ERR_CORRUPT) {
        log_warn("wrong block from a peer path=%s", path_show(it->path, it->len));
        strike(p, &q->dev);
        deny(it, &q->dev);
    } else if (v->code == ERR_FULL || v->code == ERR_IO) {
        it->troubled = true;
        pull_set_failed(p, "the disk of the folder is full or cannot be written");
        item_fail(p, it, 2000);
    }
}

/* What was asked for counts against the credit until it is on disk: a slow disk slows the asking. */
static void request_end(struct block_request *q)
{
    struct source *s = source_find(q->p, &q->dev);
    s->outstanding -= q->bytes;
    s->requests--;
    for (uint32_t i = 0; i < q->n; i++)
        item_unref(q->p, q->v[i].it);
    pull_wake(q->p, 0);
    free(q);
}

static void write_done(struct job *job)
{
    struct block_request *q = (struct block_request *)job;
    q->p->fetching--;
    for (uint32_t i = 0; i < q->n; i++)
        if (!q->v[i].it->cancelled && q->v[i].it->state == ITEM_BLOCKS && q->v[i].code <= 0)
            written(q->p, q, &q->v[i]);
    zmq_msg_close(&q->body);
    request_end(q);
}

/* Which pieces of the body are whose: lengths as asked for, in the order of the reply. code 1 = to be written. */
static int sort_reply(struct block_request *q, const struct msg *m, size_t len)
{
    uint32_t off = 0;
    for (uint32_t i = 0; i < m->blk.n; i++) {
        const struct msg_blk_item *b = &m->blk.item[i];
        if (b->item >= q->n || (b->status == BLK_OK && (b->len != q->v[b->item].len || off + b->len > len)))
            return err_set(ERR_BAD, "blocks: not what was asked for");
        struct piece *v = &q->v[b->item];
        v->code = b->status == BLK_OK ? 1 : b->status == BLK_BUSY ? ERR_AGAIN : ERR_NOTFOUND;
        v->off = off;
        off += b->status == BLK_OK ? b->len : 0;
    }
    return off == len ? 0 : err_set(ERR_BAD, "blocks: more than was asked for");
}

/* A source that is busy is left alone for as long as it asks, within reason. */
static void rest(struct pull *p, struct source *s, uint64_t ms)
{
    ms = ms < REST_MIN_MS ? REST_MIN_MS : ms > REST_MAX_MS ? REST_MAX_MS : ms;
    s->busy_until = loop_now() + ms;
    pull_wake(p, ms);
}

static void give_back_missing(struct block_request *q, bool answered)
{
    for (uint32_t i = 0; i < q->n; i++) {
        struct piece *v = &q->v[i];
        if (v->code > 0 || v->it->cancelled || v->it->state != ITEM_BLOCKS)
            continue;
        give_back(v);
        if (v->code == ERR_NOTFOUND)
            deny(v->it, &q->dev);
        if (v->code == ERR_AGAIN && answered)
            rest(q->p, source_find(q->p, &q->dev), REST_MIN_MS);
        v->code = ERR_CLOSED;
    }
}

/* No answer in all that time: others are asked for these blocks. That does not go for a link that has died: it may be back at once. */
static void silent(struct pull *p, struct block_request *q)
{
    const struct link *l = peers_link(p->c.peers, &q->dev);
    if (p->freeing || !l || link_state(l) == LINK_DEAD)
        return;
    for (uint32_t i = 0; i < q->n; i++)
        deny(q->v[i].it, &q->dev);
    rest(p, source_find(p, &q->dev), REST_MAX_MS);
}

static void move_window(struct source *s, uint64_t bytes, bool ok)
{
    s->good = ok ? s->good + bytes : 0;
    if (!ok)
        s->window = s->window / 2 < WINDOW_MIN ? WINDOW_MIN : s->window / 2;
    if (s->good < s->window || s->window >= WINDOW_MAX)
        return;
    s->window *= 2;
    s->good = 0;
}

static void on_blocks(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct block_request *q = arg;
    struct pull *p = q->p;
    bool ok = m && m->type == MSG_BLK && sort_reply(q, m, zmq_msg_size(body)) == 0;
    if (!ok && m && m->type != MSG_ERR)
        strike(p, &q->dev);
    if (m && m->type == MSG_ERR)
        rest(p, source_find(p, &q->dev), m->err.retry_ms);
    if (!m)
        silent(p, q);
    move_window(source_find(p, &q->dev), q->bytes, ok);
    if (!ok)
        for (uint32_t i = 0; i < q->n; i++)
            q->v[i].code = ERR_AGAIN;
    give_back_missing(q, ok);
    if (!ok || p->freeing) {
        p->fetching--;
        request_end(q);
        return;
    }
    zmq_msg_init(&q->body);
    zmq_msg_move(&q->body, body);
    pool_submit(p->c.pool, &q->job);
    pull_wake(p, 0);
}

/* The next block of an item that nobody was asked for yet; false when all were. */
static bool next_block(struct item *it, struct piece *v)
{
    uint32_t n = it->ent.content.nblocks;
    while (it->asked && it->next < n && (it->asked[it->next / 8] >> (it->next % 8) & 1))
        it->next++;
    if (it->state != ITEM_BLOCKS || it->cancelled || it->next >= n)
        return false;
    *v = (struct piece){.it = it, .idx = it->next, .len = (uint32_t)it->ent.size, .id = it->ent.content.root};
    if (n > 1) {
        struct block_ref ref;
        block_ref_get(it->list.data + (size_t)it->next * BLOCK_REF, &ref);
        v->len = ref.len;
        v->id = ref.id;
        v->at = it->offset[it->next];
    }
    return true;
}

static void mark_asked(struct item *it)
{
    if (it->asked)
        it->asked[it->next / 8] |= (uint8_t)(1u << (it->next % 8));
    it->next++;
}

static void send_request(struct pull *p, struct block_request *q)
{
    struct msg m = {.type = MSG_GET_BLK, .get_blk = {.n = q->n}};
    for (uint32_t i = 0; i < q->n; i++)
        m.get_blk.want[i] = (struct msg_blk_want){.root = q->v[i].it->ent.content.root, .idx = q->v[i].idx, .id = q->v[i].id};
    struct source *s = source_find(p, &q->dev);
    s->outstanding += q->bytes;
    s->requests++;
    p->fetching++;
    link_request(peers_link(p->c.peers, &q->dev), LANE_BULK, &m, TIMEOUT_MS, on_blocks, q);
}

static void add_piece(struct block_request *q, const struct piece *v)
{
    q->v[q->n] = *v;
    q->v[q->n++].code = ERR_NOTFOUND;
    q->bytes += v->len;
    v->it->refs++;
}

/* Fills one request for a source from the items that wait, oldest first. NULL when there is nothing to ask it for. */
static struct block_request *gather(struct pull *p, const struct id *dev)
{
    struct block_request *q = xcalloc(1, sizeof *q);
    *q = (struct block_request){.job = {.run = write_run, .done = write_done}, .p = p, .dev = *dev};
    bool full = false;
    for (struct item *it = p->all.head; it && !full; it = it->next_item) {
        struct piece v;
        if (!next_block(it, &v) || !may_ask(p, it, dev))
            continue;
        do {
            full = q->n == LIMIT_GET_BLK || (q->n && q->bytes + v.len > REQUEST_BYTES);
            if (full)
                break;
            mark_asked(it);
            add_piece(q, &v);
        } while (next_block(it, &v));
    }
    if (q->n)
        return q;
    free(q);
    return NULL;
}

static void ask_lists(struct pull *p)
{
    for (struct item *it = p->all.head; it; it = it->next_item) {
        struct id dev[SOURCES_MAX];
        if (it->state != ITEM_LIST || it->refs || it->cancelled)
            continue;
        if (sources_of(p, it, dev))
            ask_list(p, it, &dev[0]);
    }
}

/* Items that nobody can serve now: whoever said no may have it later. */
static void forgive(struct pull *p)
{
    bool waiting = false;
    for (struct item *it = p->all.head; it; it = it->next_item)
        if ((it->state == ITEM_BLOCKS || it->state == ITEM_LIST) && !it->refs) {
            it->ndenied = 0;
            waiting = true;
        }
    if (waiting)
        pull_wake(p, SOURCELESS_MS);
}

static bool ask_blocks(struct pull *p, size_t i)
{
    const struct source *s = &p->source[i];
    if (s->bad || s->busy_until > loop_now() || s->requests >= REQUESTS_MAX || s->outstanding + REQUEST_BYTES > s->window || !peers_link(p->c.peers, &s->dev))
        return false;
    struct block_request *q = gather(p, &s->dev);
    if (q)
        send_request(p, q);
    return q != NULL;
}

void fetch_pump(struct pull *p)
{
    ask_lists(p);
    bool asked = true;
    while (asked) {
        asked = false;
        for (size_t i = 0; i < p->nsource; i++)
            asked |= ask_blocks(p, i);
    }
    if (!p->fetching && !p->ready && !p->placing)
        forgive(p);
}

void fetch_release(struct pull *p) { free(p->source); }

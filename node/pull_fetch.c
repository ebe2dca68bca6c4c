/* Blocks from peers. A block may be asked of several sources, when one of them is late; it is taken from the first that sends it. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"
#include "proto/path.h"
#include "store/sys.h"

#define REQUEST_BYTES (1u << 20)      /* small blocks are asked for together up to this much */
#define SOURCELESS_MS 1000
#define SILENT_REST_MS 10000
/* Requests at a source at once: the sending side drops replies beyond 256, and learns of those read in steps of 128. */
enum { REQUESTS_MAX = 96 };

static bool bit(const uint8_t *bits, uint32_t i) { return bits[i / 8] >> (i % 8) & 1; }
static void bit_set(uint8_t *bits, uint32_t i) { bits[i / 8] |= (uint8_t)(1u << (i % 8)); }
static void bit_clear(uint8_t *bits, uint32_t i) { bits[i / 8] &= (uint8_t)~(1u << (i % 8)); }

static bool may_ask(struct pull *p, const struct item *it, const struct id *dev)
{
    struct id all[SOURCES_MAX];
    size_t n = sources_of(p, it, all);
    for (size_t i = 0; i < n; i++)
        if (id_eq(&all[i], dev))
            return true;
    return false;
}

/* ---- requests ---- */

/* code: 1 = to be written, from then on 0 or why it was not; ERR_CLOSED = there is nothing to be done about it any more. The item is NULL
 * once a late request has let go of it. */
struct piece { struct item *it; uint32_t idx, len, off; uint64_t at; struct id id; int code; };
struct block_request { struct request r; struct job job; uint64_t bytes; uint32_t n; struct piece v[LIMIT_GET_BLK]; zmq_msg_t body; };

static struct block_request *of_job(struct job *j) { return (struct block_request *)((char *)j - offsetof(struct block_request, job)); }
static bool alive(const struct piece *v) { return v->it && !v->it->cancelled && v->it->state == ITEM_BLOCKS; }

/* Somebody is to be asked for it, unless it has come. */
static void give_back(struct piece *v)
{
    if (bit(v->it->have, v->idx))
        return;
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
    give_back(v);
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

static void write_one(const struct pull *p, const struct block_request *q, struct piece *v)
{
    const uint8_t *data = (const uint8_t *)zmq_msg_data((zmq_msg_t *)&q->body) + v->off;
    if (!is_block(data, v->len, &v->id)) {
        v->code = err_set(ERR_CORRUPT, "block: not what its id says");
        return;
    }
    int fd = v->it->fd;
    v->code = fd < 0 ? folder_room(p->c.folder, v->len) : 0;
    if (v->code == 0 && fd < 0)
        v->code = folder_tmp_create(p->c.folder, v->it->tmp, v->len, &fd);
    if (v->code == 0 && sys->pwrite(fd, data, v->len, (off_t)v->at) != (ssize_t)v->len)
        v->code = err_set(ERR_FULL, "%s: writing a download: %m", folder_path(p->c.folder));
    if (v->it->fd < 0 && fd >= 0)
        close(fd);
}

static void write_run(struct job *job)
{
    struct block_request *q = of_job(job);
    for (uint32_t i = 0; i < q->n; i++)
        if (q->v[i].code > 0)
            write_one(q->r.p, q, &q->v[i]);
}

static void written(struct pull *p, struct block_request *q, struct piece *v)
{
    struct item *it = v->it;
    if (v->code == 0) {
        it->troubled = false;
        it->futile = 0;
        p->figures.blocks++;
        p->figures.bytes += v->len;
        if (--it->missing == 0) {
            if (it->fd >= 0)
                close(it->fd);
            it->fd = -1;
            item_state(p, it, ITEM_READY);
        }
        return;
    }
    bit_clear(it->have, v->idx);
    give_back(v);
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

/* What has not come. If the request was late, others have been asked for it since. */
static void missing(struct block_request *q, const struct msg *m, bool late)
{
    for (uint32_t i = 0; i < q->n; i++) {
        struct piece *v = &q->v[i];
        if (v->code > 0)
            continue;
        if (alive(v) && !late)
            give_back(v);
        if (alive(v) && v->code == ERR_NOTFOUND)
            deny(v->it, &q->r.dev);
        if (alive(v) && v->code == ERR_AGAIN && m && m->type == MSG_BLK)
            rest(q->r.p, source_find(q->r.p, &q->r.dev), 0);
        if (alive(v) && m && (i == 0 || q->v[i - 1].it != v->it))
            v->it->futile++;
        v->code = ERR_CLOSED;
    }
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

static void on_blocks(void *arg, const struct msg *m, zmq_msg_t *body)
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
    source_move_window(s, q->bytes, ok);
    for (uint32_t i = 0; !ok && i < q->n; i++)
        q->v[i].code = ERR_AGAIN;
    missing(q, m, late);
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

/* ---- asking ---- */

/* The next block of an item that nobody was asked for yet; false when all were. */
static bool next_block(struct item *it, struct piece *v)
{
    uint32_t n = it->ent.content.nblocks;
    if (it->state != ITEM_BLOCKS || it->cancelled)
        return false;
    while (it->next < n && bit(it->asked, it->next))
        it->next++;
    if (it->next >= n)
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

static void send_request(struct pull *p, struct block_request *q)
{
    struct msg m = {.type = MSG_GET_BLK, .get_blk = {.n = q->n}};
    for (uint32_t i = 0; i < q->n; i++)
        m.get_blk.want[i] = (struct msg_blk_want){.root = q->v[i].it->ent.content.root, .idx = q->v[i].idx, .id = q->v[i].id};
    struct source *s = source_find(p, &q->r.dev);
    s->outstanding += q->bytes;
    s->requests++;
    p->fetching++;
    source_sent(s, &q->r, loop_now());
    link_request(peers_link(p->c.peers, &q->r.dev), LANE_BULK, &m, source_patience(s), on_blocks, q);
}

static void add_piece(struct block_request *q, const struct piece *v)
{
    q->v[q->n] = *v;
    q->v[q->n++].code = ERR_NOTFOUND;
    q->bytes += v->len;
    v->it->refs++;
    bit_set(v->it->asked, v->idx);
}

/* Entries may describe one content in different ways; a block is asked for once in a request. */
static bool asks_for(const struct block_request *q, const struct item *it)
{
    for (uint32_t i = 0; i < q->n; i++)
        if (q->v[i].it != it && id_eq(&q->v[i].it->ent.content.root, &it->ent.content.root))
            return true;
    return false;
}

/* Fills one request for a source from the items that wait, oldest first. NULL when there is nothing to ask it for. */
static struct block_request *gather(struct pull *p, const struct id *dev)
{
    struct block_request *q = xcalloc(1, sizeof *q);
    *q = (struct block_request){.r = {.p = p, .dev = *dev, .turn = blocks_turn, .forget = blocks_forget},
                                .job = {.run = write_run, .done = write_done}};
    bool full = false;
    for (struct item *it = p->all.head; it && !full; it = it->next_item) {
        struct piece v;
        if (!next_block(it, &v) || asks_for(q, it) || !may_ask(p, it, dev))
            continue;
        do {
            full = q->n == LIMIT_GET_BLK || (q->n && q->bytes + v.len > REQUEST_BYTES);
            if (full)
                break;
            add_piece(q, &v);
        } while (next_block(it, &v));
    }
    if (q->n)
        return q;
    free(q);
    return NULL;
}

/* Items that nobody can serve now: whoever said no may have it later. Or nobody wants them any more. */
static void forgive(struct pull *p)
{
    bool waiting = false;
    struct ix_want now;
    for (struct item *it = p->all.head, *n; it; it = n) {
        n = it->next_item;
        if ((it->state != ITEM_BLOCKS && it->state != ITEM_LIST) || it->cancelled || it->refs != it->late)
            continue;
        it->ndenied = 0;
        waiting = true;
        if (index_want_get(p->c.index, it->want.entry, &now) == ERR_NOTFOUND)
            item_done(p, it);
    }
    if (waiting)
        pull_wake(p, SOURCELESS_MS);
}

static bool ask_blocks(struct pull *p, size_t i)
{
    const struct source *s = &p->source[i];
    uint64_t now = loop_now();
    if (s->silent || source_bad(s, now) || s->busy_until > now || s->requests >= REQUESTS_MAX || s->outstanding + REQUEST_BYTES > s->window ||
        !peers_link(p->c.peers, &s->dev))
        return false;
    struct block_request *q = gather(p, &s->dev);
    if (q)
        send_request(p, q);
    return q != NULL;
}

static void watch(struct pull *p)
{
    uint64_t now = loop_now(), next = UINT64_MAX;
    for (size_t i = 0; i < p->nsource; i++) {
        uint64_t due = source_watch(&p->source[i], now);
        next = due < next ? due : next;
    }
    if (next != UINT64_MAX)
        pull_wake(p, next - now);
}

void fetch_pump(struct pull *p)
{
    list_pump(p);
    bool asked = true;
    while (asked) {
        asked = false;
        for (size_t i = 0; i < p->nsource; i++)
            asked |= ask_blocks(p, i);
    }
    if (!p->fetching && !p->ready && !p->placing)
        forgive(p);
    watch(p);
}

void fetch_release(struct pull *p) { free(p->source); }

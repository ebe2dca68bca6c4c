#include "tests/e2e/hostile/stand.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_MS 150000
#define PUBLISH_MS 500
#define REPORT_MS 100

/* ---- sockets ---- */

static void *listen_at(struct stand *s, int type, uint16_t port)
{
    uint8_t pk[32], sk[32];
    int one = 1, zero = 0, few = 20;     /* few: a flood fills the node's memory, not ours */
    char ep[64];
    keys_server(s->l->home->group_keys, pk, sk);
    void *z = zmq_socket(s->l->zmq, type);
    zmq_setsockopt(z, ZMQ_CURVE_SERVER, &one, sizeof one);
    zmq_setsockopt(z, ZMQ_CURVE_SECRETKEY, sk, 32);
    zmq_setsockopt(z, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(z, ZMQ_SNDHWM, &few, sizeof few);
    if (port)
        snprintf(ep, sizeof ep, "tcp://127.0.0.1:%u", port);
    if (zmq_bind(z, port ? ep : "tcp://127.0.0.1:*") == 0)
        return z;
    zmq_close(z);
    return NULL;
}

static uint16_t port_of(void *z)
{
    char ep[64];
    size_t len = sizeof ep;
    zmq_getsockopt(z, ZMQ_LAST_ENDPOINT, ep, &len);
    return (uint16_t)strtoul(strrchr(ep, ':') + 1, NULL, 10);
}

void stand_open(struct stand *s, struct liar *l)
{
    *s = (struct stand){ .l = l, .replay = BUF_INIT(LIMIT_BODY), .heard = BUF_INIT(LIMIT_HEAD) };
    for (int i = 0; i < 50; i++) {
        s->router = listen_at(s, ZMQ_ROUTER, 0);
        s->port = port_of(s->router);
        s->pub = s->port < 65000 ? listen_at(s, ZMQ_PUB, (uint16_t)(s->port + 1)) : NULL;
        if (s->pub)
            return;
        zmq_close(s->router);
    }
    die("no two free ports");
}

void stand_invite(struct stand *s, const char *address) { (void)talk_up(s->l, address, s->port); }

void stand_claim(struct stand *s, const struct sid *sid, uint64_t known)
{
    s->claim = xrealloc(s->claim, s->nclaim + 1, sizeof *s->claim);
    s->claim[s->nclaim++] = (struct vec_stream){ .sid = *sid, .known = known, .content = known };
}

/* ---- answers ---- */

struct asked { zmq_msg_t route, head, body; struct msg m; };

static void answer_malformed(struct stand *s, struct buf *head)
{
    static const uint8_t big[LIMIT_BODY + 1000], lying[] = { 0xdd, 0xff, 0xff, 0xff, 0xff, 1 };
    uint8_t deep[200];
    memset(deep, 0x91, sizeof deep);
    switch (s->twists++ % 8) {
    case 0: talk_raw(s->router, head->data, head->len - 1, NULL, 0); break;
    case 1: head->data[1] = 99; talk_raw(s->router, head->data, head->len, NULL, 0); break;
    case 2: talk_raw(s->router, head->data, head->len, big, sizeof big); break;
    case 3: talk_raw(s->router, lying, sizeof lying, lying, sizeof lying); break;
    case 4: talk_raw(s->router, deep, sizeof deep, NULL, 0); break;
    case 5: talk_raw(s->router, "", 0, "", 0); break;
    case 6: talk_raw(s->router, big, sizeof big, NULL, 0); break;
    default: zmq_send(s->router, "a", 1, ZMQ_SNDMORE); talk_raw(s->router, "b", 1, "c", 1); break;
    }
}

static void answer(struct stand *s, struct asked *q, const struct msg *m, const struct buf *body)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    must(msg_encode(&head, m));
    zmq_send(s->router, zmq_msg_data(&q->route), zmq_msg_size(&q->route), ZMQ_SNDMORE);
    if (s->malformed && m->type != MSG_HELLO_OK) {
        answer_malformed(s, &head);
        return;
    }
    talk_raw(s->router, head.data, head.len, body ? body->data ? body->data : (uint8_t *)"" : NULL, body ? body->len : 0);
}

static void answer_hello(struct stand *s, struct asked *q)
{
    const struct msg_hello *h = &q->m.hello;
    const struct member *who = group_find(s->l->group, &h->dev);
    struct msg m = { .type = MSG_HELLO_OK, .req = q->m.req };
    struct hello_party self = { .dev = s->l->keys->dev }, caller = { .dev = h->dev };
    if (!who)
        return;
    m.hello = *h;
    m.hello.dev = self.dev = id_is_none(&s->hello_as) ? s->l->keys->dev : s->hello_as;
    memcpy(m.hello.inst, s->l->inst, 8);
    m.hello.port = s->port;
    randombytes_buf(m.hello.nonce, sizeof m.hello.nonce);
    memcpy(self.nonce, m.hello.nonce, sizeof self.nonce);
    memcpy(self.tr_pk, s->l->keys->tr_pk, sizeof self.tr_pk);
    memcpy(caller.nonce, h->nonce, sizeof caller.nonce);
    memcpy(caller.tr_pk, who->card.tr_pk, sizeof caller.tr_pk);
    hello_sign(m.hello.sig, &s->l->group->id, &self, &caller, s->l->keys);
    if (!s->hellos++) {
        buf_add(&s->heard, zmq_msg_data(&q->head), zmq_msg_size(&q->head));
        s->first = h->dev;
    }
    if (id_eq(&h->dev, &s->first)) {
        s->routelen_first = zmq_msg_size(&q->route);
        memcpy(s->route_first, zmq_msg_data(&q->route), s->routelen_first);
    }
    answer(s, q, &m, NULL);
}

static int by_sid(const void *a, const void *b) { return sid_cmp(&((const struct vec_stream *)a)->sid, &((const struct vec_stream *)b)->sid); }

static void make_vector(struct stand *s, struct buf *out)
{
    if (s->replay.len) {
        buf_add(out, s->replay.data, s->replay.len);
        return;
    }
    struct vec v = { .group = s->l->group->id, .dev = s->l->keys->dev, .ctr = ++s->ctr, .wall_ms = now_ms(),
                     .ctl_n = s->say_ctl_n ? s->say_ctl_n : s->l->group->ctl_n, .ctl_hash = s->l->group->ctl_hash, .port = s->port };
    memcpy(v.inst, s->l->inst, 8);
    v.stream = xcalloc(s->nclaim + 1, sizeof *v.stream);
    if (s->nclaim)
        memcpy(v.stream, s->claim, s->nclaim * sizeof *v.stream);
    v.nstream = s->nclaim;
    if (s->false_ctl)
        randombytes_buf(&v.ctl_hash, sizeof v.ctl_hash);
    if (s->book && s->book->known)
        v.stream[v.nstream++] = (struct vec_stream){ .sid = s->book->sid, .known = s->book->known, .content = s->book->known };
    qsort(v.stream, v.nstream, sizeof *v.stream, by_sid);
    must(vec_encode(out, &v, s->l->keys));
    vec_release(&v);
}

static void publish(struct stand *s)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    uint8_t topic[10] = "v1";
    keys_topic(s->l->home->group_keys, topic + 2);
    make_vector(s, &blob);
    if (s->flood_vectors && !s->replay.len)
        buf_add(&s->replay, blob.data, blob.len);    /* making one takes longer than reading it */
    s->published++;
    if (zmq_send(s->pub, topic, sizeof topic, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_send(s->pub, blob.data, blob.len, ZMQ_DONTWAIT);
}

static void answer_generated(struct stand *s, struct asked *q)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY), sets = BUF_INIT(LIMIT_BODY);
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->m.get_cs.n; i++) {
        struct vec_stream key = { .sid = q->m.get_cs.range[i].sid };
        const struct vec_stream *v = bsearch(&key, s->claim, s->nclaim, sizeof key, by_sid);
        if (!v)
            continue;
        book_first_of(s->l, v->tip8, &sets);
        n++;
    }
    mp_put_array(&body, n);
    buf_add(&body, sets.data, sets.len);
    answer(s, q, &(struct msg){ .type = MSG_CS, .req = q->m.req }, &body);
}

/* Records that nobody who may has signed, from the first on. */
static void answer_false_ctl(struct stand *s, struct asked *q)
{
    enum { MANY = 500 };
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY), rec = BUF_INIT(LIMIT_CTL_BYTES);
    const struct id *group = &s->l->group->id;
    struct ctl c = { .group = *group, .signer = s->l->keys->dev, .n = q->m.get_ctl.from, .prev = *group };
    struct ctl_op op = { .type = OP_REVOKE, .dev = s->first };
    struct ctl last;
    if (c.n > 1)
        randombytes_buf(&c.prev, sizeof c.prev);
    mp_put_array(&body, MANY);
    for (int i = 0; i < MANY; i++, c.n++) {
        buf_clear(&rec);
        must(ctl_encode(&rec, &c, &op, 1, s->l->keys));
        must(ctl_decode(rec.data, rec.len, &last));
        buf_add(&body, rec.data, rec.len);
        c.prev = last.hash;
    }
    answer(s, q, &(struct msg){ .type = MSG_CTL, .req = q->m.req }, &body);
}

static void answer_cs(struct stand *s, struct asked *q)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    bool is_first = zmq_msg_size(&q->route) == s->routelen_first && memcmp(zmq_msg_data(&q->route), s->route_first, s->routelen_first) == 0;
    const struct book *b = s->second && !is_first ? s->second : s->book;
    bool ours = false;
    s->asked_cs++;
    if (s->generate) {
        answer_generated(s, q);
        return;
    }
    for (uint32_t i = 0; b && i < q->m.get_cs.n; i++)
        ours |= sid_eq(&q->m.get_cs.range[i].sid, &b->sid);
    if (s->silent_cs)
        return;
    mp_put_array(&body, ours ? b->nsets : 0);
    if (ours)
        buf_add(&body, b->sets.data, b->sets.len);
    answer(s, q, &(struct msg){ .type = MSG_CS, .req = q->m.req }, &body);
}

/* What an honest node answers to the same request; each block in it with one bit changed. */
static void answer_twisted(struct stand *s, struct asked *q)
{
    struct msg ask = q->m;
    struct reply r;
    char address[64] = "";
    FILE *f = s->honest ? NULL : fopen(s->honest_at, "r");
    if (f && fscanf(f, "%63s", address) == 1)
        s->honest = talk_up(s->l, address, 0);
    if (f)
        fclose(f);
    if (!s->honest || !talk_ask(s->honest, &ask, &r, 5000))
        return;
    struct buf body = { .data = zmq_msg_data(&r.body), .len = zmq_msg_size(&r.body) };
    uint8_t *p = body.data;
    for (uint32_t i = 0; r.m.type == MSG_BLK && i < r.m.blk.n; i++) {
        if (r.m.blk.item[i].len)
            p[r.m.blk.item[i].len / 2] ^= 1;
        p += r.m.blk.item[i].len;
    }
    struct msg m = r.m;
    m.req = q->m.req;
    answer(s, q, &m, r.has_body ? &body : NULL);
    reply_close(&r);
}

static void answer_tree(struct stand *s, struct asked *q)
{
    s->asked_tree++;
    if (s->silent_tree)
        return;
    if (s->noise_tree) {
        static uint8_t nothing[LIMIT_BODY];
        struct buf body = { .data = nothing, .len = (size_t)q->m.get_tree.count * BLOCK_REF };
        answer(s, q, &(struct msg){ .type = MSG_TREE, .req = q->m.req, .tree = { q->m.get_tree.root, q->m.get_tree.first, q->m.get_tree.count } }, &body);
        return;
    }
    if (s->honest_at) {
        answer_twisted(s, q);
        return;
    }
    for (size_t i = 0; s->book && i < s->book->nlist; i++)
        if (id_eq(&s->book->list[i].root, &q->m.get_tree.root)) {
            uint32_t n = q->m.get_tree.count < s->book->list[i].n ? q->m.get_tree.count : s->book->list[i].n;
            struct buf body = { .data = s->book->list[i].refs, .len = (size_t)n * BLOCK_REF };
            s->book->list[i].refs[3] ^= s->blocks == SERVE_TWISTED && !s->twists++;
            answer(s, q, &(struct msg){ .type = MSG_TREE, .req = q->m.req, .tree = { q->m.get_tree.root, 0, n } }, &body);
            return;
        }
    answer(s, q, &(struct msg){ .type = MSG_ERR, .req = q->m.req, .err = { .code = MSGERR_NODATA } }, NULL);
}

static void answer_blocks(struct stand *s, struct asked *q)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct msg m = { .type = MSG_BLK, .req = q->m.req, .blk = { .n = q->m.get_blk.n } };
    s->asked_blk++;
    if (s->blocks == SERVE_SILENT)
        return;
    if (s->honest_at) {
        answer_twisted(s, q);
        return;
    }
    for (uint32_t i = 0; i < m.blk.n; i++) {
        m.blk.item[i] = (struct msg_blk_item){ .item = i, .status = BLK_NODATA };
        for (size_t k = 0; s->blocks == SERVE_TRULY && s->book && k < s->book->nblock; k++)
            if (id_eq(&s->book->block[k].id, &q->m.get_blk.want[i].id)) {
                m.blk.item[i].status = BLK_OK;
                m.blk.item[i].len = s->book->block[k].len;
                buf_add(&body, s->book->block[k].data, s->book->block[k].len);
                break;
            }
    }
    answer(s, q, &m, &body);
}

static void answer_vector(struct stand *s, struct asked *q)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    s->asked_vec++;
    make_vector(s, &blob);
    answer(s, q, &(struct msg){ .type = MSG_VEC, .req = q->m.req }, &blob);
}

static void obey(struct stand *s, struct asked *q)
{
    AUTO(buf_release) struct buf empty = BUF_INIT(16);
    mp_put_array(&empty, 0);
    switch (q->m.type) {
    case MSG_HELLO: answer_hello(s, q); break;
    case MSG_PING: answer(s, q, &(struct msg){ .type = MSG_PONG, .req = q->m.req, .ping = { .wall_ms = now_ms() } }, NULL); break;
    case MSG_GET_VEC: answer_vector(s, q); break;
    case MSG_GET_CS: answer_cs(s, q); break;
    case MSG_GET_TREE: answer_tree(s, q); break;
    case MSG_GET_BLK: answer_blocks(s, q); break;
    case MSG_GET_CTL:
        s->asked_ctl++;
        if (s->false_ctl)
            answer_false_ctl(s, q);
        else if (!s->silent_ctl)
            answer(s, q, &(struct msg){ .type = MSG_CTL, .req = q->m.req }, &empty);
        break;
    default: break;
    }
}

static void serve_one(struct stand *s)
{
    struct asked q;
    zmq_msg_init(&q.route);
    zmq_msg_init(&q.head);
    zmq_msg_init(&q.body);
    if (zmq_msg_recv(&q.route, s->router, ZMQ_DONTWAIT) >= 0 && zmq_msg_recv(&q.head, s->router, 0) >= 0) {
        if (zmq_msg_more(&q.head))
            zmq_msg_recv(&q.body, s->router, 0);
        must(msg_decode(zmq_msg_data(&q.head), zmq_msg_size(&q.head), &q.m));
        obey(s, &q);
    }
    zmq_msg_close(&q.route);
    zmq_msg_close(&q.head);
    zmq_msg_close(&q.body);
}

/* An answer that nobody has asked for, as large as one may be. */
static void flood_reply(struct stand *s)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    static uint8_t body[LIMIT_BODY];
    must(msg_encode(&head, &(struct msg){ .type = MSG_BLK, .req = 1u << 30, .blk = { .n = 1, .item = { { 0, BLK_OK, sizeof body } } } }));
    if (!s->routelen_first || zmq_send(s->router, s->route_first, s->routelen_first, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return;
    talk_raw(s->router, head.data, head.len, body, sizeof body);
    s->published++;
}

bool stand_wait_hello(struct stand *s, int timeout_ms)
{
    uint64_t end = now_ms() + (uint64_t)timeout_ms;
    while (!s->hellos && now_ms() < end) {
        zmq_pollitem_t item = { .socket = s->router, .events = ZMQ_POLLIN };
        if (zmq_poll(&item, 1, 100) > 0)
            serve_one(s);
    }
    return s->hellos != 0;
}

static void report(const struct stand *s)
{
    printf("hellos %u cs %u blk %u tree %u ctl %u vec %u published %llu\n", s->hellos, s->asked_cs, s->asked_blk, s->asked_tree,
           s->asked_ctl, s->asked_vec, (unsigned long long)s->published);
    fflush(stdout);
}

void stand_run(struct stand *s)
{
    uint64_t end = now_ms() + RUN_MS, due = 0, told = 0;
    bool flood = s->flood_vectors || s->flood_replies;
    printf("ready 127.0.0.1:%u\n", s->port);
    fflush(stdout);
    while (now_ms() < end) {
        zmq_pollitem_t item[2] = { { .socket = s->router, .events = ZMQ_POLLIN }, { .fd = STDIN_FILENO, .events = ZMQ_POLLIN } };
        zmq_poll(item, 2, flood ? 0 : 100);
        if (item[1].revents)
            break;
        if (item[0].revents)
            serve_one(s);
        if (now_ms() >= told + REPORT_MS) {
            report(s);
            told = now_ms();
        }
        if (s->flood_replies && s->hellos)
            flood_reply(s);
        if (now_ms() >= due || (s->flood_vectors && s->hellos)) {
            publish(s);
            due = s->false_ctl ? 0 : now_ms() + PUBLISH_MS;
        }
    }
    report(s);
}

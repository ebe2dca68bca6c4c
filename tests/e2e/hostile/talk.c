#include "tests/e2e/hostile/talk.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS 10000

void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fflush(stdout);
    fprintf(stderr, "liar: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    exit(1);
}

void must(int code)
{
    if (code < 0)
        die("%s", err_text());
}

uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void liar_open(struct liar *l, const char *home)
{
    must(keys_init());
    must(home_open(home, &l->home));
    l->group = control_group(l->home->control);
    l->keys = l->home->keys;
    l->zmq = zmq_ctx_new();
    randombytes_buf(l->inst, sizeof l->inst);
}

/* ---- sockets ---- */

void *talk_dial(struct liar *l, const char *address, const uint8_t *server_key)
{
    char ep[128];
    int zero = 0, never = -1, second = 1000;
    void *s = zmq_socket(l->zmq, ZMQ_DEALER);
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_setsockopt(s, ZMQ_SNDTIMEO, &second, sizeof second);
    if (server_key) {
        zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, server_key, 32);
        zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, l->keys->tr_pk, 32);
        zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, l->keys->tr_sk, 32);
    }
    snprintf(ep, sizeof ep, "tcp://%s", address);
    if (zmq_connect(s, ep))
        die("%s: %s", ep, zmq_strerror(errno));
    return s;
}

void *talk_group(struct liar *l, const char *address)
{
    uint8_t pk[32], sk[32];
    keys_server(l->home->group_keys, pk, sk);
    return talk_dial(l, address, pk);
}

void talk_raw(void *s, const void *head, size_t headlen, const void *body, size_t bodylen)
{
    if ((zmq_send(s, head, headlen, body ? ZMQ_SNDMORE : 0) < 0 || (body && zmq_send(s, body, bodylen, 0) < 0)) && errno != EAGAIN)
        die("sending: %s", zmq_strerror(errno));
}

void talk_send(void *s, const struct msg *m)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    must(msg_encode(&head, m));
    talk_raw(s, head.data, head.len, NULL, 0);
}

void reply_close(struct reply *r)
{
    zmq_msg_close(&r->head);
    zmq_msg_close(&r->body);
}

/* One message within the time. */
static bool receive(void *s, struct reply *r, int timeout_ms)
{
    zmq_pollitem_t item = { .socket = s, .events = ZMQ_POLLIN };
    if (zmq_poll(&item, 1, timeout_ms) <= 0)
        return false;
    zmq_msg_init(&r->head);
    zmq_msg_init(&r->body);
    r->has_body = false;
    zmq_msg_recv(&r->head, s, 0);
    if (zmq_msg_more(&r->head)) {
        zmq_msg_recv(&r->body, s, 0);
        r->has_body = true;
    }
    must(msg_decode(zmq_msg_data(&r->head), zmq_msg_size(&r->head), &r->m));
    return true;
}

bool talk_ask(void *s, struct msg *m, struct reply *r, int timeout_ms)
{
    randombytes_buf(&m->req, sizeof m->req);
    talk_send(s, m);
    uint64_t end = now_ms() + (uint64_t)timeout_ms;
    for (uint64_t now = now_ms(); now < end; now = now_ms()) {
        if (!receive(s, r, (int)(end - now)))
            return false;
        if (r->m.req == m->req)
            return true;
        reply_close(r);
    }
    return false;
}

bool talk_hello(struct liar *l, void *s, const struct id *dev, uint16_t port, struct reply *r)
{
    struct msg m = { .type = MSG_HELLO };
    m.hello = (struct msg_hello){ .group = l->group->id, .dev = *dev, .proto_min = 1, .proto_max = 1, .wall_ms = now_ms(),
                                  .ctl_n = l->group->ctl_n, .ctl_hash = l->group->ctl_hash, .port = port };
    struct hello_party self = { .dev = *dev };
    randombytes_buf(m.hello.nonce, sizeof m.hello.nonce);
    memcpy(m.hello.inst, l->inst, 8);
    memcpy(self.nonce, m.hello.nonce, sizeof self.nonce);
    memcpy(self.tr_pk, l->keys->tr_pk, sizeof self.tr_pk);
    hello_sign(m.hello.sig, &l->group->id, &self, NULL, l->keys);
    return talk_ask(s, &m, r, WAIT_MS);
}

bool talk_ping(void *s)
{
    struct reply r;
    if (!talk_ask(s, &(struct msg){ .type = MSG_PING, .ping = { .wall_ms = now_ms() } }, &r, WAIT_MS))
        return false;
    bool ok = r.m.type == MSG_PONG;
    reply_close(&r);
    return ok;
}

void *talk_up(struct liar *l, const char *address, uint16_t port)
{
    void *s = talk_group(l, address);
    struct reply r;
    if (!talk_hello(l, s, &l->keys->dev, port, &r) || r.m.type != MSG_HELLO_OK)
        die("%s does not greet", address);
    reply_close(&r);
    return s;
}

/* ---- learning ---- */

static void look_at_entries(const struct cs *cs, struct learned *out)
{
    AUTO(entry_release) struct entry e = { 0 };
    struct mp m = cs_items(cs);
    uint32_t index = 0;
    for (uint32_t i = 0; i < cs->nitems; i++) {
        struct cs_item it;
        cs_item_next(&m, &index, &it);
        if (it.pruned || entry_decode(it.ent.p, it.ent.len, &e) < 0 || e.content.type != CONTENT_BLOCKS)
            continue;
        if (e.size > out->file.size)
            out->file = (struct known_file){ e.content.root, e.content.nblocks, e.size };
        if (e.content.nblocks == 1)
            out->one = (struct known_file){ e.content.root, 1, e.size };
    }
}

static void learn_stream(struct liar *l, void *s, struct known_stream *k, struct learned *out)
{
    struct reply r;
    struct msg m = { .type = MSG_GET_CS, .get_cs = { .n = 1, .range = { { k->sid, 1, k->known } }, .credit = LIMIT_CS_REPLY } };
    if (!talk_ask(s, &m, &r, WAIT_MS) || r.m.type != MSG_CS)
        die("no change sets");
    struct mp mp;
    uint32_t n;
    must(cs_body_open(zmq_msg_data(&r.body), zmq_msg_size(&r.body), &mp, &n));
    for (uint32_t i = 0; i < n; i++) {
        struct cs cs;
        struct header h;
        must(cs_next(&mp, &cs));
        must(cs_verify(&cs, &h));
        k->dev = h.dev;
        if (!id_eq(&h.dev, &l->keys->dev))   /* our own were lies */
            look_at_entries(&cs, out);
    }
    reply_close(&r);
}

void learn(struct liar *l, void *s, const char *address, struct learned *out)
{
    struct reply r;
    struct vec v;
    *out = (struct learned){ 0 };
    bool told = false;                   /* while replies of an earlier flood wait it drops others */
    for (int i = 0; i < 20 && !told; i++)
        told = talk_ask(s, &(struct msg){ .type = MSG_GET_VEC }, &r, WAIT_MS / 10);
    if (!told || r.m.type != MSG_VEC)
        die("%s: no vector", address);
    must(vec_decode(zmq_msg_data(&r.body), zmq_msg_size(&r.body), &v));
    out->peer = v.dev;
    out->stream = xcalloc(v.nstream + 1, sizeof *out->stream);
    for (size_t i = 0; i < v.nstream; i++) {
        struct known_stream *k = &out->stream[out->nstream++];
        *k = (struct known_stream){ .sid = v.stream[i].sid, .known = v.stream[i].known };
        learn_stream(l, s, k, out);
    }
    vec_release(&v);
    reply_close(&r);
}

bool get_refs(void *s, const struct known_file *f, uint8_t **refs)
{
    struct reply r;
    struct msg m = { .type = MSG_GET_TREE, .get_tree = { f->root, f->nblocks, 0, f->nblocks } };
    if (f->nblocks < 2 || !talk_ask(s, &m, &r, WAIT_MS) || r.m.type != MSG_TREE || r.m.tree.count != f->nblocks)
        return false;
    *refs = xcalloc(f->nblocks, BLOCK_REF);
    memcpy(*refs, zmq_msg_data(&r.body), (size_t)f->nblocks * BLOCK_REF);
    reply_close(&r);
    return true;
}

#include "tests/e2e/hostile/attack.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENCE_MS 1500

/* ---- who gets in ---- */

enum { STRANGER, WRONG_SERVER_KEY, NULL_MECHANISM, NOBODIES };

static void *dial_as(struct liar *l, const char *address, int how)
{
    struct liar other = *l;
    uint8_t pk[32], sk[32];
    keys_server(l->home->group_keys, pk, sk);
    if (how == STRANGER)
        other.keys = device_keys_new();
    if (how == WRONG_SERVER_KEY)
        randombytes_buf(pk, sizeof pk);
    return talk_dial(&other, address, how == NULL_MECHANISM ? NULL : pk);
}

void attack_no_entry(struct liar *l, const char *address)
{
    static const char *const who[] = { "a stranger", "one with a wrong server key", "one without CURVE" };
    struct msg ask[] = { { .type = MSG_PING }, { .type = MSG_GET_VEC }, { .type = MSG_GET_CTL, .get_ctl = { 1 } } };
    zmq_pollitem_t it[NOBODIES];
    for (int how = 0; how < NOBODIES; how++) {
        it[how] = (zmq_pollitem_t){ .socket = dial_as(l, address, how), .events = ZMQ_POLLIN };
        for (size_t i = 0; i < sizeof ask / sizeof *ask; i++)
            talk_send(it[how].socket, &ask[i]);
    }
    zmq_poll(it, NOBODIES, SILENCE_MS);
    for (int how = 0; how < NOBODIES; how++) {
        if (it[how].revents)
            die("%s was answered", who[how]);
        zmq_close(it[how].socket);
    }
}

void attack_hello_other(struct liar *l, const char *address)
{
    void *s = talk_group(l, address);
    for (size_t i = 0; i < l->group->nmember; i++) {
        struct reply r;
        const struct id *dev = &l->group->member[i].card.dev;
        if (id_eq(dev, &l->keys->dev))
            continue;
        if (!talk_hello(l, s, dev, 1, &r) || r.m.type != MSG_ERR || r.m.err.code != MSGERR_AUTH)
            die("a greeting in another's name was not refused");
        reply_close(&r);
    }
    zmq_close(s);
}

/* ---- malformed ---- */

static void send_variants(void *s, const struct buf *head)
{
    static const uint8_t body[100];
    for (size_t n = 0; n < head->len; n++)
        talk_raw(s, head->data, n, NULL, 0);
    for (size_t i = 0; i < head->len; i++) {
        AUTOFREE uint8_t *copy = xcalloc(head->len + 1, 1);
        memcpy(copy, head->data, head->len);
        talk_raw(s, copy, head->len + 1, NULL, 0);
        copy[i] ^= 0x80;
        talk_raw(s, copy, head->len, NULL, 0);
        copy[i] = 0xdd;                  /* an array of what happens to follow */
        talk_raw(s, copy, head->len, i % 2 ? body : NULL, sizeof body);
    }
    talk_raw(s, head->data, head->len, body, sizeof body);
    zmq_send(s, head->data, head->len, ZMQ_SNDMORE);
    zmq_send(s, body, sizeof body, ZMQ_SNDMORE);
    zmq_send(s, body, sizeof body, 0);
}

static struct msg example(enum msg_type t)
{
    struct msg m = { .type = t, .req = 7 };
    memset(&m.get_tree, 0, sizeof m.get_tree);
    switch (t) {
    case MSG_GET_CTL: m.get_ctl.from = 1; break;
    case MSG_GET_CS: m.get_cs.n = 1; m.get_cs.credit = 1; m.get_cs.range[0].from = m.get_cs.range[0].to = 1; break;
    case MSG_GET_TREE: m.get_tree.root.b[0] = 1; m.get_tree.nblocks = m.get_tree.count = 2; break;
    case MSG_HAVE: m.have.root.b[0] = 1; m.have.nblocks = m.have.count = 1; break;
    case MSG_GET_BLK: m.get_blk.n = 1; m.get_blk.want[0].root.b[0] = m.get_blk.want[0].id.b[0] = 1; break;
    default: break;
    }
    return m;
}

static void deep_and_lying(void *s)
{
    uint8_t deep[60000];
    memset(deep, 0x91, sizeof deep);
    talk_raw(s, deep, sizeof deep, NULL, 0);
    static const uint8_t lying[][9] = { { 0xdd, 0x0f, 0xff, 0xff, 0xff }, { 0xdf, 0xff, 0xff, 0xff, 0xff }, { 0xc6, 0xff, 0xff, 0xff, 0xff },
                                        { 0x93, 1, 14, 0xdd, 0xff, 0xff, 0xff, 0xff, 0x93 }, { 0x93, 1, 22, 0xdc, 0xff, 0xff, 0x93, 1, 1 } };
    for (size_t i = 0; i < sizeof lying / sizeof *lying; i++)
        talk_raw(s, lying[i], sizeof lying[i], NULL, 0);
    for (uint8_t type = 0; type < 128; type++) {
        const uint8_t head[] = { 0x93, 1, type, 1 };
        talk_raw(s, head, sizeof head, type % 2 ? head : NULL, sizeof head);
    }
    for (uint8_t format = 0; format < 5; format++)
        talk_raw(s, (uint8_t[]){ 0x93, format, 12, 1 }, 4, NULL, 0);
}

static void too_big(struct liar *l, const char *address)
{
    static uint8_t big[LIMIT_WIRE + 1000];
    for (size_t n = LIMIT_HEAD; n <= LIMIT_HEAD + 2; n++) {
        void *s = talk_up(l, address, 0);
        talk_raw(s, big, n, NULL, 0);
        talk_raw(s, big, 10, big, LIMIT_HEAD + 1);
        if (!talk_ping(s))
            die("a head of %zu bytes ended the connection", n);
        zmq_close(s);
    }
    static const size_t beyond[] = { LIMIT_WIRE_REQUEST + 1, LIMIT_BODY, sizeof big };
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        void *s = talk_up(l, address, 0);
        struct reply r;
        talk_raw(s, big, beyond[i], NULL, 0);
        if (talk_ask(s, &(struct msg){ .type = MSG_PING }, &r, 300))
            die("a frame of %zu bytes was taken", beyond[i]);
        zmq_close(s);
    }
}

void attack_heads(struct liar *l, const char *address)
{
    static const enum msg_type types[] = { MSG_HELLO, MSG_PING, MSG_GET_CTL, MSG_GET_VEC, MSG_GET_CS, MSG_GET_LIVE, MSG_GET_TREE, MSG_HAVE,
                                           MSG_GET_BLK };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
        struct msg m = example(types[i]);
        void *s = talk_up(l, address, 0);
        if (types[i] != MSG_HELLO)
            must(msg_encode(&head, &m));
        else
            buf_add(&head, "\x9f\x01\x01\x07\xc4\x20", 6);
        send_variants(s, &head);
        if (!talk_ping(s))
            die("no answer after malformed %s", msg_name(types[i]));
        zmq_close(s);
    }
    void *s = talk_up(l, address, 0);
    deep_and_lying(s);
    if (!talk_ping(s))
        die("no answer after deep and lying heads");
    zmq_close(s);
    too_big(l, address);
}

/* ---- well formed nonsense ---- */

static void expect(void *s, struct msg *m, enum msg_type type, size_t most)
{
    struct reply r;
    if (!talk_ask(s, m, &r, 10000))
        die("%s: no answer", msg_name(m->type));
    if (r.m.type != type)
        die("%s was answered with %s", msg_name(m->type), msg_name(r.m.type));
    if (r.has_body && zmq_msg_size(&r.body) > most)
        die("%s was answered with %zu bytes", msg_name(m->type), zmq_msg_size(&r.body));
    reply_close(&r);
}

static void put_range(struct buf *b, const struct sid *sid, uint64_t from, uint64_t to)
{
    mp_put_array(b, 3);
    mp_put_bin(b, sid->b, SID_LEN);
    mp_put_u64(b, from);
    mp_put_u64(b, to);
}

/* Ranges that no encoder would write: backwards, from 0, beyond the limit, overlapping. */
static void raw_ranges(void *s, const struct sid *sid)
{
    static const uint64_t bad[][2] = { { 9, 3 }, { 0, 3 }, { 1, UINT64_MAX }, { UINT64_MAX, UINT64_MAX }, { 0, 0 } };
    for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) {
        AUTO(buf_release) struct buf h = BUF_INIT(LIMIT_HEAD);
        bool twice = i == sizeof bad / sizeof *bad;
        mp_put_array(&h, 5);
        mp_put_u64(&h, 1);
        mp_put_u64(&h, MSG_GET_CS);
        mp_put_u64(&h, 5);
        mp_put_array(&h, twice ? 2 : 1);
        put_range(&h, sid, twice ? 1 : bad[i][0], twice ? 5 : bad[i][1]);
        if (twice)
            put_range(&h, sid, 5, 9);
        mp_put_u64(&h, 1000);
        talk_raw(s, h.data, h.len, NULL, 0);
    }
    if (!talk_ping(s))
        die("no answer after ranges that may not be");
}

static struct msg want(const struct id *root, uint32_t idx, const struct id *id, uint32_t n)
{
    struct msg m = { .type = MSG_GET_BLK, .get_blk = { .n = n } };
    for (uint32_t i = 0; i < n; i++)
        m.get_blk.want[i] = (struct msg_blk_want){ *root, idx + i, *id };
    return m;
}

void attack_ranges(struct liar *l, const char *address)
{
    void *s = talk_up(l, address, 0);
    struct learned k;
    uint8_t *refs;
    learn(l, s, address, &k);
    if (!k.nstream || !get_refs(s, &k.file, &refs))
        die("%s has nothing to ask for", address);
    raw_ranges(s, &k.stream[0].sid);
    struct msg m = { .type = MSG_GET_CS, .get_cs = { .n = 1, .range = { { k.stream[0].sid, 1, LIMIT_SEQ } }, .credit = 1 } };
    expect(s, &m, MSG_CS, LIMIT_CS_REPLY);
    m.get_cs.range[0].from = LIMIT_SEQ;
    expect(s, &m, MSG_CS, 16);
    m.get_cs.n = MSG_RANGES;
    for (uint32_t i = 0; i < MSG_RANGES; i++)
        m.get_cs.range[i] = (struct msg_range){ k.stream[0].sid, 1 + 2 * i, 1 + 2 * i };
    expect(s, &m, MSG_CS, LIMIT_CS_REPLY);
    expect(s, &(struct msg){ .type = MSG_GET_CTL, .get_ctl = { LIMIT_SEQ } }, MSG_CTL, 16);
    struct id none = id_hash("nothing", 7), root = k.file.root;
    expect(s, &(struct msg){ .type = MSG_GET_TREE, .get_tree = { none, 2, 0, 2 } }, MSG_ERR, 0);
    expect(s, &(struct msg){ .type = MSG_GET_TREE, .get_tree = { root, LIMIT_BLOCKS, LIMIT_BLOCKS - 4096, 4096 } }, MSG_ERR, 0);
    expect(s, &(struct msg){ .type = MSG_GET_TREE, .get_tree = { root, LIMIT_BLOCKS, 0, 4096 } }, MSG_ERR, 0);
    expect(s, &(struct msg){ .type = MSG_GET_TREE, .get_tree = { root, k.file.nblocks, 0, k.file.nblocks } }, MSG_TREE, LIMIT_BODY);
    expect(s, &(struct msg){ .type = MSG_HAVE, .have = { none, LIMIT_BLOCKS, 0, LIMIT_BLOCKS } }, MSG_HAVE_OK, LIMIT_BODY);
    struct msg b[] = { want(&none, 0, &none, 1), want(&none, 5, &root, 32), want(&root, LIMIT_BLOCKS - 40, &root, 32), want(&root, 0, &root, 1) };
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        expect(s, &b[i], MSG_BLK, 0);
    struct msg all = { .type = MSG_GET_BLK, .get_blk = { .n = k.file.nblocks < 32 ? k.file.nblocks : 32 } };
    for (uint32_t i = 0; i < all.get_blk.n; i++) {
        all.get_blk.want[i] = (struct msg_blk_want){ .root = root, .idx = i };
        memcpy(&all.get_blk.want[i].id, refs + (size_t)i * BLOCK_REF, ID_LEN);
    }
    expect(s, &all, MSG_BLK, LIMIT_BODY);
    free(refs);
    zmq_close(s);
}

/* ---- floods ---- */

static struct msg flood_request(const char *what, const struct learned *k, const uint8_t *refs)
{
    struct msg m = { .type = MSG_PING };
    if (strcmp(what, "vec") == 0)
        m.type = MSG_GET_VEC;
    if (strcmp(what, "ctl") == 0)
        m = (struct msg){ .type = MSG_GET_CTL, .get_ctl = { 1 } };
    if (strcmp(what, "cs") == 0) {
        m = (struct msg){ .type = MSG_GET_CS, .get_cs = { .n = 1, .range = { { k->stream[0].sid, 1, LIMIT_SEQ } }, .credit = 1 << 20 } };
        for (size_t i = 0; i < k->nstream; i++)
            if (k->stream[i].known > k->stream[0].known)
                m.get_cs.range[0].sid = k->stream[i].sid;
    }
    if (strcmp(what, "have") == 0)
        m = (struct msg){ .type = MSG_HAVE, .have = { k->file.root, LIMIT_BLOCKS, 0, LIMIT_BLOCKS } };
    if (strcmp(what, "tree") == 0)
        m = (struct msg){ .type = MSG_GET_TREE, .get_tree = { k->file.root, k->file.nblocks, 0, k->file.nblocks } };
    if (strcmp(what, "blk") == 0) {
        m = (struct msg){ .type = MSG_GET_BLK, .get_blk = { .n = k->file.nblocks < 32 ? k->file.nblocks : 32 } };
        for (uint32_t i = 0; i < m.get_blk.n; i++) {
            m.get_blk.want[i] = (struct msg_blk_want){ .root = k->file.root, .idx = i };
            memcpy(&m.get_blk.want[i].id, refs + (size_t)i * BLOCK_REF, ID_LEN);
        }
    }
    return m;
}

void attack_flood(struct liar *l, const char *address, const char *what, int seconds, int connections)
{
    static uint8_t body[LIMIT_WIRE_REQUEST - 1000];
    void *first = talk_up(l, address, 0), *s[64];
    struct learned k;
    uint8_t *refs;
    learn(l, first, address, &k);
    if (!get_refs(first, &k.file, &refs))
        die("%s has nothing to ask for", address);
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    struct msg m = flood_request(what, &k, refs);
    must(msg_encode(&head, &m));
    bool with_body = strcmp(what, "body") == 0;
    int one = 1;
    uint64_t end = now_ms() + (uint64_t)seconds * 1000, sent = 0;
    for (int i = 0; i < connections; i++) {
        s[i] = talk_group(l, address);
        zmq_setsockopt(s[i], ZMQ_RCVHWM, &one, sizeof one);
        zmq_setsockopt(s[i], ZMQ_SNDTIMEO, &one, sizeof one);
    }
    while (now_ms() < end)
        for (int i = 0; i < connections; i++)
            if (zmq_send(s[i], head.data, head.len, with_body ? ZMQ_SNDMORE : 0) >= 0) {
                if (with_body)
                    zmq_send(s[i], body, sizeof body, 0);
                sent++;
            }
    printf("sent %llu\n", (unsigned long long)sent);
    free(refs);
}

void attack_ports(struct liar *l, const char *address, int n)
{
    for (int i = 0; i < n; i++) {
        void *s = i % 500 == 0 ? talk_up(l, address, 0) : NULL;
        static void *at;
        at = s ? s : at;
        struct reply r;
        if (!talk_hello(l, at, &l->keys->dev, (uint16_t)(20000 + i), &r))
            die("no answer to greeting %d", i);
        reply_close(&r);
    }
}

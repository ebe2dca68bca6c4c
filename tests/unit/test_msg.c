/* The heads of messages. */
#include "proto/msg.h"
#include "tests/unit/t_record.h"

static const enum msg_type types[] = {
    MSG_HELLO, MSG_HELLO_OK, MSG_ERR, MSG_PING, MSG_PONG, MSG_GET_CTL, MSG_CTL, MSG_GET_VEC, MSG_VEC, MSG_GET_CS, MSG_CS,
    MSG_GET_LIVE, MSG_LIVE, MSG_GET_TREE, MSG_TREE, MSG_HAVE, MSG_HAVE_OK, MSG_GET_BLK, MSG_BLK, MSG_PEX, MSG_FORK, MSG_GET_VECS, MSG_VECS, MSG_GET_HIST,
    MSG_HIST, MSG_JOIN1, MSG_JOIN2, MSG_JOIN3, MSG_JOIN4,
};
#define NTYPES (sizeof types / sizeof *types)

/* ---- random valid messages ---- */

static void random_hello(uint64_t *seed, struct msg *m)
{
    struct msg_hello *h = &m->hello;
    t_bytes(seed, h->group.b, ID_LEN);
    t_bytes(seed, h->dev.b, ID_LEN);
    t_bytes(seed, h->ctl_hash.b, ID_LEN);
    t_bytes(seed, h->inst, sizeof h->inst);
    t_bytes(seed, h->nonce, sizeof h->nonce);
    t_bytes(seed, h->sig, sizeof h->sig);
    h->port = (uint16_t)t_num(seed, UINT16_MAX);
    h->proto_min = 1 + t_num(seed, 9);
    h->proto_max = h->proto_min + t_num(seed, 9);
    h->wall_ms = t_num(seed, RECORD_MS_MAX);
    h->ctl_n = t_num(seed, LIMIT_SEQ);
    h->caps = t_num(seed, RECORD_CAPS_MAX);
    h->nown = m->type == MSG_HELLO ? 0 : (uint32_t)t_num(seed, MSG_OWN_STREAMS);
    for (uint32_t i = 0; i < h->nown; i++) {
        h->own[i].sid = t_sid((uint8_t)i);
        h->own[i].known = 1 + t_num(seed, LIMIT_SEQ - 1);
    }
}

static void random_ranges(uint64_t *seed, struct msg *m)
{
    m->get_cs.n = 1 + (uint32_t)t_num(seed, MSG_RANGES - 1);
    uint64_t at = 0;
    for (uint32_t i = 0; i < m->get_cs.n; i++) {
        at = i % 3 ? at : 0;                     /* up to three of a stream */
        struct msg_range *r = &m->get_cs.range[i];
        r->sid = t_sid((uint8_t)(i / 3));
        r->from = at + 1 + t_num(seed, 1000);
        r->to = at = r->from + t_num(seed, 1000);
    }
    m->get_cs.credit = 1 + t_num(seed, MSG_CREDIT_MAX - 1);
}

static void random_content(uint64_t *seed, struct msg *m)
{
    uint32_t n = 2 + (uint32_t)t_num(seed, LIMIT_BLOCKS - 2), leaf = LIMIT_TREE_LEAF;
    uint32_t first = (uint32_t)t_num(seed, (n - 1) / leaf) * leaf, count = n - first < leaf ? n - first : leaf;
    struct id root = t_id((uint8_t)(1 + t_num(seed, 200)));
    if (m->type == MSG_GET_TREE) {
        m->get_tree.root = root;
        m->get_tree.nblocks = n, m->get_tree.first = first, m->get_tree.count = count;
    } else if (m->type == MSG_HAVE) {
        m->have.root = root;
        m->have.nblocks = n, m->have.first = n - 1, m->have.count = 1;
    } else {                                     /* TREE and HAVE_OK have the same fields */
        m->tree.root = root;
        m->tree.first = first, m->tree.count = count;
    }
}

static void random_blocks(uint64_t *seed, struct msg *m)
{
    uint32_t n = 1 + (uint32_t)t_num(seed, LIMIT_GET_BLK - 1);
    if (m->type == MSG_GET_BLK) {
        m->get_blk.n = n;
        for (uint32_t i = 0; i < n; i++)
            m->get_blk.want[i] = (struct msg_blk_want){ t_id((uint8_t)(1 + i / 2)), i, t_id((uint8_t)(1 + i)) };
        return;
    }
    m->blk.n = n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t status = (uint32_t)t_num(seed, 2);
        m->blk.item[i] = (struct msg_blk_item){ i, status, status == BLK_OK ? 1 + (uint32_t)t_num(seed, 100000) : 0 };
    }
}

static struct msg random_msg(uint64_t *seed, enum msg_type type)
{
    struct msg m = { .type = type, .req = t_rand(seed) };
    switch (type) {
    case MSG_HELLO: case MSG_HELLO_OK: random_hello(seed, &m); break;
    case MSG_ERR:
        m.err.code = (enum msg_error)(1 + t_num(seed, 7));
        m.err.text = t_str("not here");
        m.err.retry_ms = t_num(seed, MSG_RETRY_MAX_MS);
        break;
    case MSG_PING: case MSG_PONG: m.ping.wall_ms = t_num(seed, RECORD_MS_MAX), m.ping.ctr = t_num(seed, LIMIT_SEQ); break;
    case MSG_GET_CTL: m.get_ctl.from = 1 + t_num(seed, LIMIT_SEQ - 1); break;
    case MSG_GET_CS: random_ranges(seed, &m); break;
    case MSG_GET_LIVE: m.get_live.from = t_str("a"), m.get_live.to = t_str("a/b"), m.get_live.cursor = t_num(seed, LIMIT_SEQ); break;
    case MSG_LIVE: m.live.next = t_num(seed, LIMIT_SEQ); break;
    case MSG_GET_TREE: case MSG_TREE: case MSG_HAVE: case MSG_HAVE_OK: random_content(seed, &m); break;
    case MSG_GET_BLK: case MSG_BLK: random_blocks(seed, &m); break;
    case MSG_GET_VECS:
        m.get_vecs.chosen = t_num(seed, 1) != 0;
        m.get_vecs.ages = t_num(seed, 1) != 0;
        m.get_vecs.since = t_num(seed, LIMIT_SEQ);
        break;
    case MSG_VECS:
        m.vecs.upto = t_num(seed, LIMIT_SEQ);
        m.vecs.more = t_num(seed, 1) != 0;
        break;
    case MSG_GET_HIST: m.get_hist.path = t_str("x/y"); break;
    case MSG_JOIN1: t_bytes(seed, m.join1.share, 32), memcpy(m.join1.hint, "A7", 3), m.join1.proto_min = 1, m.join1.proto_max = 2; break;
    case MSG_JOIN2: t_bytes(seed, &m.join2, sizeof m.join2); break;
    case MSG_JOIN3: t_bytes(seed, &m.join3, sizeof m.join3); break;
    default: break;
    }
    return m;
}

static bool same(const struct bytes *a, const struct bytes *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* Whether two messages of a type without lists of owned pointers say the same. */
static bool same_msg(const struct msg *a, const struct msg *b)
{
    if (a->type != b->type || a->req != b->req)
        return false;
    switch (a->type) {
    case MSG_ERR: return a->err.code == b->err.code && same(&a->err.text, &b->err.text) && a->err.retry_ms == b->err.retry_ms;
    case MSG_GET_LIVE:
        return same(&a->get_live.from, &b->get_live.from) && same(&a->get_live.to, &b->get_live.to)
            && a->get_live.cursor == b->get_live.cursor;
    case MSG_GET_HIST: return same(&a->get_hist.path, &b->get_hist.path);
    case MSG_HELLO: case MSG_HELLO_OK: return memcmp(&a->hello, &b->hello, sizeof a->hello) == 0;
    case MSG_GET_CS: return memcmp(&a->get_cs, &b->get_cs, sizeof a->get_cs) == 0;
    case MSG_GET_BLK: return memcmp(&a->get_blk, &b->get_blk, sizeof a->get_blk) == 0;
    case MSG_BLK: return memcmp(&a->blk, &b->blk, sizeof a->blk) == 0;
    default: return memcmp(&a->join2, &b->join2, sizeof a->join2) == 0;   /* covers the small ones */
    }
}

static void test_round_trip(void)
{
    uint64_t seed = 1;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    for (size_t t = 0; t < NTYPES; t++) {
        for (int i = 0; i < 50; i++) {
            struct msg m = random_msg(&seed, types[t]), d;
            OK(msg_encode(&b, &m));
            OK(msg_decode(b.data, b.len, &d));
            if (!same_msg(&m, &d))
                T_FAIL("%s differs", msg_name(m.type));
        }
    }
}

static int head_bytes(const void *p, size_t n)
{
    struct msg m;
    return msg_decode(p, n, &m);
}

static void test_truncation(void)
{
    uint64_t seed = 2;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    for (size_t t = 0; t < NTYPES; t++) {
        struct msg m = random_msg(&seed, types[t]);
        OK(msg_encode(&b, &m));
        t_truncations(head_bytes, &b);
    }
}

/* A message of `type` whose field i (0 = format, 1 = type, 2 = req_id) is written anew by `put`: refused, accepted. */
static void head_make(enum msg_type type, struct shape *s)
{
    uint64_t seed = 3;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    struct msg msg = random_msg(&seed, type);
    OK(msg_encode(&b, &msg));
    struct mp m = mp_reader(b.data, b.len);
    uint32_t n = mp_array(&m, SHAPE_FIELDS);
    for (uint32_t i = 0; i < n; i++) {
        struct bytes raw = mp_skip(&m);
        buf_add(shape_add(s), raw.p, raw.len);
    }
}
static int head_decode(const struct shape *s, size_t n)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD * 2);
    shape_put(&b, s, n);
    return head_bytes(b.data, b.len);
}
#define HEAD(type, i, put, check) do { \
    struct shape t_shape = { 0 }; \
    head_make((type), &t_shape); \
    struct buf *b = shape_set(&t_shape, 3 + (i)); \
    put; \
    check; \
    shape_release(&t_shape); \
} while (0)
#define NO(type, i, put, words) HEAD(type, i, put, FAILS(head_decode(&t_shape, t_shape.n), ERR_BAD, words))
#define YES(type, i, put) HEAD(type, i, put, OK(head_decode(&t_shape, t_shape.n)))

static void test_every_type(void)
{
    for (size_t t = 0; t < NTYPES; t++) {
        struct shape s = { 0 };
        head_make(types[t], &s);
        OK(head_decode(&s, s.n));
        FAILS(head_decode(&s, s.n - 1), ERR_BAD, "fields");
        mp_put_nil(shape_add(&s));
        FAILS(head_decode(&s, s.n), ERR_BAD, msg_name(types[t]));
        s.n--;
        buf_release(&s.field[s.n]);
        mp_put_u64(shape_set(&s, 0), 2);
        FAILS(head_decode(&s, s.n), ERR_BAD, "message: format");
        shape_release(&s);
    }
    static const uint64_t unknown[] = { 0, 6, 7, 9, 34, 1u << 20, UINT64_MAX };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        struct shape s = { 0 };
        head_make(MSG_GET_VEC, &s);
        mp_put_u64(shape_set(&s, 1), unknown[i]);
        FAILS(head_decode(&s, s.n), ERR_BAD, "message: type");
        shape_release(&s);
    }
    NO(MSG_GET_VEC, -1, mp_put_nil(b), "req_id");
    FAILS(head_bytes("", 0), ERR_BAD, "message");
}

static void owns(struct buf *b, uint32_t n, bool sorted, uint64_t known)
{
    mp_put_array(b, n);
    for (uint32_t i = 0; i < n; i++) {
        mp_put_array(b, 2);
        mp_put_bin(b, t_sid(sorted ? (uint8_t)i : 0).b, SID_LEN);
        mp_put_u64(b, known);
    }
}

static void test_hello_rules(void)
{
    NO(MSG_HELLO, 0, mp_put_bin(b, ID_NONE.b, 32), "HELLO: group");
    NO(MSG_HELLO, 1, mp_put_bin(b, ID_NONE.b, 32), "HELLO: dev");
    NO(MSG_HELLO, 2, mp_put_bin(b, "x", 1), "HELLO: inst");
    NO(MSG_HELLO, 3, mp_put_u64(b, 0), "HELLO: proto_min");
    NO(MSG_HELLO, 3, mp_put_u64(b, 100), "HELLO: proto_max");
    NO(MSG_HELLO, 4, mp_put_u64(b, MSG_PROTO_LIMIT + 1), "HELLO: proto_max");
    NO(MSG_HELLO, 5, mp_put_u64(b, RECORD_MS_MAX + 1), "HELLO: wall_ms");
    NO(MSG_HELLO, 6, mp_put_u64(b, LIMIT_SEQ + 1), "HELLO: ctl_n");
    NO(MSG_HELLO, 7, mp_put_bin(b, ID_NONE.b, 32), "HELLO: ctl_hash");
    NO(MSG_HELLO, 8, mp_put_u64(b, UINT64_MAX), "HELLO: caps");
    NO(MSG_HELLO, 9, mp_put_u64(b, 65536), "HELLO: port");
    NO(MSG_HELLO, 10, mp_put_bin(b, ID_NONE.b, 31), "HELLO: nonce");
    NO(MSG_HELLO, 11, mp_put_bin(b, ID_NONE.b, 32), "HELLO: sig");
    NO(MSG_HELLO_OK, 12, owns(b, MSG_OWN_STREAMS + 1, true, 1), "HELLO_OK: own");
    NO(MSG_HELLO_OK, 12, owns(b, 2, false, 1), "HELLO_OK: own");
    NO(MSG_HELLO_OK, 12, owns(b, 1, true, 0), "HELLO_OK: own known");
    NO(MSG_HELLO_OK, 12, owns(b, 1, true, LIMIT_SEQ + 1), "HELLO_OK: own known");
    YES(MSG_HELLO_OK, 12, owns(b, MSG_OWN_STREAMS, true, 1));
    YES(MSG_HELLO_OK, 12, mp_put_array(b, 0));
}

static void range_raw(struct buf *b, uint8_t sid, uint64_t from, uint64_t to)
{
    mp_put_array(b, 3);
    mp_put_bin(b, t_sid(sid).b, SID_LEN);
    mp_put_u64(b, from);
    mp_put_u64(b, to);
}
static void ranges(struct buf *b, uint32_t n)
{
    mp_put_array(b, n);
    for (uint32_t i = 0; i < n; i++)
        range_raw(b, 1, 2 * i + 1, 2 * i + 1);
}

static void test_small_rules(void)
{
    char text[LIMIT_TEXT + 1];
    memset(text, 't', sizeof text);
    NO(MSG_ERR, 0, mp_put_u64(b, 0), "ERR: code");
    NO(MSG_ERR, 0, mp_put_u64(b, 9), "ERR: code");
    NO(MSG_ERR, 1, mp_put_strn(b, text, sizeof text), "ERR: text");
    NO(MSG_ERR, 1, mp_put_str(b, "a\nforged line"), "ERR: text");
    NO(MSG_ERR, 2, mp_put_u64(b, MSG_RETRY_MAX_MS + 1), "ERR: retry_ms");
    NO(MSG_PING, 0, mp_put_u64(b, RECORD_MS_MAX + 1), "PING: wall_ms");
    NO(MSG_PONG, 1, mp_put_u64(b, LIMIT_SEQ + 1), "PONG: ctr");
    NO(MSG_GET_CTL, 0, mp_put_u64(b, 0), "GET_CTL: from");
    NO(MSG_GET_CTL, 0, mp_put_u64(b, LIMIT_SEQ + 1), "GET_CTL: from");
    NO(MSG_LIVE, 0, mp_put_u64(b, LIMIT_SEQ + 1), "LIVE: next");
    NO(MSG_GET_VECS, 0, mp_put_u64(b, 2), "GET_VECS: chosen");
    NO(MSG_GET_VECS, 1, mp_put_u64(b, 2), "GET_VECS: ages");
    NO(MSG_GET_VECS, 2, mp_put_u64(b, LIMIT_SEQ + 1), "GET_VECS: since");
    NO(MSG_VECS, 0, mp_put_u64(b, LIMIT_SEQ + 1), "VECS: upto");
    NO(MSG_VECS, 1, mp_put_u64(b, 2), "VECS: more");
    NO(MSG_GET_HIST, 0, mp_put_bin(b, "..", 2), "GET_HIST: path");
    NO(MSG_GET_HIST, 0, mp_put_bin(b, "", 0), "GET_HIST: path");
    NO(MSG_GET_LIVE, 0, mp_put_bin(b, "a//b", 4), "GET_LIVE: from");
    NO(MSG_GET_LIVE, 0, mp_put_bin(b, "a/b", 3), "GET_LIVE: to");
    NO(MSG_GET_LIVE, 1, mp_put_bin(b, "..", 2), "GET_LIVE: to");
    NO(MSG_GET_LIVE, 2, mp_put_u64(b, LIMIT_SEQ + 1), "GET_LIVE: cursor");
    YES(MSG_GET_LIVE, 0, mp_put_bin(b, "", 0));
    YES(MSG_GET_LIVE, 1, mp_put_bin(b, "", 0));
    NO(MSG_JOIN1, 0, mp_put_u64(b, 3), "JOIN1: proto_max");
    NO(MSG_JOIN1, 2, mp_put_str(b, "A"), "JOIN1: hint");
    NO(MSG_JOIN1, 2, mp_put_str(b, "ABC"), "JOIN1: hint");
    NO(MSG_JOIN1, 2, mp_put_bin(b, "AB", 2), "JOIN1: hint");
    NO(MSG_JOIN1, 3, mp_put_bin(b, text, 31), "JOIN1: share");
    NO(MSG_JOIN2, 1, mp_put_bin(b, text, 63), "JOIN2: tag");
    NO(MSG_JOIN3, 0, mp_put_bin(b, text, 65), "JOIN3: tag");
}

static void test_range_rules(void)
{
    YES(MSG_GET_CS, 0, ranges(b, MSG_RANGES));
    NO(MSG_GET_CS, 0, ranges(b, MSG_RANGES + 1), "GET_CS: ranges");
    NO(MSG_GET_CS, 0, mp_put_array(b, 0), "GET_CS: ranges");
    NO(MSG_GET_CS, 0, (mp_put_array(b, 1), range_raw(b, 1, 0, 4)), "GET_CS: range from");
    NO(MSG_GET_CS, 0, (mp_put_array(b, 1), range_raw(b, 1, 5, 4)), "GET_CS: range to");
    NO(MSG_GET_CS, 0, (mp_put_array(b, 1), range_raw(b, 1, 5, LIMIT_SEQ + 1)), "GET_CS: range to");
    NO(MSG_GET_CS, 0, (mp_put_array(b, 2), range_raw(b, 1, 1, 4), range_raw(b, 1, 4, 9)), "GET_CS: ranges");
    YES(MSG_GET_CS, 0, (mp_put_array(b, 2), range_raw(b, 1, 1, 4), range_raw(b, 1, 5, 9)));
    NO(MSG_GET_CS, 0, (mp_put_array(b, 2), range_raw(b, 2, 1, 4), range_raw(b, 1, 5, 9)), "GET_CS: ranges");
    NO(MSG_GET_CS, 1, mp_put_u64(b, 0), "GET_CS: credit");
    NO(MSG_GET_CS, 1, mp_put_u64(b, MSG_CREDIT_MAX + 1), "GET_CS: credit");
}

/* first and count in fields i and i + 1 */
static int run_decode(enum msg_type type, uint64_t nblocks, uint64_t first, uint64_t count)
{
    struct shape s = { 0 };
    bool has_n = type == MSG_GET_TREE || type == MSG_HAVE;
    head_make(type, &s);
    if (has_n)
        mp_put_u64(shape_set(&s, 4), nblocks);
    mp_put_u64(shape_set(&s, 4 + has_n), first);
    mp_put_u64(shape_set(&s, 5 + has_n), count);
    int code = head_decode(&s, s.n);
    shape_release(&s);
    return code;
}

static void test_run_rules(void)
{
    uint32_t leaf = LIMIT_TREE_LEAF;
    NO(MSG_GET_TREE, 0, mp_put_bin(b, ID_NONE.b, 32), "GET_TREE: root");
    FAILS(run_decode(MSG_GET_TREE, 1, 0, 1), ERR_BAD, "GET_TREE: nblocks");
    FAILS(run_decode(MSG_GET_TREE, LIMIT_BLOCKS + 1, 0, leaf), ERR_BAD, "GET_TREE: nblocks");
    FAILS(run_decode(MSG_GET_TREE, 2 * leaf, 1, leaf), ERR_BAD, "GET_TREE: first");
    FAILS(run_decode(MSG_GET_TREE, 2 * leaf, 0, leaf + 1), ERR_BAD, "GET_TREE: count");
    FAILS(run_decode(MSG_GET_TREE, 2 * leaf, 0, 0), ERR_BAD, "GET_TREE: count");
    FAILS(run_decode(MSG_GET_TREE, 2 * leaf, leaf, 2 * leaf), ERR_BAD, "GET_TREE: count");
    FAILS(run_decode(MSG_GET_TREE, leaf, leaf, leaf), ERR_BAD, "GET_TREE: count");
    FAILS(run_decode(MSG_GET_TREE, LIMIT_BLOCKS, 0, 29 * leaf), ERR_BAD, "GET_TREE: count");
    OK(run_decode(MSG_GET_TREE, LIMIT_BLOCKS, 0, 28 * leaf));
    OK(run_decode(MSG_GET_TREE, leaf + 5, leaf, 5));
    FAILS(run_decode(MSG_TREE, 0, 7, 1), ERR_BAD, "TREE: first");
    FAILS(run_decode(MSG_TREE, 0, 0, LIMIT_BODY / BLOCK_REF + 1), ERR_BAD, "TREE: count");
    OK(run_decode(MSG_TREE, 0, 0, LIMIT_BODY / BLOCK_REF));
    FAILS(run_decode(MSG_TREE, 0, LIMIT_BLOCKS - leaf, leaf + 1), ERR_BAD, "TREE: count");
    FAILS(run_decode(MSG_HAVE, 10, 10, 1), ERR_BAD, "HAVE: count");
    FAILS(run_decode(MSG_HAVE, 10, 9, 2), ERR_BAD, "HAVE: count");
    FAILS(run_decode(MSG_HAVE, 10, 0, 0), ERR_BAD, "HAVE: count");
    FAILS(run_decode(MSG_HAVE, 0, 0, 1), ERR_BAD, "HAVE: nblocks");
    FAILS(run_decode(MSG_HAVE, 10, 9, UINT64_MAX), ERR_BAD, "HAVE: count");
    OK(run_decode(MSG_HAVE, 10, 9, 1));
    FAILS(run_decode(MSG_HAVE_OK, 0, LIMIT_BLOCKS, 1), ERR_BAD, "HAVE_OK: first");
    FAILS(run_decode(MSG_HAVE_OK, 0, LIMIT_BLOCKS - 1, 2), ERR_BAD, "HAVE_OK: count");
}

static void wants(struct buf *b, uint32_t n, uint32_t mod)
{
    mp_put_array(b, n);
    for (uint32_t i = 0; i < n; i++) {
        mp_put_array(b, 3);
        mp_put_bin(b, t_id(1).b, ID_LEN);
        mp_put_u64(b, i % mod);
        mp_put_bin(b, t_id(2).b, ID_LEN);
    }
}
static void items(struct buf *b, uint32_t n, uint64_t step, uint64_t status, uint64_t len)
{
    mp_put_array(b, n);
    for (uint32_t i = 0; i < n; i++) {
        mp_put_array(b, 3);
        mp_put_u64(b, i * step);
        mp_put_u64(b, status);
        mp_put_u64(b, len);
    }
}

static void test_block_rules(void)
{
    YES(MSG_GET_BLK, 0, wants(b, LIMIT_GET_BLK, 99));
    NO(MSG_GET_BLK, 0, wants(b, LIMIT_GET_BLK + 1, 99), "GET_BLK: wants");
    NO(MSG_GET_BLK, 0, wants(b, 0, 99), "GET_BLK: wants");
    NO(MSG_GET_BLK, 0, wants(b, 3, 2), "GET_BLK: wants: a block twice");
    NO(MSG_GET_BLK, 0, (mp_put_array(b, 1), mp_put_array(b, 3), mp_put_bin(b, t_id(1).b, 32), mp_put_u64(b, LIMIT_BLOCKS),
                        mp_put_bin(b, t_id(1).b, 32)), "GET_BLK: want idx");
    NO(MSG_GET_BLK, 0, (mp_put_array(b, 1), mp_put_array(b, 3), mp_put_bin(b, t_id(1).b, 32), mp_put_u64(b, 0),
                        mp_put_bin(b, ID_NONE.b, 32)), "GET_BLK: want id");
    YES(MSG_BLK, 0, items(b, 1, 1, BLK_OK, LIMIT_BLOCK));
    YES(MSG_BLK, 0, items(b, LIMIT_GET_BLK, 1, BLK_BUSY, 0));
    NO(MSG_BLK, 0, items(b, 1, 1, BLK_OK, LIMIT_BLOCK + 1), "BLK: len");
    NO(MSG_BLK, 0, items(b, 2, 1, BLK_OK, LIMIT_BLOCK), "BLK: len: more in total");
    NO(MSG_BLK, 0, items(b, 1, 1, BLK_OK, 0), "BLK: len");
    NO(MSG_BLK, 0, items(b, 1, 1, BLK_NODATA, 1), "BLK: len");
    NO(MSG_BLK, 0, items(b, 1, 1, 3, 0), "BLK: status");
    NO(MSG_BLK, 0, items(b, 2, 0, BLK_BUSY, 0), "BLK: item");
    NO(MSG_BLK, 0, items(b, 2, LIMIT_GET_BLK, BLK_BUSY, 0), "BLK: item");
    NO(MSG_BLK, 0, items(b, 0, 1, BLK_BUSY, 0), "BLK: items");
}

static void test_body_check(void)
{
    struct msg m = { .type = MSG_PING };
    OK(msg_body_check(&m, 0));
    FAILS(msg_body_check(&m, 1), ERR_BAD, "PING");
    m = (struct msg){ .type = MSG_TREE, .tree.count = 3 };
    OK(msg_body_check(&m, 3 * BLOCK_REF));
    FAILS(msg_body_check(&m, 3 * BLOCK_REF - 1), ERR_BAD, "TREE");
    m = (struct msg){ .type = MSG_HAVE_OK, .have_ok.count = 9 };
    OK(msg_body_check(&m, 2));
    FAILS(msg_body_check(&m, 1), ERR_BAD, "HAVE_OK");
    m = (struct msg){ .type = MSG_BLK, .blk = { 2, { { 0, BLK_OK, 7 }, { 1, BLK_OK, 8 } } } };
    OK(msg_body_check(&m, 15));
    FAILS(msg_body_check(&m, 16), ERR_BAD, "BLK");
    m = (struct msg){ .type = MSG_CS };
    OK(msg_body_check(&m, LIMIT_BODY));
    FAILS(msg_body_check(&m, LIMIT_BODY + 1), ERR_BAD, "CS");
    CHECK(msg_has_body(MSG_JOIN4) && !msg_has_body(MSG_GET_BLK) && !msg_has_body((enum msg_type)99));
    EQ_S(msg_name(MSG_GET_LIVE), "GET_LIVE");
    EQ_S(msg_name((enum msg_type)9), "unknown");
}

static void test_encode_refuses(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD), small = BUF_INIT(4);
    struct msg m = { .type = MSG_GET_CTL };
    FAILS(msg_encode(&b, &m), ERR_BAD, "GET_CTL: from");
    EQ_U(b.len, 0);
    m.get_ctl.from = 1;
    OK(msg_encode(&b, &m));
    FAILS(msg_encode(&small, &m), ERR_FULL, "GET_CTL");
}

static void test_hello_signature(void)
{
    struct device_keys *a = t_device(1), *c = t_device(2);
    struct hello_party pa = { .dev = a->dev }, pc = { .dev = c->dev };
    struct id group = t_id(3), other = t_id(4);
    memcpy(pa.tr_pk, a->tr_pk, 32), memset(pa.nonce, 5, 32);
    memcpy(pc.tr_pk, c->tr_pk, 32), memset(pc.nonce, 6, 32);
    uint8_t hello[SIG_LEN], reply[SIG_LEN];
    hello_sign(hello, &group, &pa, NULL, a);
    hello_sign(reply, &group, &pc, &pa, c);
    OK(hello_verify(hello, &group, &pa, NULL));
    OK(hello_verify(reply, &group, &pc, &pa));
    EQ_I(hello_verify(hello, &other, &pa, NULL), ERR_DENIED);
    EQ_I(hello_verify(hello, &group, &pc, NULL), ERR_DENIED);
    EQ_I(hello_verify(hello, &group, &pa, &pc), ERR_DENIED);
    EQ_I(hello_verify(reply, &group, &pc, NULL), ERR_DENIED);
    EQ_I(hello_verify(reply, &group, &pc, &pc), ERR_DENIED);
    struct hello_party twin = pa;
    twin.tr_pk[0] ^= 1;                          /* another key than the one that the connection has */
    EQ_I(hello_verify(hello, &group, &twin, NULL), ERR_DENIED);
    EQ_I(hello_verify(reply, &group, &pc, &twin), ERR_DENIED);
    twin = pa;
    twin.nonce[31] ^= 1;
    EQ_I(hello_verify(reply, &group, &pc, &twin), ERR_DENIED);
    device_keys_free(&a);
    device_keys_free(&c);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_round_trip);
    RUN(test_truncation);
    RUN(test_every_type);
    RUN(test_hello_rules);
    RUN(test_small_rules);
    RUN(test_range_rules);
    RUN(test_run_rules);
    RUN(test_block_rules);
    RUN(test_body_check);
    RUN(test_encode_refuses);
    RUN(test_hello_signature);
    return t_done();
}

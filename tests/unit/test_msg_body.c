/* The bodies of messages: change sets, live items, proofs of a fork, history lists. */
#include "proto/msg.h"
#include "tests/unit/t_record.h"

static struct device_keys *dev;
static struct id group;

#define MAX_ENTRIES 40
/* A signed change set of n entries and the body that carries it. */
struct set {
    struct header h;
    struct buf hdr, ent[MAX_ENTRIES];
    struct id leaf[MAX_ENTRIES];
    uint8_t sig[SIG_LEN];
    uint32_t n;
};

static void set_make(struct set *s, uint32_t n)
{
    *s = (struct set){ .n = n, .hdr = BUF_INIT(1000) };
    for (uint32_t i = 0; i < n; i++) {
        char path[20];
        snprintf(path, sizeof path, "file-%u", i);
        struct entry e = { .kind = KIND_DIR, .path = t_str(path), .v.hlc = i };
        s->ent[i] = (struct buf)BUF_INIT(1000);
        OK(entry_encode(&s->ent[i], &e));
        s->leaf[i] = merkle_leaf(s->ent[i].data, s->ent[i].len);
    }
    s->h = (struct header){ .group = group, .dev = dev->dev, .first = 5, .count = n, .prev = t_id(1) };
    s->h.root = merkle_root(s->leaf, n);
    OK(header_encode(&s->hdr, s->sig, &s->h, dev));
}
static void set_release(struct set *s)
{
    buf_release(&s->hdr);
    for (uint32_t i = 0; i < s->n; i++)
        buf_release(&s->ent[i]);
}
static struct bytes bytes_of(const struct buf *b)
{
    return (struct bytes){ b->data, b->len };
}
/* The body of one change set; leaves first..first+count-1 pruned, if they are a subtree. */
static void set_put(struct buf *b, const struct set *s, uint32_t first, uint32_t count)
{
    struct bytes hdr = bytes_of(&s->hdr);
    mp_put_array(b, 1);
    cs_put_head(b, &hdr, s->sig, s->n - count + (count > 0));
    for (uint32_t i = 0; i < s->n; i++) {
        struct bytes ent = bytes_of(&s->ent[i]);
        struct id run = count ? merkle_root(s->leaf + first, count) : ID_NONE;
        if (count && i == first)
            cs_put_pruned(b, first, count, &run);
        if (i < first || i >= first + count)
            cs_put_entry(b, &ent);
    }
}

/* Opens the body and verifies all of its change sets. */
static int body_verify(const void *body, size_t len)
{
    struct mp m;
    uint32_t n;
    struct cs cs;
    struct header h;
    int code = cs_body_open(body, len, &m, &n);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        code = cs_next(&m, &cs);
        if (code == 0)
            code = cs_verify(&cs, &h);
    }
    return code < 0 ? code : mp_done(&m, "body");
}

static void test_cs(void)
{
    for (uint32_t n = 1; n <= MAX_ENTRIES; n = n * 2 + 1) {
        struct set s;
        set_make(&s, n);
        for (uint32_t first = 0; first < n; first++) {
            for (uint32_t count = 0; count <= n - first; count++) {
                AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CS_REPLY);
                set_put(&b, &s, first, count);
                bool whole = count == 0 || merkle_is_subtree(first, count, n);
                EQ_I(body_verify(b.data, b.len), whole ? 0 : ERR_BAD);
            }
        }
        set_release(&s);
    }
}

static void test_cs_items(void)
{
    struct set s;
    struct mp m;
    struct cs cs;
    struct cs_item it;
    uint32_t n, index = 0;
    set_make(&s, 5);
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CS_REPLY);
    set_put(&b, &s, 2, 2);
    OK(cs_body_open(b.data, b.len, &m, &n));
    EQ_U(n, 1);
    OK(cs_next(&m, &cs));
    EQ_U(cs.nitems, 4);
    m = cs_items(&cs);
    static const struct { uint32_t index, count; bool pruned; } want[] = { { 0, 1, false }, { 1, 1, false }, { 2, 2, true }, { 4, 1, false } };
    for (int i = 0; i < 4; i++) {
        cs_item_next(&m, &index, &it);
        CHECK(!m.failed && it.index == want[i].index && it.count == want[i].count && it.pruned == want[i].pruned);
        CHECK(it.pruned || id_eq(&it.hash, &s.leaf[it.index]));
    }
    OK(mp_done(&m, "items"));
    EQ_U(index, 5);
    cs_item_next(&m, &index, &it);
    CHECK(m.failed);
    set_release(&s);
}

static void test_cs_bytes(void)
{
    struct set s;
    set_make(&s, 3);
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CS_REPLY);
    set_put(&b, &s, 0, 2);
    t_truncations(body_verify, &b);
    t_flips(body_verify, &b);
    set_release(&s);
}

/* A body with the given header and one item list written by the caller. */
static int items_verify(const struct set *s, const struct buf *items)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    mp_put_array(&b, 1);
    mp_put_array(&b, 3);
    mp_put_bin(&b, s->hdr.data, s->hdr.len);
    mp_put_bin(&b, s->sig, SIG_LEN);
    buf_add(&b, items->data, items->len);
    return body_verify(b.data, b.len);
}
#define ITEMS(put, words) do { \
    AUTO(buf_release) struct buf t_items = BUF_INIT(LIMIT_BODY); \
    struct buf *b = &t_items; \
    put; \
    FAILS(items_verify(&s, b), ERR_BAD, words); \
} while (0)

static void test_cs_lies(void)
{
    struct set s;
    set_make(&s, 2);
    struct bytes e0 = bytes_of(&s.ent[0]), e1 = bytes_of(&s.ent[1]), none = { e0.p, 0 };
    struct id root = s.h.root, zero = ID_NONE;
    ITEMS((mp_put_array(b, 2), cs_put_entry(b, &e1), cs_put_entry(b, &e0)), "signed root");          /* reordered */
    ITEMS((mp_put_array(b, 2), cs_put_entry(b, &e0), cs_put_entry(b, &e0)), "signed root");          /* replaced */
    ITEMS((mp_put_array(b, 1), cs_put_entry(b, &e0)), "change set");                                 /* left out */
    ITEMS((mp_put_array(b, 3), cs_put_entry(b, &e0), cs_put_entry(b, &e1), cs_put_entry(b, &e1)), "items");  /* added */
    ITEMS((mp_put_array(b, 0)), "items");
    ITEMS((mp_put_nil(b)), "items");
    ITEMS((mp_put_array(b, 2), cs_put_entry(b, &e0), cs_put_entry(b, &none)), "entry");
    ITEMS((mp_put_array(b, 1), cs_put_pruned(b, 0, 0, &root)), "pruned run");
    ITEMS((mp_put_array(b, 1), cs_put_pruned(b, 1, 2, &root)), "pruned run");
    ITEMS((mp_put_array(b, 1), cs_put_pruned(b, 0, 3, &root)), "change set");
    ITEMS((mp_put_array(b, 1), cs_put_pruned(b, 0, LIMIT_CS_COUNT + 1, &root)), "pruned run");
    ITEMS((mp_put_array(b, 1), cs_put_pruned(b, 0, 2, &zero)), "pruned run");
    ITEMS((mp_put_array(b, 1), cs_put_pruned(b, 0, 2, &s.h.prev)), "signed root");
    ITEMS((mp_put_array(b, 1), mp_put_array(b, 2), mp_put_u64(b, 0), mp_put_u64(b, 2)), "pruned run");
    ITEMS((mp_put_array(b, 1), mp_put_str(b, "text")), "pruned run");
    ITEMS((mp_put_array(b, 2), cs_put_entry(b, &e0), cs_put_pruned(b, 1, UINT32_MAX, &root)), "pruned run");
    ITEMS((mp_put_array(b, 2), cs_put_entry(b, &e0), cs_put_pruned(b, 1, LIMIT_CS_COUNT, &root)), "beyond the last leaf");
    ITEMS((mp_put_array(b, 2), cs_put_pruned(b, 0, LIMIT_CS_COUNT, &root), cs_put_entry(b, &e0)), "more leaves");
    set_release(&s);
}

static void test_cs_limits(void)
{
    struct set s;
    struct header big = { .group = group, .dev = dev->dev, .first = 1, .count = 8 };
    set_make(&s, 2);
    struct id leaf[8];
    AUTOFREE uint8_t *zeros = xcalloc(1, LIMIT_CS_BYTES / 7);
    struct bytes ent = { zeros, LIMIT_CS_BYTES / 7 };     /* eight of them pass 1 MiB */
    AUTO(buf_release) struct buf items = BUF_INIT(LIMIT_BODY);
    mp_put_array(&items, 8);
    for (int i = 0; i < 8; i++) {
        cs_put_entry(&items, &ent);
        leaf[i] = merkle_leaf(ent.p, ent.len);
    }
    big.root = merkle_root(leaf, 8);
    buf_clear(&s.hdr);
    OK(header_encode(&s.hdr, s.sig, &big, dev));
    FAILS(items_verify(&s, &items), ERR_BAD, "bytes of entries");
    AUTOFREE uint8_t *body = xcalloc(1, LIMIT_CS_REPLY + 1);
    FAILS(body_verify(body, LIMIT_CS_REPLY + 1), ERR_BAD, "CS: size");
    FAILS(body_verify("\xc0", 1), ERR_BAD, "CS: list");
    set_release(&s);
}

/* A header that another device signed is not this one's. */
static void test_cs_signature(void)
{
    struct set s;
    set_make(&s, 2);
    struct device_keys *other = t_device(2);
    keys_sign(s.sig, "lanyard-cs-1", s.hdr.data, s.hdr.len, other);
    device_keys_free(&other);
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CS_REPLY);
    set_put(&b, &s, 0, 0);
    FAILS(body_verify(b.data, b.len), ERR_DENIED, "header: signature");
    set_release(&s);
}

/* ---- LIVE ---- */

static int live_bytes(const void *body, size_t len)
{
    struct mp m;
    uint32_t n;
    struct live_item it;
    struct header h;
    int code = body_open(body, len, &m, &n);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        code = live_next(&m, &it);
        if (code == 0)
            code = live_verify(&it, &h);
    }
    return code < 0 ? code : mp_done(&m, "body");
}

static struct live_item live_sample(const struct set *s, uint32_t index)
{
    struct live_item it = { .hdr = bytes_of(&s->hdr), .sig = s->sig, .index = index, .ent = bytes_of(&s->ent[index]) };
    it.nproof = (uint32_t)merkle_proof(s->leaf, s->n, index, it.proof);
    return it;
}
static int live_one(const struct live_item *it)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    mp_put_array(&b, 1);
    live_put(&b, it);
    return live_bytes(b.data, b.len);
}

static void test_live(void)
{
    for (uint32_t n = 1; n <= MAX_ENTRIES; n += 3) {
        struct set s;
        set_make(&s, n);
        AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
        mp_put_array(&b, n);
        for (uint32_t i = 0; i < n; i++) {
            struct live_item it = live_sample(&s, i);
            live_put(&b, &it);
        }
        OK(live_bytes(b.data, b.len));
        set_release(&s);
    }
}

static void test_live_lies(void)
{
    struct set s;
    set_make(&s, 6);
    struct live_item good = live_sample(&s, 3), it = good;
    OK(live_one(&it));
    it.index = 2;
    FAILS(live_one(&it), ERR_BAD, "LIVE item");
    it.index = 6;
    FAILS(live_one(&it), ERR_BAD, "LIVE item");
    it.index = LIMIT_CS_COUNT;
    FAILS(live_one(&it), ERR_BAD, "LIVE item: index");
    it = good;
    it.ent = bytes_of(&s.ent[4]);
    FAILS(live_one(&it), ERR_BAD, "LIVE item: proof");
    it = good;
    it.ent.len = 0;
    FAILS(live_one(&it), ERR_BAD, "LIVE item: entry");
    it = good;
    it.nproof--;
    FAILS(live_one(&it), ERR_BAD, "LIVE item");
    it = good;
    it.proof[1].b[0] ^= 1;
    FAILS(live_one(&it), ERR_BAD, "LIVE item: proof");
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    mp_put_array(&b, 1);
    live_put(&b, &good);
    t_truncations(live_bytes, &b);
    t_flips(live_bytes, &b);
    set_release(&s);
}

/* ---- FORK ---- */

static void signed_make(struct buf *b, uint8_t sig[static SIG_LEN], const struct header *h, const struct device_keys *k)
{
    buf_clear(b);
    OK(header_encode(b, sig, h, k));
}
static int fork_of(const struct header *x, const struct header *y, const struct device_keys *kx, const struct device_keys *ky)
{
    AUTO(buf_release) struct buf a = BUF_INIT(1000), b = BUF_INIT(1000), body = BUF_INIT(LIMIT_BODY);
    uint8_t sa[SIG_LEN], sb[SIG_LEN];
    struct header h[2];
    signed_make(&a, sa, x, kx);
    signed_make(&b, sb, y, ky);
    struct signed_header p = { bytes_of(&a), sa }, q = { bytes_of(&b), sb };
    fork_put(&body, &p, &q);
    return fork_verify(body.data, body.len, h);
}

static void test_fork(void)
{
    struct header x = { .group = group, .dev = dev->dev, .first = 10, .count = 5, .root = t_id(1), .prev = t_id(2) }, y = x;
    FAILS(fork_of(&x, &x, dev, dev), ERR_BAD, "FORK");       /* the same header twice */
    y.root = t_id(3);
    OK(fork_of(&x, &y, dev, dev));
    y.first = 14;
    OK(fork_of(&x, &y, dev, dev));
    OK(fork_of(&y, &x, dev, dev));
    y.first = 15;
    FAILS(fork_of(&x, &y, dev, dev), ERR_BAD, "FORK");       /* one after the other */
    FAILS(fork_of(&y, &x, dev, dev), ERR_BAD, "FORK");
    y = x;
    y.root = t_id(3);
    y.inc[0] = 1;
    FAILS(fork_of(&x, &y, dev, dev), ERR_BAD, "FORK: headers of two streams");
    struct device_keys *other = t_device(2);
    y = x;
    y.dev = other->dev;
    FAILS(fork_of(&x, &y, dev, other), ERR_BAD, "FORK: headers of two streams");
    device_keys_free(&other);
    struct header h[2];
    FAILS(fork_verify("\x92\xc0\xc0", 3, h), ERR_BAD, "FORK");
}

/* ---- HIST ---- */

static int hist_bytes(const void *body, size_t len)
{
    struct mp m;
    uint32_t n;
    struct hist_item it = { 0 }, before;
    int code = body_open(body, len, &m, &n);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        before = it;
        code = hist_next(&m, &before, &it);
    }
    return code < 0 ? code : mp_done(&m, "body");
}

static void test_hist(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000), c = BUF_INIT(1000);
    struct hist_item x = { { t_sid(1), 5 }, t_id(1) }, y = { { t_sid(1), 6 }, ID_NONE }, z = { { t_sid(2), 1 }, t_id(1) };
    mp_put_array(&b, 3);
    hist_put(&b, &x), hist_put(&b, &y), hist_put(&b, &z);
    OK(hist_bytes(b.data, b.len));
    t_truncations(hist_bytes, &b);
    mp_put_array(&c, 2);
    hist_put(&c, &y), hist_put(&c, &x);
    FAILS(hist_bytes(c.data, c.len), ERR_BAD, "HIST item: seq: not sorted");
    buf_clear(&c);
    mp_put_array(&c, 2);
    hist_put(&c, &x), hist_put(&c, &x);
    FAILS(hist_bytes(c.data, c.len), ERR_BAD, "HIST item: seq: not sorted");
    buf_clear(&c);
    mp_put_array(&c, 1);
    x.dot.seq = 0;
    hist_put(&c, &x);
    FAILS(hist_bytes(c.data, c.len), ERR_BAD, "HIST item: seq");
}

/* ---- GET_VECS, VECS ---- */

static int held_bytes(const void *body, size_t len)
{
    struct mp m;
    uint32_t n;
    struct vec_held h = { 0 }, before;
    int code = body_open(body, len, &m, &n);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        before = h;
        code = held_next(&m, &before, &h);
    }
    return code < 0 ? code : mp_done(&m, "body");
}
static int told_bytes(const void *body, size_t len)
{
    struct mp m;
    uint32_t n;
    struct vec_told t = { 0 }, before;
    int code = body_open(body, len, &m, &n);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        before = t;
        code = told_next(&m, &before, &t);
    }
    return code < 0 ? code : mp_done(&m, "body");
}

static void test_vectors_of_others(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000), c = BUF_INIT(1000);
    struct vec_held h = { .dev = t_id(1), .inst = { 2 }, .ctr = 3, .wall_ms = 4, .meaning = { 5 } }, back;
    struct vec_told t = { .dev = t_id(1), .age_ms = MSG_AGE_MAX_MS, .vec = t_str("vec") };
    struct mp m;
    uint32_t n;
    mp_put_array(&b, 1);
    held_put(&b, &h);
    OK(body_open(b.data, b.len, &m, &n));
    OK(held_next(&m, &(struct vec_held){ 0 }, &back));
    CHECK(memcmp(&h, &back, sizeof h) == 0);
    OK(held_bytes(b.data, b.len));
    t_truncations(held_bytes, &b);
    mp_put_array(&c, 1);
    told_put(&c, &t);
    OK(told_bytes(c.data, c.len));
    t_truncations(told_bytes, &c);
    buf_clear(&c);
    mp_put_array(&c, 1);
    t.age_ms++;
    told_put(&c, &t);
    FAILS(told_bytes(c.data, c.len), ERR_BAD, "VECS item: age_ms");
}

/* By dev, each once: first, second. */
static void held_twice(struct buf *b, uint8_t first, uint8_t second)
{
    buf_clear(b);
    mp_put_array(b, 2);
    held_put(b, &(struct vec_held){ .dev = t_id(first) });
    held_put(b, &(struct vec_held){ .dev = t_id(second) });
}
static void told_twice(struct buf *b, uint8_t first, uint8_t second)
{
    buf_clear(b);
    mp_put_array(b, 2);
    told_put(b, &(struct vec_told){ .dev = t_id(first) });
    told_put(b, &(struct vec_told){ .dev = t_id(second) });
}

static void test_each_device_once(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    held_twice(&b, 1, 2);
    OK(held_bytes(b.data, b.len));
    held_twice(&b, 2, 2);
    FAILS(held_bytes(b.data, b.len), ERR_BAD, "GET_VECS item: dev");
    held_twice(&b, 2, 1);
    FAILS(held_bytes(b.data, b.len), ERR_BAD, "GET_VECS item: dev");
    told_twice(&b, 1, 2);
    OK(told_bytes(b.data, b.len));
    told_twice(&b, 2, 2);
    FAILS(told_bytes(b.data, b.len), ERR_BAD, "VECS item: dev");
    told_twice(&b, 2, 1);
    FAILS(told_bytes(b.data, b.len), ERR_BAD, "VECS item: dev");
}

static void test_newer(void)
{
    struct vec v = { .inst = { 1 }, .ctr = 5, .wall_ms = 100 };
    CHECK(vec_newer(&v, &(struct vec_held){ .inst = { 1 }, .ctr = 4, .wall_ms = 200 }));
    CHECK(!vec_newer(&v, &(struct vec_held){ .inst = { 1 }, .ctr = 5, .wall_ms = 1 }));
    CHECK(vec_newer(&v, &(struct vec_held){ .inst = { 2 }, .ctr = 9, .wall_ms = 99 }));
    CHECK(!vec_newer(&v, &(struct vec_held){ .inst = { 2 }, .ctr = 1, .wall_ms = 100 }));
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    dev = t_device(1);
    group = t_id(0x47);
    RUN(test_cs);
    RUN(test_cs_items);
    RUN(test_cs_bytes);
    RUN(test_cs_lies);
    RUN(test_cs_limits);
    RUN(test_cs_signature);
    RUN(test_live);
    RUN(test_live_lies);
    RUN(test_fork);
    RUN(test_hist);
    RUN(test_vectors_of_others);
    RUN(test_each_device_once);
    RUN(test_newer);
    device_keys_free(&dev);
    return t_done();
}

/* Version vectors. */
#include "tests/unit/t_record.h"

enum { FORMAT, GROUP, DEV, INST, CTR, WALL, CTL_N, CTL_HASH, PORT, STREAMS, FP, REQS, FLAGS };

static struct device_keys *dev;
static struct id group;

static void stream_raw(struct buf *b, uint8_t sid, uint64_t known, uint64_t content)
{
    mp_put_array(b, 4);
    mp_put_bin(b, t_sid(sid).b, SID_LEN);
    mp_put_u64(b, known);
    mp_put_u64(b, content);
    mp_put_bin(b, "tiptiptip", 8);
}
static void req_raw(struct buf *b, uint8_t id, uint64_t state, uint64_t since)
{
    mp_put_array(b, 3);
    mp_put_bin(b, t_id(id).b, 16);
    mp_put_u64(b, state);
    mp_put_u64(b, since);
}

static void vec_make(struct shape *s)
{
    mp_put_u64(shape_add(s), 1);
    mp_put_bin(shape_add(s), group.b, ID_LEN);
    mp_put_bin(shape_add(s), dev->dev.b, ID_LEN);
    mp_put_bin(shape_add(s), "instance", 8);
    mp_put_u64(shape_add(s), 5);
    mp_put_u64(shape_add(s), 6);
    mp_put_u64(shape_add(s), 7);
    mp_put_bin(shape_add(s), t_id(8).b, ID_LEN);
    mp_put_u64(shape_add(s), 7447);
    struct buf *b = shape_add(s);
    mp_put_array(b, 2);
    stream_raw(b, 1, 10, 9);
    stream_raw(b, 2, 1, 0);
    mp_put_bin(shape_add(s), t_id(9).b, ID_LEN);
    b = shape_add(s);
    mp_put_array(b, 1);
    req_raw(b, 1, 2, 3);
    mp_put_u64(shape_add(s), 12);
}

static int vec_bytes(const void *p, size_t n)
{
    AUTO(vec_release) struct vec v;
    return vec_decode(p, n, &v);
}
static int vec_shape(const struct shape *s, size_t n)
{
    AUTO(buf_release) struct buf rec = BUF_INIT(1u << 23), blob = BUF_INIT(1u << 23);
    shape_put(&rec, s, n);
    signed_put(&blob, "lanyard-vec-1", rec.data, rec.len, dev);
    return vec_bytes(blob.data, blob.len);
}
static const struct subject vec = { vec_make, vec_shape };

static void test_rules(void)
{
    t_shape_rules(&vec, "vector");
    BAD(vec, FORMAT, mp_put_u64(b, 2), "vector: format");
    BAD(vec, GROUP, mp_put_bin(b, ID_NONE.b, 32), "vector: group_id");
    BAD(vec, DEV, mp_put_bin(b, ID_NONE.b, 32), "vector: dev");
    BAD(vec, INST, mp_put_bin(b, "instanc", 7), "vector: inst");
    BAD(vec, CTR, mp_put_u64(b, LIMIT_SEQ + 1), "vector: ctr");
    BAD(vec, WALL, mp_put_u64(b, RECORD_MS_MAX + 1), "vector: wall_ms");
    BAD(vec, CTL_N, mp_put_u64(b, LIMIT_SEQ + 1), "vector: ctl_n");
    BAD(vec, CTL_HASH, mp_put_bin(b, ID_NONE.b, 32), "vector: ctl_hash");
    BAD(vec, PORT, mp_put_u64(b, 65536), "vector: port");
    BAD(vec, FP, mp_put_bin(b, ID_NONE.b, 31), "vector: fp");
    GOOD(vec, FP, mp_put_bin(b, ID_NONE.b, 32));
    BAD(vec, FLAGS, mp_put_u64(b, LIMIT_SEQ + 1), "vector: flags");
}

static void test_stream_rules(void)
{
    GOOD(vec, STREAMS, mp_put_array(b, 0));
    BAD(vec, STREAMS, mp_put_nil(b), "vector: streams");
    BAD(vec, STREAMS, (mp_put_array(b, 2), stream_raw(b, 2, 1, 1), stream_raw(b, 1, 1, 1)), "vector: streams");
    BAD(vec, STREAMS, (mp_put_array(b, 2), stream_raw(b, 2, 1, 1), stream_raw(b, 2, 2, 1)), "vector: streams");
    BAD(vec, STREAMS, (mp_put_array(b, 1), stream_raw(b, 2, 0, 0)), "vector: stream known");
    BAD(vec, STREAMS, (mp_put_array(b, 1), stream_raw(b, 2, LIMIT_SEQ + 1, 0)), "vector: stream known");
    BAD(vec, STREAMS, (mp_put_array(b, 1), stream_raw(b, 2, 4, 5)), "vector: stream content");
    BAD(vec, STREAMS, (mp_put_array(b, 1), mp_put_array(b, 1), mp_put_bin(b, group.b, 32)), "vector: stream");
}

/* A count that its bytes cannot hold takes no memory. */
static void test_stream_count(void)
{
    struct shape s = { 0 };
    vec_make(&s);
    struct buf *b = shape_set(&s, STREAMS);
    mp_put_array(b, LIMIT_STREAMS);
    for (uint32_t i = 0; i < LIMIT_STREAMS; i++)
        mp_put_nil(b);
    FAILS(vec_shape(&s, s.n), ERR_BAD, "vector: streams: more than there are bytes for");
    b = shape_set(&s, STREAMS);
    mp_put_array(b, LIMIT_STREAMS + 1);
    for (uint32_t i = 0; i <= LIMIT_STREAMS; i++)
        mp_put_nil(b);
    FAILS(vec_shape(&s, s.n), ERR_BAD, "vector: streams: 65537 elements");
    shape_release(&s);
}

static void reqs_raw(struct buf *b, unsigned n)
{
    mp_put_array(b, n);
    for (unsigned i = 0; i < n; i++)
        req_raw(b, (uint8_t)i, 0, 0);
}
static void test_req_rules(void)
{
    GOOD(vec, REQS, mp_put_array(b, 0));
    GOOD(vec, REQS, reqs_raw(b, VEC_REQS));
    BAD(vec, REQS, reqs_raw(b, VEC_REQS + 1), "vector: reqs");
    BAD(vec, REQS, (mp_put_array(b, 2), req_raw(b, 2, 1, 1), req_raw(b, 2, 1, 1)), "vector: reqs");
    BAD(vec, REQS, (mp_put_array(b, 2), req_raw(b, 2, 1, 1), req_raw(b, 1, 1, 1)), "vector: reqs");
    BAD(vec, REQS, (mp_put_array(b, 1), req_raw(b, 2, 256, 1)), "vector: req state");
    BAD(vec, REQS, (mp_put_array(b, 1), req_raw(b, 2, 1, RECORD_MS_MAX + 1)), "vector: req since_ms");
}

/* ---- round trips ---- */

static struct vec sample(uint64_t *seed, size_t nstream)
{
    struct vec v = { .group = group, .dev = dev->dev, .nstream = nstream };
    t_bytes(seed, v.inst, sizeof v.inst);
    t_bytes(seed, v.ctl_hash.b, ID_LEN);
    t_bytes(seed, v.fp.b, ID_LEN);
    v.ctr = t_num(seed, LIMIT_SEQ);
    v.wall_ms = t_num(seed, RECORD_MS_MAX);
    v.ctl_n = t_num(seed, LIMIT_SEQ);
    v.port = (uint16_t)t_num(seed, UINT16_MAX);
    v.flags = t_num(seed, LIMIT_SEQ);
    v.stream = xcalloc(nstream + 1, sizeof *v.stream);
    for (size_t i = 0; i < nstream; i++) {
        t_bytes(seed, v.stream[i].sid.b, SID_LEN);
        v.stream[i].sid.b[0] = (uint8_t)(i >> 8);
        v.stream[i].sid.b[1] = (uint8_t)i;
        v.stream[i].known = 1 + t_num(seed, LIMIT_SEQ - 1);
        v.stream[i].content = t_num(seed, v.stream[i].known);
        t_bytes(seed, v.stream[i].tip8, 8);
    }
    return v;
}

static void same_streams(const struct vec *a, const struct vec *b)
{
    EQ_U(b->nstream, a->nstream);
    for (size_t i = 0; i < a->nstream; i++) {
        const struct vec_stream *x = &a->stream[i], *y = &b->stream[i];
        CHECK(sid_eq(&x->sid, &y->sid) && x->known == y->known && x->content == y->content);
        EQ_MEM(x->tip8, y->tip8, 8);
        CHECK(vec_find(b, &x->sid) == y);
    }
}

static void test_round_trip(void)
{
    uint64_t seed = 5;
    for (size_t n = 0; n < 300; n = 2 * n + 1) {
        AUTO(vec_release) struct vec v = sample(&seed, n), d;
        AUTO(buf_release) struct buf b = BUF_INIT(1u << 20), reqs = BUF_INIT(1000);
        mp_put_array(&reqs, 2);
        vec_req_put(&reqs, &(struct vec_req){ .id = { 1 }, .state = 3, .since_ms = 4 });
        vec_req_put(&reqs, &(struct vec_req){ .id = { 2 }, .state = 5, .since_ms = 6 });
        if (n % 2)
            v.reqs = (struct bytes){ reqs.data, reqs.len };
        OK(vec_encode(&b, &v, dev));
        OK(vec_decode(b.data, b.len, &d));
        CHECK(id_eq(&d.group, &v.group) && id_eq(&d.dev, &v.dev) && id_eq(&d.ctl_hash, &v.ctl_hash) && id_eq(&d.fp, &v.fp));
        CHECK(d.ctr == v.ctr && d.wall_ms == v.wall_ms && d.ctl_n == v.ctl_n && d.port == v.port && d.flags == v.flags);
        EQ_MEM(d.inst, v.inst, 8);
        same_streams(&v, &d);
        EQ_U(d.nreqs, n % 2 ? 2 : 0);
        struct mp m = vec_reqs(&d);
        struct vec_req r = { 0 };
        for (uint32_t i = 0; i < d.nreqs; i++)
            vec_req_next(&m, &r);
        OK(mp_done(&m, "reqs"));
        CHECK(n % 2 == 0 || (r.id[0] == 2 && r.state == 5 && r.since_ms == 6));
    }
}

static void test_largest(void)
{
    uint64_t seed = 6;
    AUTO(vec_release) struct vec v = sample(&seed, LIMIT_STREAMS), d;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    OK(vec_encode(&b, &v, dev));                /* as many streams as a group may have fit one message */
    OK(vec_decode(b.data, b.len, &d));
    same_streams(&v, &d);
    struct sid absent = t_sid(0xff);
    absent.b[5] = 1;
    CHECK(vec_find(&d, &absent) == NULL);
}

static void test_bytes(void)
{
    uint64_t seed = 7;
    AUTO(vec_release) struct vec v = sample(&seed, 3);
    AUTO(buf_release) struct buf b = BUF_INIT(10000);
    OK(vec_encode(&b, &v, dev));
    t_truncations(vec_bytes, &b);
    t_flips(vec_bytes, &b);
    v.stream[1].content = v.stream[1].known + 1;
    b.len = 0;
    FAILS(vec_encode(&b, &v, dev), ERR_BAD, "vector: stream content");
    EQ_U(b.len, 0);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    dev = t_device(1);
    group = t_id(0x47);
    RUN(test_rules);
    RUN(test_stream_rules);
    RUN(test_stream_count);
    RUN(test_req_rules);
    RUN(test_round_trip);
    RUN(test_largest);
    RUN(test_bytes);
    device_keys_free(&dev);
    return t_done();
}

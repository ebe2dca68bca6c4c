#include "tests/unit/t.h"

#include "proto/limits.h"
#include "proto/vv.h"

static struct sid sid_of(unsigned n)
{
    return (struct sid){ .b = { (uint8_t)(n >> 8), (uint8_t)n } };
}

static struct dot dot_of(unsigned stream, uint64_t seq)
{
    return (struct dot){ .sid = sid_of(stream), .seq = seq };
}

/* The models: a context is an array seq[stream], a dot set a matrix of flags. */
#define STREAMS 12
#define SEQS 10
struct ctx_model { uint64_t seq[STREAMS]; };
struct set_model { bool has[STREAMS][SEQS]; };

static void check_ctx(const struct dots *c, const struct ctx_model *model)
{
    size_t n = 0;
    for (unsigned s = 0; s < STREAMS; s++) {
        struct sid sid = sid_of(s);
        EQ_U(ctx_get(c, &sid), model->seq[s]);
        n += model->seq[s] > 0;
        for (uint64_t q = 1; q < SEQS; q++)
            CHECK(ctx_covers(c, &(struct dot){ sid, q }) == (q <= model->seq[s]));
    }
    EQ_U(c->n, n);
    for (size_t i = 1; i < c->n; i++)
        CHECK(sid_cmp(&c->v[i - 1].sid, &c->v[i].sid) < 0);
}

static void random_ctx(uint64_t *seed, struct dots *c, struct ctx_model *model)
{
    dots_clear(c);
    *model = (struct ctx_model){0};
    for (uint64_t i = t_rand(seed) % 20; i > 0; i--) {
        unsigned s = (unsigned)(t_rand(seed) % STREAMS);
        uint64_t q = 1 + t_rand(seed) % (SEQS - 1);
        struct sid sid = sid_of(s);
        ctx_raise(c, &sid, q);
        if (model->seq[s] < q)
            model->seq[s] = q;
    }
}

static void test_contexts(void)
{
    uint64_t seed = 6;
    AUTO(dots_release) struct dots a = {0};
    AUTO(dots_release) struct dots b = {0};
    AUTO(dots_release) struct dots copy = {0};
    for (int run = 0; run < 5000; run++) {
        struct ctx_model ma, mb;
        random_ctx(&seed, &a, &ma);
        check_ctx(&a, &ma);
        random_ctx(&seed, &b, &mb);
        dots_copy(&copy, &a);
        ctx_union(&copy, &b);
        ctx_union(&copy, &copy);
        check_ctx(&a, &ma);
        check_ctx(&b, &mb);
        for (unsigned s = 0; s < STREAMS; s++)
            if (ma.seq[s] < mb.seq[s])
                ma.seq[s] = mb.seq[s];
        check_ctx(&copy, &ma);
    }
}

static void check_set(const struct dots *d, const struct set_model *model)
{
    size_t n = 0;
    for (unsigned s = 0; s < STREAMS; s++)
        for (unsigned q = 0; q < SEQS; q++) {
            struct dot x = dot_of(s, q);
            CHECK(dots_has(d, &x) == model->has[s][q]);
            n += model->has[s][q];
        }
    EQ_U(d->n, n);
    for (size_t i = 1; i < d->n; i++)
        CHECK(dot_cmp(&d->v[i - 1], &d->v[i]) < 0);
}

static void random_set(uint64_t *seed, struct dots *d, struct set_model *model)
{
    dots_clear(d);
    memset(model, 0, sizeof *model);
    for (uint64_t i = t_rand(seed) % 40; i > 0; i--) {
        unsigned s = (unsigned)(t_rand(seed) % STREAMS), q = (unsigned)(t_rand(seed) % SEQS);
        struct dot x = dot_of(s, q);
        dots_add(d, &x);
        model->has[s][q] = true;
    }
}

static void test_dot_sets(void)
{
    uint64_t seed = 7;
    AUTO(dots_release) struct dots a = {0};
    AUTO(dots_release) struct dots b = {0};
    for (int run = 0; run < 3000; run++) {
        struct set_model ma, mb;
        random_set(&seed, &a, &ma);
        random_set(&seed, &b, &mb);
        check_set(&a, &ma);
        dots_union(&a, &b);
        check_set(&b, &mb);
        for (unsigned s = 0; s < STREAMS; s++)
            for (unsigned q = 0; q < SEQS; q++)
                ma.has[s][q] |= mb.has[s][q];
        check_set(&a, &ma);
    }
}

static void test_empty(void)
{
    struct dots none = {0}, copy = {0};
    struct sid s = sid_of(1);
    EQ_U(ctx_get(&none, &s), 0);
    CHECK(!ctx_covers(&none, &(struct dot){ s, 1 }));
    CHECK(!dots_has(&none, &(struct dot){ s, 1 }));
    dots_copy(&copy, &none);
    ctx_union(&copy, &none);
    EQ_U(copy.n, 0);
    dots_release(&copy);
    dots_release(&none);
}

static void test_dot_order(void)
{
    struct dot a = dot_of(1, 9), b = dot_of(2, 1), c = dot_of(2, UINT64_MAX);
    CHECK(dot_cmp(&a, &b) < 0 && dot_cmp(&b, &a) > 0 && dot_cmp(&b, &c) < 0 && dot_cmp(&c, &b) > 0 && dot_cmp(&c, &c) == 0);
}

static void test_wire_round_trip(void)
{
    uint64_t seed = 8;
    AUTO(dots_release) struct dots a = {0};
    AUTO(dots_release) struct dots back = {0};
    for (int run = 0; run < 500; run++) {
        AUTO(buf_release) struct buf buf = BUF_INIT(LIMIT_ENTRY);
        struct ctx_model model;
        random_ctx(&seed, &a, &model);
        ctx_put(&buf, &a);
        dots_put(&buf, &a);
        struct mp m = mp_reader(buf.data, buf.len);
        ctx_read(&m, &back);
        check_ctx(&back, &model);
        dots_read(&m, &back);
        OK(mp_done(&m, "dots"));
        EQ_U(back.n, a.n);
        CHECK(a.n == 0 || memcmp(back.v, a.v, a.n * sizeof *a.v) == 0);
    }
}

static void test_wire_bytes(void)
{
    AUTO(buf_release) struct buf buf = BUF_INIT(100);
    AUTO(dots_release) struct dots c = {0};
    struct sid s = { .b = { 0xaa, [15] = 0xbb } };
    ctx_raise(&c, &s, 300);
    ctx_put(&buf, &c);
    static const uint8_t expected[] = { 0x91, 0x92, 0xc4, 16, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbb, 0xcd, 1, 0x2c };
    EQ_U(buf.len, sizeof expected);
    EQ_MEM(buf.data, expected, sizeof expected);
}

/* Puts the dots in the given order and says how the readers like it. */
static void read_raw(const struct dot *v, size_t n, bool ctx_good, bool dots_good)
{
    AUTO(buf_release) struct buf buf = BUF_INIT(LIMIT_ENTRY);
    AUTO(dots_release) struct dots out = {0};
    dots_put(&buf, &(struct dots){ .v = (struct dot *)v, .n = n });
    struct mp m = mp_reader(buf.data, buf.len);
    ctx_read(&m, &out);
    CHECK(m.failed == !ctx_good);
    EQ_U(out.n, ctx_good ? n : 0);
    m = mp_reader(buf.data, buf.len);
    dots_read(&m, &out);
    CHECK(m.failed == !dots_good);
    EQ_U(out.n, dots_good ? n : 0);
}

static void test_wire_rules(void)
{
    struct dot pair[2] = { dot_of(1, 5), dot_of(2, 4) };
    read_raw(pair, 2, true, true);
    pair[1] = dot_of(1, 6);
    read_raw(pair, 2, false, true);
    pair[1] = dot_of(1, 5);
    read_raw(pair, 2, false, false);
    pair[1] = dot_of(1, 4);
    read_raw(pair, 2, false, false);
    pair[1] = dot_of(0, 9);
    read_raw(pair, 2, false, false);
    pair[1] = dot_of(2, 0);
    read_raw(pair, 2, false, false);
    pair[1] = dot_of(2, LIMIT_SEQ);
    read_raw(pair, 2, true, true);
    pair[1] = dot_of(2, LIMIT_SEQ + 1);
    read_raw(pair, 2, false, false);

    AUTOFREE struct dot *many = xcalloc(LIMIT_CTX + 1, sizeof *many);
    for (unsigned i = 0; i <= LIMIT_CTX; i++)
        many[i] = dot_of(i, 1);
    read_raw(many, LIMIT_CTX, true, true);
    read_raw(many, LIMIT_CTX + 1, false, false);
}

static void test_wire_malformed(void)
{
    static const uint8_t bad[][24] = {
        { 0xc0 }, { 0x91, 0xc0 }, { 0x91, 0x91, 0xc4, 0 }, { 0x91, 0x92, 0xc4, 15 }, { 0x91, 0x92, 0xb0 },
        { 0x91, 0x92, 0xc4, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff },
        { 0x91, 0x93, 0xc4, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1 } };
    AUTO(dots_release) struct dots out = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mp m = mp_reader(bad[i], sizeof bad[i]);
        ctx_read(&m, &out);
        CHECK(m.failed);
        EQ_U(out.n, 0);
    }
}

/* 100,000 streams each way: linear, or this would take minutes. */
static void test_large_union(void)
{
    AUTO(dots_release) struct dots a = {0};
    AUTO(dots_release) struct dots b = {0};
    for (unsigned i = 0; i < 100000; i++) {
        struct sid s = { .b = { (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i } };
        ctx_raise(i % 2 ? &a : &b, &s, i + 1);
    }
    for (int i = 0; i < 20; i++)
        ctx_union(&a, &b);
    EQ_U(a.n, 100000);
    for (size_t i = 0; i < a.n; i++)
        EQ_U(a.v[i].seq, i + 1);
}

int main(void)
{
    RUN(test_contexts);
    RUN(test_dot_sets);
    RUN(test_empty);
    RUN(test_dot_order);
    RUN(test_wire_round_trip);
    RUN(test_wire_bytes);
    RUN(test_wire_rules);
    RUN(test_wire_malformed);
    RUN(test_large_union);
    return t_done();
}

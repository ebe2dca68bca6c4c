/* Files of receipts: what is accepted, and that nothing can be changed in one. */
#include "proto/receipt.h"

#include "tests/unit/t_group.h"

/* A group of four that is required to have the first 7 entries of a stream; everything that was signed. */
struct office { struct world w; struct buf log, vec, file; size_t nrecord, nvec; uint8_t id[16]; struct id hash; };

static void office_release(struct office *o)
{
    world_release(&o->w);
    buf_release(&o->log);
    buf_release(&o->vec);
    buf_release(&o->file);
}

static void record(struct office *o)
{
    buf_add(&o->log, o->w.record.data, o->w.record.len);
    o->nrecord++;
}

static void office_init(struct office *o)
{
    AUTO(buf_release) struct buf min = BUF_INIT(1000);
    *o = (struct office){ .log = BUF_INIT(1 << 20), .vec = BUF_INIT(1 << 20), .file = BUF_INIT(1 << 20), .hash = { { 9 } } };
    world_of_four(&o->w);
    record(o);
    memset(o->id, 3, sizeof o->id);
    mp_put_array(&min, 1);
    cut_put(&min, &(struct cut){ .sid = { { 4 } }, .seq = 7, .hdr_hash = o->hash });
    struct ctl_op op = { .type = OP_REQUIRE, .mode = REQUIRE_AUTO, .cuts = bytes_of(&min) };
    memcpy(op.require_id, o->id, sizeof o->id);
    OK(apply(&o->w, ADMIN, &op, 1));
    record(o);
}

/* What a device says, as the group is now. */
struct says { uint32_t state; uint64_t known, content; };
static void sign(struct office *o, unsigned dev, const struct says *s)
{
    AUTO(buf_release) struct buf reqs = BUF_INIT(100);
    struct vec_req q = { .state = s->state, .since_ms = 500 };
    struct vec_stream st = { .sid = { { 4 } }, .known = s->known, .content = s->content };
    memcpy(q.id, o->id, sizeof q.id);
    memcpy(st.tip8, o->hash.b, sizeof st.tip8);
    mp_put_array(&reqs, 1);
    vec_req_put(&reqs, &q);
    struct vec v = { .group = o->w.g.id, .dev = o->w.dev[dev]->dev, .ctr = 1, .wall_ms = 900, .ctl_n = o->w.g.ctl_n,
                     .ctl_hash = o->w.g.ctl_hash, .stream = &st, .nstream = 1, .reqs = bytes_of(&reqs), .nreqs = 1 };
    OK(vec_encode(&o->vec, &v, o->w.dev[dev]));
    o->nvec++;
}
static const struct says reached = { .state = VEC_REACHED, .known = 9, .content = 8 };

static int read_back(struct office *o, struct receipts *r)
{
    struct receipts_parts p = { .genesis = bytes_of(&o->w.genesis), .record = bytes_of(&o->log), .nrecord = o->nrecord,
                                .vec = bytes_of(&o->vec), .nvec = o->nvec };
    memcpy(p.id, o->id, sizeof p.id);
    buf_clear(&o->file);
    OK(receipts_write(&o->file, &p));
    return receipts_read(o->file.data, o->file.len, r);
}

/* One receipt, of the member, that says something else. */
static void refused(const struct says *s, const char *why)
{
    AUTO(office_release) struct office o;
    struct receipts r;
    office_init(&o);
    sign(&o, MEMBER, s);
    FAILS(read_back(&o, &r), ERR_BAD, why);
}

static void test_who_has_reached_it(void)
{
    AUTO(office_release) struct office o;
    AUTO(receipts_release) struct receipts r = { 0 };
    office_init(&o);
    sign(&o, MEMBER, &reached);
    OK(read_back(&o, &r));
    CHECK(id_eq(&r.group.id, &o.w.g.id) && r.group.nmember == 4 && r.what && r.what->what->nmin == 1);
    const struct receipt *of = receipts_find(&r, &o.w.dev[MEMBER]->dev);
    CHECK(r.n == 1 && of && of->signed_ms == 900 && of->since_ms == 500 && !receipts_find(&r, &o.w.dev[READER]->dev));
}

static void test_what_proves_nothing(void)
{
    refused(&(struct says){ .state = VEC_REACHED + 1, .known = 9, .content = 8 }, "does not say");
    refused(&(struct says){ .state = VEC_REACHED, .known = 9, .content = 6 }, "does not show");
    AUTO(office_release) struct office o;
    struct receipts r;
    office_init(&o);
    o.hash.b[0] ^= 1;                    /* the same number, another history */
    sign(&o, MEMBER, &(struct says){ .state = VEC_REACHED, .known = 7, .content = 7 });
    FAILS(read_back(&o, &r), ERR_BAD, "does not show");
    buf_clear(&o.vec), o.nvec = 0;
    o.hash.b[0] ^= 1, o.w.g.id.b[0] ^= 1;
    sign(&o, MEMBER, &reached);
    o.w.g.id.b[0] ^= 1;
    FAILS(read_back(&o, &r), ERR_BAD, "in another group");
}

static void test_who_was_a_member_when_he_signed(void)
{
    AUTO(office_release) struct office o;
    AUTO(receipts_release) struct receipts r = { 0 };
    office_init(&o);
    sign(&o, MEMBER, &reached);
    OK(revoke(&o.w, OWNER, MEMBER));
    record(&o);
    OK(read_back(&o, &r));               /* he was one then */
    CHECK(receipts_find(&r, &o.w.dev[MEMBER]->dev));
    receipts_release(&r);
    buf_clear(&o.vec), o.nvec = 0;
    sign(&o, MEMBER, &reached);
    FAILS(read_back(&o, &r), ERR_BAD, "no member");
}

static void test_log_that_ends_too_early(void)
{
    AUTO(office_release) struct office o;
    struct receipts r;
    office_init(&o);
    size_t len = o.log.len;
    OK(change(&o.w, OWNER, READER, ROLE_MEMBER));
    sign(&o, MEMBER, &reached);
    FAILS(read_back(&o, &r), ERR_BAD, "not in the file");
    record(&o);
    OK(read_back(&o, &r));
    receipts_release(&r);
    o.log.len = len, o.nrecord--;
    OK(change(&o.w, OWNER, READER, ROLE_READER));
    record(&o);                          /* one is missing between */
    FAILS(read_back(&o, &r), ERR_BAD, "missing");
}

static void test_one_device_twice(void)
{
    AUTO(office_release) struct office o;
    struct receipts r;
    office_init(&o);
    sign(&o, MEMBER, &reached);
    sign(&o, MEMBER, &reached);
    FAILS(read_back(&o, &r), ERR_BAD, "twice");
}

static void test_another_requirement(void)
{
    AUTO(office_release) struct office o;
    struct receipts r;
    office_init(&o);
    o.id[0]++;
    FAILS(read_back(&o, &r), ERR_BAD, "does not require");
    FAILS(receipts_read("LNYDCTL1", 8, &r), ERR_BAD, "no file of receipts");
}

/* An admin requires little, has it reached, and requires much under the same id when the first is long past. */
static void test_an_id_used_again(void)
{
    AUTO(office_release) struct office o;
    AUTO(receipts_release) struct receipts r = { 0 };
    office_init(&o);
    sign(&o, MEMBER, &reached);
    struct ctl_op op = { .type = OP_REQUIRE, .mode = REQUIRE_AUTO };
    for (uint8_t i = 0; i <= LIMIT_REQUIRED; i++) {
        memset(op.require_id, i < LIMIT_REQUIRED ? 100 + i : o.id[0], sizeof op.require_id);
        OK(apply(&o.w, ADMIN, &op, 1));
        record(&o);
    }
    FAILS(read_back(&o, &r), ERR_BAD, "older than what is required");
    buf_clear(&o.vec), o.nvec = 0;
    sign(&o, MEMBER, &reached);
    OK(read_back(&o, &r));
    EQ_U(r.log_ms, o.w.ctl.ts_ms);
}

/* Whatever byte is changed, the file is refused; and however it is cut. */
static void test_every_byte_counts(void)
{
    AUTO(office_release) struct office o;
    struct receipts r;
    office_init(&o);
    sign(&o, MEMBER, &reached);
    OK(read_back(&o, &r));
    receipts_release(&r);
    for (size_t i = 0; i < o.file.len; i++) {
        uint8_t change = (uint8_t)(1u << i % 8);
        o.file.data[i] ^= change;
        if (receipts_read(o.file.data, o.file.len, &r) != ERR_BAD)
            T_FAIL("byte %zu can be changed", i);
        o.file.data[i] ^= change;
    }
    for (size_t len = 0; len < o.file.len; len += 7)
        FAILS(receipts_read(o.file.data, len, &r), ERR_BAD, "");
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_who_has_reached_it);
    RUN(test_what_proves_nothing);
    RUN(test_who_was_a_member_when_he_signed);
    RUN(test_log_that_ends_too_early);
    RUN(test_one_device_twice);
    RUN(test_another_requirement);
    RUN(test_an_id_used_again);
    RUN(test_every_byte_counts);
    return t_done();
}

/* The receipts that the device of an admin keeps: which, for how long, and what becomes of them when the control log is another one. */
#include "node/proof.h"

#include "proto/receipt.h"
#include "tests/unit/t_split.h"

enum { ADMIN = 1, MEMBER = 4 };

/* The device `who`, with its engine. */
struct desk { unsigned who; struct index *ix; struct engine *e; struct proof *p; };

static void desk_open(struct desk *d, unsigned who)
{
    struct control *c = node[who].control;
    *d = (struct desk){ .who = who };
    OK(index_open(":memory:", &control_group(c)->id, false, &d->ix));
    struct engine_config ec = { .index = d->ix, .group = control_group(c), .keys = dev[who], .inst = { 1 } };
    OK(engine_new(&ec, &d->e));
    struct proof_config pc = { .index = d->ix, .control = c, .engine = d->e, .self = dev[who]->dev };
    OK(proof_new(&pc, &d->p));
}

static void desk_close(struct desk *d)
{
    proof_free(&d->p);
    engine_free(&d->e);
    index_close(&d->ix);
}

static void proof_again(struct desk *d)
{
    struct proof_config pc = { .index = d->ix, .control = node[d->who].control, .engine = d->e, .self = dev[d->who]->dev };
    proof_free(&d->p);
    OK(proof_new(&pc, &d->p));
}

static struct ctl_op op_require(uint8_t id)
{
    struct ctl_op op = { .type = OP_REQUIRE, .mode = REQUIRE_AUTO };       /* of nothing: whoever says so has it */
    memset(op.require_id, id, sizeof op.require_id);
    return op;
}

static const uint8_t *id_of(uint8_t id)
{
    static uint8_t v[16];
    memset(v, id, sizeof v);
    return v;
}

/* The member says at that time that it has reached that requirement, with control record n at hand. */
static void says_with(struct desk *d, uint8_t id, uint64_t wall_ms, uint64_t n, uint64_t flags)
{
    static uint64_t ctr;
    AUTO(buf_release) struct buf reqs = BUF_INIT(100), blob = BUF_INIT(LIMIT_BODY);
    struct vec_req q = { .state = VEC_REACHED, .since_ms = 1 };
    memcpy(q.id, id_of(id), sizeof q.id);
    mp_put_array(&reqs, 1);
    vec_req_put(&reqs, &q);
    struct vec v = { .group = control_group(node[d->who].control)->id, .dev = dev[MEMBER]->dev, .ctr = ++ctr, .wall_ms = wall_ms,
                     .ctl_n = n, .flags = flags, .reqs = { reqs.data, reqs.len }, .nreqs = 1 };
    OK(control_hash(node[d->who].control, n, &v.ctl_hash));
    OK(vec_encode(&blob, &v, dev[MEMBER]));
    EQ_I(engine_vector(d->e, blob.data, blob.len, NULL, NULL), 1);
    if (proof_wants(d->p, &dev[MEMBER]->dev))
        proof_note(d->p, blob.data, blob.len);
}

static void says(struct desk *d, uint8_t id, uint64_t wall_ms, uint64_t n) { says_with(d, id, wall_ms, n, 0); }

static uint64_t signed_ms(struct desk *d, uint8_t id) { return proof_signed_ms(d->p, id_of(id), &dev[MEMBER]->dev); }
static uint64_t last(unsigned who) { return control_group(node[who].control)->ctl_n; }

static size_t exported(struct desk *d, uint8_t id)
{
    AUTO(buf_release) struct buf file = BUF_INIT(LIMIT_RECEIPTS);
    AUTO(receipts_release) struct receipts r = { 0 };
    OK(proof_export(d->p, id_of(id), &file));
    OK(receipts_read(file.data, file.len, &r));
    return r.n;
}

static void test_the_first_is_kept(void)
{
    struct desk d;
    world_begin();
    struct ctl_op op = op_require(1);
    OK(sign(ADMIN, ADMIN, &op));
    desk_open(&d, ADMIN);
    says(&d, 1, 100, last(ADMIN) - 1);
    CHECK(!proof_unsaved(d.p));          /* it had not heard of it then: this proves nothing */
    says(&d, 1, 200, last(ADMIN));
    CHECK(proof_unsaved(d.p) && signed_ms(&d, 1) == 0 && !proof_wants(d.p, &dev[MEMBER]->dev));
    OK(proof_save(d.p, 1));
    says(&d, 1, 300, last(ADMIN));
    CHECK(!proof_unsaved(d.p));
    proof_again(&d);
    EQ_U(signed_ms(&d, 1), 200);
    EQ_U(exported(&d, 1), 1);
    desk_close(&d);
}

/* Who has left files out has a better receipt when it does so no more. */
static void test_without_files(void)
{
    struct desk d;
    world_begin();
    struct ctl_op op = op_require(1);
    OK(sign(ADMIN, ADMIN, &op));
    desk_open(&d, ADMIN);
    says_with(&d, 1, 100, last(ADMIN), VEC_PARTIAL);
    OK(proof_save(d.p, 1));
    EQ_U(signed_ms(&d, 1), 100);
    says_with(&d, 1, 200, last(ADMIN), VEC_PARTIAL);
    CHECK(!proof_unsaved(d.p));
    proof_again(&d);
    says(&d, 1, 300, last(ADMIN));
    OK(proof_save(d.p, 1));
    EQ_U(signed_ms(&d, 1), 300);
    says_with(&d, 1, 400, last(ADMIN), VEC_PARTIAL);
    CHECK(!proof_unsaved(d.p) && signed_ms(&d, 1) == 300);
    EQ_U(exported(&d, 1), 1);
    desk_close(&d);
}

/* Of itself, too, and only admins. */
static bool wants_own(unsigned who)
{
    struct desk d;
    world_begin();
    struct ctl_op op = op_require(1);
    OK(sign(who, ADMIN, &op));
    desk_open(&d, who);
    EQ_I(engine_lock_look(d.e, 1000, 1), 1);
    bool wants = proof_wants(d.p, &dev[who]->dev);
    desk_close(&d);
    return wants;
}
static void test_members_keep_none(void)
{
    CHECK(wants_own(ADMIN) && wants_own(0) && !wants_own(MEMBER));
}

static void test_it_goes_with_the_requirement(void)
{
    struct desk d;
    world_begin();
    struct ctl_op op = op_require(1);
    OK(sign(ADMIN, ADMIN, &op));
    desk_open(&d, ADMIN);
    says(&d, 1, 200, last(ADMIN));
    OK(proof_save(d.p, 1));
    for (uint8_t i = 2; i < 2 + LIMIT_REQUIRED; i++) {
        CHECK(!proof_unsaved(d.p));
        op = op_require(i);
        OK(sign(ADMIN, ADMIN, &op));
    }
    CHECK(proof_unsaved(d.p));
    OK(proof_save(d.p, 1));
    proof_again(&d);
    CHECK(signed_ms(&d, 1) == 0 && !proof_unsaved(d.p));
    desk_close(&d);
}

/* The same id is required once more when the first is past: what was signed for the first proves nothing. */
static void test_an_id_used_again(void)
{
    struct desk d;
    world_begin();
    struct ctl_op op = op_require(1);
    OK(sign(ADMIN, ADMIN, &op));
    desk_open(&d, ADMIN);
    says(&d, 1, 200, last(ADMIN));
    OK(proof_save(d.p, 1));
    for (uint8_t i = 0; i <= LIMIT_REQUIRED; i++) {
        op = op_require(i < LIMIT_REQUIRED ? 100 + i : 1);
        OK(sign(ADMIN, ADMIN, &op));
    }
    CHECK(signed_ms(&d, 1) == 0 && proof_wants(d.p, &dev[MEMBER]->dev));
    EQ_U(exported(&d, 1), 0);
    says(&d, 1, 300, last(ADMIN));
    OK(proof_save(d.p, 1));
    EQ_U(signed_ms(&d, 1), 300);
    EQ_U(exported(&d, 1), 1);
    desk_close(&d);
}

/* The owner's record takes the place of the admin's, who then signs it again. */
static void test_another_chain_wins(void)
{
    struct desk d;
    struct bytes blob;
    world_begin();
    struct ctl_op op = op_require(1), other = op_name(2, "other");
    OK(sign(ADMIN, ADMIN, &op));
    desk_open(&d, ADMIN);
    says(&d, 1, 200, last(ADMIN));
    OK(proof_save(d.p, 1));
    OK(sign(0, 0, &other));
    OK(control_record(node[0].control, NODES, &blob));
    OK(control_switch(node[ADMIN].control, NODES, &blob));
    OK(sign(ADMIN, ADMIN, &op));
    CHECK(signed_ms(&d, 1) == 0 && proof_wants(d.p, &dev[MEMBER]->dev));
    EQ_U(exported(&d, 1), 0);
    says(&d, 1, 400, last(ADMIN));
    OK(proof_save(d.p, 1));
    EQ_U(signed_ms(&d, 1), 400);
    EQ_U(exported(&d, 1), 1);
    desk_close(&d);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    make_all();
    RUN(test_the_first_is_kept);
    RUN(test_without_files);
    RUN(test_members_keep_none);
    RUN(test_it_goes_with_the_requirement);
    RUN(test_an_id_used_again);
    RUN(test_another_chain_wins);
    unmake_all();
    return t_done();
}

/* The versions that a group requires. */
#include "tests/unit/t_group.h"

static struct ctl_op op_require(uint8_t id, const struct buf *min, const struct buf *to)
{
    struct ctl_op op = { .type = OP_REQUIRE, .text = { (const uint8_t *)"use it", 6 }, .mode = REQUIRE_AUTO, .until_ms = 5000,
                         .cuts = bytes_of(min), .to = bytes_of(to) };
    memset(op.require_id, id, sizeof op.require_id);
    return op;
}

static void test_requirements(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    AUTO(buf_release) struct buf min = BUF_INIT(1000), none = BUF_INIT(10), to = BUF_INIT(100);
    struct dot low = { .sid = { { 4 } }, .seq = 7 }, high = low, other = { .sid = { { 5 } }, .seq = 1 };
    high.seq = 8;
    mp_put_array(&min, 1);
    cut_put(&min, &(struct cut){ .sid = low.sid, .seq = 7, .hdr_hash = w.g.id });
    mp_put_array(&to, 1);
    mp_put_bin(&to, w.dev[MEMBER]->dev.b, ID_LEN);
    CHECK(!group_required_of(&w.g, &w.dev[MEMBER]->dev) && !group_requires(&w.g, &low));
    struct ctl_op all = op_require(1, &min, &none), one = op_require(2, &none, &to);
    FAILS(apply(&w, MEMBER, &all, 1), ERR_DENIED, "neither");
    OK(apply(&w, ADMIN, &all, 1));
    FAILS(apply(&w, ADMIN, &all, 1), ERR_BAD, "already");
    CHECK(group_requires(&w.g, &low) && !group_requires(&w.g, &high) && !group_requires(&w.g, &other));
    OK(apply(&w, OWNER, &one, 1));
    const struct requirement *q = group_required_of(&w.g, &w.dev[MEMBER]->dev), *rest = group_required_of(&w.g, &w.dev[READER]->dev);
    CHECK(q && q->what->id[0] == 2 && rest && rest->what->id[0] == 1);
    CHECK(strcmp(rest->what->message, "use it") == 0 && id_eq(&rest->what->by, &w.dev[ADMIN]->dev) && rest->what->mode == REQUIRE_AUTO);
    CHECK(!group_requires(&w.g, &low));                                     /* the latest of all names nothing */
    CHECK(!required_is_over(rest, 4999) && required_is_over(rest, 5000));
    struct ctl_op cancel = { .type = OP_CANCEL };
    memset(cancel.require_id, 2, sizeof cancel.require_id);
    OK(apply(&w, ADMIN, &cancel, 1));
    q = group_required_of(&w.g, &w.dev[MEMBER]->dev);
    CHECK(q && q->what->id[0] == 2 && required_is_over(q, 1) && id_eq(&q->cancelled_by, &w.dev[ADMIN]->dev));
    for (uint8_t i = 3; i < 3 + LIMIT_REQUIRED; i++) {
        struct ctl_op more = op_require(i, &min, &to);
        OK(apply(&w, ADMIN, &more, 1));
    }
    CHECK(!group_requirement(&w.g, all.require_id) && !group_required_of(&w.g, &w.dev[READER]->dev) && group_requires(&w.g, &low));
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_requirements);
    return t_done();
}

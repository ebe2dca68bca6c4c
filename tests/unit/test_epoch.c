/* The key that is renewed when a device is revoked: who finds it, whose part it is to renew it, and what happens to who was left out. */
#include "node/epoch.h"
#include "tests/unit/t_split.h"

static uint8_t key[32];

static const struct group *group(unsigned i) { return control_group(node[i].control); }

static int open_key(unsigned i, uint64_t *epoch)
{
    uint8_t found[32] = {0};
    int r = epoch_open(node[i].control, group(i), dev[i], epoch, found);
    if (r > 0)
        EQ_MEM(found, key, sizeof key);
    return r;
}

static int renew(unsigned who, uint64_t epoch, uint64_t named)
{
    AUTO(buf_release) struct buf keys = BUF_INIT(65536);
    memset(key, (int)epoch, sizeof key);
    epoch_seal_all(group(who), key, epoch, &keys);
    struct ctl_op op = {.type = OP_EPOCH, .epoch = named, .keys = {keys.data, keys.len}};
    return sign(who, who, &op);
}

static int revoke_by(unsigned by, unsigned who)
{
    struct ctl_op op = op_on(OP_REVOKE, who, 0);
    return sign(by, by, &op);
}

static void all_hear(unsigned of)
{
    for (unsigned i = 0; i < NODES; i++)
        if (i != of) {
            control_close(&node[i].control);
            copy_log(node[of].path, node[i].path);
            open_node(&node[i], i);
        }
}

static void test_renewed(void)
{
    uint64_t epoch = 7;
    world_begin();
    EQ_I(open_key(0, &epoch), 0);                        /* the founder's first */
    EQ_I(open_key(1, &epoch), ERR_DENIED);               /* t_split seals nothing that can be opened */
    OK(revoke_by(0, 4));
    OK(renew(0, 2, 2));
    all_hear(0);
    for (unsigned i = 0; i < NODES; i++)
        if (i != 4) {
            EQ_I(open_key(i, &epoch), 1);
            EQ_U(epoch, 2);
        }
    EQ_I(open_key(4, &epoch), ERR_NOTFOUND);
    EQ_U(group(0)->epoch, 2);
    EQ_I(renew(0, 2, 2), ERR_BAD);                       /* each is later than the one before */
    EQ_I(renew(0, 1, 1), ERR_BAD);
    OK(renew(0, 5, 5));
    EQ_I(open_key(0, &epoch), 1);
}

/* An admin cannot use up the numbers, so that no key could follow when he is revoked. */
static void test_numbers_last(void)
{
    uint64_t epoch;
    world_begin();
    FAILS(renew(1, LIMIT_SEQ, LIMIT_SEQ), ERR_BAD, "too far");
    FAILS(renew(1, 2 + LIMIT_EPOCH_STEP, 2 + LIMIT_EPOCH_STEP), ERR_BAD, "too far");
    OK(renew(1, 1 + LIMIT_EPOCH_STEP, 1 + LIMIT_EPOCH_STEP));
    EQ_U(epoch_next(group(1), 1), 2 + LIMIT_EPOCH_STEP);
    EQ_U(epoch_next(group(1), 7 + LIMIT_EPOCH_STEP), 8 + LIMIT_EPOCH_STEP);
    epoch = epoch_next(group(1), LIMIT_SEQ);             /* of another chain */
    OK(renew(1, epoch, epoch));
    EQ_I(open_key(1, &epoch), 1);
}

/* All keys are in one record. */
static void test_how_many_fit(void)
{
    AUTO(buf_release) struct buf keys = BUF_INIT(65536);
    world_begin();
    CHECK(epoch_fits(group(0)));
    epoch_seal_all(group(0), key, 2, &keys);
    size_t one = (keys.len - 1) / NODES, most = LIMIT_CTL_BYTES / one;
    AUTOFREE struct member *many = xcalloc(most + 1, sizeof *many);
    struct group g = { .member = many, .nmember = most + 1 };
    CHECK(!epoch_fits(&g));
    for (size_t i = 0; i < 20; i++)
        many[i].revoked = true;          /* they get none */
    CHECK(epoch_fits(&g));
}

/* Who comes after a renewal has it with his invite. */
static void test_who_joins(void)
{
    uint64_t epoch;
    uint8_t seal[SEALED_KEYS];
    world_begin();
    OK(renew(0, 2, 2));
    for (uint64_t given = 2; given > 0; given--) {
        unsigned who = NODES + 2 - (unsigned)given;
        epoch_seal(key, given, dev[who]->tr_pk, seal);
        struct ctl_op op = op_add(who, ROLE_MEMBER);
        op.sealed = (struct bytes){seal, sizeof seal};
        OK(sign(0, 0, &op));
        EQ_I(epoch_open(node[0].control, group(0), dev[who], &epoch, seal), given == 2 ? 1 : ERR_BAD);
    }
    OK(renew(0, 3, 3));                                  /* he is given the next one, too */
    EQ_I(epoch_open(node[0].control, group(0), dev[NODES], &epoch, seal), 1);
    EQ_U(epoch, 3);
}

static void test_what_cannot_be_opened(void)
{
    uint64_t epoch;
    world_begin();
    OK(renew(0, 2, 3));                                  /* another number than is sealed in */
    EQ_I(open_key(0, &epoch), ERR_BAD);
    AUTO(buf_release) struct buf keys = BUF_INIT(4096);
    mp_put_array(&keys, 1);
    epoch_key_put(&keys, &dev[1]->dev, sealed);
    struct ctl_op op = {.type = OP_EPOCH, .epoch = 4, .keys = {keys.data, keys.len}};
    OK(sign(0, 0, &op));
    all_hear(0);
    EQ_I(open_key(0, &epoch), ERR_NOTFOUND);
    EQ_I(open_key(1, &epoch), ERR_DENIED);
}

static void test_whose_part_it_is(void)
{
    world_begin();
    CHECK(!epoch_is_due(group(0), &dev[0]->dev));
    OK(revoke_by(1, 4));
    CHECK(epoch_is_due(group(1), &dev[1]->dev));
    CHECK(!epoch_is_due(group(1), &dev[0]->dev));        /* who revokes does it */
    struct ctl_op op = op_on(OP_ROLE, 1, ROLE_MEMBER);
    OK(sign(1, 0, &op));
    CHECK(!epoch_is_due(group(1), &dev[1]->dev));
    CHECK(epoch_is_due(group(1), &dev[0]->dev));         /* unless he may not any more */
    AUTO(buf_release) struct buf keys = BUF_INIT(65536);
    epoch_seal_all(group(1), key, 2, &keys);
    op = (struct ctl_op){.type = OP_EPOCH, .epoch = 2, .keys = {keys.data, keys.len}};
    OK(sign(1, 0, &op));
    CHECK(!epoch_is_due(group(1), &dev[0]->dev));
}

int main(void)
{
    OK(keys_init());
    t_dir_make();
    make_all();
    RUN(test_renewed);
    RUN(test_numbers_last);
    RUN(test_how_many_fit);
    RUN(test_who_joins);
    RUN(test_what_cannot_be_opened);
    RUN(test_whose_part_it_is);
    unmake_all();
    return t_done();
}

/* Chains of control records that contradict each other: which one counts, what becomes of the other. */
#include "tests/unit/t_split.h"

#include <errno.h>

#include "store/sys.h"

/* ---- what must be so ---- */

static void one_chain(void)
{
    const struct group *g = control_group(node[0].control);
    for (unsigned i = 0; i < NODES; i++) {
        const struct group *o = control_group(node[i].control);
        CHECK(o->ctl_n == g->ctl_n && id_eq(&o->ctl_hash, &g->ctl_hash));
        EQ_U(o->nmember, g->nmember);
        struct control *again;
        OK(control_open(node[i].path, &again));                   /* and the file says so */
        CHECK(id_eq(&control_group(again)->ctl_hash, &g->ctl_hash));
        control_close(&again);
        CHECK(access(node[i].lostpath, F_OK) != 0);
    }
}
static void an_owner(const struct group *g)
{
    for (size_t i = 0; i < g->nmember; i++)
        if (g->member[i].role == ROLE_OWNER && !g->member[i].revoked)
            return;
    T_FAIL("no owner");
}
/* Everything that was ever signed is in the log, from its first or a later signer, or has been reported. */
static void nothing_dropped(void)
{
    for (size_t i = 0; i < nsaid; i++)
        if (!said[i].reported && !said[i].so && !on_chain(node[0].control, &said[i], false))
            T_FAIL("what %u signed was dropped, number %zu", said[i].signer, i);
}

/* ---- the tests ---- */

static void test_both_sides(void)
{
    world_begin();
    struct ctl_op a = op_add(7, ROLE_MEMBER), b = op_add(8, ROLE_READER), same = op_add(9, ROLE_MEMBER);
    OK(sign(0, 0, &a));
    OK(sign(1, 1, &b));
    OK(sign(1, 1, &same));
    OK(sign(2, 2, &same));
    heal();
    one_chain();
    nothing_dropped();
    const struct group *g = control_group(node[3].control);
    for (unsigned i = 7; i <= 9; i++)
        CHECK(group_find(g, &dev[i]->dev) && !group_find(g, &dev[i]->dev)->revoked);
    EQ_U(g->ctl_n, NODES - 1 + 3);       /* what is so already is not signed twice */
    struct ctl first;
    struct bytes blob;
    OK(control_record(node[3].control, NODES, &blob));
    OK(ctl_decode(blob.p, blob.len, &first));
    CHECK(id_eq(&first.signer, &dev[0]->dev));                    /* the owner's came first */
}

/* Whoever is added and revoked in a chain that lost does not come back with it. */
static void test_added_and_revoked(void)
{
    world_begin();
    struct ctl_op add = op_add(7, ROLE_MEMBER), out = op_on(OP_REVOKE, 7, 0), other = op_add(8, ROLE_MEMBER);
    OK(sign(1, 1, &add));
    CHECK(hear(&node[2], &node[1], 9));
    OK(sign(2, 2, &out));
    CHECK(hear(&node[1], &node[2], 9));
    OK(sign(0, 0, &other));
    heal();
    one_chain();
    nothing_dropped();
    CHECK(!group_find(control_group(node[0].control), &dev[7]->dev));
}

static struct ctl_op random_op(uint64_t *seed, bool any)
{
    static const char *const names[] = { "x", "y", "d3" };
    unsigned who = (unsigned)(t_rand(seed) % DEVICES);
    enum role role = (enum role)(ROLE_OWNER + t_rand(seed) % 4);
    switch (t_rand(seed) % (any ? 7 : 5)) {
    case 0: case 1: case 2: return op_add(who, role);
    case 3: return op_name(who, names[t_rand(seed) % 3]);
    case 4: return op_on(OP_ROLE, who, role);
    default: return op_on(OP_REVOKE, who, 0);
    }
}

static struct ctl_op op_required(enum ctl_op_type type, uint8_t id)
{
    struct ctl_op op = { .type = type, .mode = REQUIRE_AUTO };
    memset(op.require_id, id, sizeof op.require_id);
    return op;
}

/* What is required and cancelled in a chain that lost locks nobody again: not when another one cancelled it, nor the same. */
static void test_required_and_cancelled(void)
{
    for (unsigned by = 1; by <= 2; by++) {
        world_begin();
        struct ctl_op require = op_required(OP_REQUIRE, 1), cancel = op_required(OP_CANCEL, 1), kept = op_required(OP_REQUIRE, 2);
        struct ctl_op other = op_add(8, ROLE_MEMBER);
        OK(sign(1, 1, &require));
        CHECK(hear(&node[2], &node[1], 9));
        OK(sign(by, by, &cancel));
        OK(sign(by, by, &kept));
        hear(&node[3 - by], &node[by], 9);
        OK(sign(0, 0, &other));
        heal();
        one_chain();
        nothing_dropped();
        const struct group *g = control_group(node[4].control);
        CHECK(!group_requirement(g, require.require_id) && group_requirement(g, kept.require_id));
    }
}

/* Its admin had not heard of it, and requires it again: who cancelled it is told that this is lost. */
static void test_cancelled_unheard(void)
{
    world_begin();
    struct ctl_op require = op_required(OP_REQUIRE, 1), cancel = op_required(OP_CANCEL, 1), other = op_add(8, ROLE_MEMBER);
    OK(sign(1, 1, &require));
    CHECK(hear(&node[2], &node[1], 9));
    OK(sign(2, 2, &cancel));
    const struct signed_op *lost = &said[nsaid - 1];
    OK(sign(0, 0, &other));
    heal();
    one_chain();
    CHECK(lost->reported);
}

static struct ctl_op op_policy(struct buf *map, const char *key)
{
    mp_put_map(map, 1);
    mp_put_str(map, key);
    mp_put_bool(map, true);
    return (struct ctl_op){ .type = OP_POLICY, .policy = { map->data, map->len } };
}

/* A rule that refuses one of them for good stands in the way of none behind it. */
static void test_no_room_for_one(void)
{
    AUTO(buf_release) struct buf mine = BUF_INIT(100);
    world_begin();
    struct ctl_op policy = op_policy(&mine, "z"), out = op_on(OP_REVOKE, 4, 0);
    OK(sign(1, 1, &policy));
    OK(sign(1, 1, &out));
    for (char i = 0; i < (char)LIMIT_POLICIES; i++) {
        AUTO(buf_release) struct buf map = BUF_INIT(100);
        struct ctl_op fill = op_policy(&map, (const char[]){ 'a', (char)('0' + i), 0 });
        OK(sign(0, 0, &fill));
    }
    heal();
    one_chain();
    nothing_dropped();
    CHECK(group_find(control_group(node[0].control), &dev[4]->dev)->revoked);
}

/* Two owners, each without the other: one of them stays, and it is the same for all. */
static void test_owners_against_each_other(void)
{
    static const enum role down[] = { ROLE_ADMIN, ROLE_READER, 0 };           /* 0: revoked */
    for (unsigned a = 0; a < 3; a++)
        for (unsigned b = 0; b < 3; b++) {
            world_begin();
            struct ctl_op by0 = op_on(down[a] ? OP_ROLE : OP_REVOKE, 5, down[a]), by5 = op_on(down[b] ? OP_ROLE : OP_REVOKE, 0, down[b]);
            OK(sign(0, 0, &by0));
            OK(sign(5, 5, &by5));
            heal();
            one_chain();
            nothing_dropped();
            const struct group *g = control_group(node[3].control);
            CHECK(group_is_last_owner(g, group_find(g, &dev[0]->dev)));       /* who was there first */
            CHECK(said[nsaid - 1].reported);
        }
    world_begin();                       /* each gives it up himself: the second one cannot */
    struct ctl_op by0 = op_on(OP_ROLE, 0, ROLE_MEMBER), by5 = op_on(OP_ROLE, 5, ROLE_MEMBER);
    OK(sign(0, 0, &by0));
    OK(sign(5, 5, &by5));
    heal();
    one_chain();
    an_owner(control_group(node[3].control));
    CHECK(said[nsaid - 1].reported != said[nsaid - 2].reported);
}

/* What is no act on a member; it lives until the next call. */
static struct ctl_op other_op(uint64_t *seed)
{
    static struct buf map = BUF_INIT(64);
    struct ctl_op op = { .mode = REQUIRE_AUTO };
    memset(op.require_id, 1 + (int)(t_rand(seed) % 20), sizeof op.require_id);
    memset(op.recovery.b, 1 + (int)(t_rand(seed) % 200), ID_LEN);
    op.type = (const enum ctl_op_type[]){ OP_REQUIRE, OP_CANCEL, OP_POLICY, OP_RECOVERY, OP_DORMANT }[t_rand(seed) % 5];
    if (op.type == OP_DORMANT)
        op.dev = dev[t_rand(seed) % NODES]->dev;
    map.len = 0;
    mp_put_map(&map, 1);
    mp_put_strn(&map, "xyz" + t_rand(seed) % 3, 1);
    mp_put_u64(&map, t_rand(seed) % 3);
    op.policy = (struct bytes){ map.data, map.len };
    return op;
}

/* One run: devices sign on their own logs, some meet, the rest is apart; at last all meet. */
static void random_run(uint64_t seed)
{
    world_begin();
    for (int step = 0; step < 60; step++) {
        unsigned i = (unsigned)(t_rand(&seed) % NODES), k = (unsigned)(t_rand(&seed) % NODES);
        struct ctl_op op = t_rand(&seed) % 4 ? random_op(&seed, t_rand(&seed) % 4 == 0) : other_op(&seed);
        if (t_rand(&seed) % 3)
            (void)sign(i, i, &op);       /* often refused */
        else if (i != k)
            (void)hear(&node[i], &node[k], 1 + (unsigned)(t_rand(&seed) % 5));
        an_owner(control_group(node[i].control));
        if (t_rand(&seed) % 10 == 0) {   /* a restart */
            control_close(&node[i].control);
            open_node(&node[i], i);
            CHECK(lost_issue(&node[i].lost, 6000) >= 0);
        }
    }
    heal();
    one_chain();
    an_owner(control_group(node[0].control));
    nothing_dropped();
}

static void test_random(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        random_run(seed);
}

/* ---- revoked ones with their old keys ---- */

/* Somebody whom another one has outranked and revoked makes a rival, from wherever he could sign, with everything that he can. */
static bool forge(uint64_t *seed, unsigned bad, uint64_t from)
{
    struct control *c = node[0].control;
    AUTO(group_release) struct group g = { 0 };
    AUTO(buf_release) struct buf chain = BUF_INIT(LIMIT_BODY);
    struct bytes blob;
    struct ctl r;
    OK(group_init(&g, genesis.data, genesis.len));
    for (uint64_t n = 1; n < from; n++) {
        OK(control_record(c, n, &blob));
        OK(ctl_decode(blob.p, blob.len, &r));
        OK(group_apply(&g, &r));
    }
    unsigned signer = bad;
    for (int tries = 0; tries < 30; tries++) {
        AUTO(buf_release) struct buf one = BUF_INIT(LIMIT_CTL_BYTES);
        struct ctl_op op = random_op(seed, true);
        struct ctl head = { .group = g.id, .prev = g.ctl_hash, .n = g.ctl_n + 1, .ts_ms = t_rand(seed) % 1000, .signer = dev[signer]->dev };
        OK(ctl_encode(&one, &head, &op, 1, dev[signer]));
        OK(ctl_decode(one.data, one.len, &r));
        if (group_apply(&g, &r) < 0)
            continue;
        buf_add(&chain, one.data, one.len);
        signer = t_rand(seed) % 2 ? bad : 7 + (unsigned)(t_rand(seed) % 4);   /* and with those whom he has added */
        if (chain.len > 0 && !group_find(&g, &dev[signer]->dev))
            signer = bad;
    }
    if (chain.len == 0)
        return false;
    int verdict = control_judge(c, from, &(struct bytes){ chain.data, chain.len });
    EQ_I(verdict, 0);
    return true;
}

static void test_revocation_stays(void)
{
    uint64_t seed = 5;
    unsigned forged = 0;
    for (unsigned run = 0; run < 15; run++) {
        world_begin();
        unsigned bad = 2 + run % 2u, by = run % 3 == 0 ? 0 : run % 3 == 1 ? 1 : 5;   /* owners, and an admin who was there before him */
        for (unsigned k = 0; k < 5; k++) {           /* by those of his rank or a lower one: his own rival may outweigh these */
            struct ctl_op op = op_add(6 + k, ROLE_MEMBER);
            OK(sign(0, k % 2 ? bad : 3, &op));
        }
        struct ctl_op out = op_on(OP_REVOKE, bad, 0), after = op_name(4, "later");
        OK(sign(0, by, &out));
        OK(sign(0, 0, &after));
        for (uint64_t from = bad + 1; from <= control_group(node[0].control)->ctl_n - 1; from++)
            forged += forge(&seed, bad, from);
    }
    CHECK(forged > 80);
}

/* ---- the file ---- */

static int fail_at, calls;
static bool now_fails(void)
{
    bool fails = ++calls == fail_at;
    if (fails)
        errno = EIO;
    return fails;
}
static ssize_t bad_pwrite(int fd, const void *p, size_t n, off_t off) { return now_fails() ? -1 : sys_kernel.pwrite(fd, p, n, off); }
static int bad_fsync(int fd) { return now_fails() ? -1 : sys_kernel.fsync(fd); }
static int bad_rename(int a, const char *from, int b, const char *to, unsigned flags)
{
    return now_fails() ? -1 : sys_kernel.renameat2(a, from, b, to, flags);
}
static int bad_open(int at, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    return now_fails() ? -1 : sys_kernel.openat2(at, path, flags, mode, resolve);
}

/* Whatever fails: the file has one of the chains, whole, and so has the memory; what was switched is the one that it says. */
static bool switch_fails(int at)
{
    world_begin();
    struct ctl_op add = op_add(7, ROLE_MEMBER), other = op_add(8, ROLE_MEMBER);
    OK(sign(1, 1, &add));
    OK(sign(0, 0, &other));
    struct bytes blob;
    struct id old = control_group(node[1].control)->ctl_hash, new = control_group(node[0].control)->ctl_hash;
    OK(control_record(node[0].control, NODES, &blob));
    EQ_I(control_judge(node[1].control, NODES, &blob), 1);
    struct sys table = sys_kernel;
    table.pwrite = bad_pwrite, table.fsync = bad_fsync, table.renameat2 = bad_rename, table.openat2 = bad_open;
    fail_at = at, calls = 0, sys = &table;
    int r = control_switch(node[1].control, NODES, &blob);
    sys = &sys_kernel;
    struct id now = control_group(node[1].control)->ctl_hash;
    CHECK(id_eq(&now, &old) || id_eq(&now, &new));
    if (r == 0)
        CHECK(id_eq(&now, &new));
    struct ctl_op more = op_name(4, "more");
    int appended = sign(1, 5, &more);
    struct id last = control_group(node[1].control)->ctl_hash;
    control_close(&node[1].control);
    open_node(&node[1], 1);
    struct id found = control_group(node[1].control)->ctl_hash;
    CHECK(appended < 0 ? id_eq(&found, &old) || id_eq(&found, &new) : id_eq(&found, &last));
    return r < 0;
}
static void test_switch_fails(void)
{
    int at = 1;
    while (switch_fails(at))
        at++;
    CHECK(at > 6);
}

/* The crash comes between what is remembered and what is switched, or before it is signed again. */
static void test_crash(void)
{
    for (int switched = 0; switched < 2; switched++) {
        world_begin();
        struct ctl_op add = op_add(7, ROLE_MEMBER), other = op_add(8, ROLE_MEMBER), dormant = { .type = OP_DORMANT, .dev = dev[2]->dev };
        OK(sign(1, 1, &add));
        OK(sign(1, 1, &dormant));        /* no state says of this one that it is so already */
        OK(sign(0, 0, &other));
        struct bytes blob;
        OK(control_record(node[0].control, NODES, &blob));
        OK(lost_keep(&node[1].lost, NODES));
        if (switched)
            OK(control_switch(node[1].control, NODES, &blob));
        control_close(&node[1].control);
        open_node(&node[1], 1);
        EQ_I(lost_issue(&node[1].lost, 7000), switched ? 2 : 0);
        EQ_I(lost_issue(&node[1].lost, 7000), 0);
        heal();
        one_chain();
        nothing_dropped();
        CHECK(group_find(control_group(node[4].control), &dev[7]->dev));
    }
}

/* ---- what is not a chain ---- */

static void test_refused(void)
{
    world_begin();
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY), one = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl_op op = op_add(7, ROLE_MEMBER);
    struct chain c = { .control = node[0].control, .losing = losing, .arg = &node[0] };
    struct id before = control_group(node[0].control)->ctl_hash;
    encode(node[0].control, 3, 4, &op, &one);                     /* at record 4, by one who may not */
    mp_put_array(&body, 1);
    buf_add(&body, one.data, one.len);
    chain_begin(&c, 4);
    FAILS(chain_take(&c, body.data, body.len), ERR_DENIED, "neither owner nor admin");
    chain_release(&c);
    chain_begin(&c, 1);
    FAILS(chain_take(&c, body.data, body.len - 1), ERR_BAD, "");
    chain_release(&c);
    buf_clear(&body);
    serve(node[1].control, 2, 1, &body);
    body.data[0] = 0x92;                                          /* the same twice, the second with another number */
    buf_add(&body, one.data, one.len);
    chain_begin(&c, 1);
    CHECK(chain_take(&c, body.data, body.len) < 0);
    chain_release(&c);
    buf_clear(&body);
    serve(node[1].control, 2, 1, &body);
    chain_begin(&c, 3);                  /* it would be asked for the same again and again */
    FAILS(chain_take(&c, body.data, body.len), ERR_BAD, "not the ones that were asked for");
    chain_release(&c);
    CHECK(id_eq(&before, &control_group(node[0].control)->ctl_hash));
}

/* Not asked for: what parts from ours before its first record cannot be traced. */
static void test_unasked(void)
{
    world_begin();
    for (unsigned i = 0; i < 3; i++) {
        struct ctl_op a = op_add(7 + i, ROLE_MEMBER), b = op_name(4, i % 2 ? "x" : "y");
        OK(sign(1, 1, &a));
        OK(sign(0, 0, &b));
    }
    for (int whole = 0; whole < 2; whole++) {
        AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
        struct chain c = { .control = node[1].control, .losing = losing, .arg = &node[1] };
        serve(node[0].control, whole ? NODES - 1 : NODES + 1, 9, &body);
        chain_begin(&c, 0);
        EQ_I(chain_take(&c, body.data, body.len), whole ? 0 : ERR_AGAIN);
        EQ_I(c.switched, whole);
        chain_release(&c);
    }
    CHECK(id_eq(&control_group(node[0].control)->ctl_hash, &control_group(node[1].control)->ctl_hash));
}

/* Without it nothing may be switched, and the text says what to do. */
static void damaged_memory(const char *file)
{
    world_begin();
    struct ctl_op a = op_add(7, ROLE_MEMBER), b = op_name(4, "x");
    OK(sign(1, 1, &a));
    OK(sign(0, 0, &b));
    t_write(node[1].lostpath, file, strlen(file));
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct chain c = { .control = node[1].control, .losing = losing, .arg = &node[1] };
    struct id before = control_group(node[1].control)->ctl_hash;
    serve(node[0].control, NODES, 9, &body);
    chain_begin(&c, NODES);
    FAILS(chain_take(&c, body.data, body.len), ERR_IO, "moved away");
    chain_release(&c);
    CHECK(id_eq(&before, &control_group(node[1].control)->ctl_hash));
    FAILS(lost_issue(&node[1].lost, 5000), ERR_CORRUPT, node[1].lostpath);
    (void)unlink(node[1].lostpath);
    heal();
    one_chain();
}
static void test_damaged_memory(void)
{
    damaged_memory("\xc1 no list");
    damaged_memory("\x91\x92\x01");      /* one that is cut off */
}

static int quick_fsync(int fd) { return fd < 0; }

int main(void)
{
    if (keys_init() < 0)
        return 1;
    static struct sys quick;
    quick = sys_kernel;
    quick.fsync = quick_fsync;
    t_dir_make();
    make_all();
    RUN(test_both_sides);
    RUN(test_added_and_revoked);
    sys = &quick;
    RUN(test_required_and_cancelled);
    RUN(test_cancelled_unheard);
    RUN(test_no_room_for_one);
    RUN(test_owners_against_each_other);
    RUN(test_random);
    RUN(test_revocation_stays);
    sys = &sys_kernel;
    RUN(test_switch_fails);
    RUN(test_crash);
    RUN(test_refused);
    RUN(test_unasked);
    RUN(test_damaged_memory);
    unmake_all();
    return t_done();
}

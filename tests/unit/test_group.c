#include "tests/unit/t_group.h"

static void test_genesis(void)
{
    AUTO(world_release) struct world w;
    world_init(&w);
    EQ_U(w.g.nmember, 1);
    EQ_U(w.g.ctl_n, 0);
    CHECK(id_eq(&w.g.ctl_hash, &w.g.id));
    CHECK(!id_is_none(&w.g.id));
    const struct member *m = member(&w, OWNER);
    CHECK(m && m->role == ROLE_OWNER && !m->revoked);
    EQ_U(m->added_ms, 77);
    EQ_U(m->added_n, 0);
    CHECK(member(&w, NEW) == NULL);
    w.genesis.data[w.genesis.len / 2] ^= 1;
    struct group g;
    CHECK(group_init(&g, w.genesis.data, w.genesis.len) < 0);
}

static void test_roles(void)
{
    CHECK(role_may_admin(ROLE_OWNER) && role_may_admin(ROLE_ADMIN) && !role_may_admin(ROLE_MEMBER) && !role_may_admin(ROLE_READER));
    CHECK(role_may_write(ROLE_OWNER) && role_may_write(ROLE_ADMIN) && role_may_write(ROLE_MEMBER) && !role_may_write(ROLE_READER));
}

static void test_add(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    EQ_U(w.g.nmember, 4);
    EQ_U(member(&w, READER)->role, ROLE_READER);
    EQ_U(member(&w, READER)->added_n, 1);
    EQ_U(member(&w, READER)->added_ms, 1000);
    FAILS(add(&w, MEMBER, NEW, ROLE_READER), ERR_DENIED, "neither owner nor admin");
    FAILS(add(&w, READER, NEW, ROLE_READER), ERR_DENIED, "neither");
    FAILS(add(&w, NEW, NEW, ROLE_READER), ERR_DENIED, "neither");
    FAILS(add(&w, ADMIN, NEW, ROLE_OWNER), ERR_DENIED, "may not make");
    FAILS(add(&w, OWNER, MEMBER, ROLE_MEMBER), ERR_BAD, "already a member");
    OK(add(&w, ADMIN, NEW, ROLE_ADMIN));
    OK(add(&w, NEW, OTHER, ROLE_MEMBER));
    OK(add(&w, OWNER, MORE, ROLE_OWNER));
}

static void test_transport_keys(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    CHECK(group_by_transport(&w.g, w.dev[MEMBER]->tr_pk) == member(&w, MEMBER));
    CHECK(group_by_transport(&w.g, w.dev[NEW]->tr_pk) == NULL);
    make_card(&w, NEW, "thief", w.dev[MEMBER]->tr_pk);
    FAILS(add(&w, OWNER, NEW, ROLE_MEMBER), ERR_BAD, "transport key of dev2");
    OK(revoke(&w, OWNER, MEMBER));
    FAILS(add(&w, OWNER, NEW, ROLE_MEMBER), ERR_BAD, "transport key of dev2");
    OK(add(&w, OWNER, MEMBER, ROLE_MEMBER)); /* itself may keep it */
}

static void test_revoke(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    FAILS(revoke(&w, OWNER, OWNER), ERR_BAD, "only owner");
    FAILS(revoke(&w, ADMIN, OWNER), ERR_DENIED, "may not change the owner");
    FAILS(revoke(&w, MEMBER, READER), ERR_DENIED, "neither");
    FAILS(revoke(&w, OWNER, NEW), ERR_BAD, "not a member");
    OK(revoke(&w, ADMIN, MEMBER));
    CHECK(member(&w, MEMBER)->revoked);
    FAILS(revoke(&w, ADMIN, MEMBER), ERR_BAD, "not a member");
    FAILS(change(&w, ADMIN, MEMBER, ROLE_READER), ERR_BAD, "not a member");
    OK(revoke(&w, OWNER, ADMIN));
    FAILS(revoke(&w, ADMIN, READER), ERR_DENIED, "neither");
    OK(add(&w, OWNER, NEW, ROLE_OWNER));
    OK(revoke(&w, NEW, OWNER));
    FAILS(revoke(&w, NEW, NEW), ERR_BAD, "only owner"); /* the other one is revoked */
}

static void test_add_again(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    OK(revoke(&w, OWNER, MEMBER));
    make_card(&w, MEMBER, "fresh", w.dev[OTHER]->tr_pk);
    OK(add(&w, ADMIN, MEMBER, ROLE_READER));
    EQ_U(w.g.nmember, 4);
    const struct member *m = member(&w, MEMBER);
    CHECK(!m->revoked && m->role == ROLE_READER && m->added_n == 3);
    EQ_S(m->card.name, "fresh");
    CHECK(group_by_transport(&w.g, w.dev[OTHER]->tr_pk) == m);
    CHECK(group_by_transport(&w.g, w.dev[MEMBER]->tr_pk) == NULL);
}

static void test_change_role(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    FAILS(change(&w, OWNER, OWNER, ROLE_ADMIN), ERR_BAD, "only owner");
    OK(change(&w, OWNER, OWNER, ROLE_OWNER));
    FAILS(change(&w, ADMIN, OWNER, ROLE_OWNER), ERR_DENIED, "may not make");
    FAILS(change(&w, ADMIN, OWNER, ROLE_ADMIN), ERR_DENIED, "may not change the owner");
    FAILS(change(&w, ADMIN, ADMIN, ROLE_OWNER), ERR_DENIED, "may not make");
    FAILS(change(&w, MEMBER, MEMBER, ROLE_ADMIN), ERR_DENIED, "neither");
    OK(change(&w, ADMIN, MEMBER, ROLE_ADMIN));
    OK(change(&w, MEMBER, ADMIN, ROLE_READER));
    FAILS(change(&w, ADMIN, ADMIN, ROLE_MEMBER), ERR_DENIED, "neither");
    OK(change(&w, OWNER, MEMBER, ROLE_OWNER));
    OK(change(&w, OWNER, OWNER, ROLE_MEMBER));
    EQ_U(member(&w, OWNER)->role, ROLE_MEMBER);
    FAILS(change(&w, MEMBER, MEMBER, ROLE_MEMBER), ERR_BAD, "only owner");
}

/* In order, each judged by what the ones before it did; all or none. */
static void test_several_operations(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    struct ctl_op give_up[] = { op_role(&w, ADMIN, ROLE_MEMBER), op_revoke(&w, READER) };
    FAILS(apply(&w, ADMIN, give_up, 2), ERR_DENIED, "control record 2: device");
    struct ctl_op wrong_order[] = { op_role(&w, OWNER, ROLE_ADMIN), op_role(&w, MEMBER, ROLE_OWNER) };
    FAILS(apply(&w, OWNER, wrong_order, 2), ERR_BAD, "only owner");
    struct ctl_op twice[] = { op_add(&w, NEW, ROLE_MEMBER), op_add(&w, OTHER, ROLE_MEMBER), op_add(&w, NEW, ROLE_MEMBER) };
    FAILS(apply(&w, OWNER, twice, 3), ERR_BAD, "already");
    CHECK(member(&w, OTHER) == NULL);
    struct ctl_op hand_over[] = { op_role(&w, MEMBER, ROLE_OWNER), op_revoke(&w, OWNER) };
    OK(apply(&w, OWNER, hand_over, 2));
    CHECK(member(&w, MEMBER)->role == ROLE_OWNER && member(&w, OWNER)->revoked);
}

static void test_chain(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    FAILS(group_apply(&w.g, &w.ctl), ERR_EXISTS, "already");
    struct ctl c = w.ctl;
    c.hash.b[0] ^= 1;
    FAILS(group_apply(&w.g, &c), ERR_BAD, "contradicts");
    OK(revoke(&w, OWNER, READER));
    FAILS(group_apply(&w.g, &c), ERR_EXISTS, "already");

    c = w.ctl;
    c.n = w.g.ctl_n + 2;
    FAILS(group_apply(&w.g, &c), ERR_AGAIN, "missing");
    c.n = w.g.ctl_n + 1;
    FAILS(group_apply(&w.g, &c), ERR_BAD, "does not continue");
    c.prev = w.g.ctl_hash;
    c.group.b[0] ^= 1;
    FAILS(group_apply(&w.g, &c), ERR_BAD, "another group");
}

static void test_other_operations(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    struct ctl_op ops[] = {
        { .type = OP_REQUIRE, .text = { (const uint8_t *)"use it", 6 }, .mode = REQUIRE_AUTO },
        { .type = OP_CANCEL },
        { .type = OP_DORMANT, .dev = w.dev[MEMBER]->dev },
        { .type = OP_RELAY, .text = { (const uint8_t *)"https://r.example", 17 } },
        { .type = OP_POLICY },
    };
    size_t n = sizeof ops / sizeof *ops;
    for (size_t i = 0; i < n; i++) {
        FAILS(apply(&w, MEMBER, &ops[i], 1), ERR_DENIED, "neither");
        OK(apply(&w, ADMIN, &ops[i], 1));
    }
    AUTO(buf_release) struct buf keys = BUF_INIT(1000);
    mp_put_array(&keys, 1);
    mp_put_array(&keys, 2);
    mp_put_bin(&keys, w.dev[OWNER]->dev.b, ID_LEN);
    mp_put_bin(&keys, sealed, sizeof sealed);
    struct ctl_op epoch = { .type = OP_EPOCH, .epoch = 2, .keys = bytes_of(&keys) };
    FAILS(apply(&w, READER, &epoch, 1), ERR_DENIED, "neither");
    OK(apply(&w, OWNER, &epoch, 1));
    EQ_U(w.g.nmember, 4);
}

static void test_names(void)
{
    AUTO(world_release) struct world w;
    world_init(&w);
    make_card(&w, ADMIN, "dev0", w.dev[ADMIN]->tr_pk);
    make_card(&w, MEMBER, "dev0-3", w.dev[MEMBER]->tr_pk);
    make_card(&w, READER, "dev0", w.dev[READER]->tr_pk);
    make_card(&w, NEW, "dev0", w.dev[NEW]->tr_pk);
    for (unsigned i = ADMIN; i <= NEW; i++)
        OK(add(&w, OWNER, i, ROLE_MEMBER));
    EQ_S(member(&w, OWNER)->card.name, "dev0");
    EQ_S(member(&w, ADMIN)->card.name, "dev0-2");
    EQ_S(member(&w, MEMBER)->card.name, "dev0-3");
    EQ_S(member(&w, READER)->card.name, "dev0-4");
    EQ_S(member(&w, NEW)->card.name, "dev0-5");
    CHECK(group_by_name(&w.g, "dev0-4") == member(&w, READER));
    CHECK(group_by_name(&w.g, "dev0") == member(&w, OWNER));
    CHECK(group_by_name(&w.g, "dev") == NULL);
    CHECK(group_by_name(&w.g, "") == NULL);
    OK(revoke(&w, OWNER, READER)); /* keeps its name, and gets it again */
    OK(add(&w, OWNER, READER, ROLE_MEMBER));
    EQ_S(member(&w, READER)->card.name, "dev0-4");
}

static int name(struct world *w, unsigned signer, unsigned dev, const char *text)
{
    struct ctl_op op = op_name(w, dev, text);
    return apply(w, signer, &op, 1);
}

static void test_new_names(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    OK(name(&w, ADMIN, MEMBER, "shed"));
    EQ_S(member(&w, MEMBER)->card.name, "shed");
    CHECK(group_by_name(&w.g, "shed") == member(&w, MEMBER) && !group_by_name(&w.g, "dev2"));
    OK(name(&w, ADMIN, READER, "shed"));             /* taken */
    EQ_S(member(&w, READER)->card.name, "shed-2");
    OK(name(&w, ADMIN, MEMBER, "shed"));             /* by itself */
    EQ_S(member(&w, MEMBER)->card.name, "shed");
    OK(add(&w, ADMIN, NEW, ROLE_MEMBER));            /* the old name is free */
    OK(name(&w, ADMIN, NEW, "dev2"));
    EQ_S(member(&w, NEW)->card.name, "dev2");
    FAILS(name(&w, ADMIN, OWNER, "x"), ERR_DENIED, "may not change the owner");
    FAILS(name(&w, MEMBER, MEMBER, "x"), ERR_DENIED, "neither");
    FAILS(name(&w, OWNER, OTHER, "x"), ERR_BAD, "not a member");
    OK(name(&w, OWNER, OWNER, "boss"));
    OK(revoke(&w, OWNER, MEMBER));
    CHECK(id_eq(&member(&w, MEMBER)->revoked_by, &w.dev[OWNER]->dev));
    FAILS(name(&w, OWNER, MEMBER, "x"), ERR_BAD, "not a member");
    OK(name(&w, OWNER, NEW, "shed"));                /* names of revoked devices stay theirs */
    EQ_S(member(&w, NEW)->card.name, "shed-3");
    CHECK(group_is_last_owner(&w.g, member(&w, OWNER)) && !group_is_last_owner(&w.g, member(&w, ADMIN)));
}

/* The longest names, of two-byte characters: the suffix replaces whole characters. */
static void test_long_names(void)
{
    AUTO(world_release) struct world w;
    world_init(&w);
    char name[LIMIT_DEVICE_NAME + 1], expected[LIMIT_DEVICE_NAME + 1];
    for (size_t i = 0; i < LIMIT_DEVICE_NAME; i += 2)
        memcpy(name + i, "\xc3\xa4", 3);
    memcpy(expected, name, LIMIT_DEVICE_NAME - 2);
    memcpy(expected + LIMIT_DEVICE_NAME - 2, "-2", 3);
    for (unsigned i = ADMIN; i <= MEMBER; i++) {
        make_card(&w, i, name, w.dev[i]->tr_pk);
        OK(add(&w, OWNER, i, ROLE_MEMBER));
    }
    EQ_S(member(&w, MEMBER)->card.name, expected);
    name[0] = 'a'; /* one byte, 31 characters of two, one byte: the cut would fall into a character */
    for (size_t i = 1; i < LIMIT_DEVICE_NAME - 1; i += 2)
        memcpy(name + i, "\xc3\xa4", 2);
    name[LIMIT_DEVICE_NAME - 1] = 'z';
    for (unsigned i = READER; i <= NEW; i++) {
        make_card(&w, i, name, w.dev[i]->tr_pk);
        OK(add(&w, OWNER, i, ROLE_MEMBER));
    }
    memcpy(expected, name, LIMIT_DEVICE_NAME);
    memcpy(expected + LIMIT_DEVICE_NAME - 3, "-2", 3);
    EQ_S(member(&w, NEW)->card.name, expected);
    OK(device_name_check(expected));
}

static void test_names_by_id(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    char hex[ID_HEX];
    id_hex(&w.dev[MEMBER]->dev, hex);
    CHECK(group_by_name(&w.g, hex) == member(&w, MEMBER));
    make_card(&w, NEW, hex, w.dev[NEW]->tr_pk); /* calls itself as another's whole id */
    OK(add(&w, OWNER, NEW, ROLE_MEMBER));
    CHECK(group_by_name(&w.g, hex) == member(&w, MEMBER));
    hex[20] = '\0';
    CHECK(group_by_name(&w.g, hex) == member(&w, MEMBER));
    hex[3] = '\0';
    CHECK(group_by_name(&w.g, hex) == NULL);
    id_hex(&w.dev[MEMBER]->dev, hex);
    hex[12] = '\0';
    make_card(&w, OTHER, hex, w.dev[OTHER]->tr_pk); /* or its beginning: then that fits both */
    OK(add(&w, OWNER, OTHER, ROLE_MEMBER));
    CHECK(group_by_name(&w.g, hex) == NULL);
}

/* ---- random records: the invariants hold, and a replay of the accepted ones gives the same group ---- */

static void same_member(const struct member *a, const struct member *b)
{
    CHECK(id_eq(&a->card.dev, &b->card.dev));
    EQ_MEM(a->card.tr_pk, b->card.tr_pk, 32);
    EQ_S(a->card.name, b->card.name);
    CHECK(a->role == b->role && a->revoked == b->revoked && a->added_n == b->added_n && a->added_ms == b->added_ms);
}

static void check_invariants(const struct group *g)
{
    size_t owners = 0;
    for (size_t i = 0; i < g->nmember; i++) {
        const struct member *m = &g->member[i];
        owners += m->role == ROLE_OWNER && !m->revoked;
        CHECK(group_find(g, &m->card.dev) == m);
        CHECK(group_by_transport(g, m->card.tr_pk) == m);
        CHECK(group_by_name(g, m->card.name) == m);
        OK(device_name_check(m->card.name));
    }
    CHECK(owners > 0);
}

static struct ctl_op random_op(struct world *w, uint64_t *seed)
{
    unsigned dev = (unsigned)(t_rand(seed) % DEVICES);
    enum role role = (enum role)(ROLE_OWNER + t_rand(seed) % 4);
    static const char *const names[] = { "dev0", "twin", "dev1-2", "x" };
    switch (t_rand(seed) % 4) {
    case 0: return op_revoke(w, dev);
    case 3: return op_name(w, dev, names[t_rand(seed) % 4]);
    case 1: return op_role(w, dev, role);
    default: return op_add(w, dev, role);
    }
}

static void test_random_records(void)
{
    AUTO(world_release) struct world w;
    world_init(&w);
    AUTO(group_release) struct group replica = {0};
    OK(group_init(&replica, w.genesis.data, w.genesis.len));
    uint64_t seed = 10;
    for (unsigned i = ADMIN; i < DEVICES; i++)
        make_card(&w, i, i % 2 ? "twin" : "dev0", w.dev[i % 5 ? i : 2]->tr_pk);
    for (int i = 0; i < 1500; i++) {
        struct ctl_op ops[3];
        size_t n = t_rand(&seed) % 4 ? 1 : 1 + t_rand(&seed) % 3;
        for (size_t k = 0; k < n; k++)
            ops[k] = random_op(&w, &seed);
        unsigned signer;
        bool may;
        do { /* mostly one who may */
            signer = (unsigned)(t_rand(&seed) % DEVICES);
            const struct member *m = member(&w, signer);
            may = m && !m->revoked && role_may_admin(m->role);
        } while (!may && t_rand(&seed) % 8);
        int r = apply(&w, signer, ops, n);
        CHECK(may || r == ERR_DENIED);
        EQ_I(group_apply(&replica, &w.ctl), r);
        check_invariants(&w.g);
        EQ_U(replica.nmember, w.g.nmember);
        for (size_t k = 0; k < replica.nmember; k++)
            same_member(&replica.member[k], &w.g.member[k]);
    }
    CHECK(w.g.ctl_n > 100);
}

/* Whoever is to be revoked must not be able to fill what that has to be written to. */
static void test_admins_leave_room(void)
{
    AUTO(world_release) struct world w;
    AUTO(buf_release) struct buf much = BUF_INIT(LIMIT_CTL_BYTES);
    AUTOFREE uint8_t *zero = xcalloc(60000, 1);
    world_of_four(&w);
    mp_put_map(&much, 1);
    mp_put_str(&much, "x");
    mp_put_bin(&much, zero, 60000);
    struct ctl_op policy = { .type = OP_POLICY, .policy = bytes_of(&much) };
    for (int i = 0; i < 34; i++) {
        OK(apply(&w, ADMIN, &policy, 1));
        OK(apply(&w, OWNER, &policy, 1));        /* counts for nobody */
    }
    FAILS(apply(&w, ADMIN, &policy, 1), ERR_DENIED, "records of admins");
    OK(add(&w, ADMIN, NEW, ROLE_ADMIN));
    FAILS(apply(&w, NEW, &policy, 1), ERR_DENIED, "records of admins");
    OK(revoke(&w, OWNER, ADMIN));
    size_t n = w.g.nmember;
    w.g.member = xrealloc(w.g.member, LIMIT_MEMBERS / 2, sizeof *w.g.member);
    w.g.nmember = LIMIT_MEMBERS / 2;
    memset(w.g.member + n, 0, (w.g.nmember - n) * sizeof *w.g.member);
    FAILS(add(&w, NEW, OTHER, ROLE_MEMBER), ERR_DENIED, "an owner must");
    OK(add(&w, OWNER, OTHER, ROLE_MEMBER));
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_genesis);
    RUN(test_roles);
    RUN(test_add);
    RUN(test_transport_keys);
    RUN(test_revoke);
    RUN(test_add_again);
    RUN(test_change_role);
    RUN(test_several_operations);
    RUN(test_chain);
    RUN(test_other_operations);
    RUN(test_names);
    RUN(test_new_names);
    RUN(test_long_names);
    RUN(test_names_by_id);
    RUN(test_random_records);
    RUN(test_admins_leave_room);
    return t_done();
}

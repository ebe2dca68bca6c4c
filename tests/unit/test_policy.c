/* The policies of a group: what records make of them, and what they mean. */
#include "proto/policy.h"

#include "tests/unit/t_group.h"

/* A record with one key: the text as a person writes it, or an object. NULL: nil. */
static int put(struct world *w, const char *key, const char *text, const struct buf *object)
{
    AUTO(buf_release) struct buf map = BUF_INIT(LIMIT_CTL_BYTES);
    mp_put_map(&map, 1);
    mp_put_str(&map, key);
    if (text)
        OK(policy_parse(policy_find(key), text, &map));
    else if (object)
        buf_add(&map, object->data, object->len);
    else
        mp_put_nil(&map);
    struct ctl_op op = { .type = OP_POLICY, .policy = bytes_of(&map) };
    int r = apply(w, ADMIN, &op, 1);
    if (r == 0)
        EQ_I(group_op_now(&w->g, &op), OP_IS_SO);
    return r;
}

static uint32_t count(const struct world *w)
{
    uint32_t n;
    (void)group_policies(&w->g, &n);
    return n;
}

static void test_set_and_taken_away(void)
{
    AUTO(world_release) struct world w;
    world_of_four(&w);
    struct id none = group_policies_id(&w.g);
    CHECK(policy_number(&w.g, "max_file_size") == 0 && policy_number(&w.g, "require.override") == 1 && policy_text(&w.g, "ignore").len == 0);
    OK(put(&w, "max_file_size", "3K", NULL));
    OK(put(&w, "ignore", "*.o\n", NULL));
    OK(put(&w, "require.override", "false", NULL));
    CHECK(count(&w) == 3 && policy_number(&w.g, "max_file_size") == 3072 && policy_number(&w.g, "require.override") == 0);
    CHECK(policy_text(&w.g, "ignore").len == 4 && !id_eq(&none, &(struct id[]){ group_policies_id(&w.g) }[0]));
    OK(put(&w, "max_file_size", "4", NULL));
    CHECK(count(&w) == 3 && policy_number(&w.g, "max_file_size") == 4);
    OK(put(&w, "max_file_size", NULL, NULL));
    OK(put(&w, "max_file_size", NULL, NULL));
    OK(put(&w, "ignore", NULL, NULL));
    OK(put(&w, "require.override", NULL, NULL));
    CHECK(count(&w) == 0 && policy_number(&w.g, "max_file_size") == 0 && id_eq(&none, &(struct id[]){ group_policies_id(&w.g) }[0]));
}

/* Several keys in one record, between those that are there. */
static void test_one_record_sets_many(void)
{
    AUTO(world_release) struct world w;
    AUTO(buf_release) struct buf map = BUF_INIT(1000);
    world_of_four(&w);
    OK(put(&w, "history.min_days", "7", NULL));
    OK(put(&w, "require.modes", "auto", NULL));
    mp_put_map(&map, 3);
    mp_put_str(&map, "a"), mp_put_u64(&map, 1);
    mp_put_str(&map, "history.min_days"), mp_put_nil(&map);
    mp_put_str(&map, "zzz"), mp_put_u64(&map, 2);
    struct ctl_op op = { .type = OP_POLICY, .policy = bytes_of(&map) };
    EQ_I(group_op_now(&w.g, &op), OP_IS_OPEN);
    OK(apply(&w, OWNER, &op, 1));
    EQ_I(group_op_now(&w.g, &op), OP_IS_SO);
    uint32_t n;
    struct mp m = group_policies(&w.g, &n);
    EQ_U(n, 3);
    for (const char *const *key = (const char *const[]){ "a", "require.modes", "zzz", NULL }; *key; key++) {
        struct bytes k = mp_str(&m, 100);
        (void)mp_skip(&m);
        CHECK(k.len == strlen(*key) && memcmp(k.p, *key, k.len) == 0);
    }
    CHECK(policy_allows(&w.g, REQUIRE_AUTO) && !policy_allows(&w.g, REQUIRE_PROMPT) && policy_number(&w.g, "history.min_days") == 0);
    FAILS(apply(&w, MEMBER, &op, 1), ERR_DENIED, "neither");
}

/* What this version cannot read has no effect, and stays. */
static void test_values_of_a_later_version(void)
{
    AUTO(world_release) struct world w;
    AUTO(buf_release) struct buf object = BUF_INIT(100);
    world_of_four(&w);
    mp_put_array(&object, 1);
    mp_put_u64(&object, 5);
    OK(put(&w, "max_file_size", NULL, &object));
    OK(put(&w, "require.modes", NULL, &object));
    CHECK(count(&w) == 2 && policy_number(&w.g, "max_file_size") == 0 && policy_allows(&w.g, REQUIRE_STRICT));
}

static void test_described(void)
{
    AUTO(buf_release) struct buf map = BUF_INIT(1000), text = BUF_INIT(1000);
    mp_put_map(&map, 5);
    mp_put_str(&map, "a"), mp_put_u64(&map, 3072);
    mp_put_str(&map, "b"), mp_put_nil(&map);
    mp_put_str(&map, "c"), mp_put_bool(&map, true);
    mp_put_str(&map, "d"), mp_put_str(&map, "*.o\n");
    mp_put_str(&map, "e"), mp_put_array(&map, 1), mp_put_u64(&map, 1);
    struct bytes raw = bytes_of(&map);
    policy_describe(&text, &raw);
    buf_add(&text, "", 1);
    EQ_S((const char *)text.data, "a 3072, b none, c true, d, e");
}

static void test_not_without_end(void)
{
    AUTO(world_release) struct world w;
    AUTO(buf_release) struct buf one = BUF_INIT(100), long_one = BUF_INIT(LIMIT_POLICY_BYTES * 2);
    world_of_four(&w);
    mp_put_u64(&one, 1);
    for (unsigned i = 0; i < LIMIT_POLICIES; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%u", i);
        OK(put(&w, key, NULL, &one));
    }
    FAILS(put(&w, "one more", NULL, &one), ERR_FULL, "at most");
    OK(put(&w, "key0", NULL, NULL));
    OK(put(&w, "one more", NULL, &one));
    AUTOFREE char *text = xcalloc(LIMIT_POLICY_BYTES + 1, 1);
    memset(text, 'x', LIMIT_POLICY_BYTES);
    mp_put_str(&long_one, text);
    FAILS(put(&w, "key1", NULL, &long_one), ERR_FULL, "at most");
    EQ_U(count(&w), LIMIT_POLICIES);
}

static int parse(const char *key, const char *text)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_BYTES);
    int r = policy_parse(policy_find(key), text, &b);
    CHECK(r == 0 || b.len == 0);
    return r;
}

static void test_what_people_write(void)
{
    for (const struct policy_key *k = policy_keys; k->key; k++)
        OK(parse(k->key, k->def));
    OK(parse("max_file_size", "64T"));
    OK(parse("require.modes", "strict,auto"));
    FAILS(parse("max_file_size", "65T"), ERR_USAGE, "at most 64T");
    FAILS(parse("max_file_size", "1X"), ERR_USAGE, "bytes");
    FAILS(parse("max_file_size", "1KK"), ERR_USAGE, "bytes");
    FAILS(parse("max_file_size", "-1"), ERR_USAGE, "bytes");
    FAILS(parse("max_file_size", "18446744073709551617"), ERR_USAGE, "bytes");
    FAILS(parse("history.min_days", "36501"), ERR_USAGE, "0 to 36500");
    FAILS(parse("history.min_days", "1K"), ERR_USAGE, "whole number");
    FAILS(parse("require.modes", ""), ERR_USAGE, "commas");
    FAILS(parse("require.modes", "auto,"), ERR_USAGE, "commas");
    FAILS(parse("require.modes", "auto,auto"), ERR_USAGE, "commas");
    FAILS(parse("require.override", "1"), ERR_USAGE, "true or false");
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_set_and_taken_away);
    RUN(test_one_record_sets_many);
    RUN(test_values_of_a_later_version);
    RUN(test_described);
    RUN(test_not_without_end);
    RUN(test_what_people_write);
    return t_done();
}

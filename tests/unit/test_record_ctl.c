/* Control log records and their operations. */
#include "tests/unit/t_record.h"

enum { OPS = OP_RECOVERY };              /* types of operations */

static struct device_keys *dev;
static struct id group;
static struct buf card;              /* a signed card, of another device */
static uint8_t sealed[SEALED_KEYS];

/* ---- operations: the smallest valid one of each type, as the fields behind the type ---- */

static void cut_raw(struct buf *b, uint8_t sid, uint64_t seq, uint8_t hash)
{
    struct cut c = { t_sid(sid), seq, t_id(hash) };
    cut_put(b, &c);
}
static void cuts_raw(struct buf *b)
{
    mp_put_array(b, 2);
    cut_raw(b, 1, 0, 0);
    cut_raw(b, 2, 9, 9);
}
static void keys_raw(struct buf *b)
{
    struct id a = t_id(1), c = t_id(2);
    mp_put_array(b, 2);
    epoch_key_put(b, &a, sealed);
    epoch_key_put(b, &c, sealed);
}
static void add_make(struct shape *s)
{
    mp_put_bin(shape_add(s), card.data, card.len);
    mp_put_u64(shape_add(s), ROLE_MEMBER);
    mp_put_bin(shape_add(s), sealed, sizeof sealed);
}
static void revoke_make(struct shape *s)
{
    mp_put_bin(shape_add(s), t_id(3).b, ID_LEN);
    cuts_raw(shape_add(s));
}
static void role_make(struct shape *s)
{
    mp_put_bin(shape_add(s), t_id(3).b, ID_LEN);
    mp_put_u64(shape_add(s), ROLE_READER);
    cuts_raw(shape_add(s));
}
static void epoch_make(struct shape *s)
{
    mp_put_u64(shape_add(s), 1);
    keys_raw(shape_add(s));
}
/* Two devices, in this order; 0: none. */
static void to_raw(struct buf *b, uint8_t first, uint8_t second)
{
    mp_put_array(b, (first ? 1u : 0u) + (second ? 1u : 0u));
    if (first)
        mp_put_bin(b, t_id(first).b, ID_LEN);
    if (second)
        mp_put_bin(b, t_id(second).b, ID_LEN);
}
static void require_make(struct shape *s)
{
    mp_put_bin(shape_add(s), t_id(3).b, 16);
    cuts_raw(shape_add(s));
    mp_put_str(shape_add(s), "take the plan of Monday");
    mp_put_u64(shape_add(s), REQUIRE_AUTO);
    mp_put_u64(shape_add(s), 0);
    to_raw(shape_add(s), 1, 2);
}
static void cancel_make(struct shape *s)
{
    mp_put_bin(shape_add(s), t_id(3).b, 16);
}
static void dormant_make(struct shape *s)
{
    mp_put_bin(shape_add(s), t_id(3).b, ID_LEN);
}
static void relay_make(struct shape *s)
{
    mp_put_str(shape_add(s), "tcp://relay.example.org:7447");
    mp_put_bin(shape_add(s), t_id(3).b, 32);
}
static void policy_make(struct shape *s)
{
    struct buf *b = shape_add(s);
    mp_put_map(b, 2);
    mp_put_str(b, "keep");
    mp_put_array(b, 1);
    mp_put_u64(b, 30);
    mp_put_str(b, "keeps");
    mp_put_nil(b);
}
static void name_make(struct shape *s)
{
    mp_put_bin(shape_add(s), t_id(3).b, ID_LEN);
    mp_put_str(shape_add(s), "K\xc3\xbc" "che");
}
static void recovery_make(struct shape *s)
{
    mp_put_bin(shape_add(s), t_id(3).b, ID_LEN);
}

static int ctl_bytes(const void *p, size_t n)
{
    struct ctl c;
    return ctl_decode(p, n, &c);
}

/* The fields of a record with the given ops in it. */
static void ctl_fields(struct shape *s, const struct buf *ops)
{
    mp_put_u64(shape_add(s), 1);
    mp_put_bin(shape_add(s), group.b, ID_LEN);
    mp_put_u64(shape_add(s), 4);
    mp_put_bin(shape_add(s), t_id(8).b, ID_LEN);
    mp_put_u64(shape_add(s), 1700000000000);
    mp_put_bin(shape_add(s), dev->dev.b, ID_LEN);
    buf_add(shape_add(s), ops->data, ops->len);
}
static int ctl_shape(const struct shape *s, size_t n)
{
    AUTO(buf_release) struct buf rec = BUF_INIT(1u << 20), blob = BUF_INIT(1u << 20);
    shape_put(&rec, s, n);
    signed_put(&blob, "lanyard-ctl-1", rec.data, rec.len, dev);
    return ctl_bytes(blob.data, blob.len);
}
static int op_shape(uint64_t type, const struct shape *op, size_t n)
{
    AUTO(buf_release) struct buf ops = BUF_INIT(1u << 20);
    struct shape s = { 0 };
    mp_put_array(&ops, 1);
    mp_put_array(&ops, n + 1);
    mp_put_u64(&ops, type);
    for (size_t i = 0; i < n; i++)
        buf_add(&ops, op->field[i].data, op->field[i].len);
    ctl_fields(&s, &ops);
    int code = ctl_shape(&s, s.n);
    shape_release(&s);
    return code;
}
#define SUBJECT(name, type) \
    static int name##_shape(const struct shape *s, size_t n) { return op_shape(type, s, n); } \
    static const struct subject name = { name##_make, name##_shape };
SUBJECT(add, OP_ADD)
SUBJECT(revoke, OP_REVOKE)
SUBJECT(role, OP_ROLE)
SUBJECT(epoch, OP_EPOCH)
SUBJECT(require, OP_REQUIRE)
SUBJECT(cancel, OP_CANCEL)
SUBJECT(dormant, OP_DORMANT)
SUBJECT(relay, OP_RELAY)
SUBJECT(policy, OP_POLICY)
SUBJECT(name, OP_NAME)
SUBJECT(recovery, OP_RECOVERY)

static void ctl_make(struct shape *s)
{
    AUTO(buf_release) struct buf ops = BUF_INIT(1000);
    mp_put_array(&ops, 1);
    mp_put_array(&ops, 2);
    mp_put_u64(&ops, OP_DORMANT);
    mp_put_bin(&ops, t_id(3).b, ID_LEN);
    ctl_fields(s, &ops);
}
static const struct subject ctl = { ctl_make, ctl_shape };

static void dormants(struct buf *b, size_t n)
{
    mp_put_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mp_put_array(b, 2);
        mp_put_u64(b, OP_DORMANT);
        mp_put_bin(b, t_id(3).b, ID_LEN);
    }
}

static void test_ctl_rules(void)
{
    t_shape_rules(&ctl, "control record");
    BAD(ctl, 0, mp_put_u64(b, 2), "control record: format");
    BAD(ctl, 1, mp_put_bin(b, ID_NONE.b, 32), "control record: group_id");
    BAD(ctl, 2, mp_put_u64(b, 0), "control record: n");
    BAD(ctl, 2, mp_put_u64(b, LIMIT_SEQ + 1), "control record: n");
    BAD(ctl, 2, mp_put_u64(b, 1), "control record: prev");             /* the first continues the genesis */
    BAD(ctl, 3, mp_put_bin(b, group.b, 32), "control record: prev");   /* and no other does */
    BAD(ctl, 3, mp_put_bin(b, ID_NONE.b, 32), "control record: prev");
    BAD(ctl, 4, mp_put_u64(b, RECORD_MS_MAX + 1), "control record: ts_ms");
    BAD(ctl, 5, mp_put_bin(b, ID_NONE.b, 32), "control record: signer");
    BAD(ctl, 6, mp_put_array(b, 0), "control record: ops");
    BAD(ctl, 6, dormants(b, LIMIT_CTL_OPS + 1), "control record: ops");
    GOOD(ctl, 6, dormants(b, LIMIT_CTL_OPS));
    BAD(ctl, 6, (mp_put_array(b, 1), mp_put_array(b, 0)), "control record: op");
    BAD(ctl, 6, (mp_put_array(b, 1), mp_put_u64(b, 1)), "control record: op");
    BAD(ctl, 6, (mp_put_array(b, 1), mp_put_array(b, 1), mp_put_u64(b, 0)), "control record: op type");
    BAD(ctl, 6, (mp_put_array(b, 1), mp_put_array(b, 1), mp_put_u64(b, OPS + 1)), "control record: op type");
}

static void test_op_fields(void)
{
    static const struct subject *const all[] = { &add, &revoke, &role, &epoch, &require, &cancel, &dormant, &relay, &policy, &name, &recovery };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        t_shape_rules(all[i], "control record: op");
}

static void test_add_and_epoch_rules(void)
{
    struct id a = t_id(1), none = ID_NONE;
    BAD(add, 0, mp_put_bin(b, "card", 4), "control record: ADD card");
    BAD(add, 0, mp_put_nil(b), "ADD card");
    BAD(add, 1, mp_put_u64(b, 0), "ADD role");
    BAD(add, 1, mp_put_u64(b, 5), "ADD role");
    BAD(add, 2, mp_put_bin(b, sealed, sizeof sealed - 1), "ADD sealed");
    BAD(epoch, 0, mp_put_u64(b, 0), "EPOCH epoch");
    BAD(epoch, 0, mp_put_u64(b, LIMIT_SEQ + 1), "EPOCH epoch");
    BAD(epoch, 1, mp_put_array(b, 0), "EPOCH keys");
    BAD(epoch, 1, (mp_put_array(b, 2), epoch_key_put(b, &a, sealed), epoch_key_put(b, &a, sealed)), "EPOCH keys");
    BAD(epoch, 1, (mp_put_array(b, 1), epoch_key_put(b, &none, sealed)), "EPOCH keys");
    BAD(epoch, 1, (mp_put_array(b, 1), mp_put_array(b, 2), mp_put_bin(b, a.b, 32), mp_put_bin(b, sealed, 80)), "EPOCH keys");
    /* a card whose signature is not its device's */
    struct shape s = { 0 };
    add_make(&s);
    s.field[0].data[card.len - 1] ^= 1;
    FAILS(add.decode(&s, s.n), ERR_DENIED, "ADD card: card: signature");
    shape_release(&s);
}

static void test_cut_rules(void)
{
    BAD(revoke, 0, mp_put_bin(b, ID_NONE.b, 32), "REVOKE dev");
    BAD(revoke, 1, mp_put_nil(b), "REVOKE cuts");
    GOOD(revoke, 1, mp_put_array(b, 0));
    BAD(revoke, 1, (mp_put_array(b, 2), cut_raw(b, 2, 1, 1), cut_raw(b, 1, 1, 1)), "REVOKE cuts");
    BAD(revoke, 1, (mp_put_array(b, 2), cut_raw(b, 2, 1, 1), cut_raw(b, 2, 2, 1)), "REVOKE cuts");
    BAD(revoke, 1, (mp_put_array(b, 1), cut_raw(b, 2, 0, 1)), "REVOKE cuts");
    BAD(revoke, 1, (mp_put_array(b, 1), cut_raw(b, 2, 1, 0)), "REVOKE cuts");
    BAD(revoke, 1, (mp_put_array(b, 1), cut_raw(b, 2, LIMIT_SEQ + 1, 1)), "REVOKE cuts");
    BAD(role, 0, mp_put_bin(b, ID_NONE.b, 32), "ROLE dev");
    BAD(role, 1, mp_put_u64(b, 5), "ROLE role");
    BAD(role, 2, (mp_put_array(b, 2), cut_raw(b, 2, 1, 1), cut_raw(b, 1, 1, 1)), "ROLE cuts");
    BAD(require, 0, mp_put_bin(b, "short", 5), "REQUIRE id");
    BAD(require, 1, (mp_put_array(b, 2), cut_raw(b, 2, 1, 1), cut_raw(b, 1, 1, 1)), "REQUIRE min");
}

static void test_other_op_rules(void)
{
    char text[LIMIT_TEXT + 1];
    memset(text, 't', sizeof text);
    BAD(require, 2, mp_put_strn(b, text, sizeof text), "REQUIRE message");
    GOOD(require, 2, mp_put_strn(b, text, LIMIT_TEXT));
    GOOD(require, 2, mp_put_str(b, ""));
    BAD(require, 2, mp_put_str(b, "\x1b]0;x\x07"), "REQUIRE message");
    BAD(require, 3, mp_put_u64(b, 0), "REQUIRE mode");
    BAD(require, 3, mp_put_u64(b, 4), "REQUIRE mode");
    BAD(require, 4, mp_put_u64(b, RECORD_MS_MAX + 1), "REQUIRE until");
    BAD(require, 5, to_raw(b, 2, 1), "REQUIRE to");
    BAD(require, 5, to_raw(b, 2, 2), "REQUIRE to");
    BAD(require, 5, (mp_put_array(b, 1), mp_put_bin(b, "short", 5)), "REQUIRE to");
    GOOD(require, 5, to_raw(b, 0, 0));
    BAD(cancel, 0, mp_put_bin(b, text, 17), "CANCEL id");
    BAD(dormant, 0, mp_put_bin(b, ID_NONE.b, 32), "DORMANT dev");
    BAD(recovery, 0, mp_put_bin(b, text, 31), "RECOVERY pk");
    GOOD(recovery, 0, mp_put_bin(b, ID_NONE.b, 32));
    BAD(name, 0, mp_put_bin(b, ID_NONE.b, 32), "NAME dev");
    BAD(name, 1, mp_put_str(b, ""), "NAME name");
    BAD(name, 1, mp_put_str(b, "a/b"), "NAME name");
    BAD(name, 1, mp_put_str(b, "a\x07"), "NAME name");
    BAD(name, 1, mp_put_strn(b, text, LIMIT_DEVICE_NAME + 1), "NAME name");
    GOOD(name, 1, mp_put_strn(b, text, LIMIT_DEVICE_NAME));
    BAD(relay, 0, mp_put_str(b, ""), "RELAY url");
    BAD(relay, 0, mp_put_strn(b, text, sizeof text), "RELAY url");
    BAD(relay, 1, mp_put_bin(b, text, 31), "RELAY pk");
    BAD(policy, 0, mp_put_array(b, 0), "POLICY map");
    GOOD(policy, 0, mp_put_map(b, 0));
    BAD(policy, 0, (mp_put_map(b, 1), mp_put_u64(b, 1), mp_put_u64(b, 1)), "POLICY key");
    BAD(policy, 0, (mp_put_map(b, 1), mp_put_str(b, ""), mp_put_u64(b, 1)), "POLICY key");
    BAD(policy, 0, (mp_put_map(b, 2), mp_put_str(b, "b"), mp_put_nil(b), mp_put_str(b, "a"), mp_put_nil(b)), "POLICY key");
    BAD(policy, 0, (mp_put_map(b, 2), mp_put_str(b, "a"), mp_put_nil(b), mp_put_str(b, "a"), mp_put_nil(b)), "POLICY key");
    BAD(policy, 0, (mp_put_map(b, 2), mp_put_str(b, "ab"), mp_put_nil(b), mp_put_str(b, "a"), mp_put_nil(b)), "POLICY key");
}

/* ---- every operation, encoded and read back ---- */

static struct ctl sample_ctl(void)
{
    return (struct ctl){ .group = group, .n = 1, .prev = group, .ts_ms = 77, .signer = dev->dev };
}
static struct bytes bytes_of(const struct buf *b)
{
    return (struct bytes){ b->data, b->len };
}
static struct buf cuts_buf, keys_buf, policy_buf, to_buf;

/* One op of every type. */
static void sample_ops(struct ctl_op op[OPS])
{
    struct shape s = { 0 };
    buf_clear(&cuts_buf), buf_clear(&keys_buf), buf_clear(&policy_buf), buf_clear(&to_buf);
    cuts_raw(&cuts_buf);
    keys_raw(&keys_buf);
    to_raw(&to_buf, 4, 9);
    policy_make(&s);
    buf_add(&policy_buf, s.field[0].data, s.field[0].len);
    shape_release(&s);
    op[0] = (struct ctl_op){ .type = OP_ADD, .card = bytes_of(&card), .role = ROLE_ADMIN, .sealed = { sealed, sizeof sealed } };
    op[1] = (struct ctl_op){ .type = OP_REVOKE, .dev = t_id(3), .cuts = bytes_of(&cuts_buf) };
    op[2] = (struct ctl_op){ .type = OP_ROLE, .dev = t_id(4), .role = ROLE_OWNER, .cuts = { 0 } };
    op[3] = (struct ctl_op){ .type = OP_EPOCH, .epoch = 12, .keys = bytes_of(&keys_buf) };
    op[4] = (struct ctl_op){ .type = OP_REQUIRE, .cuts = bytes_of(&cuts_buf), .text = t_str("why"), .mode = REQUIRE_STRICT, .until_ms = 5,
                             .to = bytes_of(&to_buf) };
    op[5] = (struct ctl_op){ .type = OP_CANCEL };
    memset(op[4].require_id, 6, 16);
    memset(op[5].require_id, 7, 16);
    op[6] = (struct ctl_op){ .type = OP_DORMANT, .dev = t_id(5) };
    op[7] = (struct ctl_op){ .type = OP_RELAY, .text = t_str("tcp://r:1") };
    memset(op[7].relay_pk, 8, 32);
    op[8] = (struct ctl_op){ .type = OP_POLICY, .policy = bytes_of(&policy_buf) };
    op[9] = (struct ctl_op){ .type = OP_NAME, .dev = t_id(6), .text = t_str("shed") };
    op[10] = (struct ctl_op){ .type = OP_RECOVERY, .recovery = t_id(7) };
}

static void same_bytes(const struct bytes *a, const struct bytes *b)
{
    EQ_U(b->len, a->len);
    if (a->len > 0)
        EQ_MEM(a->p, b->p, a->len);
}
static void same_op(const struct ctl_op *a, const struct ctl_op *b)
{
    static const uint8_t empty[] = { 0x90 };     /* an empty list is written for no bytes */
    bool no_cuts = a->cuts.len == 0 && b->cuts.len > 0;
    struct bytes cuts = no_cuts ? (struct bytes){ empty, 1 } : a->cuts;
    struct bytes to = a->to.len == 0 && b->to.len > 0 ? (struct bytes){ empty, 1 } : a->to;
    EQ_U(b->type, a->type);
    same_bytes(&a->card, &b->card);
    same_bytes(&a->sealed, &b->sealed);
    same_bytes(&cuts, &b->cuts);
    same_bytes(&a->keys, &b->keys);
    same_bytes(&a->text, &b->text);
    same_bytes(&a->policy, &b->policy);
    same_bytes(&to, &b->to);
    CHECK(a->role == b->role && a->epoch == b->epoch && a->mode == b->mode && a->until_ms == b->until_ms);
    CHECK(id_eq(&a->dev, &b->dev) && id_eq(&a->recovery, &b->recovery));
    EQ_MEM(a->require_id, b->require_id, 16);
    EQ_MEM(a->relay_pk, b->relay_pk, 32);
}

static void test_ctl_round_trip(void)
{
    struct ctl_op ops[OPS], op;
    struct ctl c = sample_ctl(), d;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_BYTES);
    sample_ops(ops);
    OK(ctl_encode(&b, &c, ops, OPS, dev));
    OK(ctl_decode(b.data, b.len, &d));
    CHECK(id_eq(&d.group, &group) && id_eq(&d.prev, &group) && id_eq(&d.signer, &dev->dev) && d.n == 1 && d.ts_ms == 77);
    struct bytes rec;
    const uint8_t *sig;
    OK(signed_split(b.data, b.len, &rec, &sig));
    struct id hash = id_hash(rec.p, rec.len);
    CHECK(id_eq(&hash, &d.hash));
    EQ_U(d.nops, OPS);
    struct mp m = ctl_ops(&d);
    for (int i = 0; i < OPS; i++) {
        ctl_op_next(&m, &op);
        same_op(&ops[i], &op);
    }
    OK(mp_done(&m, "ops"));
    ctl_op_next(&m, &op);                        /* behind the last there is none */
    CHECK(m.failed);
}

static void test_lists(void)
{
    struct ctl_op ops[OPS];
    sample_ops(ops);
    struct mp m = cuts_reader(&ops[1].cuts);
    struct cut c;
    cut_next(&m, &c);
    struct sid one = t_sid(1), two = t_sid(2);
    struct id nine = t_id(9), dev_id;
    CHECK(sid_eq(&c.sid, &one) && c.seq == 0 && id_is_none(&c.hdr_hash));
    cut_next(&m, &c);
    CHECK(sid_eq(&c.sid, &two) && c.seq == 9 && id_eq(&c.hdr_hash, &nine));
    OK(mp_done(&m, "cuts"));
    m = cuts_reader(&ops[2].cuts);               /* no bytes: nothing to read, and not a failure */
    OK(mp_done(&m, "cuts"));
    m = epoch_keys_reader(&ops[3].keys);
    struct bytes box;
    epoch_key_next(&m, &dev_id, &box);
    epoch_key_next(&m, &dev_id, &box);
    nine = t_id(2);
    CHECK(id_eq(&dev_id, &nine) && box.len == SEALED_KEYS);
    OK(mp_done(&m, "keys"));
}

static void test_ctl_bytes(void)
{
    struct ctl_op ops[OPS];
    struct ctl c = sample_ctl();
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_BYTES);
    sample_ops(ops);
    OK(ctl_encode(&b, &c, ops, OPS, dev));
    t_truncations(ctl_bytes, &b);
    t_flips(ctl_bytes, &b);
}

static void test_ctl_encode_refuses(void)
{
    struct ctl_op ops[OPS];
    struct ctl c = sample_ctl();
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_BYTES);
    sample_ops(ops);
    c.prev = t_id(1);
    FAILS(ctl_encode(&b, &c, ops, OPS, dev), ERR_BAD, "control record: prev");
    c = sample_ctl();
    FAILS(ctl_encode(&b, &c, ops, 0, dev), ERR_BAD, "control record: ops");
    ops[1].cuts.len--;
    CHECK(ctl_encode(&b, &c, ops + 1, 1, dev) == ERR_BAD);
    EQ_U(b.len, 0);
}

static void test_roles(void)
{
    enum role r;
    EQ_S(role_name(ROLE_OWNER), "owner");
    EQ_S(role_name(ROLE_READER), "reader");
    OK(role_parse("admin", &r));
    EQ_U(r, ROLE_ADMIN);
    FAILS(role_parse("king", &r), ERR_USAGE, "king");
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    dev = t_device(1);
    group = t_id(0x47);
    struct device_keys *other = t_device(2);
    struct card c = { .dev = other->dev, .name = "other", .created_ms = 1 };
    memcpy(c.tr_pk, other->tr_pk, 32);
    card = cuts_buf = keys_buf = policy_buf = (struct buf)BUF_INIT(10000);
    int made = card_encode(&card, &c, other);
    RUN(test_ctl_rules);
    RUN(test_op_fields);
    RUN(test_add_and_epoch_rules);
    RUN(test_cut_rules);
    RUN(test_other_op_rules);
    RUN(test_ctl_round_trip);
    RUN(test_lists);
    RUN(test_ctl_bytes);
    RUN(test_ctl_encode_refuses);
    RUN(test_roles);
    buf_release(&card), buf_release(&cuts_buf), buf_release(&keys_buf), buf_release(&policy_buf);
    device_keys_free(&other);
    device_keys_free(&dev);
    return made < 0 || t_done();
}

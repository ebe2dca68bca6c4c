#include "proto/record.h"

#include <assert.h>
#include <string.h>

#include "proto/field.h"
#include "proto/record_sign.h"

#define CTL_CONTEXT "lanyard-ctl-1"
#define KEY_MAX     255u   /* bytes of a policy's name */
#define OP_LAST     OP_RECOVERY

static const char *const role_names[] = { [ROLE_OWNER] = "owner", "admin", "member", "reader" };

const char *role_name(enum role r)
{
    assert(r >= ROLE_OWNER && r <= ROLE_READER);
    return role_names[r];
}

int role_parse(const char *s, enum role *out)
{
    for (enum role r = ROLE_OWNER; r <= ROLE_READER; r++) {
        if (strcmp(s, role_names[r]) == 0) {
            *out = r;
            return 0;
        }
    }
    return err_set(ERR_USAGE, "there is no role %s: choose owner, admin, member or reader", s);
}

const char *require_mode_name(enum require_mode m)
{
    static const char *const names[] = { [REQUIRE_PROMPT] = "prompt", "auto", "strict" };
    assert(m >= REQUIRE_PROMPT && m <= REQUIRE_STRICT);
    return names[m];
}

/* ---- lists inside operations ---- */

static void cut_read(struct field *f, const char *name, struct cut *c)
{
    field_tuple(f, name, 3);
    field_fixed(f, name, c->sid.b, SID_LEN);
    c->seq = field_u64(f, name, 0, LIMIT_SEQ);
    field_id_or_none(f, name, &c->hdr_hash);
    field_rule(f, (c->seq == 0) == id_is_none(&c->hdr_hash), name, "a hash belongs to every number but 0");
}

static void cuts_read(struct field *f, const char *name, struct ctl_op *op)
{
    const uint8_t *start = f->m.p;
    uint32_t n = field_list(f, name, 0, LIMIT_STREAMS);
    struct cut before = { 0 }, c;
    for (uint32_t i = 0; i < n && !f->code; i++) {
        cut_read(f, name, &c);
        field_rule(f, i == 0 || sid_cmp(&before.sid, &c.sid) < 0, name, "not sorted by stream, or a stream twice");
        before = c;
    }
    op->cuts = (struct bytes){ start, (size_t)(f->m.p - start) };
    op->ncuts = n;
}

static void epoch_key_read(struct field *f, struct id *dev, struct bytes *sealed)
{
    field_tuple(f, "EPOCH keys", 2);
    field_id(f, "EPOCH keys", dev);
    *sealed = field_bin(f, "EPOCH keys", SEALED_KEYS, SEALED_KEYS);
}

static void epoch_keys_read(struct field *f, struct ctl_op *op)
{
    const uint8_t *start = f->m.p;
    uint32_t n = field_list(f, "EPOCH keys", 1, LIMIT_MEMBERS);
    struct id before = ID_NONE, dev;
    struct bytes sealed;
    for (uint32_t i = 0; i < n && !f->code; i++) {
        epoch_key_read(f, &dev, &sealed);
        field_rule(f, id_cmp(&before, &dev) < 0, "EPOCH keys", "not sorted by device, or a device twice");
        before = dev;
    }
    op->keys = (struct bytes){ start, (size_t)(f->m.p - start) };
    op->nkeys = n;
}

static void to_read(struct field *f, struct ctl_op *op)
{
    const uint8_t *start = f->m.p;
    struct id before = ID_NONE, dev;
    op->nto = field_list(f, "REQUIRE to", 0, LIMIT_MEMBERS);
    for (uint32_t i = 0; i < op->nto && !f->code; i++) {
        field_id(f, "REQUIRE to", &dev);
        field_rule(f, id_cmp(&before, &dev) < 0, "REQUIRE to", "not sorted, or a device twice");
        before = dev;
    }
    op->to = (struct bytes){ start, (size_t)(f->m.p - start) };
}

static bool bytes_less(const struct bytes *a, const struct bytes *b)
{
    int c = memcmp(a->p, b->p, a->len < b->len ? a->len : b->len);
    return c < 0 || (c == 0 && a->len < b->len);
}

static void policy_read(struct field *f, struct ctl_op *op)
{
    const uint8_t *start = f->m.p;
    uint32_t n = f->code ? 0 : mp_map(&f->m, LIMIT_CTL_OPS);
    field_check(f, "POLICY map", "not a map of at most 64");
    struct bytes before = { 0 };
    for (uint32_t i = 0; i < n && !f->code; i++) {
        struct bytes key = field_text(f, "POLICY key", 1, KEY_MAX);
        if (i > 0 && key.len > 0)
            field_rule(f, bytes_less(&before, &key), "POLICY key", "not sorted, or twice");
        (void)field_raw(f, "POLICY value");
        before = key;
    }
    op->policy = (struct bytes){ start, (size_t)(f->m.p - start) };
}

/* ---- operations: one reader and one writer each ---- */

static void add_read(struct field *f, struct ctl_op *op)
{
    op->card = field_bin(f, "ADD card", 1, LIMIT_CTL_BYTES);
    op->role = (enum role)field_u64(f, "ADD role", ROLE_OWNER, ROLE_READER);
    op->sealed = field_bin(f, "ADD sealed", SEALED_KEYS, SEALED_KEYS);
}
static void revoke_read(struct field *f, struct ctl_op *op)
{
    field_id(f, "REVOKE dev", &op->dev);
    cuts_read(f, "REVOKE cuts", op);
}
static void role_read(struct field *f, struct ctl_op *op)
{
    field_id(f, "ROLE dev", &op->dev);
    op->role = (enum role)field_u64(f, "ROLE role", ROLE_OWNER, ROLE_READER);
    cuts_read(f, "ROLE cuts", op);
}
static void epoch_read(struct field *f, struct ctl_op *op)
{
    op->epoch = field_u64(f, "EPOCH epoch", 1, LIMIT_SEQ);
    epoch_keys_read(f, op);
}
static void require_read(struct field *f, struct ctl_op *op)
{
    field_fixed(f, "REQUIRE id", op->require_id, sizeof op->require_id);
    cuts_read(f, "REQUIRE min", op);
    op->text = field_text(f, "REQUIRE message", 0, LIMIT_TEXT);
    op->mode = (enum require_mode)field_u64(f, "REQUIRE mode", REQUIRE_PROMPT, REQUIRE_STRICT);
    op->until_ms = field_u64(f, "REQUIRE until", 0, RECORD_MS_MAX);
    to_read(f, op);
}
static void cancel_read(struct field *f, struct ctl_op *op)
{
    field_fixed(f, "CANCEL id", op->require_id, sizeof op->require_id);
}
static void dormant_read(struct field *f, struct ctl_op *op)
{
    field_id(f, "DORMANT dev", &op->dev);
}
static void relay_read(struct field *f, struct ctl_op *op)
{
    op->text = field_text(f, "RELAY url", 1, LIMIT_TEXT);
    field_fixed(f, "RELAY pk", op->relay_pk, sizeof op->relay_pk);
}
static void name_read(struct field *f, struct ctl_op *op)
{
    field_id(f, "NAME dev", &op->dev);
    op->text = field_text(f, "NAME name", 1, LIMIT_DEVICE_NAME);
    char name[LIMIT_DEVICE_NAME + 1] = "";
    if (!f->code)
        memcpy(name, op->text.p, op->text.len);
    field_rule(f, f->code || device_name_check(name) == 0, "NAME name", "cannot be the name of a device");
}
static void recovery_read(struct field *f, struct ctl_op *op)
{
    field_id_or_none(f, "RECOVERY pk", &op->recovery);
}

static void raw_put(struct buf *b, const struct bytes *raw)
{
    if (raw->len > 0)
        buf_add(b, raw->p, raw->len);
    else
        mp_put_array(b, 0);
}
static void add_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_bin(b, op->card.p, op->card.len);
    mp_put_u64(b, op->role);
    mp_put_bin(b, op->sealed.p, op->sealed.len);
}
static void revoke_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_bin(b, op->dev.b, ID_LEN);
    raw_put(b, &op->cuts);
}
static void role_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_bin(b, op->dev.b, ID_LEN);
    mp_put_u64(b, op->role);
    raw_put(b, &op->cuts);
}
static void epoch_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_u64(b, op->epoch);
    raw_put(b, &op->keys);
}
static void require_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_bin(b, op->require_id, sizeof op->require_id);
    raw_put(b, &op->cuts);
    mp_put_strn(b, (const char *)op->text.p, op->text.len);
    mp_put_u64(b, op->mode);
    mp_put_u64(b, op->until_ms);
    raw_put(b, &op->to);
}
static void cancel_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_bin(b, op->require_id, sizeof op->require_id);
}
static void dormant_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_bin(b, op->dev.b, ID_LEN);
}
static void relay_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_strn(b, (const char *)op->text.p, op->text.len);
    mp_put_bin(b, op->relay_pk, sizeof op->relay_pk);
}
static void policy_put(struct buf *b, const struct ctl_op *op)
{
    if (op->policy.len > 0)
        buf_add(b, op->policy.p, op->policy.len);
    else
        mp_put_map(b, 0);
}
static void name_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_bin(b, op->dev.b, ID_LEN);
    mp_put_strn(b, (const char *)op->text.p, op->text.len);
}

static void recovery_put(struct buf *b, const struct ctl_op *op)
{
    mp_put_bin(b, op->recovery.b, ID_LEN);
}

static const struct {
    uint32_t fields;    /* with the type */
    void (*read)(struct field *f, struct ctl_op *op);
    void (*put)(struct buf *b, const struct ctl_op *op);
} op_table[] = {
    [OP_ADD]     = { 4, add_read, add_put },
    [OP_REVOKE]  = { 3, revoke_read, revoke_put },
    [OP_ROLE]    = { 4, role_read, role_put },
    [OP_EPOCH]   = { 3, epoch_read, epoch_put },
    [OP_REQUIRE] = { 7, require_read, require_put },
    [OP_CANCEL]  = { 2, cancel_read, cancel_put },
    [OP_DORMANT] = { 2, dormant_read, dormant_put },
    [OP_RELAY]   = { 3, relay_read, relay_put },
    [OP_POLICY]  = { 2, policy_read, policy_put },
    [OP_NAME]    = { 3, name_read, name_put },
    [OP_RECOVERY] = { 2, recovery_read, recovery_put },
};

static void op_read(struct field *f, struct ctl_op *op)
{
    memset(op, 0, sizeof *op);
    uint32_t n = field_list(f, "op", 1, UINT32_MAX);
    uint64_t type = field_u64(f, "op type", OP_ADD, OP_LAST);
    if (f->code)
        return;
    op->type = (enum ctl_op_type)type;
    field_rule(f, n == op_table[type].fields, "op", "wrong number of fields for its type");
    op_table[type].read(f, op);
}

/* ---- records ---- */

static void ops_read(struct field *f, struct ctl *c)
{
    const uint8_t *start = f->m.p;
    c->nops = field_list(f, "ops", 1, LIMIT_CTL_OPS);
    for (uint32_t i = 0; i < c->nops && !f->code; i++) {
        struct ctl_op op;
        struct card card;
        op_read(f, &op);
        if (!f->code && op.type == OP_ADD)
            field_nested(f, "ADD card", card_decode(op.card.p, op.card.len, &card));
    }
    c->ops = (struct bytes){ start, (size_t)(f->m.p - start) };
}

static int ctl_read(const void *rec, size_t len, struct ctl *c)
{
    struct field f;
    *c = (struct ctl){ 0 };
    field_open(&f, "control record", rec, len, LIMIT_CTL_BYTES, 7);
    field_format(&f, 1);
    field_id(&f, "group_id", &c->group);
    c->n = field_u64(&f, "n", 1, LIMIT_SEQ);
    field_id(&f, "prev", &c->prev);
    field_rule(&f, (c->n == 1) == id_eq(&c->prev, &c->group), "prev", "is the group id in record 1, and only there");
    c->ts_ms = field_u64(&f, "ts_ms", 0, RECORD_MS_MAX);
    field_id(&f, "signer", &c->signer);
    ops_read(&f, c);
    return field_done(&f);
}

int ctl_encode(struct buf *out, const struct ctl *c, const struct ctl_op *ops, size_t nops, const struct device_keys *k)
{
    assert(id_eq(&c->signer, &k->dev));
    AUTO(buf_release) struct buf rec = BUF_INIT(LIMIT_CTL_BYTES);
    mp_put_array(&rec, 7);
    mp_put_u64(&rec, 1);
    mp_put_bin(&rec, c->group.b, ID_LEN);
    mp_put_u64(&rec, c->n);
    mp_put_bin(&rec, c->prev.b, ID_LEN);
    mp_put_u64(&rec, c->ts_ms);
    mp_put_bin(&rec, c->signer.b, ID_LEN);
    mp_put_array(&rec, nops);
    for (size_t i = 0; i < nops; i++) {
        assert(ops[i].type >= OP_ADD && ops[i].type <= OP_LAST);
        mp_put_array(&rec, op_table[ops[i].type].fields);
        mp_put_u64(&rec, ops[i].type);
        op_table[ops[i].type].put(&rec, &ops[i]);
    }
    struct ctl again;
    return record_sign(out, "control record", CTL_CONTEXT, &rec, ctl_read(rec.data, rec.len, &again), k);
}

static int ctl_parts(const void *blob, size_t len, struct ctl *out, struct bytes *rec, const uint8_t **sig)
{
    int code = record_split("control record", blob, len, rec, sig);
    if (code == 0)
        code = ctl_read(rec->p, rec->len, out);
    if (code < 0)
        return code;
    out->hash = id_hash(rec->p, rec->len);
    out->len = rec->len;
    return 0;
}

int ctl_decode(const void *blob, size_t len, struct ctl *out)
{
    struct bytes rec;
    const uint8_t *sig;
    int code = ctl_parts(blob, len, out, &rec, &sig);
    return code < 0 ? code : record_verify("control record", CTL_CONTEXT, &rec, sig, &out->signer);
}

int ctl_decode_again(const void *blob, size_t len, struct ctl *out)
{
    struct bytes rec;
    const uint8_t *sig;
    return ctl_parts(blob, len, out, &rec, &sig);
}

/* A reader behind the header of a raw list; at the end for no bytes at all. */
static struct mp list_reader(const struct bytes *raw, uint32_t max)
{
    struct mp m = mp_reader(raw->p, raw->len);
    if (raw->len > 0)
        (void)mp_array(&m, max);
    return m;
}

struct mp ctl_ops(const struct ctl *c)
{
    return list_reader(&c->ops, LIMIT_CTL_OPS);
}

void ctl_op_next(struct mp *m, struct ctl_op *op)
{
    struct field f = { .m = *m, .rec = "control record" };
    op_read(&f, op);
    *m = f.m;
}

struct mp cuts_reader(const struct bytes *cuts)
{
    return list_reader(cuts, LIMIT_STREAMS);
}

void cut_next(struct mp *m, struct cut *c)
{
    struct field f = { .m = *m, .rec = "control record" };
    cut_read(&f, "cuts", c);
    *m = f.m;
}

void cut_put(struct buf *b, const struct cut *c)
{
    mp_put_array(b, 3);
    mp_put_bin(b, c->sid.b, SID_LEN);
    mp_put_u64(b, c->seq);
    mp_put_bin(b, c->hdr_hash.b, ID_LEN);
}

struct mp to_reader(const struct bytes *to)
{
    return list_reader(to, LIMIT_MEMBERS);
}

void to_next(struct mp *m, struct id *dev)
{
    struct field f = { .m = *m, .rec = "control record" };
    field_id(&f, "REQUIRE to", dev);
    *m = f.m;
}

struct mp epoch_keys_reader(const struct bytes *keys)
{
    return list_reader(keys, LIMIT_MEMBERS);
}

void epoch_key_next(struct mp *m, struct id *dev, struct bytes *sealed)
{
    struct field f = { .m = *m, .rec = "control record" };
    epoch_key_read(&f, dev, sealed);
    *m = f.m;
}

void epoch_key_put(struct buf *b, const struct id *dev, const uint8_t sealed[static SEALED_KEYS])
{
    mp_put_array(b, 2);
    mp_put_bin(b, dev->b, ID_LEN);
    mp_put_bin(b, sealed, SEALED_KEYS);
}

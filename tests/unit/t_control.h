/* t_control: the records of a small control log, for what tests the file that they are in. */
#ifndef TESTS_UNIT_T_CONTROL_H
#define TESTS_UNIT_T_CONTROL_H

#include "store/control.h"
#include "tests/unit/t_index.h"

#define RECORDS 5

/* A group whose owner gives RECORDS - 1 policies, made once. Record 0 is the genesis. */
static struct device_keys *owner;
static struct buf blob[RECORDS];
static struct buf stranger;         /* record 1 of another group */

static inline struct bytes of(const struct buf *b)
{
    return (struct bytes){ b->data, b->len };
}

static inline void make_genesis(struct buf *out, const struct device_keys *k, uint64_t when)
{
    struct card card = { .dev = k->dev, .name = "owner", .created_ms = when };
    struct buf cb = BUF_INIT(4096);
    memcpy(card.tr_pk, k->tr_pk, 32);
    OK(card_encode(&cb, &card, k));
    struct bytes b = of(&cb);
    OK(genesis_encode(out, &b, when, k));
    buf_release(&cb);
}

/* Makes the record that comes after `g`, and applies it. */
static inline void make_record(struct buf *out, struct group *g, unsigned length)
{
    uint8_t text[1024];
    memset(text, 'x', sizeof text);
    struct ctl_op op = { .type = OP_RELAY, .text = { text, length } };
    struct ctl c = { .group = g->id, .prev = g->ctl_hash, .n = g->ctl_n + 1, .ts_ms = 5, .signer = owner->dev };
    struct ctl decoded;
    OK(ctl_encode(out, &c, &op, 1, owner));
    OK(ctl_decode(out->data, out->len, &decoded));
    OK(group_apply(g, &decoded));
}

static inline void records_make(void)
{
    struct group g;
    struct buf other = BUF_INIT(4096);
    owner = device_keys_new();
    for (unsigned i = 0; i < RECORDS; i++)
        blob[i] = (struct buf)BUF_INIT(LIMIT_CTL_BYTES);
    make_genesis(&blob[0], owner, 1);
    OK(group_init(&g, blob[0].data, blob[0].len));
    for (unsigned i = 1; i < RECORDS; i++)
        make_record(&blob[i], &g, i == 3 ? 300 : i);   /* one length with a large second byte */
    group_release(&g);
    stranger = (struct buf)BUF_INIT(LIMIT_CTL_BYTES);
    make_genesis(&other, owner, 2);
    OK(group_init(&g, other.data, other.len));
    make_record(&stranger, &g, 9);
    group_release(&g);
    buf_release(&other);
}

static inline void records_free(void)
{
    for (unsigned i = 0; i < RECORDS; i++)
        buf_release(&blob[i]);
    buf_release(&stranger);
    device_keys_free(&owner);
}

static inline struct control *reopen(const char *path)
{
    struct control *c;
    OK(control_open(path, &c));
    return c;
}

/* The log holds exactly the first n records. */
static inline void check_log(struct control *c, uint64_t n)
{
    struct bytes b;
    EQ_U(control_group(c)->ctl_n, n - 1);
    for (uint64_t i = 0; i < n; i++) {
        OK(control_record(c, i, &b));
        EQ_U(b.len, blob[i].len);
        EQ_MEM(b.p, blob[i].data, b.len);
    }
    FAILS(control_record(c, n, &b), ERR_NOTFOUND, "no record");
    FAILS(control_record(c, UINT64_MAX, &b), ERR_NOTFOUND, "no record");
}

/* The bytes that the header of this module promises, for the first n records. */
static inline void write_log(struct buf *out, unsigned n)
{
    *out = (struct buf)BUF_INIT(1u << 20);
    buf_add(out, "LNYDCTL1", 8);
    for (unsigned i = 0; i < n; i++) {
        uint8_t len[4] = { (uint8_t)blob[i].len, (uint8_t)(blob[i].len >> 8) };
        buf_add(out, len, 4);
        buf_add(out, blob[i].data, blob[i].len);
    }
}

#endif

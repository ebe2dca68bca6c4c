/* t_split: devices of a group that each have a control log of their own, and what passes between them. */
#ifndef TESTS_UNIT_T_SPLIT_H
#define TESTS_UNIT_T_SPLIT_H

#include <unistd.h>

#include "node/chain.h"
#include "node/lost.h"
#include "tests/unit/t_index.h"

#define DEVICES 12                   /* of which the first NODES have a log of their own, and all sign */
#define NODES 6
#define SIGNED_MAX 200

static const uint8_t sealed[SEALED_KEYS];
static struct device_keys *dev[DEVICES];
static struct buf card[DEVICES];
static struct buf genesis;

/* What somebody has signed, and what has been said about it since. */
static struct signed_op { struct buf op; unsigned signer; bool reported, so; } said[SIGNED_MAX];
static size_t nsaid;

static struct node { struct control *control; struct lost lost; char path[300], lostpath[300]; } node[NODES];

/* ---- a world ---- */

static inline void report(void *arg, const struct ctl *record, const struct ctl_op *op, const char *why)
{
    (void)arg, (void)op;
    CHECK(*why);
    for (size_t i = 0; i < nsaid; i++)
        if (id_eq(&dev[said[i].signer]->dev, &record->signer) && said[i].op.len == record->ops.len &&
            memcmp(said[i].op.data, record->ops.p, record->ops.len) == 0)     /* the first of it, or one that was signed again */
            said[i].reported = true;
}

static inline void open_node(struct node *n, unsigned who)
{
    OK(control_open(n->path, &n->control));
    n->lost = (struct lost){ .control = n->control, .keys = dev[who], .path = n->lostpath, .report = report };
}
static inline void world_end(void)
{
    for (unsigned i = 0; i < NODES; i++)
        control_close(&node[i].control);
    for (size_t i = 0; i < nsaid; i++)
        buf_release(&said[i].op);
    nsaid = 0;
}
static inline void make_all(void)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        struct card c = { .created_ms = 1 };
        dev[i] = device_keys_new();
        c.dev = dev[i]->dev;
        memcpy(c.tr_pk, dev[i]->tr_pk, 32);
        snprintf(c.name, sizeof c.name, "d%u", i);
        card[i] = (struct buf)BUF_INIT(4096);
        OK(card_encode(&card[i], &c, dev[i]));
    }
    genesis = (struct buf)BUF_INIT(8192);
    OK(genesis_encode(&genesis, &(struct bytes){ card[0].data, card[0].len }, 1, dev[0]));
}

static inline void unmake_all(void)
{
    world_end();
    for (unsigned i = 0; i < DEVICES; i++) {
        device_keys_free(&dev[i]);
        buf_release(&card[i]);
    }
    buf_release(&genesis);
    t_dir_remove();
}

/* A record behind record n of the log; not applied. */
static inline void encode(const struct control *c, uint64_t n, unsigned who, const struct ctl_op *op, struct buf *out)
{
    struct id prev;
    OK(control_hash(c, n, &prev));
    struct ctl r = { .group = control_group((struct control *)c)->id, .prev = prev, .n = n + 1, .ts_ms = 1000 + t_rand(&(uint64_t){ n }) % 9,
                     .signer = dev[who]->dev };
    OK(ctl_encode(out, &r, op, 1, dev[who]));
}

static inline int sign(unsigned at, unsigned who, const struct ctl_op *op)
{
    struct control *c = node[at].control;
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl r;
    encode(c, control_group(c)->ctl_n, who, op, &blob);
    int rc = control_append(c, blob.data, blob.len);
    if (rc < 0)
        return rc;
    OK(ctl_decode(blob.data, blob.len, &r));
    CHECK(nsaid < SIGNED_MAX);
    said[nsaid] = (struct signed_op){ .op = BUF_INIT(LIMIT_CTL_BYTES), .signer = who };
    buf_add(&said[nsaid++].op, r.ops.p, r.ops.len);
    return 0;
}
static inline struct ctl_op op_add(unsigned who, enum role role)
{
    return (struct ctl_op){ .type = OP_ADD, .card = { card[who].data, card[who].len }, .role = role, .sealed = { sealed, sizeof sealed } };
}
static inline struct ctl_op op_on(enum ctl_op_type type, unsigned who, enum role role)
{
    return (struct ctl_op){ .type = type, .dev = dev[who]->dev, .role = role };
}
static inline struct ctl_op op_name(unsigned who, const char *name)
{
    return (struct ctl_op){ .type = OP_NAME, .dev = dev[who]->dev, .text = { (const uint8_t *)name, strlen(name) } };
}

static inline void copy_log(const char *from, const char *to)
{
    struct buf b = t_read(from);
    t_write(to, b.data, b.len);
    buf_release(&b);
}

/* All nodes know of the first NODES devices: an owner, three admins, a member, and another owner who came last. */
static inline void world_begin(void)
{
    static const enum role roles[NODES] = { ROLE_OWNER, ROLE_ADMIN, ROLE_ADMIN, ROLE_ADMIN, ROLE_MEMBER, ROLE_OWNER };
    world_end();
    for (unsigned i = 0; i < NODES; i++) {
        snprintf(node[i].path, sizeof node[i].path, "%s/log%u", t_dir, i);
        snprintf(node[i].lostpath, sizeof node[i].lostpath, "%s/lost%u", t_dir, i);
        (void)unlink(node[i].path);
        (void)unlink(node[i].lostpath);
    }
    OK(control_create(node[0].path, &(struct bytes){ genesis.data, genesis.len }));
    open_node(&node[0], 0);
    for (unsigned i = 1; i < NODES; i++) {
        struct ctl_op op = op_add(i, roles[i]);
        OK(sign(0, 0, &op));
    }
    for (unsigned i = 1; i < NODES; i++) {
        copy_log(node[0].path, node[i].path);
        open_node(&node[i], i);
    }
}

/* ---- what passes between nodes ---- */

static inline int losing(void *arg, uint64_t from) { return lost_keep(&((struct node *)arg)->lost, from); }

/* Few records an answer, so that chains come in pieces. */
static inline void serve(struct control *c, uint64_t from, unsigned most, struct buf *body)
{
    struct bytes blob;
    uint32_t n = 0;
    while (n < most && control_record(c, from + n, &blob) == 0)
        n++;
    mp_put_array(body, n);
    for (uint32_t i = 0; i < n && control_record(c, from + i, &blob) == 0; i++)
        buf_add(body, blob.p, blob.len);
}

/* The same operation is in the log, signed by anybody or (`own`) by the one who signed this one. */
static inline bool on_chain(struct control *c, const struct signed_op *s, bool own)
{
    struct bytes blob;
    struct ctl r;
    for (uint64_t n = 1; control_record(c, n, &blob) == 0; n++) {
        if (!memmem(blob.p, blob.len, s->op.data, s->op.len))
            continue;                    /* most are others: to verify each of them takes seconds */
        OK(ctl_decode(blob.p, blob.len, &r));
        bool same = r.ops.len == s->op.len && memcmp(r.ops.p, s->op.data, s->op.len) == 0;
        if (same && (!own || id_eq(&r.signer, &dev[s->signer]->dev)))
            return true;
    }
    return false;
}

/* Of what the device has signed and is not in its log: nobody needs to sign that again. */
static inline void note_what_is_so(struct node *n)
{
    for (size_t i = 0; i < nsaid; i++) {
        struct mp m = mp_reader(said[i].op.data, said[i].op.len);
        struct ctl_op op;
        if (&node[said[i].signer] != n)
            continue;
        (void)mp_array(&m, 1);
        ctl_op_next(&m, &op);
        if (group_op_now(control_group(n->control), &op) == OP_IS_SO)
            said[i].so |= !on_chain(n->control, &said[i], true);
    }
}

/* `a` hears up to where `b` is, and asks. Whether its own log has changed. */
static inline bool hear(struct node *a, struct node *b, unsigned most)
{
    const struct group *own = control_group(a->control), *other = control_group(b->control);
    struct id before = own->ctl_hash, same;
    if (other->ctl_n <= own->ctl_n && control_hash(a->control, other->ctl_n, &same) == 0 && id_eq(&same, &other->ctl_hash))
        return false;
    struct chain c = { .control = a->control, .losing = losing, .arg = a };
    chain_begin(&c, other->ctl_n > own->ctl_n ? own->ctl_n + 1 : other->ctl_n);
    int r = 1;
    for (unsigned turns = 0; r > 0; turns++) {
        AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
        serve(b->control, c.asked, most, &body);
        r = chain_take(&c, body.data, body.len);
        CHECK(turns < 500);
    }
    OK(r);
    chain_release(&c);
    note_what_is_so(a);
    CHECK(lost_issue(&a->lost, 5000) >= 0);
    note_what_is_so(a);
    return !id_eq(&before, &control_group(a->control)->ctl_hash);
}

static inline void heal(void)
{
    bool changed = true;
    for (unsigned rounds = 0; changed; rounds++) {
        changed = false;
        for (unsigned i = 0; i < NODES; i++)
            for (unsigned k = 0; k < NODES; k++)
                changed |= i != k && hear(&node[i], &node[k], 1 + (i + k) % 4);
        CHECK(rounds < 300);
    }
}

#endif

/* t_group: a group of eight devices whose control log a test writes. */
#ifndef T_GROUP_H
#define T_GROUP_H

#include "tests/unit/t.h"

#include "proto/group.h"

#define DEVICES 8
enum { OWNER, ADMIN, MEMBER, READER, NEW, OTHER, MORE, LAST };

struct world {
    struct device_keys *dev[DEVICES];
    struct buf genesis, card[DEVICES], record;
    struct ctl ctl;             /* the last record made; borrows from `record` */
    struct group g;
};

static inline void make_card(struct world *w, unsigned i, const char *name, const uint8_t *tr_pk)
{
    struct card c = { .dev = w->dev[i]->dev, .created_ms = 5 };
    memcpy(c.tr_pk, tr_pk, 32);
    snprintf(c.name, sizeof c.name, "%s", name);
    buf_clear(&w->card[i]);
    OK(card_encode(&w->card[i], &c, w->dev[i]));
}

static inline struct bytes bytes_of(const struct buf *b)
{
    return (struct bytes){ b->data, b->len };
}

/* Makes, signs, decodes and applies the next record; checks that a refused one changes nothing. */
static inline int apply(struct world *w, unsigned signer, const struct ctl_op *ops, size_t nops)
{
    struct ctl c = { .group = w->g.id, .prev = w->g.ctl_hash, .n = w->g.ctl_n + 1, .ts_ms = 1000 + w->g.ctl_n,
                     .signer = w->dev[signer]->dev };
    buf_clear(&w->record);
    OK(ctl_encode(&w->record, &c, ops, nops, w->dev[signer]));
    OK(ctl_decode(w->record.data, w->record.len, &w->ctl));
    struct group before = w->g;
    AUTOFREE struct member *copy = xcalloc(before.nmember, sizeof *copy);
    memcpy(copy, before.member, before.nmember * sizeof *copy);
    int r = group_apply(&w->g, &w->ctl);
    if (r < 0) {
        EQ_MEM(&before, &w->g, sizeof before);
        EQ_MEM(copy, w->g.member, before.nmember * sizeof *copy);
    } else {
        EQ_U(w->g.ctl_n, before.ctl_n + 1);
        CHECK(id_eq(&w->g.ctl_hash, &w->ctl.hash));
    }
    return r;
}

static const uint8_t sealed[SEAL_EXTRA + 40];

static inline struct ctl_op op_add(const struct world *w, unsigned dev, enum role role)
{
    return (struct ctl_op){ .type = OP_ADD, .card = bytes_of(&w->card[dev]), .role = role, .sealed = { sealed, sizeof sealed } };
}

static inline struct ctl_op op_revoke(const struct world *w, unsigned dev)
{
    return (struct ctl_op){ .type = OP_REVOKE, .dev = w->dev[dev]->dev };
}

static inline struct ctl_op op_role(const struct world *w, unsigned dev, enum role role)
{
    return (struct ctl_op){ .type = OP_ROLE, .dev = w->dev[dev]->dev, .role = role };
}

static inline struct ctl_op op_name(const struct world *w, unsigned dev, const char *text)
{
    return (struct ctl_op){ .type = OP_NAME, .dev = w->dev[dev]->dev, .text = { (const uint8_t *)text, strlen(text) } };
}

static inline int add(struct world *w, unsigned signer, unsigned dev, enum role role)
{
    struct ctl_op op = op_add(w, dev, role);
    return apply(w, signer, &op, 1);
}

static inline int revoke(struct world *w, unsigned signer, unsigned dev)
{
    struct ctl_op op = op_revoke(w, dev);
    return apply(w, signer, &op, 1);
}

static inline int change(struct world *w, unsigned signer, unsigned dev, enum role role)
{
    struct ctl_op op = op_role(w, dev, role);
    return apply(w, signer, &op, 1);
}

static inline const struct member *member(const struct world *w, unsigned dev)
{
    return group_find(&w->g, &w->dev[dev]->dev);
}

static inline void world_release(struct world *w)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (w->dev[i])
            device_keys_free(&w->dev[i]);
        buf_release(&w->card[i]);
    }
    buf_release(&w->genesis);
    buf_release(&w->record);
    group_release(&w->g);
}

/* A group with its owner, whose name is "dev0"; all devices have keys and cards "dev1".. */
static inline void world_init(struct world *w)
{
    *w = (struct world){ .genesis = BUF_INIT(LIMIT_CTL_BYTES), .record = BUF_INIT(LIMIT_CTL_BYTES) };
    for (unsigned i = 0; i < DEVICES; i++) {
        char name[16];
        snprintf(name, sizeof name, "dev%u", i);
        w->dev[i] = device_keys_new();
        w->card[i] = (struct buf)BUF_INIT(LIMIT_CTL_BYTES);
        make_card(w, i, name, w->dev[i]->tr_pk);
    }
    struct bytes card = bytes_of(&w->card[OWNER]);
    OK(genesis_encode(&w->genesis, &card, 77, w->dev[OWNER]));
    OK(group_init(&w->g, w->genesis.data, w->genesis.len));
}

/* ... and one device of each role. */
static inline void world_of_four(struct world *w)
{
    world_init(w);
    struct ctl_op ops[] = { op_add(w, ADMIN, ROLE_ADMIN), op_add(w, MEMBER, ROLE_MEMBER), op_add(w, READER, ROLE_READER) };
    OK(apply(w, OWNER, ops, 3));
}

#endif

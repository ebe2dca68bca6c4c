/* Which of two chains of control records counts (group.h). */
#include <assert.h>
#include <string.h>

#include "proto/group_priv.h"

/* Takes its power from somebody of the signer's own role. (Of a higher one nobody may, of a lower one it decides nothing.) */
static bool disarms(const struct group *g, const struct ctl *c, const struct member *signer)
{
    struct mp m = ctl_ops(c);
    for (uint32_t i = 0; i < c->nops; i++) {
        struct ctl_op op;
        ctl_op_next(&m, &op);
        const struct member *t = op.type == OP_REVOKE || op.type == OP_ROLE ? group_find(g, &op.dev) : NULL;
        if (t && t != signer && !t->revoked && t->role == signer->role && (op.type == OP_REVOKE || op.role > t->role))
            return true;
    }
    return false;
}

/* Of two records. */
static int compare(const struct ctl_weight *a, const struct ctl_weight *b)
{
    if (a->role != b->role)
        return a->role < b->role ? 1 : -1;
    if (a->disarms != b->disarms)
        return a->disarms ? 1 : -1;
    if (a->since != b->since)
        return a->since < b->since ? 1 : -1;
    return -id_cmp(&a->dev, &b->dev);
}

void group_weigh(struct ctl_weight *w, const struct group *g, const struct ctl *c)
{
    const struct member *signer = group_find(g, &c->signer);
    struct ctl_weight r = {.any = true, .dev = c->signer, .first = w->any ? w->first : c->hash};
    if (!group_by_recovery(g, &c->signer)) {
        if (!signer)
            return;                      /* group_apply will not take it */
        r.role = signer->role;
        r.disarms = disarms(g, c, signer);
        r.since = signer->added_n;
    }
    if (!w->any || compare(&r, w) > 0)
        *w = r;
}

int group_weight_cmp(const struct ctl_weight *a, const struct ctl_weight *b)
{
    if (!a->any || !b->any)
        return a->any - b->any;
    int r = compare(a, b);
    return r ? r : -id_cmp(&a->first, &b->first);
}

enum op_now group_op_now(const struct group *g, const struct ctl_op *op)
{
    struct card card;
    struct id dev = op->dev;
    if (op->type == OP_ADD) {
        int r = card_decode(op->card.p, op->card.len, &card);
        assert(r == 0);                  /* of a record that was decoded */
        dev = card.dev;
    }
    const struct member *m = group_find(g, &dev);
    bool member = m && !m->revoked;
    switch (op->type) {
    case OP_ADD: return member ? OP_IS_SO : m ? OP_IS_OVER : OP_IS_OPEN;
    case OP_REVOKE: return member ? OP_IS_OPEN : m ? OP_IS_SO : OP_IS_OVER;
    case OP_ROLE: return !member ? OP_IS_OVER : m->role == op->role ? OP_IS_SO : OP_IS_OPEN;
    case OP_NAME:
        if (!member)
            return OP_IS_OVER;
        return strlen(m->card.name) == op->text.len && memcmp(m->card.name, op->text.p, op->text.len) == 0 ? OP_IS_SO : OP_IS_OPEN;
    case OP_RECOVERY: return id_eq(&g->recovery, &op->recovery) ? OP_IS_SO : OP_IS_OVER;   /* perhaps nobody has its phrase any more */
    case OP_EPOCH: return OP_IS_SO;      /* its keys are sealed to the members of then: another one is made when it is due */
    case OP_REQUIRE: return group_requirement(g, op->require_id) ? OP_IS_SO : OP_IS_OPEN;
    case OP_CANCEL: {
        const struct requirement *q = group_requirement(g, op->require_id);
        return !q ? OP_IS_OVER : q->cancelled_ms ? OP_IS_SO : OP_IS_OPEN;
    }
    case OP_POLICY: return policies_are(g, op) ? OP_IS_SO : OP_IS_OPEN;
    case OP_DORMANT: case OP_RELAY: break;
    }
    return OP_IS_OPEN;
}

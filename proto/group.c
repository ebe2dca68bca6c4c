#include "proto/group_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_MIN 4 /* hex digits that are enough to name a device */

bool role_may_admin(enum role r)
{
    return r == ROLE_OWNER || r == ROLE_ADMIN;
}

bool role_may_write(enum role r)
{
    return role_may_admin(r) || r == ROLE_MEMBER;
}

bool member_may_write(const struct member *m)
{
    return m && !m->revoked && role_may_write(m->role);
}

bool member_may_admin(const struct member *m)
{
    return m && !m->revoked && role_may_admin(m->role);
}

static struct member *find(const struct group *g, const struct id *dev)
{
    for (size_t i = 0; i < g->nmember; i++)
        if (id_eq(&g->member[i].card.dev, dev))
            return &g->member[i];
    return NULL;
}

const struct member *group_find(const struct group *g, const struct id *dev)
{
    return find(g, dev);
}

const struct member *group_by_transport(const struct group *g, const uint8_t tr_pk[static 32])
{
    for (size_t i = 0; i < g->nmember; i++)
        if (memcmp(g->member[i].card.tr_pk, tr_pk, 32) == 0)
            return &g->member[i];
    return NULL;
}

static bool has_prefix(const struct id *dev, const char *prefix, size_t len)
{
    char hex[ID_HEX];
    return len >= PREFIX_MIN && len < ID_HEX && strncasecmp(id_hex(dev, hex), prefix, len) == 0;
}

size_t group_named(const struct group *g, const char *name, const struct member **one)
{
    size_t len = strlen(name), n = 0;
    for (const struct member *m = g->member; m < g->member + g->nmember; m++) {
        bool by_id = has_prefix(&m->card.dev, name, len);
        if (!by_id && strcmp(m->card.name, name) != 0)
            continue;
        *one = m;
        if (by_id && len == ID_HEX - 1)
            return 1;
        n++;
    }
    return n;
}

const struct member *group_by_name(const struct group *g, const char *name)
{
    const struct member *one;
    return group_named(g, name, &one) == 1 ? one : NULL;
}

int group_init(struct group *g, const void *genesis, size_t len)
{
    struct genesis gen;
    int r = genesis_decode(genesis, len, &gen);
    if (r < 0)
        return r;
    *g = (struct group){ .id = gen.group, .ctl_hash = gen.group, .epoch = 1, .nmember = 1 };
    g->member = xcalloc(1, sizeof *g->member);
    g->member[0] = (struct member){ .card = gen.owner, .role = ROLE_OWNER, .added_ms = gen.created_ms };
    return 0;
}

void group_release(struct group *g)
{
    requirements_drop(g);
    policies_drop(g);
    free(g->member);
    free(g->cut);
    *g = (struct group){0};
}

/* With room for so many more members. */
static void copy_with_room(struct group *to, const struct group *from, size_t more)
{
    *to = *from;
    to->member = xcalloc(from->nmember + more, sizeof *to->member);
    memcpy(to->member, from->member, from->nmember * sizeof *to->member);
    requirements_share(to);
    policies_share(to);
    to->cut = from->ncut ? xcalloc(from->ncut, sizeof *to->cut) : NULL;
    if (from->ncut)
        memcpy(to->cut, from->cut, from->ncut * sizeof *to->cut);
}

void group_copy(struct group *to, const struct group *from) { copy_with_room(to, from, 0); }

bool group_by_recovery(const struct group *g, const struct id *signer)
{
    return !id_is_none(&g->recovery) && id_eq(&g->recovery, signer);
}

static bool name_taken(const struct group *g, const char *name, const struct member *except)
{
    for (size_t i = 0; i < g->nmember; i++)
        if (&g->member[i] != except && strcmp(g->member[i].card.name, name) == 0)
            return true;
    return false;
}

/* Length of the longest beginning of s that has at most max bytes and does not cut a character. */
static size_t whole_chars(const char *s, size_t max)
{
    size_t len = strlen(s);
    if (len <= max)
        return len;
    while (max > 0 && ((uint8_t)s[max] & 0xc0) == 0x80)
        max--;
    return max;
}

/* Every node gets the same names, because all apply the same records in the same order. */
static void make_name_unique(const struct group *g, struct member *m)
{
    char original[sizeof m->card.name];
    memcpy(original, m->card.name, sizeof original);
    for (unsigned i = 2; name_taken(g, m->card.name, m); i++) {
        char suffix[12];
        int n = snprintf(suffix, sizeof suffix, "-%u", i);
        size_t base = whole_chars(original, LIMIT_DEVICE_NAME - (size_t)n);
        memcpy(m->card.name + base, suffix, (size_t)n + 1);
    }
}

bool group_is_last_owner(const struct group *g, const struct member *m)
{
    for (size_t i = 0; i < g->nmember; i++)
        if (&g->member[i] != m && g->member[i].role == ROLE_OWNER && !g->member[i].revoked)
            return false;
    return m->role == ROLE_OWNER && !m->revoked;
}

/* The member whom an operation of `signer` on `dev` changes; NULL and *r when it may not. `loses`: an owner would no longer be one
 * afterwards. */
static struct member *target(const struct group *g, const struct member *signer, const struct id *dev, bool loses, int *r)
{
    char hex[ID_HEX];
    struct member *m = find(g, dev);
    if (!m || m->revoked)
        *r = err_set(ERR_BAD, "device %s is not a member", id_hex(dev, hex));
    else if (m->role == ROLE_OWNER && signer->role != ROLE_OWNER)
        *r = err_set(ERR_DENIED, "%s is no owner and may not change the owner %s", signer->card.name, m->card.name);
    else if (loses && group_is_last_owner(g, m))
        *r = err_set(ERR_BAD, "%s is the only owner: make another device an owner first", m->card.name);
    else
        return m;
    return NULL;
}

static int role_grant(const struct member *signer, enum role role)
{
    if (role < signer->role)
        return err_set(ERR_DENIED, "%s (%s) may not make a device %s", signer->card.name, role_name(signer->role), role_name(role));
    return 0;
}

/* ---- cuts ---- */

static int cut_cmp(const void *a, const void *b)
{
    const struct group_cut *x = a, *y = b;
    int c = memcmp(x->dev.b, y->dev.b, ID_LEN);
    return c ? c : sid_cmp(&x->cut.sid, &y->cut.sid);
}

static struct group_cut *find_cut(const struct group *g, const struct id *dev, const struct sid *sid)
{
    struct group_cut key = { .dev = *dev, .cut = { .sid = *sid } };
    return g->ncut ? bsearch(&key, g->cut, g->ncut, sizeof key, cut_cmp) : NULL;
}

const struct cut *group_cut(const struct group *g, const struct id *dev, const struct sid *sid)
{
    const struct group_cut *c = find_cut(g, dev, sid);
    return c ? &c->cut : NULL;
}

/* A stream that was cut before counts up to the earlier of both places. */
static void take_cuts(struct group *g, const struct id *dev, const struct ctl_op *op)
{
    struct mp m = cuts_reader(&op->cuts);
    size_t was = g->ncut, n = was;
    g->cut = xrealloc(g->cut, was + op->ncuts + 1, sizeof *g->cut);
    for (uint32_t i = 0; i < op->ncuts; i++) {
        struct group_cut fresh = { .dev = *dev };
        cut_next(&m, &fresh.cut);
        struct group_cut *old = find_cut(g, dev, &fresh.cut.sid);
        if (!old)
            g->cut[n++] = fresh;
        else if (fresh.cut.seq < old->cut.seq)
            *old = fresh;
    }
    g->ncut = n;
    qsort(g->cut, n, sizeof *g->cut, cut_cmp);
}

uint64_t group_end(const struct group *g, const struct id *dev, const struct sid *sid, uint64_t began)
{
    const struct cut *c = group_cut(g, dev, sid);
    const struct member *m = find(g, dev);
    if (c)
        return c->seq;
    return member_may_write(m) && began >= m->since ? UINT64_MAX : 0;
}

/* ---- operations ---- */

/* An operation of the table below. `signer` is current: what an earlier operation of the record changed counts already. The list
 * of members has room for one more. */
typedef int apply_op(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer);

static int apply_add(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    struct member fresh = { .role = op->role, .added_ms = c->ts_ms, .added_n = c->n };
    int r = card_decode(op->card.p, op->card.len, &fresh.card);
    if (!r)
        r = role_grant(signer, op->role);
    if (r < 0)
        return r;
    if (group_by_recovery(g, &fresh.card.dev))
        return err_set(ERR_BAD, "%s has the recovery key of the group", fresh.card.name);
    struct member *m = find(g, &fresh.card.dev);
    if (m && !m->revoked)
        return err_set(ERR_BAD, "%s is already a member", m->card.name);
    const struct member *twin = group_by_transport(g, fresh.card.tr_pk);
    if (twin && twin != m)
        return err_set(ERR_BAD, "%s has the transport key of %s", fresh.card.name, twin->card.name);
    if (!m && g->nmember >= LIMIT_MEMBERS)
        return err_set(ERR_FULL, "the group has %u members, which is the most it can have", LIMIT_MEMBERS);
    if (!m && signer->role != ROLE_OWNER && g->nmember >= LIMIT_MEMBERS / 2)
        return err_set(ERR_DENIED, "the group has %zu members: an owner must add the next", g->nmember);
    if (m)
        fresh.since = c->n;
    else
        m = &g->member[g->nmember++];
    *m = fresh;
    make_name_unique(g, m);
    return 0;
}

static int apply_revoke(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    int r = 0;
    struct member *m = target(g, signer, &op->dev, true, &r);
    if (m) {
        if (member_may_write(m))
            take_cuts(g, &op->dev, op);
        m->revoked = true;
        m->revoked_by = g->revoker = c->signer;
        g->revoked_n = c->n;
    }
    return r;
}

static int apply_role(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    int r = role_grant(signer, op->role);
    struct member *m = r < 0 ? NULL : target(g, signer, &op->dev, op->role != ROLE_OWNER, &r);
    if (!m)
        return r;
    if (role_may_write(m->role) && !role_may_write(op->role))
        take_cuts(g, &op->dev, op);
    if (!role_may_write(m->role) && role_may_write(op->role))
        m->since = c->n;
    m->role = op->role;
    return 0;
}

static int apply_name(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    (void)c;
    int r = 0;
    struct member *m = target(g, signer, &op->dev, false, &r);
    if (!m)
        return r;
    memcpy(m->card.name, op->text.p, op->text.len);
    m->card.name[op->text.len] = '\0';
    make_name_unique(g, m);
    return 0;
}

static int apply_recovery(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    (void)c;
    if (signer->role != ROLE_OWNER)
        return err_set(ERR_DENIED, "%s is no owner and may not name a recovery key", signer->card.name);
    if (find(g, &op->recovery))
        return err_set(ERR_BAD, "the recovery key is that of a device");
    g->recovery = op->recovery;
    return 0;
}

static int apply_epoch(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    (void)signer;
    if (op->epoch <= g->epoch)
        return err_set(ERR_BAD, "epoch %" PRIu64 " is not later than epoch %" PRIu64, op->epoch, g->epoch);
    if (op->epoch - g->epoch > LIMIT_EPOCH_STEP)
        return err_set(ERR_BAD, "epoch %" PRIu64 " is too far from epoch %" PRIu64, op->epoch, g->epoch);
    g->epoch = op->epoch;
    g->epoch_n = c->n;
    return 0;
}

static int apply_nothing(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    (void)g, (void)c, (void)op, (void)signer;
    return 0;
}

static int apply_require(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    (void)signer;
    return requirement_add(g, c, op);
}

static int apply_cancel(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    (void)signer;
    requirement_cancel(g, c, op->require_id);
    return 0;
}

static int apply_policy(struct group *g, const struct ctl *c, const struct ctl_op *op, const struct member *signer)
{
    (void)c, (void)signer;
    return policies_set(g, op);
}

static apply_op *const operations[] = {
    [OP_ADD] = apply_add,         [OP_REVOKE] = apply_revoke,   [OP_ROLE] = apply_role,
    [OP_EPOCH] = apply_epoch,     [OP_REQUIRE] = apply_require, [OP_CANCEL] = apply_cancel,
    [OP_DORMANT] = apply_nothing, [OP_RELAY] = apply_nothing,   [OP_POLICY] = apply_policy,
    [OP_NAME] = apply_name,       [OP_RECOVERY] = apply_recovery,
};

static int chain_check(const struct group *g, const struct ctl *c)
{
    if (!id_eq(&c->group, &g->id))
        return err_set(ERR_BAD, "control record %" PRIu64 ": of another group", c->n);
    if (c->n > g->ctl_n + 1)
        return err_set(ERR_AGAIN, "control record %" PRIu64 ": the ones after %" PRIu64 " are missing", c->n, g->ctl_n);
    if (c->n == g->ctl_n && !id_eq(&c->hash, &g->ctl_hash))
        return err_set(ERR_BAD, "control record %" PRIu64 ": contradicts the one we have", c->n);
    if (c->n <= g->ctl_n)
        return err_set(ERR_EXISTS, "control record %" PRIu64 ": already applied", c->n);
    if (!id_eq(&c->prev, &g->ctl_hash))
        return err_set(ERR_BAD, "control record %" PRIu64 ": does not continue the one before it", c->n);
    return 0;
}

static int apply_ops(struct group *g, const struct ctl *c)
{
    const struct member recovery = { .card = { .dev = c->signer, .name = "the recovery key" }, .role = ROLE_OWNER };
    struct mp m = ctl_ops(c);
    assert(c->nops > 0); /* else nobody would ask who the signer is; ctl_decode has checked it, and all operations */
    for (uint32_t i = 0; i < c->nops; i++) {
        struct ctl_op op;
        ctl_op_next(&m, &op);
        const struct member *signer = group_by_recovery(g, &c->signer) ? &recovery : find(g, &c->signer);
        if (!signer || signer->revoked || !role_may_admin(signer->role)) {
            char hex[ID_HEX];
            return err_set(ERR_DENIED, "device %s is neither owner nor admin", id_hex(&c->signer, hex));
        }
        assert(op.type >= OP_ADD && op.type < sizeof operations / sizeof *operations);
        int r = operations[op.type](g, c, &op, signer);
        if (r < 0)
            return r;
    }
    return 0;
}

/* An admin must not be able to leave no room for the record that revokes him, or for those who join. */
static int count_bytes(struct group *g, const struct ctl *c, const struct member *signer)
{
    if (group_by_recovery(g, &c->signer) || (signer && signer->role == ROLE_OWNER))
        return 0;
    g->admin_bytes += c->len;
    if (g->admin_bytes > LIMIT_CTL_ADMINS)
        return err_set(ERR_DENIED, "the records of admins may have %u bytes together: an owner must sign this one", LIMIT_CTL_ADMINS);
    return 0;
}

int group_apply(struct group *g, const struct ctl *c)
{
    int r = chain_check(g, c);
    if (r < 0)
        return r;
    struct group next; /* with room for what the record may add: dropped when an operation fails */
    copy_with_room(&next, g, c->nops);
    next.ctl_n = c->n;
    next.ctl_hash = c->hash;
    r = count_bytes(&next, c, find(g, &c->signer));
    if (r == 0)
        r = apply_ops(&next, c);
    if (r < 0) {
        group_release(&next);
        return err_prefix(r, "control record %" PRIu64, c->n);
    }
    group_release(g);
    *g = next;
    return 0;
}

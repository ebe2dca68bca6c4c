#include "node/epoch.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { PLAIN = SEALED_KEYS - SEAL_EXTRA, KEY_BYTES = 1 + 2 + ID_LEN + 2 + SEALED_KEYS, REST = 1024 };      /* of a record: one of its keys; all else */

/* ---- opening ---- */

/* What an operation has for this device: empty when nothing. */
static struct bytes seal_of(const struct ctl_op *op, const struct id *dev)
{
    struct card card;
    if (op->type == OP_ADD && card_decode(op->card.p, op->card.len, &card) == 0 && id_eq(&card.dev, dev))
        return op->sealed;
    struct mp m = epoch_keys_reader(&op->keys);
    for (uint32_t i = 0; op->type == OP_EPOCH && i < op->nkeys; i++) {
        struct bytes sealed;
        struct id who;
        epoch_key_next(&m, &who, &sealed);
        if (id_eq(&who, dev))
            return sealed;
    }
    return (struct bytes){0};
}

static int unseal(const struct bytes *sealed, const struct group *g, const struct device_keys *k, uint64_t *epoch, uint8_t key[static 32])
{
    uint8_t plain[PLAIN];
    int r = keys_unseal(plain, sealed->p, sealed->len, k);
    if (r < 0)
        return err_prefix(r, "the key of epoch %" PRIu64, g->epoch);
    *epoch = 0;
    for (int i = 0; i < 8; i++)
        *epoch |= (uint64_t)plain[32 + i] << 8 * i;
    memcpy(key, plain, 32);
    sodium_memzero(plain, sizeof plain);
    return *epoch == g->epoch ? 1 : err_set(ERR_BAD, "the key is of epoch %" PRIu64 ", and the group is at %" PRIu64, *epoch, g->epoch);
}

int epoch_open(const struct control *c, const struct group *g, const struct device_keys *k, uint64_t *epoch, uint8_t key[static 32])
{
    const struct member *self = group_find(g, &k->dev);
    uint64_t n = self && self->added_n > g->epoch_n ? self->added_n : g->epoch_n;
    struct bytes sealed = {0};
    struct ctl record;
    if (n == 0)
        return 0;
    int r = control_ctl(c, n, &record);
    if (r < 0)
        return r;
    struct mp m = ctl_ops(&record);
    for (uint32_t i = 0; i < record.nops; i++) {
        struct ctl_op op;
        ctl_op_next(&m, &op);
        struct bytes found = seal_of(&op, &k->dev);
        sealed = found.len ? found : sealed;
    }
    return sealed.len ? unseal(&sealed, g, k, epoch, key) : err_set(ERR_NOTFOUND, "the key of epoch %" PRIu64 " was not given to this device", g->epoch);
}

/* ---- renewing ---- */

bool epoch_is_due(const struct group *g, const struct id *self)
{
    const struct member *m = group_find(g, self), *by = group_find(g, &g->revoker);
    return g->revoked_n > g->epoch_n && member_may_admin(m) && (m == by || !member_may_admin(by));
}

uint64_t epoch_next(const struct group *g, uint64_t own)
{
    uint64_t most = g->epoch + LIMIT_EPOCH_STEP;
    return own < g->epoch ? g->epoch + 1 : own < most ? own + 1 : most;
}

void epoch_seal(const uint8_t key[static 32], uint64_t epoch, const uint8_t tr_pk[static 32], uint8_t out[static SEALED_KEYS])
{
    uint8_t plain[PLAIN];
    memcpy(plain, key, 32);
    for (int i = 0; i < 8; i++)
        plain[32 + i] = (uint8_t)(epoch >> 8 * i);
    keys_seal(out, plain, sizeof plain, tr_pk);
    sodium_memzero(plain, sizeof plain);
}

static int by_id(const void *a, const void *b)
{
    const struct member *x = *(const struct member *const *)a, *y = *(const struct member *const *)b;
    return memcmp(x->card.dev.b, y->card.dev.b, ID_LEN);
}

bool epoch_fits(const struct group *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->nmember; i++)
        n += !g->member[i].revoked;
    return REST + n * KEY_BYTES <= LIMIT_CTL_BYTES;
}

void epoch_seal_all(const struct group *g, const uint8_t key[static 32], uint64_t epoch, struct buf *out)
{
    AUTOFREE const struct member **m = xcalloc(g->nmember, sizeof *m);
    uint8_t sealed[SEALED_KEYS];
    size_t n = 0;
    for (size_t i = 0; i < g->nmember; i++)
        if (!g->member[i].revoked)
            m[n++] = &g->member[i];
    qsort(m, n, sizeof *m, by_id);
    mp_put_array(out, n);
    for (size_t i = 0; i < n; i++) {
        epoch_seal(key, epoch, m[i]->card.tr_pk, sealed);
        epoch_key_put(out, &m[i]->card.dev, sealed);
    }
}

/* The key of the epoch in a running node: found in the control log whenever that has changed, and renewed when it is this device's part. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "node/epoch.h"
#include "node/log.h"
#include "node/node_priv.h"

/* Also when the renewal that this device knows has lost against another chain: nobody who joins could tell which one is meant. */
static bool is_due(const struct node *n)
{
    const struct group *g = node_group(n);
    const struct member *self = group_find(g, &n->home->keys->dev);
    return epoch_is_due(g, &n->home->keys->dev) || (member_may_admin(self) && n->home->group_keys->epoch != g->epoch);
}

static bool belongs(const struct node *n)
{
    const struct member *m = group_find(node_group(n), &n->home->keys->dev);
    return m && !m->revoked;
}

static int take(struct node *n, const uint8_t key[static 32], uint64_t epoch)
{
    struct group_keys *k = n->home->group_keys;
    if (k->epoch == epoch && sodium_memcmp(k->k_epoch, key, sizeof k->k_epoch) == 0)
        return 0;
    memcpy(k->k_epoch, key, sizeof k->k_epoch);
    k->epoch = epoch;
    log_info("the key of the group has been renewed epoch=%llu", (unsigned long long)epoch);
    return home_save_group_keys(n->home);
}

void control_open_key(struct node *n)
{
    uint8_t key[32];
    uint64_t epoch;
    char why[sizeof n->key_error];
    int r = belongs(n) ? epoch_open(n->home->control, node_group(n), n->home->keys, &epoch, key) : 0;
    if (r > 0)
        r = take(n, key, epoch);
    if (r < 0)
        snprintf(why, sizeof why, "%s: ask the admins to renew it (lanyard device revoke does), or join again with a new invite", err_text());
    node_set_error(n, n->key_error, sizeof n->key_error, r < 0 ? why : NULL);
    sodium_memzero(key, sizeof key);
}

void control_renew_key(struct node *n)
{
    const struct group *g = node_group(n);
    AUTO(buf_release) struct buf keys = BUF_INIT(LIMIT_CTL_BYTES);
    uint8_t key[32];
    if (!is_due(n))
        return;
    if (!epoch_fits(g)) {
        log_seldom(LOG_WARN, "the key of the group is not renewed why=\"too many members for one record\"");
        return;
    }
    struct ctl_op op = {.type = OP_EPOCH, .epoch = epoch_next(g, n->home->group_keys->epoch)};
    randombytes_buf(key, sizeof key);
    epoch_seal_all(g, key, op.epoch, &keys);
    sodium_memzero(key, sizeof key);
    op.keys = (struct bytes){keys.data, keys.len};
    if (control_issue(n, &op, 1) < 0)
        log_seldom(LOG_WARN, "the key of the group is not renewed why=\"%s\"", err_text());
}

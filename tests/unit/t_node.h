/* t_node: what the tests of node/ share: a group of devices, and a loop that runs until something is true. */
#ifndef TESTS_UNIT_T_NODE_H
#define TESTS_UNIT_T_NODE_H

#include <signal.h>

#include "node/log.h"
#include "node/loop.h"
#include "proto/group.h"
#include "proto/keys.h"
#include "tests/unit/t.h"

enum { T_DEVICES = 4, T_DEADLINE_MS = 30000 };

static inline void t_must(int r)
{
    if (r < 0)
        T_FAIL("%s", err_text());
}

/* A group whose members are the first `members` devices; number 0 owns it. */
struct t_group { struct group group; struct group_keys *keys; struct device_keys *dev[T_DEVICES]; };

static inline void t_card(const struct device_keys *k, size_t i, struct buf *out)
{
    struct card c = { .dev = k->dev, .created_ms = 1 };
    memcpy(c.tr_pk, k->tr_pk, sizeof c.tr_pk);
    snprintf(c.name, sizeof c.name, "d%zu", i);
    t_must(card_encode(out, &c, k));
}
static inline void t_group_do(struct t_group *g, const struct ctl_op *op)
{
    AUTO(buf_release) struct buf rec = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl c = { .group = g->group.id, .prev = g->group.ctl_hash, .signer = g->dev[0]->dev, .n = g->group.ctl_n + 1, .ts_ms = 1 };
    struct ctl back;
    t_must(ctl_encode(&rec, &c, op, 1, g->dev[0]));
    t_must(ctl_decode(rec.data, rec.len, &back));
    t_must(group_apply(&g->group, &back));
}
static inline void t_group_add(struct t_group *g, size_t i)
{
    AUTO(buf_release) struct buf card = BUF_INIT(4096);
    t_card(g->dev[i], i, &card);
    uint8_t sealed[40 + SEAL_EXTRA] = { 0 };
    struct ctl_op op = { .type = OP_ADD, .card = { card.data, card.len }, .role = ROLE_MEMBER, .sealed = { sealed, sizeof sealed } };
    t_group_do(g, &op);
}
static inline void t_group_revoke(struct t_group *g, size_t i)
{
    struct ctl_op op = { .type = OP_REVOKE, .dev = g->dev[i]->dev };
    t_group_do(g, &op);
}
static inline void t_group_init(struct t_group *g, size_t members)
{
    *g = (struct t_group){ 0 };
    for (size_t i = 0; i < T_DEVICES; i++)
        g->dev[i] = device_keys_new();
    g->keys = group_keys_new();
    memset(g->keys->k_group, 9, sizeof g->keys->k_group);
    AUTO(buf_release) struct buf card = BUF_INIT(4096), gen = BUF_INIT(8192);
    t_card(g->dev[0], 0, &card);
    t_must(genesis_encode(&gen, &(struct bytes){ card.data, card.len }, 1, g->dev[0]));
    t_must(group_init(&g->group, gen.data, gen.len));
    g->keys->group = g->group.id;
    for (size_t i = 1; i < members; i++)
        t_group_add(g, i);
}
static inline void t_group_release(struct t_group *g)
{
    for (size_t i = 0; i < T_DEVICES; i++)
        device_keys_free(&g->dev[i]);
    group_keys_free(&g->keys);
    group_release(&g->group);
}

/* ---- running the loop ---- */

struct t_wait { struct loop *loop; bool (*cond)(void *arg); void *arg; bool reached; };

static inline void t_look(void *arg)
{
    struct t_wait *w = arg;
    if ((w->reached = w->reached || w->cond(w->arg)))
        loop_stop(w->loop);
}
static inline void t_deadline(void *arg) { loop_stop(((struct t_wait *)arg)->loop); }

/* Runs the loop until cond(arg); false when `ms` have passed without it. */
static inline bool t_within(struct loop *l, uint64_t ms, bool (*cond)(void *arg), void *arg)
{
    struct t_wait w = { .loop = l, .cond = cond, .arg = arg };
    struct loop_timer end = { 0 };
    loop_timer_set(l, &end, ms, t_deadline, &w);
    loop_before_sleep(l, t_look, &w);
    int r = loop_run(l);
    loop_before_sleep(l, NULL, NULL);
    loop_timer_clear(l, &end);
    t_must(r);
    return w.reached;
}
#define UNTIL(loop, cond, arg) do { \
    if (!t_within((loop), T_DEADLINE_MS, (cond), (arg))) T_FAIL("never came true: %s(%s)", #cond, #arg); } while (0)

/* As in the node: no signals where they could end the test, no lines about what is provoked on purpose. */
static inline void t_node_init(void)
{
    signal(SIGIO, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    t_must(keys_init());
    t_must(log_open("/dev/null"));
}
#endif

/* Who this node is: the continuity of its home, index and folder, and other machines with its keys. */
#include <string.h>

#include "node/continuity.h"
#include "node/log.h"
#include "node/node_priv.h"

#define TELL_MS 20000
#define CLOCK_TICKS 5
#define TWIN_GONE_MS 20000        /* it is looked for every 5 s */

/* ---- continuity ---- */

int self_start(struct node *n)
{
    const char *doubt;
    int r = continuity_check(n->home, n->folder, n->index, n->engine, &doubt);
    n->sure = n->sought = false;
    if (r == 0 && doubt)
        log_info("continuity in doubt, a new incarnation begins, and nothing that is missing counts as deleted why=\"%s\"", doubt);
    return r;
}

void self_end(struct node *n)
{
    if (!n->clean || !n->folder || folder_healthy(n->folder) < 0)
        return;
    if (continuity_renew(n->home, n->folder, n->index, n->engine) < 0)
        log_warn("continuity token not renewed why=\"%s\"", err_text());
}

/* ---- twins ---- */

static void met_twin(struct node *n)
{
    n->twin_ms = loop_now();
    engine_mute(n->engine);
    node_set_error(n, n->twin_error, sizeof n->twin_error, "another machine runs with the keys of this device, a copy of its home or of the "
              "whole machine: on one of them run lanyard down, remove its home, and join again; until then nothing is sent from here");
}

bool self_greeted(void *node, const struct msg_hello *h)
{
    struct node *n = node;
    if (memcmp(h->inst, n->inst, sizeof n->inst) == 0)
        return true;
    met_twin(n);
    return false;
}

/* The other one is gone: what it may have written under our name is its own. Those who know us greet it, if anybody: we greet them anew. */
static void watch_twin(struct node *n)
{
    if (!n->twin_error[0] || loop_now() - n->twin_ms < TWIN_GONE_MS)
        return;
    engine_unmute(n->engine);
    node_set_error(n, n->twin_error, sizeof n->twin_error, NULL);
    peers_pause(n->peers, true);
    peers_pause(n->peers, n->paused);
    if (n->scan)
        scan_all(n->scan);
}

/* ---- streams with two histories ---- */

static void on_told(void *arg, const struct msg *m, zmq_msg_t *body) { (void)arg, (void)m, (void)body; }

void self_tell_forks(struct node *n)
{
    AUTO(buf_release) struct buf proof = BUF_INIT(LIMIT_HEAD);
    struct id dev;
    while (engine_next_fork(n->engine, &dev, &proof)) {
        struct link *l = peers_link(n->peers, &dev);
        if (l)
            link_request_body(l, LANE_CONTROL, &(struct msg){.type = MSG_FORK}, &proof, TELL_MS, on_told, NULL);
    }
}

static void ended(struct node *n, int r, const char *why)
{
    if (r < 0 && index_in_tx(n->index))
        engine_rollback(n->engine);
    if (r < 0)
        log_seldom(LOG_WARN, "%s why=\"%s\"", why, err_text());
    if (r <= 0)
        return;
    log_warn("%s: a stream ends, what was live of it is signed again", why);
    node_event(n, "stream-ended", "reason", why, NULL);
    self_tell_forks(n);
    node_committed(n);
}

void self_serve_fork(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    int r = engine_begin(n->engine), ends = 0;
    if (r == 0)
        r = ends = engine_fork(n->engine, zmq_msg_data(body), zmq_msg_size(body), loop_wall());
    if (r >= 0)
        r = engine_commit(n->engine, loop_wall());
    ended(n, r < 0 ? r : ends, "a device has signed two histories");
    net_reply(n->net, from, &(struct msg){.type = MSG_PONG, .req = m->req, .ping = {.wall_ms = loop_wall(), .ctr = n->announced.ctr}}, NULL);
}

/* ---- clocks ---- */

static void take_back(struct node *n)
{
    int r = engine_begin(n->engine), ends = 0;
    if (r == 0)
        r = ends = engine_clock(n->engine, loop_wall());
    if (r >= 0)
        r = engine_commit(n->engine, loop_wall());
    ended(n, r < 0 ? r : ends, "the clock of this device was ahead");
}

static void watch_clock(struct node *n)
{
    if (engine_is_ahead(n->engine, loop_wall()))
        take_back(n);
    uint64_t off = engine_clock_off(n->engine, loop_wall());
    if (off && !n->clock_off) {
        log_warn("clock differs from that of most devices minutes=%llu remedy=\"set the clocks\"", (unsigned long long)off / 60000);
        node_event(n, "clock-differs", "reason", "the clock of this device and that of most others differ by more than 10 minutes", NULL);
    }
    n->clock_off = off != 0;
}

/* Said once a start, for each. */
static void tell_distrusted(struct node *n)
{
    struct id dev;
    while (engine_next_distrusted(n->engine, &dev)) {
        const struct member *m = group_find(control_group(n->home->control), &dev);
        log_warn("a device has signed two histories again and again, no more of that is put right: it is not to be trusted device=%s "
                 "remedy=\"lanyard device revoke\"", m ? m->card.name : "?");
        node_event(n, "device-distrusted", "device", m ? m->card.name : "?", NULL);
    }
}

/* All entries that whoever is online has are here; and somebody is, unless there is nobody. */
static bool heard_all(struct node *n)
{
    const struct group *g = control_group(n->home->control);
    bool somebody = false, others = false;
    for (size_t i = 0; i < g->nmember; i++) {
        const struct id *dev = &g->member[i].card.dev;
        others |= !g->member[i].revoked && !id_eq(dev, &n->home->keys->dev);
        if (!node_online(n, dev))
            continue;
        somebody = true;
        if (!engine_have_all_of(n->engine, dev))
            return false;
    }
    return somebody || !others;
}

void self_tick(struct node *n)
{
    tell_distrusted(n);
    if (n->cuts_due)
        control_cuts(n);
    if (n->ticks % CLOCK_TICKS == 0)
        watch_clock(n);
    watch_twin(n);
    if (!n->sure && n->scan && scan_first_done(n->scan) && scan_idle(n->scan)) {
        engine_sure(n->engine);
        n->sure = true;
    }
    if (n->sure && !n->sought && n->pull && heard_all(n)) {
        pull_find(n->pull);
        n->sought = true;
    }
}

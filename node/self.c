/* Who this node is: the continuity of its home, index and folder, and other machines with its keys. */
#include <string.h>

#include "node/continuity.h"
#include "node/log.h"
#include "node/node_priv.h"

#define TWIN_GONE_MS 20000        /* it is looked for every 5 s */

/* ---- continuity ---- */

int self_start(struct node *n)
{
    const char *doubt;
    int r = continuity_check(n->home, n->folder, n->index, n->engine, &doubt);
    n->sure = false;
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

void self_tick(struct node *n)
{
    watch_twin(n);
    if (!n->sure && n->scan && scan_first_done(n->scan) && scan_idle(n->scan)) {
        engine_sure(n->engine);
        n->sure = true;
    }
}

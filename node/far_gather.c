/* Links to all who are online, for a while: what is looked for anybody may have. */
#include <stdlib.h>

#include "node/far.h"

#define STEP_MS 50

struct gathering { struct node *n; struct loop_timer timer; uint64_t until; loop_fn fn; void *arg; struct gathering *next; };

static bool all_linked(struct node *n)
{
    const struct group *g = control_group(n->home->control);
    for (size_t i = 0; i < g->nmember; i++) {
        const struct id *dev = &g->member[i].card.dev;
        if (far_present(n, dev) && peers_reachable(n->peers, dev))
            return false;
    }
    return true;
}

static void end(struct gathering *g)
{
    struct gathering **at = &g->n->gathering;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    loop_timer_clear(g->n->loop, &g->timer);
    g->fn(g->arg);
    free(g);
}

static void on_step(void *arg)
{
    struct gathering *g = arg;
    if (all_linked(g->n) || loop_now() >= g->until)
        end(g);
    else
        loop_timer_set(g->n->loop, &g->timer, STEP_MS, on_step, g);
}

bool far_gather(struct node *n, loop_fn fn, void *arg)
{
    if (!far_wish_all(n) || all_linked(n))
        return false;
    struct gathering *g = xcalloc(1, sizeof *g);
    *g = (struct gathering){.n = n, .until = loop_now() + PEERS_GATHER_MS, .fn = fn, .arg = arg, .next = n->gathering};
    n->gathering = g;
    loop_timer_set(n->loop, &g->timer, STEP_MS, on_step, g);
    return true;
}

void far_end_gathering(struct node *n)
{
    while (n->gathering)
        end(n->gathering);
}

/* What is done every second: the audit; and when the history may be looked after: nothing is to be synced, nobody reads here, and no user
 * waits for a version. */
#include <stdlib.h>

#include "node/api.h"
#include "node/node_priv.h"

static void on_pass(void *arg)
{
    struct node *n = arg;
    if (n->api)
        api_poll(n->api);
}

static void on_adopted(void *arg)
{
    struct node *n = arg;
    n->sought = false;
}

int node_keeper_start(struct node *n)
{
    struct keeper_config c = {.loop = n->loop, .pool = n->pool, .folder = n->folder, .engine = n->engine, .index = n->index,
        .days = strtoul(n->config.history_days, NULL, 10), .share = strtoul(n->config.history_share, NULL, 10),
        .group = control_group(n->home->control), .alone = n->config.history_alone, .done = on_pass, .adopted = on_adopted, .arg = n};
    return keeper_new(&c, &n->keeper);
}

void node_keeper_tick(struct node *n, bool idle)
{
    uint64_t served = n->serve ? serve_bytes(n->serve) : 0;
    if (n->keeper)
        keeper_tick(n->keeper, idle && served == n->served && !api_working(n->api));
    n->served = served;
    audit_poll(n);
}

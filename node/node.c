#include "node/far.h"
#include "node/node.h"

#include <malloc.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/announce.h"
#include "node/api.h"
#include "node/hook.h"
#include "node/lock.h"
#include "node/log.h"
#include "node/node_priv.h"
#include "node/proof.h"
#include "proto/path.h"

#define TICK_MS 1000
#define RETRY_TICKS 15
#define TRIM_TICKS 30

/* ---- what is new ---- */

static void tell_conflicts(struct node *n)
{
    AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_PATH + 1);
    while (engine_next_conflict(n->engine, &path)) {
        buf_add(&path, "", 1);
        log_info("conflict path=%s", path_show(path.data, path.len - 1));
        node_event(n, "conflict", "path", (const char *)path.data, NULL);
    }
}

void node_committed(struct node *n)
{
    tell_conflicts(n);
    announce_news(n);
    if (n->pull)
        pull_kick(n->pull);
    if (n->keeper)
        keeper_busy(n->keeper);
    lock_poll(n);
    if (n->api)
        api_poll(n->api);
}

/* ---- state ---- */

static const char *error_of(struct node *n)
{
    uint64_t files;
    const char *texts[] = {n->revoked_error, n->twin_error, n->start_error, n->index_error, n->scan_error, n->pull_error, n->key_error};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i][0])
            return texts[i];
    if (!n->scan || !scan_braked(n->scan, &files))
        return NULL;
    snprintf(n->brake_error, sizeof n->brake_error, "%llu files have vanished from the folder at once, nothing was deleted elsewhere: "
             "bring them back, or run lanyard resume --accept-deletions", (unsigned long long)files);
    return n->brake_error;
}

enum node_state node_state(struct node *n, const char **error)
{
    *error = error_of(n);
    if (*error)
        return NODE_ERROR;
    if (n->paused)
        return NODE_PAUSED;
    if (!n->scan || !scan_first_done(n->scan))
        return n->scan ? NODE_SCANNING : NODE_STARTING;
    uint64_t files = 0, bytes;
    if (lock_holds(n))
        return NODE_LOCKED;
    bool idle = index_want_totals(n->index, &files, &bytes) == 0 && !files && scan_idle(n->scan) && pull_idle(n->pull);
    return idle ? NODE_IDLE : NODE_SYNCING;
}

bool node_in_sync_with(struct node *n, const struct id *dev)
{
    return engine_have_all_of(n->engine, dev) && engine_has_all_of_us(n->engine, dev);
}

bool node_online(const struct node *n, const struct id *dev) { return peers_link(n->peers, dev) || far_present(n, dev); }

size_t node_online_count(const struct node *n)
{
    const struct group *g = control_group(n->home->control);
    size_t count = 0;
    for (size_t i = 0; i < g->nmember; i++)
        count += node_online(n, &g->member[i].card.dev);
    return count;
}

bool node_settled(struct node *n, size_t peers)
{
    uint64_t files = 0, bytes;
    if (error_of(n) || !n->scan || !scan_first_done(n->scan) || !scan_idle(n->scan) || !pull_idle(n->pull) || node_online_count(n) < peers)
        return false;
    if (index_want_totals(n->index, &files, &bytes) < 0 || files)
        return false;
    const struct group *g = control_group(n->home->control);
    for (size_t i = 0; i < g->nmember; i++) {
        const struct id *dev = &g->member[i].card.dev;
        if (node_online(n, dev) && !node_in_sync_with(n, dev))
            return false;
    }
    return true;
}

void node_pause(struct node *n, bool paused)
{
    n->paused = paused;
    peers_pause(n->peers, paused);
    node_committed(n);
}

void node_stop(struct node *n) { loop_stop(n->loop); }

/* ---- the folder's parts ---- */

static bool scan_busy(void *arg, const char *path, size_t len)
{
    struct node *n = arg;
    return (n->pull && pull_busy(n->pull, path, len)) || lock_touches(n, path, len);
}

static void on_committed(void *arg) { node_committed(arg); }

static void on_trouble(void *arg, const char *path, size_t len, const char *text)
{
    const char *shown = path_show(path, len);
    log_warn("not synced path=%s why=\"%s\"", shown, text);
    node_event(arg, "skipped", "path", shown, "reason", text, NULL);
}

void node_set_error(struct node *n, char *to, size_t size, const char *text)
{
    if (text && strcmp(to, text) != 0) {
        log_error("%s", text);
        node_event(n, "error", "reason", text, NULL);
    }
    if (!text && to[0])
        node_event(n, "recovered", NULL);
    snprintf(to, size, "%s", text ? text : "");
}

static void on_scan_failed(void *arg, const char *text)
{
    struct node *n = arg;
    node_set_error(n, n->scan_error, sizeof n->scan_error, text);
}

static void on_pull_failed(void *arg, const char *text)
{
    struct node *n = arg;
    node_set_error(n, n->pull_error, sizeof n->pull_error, text);
}

static void look(void *arg, const char *path, size_t len)
{
    struct node *n = arg;
    if (n->scan)
        scan_hint(n->scan, path, len, false);
}

static void on_rules(void *arg, const struct id *hash, bool own)
{
    struct node *n = arg;
    int r = engine_begin(n->engine);
    if (r == 0 && (r = engine_rules(n->engine, hash, own)) == 0)
        r = engine_commit(n->engine, loop_wall());
    else if (r < 0 && index_in_tx(n->index))
        engine_rollback(n->engine);
    if (r < 0)
        log_warn("ignore rules why=\"%s\"", err_text());
    else
        node_committed(n);
}

static bool is_ignored(void *arg, const char *path, size_t len, bool dir)
{
    struct node *n = arg;
    return n->scan && scan_ignored(n->scan, path, len, dir);
}

static bool is_allowed(void *arg, const struct ix_want *w) { return engine_lock_allows(((struct node *)arg)->engine, w); }

static int start_parts_of_folder(struct node *n)
{
    const struct group *g = control_group(n->home->control);
    int r;
    struct serve_config sv = {n->loop, n->pool, n->net, n->folder, n->index, look, n, {0}, {0}};
    if ((r = rate_parse(n->config.rate_up, &sv.up)) < 0 || (r = rate_parse(n->config.rate_up_each, &sv.each)) < 0)
        return r;
    if ((r = serve_new(&sv, &n->serve)) < 0 || (r = node_keeper_start(n)) < 0)
        return r;
    struct pull_config pc = {.serve = n->serve, .self = &n->home->keys->dev, .loop = n->loop, .pool = n->pool, .folder = n->folder, .engine = n->engine, .index = n->index,
        .peers = n->peers, .gear = &n->gear,
        .ops = {.committed = on_committed, .look = look, .ignored = is_ignored, .allowed = is_allowed, .failed = on_pull_failed, .arg = n}};
    if ((r = rate_parse(n->config.rate_down, &pc.down)) < 0 || (r = pull_new(&pc, &n->pull)) < 0)
        return r;
    struct scan_config sc = {.loop = n->loop, .pool = n->pool, .folder = n->folder, .engine = n->engine, .index = n->index,
        .gear = &n->gear, .group = g,
        .ops = {.busy = scan_busy, .committed = on_committed, .trouble = on_trouble, .rules = on_rules, .failed = on_scan_failed, .arg = n}};
    lock_folder(n);
    return scan_new(&sc, &n->scan);
}

static int start_folder(struct node *n)
{
    int r = folder_open(n->config.folder, &control_group(n->home->control)->id, &n->folder);
    if (r == 0)
        r = self_start(n);
    if (r == 0)
        r = start_parts_of_folder(n);
    if (r < 0) {
        scan_free(&n->scan);
        pull_free(&n->pull);
        serve_free(&n->serve);
        keeper_free(&n->keeper);
        lock_free(n);
        folder_close(&n->folder);
    }
    return r;
}

/* A folder that was missing at the start gets its parts when it comes. One that is another one now (removed and brought back, mounted
 * anew) needs all its parts made anew: the node does so by starting again within its process. */
static void watch_folder(struct node *n)
{
    if (!n->folder) {
        if (start_folder(n) == 0)
            node_set_error(n, n->start_error, sizeof n->start_error, NULL);
        return;
    }
    if (folder_healthy(n->folder) == 0) {
        if (n->folder_gone) {
            node_set_error(n, n->scan_error, sizeof n->scan_error, NULL);
            scan_all(n->scan);
        }
        n->folder_gone = false;
        return;
    }
    n->folder_gone = true;
    node_set_error(n, n->scan_error, sizeof n->scan_error, err_text());
    struct folder *again = NULL;
    if (folder_open(n->config.folder, &control_group(n->home->control)->id, &again) == 0) {
        log_info("another folder is in the place of the old one, starting anew");
        n->restart = true;
        loop_stop(n->loop);
    }
    folder_close(&again);
}

/* Of a folder that has been looked at, and is there. */
static void make_snapshots(struct node *n)
{
    const struct member *m = group_find(control_group(n->home->control), &n->home->keys->dev);
    if (!member_may_write(m) || !n->scan || !scan_first_done(n->scan) || error_of(n))
        return;
    int r = autosnap_run(&n->autosnap, n->engine, loop_wall());
    if (r < 0)
        log_seldom(LOG_WARN, "automatic snapshots: %s", err_text());
    else if (r > 0)
        node_committed(n);
}

/* Nothing is being done. Something may be wanted all the same: of devices that are not online, and perhaps never will be. */
static bool is_still(struct node *n)
{
    return !error_of(n) && n->scan && scan_first_done(n->scan) && scan_idle(n->scan) && pull_idle(n->pull);
}

static void on_tick(void *arg)
{
    struct node *n = arg;
    watch_folder(n);
    self_tick(n);
    bool idle = is_still(n);
    if (index_checkpoint(n->index, idle) < 0)
        log_seldom(LOG_WARN, "index: %s", err_text());
    /* What a large scan or transfer took from the system is given back when it is over; so is what the history took, second by second, and what
     * links and dials took, now and then. */
    bool rest = idle && (index_rest(n->index) || n->was_busy || n->ticks % TRIM_TICKS == 0);
    if (rest)
        malloc_trim(0);
    n->was_busy = !idle;
    lock_poll(n);
    node_keeper_tick(n, idle);
    make_snapshots(n);
    if (++n->ticks % RETRY_TICKS == 0)
        greet_retry(n);
    loop_timer_set(n->loop, &n->tick_timer, TICK_MS, on_tick, n);
}

/* ---- discovery ---- */

static void address_text(const struct disc_event *e, uint32_t i, char out[static 80])
{
    snprintf(out, 80, strchr(e->addr[i], ':') ? "[%s]:%u" : "%s:%u", e->addr[i], e->port);
}

static struct found *found_get(struct node *n, const char *instance)
{
    for (size_t i = 0; i < n->nfound; i++)
        if (strcmp(n->found[i].instance, instance) == 0)
            return &n->found[i];
    return NULL;
}

/* What an instance announced before, and does not any more, is no longer dialled on its account. */
static void forget_found(struct node *n, struct found *f)
{
    for (uint32_t i = 0; i < f->naddr; i++)
        peers_remove(n->peers, f->addr[i], ADDR_MDNS);
    f->naddr = 0;
}

static void on_event(struct node *n, const struct disc_event *e)
{
    struct found *f = found_get(n, e->instance);
    if (f)
        forget_found(n, f);
    if (e->type == DISC_LOST || !e->ours) {
        if (f)
            *f = n->found[--n->nfound];
        return;
    }
    if (!f) {
        n->found = xrealloc(n->found, n->nfound + 1, sizeof *n->found);
        f = &n->found[n->nfound++];
        *f = (struct found){0};
        snprintf(f->instance, sizeof f->instance, "%s", e->instance);
    }
    for (uint32_t i = 0; i < e->naddr; i++) {
        address_text(e, i, f->addr[i]);
        peers_add(n->peers, f->addr[i], ADDR_MDNS);
    }
    f->naddr = e->naddr;
}

static void on_discovery(void *arg)
{
    struct node *n = arg;
    struct disc_event e;
    while (discovery_next(n->discovery, &e))
        on_event(n, &e);
}

static void start_discovery(struct node *n)
{
    keys_disc(n->home->group_keys, n->k_disc);
    struct discovery_config c = {.port = net_port(n->net), .pub_port = (uint16_t)(net_port(n->net) + 1), .k_disc = n->k_disc};
    if (discovery_start(&c, &n->discovery) < 0) {
        log_warn("no mDNS why=\"%s\"", err_text());
        n->discovery = NULL;
        return;
    }
    loop_add_fd(n->loop, discovery_fd(n->discovery), POLLIN, on_discovery, n);
}

/* ---- life cycle ---- */

static int open_index(struct node *n)
{
    AUTOFREE char *path = home_file(n->home, "index.db");
    return index_open(path, &control_group(n->home->control)->id, n->home->unclean, &n->index);
}

static int start_engine(struct node *n)
{
    randombytes_buf(n->inst, sizeof n->inst);
    uint8_t k_chunk[32];
    keys_chunk(n->home->group_keys, k_chunk);
    chunk_gear(&n->gear, k_chunk);
    sodium_memzero(k_chunk, sizeof k_chunk);
    struct engine_config c = {.index = n->index, .group = control_group(n->home->control), .keys = n->home->keys};
    memcpy(c.inst, n->inst, sizeof c.inst);
    int r = engine_new(&c, &n->engine);
    struct proof_config pc = {.index = n->index, .control = n->home->control, .engine = n->engine, .self = n->home->keys->dev};
    return r < 0 ? r : proof_new(&pc, &n->proof);
}

static int start_parts(struct node *n, const struct node_options *o)
{
    int r = loop_new(&n->loop);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (r == 0)
        n->hooks = hooks_new(n->loop, n->home->path, strtoull(n->config.hook_seconds, NULL, 10) * 1000);
    if (r == 0)
        r = pool_new(n->loop, cpus < 2 ? 2 : cpus > 8 ? 8 : (unsigned)cpus, &n->pool);
    if (r == 0)
        r = open_index(n);
    if (r == 0)
        r = start_engine(n);
    if (r == 0)
        r = greet_start(n, o->listen ? o->listen : n->config.listen);
    if (r < 0)
        return r;
    lock_now(n);
    if (start_folder(n) < 0)
        snprintf(n->start_error, sizeof n->start_error, "%s", err_text());
    r = api_clean_up(n);
    return r < 0 ? r : api_new(n, &n->api);
}

static void add_static(struct node *n, const struct node_options *o)
{
    for (size_t i = 0; i < o->npeer; i++)
        peers_add(n->peers, o->peer[i], ADDR_STATIC);
    AUTOFREE char *list = xstrdup(n->config.peers);
    char *save = NULL;
    for (char *a = strtok_r(list, " ,", &save); a; a = strtok_r(NULL, " ,", &save))
        peers_add(n->peers, a, ADDR_STATIC);
}

int node_new(const char *home, const struct node_options *o, struct node **out)
{
    struct node *n = xcalloc(1, sizeof *n);
    int r = home_open(home, &n->home);
    if (r == 0) {
        AUTOFREE char *path = home_file(n->home, "config");
        r = config_load(path, &n->config);
    }
    if (r == 0)
        r = log_set_level_by_name(n->config.log_level);
    if (r == 0)
        r = autosnap_parse(n->config.snapshots, &n->autosnap);
    if (r == 0)
        r = start_parts(n, o);
    if (r == 0)
        r = home_mark_running(n->home);
    if (r < 0) {
        node_free(&n);
        return r;
    }
    add_static(n, o);
    if (n->config.mdns && !o->no_mdns)
        start_discovery(n);
    on_tick(n);
    announce_news(n);
    *out = n;
    return 0;
}

int node_run(struct node *n, bool *restart)
{
    int r = loop_run(n->loop);
    *restart = n->restart;
    n->clean = r == 0;
    return r;
}

void node_free(struct node **pn)
{
    struct node *n = *pn;
    if (!n)
        return;
    if (n->discovery)
        loop_del_fd(n->loop, discovery_fd(n->discovery));
    discovery_stop(&n->discovery);
    n->paused = true;                    /* nobody is asked for anything any more */
    if (n->scan)
        scan_stop(n->scan);
    keeper_stop(n->keeper);
    api_free(&n->api);
    inviter_free(&n->inviter);
    pool_free(&n->pool);                 /* jobs end here, and tell the parts that are still there */
    far_end_gathering(n);
    peers_free(&n->peers);               /* requests end here */
    scan_free(&n->scan);
    pull_free(&n->pull);
    keeper_free(&n->keeper);
    greet_free(n);
    serve_free(&n->serve);
    lock_free(n);
    net_free(&n->net);
    self_end(n);
    proof_free(&n->proof);
    engine_free(&n->engine);
    index_close(&n->index);
    folder_close(&n->folder);
    hooks_free(&n->hooks);
    if (n->loop) {
        announce_end(n);
        loop_timer_clear(n->loop, &n->tick_timer);
    }
    loop_free(&n->loop);
    config_release(&n->config);
    if (n->home)
        home_close(&n->home, n->clean);
    free(n->found);
    free(n);
    *pn = NULL;
}

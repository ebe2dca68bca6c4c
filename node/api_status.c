/* What the node is and does. */
#include <msgpack.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "node/api_priv.h"
#include "node/note.h"

#define TTL_S (15u * 60)
#define FOLDER_AWAY_MS 3000            /* a folder that cannot be read now is looked at again sooner than that */

int need_folder(struct node *n)
{
    const char *error;
    if (n->folder && n->scan && n->pull && n->serve)
        return 0;
    node_state(n, &error);
    return err_set(ERR_NOTFOUND, "%s", error ? error : "the folder is not open yet: try again in a moment");
}

/* ---- status ---- */

static const char *const state_names[] = {
    [NODE_STARTING] = "starting", [NODE_SCANNING] = "scanning", [NODE_SYNCING] = "syncing", [NODE_IDLE] = "idle",
    [NODE_PAUSED] = "paused", [NODE_LOCKED] = "locked", [NODE_ERROR] = "error",
};

static void put_counts(struct buf *b, const char *key, uint64_t files, uint64_t bytes)
{
    mp_put_str(b, key);
    mp_put_map(b, 2);
    put_u64(b, "files", files);
    put_u64(b, "bytes", bytes);
}

static void put_self(struct buf *b, struct node *n)
{
    const struct member *m = group_find(node_group(n), &n->home->keys->dev);
    mp_put_str(b, "device");
    mp_put_map(b, 3);
    put_id(b, "id", &n->home->keys->dev);
    put_text(b, "name", m ? m->card.name : "");
    put_text(b, "role", m ? role_name(m->role) : "");
    mp_put_str(b, "group");
    mp_put_map(b, 1);
    put_id(b, "id", &node_group(n)->id);
}

static void put_missing(struct buf *b, struct node *n, const struct id *dev, bool in_sync)
{
    if (!in_sync && engine_vector_of(n->engine, dev)) {
        put_counts(b, "missing", engine_missing_at(n->engine, dev), 0);
        return;
    }
    mp_put_str(b, "missing");
    mp_put_nil(b);
}

static void put_peer(struct buf *b, struct node *n, const struct member *m)
{
    struct peer_info p = {0};
    const struct id *dev = &m->card.dev;
    peers_info(n->peers, dev, &p);
    bool online = node_online(n, dev), in_sync = node_in_sync_with(n, dev);
    mp_put_map(b, 9);
    put_id(b, "id", dev);
    put_text(b, "name", m->card.name);
    put_text(b, "role", role_name(m->role));
    put_bool(b, "online", online);
    put_text(b, "via", !online ? NULL : p.source & ADDR_MDNS || (n->discovery && !(p.source & ADDR_STATIC)) ? "lan" : "static");
    put_text(b, "address", p.address && *p.address ? p.address : NULL);
    put_time(b, "last_seen", online ? loop_wall() : p.last_seen_ms);
    put_bool(b, "in_sync", in_sync);
    put_missing(b, n, dev, in_sync);
}

static bool is_peer(struct node *n, const struct member *m)
{
    return !m->revoked && !id_eq(&m->card.dev, &n->home->keys->dev);
}

static void put_peers(struct buf *b, struct node *n)
{
    const struct group *g = node_group(n);
    size_t count = 0;
    for (size_t i = 0; i < g->nmember; i++)
        count += is_peer(n, &g->member[i]);
    mp_put_str(b, "peers");
    mp_put_array(b, count);
    for (size_t i = 0; i < g->nmember; i++)
        if (is_peer(n, &g->member[i]))
            put_peer(b, n, &g->member[i]);
}

/* Beyond the contract: what has gone over the wire since the start, and how peers are found. */
static void put_more(struct buf *b, struct node *n)
{
    struct pull_figures f = {0};
    char found[200] = "off";
    if (n->pull)
        pull_figures(n->pull, &f);
    if (n->discovery)
        (void)discovery_state(n->discovery, found, sizeof found);
    mp_put_str(b, "fetched");
    mp_put_map(b, 2);
    put_u64(b, "blocks", f.blocks);
    put_u64(b, "bytes", f.bytes);
    put_u64(b, "served", n->serve ? serve_bytes(n->serve) : 0);
    put_text(b, "discovery", found);
}

int run_status(struct session *s, const struct bytes *args)
{
    (void)args;
    struct node *n = s->n;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    uint64_t files = 0, bytes = 0, pending = 0, pending_bytes = 0, conflicts = 0;
    int r = index_want_totals(n->index, &pending, &pending_bytes);
    if (r == 0)
        r = index_conflict_count(n->index, &conflicts);
    if (r < 0)
        return r;
    engine_totals(n->engine, &files, &bytes);
    const char *error = NULL;
    enum node_state state = node_state(n, &error);
    mp_put_map(&b, 16);
    put_self(&b, n);
    put_path(&b, "folder", n->config.folder, strlen(n->config.folder));
    put_text(&b, "listen", net_address(n->net));
    put_text(&b, "state", state_names[state]);
    put_text(&b, "error", error);
    put_u64(&b, "files", files);
    put_u64(&b, "bytes", bytes);
    put_counts(&b, "pending", pending, pending_bytes);
    put_u64(&b, "conflicts", conflicts);
    put_u64(&b, "ignored_errors", n->scan ? scan_errors(n->scan) : 0);
    put_peers(&b, n);
    put_required(&b, n);
    put_more(&b, n);
    session_reply(s, false, &b);
    return 0;
}

void put_device(struct buf *b, struct node *n, const struct member *m)
{
    mp_put_map(b, 6);
    put_id(b, "id", &m->card.dev);
    put_text(b, "name", m->card.name);
    put_text(b, "role", role_name(m->role));
    put_bool(b, "revoked", m->revoked);
    put_bool(b, "this", id_eq(&m->card.dev, &n->home->keys->dev));
    put_time(b, "added", m->added_ms);
}

int run_devices(struct session *s, const struct bytes *args)
{
    (void)args;
    const struct group *g = node_group(s->n);
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    mp_put_array(&b, g->nmember);
    for (size_t i = 0; i < g->nmember; i++)
        put_device(&b, s->n, &g->member[i]);
    session_reply(s, false, &b);
    return 0;
}

int run_version(struct session *s, const struct bytes *args)
{
    (void)args;
    int major, minor, patch;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD), zmq = BUF_INIT(LIMIT_TEXT);
    zmq_version(&major, &minor, &patch);
    buf_addf(&zmq, "%d.%d.%d", major, minor, patch);
    buf_add(&zmq, "", 1);
    mp_put_map(&b, 3);
    put_text(&b, "version", LANYARD_VERSION);
    put_u64(&b, "protocol", PROTO_MAX);
    mp_put_str(&b, "libraries");
    mp_put_map(&b, 4);
    put_text(&b, "libzmq", (const char *)zmq.data);
    put_text(&b, "libsodium", sodium_version_string());
    put_text(&b, "sqlite", sqlite3_libversion());
    put_text(&b, "msgpack-c", msgpack_version());
    session_reply(s, false, &b);
    return 0;
}

/* ---- wait, scan ---- */

static int check_wait(struct session *s)
{
    int r = need_member(s->n);
    if (r == 0)
        r = need_folder(s->n);
    if (r == 0 && node_settled(s->n, s->number))
        session_reply(s, false, NULL);
    return r;
}

struct nowhere { struct engine *engine; uint64_t n; };

static int is_nowhere(void *arg, const struct ix_want *w)
{
    struct nowhere *c = arg;
    struct id dev;
    c->n += w->kind == KIND_FILE && w->size > LIMIT_INLINE && engine_sources(c->engine, w->stream, w->seq, ENGINE_HAS, &dev, 1) == 0;
    return 0;
}

/* Of what is wanted: of how much no device online says to have the content. */
static uint64_t nowhere(struct node *n)
{
    struct nowhere c = {.engine = n->engine};
    return index_want_each(n->index, 0, is_nowhere, &c) < 0 ? 0 : c.n;
}

static void late_wait(struct session *s)
{
    struct node *n = s->n;
    const struct group *g = node_group(n);
    uint64_t files = 0, bytes, behind = 0, online = node_online_count(n);
    if (index_want_totals(n->index, &files, &bytes) < 0)
        files = 0;
    for (size_t i = 0; i < g->nmember; i++)
        behind += node_online(n, &g->member[i].card.dev) && !node_in_sync_with(n, &g->member[i].card.dev);
    AUTO(buf_release) struct buf text = BUF_INIT(LIMIT_TEXT);
    uint64_t none = files ? nowhere(n) : 0;
    buf_addf(&text, "still syncing: %llu files to get, %llu devices behind", (unsigned long long)files, (unsigned long long)behind);
    if (none)
        buf_addf(&text, ", no device online has %llu of the files", (unsigned long long)none);
    if (online < s->number)
        buf_addf(&text, ", %llu of %llu devices online", (unsigned long long)online, (unsigned long long)s->number);
    buf_add(&text, "", 1);
    session_fail(s, EXIT_TIMED_OUT, (const char *)text.data);
}

int run_wait(struct session *s, const struct bytes *args)
{
    uint64_t timeout = NO_LIMIT;
    int r = arg_u64(args, "timeout_ms", &timeout);
    if (r == 0)
        r = arg_u64(args, "peers", &s->number);
    if (r == 0)
        r = need_folder(s->n);
    if (r == 0)
        session_wait(s, check_wait, timeout, timeout == NO_LIMIT ? NULL : late_wait);
    return r;
}

static int check_scan(struct session *s)
{
    struct scan *scan = s->n->scan;
    if (!scan_idle(scan)) {
        if (s->n->scan_error[0] && loop_now() - s->began > FOLDER_AWAY_MS)
            return err_set(ERR_IO, "%s", s->n->scan_error);
        return 0;
    }
    struct scan_figures f;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    scan_figures(scan, &f);
    mp_put_map(&b, 3);
    put_u64(&b, "files", f.files);
    put_u64(&b, "changed", f.changed);
    put_u64(&b, "errors", scan_errors(scan));
    session_reply(s, false, &b);
    return 0;
}

/* From scan_all on the scan is not idle until a whole look that began after it is over, and recorded. */
int run_scan(struct session *s, const struct bytes *args)
{
    (void)args;
    int r = need_folder(s->n);
    if (r < 0)
        return r;
    scan_all(s->n->scan);
    session_wait(s, check_scan, NO_LIMIT, NULL);
    return 0;
}

/* ---- pause, resume, down ---- */

int run_pause(struct session *s, const struct bytes *args)
{
    (void)args;
    node_pause(s->n, true);
    session_reply(s, false, NULL);
    return 0;
}

int run_resume(struct session *s, const struct bytes *args)
{
    bool accept = false;
    int r = arg_bool(args, "accept_deletions", &accept);
    if (r == 0 && accept)
        r = need_folder(s->n);
    if (r < 0)
        return r;
    node_pause(s->n, false);
    uint64_t files = 0;
    if (accept && scan_braked(s->n->scan, &files))
        note_put(s->n, &(struct note){.what = NOTE_STR("confirmed"), .deleted = files});
    if (accept)
        scan_accept_deletions(s->n->scan);
    session_reply(s, false, NULL);
    return 0;
}

int run_down(struct session *s, const struct bytes *args)
{
    (void)args;
    session_reply(s, false, NULL);
    node_stop(s->n);
    return 0;
}

/* ---- invite ---- */

static int parse_role(const struct bytes *args, enum role *role)
{
    AUTOFREE char *text = NULL;
    int r = arg_text(args, "role", &text);
    *role = ROLE_MEMBER;
    if (r < 0 || !text)
        return r;
    if (role_parse(text, role) < 0 || *role == ROLE_OWNER)
        return err_set(ERR_USAGE, "role: there is no such role to give: choose member, admin or reader");
    return 0;
}

int run_invite(struct session *s, const struct bytes *args)
{
    enum role role;
    uint64_t ttl = TTL_S;
    bool wait = false;
    char code[CODE_TEXT];
    int r = parse_role(args, &role);
    if (r == 0)
        r = arg_u64(args, "ttl_s", &ttl);
    if (r == 0)
        r = arg_bool(args, "wait", &wait);
    if (r == 0)
        r = inviter_invite(s->n->inviter, role, ttl, code, &s->number);
    if (r < 0)
        return r;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    mp_put_map(&b, 3);
    put_text(&b, "code", code);
    put_text(&b, "role", role_name(role));
    put_time(&b, "until", loop_wall() + ttl * 1000);
    s->inviting = wait;
    session_reply(s, wait, &b);
    return 0;
}

static bool waits_for(const struct session *s, uint64_t invite)
{
    return s->state == SESSION_RUNNING && s->inviting && s->number == invite;
}

void api_joined(struct api *a, uint64_t invite, const struct id *dev, const char *name)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    mp_put_map(&b, 2);
    put_id(&b, "id", dev);
    put_text(&b, "name", name);
    for (struct session *s = a->sessions; s; s = s->next)
        if (waits_for(s, invite))
            session_reply(s, false, &b);
}

void api_invite_ended(struct api *a, uint64_t invite, const char *why)
{
    AUTO(buf_release) struct buf text = BUF_INIT(LIMIT_TEXT);
    buf_addf(&text, "nobody has joined with this code: %s", why);
    buf_add(&text, "", 1);
    for (struct session *s = a->sessions; s; s = s->next)
        if (waits_for(s, invite))
            session_fail(s, EXIT_TIMED_OUT, buf_ok(&text) ? (const char *)text.data : why);
}

/* ---- config ---- */

static int put_key(struct buf *b, const char *path, const struct config_key *k)
{
    AUTO(buf_release) struct buf value = BUF_INIT(LIMIT_CTL_REQUEST);
    int r = config_get(path, k->key, &value);
    if (r < 0)
        return r;
    put_text(b, "key", k->key);
    mp_put_str(b, "value");
    mp_put_strn(b, (const char *)value.data, value.len);
    put_text(b, "default", k->def);
    put_text(b, "type", k->type);
    put_text(b, "help", k->help);
    return 0;
}

static int list_keys(struct buf *b, const char *path)
{
    size_t n = 0;
    int r = 0;
    while (config_keys[n].key)
        n++;
    mp_put_array(b, n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        mp_put_map(b, 5);
        r = put_key(b, path, &config_keys[i]);
    }
    return r;
}

static int one_key(struct buf *b, const char *path, const char *op, const char *key, const char *value)
{
    const struct config_key *k;
    bool set = strcmp(op, "set") == 0;
    if ((!set && strcmp(op, "get") != 0) || !key || (set && !value))
        return err_set(ERR_USAGE, "config: use list, get KEY or set KEY VALUE");
    int r = config_find(key, &k);
    if (r == 0 && set)
        r = config_set(path, key, value);
    if (r < 0)
        return r;
    mp_put_map(b, set ? 6 : 5);
    r = put_key(b, path, k);
    if (set)
        put_text(b, "note", "counts from the next start of the node on");
    return r;
}

int run_config(struct session *s, const struct bytes *args)
{
    AUTOFREE char *op = NULL, *key = NULL, *value = NULL;
    AUTOFREE char *path = home_file(s->n->home, "config");
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    int r = arg_text(args, "op", &op);
    if (r == 0)
        r = arg_text(args, "key", &key);
    if (r == 0)
        r = arg_text(args, "value", &value);
    if (r == 0)
        r = !op || strcmp(op, "list") == 0 ? list_keys(&b, path) : one_key(&b, path, op, key, value);
    if (r == 0)
        session_reply(s, false, &b);
    return r;
}

/* ---- events ---- */

static void send_event(struct session *s, const struct buf *event) { session_reply(s, true, event); }

/* Those that were, and with `follow` those that come. */
int run_events(struct session *s, const struct bytes *args)
{
    int r = arg_bool(args, "follow", &s->follow);
    if (r < 0)
        return r;
    api_ring_each(s->api, send_event, s);
    if (!s->follow)
        session_reply(s, false, NULL);
    return 0;
}

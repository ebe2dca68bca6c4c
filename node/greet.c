/* The network side of a node: its sockets and peers, what members ask of it and what it asks of them. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api.h"
#include "node/far.h"
#include "node/hist.h"
#include "node/lock.h"
#include "node/log.h"
#include "node/node_priv.h"

#define REQUEST_MS 20000
#define SILENT_MS 5000
/* Change sets and the answers to PING come on one connection: so much comes within PING's time-out at 32 kB/s. */
#define CS_CREDIT (256u << 10)

/* ---- change sets ---- */

/* A stream is asked of one peer at a time. When nothing has come for SILENT_MS the request is late: others are asked for its streams, but
 * its answer is good at any time. */
struct cs_request { struct node *n; struct id dev; struct loop_timer silence; bool late; };

static void fetch_change_sets(struct node *n);

static int take_change_sets(struct node *n, const struct id *from, zmq_msg_t *body)
{
    int r = engine_begin(n->engine);
    if (r < 0)
        return r;
    int taken = engine_change_sets(n->engine, from, zmq_msg_data(body), zmq_msg_size(body), loop_wall());
    if (taken < 0) {
        engine_rollback(n->engine);
        return taken;
    }
    r = engine_commit(n->engine, loop_wall());
    return r < 0 ? r : taken;
}

static void on_silence(void *arg)
{
    struct cs_request *q = arg;
    q->late = true;
    engine_fetch_failed(q->n->engine, &q->dev);
    fetch_change_sets(q->n);
}

/* What the engine is to make of it. */
static void end_fetch(struct cs_request *q, const struct link *l, int r)
{
    struct engine *e = q->n->engine;
    if (!l || link_state(l) == LINK_DEAD)
        engine_online(e, &q->dev, false);      /* nothing is asked of it any more; it may be good when it comes back */
    else if (q->late && r > 0)
        engine_forgive(e);                     /* it is slow, and goes on */
    else if (!q->late && r > 0)
        engine_fetch_done(e, &q->dev);
    else if (!q->late)
        engine_fetch_failed(e, &q->dev);
}

static void on_change_sets(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct cs_request *q = arg;
    struct node *n = q->n;
    struct link *l = peers_link(n->peers, &q->dev);
    loop_timer_clear(n->loop, &q->silence);
    int r = m && m->type == MSG_CS ? take_change_sets(n, &q->dev, body) : ERR_CLOSED;
    if (m && r < 0) {
        log_seldom(LOG_WARN, "change sets refused why=\"%s\"", err_text());
        if (r == ERR_FULL || r == ERR_IO)
            node_set_error(n, n->index_error, sizeof n->index_error, err_text());
        if (l && r == ERR_AGAIN)
            control_ask(n, l, false);
    } else if (r >= 0) {
        node_set_error(n, n->index_error, sizeof n->index_error, NULL);
    }
    end_fetch(q, l, r);
    if (r > 0)
        node_committed(n);
    fetch_change_sets(n);
    free(q);
}

static void fetch_change_sets(struct node *n)
{
    struct fetch f;
    while (!n->paused && engine_next_fetch(n->engine, &f)) {
        struct link *l = peers_link(n->peers, &f.dev);
        if (!l) {
            engine_online(n->engine, &f.dev, false);
            continue;
        }
        struct cs_request *q = xcalloc(1, sizeof *q);
        *q = (struct cs_request){.n = n, .dev = f.dev};
        loop_timer_set(n->loop, &q->silence, SILENT_MS, on_silence, q);
        struct msg m = {.type = MSG_GET_CS, .get_cs = {.n = f.n, .credit = CS_CREDIT}};
        memcpy(m.get_cs.range, f.range, f.n * sizeof *f.range);
        link_request(l, LANE_CONTROL, &m, REQUEST_MS, on_change_sets, q);
    }
}

void greet_retry(struct node *n)
{
    engine_forgive(n->engine);
    fetch_change_sets(n);
}

/* The answer to a request, with a body, which is taken. */
static void reply_with(struct node *n, const struct net_from *from, const struct msg *to, enum msg_type type, struct buf *body)
{
    zmq_msg_t z;
    net_body_of(&z, body);
    net_reply(n->net, from, &(struct msg){.type = type, .req = to->req}, &z);
}

static void serve_change_sets(struct node *n, const struct net_from *from, const struct msg *m)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    if (engine_serve_cs(n->engine, m->get_cs.range, m->get_cs.n, m->get_cs.credit, &body) < 0) {
        log_seldom(LOG_WARN, "change sets cannot be served why=\"%s\"", err_text());
        buf_clear(&body);
        mp_put_array(&body, 0);
    }
    reply_with(n, from, m, MSG_CS, &body);
}

/* ---- history ---- */

static void serve_history(struct node *n, const struct net_from *from, const struct msg *m)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    const struct bytes *path = &m->get_hist.path;
    if (hist_answer(n->engine, n->index, (const char *)path->p, path->len, &body) < 0) {
        buf_clear(&body);
        mp_put_array(&body, 0);
    }
    reply_with(n, from, m, MSG_HIST, &body);
}

/* ---- vectors ---- */

static void take_vector(struct node *n, struct link *l, const void *blob, size_t len)
{
    int r = engine_vector(n->engine, blob, len, link_device(l), link_inst(l));
    if (r < 0)
        log_seldom(LOG_INFO, "vector refused why=\"%s\"", err_text());
    if (r == ERR_AGAIN)
        control_ask(n, l, false);
    const struct vec *v = engine_vector_of(n->engine, link_device(l));
    if (v)
        control_heard(n, l, v->ctl_n, &v->ctl_hash);
    if (v && v->ctl_n > node_group(n)->ctl_n)
        far_hurry(n, link_device(l));
    if (r <= 0)
        return;
    far_vector(n, link_device(l), blob, len);
    lock_vector(n, link_device(l), blob, len);
    fetch_change_sets(n);
    self_tell_forks(n);
    audit_poll(n);
    if (n->pull)
        pull_kick(n->pull);
    api_poll(n->api);
}

static void on_vector(void *arg, struct link *l, const void *blob, size_t len) { take_vector(arg, l, blob, len); }

struct vec_request { struct node *n; struct id dev; };

static void on_asked_vector(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct vec_request *q = arg;
    struct link *l = peers_link(q->n->peers, &q->dev);
    if (m && m->type == MSG_VEC && l)
        take_vector(q->n, l, zmq_msg_data(body), zmq_msg_size(body));
    free(q);
}

static void ask_vector(struct node *n, struct link *l)
{
    struct vec_request *q = xcalloc(1, sizeof *q);
    *q = (struct vec_request){n, *link_device(l)};
    link_request(l, LANE_CONTROL, &(struct msg){.type = MSG_GET_VEC}, REQUEST_MS, on_asked_vector, q);
}

static void on_published(void *arg, struct link *l, uint64_t ctr)
{
    struct node *n = arg;
    const struct vec *v = engine_vector_of(n->engine, link_device(l));
    if (!v || memcmp(v->inst, link_inst(l), sizeof v->inst) != 0 || v->ctr < ctr)
        ask_vector(n, l);
}

static void serve_vector(struct node *n, const struct net_from *from, const struct msg *m)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    if (engine_own_vector(n->engine, loop_wall(), net_port(n->net), &blob) < 0)
        return;
    zmq_msg_t z;
    net_body_of(&z, &blob);
    net_reply(n->net, from, &(struct msg){.type = MSG_VEC, .req = m->req}, &z);
}

/* ---- greetings ---- */

static void fill_hello(void *arg, struct msg_hello *h)
{
    struct node *n = arg;
    const struct group *g = node_group(n);
    memset(h, 0, sizeof *h);
    h->group = g->id;
    h->dev = n->home->keys->dev;
    memcpy(h->inst, n->inst, sizeof h->inst);
    h->proto_min = PROTO_MIN;
    h->proto_max = PROTO_MAX;
    h->wall_ms = loop_wall();
    h->ctl_n = g->ctl_n;
    h->ctl_hash = g->ctl_hash;
    h->port = net_port(n->net);
}

static void refuse(struct node *n, const struct net_from *to, uint64_t req, enum msg_error code, const char *text)
{
    struct msg m = {.type = MSG_ERR, .req = req, .err = {.code = code, .text = {(const uint8_t *)text, strlen(text)}, .retry_ms = 1000}};
    net_reply(n->net, to, &m, NULL);
}

/* The device that signed must be the one whose transport key CURVE saw. */
static int check_greeting(struct node *n, const struct net_from *from, const struct msg_hello *h, struct hello_party *caller)
{
    const struct member *m = group_find(node_group(n), &from->who);
    if (!m || m->revoked || !id_eq(&h->dev, &from->who) || !id_eq(&h->group, &node_group(n)->id))
        return err_set(ERR_DENIED, "hello: not from the device whose key the connection has");
    *caller = (struct hello_party){.dev = h->dev};
    memcpy(caller->tr_pk, m->card.tr_pk, sizeof caller->tr_pk);
    memcpy(caller->nonce, h->nonce, sizeof caller->nonce);
    return hello_verify(h->sig, &node_group(n)->id, caller, NULL);
}

static void serve_hello(struct node *n, const struct net_from *from, const struct msg *m)
{
    struct hello_party caller, self = {.dev = n->home->keys->dev};
    if (check_greeting(n, from, &m->hello, &caller) < 0) {
        log_seldom(LOG_WARN, "greeting refused from=%s why=\"%s\"", from->address, err_text());
        refuse(n, from, m->req, MSGERR_AUTH, "greeting not genuine");
        return;
    }
    if (m->hello.proto_min > PROTO_MAX || m->hello.proto_max < PROTO_MIN) {
        refuse(n, from, m->req, MSGERR_PROTO, "no common protocol version: update the older device");
        return;
    }
    struct msg reply = {.type = MSG_HELLO_OK, .req = m->req};
    fill_hello(n, &reply.hello);
    randombytes_buf(self.nonce, sizeof self.nonce);
    memcpy(self.tr_pk, n->home->keys->tr_pk, sizeof self.tr_pk);
    memcpy(reply.hello.nonce, self.nonce, sizeof self.nonce);
    hello_sign(reply.hello.sig, &node_group(n)->id, &self, &caller, n->home->keys);
    net_reply(n->net, from, &reply, NULL);
    if (id_eq(&m->hello.dev, &n->home->keys->dev))
        self_greeted(n, &m->hello);
    else
        peers_heard(n->peers, &m->hello.dev, m->hello.inst, from->address, m->hello.port);
}

/* ---- requests of members ---- */

static void on_request(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    struct node *n = arg;
    const struct member *who = group_find(node_group(n), &from->who);
    if (!who || who->revoked)
        return;
    switch (m->type) {
    case MSG_HELLO:
        serve_hello(n, from, m);
        break;
    case MSG_PING:
        net_reply(n->net, from, &(struct msg){.type = MSG_PONG, .req = m->req, .ping = {.wall_ms = loop_wall(), .ctr = n->announced.ctr}}, NULL);
        break;
    case MSG_GET_CTL:
        control_serve(n, from, m);
        break;
    case MSG_CTL:
        control_told(n, from, m, body);
        break;
    case MSG_GET_VEC:
        serve_vector(n, from, m);
        break;
    case MSG_GET_CS:
        serve_change_sets(n, from, m);
        break;
    case MSG_GET_LIVE:
        audit_serve(n, from, m);
        break;
    case MSG_FORK:
        self_serve_fork(n, from, m, body);
        break;
    case MSG_GET_VECS:
        far_serve(n, from, m, body);
        break;
    case MSG_PEX:
        greet_pex_serve(n, from, m, body);
        break;
    case MSG_GET_TREE:
    case MSG_HAVE:
    case MSG_GET_BLK:
        if (n->serve && !n->paused)
            serve_request(n->serve, from, m);
        else
            refuse(n, from, m->req, MSGERR_BUSY, "no content now");
        break;
    case MSG_GET_HIST:
        if (n->serve && !n->paused)
            serve_history(n, from, m);
        else
            refuse(n, from, m->req, MSGERR_BUSY, "no content now");
        break;
    default:
        refuse(n, from, m->req, MSGERR_PROTO, "not a request");
    }
}

/* ---- peers come and go ---- */

static void add_remembered(struct node *n)
{
    const struct group *g = node_group(n);
    for (size_t i = 0; i < g->nmember; i++) {
        AUTO(buf_release) struct buf v = BUF_INIT(128);
        if (greet_recall(n, "address", &g->member[i].card.dev, &v) < 0)
            continue;
        buf_add(&v, "", 1);
        if (buf_ok(&v))
            peers_add(n->peers, (const char *)v.data, ADDR_CACHE);
    }
}

static void on_up(void *arg, const struct id *dev, struct link *l, const struct msg_hello *h)
{
    struct node *n = arg;
    const struct member *m = group_find(node_group(n), dev);
    log_info("peer online name=%s address=%s", m->card.name, link_address(l));
    node_event(n, "peer-online", "name", m->card.name, "address", link_address(l), NULL);
    engine_online(n->engine, dev, true);
    far_up(n, dev);
    greet_remember(n, "address", dev, link_address(l), strlen(link_address(l)));
    ask_vector(n, l);
    control_heard(n, l, h->ctl_n, &h->ctl_hash);
    control_look_at_self(n);
    greet_pex_up(n, dev);
    if (n->pull)
        pull_peer_up(n->pull, dev);
}

static void on_down(void *arg, const struct id *dev)
{
    struct node *n = arg;
    const struct member *m = group_find(node_group(n), dev);
    engine_online(n->engine, dev, false);
    if (!far_down(n, dev)) {
        log_info("peer offline name=%s", m ? m->card.name : "?");
        node_event(n, "peer-offline", "name", m ? m->card.name : "?", NULL);
    }
    fetch_change_sets(n);
    if (n->api)
        api_poll(n->api);
}

static enum peer_wish on_wish(void *arg, const struct id *dev) { return far_wish(arg, dev); }
static bool on_gather(void *arg, loop_fn fn, void *fn_arg) { return far_gather(arg, fn, fn_arg); }
static void on_stranger(void *arg, struct link *l) { control_ask(arg, l, true); }
static void on_revoked(void *arg, struct link *l, bool self) { control_revoked(arg, l, self); }

/* ---- joining ---- */

static void on_join(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    struct node *n = arg;
    if (n->inviter)
        inviter_message(n->inviter, from, m, body);
}

static void on_appended(void *arg) { node_committed(arg); }

static void on_joined(void *arg, uint64_t invite, const struct id *dev, const char *name)
{
    log_info("device joined name=%s", name);
    node_event(arg, "device-joined", "name", name, NULL);
    struct node *n = arg;
    if (n->api)
        api_joined(n->api, invite, dev, name);
}

static void on_invite_ended(void *arg, uint64_t invite, const char *why)
{
    struct node *n = arg;
    if (n->api)
        api_invite_ended(n->api, invite, why);
}

static void on_hint(void *arg, const char *hint)
{
    struct node *n = arg;
    if (n->discovery)
        discovery_hint(n->discovery, hint);
}

static int start_inviter(struct node *n)
{
    struct inviter_config c = {.loop = n->loop, .pool = n->pool, .net = n->net, .keys = n->home->keys,
        .group_keys = n->home->group_keys, .control = n->home->control,
        .ops = {.joined = on_joined, .ended = on_invite_ended, .appended = on_appended, .hint = on_hint, .arg = n}};
    return inviter_new(&c, &n->inviter);
}

/* ---- start and end ---- */

void greet_free(struct node *n)
{
    greet_pex_free(n);
    far_free(n);
    audit_free(n);
}

int greet_start(struct node *n, const char *listen)
{
    struct net_config nc = {.loop = n->loop, .keys = n->home->keys, .group_keys = n->home->group_keys, .group = node_group(n),
        .listen = listen, .ops = {.request = on_request, .join = on_join, .arg = n}};
    int r = net_new(&nc, &n->net);
    if (r < 0)
        return r;
    struct peers_config pc = {.loop = n->loop, .net = n->net, .keys = n->home->keys, .group = node_group(n),
        .ops = {.hello = fill_hello, .self = self_greeted, .up = on_up, .down = on_down, .stranger = on_stranger, .revoked = on_revoked,
                .vector = on_vector, .published = on_published, .wish = on_wish, .gather = on_gather, .arg = n}};
    if ((r = peers_new(&pc, &n->peers)) < 0)
        return r;
    far_start(n);
    add_remembered(n);
    greet_pex_start(n);
    control_start(n);
    return start_inviter(n);
}

#include "node/link.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/lane.h"
#include "node/log.h"

#define DIAL_MS 8000       /* from dialling to UP */
#define PING_MS 5000
#define FIRST_PING_MS 200       /* what is published until the subscription has arrived is lost: PONG tells */
#define PING_MEMBER_MS 500      /* with many members each is asked less often: so many PINGs a second are enough for all together */
#define PING_TIMEOUT_MS 10000
#define BULK_IDLE_MS 60000      /* after that long without a request the connection for bulk is closed until the next one */
#define TICK_MS 500             /* what is due is looked at in such steps, of all links at the same moment */
#define VECTORS_A_TURN 1000
#define ZAP_REVOKED 400

/* A request without an answer yet. */
struct pending { uint64_t req, due; enum link_lane lane; link_reply_fn fn; void *arg; struct pending *next; };

struct link {
    struct link_config c;
    char address[80];
    enum link_state state;
    struct lane lane[2], sub;
    struct pending *pending; size_t npending;
    struct loop_timer tick, death;
    struct msg_hello hello;          /* of the peer, verified */
    const char *why;
    uint64_t next_req, started, bulk_used, pinged, next_ping;
    uint64_t heard;                  /* when something last came from it, on any connection */
    bool pinging;
    struct id dev;
    uint8_t inst[8], nonce[32];
};

enum link_state link_state(const struct link *l) { return l->state; }
const char *link_address(const struct link *l) { return l->address; }
const struct id *link_device(const struct link *l) { return &l->dev; }
const uint8_t *link_inst(const struct link *l) { return l->inst; }

/* ---- dying ---- */

static void fail_pending(struct link *l)
{
    while (l->pending) {
        struct pending *p = l->pending;
        l->pending = p->next;
        l->npending--;
        p->fn(p->arg, NULL, NULL);
        free(p);
    }
}

/* The owner hears of it from a timer, never from inside a call it made itself. */
static void on_death(void *arg)
{
    struct link *l = arg;
    fail_pending(l);
    l->c.ops.down(l->c.ops.arg, l, l->why);
}

void link_kill(struct link *l, const char *why)
{
    if (l->state == LINK_DEAD)
        return;
    l->state = LINK_DEAD;
    l->why = why;
    loop_timer_clear(l->c.loop, &l->tick);
    loop_timer_set(l->c.loop, &l->death, 0, on_death, l);
}

/* ---- time ---- */

static void on_tick(void *arg);

/* Something is due then. */
static void wake_at(struct link *l, uint64_t due)
{
    uint64_t now = loop_now(), step = (due > now ? due : now) / TICK_MS * TICK_MS + TICK_MS;
    if (l->state != LINK_DEAD && (!l->tick.set || l->tick.due > step))
        loop_timer_set(l->c.loop, &l->tick, step - now, on_tick, l);
}

static uint64_t ping_pause(const struct link *l)
{
    uint64_t pause = l->c.group->nmember * (uint64_t)PING_MEMBER_MS;
    return pause > PING_MS ? pause : PING_MS;
}

/* ---- requests ---- */

static int open_lane(struct link *l, enum link_lane lane);

static bool send_request(struct link *l, enum link_lane lane, const struct msg *m, const struct buf *body)
{
    if (!l->lane[lane].socket && open_lane(l, lane) < 0) {
        log_seldom(LOG_WARN, "no connection for contents address=%s why=\"%s\"", l->address, err_text());
        return false;
    }
    void *socket = l->lane[lane].socket;
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    int r = msg_encode(&head, m);
    assert(r == 0);
    if (loop_send(l->c.loop, socket, head.data, head.len, ZMQ_DONTWAIT | (body ? ZMQ_SNDMORE : 0)) < 0)
        return false;
    return !body || loop_send(l->c.loop, socket, body->data, body->len, ZMQ_DONTWAIT) >= 0;
}

void link_request_body(struct link *l, enum link_lane lane, struct msg *m, const struct buf *body, uint64_t timeout_ms, link_reply_fn fn,
                       void *arg)
{
    assert(msg_has_body(m->type) == (body != NULL));
    m->req = ++l->next_req;
    struct pending *p = xcalloc(1, sizeof *p);
    *p = (struct pending){.req = m->req, .due = loop_now() + timeout_ms, .lane = lane, .fn = fn, .arg = arg, .next = l->pending};
    l->pending = p;
    l->npending++;
    if (l->state == LINK_DEAD)
        return;                      /* on_death calls it back */
    if (!send_request(l, lane, m, body))
        p->due = 0;                  /* not connected at this moment: the next tick calls it back */
    wake_at(l, p->due);
    if (lane == LANE_BULK)
        l->bulk_used = loop_now();
}

void link_request(struct link *l, enum link_lane lane, struct msg *m, uint64_t timeout_ms, link_reply_fn fn, void *arg)
{
    link_request_body(l, lane, m, NULL, timeout_ms, fn, arg);
}

bool link_busy(const struct link *l)
{
    for (const struct pending *p = l->pending; p; p = p->next)
        if (p->lane == LANE_BULK)
            return true;
    return false;
}

static struct pending *take_pending(struct link *l, uint64_t req)
{
    for (struct pending **p = &l->pending; *p; p = &(*p)->next)
        if ((*p)->req == req) {
            struct pending *found = *p;
            *p = found->next;
            l->npending--;
            return found;
        }
    return NULL;
}

static void expire(struct link *l, uint64_t now)
{
    struct pending **p = &l->pending;
    while (*p) {
        if ((*p)->due > now) {
            p = &(*p)->next;
            continue;
        }
        struct pending *old = *p;
        *p = old->next;
        l->npending--;
        old->fn(old->arg, NULL, NULL);
        free(old);
        p = &l->pending;             /* the callback may have changed the list */
    }
}

/* ---- greeting ---- */

static void on_pong(void *arg, const struct msg *m, zmq_msg_t *body)
{
    (void)body;
    struct link *l = arg;
    l->pinging = false;
    if (!m && l->heard > l->pinged)
        l->next_ping = loop_now();   /* busy, or its line is: what it says does come */
    else if (!m)
        link_kill(l, "no answer");
    else if (m->type == MSG_PONG && l->state == LINK_UP)
        l->c.ops.published(l->c.ops.arg, l, m->ping.ctr);
    wake_at(l, l->next_ping);
}

static void ping(struct link *l)
{
    l->pinged = loop_now();
    l->next_ping = l->pinged + ping_pause(l);
    l->pinging = true;
    struct msg m = {.type = MSG_PING, .ping = {.wall_ms = loop_wall()}};
    link_request(l, LANE_CONTROL, &m, l->c.ping_timeout_ms ? l->c.ping_timeout_ms : PING_TIMEOUT_MS, on_pong, l);
}

static void subscribe(struct link *l)
{
    uint8_t topic[NET_TOPIC];
    char ep[96];
    net_topic(l->c.net, topic);
    const char *colon = strrchr(l->address, ':');
    unsigned long port = strtoul(colon + 1, NULL, 10);
    snprintf(ep, sizeof ep, "tcp://%.*s:%lu", (int)(colon - l->address), l->address, port + 1);
    int r = zmq_setsockopt(l->sub.socket, ZMQ_SUBSCRIBE, topic, sizeof topic);
    assert(r == 0);
    if (lane_connect(&l->sub, ep) < 0)
        log_warn("vectors of a peer cannot be subscribed to why=\"%s\"", err_text());
}

/* 1: genuine, of a revoked device. */
static int check_hello(struct link *l, const struct msg_hello *h)
{
    const struct member *m = group_find(l->c.group, &h->dev);
    if (!id_eq(&h->group, &l->c.group->id))
        return err_set(ERR_DENIED, "hello: of another group");
    if (!m)
        return err_set(ERR_AGAIN, "hello: of a device that is not known yet");
    if (h->proto_min > PROTO_MAX || h->proto_max < PROTO_MIN)
        return err_set(ERR_DENIED, "hello: no common protocol version: update the older device");
    struct hello_party sender = {.dev = h->dev}, caller = {.dev = l->c.keys->dev};
    memcpy(sender.tr_pk, m->card.tr_pk, sizeof sender.tr_pk);
    memcpy(sender.nonce, h->nonce, sizeof sender.nonce);
    memcpy(caller.tr_pk, l->c.keys->tr_pk, sizeof caller.tr_pk);
    memcpy(caller.nonce, l->nonce, sizeof caller.nonce);
    int r = hello_verify(h->sig, &l->c.group->id, &sender, &caller);
    return r == 0 && m->revoked ? 1 : r;
}

/* The handshake of the second lane may take a moment longer than that of the first: what is asked on it waits for that. */
static void become_up(struct link *l)
{
    l->dev = l->hello.dev;
    memcpy(l->inst, l->hello.inst, sizeof l->inst);
    l->state = LINK_UP;
    if (!l->c.ops.up(l->c.ops.arg, l, &l->hello)) {
        link_kill(l, "not needed");
        return;
    }
    subscribe(l);
    l->next_ping = loop_now() + FIRST_PING_MS;
    wake_at(l, l->next_ping);
}

static void on_hello(void *arg, const struct msg *m, zmq_msg_t *body)
{
    (void)body;
    struct link *l = arg;
    if (l->state != LINK_GREETING)
        return;
    if (!m || m->type != MSG_HELLO_OK) {
        link_kill(l, m ? "greeting refused" : "greeting not answered");
        return;
    }
    int r = check_hello(l, &m->hello);
    if (r > 0) {
        log_seldom(LOG_INFO, "peer refused address=%s why=\"hello: of a revoked device\"", l->address);
        if (l->c.ops.revoked)
            l->c.ops.revoked(l->c.ops.arg, l, false);
        else
            link_kill(l, "greeting not genuine");
        return;
    }
    if (r < 0) {
        log_seldom(LOG_INFO, "peer refused address=%s why=\"%s\"", l->address, err_text());
        if (r == ERR_AGAIN)
            l->c.ops.stranger(l->c.ops.arg, l);
        else
            link_kill(l, "greeting not genuine");
        return;
    }
    l->hello = m->hello;
    become_up(l);
}

static void greet(struct link *l)
{
    struct msg m = {.type = MSG_HELLO};
    l->c.ops.hello(l->c.ops.arg, &m.hello);
    randombytes_buf(l->nonce, sizeof l->nonce);
    memcpy(m.hello.nonce, l->nonce, sizeof l->nonce);
    struct hello_party self = {.dev = l->c.keys->dev};
    memcpy(self.tr_pk, l->c.keys->tr_pk, sizeof self.tr_pk);
    memcpy(self.nonce, l->nonce, sizeof self.nonce);
    hello_sign(m.hello.sig, &l->c.group->id, &self, NULL, l->c.keys);
    l->state = LINK_GREETING;
    link_request(l, LANE_CONTROL, &m, DIAL_MS, on_hello, l);
}

/* ---- events ---- */

static uint64_t bulk_idle_ms(const struct link *l) { return l->c.bulk_idle_ms ? l->c.bulk_idle_ms : BULK_IDLE_MS; }

/* Whoever has many peers fetches from few of them. */
static void close_idle_bulk(struct link *l, uint64_t now)
{
    bool awaited = false;
    for (const struct pending *p = l->pending; p; p = p->next)
        awaited |= p->lane == LANE_BULK;
    if (!l->lane[LANE_BULK].socket || awaited)
        return;                      /* what is pending wakes us */
    if (now < l->bulk_used + bulk_idle_ms(l))
        wake_at(l, l->bulk_used + bulk_idle_ms(l));
    else
        lane_close(&l->lane[LANE_BULK]);
}

static void on_tick(void *arg)
{
    struct link *l = arg;
    uint64_t now = loop_now();
    expire(l, now);
    if (l->state == LINK_DEAD)
        return;
    if (l->state != LINK_UP && now > l->started + DIAL_MS)
        link_kill(l, "no connection");
    else if (l->state == LINK_UP && !l->pinging && now > l->next_ping)
        ping(l);
    for (const struct pending *p = l->pending; p; p = p->next)
        wake_at(l, p->due);
    close_idle_bulk(l, now);
    if (l->state != LINK_UP)
        wake_at(l, l->started + DIAL_MS);
    else if (!l->pinging)
        wake_at(l, l->next_ping);
}

static void deliver(struct link *l, const struct msg *m, zmq_msg_t *body)
{
    struct pending *p = take_pending(l, m->req);
    if (!p)
        return;
    p->fn(p->arg, m, body);
    free(p);
}

static void receive_from(struct link *l, enum link_lane lane)
{
    for (int i = 0; i < 64 && l->state != LINK_DEAD; i++) {
        zmq_msg_t head, body;
        zmq_msg_init(&head);
        zmq_msg_init(&body);
        bool has_body;
        struct msg m;
        int r = net_receive(l->lane[lane].socket, NULL, &head, &body, &has_body);
        bool got = r != 0;
        if (r > 0 && (r = msg_decode(zmq_msg_data(&head), zmq_msg_size(&head), &m)) == 0)
            r = net_check_body(&m, &body, has_body);
        if (got && r < 0) {
            log_seldom(LOG_WARN, "answer refused address=%s why=\"%s\"", l->address, err_text());
            link_kill(l, "malformed answer");
        } else if (got) {
            l->heard = loop_now();
            deliver(l, &m, has_body ? &body : NULL);
        }
        zmq_msg_close(&head);
        zmq_msg_close(&body);
        if (!got)
            return;
    }
}

static void on_ctl(void *arg) { receive_from(arg, LANE_CONTROL); }
static void on_bulk(void *arg) { receive_from(arg, LANE_BULK); }

/* A vector names everything, so of those that wait only the newest counts. Reading one costs more than receiving it: whoever sends them
 * faster than they are read would otherwise fill the memory. */
static void on_sub(void *arg)
{
    struct link *l = arg;
    zmq_msg_t topic, blob, newest;
    zmq_msg_init(&newest);
    bool has_body, any = false;
    int r = l->state == LINK_UP;
    for (int i = 0; i < VECTORS_A_TURN && r; i++) {
        zmq_msg_init(&topic);
        zmq_msg_init(&blob);
        r = net_receive(l->sub.socket, NULL, &topic, &blob, &has_body);
        if (r > 0 && has_body) {
            zmq_msg_move(&newest, &blob);
            any = true;
        }
        zmq_msg_close(&topic);
        zmq_msg_close(&blob);
    }
    if (any) {
        l->heard = loop_now();
        l->c.ops.vector(l->c.ops.arg, l, zmq_msg_data(&newest), zmq_msg_size(&newest));
    }
    zmq_msg_close(&newest);
}

/* status: the ZAP code of the other side. */
static void refused(struct link *l, uint32_t status)
{
    link_kill(l, "refused by the other side");
    if (status == ZAP_REVOKED && l->c.ops.revoked)
        l->c.ops.revoked(l->c.ops.arg, l, true);
}

/* Whichever breaks ends both: what was asked there would be waited for until its time is over, which for content may be minutes. */
static void on_connection_event(struct link *l, bool control, uint16_t what, uint32_t value)
{
    if (what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED && control && l->state == LINK_DIALLING)
        greet(l);
    else if (what == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        refused(l, value);
    else if (what == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
        link_kill(l, "not a node of this group");
    else if (what == ZMQ_EVENT_DISCONNECTED && l->state != LINK_DIALLING)
        link_kill(l, "disconnected");
}

static void on_events(struct link *l, enum link_lane lane)
{
    uint16_t what;
    uint32_t value;
    while (lane_event(&l->lane[lane], &what, &value))
        if (l->state != LINK_DEAD)
            on_connection_event(l, lane == LANE_CONTROL, what, value);
}

static void on_ctl_event(void *arg) { on_events(arg, LANE_CONTROL); }
static void on_bulk_event(void *arg) { on_events(arg, LANE_BULK); }

/* ---- life cycle ---- */

static int open_lane(struct link *l, enum link_lane lane)
{
    static const struct lane_calls calls[] = {
        [LANE_CONTROL] = {.message = on_ctl, .event = on_ctl_event}, [LANE_BULK] = {.message = on_bulk, .event = on_bulk_event},
    };
    struct lane_calls c = calls[lane];
    char ep[96];
    c.arg = l;
    snprintf(ep, sizeof ep, "tcp://%s", l->address);
    int r = lane_open(&l->lane[lane], l->c.loop, l->c.net, ZMQ_DEALER, &c);
    return r ? r : lane_connect(&l->lane[lane], ep);
}

static int open_lanes(struct link *l)
{
    int r = open_lane(l, LANE_CONTROL);
    return r ? r : lane_open(&l->sub, l->c.loop, l->c.net, ZMQ_SUB, &(struct lane_calls){.message = on_sub, .arg = l});
}

int link_dial(const struct link_config *c, const char *address, struct link **out)
{
    struct link *l = xcalloc(1, sizeof *l);
    l->c = *c;
    l->started = loop_now();
    snprintf(l->address, sizeof l->address, "%s", address);
    int r = strrchr(address, ':') ? open_lanes(l) : err_set(ERR_USAGE, "address %s: not HOST:PORT", address);
    if (r < 0) {
        link_free(&l);
        return r;
    }
    wake_at(l, l->started + DIAL_MS);
    *out = l;
    return 0;
}

void link_free(struct link **pl)
{
    struct link *l = *pl;
    if (!l)
        return;
    *pl = NULL;
    l->state = LINK_DEAD;
    fail_pending(l);
    loop_timer_clear(l->c.loop, &l->tick);
    loop_timer_clear(l->c.loop, &l->death);
    lane_close(&l->lane[LANE_CONTROL]);
    lane_close(&l->lane[LANE_BULK]);
    lane_close(&l->sub);
    free(l);
}

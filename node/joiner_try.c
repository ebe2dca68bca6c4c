#include "node/joiner_priv.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/file.h"
#include "node/home.h"
#include "node/net.h"
#include "node/probe.h"

enum { DIAL_MS = 3000, PROBE_MS = 500, ANSWER_MS = 4000, MEMBERSHIP_MS = 20000, RETRY_MAX_MS = 1000 };

/* ---- the end of a try ---- */

void try_close(struct try *t)
{
    if (t->monitor)
        zmq_socket_monitor(t->socket, NULL, 0);
    void *all[] = {t->monitor, t->socket};
    for (size_t i = 0; i < 2; i++)
        if (all[i]) {
            loop_del_socket(t->j->loop, all[i]);
            zmq_close(all[i]);
        }
    t->monitor = t->socket = NULL;
    pake_free(&t->pake);
    t->state = TRY_OVER;
}

/* Ends the try with the reason in err_text(). Behind PROVEN there is no other: our card has been given away. */
static void try_failed(struct try *t, int code)
{
    bool proven = t->state == TRY_PROVEN;
    if (proven)
        joiner_finish(t->j, code);
    else
        joiner_remember(t->j, code);
    try_close(t);
}

/* ---- the exchange ---- */

static bool send_message(struct try *t, struct msg *m, const void *body, size_t len)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    int r = msg_encode(&head, m);
    assert(r == 0);
    return loop_send(t->j->loop, t->socket, head.data, head.len, (body ? ZMQ_SNDMORE : 0) | ZMQ_DONTWAIT) >= 0 &&
           (!body || loop_send(t->j->loop, t->socket, body, len, ZMQ_DONTWAIT) >= 0);
}

/* One node has several addresses, and one try of an invite is enough. */
static bool instance_asked(const struct try *t)
{
    for (const struct try *o = t->j->try; o < t->j->try + t->j->ntry; o++)
        if (o != t && o->asked && strcmp(o->instance, t->instance) == 0)
            return true;
    return false;
}

static void ask(struct try *t)
{
    struct joiner *j = t->j;
    if (instance_asked(t) || j->nexchange == EXCHANGES_MAX) {
        try_close(t);
        return;
    }
    uint8_t server_pk[32], server_sk[32];
    keys_join_server(server_pk, server_sk);
    struct msg m = {.type = MSG_JOIN1, .req = 1, .join1 = {.proto_min = PROTO_MIN, .proto_max = PROTO_MAX}};
    code_hint(j->q->code, m.join1.hint);
    t->pake = pake_new(PAKE_JOINER, j->prs, t->pk, server_pk, m.join1.share);
    t->state = TRY_ASKED;
    t->due = loop_now() + ANSWER_MS;
    t->asked = true;
    j->nexchange++;
    if (!send_message(t, &m, NULL, 0))
        try_failed(t, err_set(ERR_TIMEOUT, "%s: the connection was lost", t->address));
}

static void on_join2(struct try *t, const struct msg *m)
{
    AUTO(buf_release) struct buf box = BUF_INIT(LIMIT_HEAD);
    struct msg reply = {.type = MSG_JOIN3, .req = 2};
    int r = pake_derive(t->pake, m->join2.share);
    if (r == 0)
        r = pake_check(t->pake, m->join2.tag);
    if (r == 0) {
        pake_tag(t->pake, reply.join3.tag);
        r = pake_seal(t->pake, &box, t->j->card.data, t->j->card.len);
    }
    if (r == 0 && !send_message(t, &reply, box.data, box.len))
        r = err_set(ERR_TIMEOUT, "%s: the connection was lost", t->address);
    if (r < 0) {
        try_failed(t, r);
        return;
    }
    t->state = TRY_PROVEN;
    t->due = loop_now() + MEMBERSHIP_MS;
}

static void put_address(struct buf *out, uint32_t *n, const void *s, size_t len)
{
    if (*n == LIMIT_ADDRS || addr_check(s, len) < 0)
        return;
    mp_put_strn(out, s, len);
    ++*n;
}

/* The address that worked comes first among those that the new node will dial. */
/* Addresses for the config: the one that worked, then those that the inviter named. Who was found by mDNS will be found by it again,
 * also where its address has changed. */
static void choose_addresses(const char *at, const struct membership *given, struct buf *addrs, uint32_t *n)
{
    *n = 0;
    if (!at)
        return;
    put_address(addrs, n, at, strlen(at));
    struct mp rest = mp_reader(given->addrs.p, given->addrs.len);
    for (uint32_t i = 0; i < given->naddr; i++) {
        struct bytes a = mp_str(&rest, ADDRESS_TEXT);
        if (a.len != strlen(at) || memcmp(a.p, at, a.len) != 0)
            put_address(addrs, n, a.p, a.len);
    }
}

static int make_home(const struct try *t, const struct membership *given)
{
    const struct joiner_request *q = t->j->q;
    AUTO(buf_release) struct buf addrs = BUF_INIT(LIMIT_ADDRS * 70u);
    struct membership m = *given;
    choose_addresses(q->at, given, &addrs, &m.naddr);
    m.addrs = (struct bytes){addrs.data, addrs.len};
    struct home_parts parts = {.keys = t->j->keys, .card = {t->j->card.data, t->j->card.len}, .folder = q->folder, .group = &m};
    int r = home_create(q->home, &parts);
    sodium_memzero(&m, sizeof m);
    return r;
}

static void on_join4(struct try *t, zmq_msg_t *body)
{
    AUTO(file_wipe) struct buf plain = BUF_INIT(LIMIT_BODY + PAKE_EXTRA);
    struct membership m;
    int r = pake_open(t->pake, &plain, zmq_msg_data(body), zmq_msg_size(body));
    if (r == 0)
        r = membership_decode(plain.data, plain.len, &m);
    if (r == 0) {
        r = make_home(t, &m);
        sodium_memzero(&m, sizeof m);
    }
    joiner_finish(t->j, r);
    try_close(t);
}

static void on_refusal(struct try *t, const struct msg *m)
{
    if (m->err.code == MSGERR_BUSY && t->state == TRY_ASKED) {
        pake_free(&t->pake);
        t->asked = false;                                  /* it was not looked at */
        t->j->nexchange--;
        t->state = TRY_CONNECTED;
        t->due = loop_now() + (m->err.retry_ms < RETRY_MAX_MS ? m->err.retry_ms : RETRY_MAX_MS);
        return;
    }
    int code = m->err.code == MSGERR_AUTH ? ERR_DENIED : ERR_BAD;
    try_failed(t, err_set(code, "the inviting device says: %.*s", (int)m->err.text.len, (const char *)m->err.text.p));
}

static void on_message(struct try *t, const struct msg *m, zmq_msg_t *body)
{
    if (m->type == MSG_ERR && t->state >= TRY_ASKED)
        on_refusal(t, m);
    else if (m->type == MSG_JOIN2 && t->state == TRY_ASKED)
        on_join2(t, m);
    else if (m->type == MSG_JOIN4 && t->state == TRY_PROVEN)
        on_join4(t, body);
    else
        try_failed(t, err_set(ERR_BAD, "%s: %s came where it does not belong", t->address, msg_name(m->type)));
}

static void on_socket(void *arg)
{
    struct try *t = arg;
    zmq_msg_t head, body;
    zmq_msg_init(&head);
    zmq_msg_init(&body);
    bool has_body;
    struct msg m;
    int r = net_receive(t->socket, NULL, &head, &body, &has_body);
    bool got = r != 0;
    if (r > 0)
        r = msg_decode(zmq_msg_data(&head), zmq_msg_size(&head), &m);
    if (got && r >= 0 && msg_has_body(m.type) != has_body)
        r = err_set(ERR_BAD, "%s: body missing or not allowed", msg_name(m.type));
    if (got && r < 0)
        try_failed(t, r);
    else if (got)
        on_message(t, &m, &body);
    zmq_msg_close(&head);
    zmq_msg_close(&body);
}

/* ---- connecting ---- */

static void on_monitor(void *arg)
{
    struct try *t = arg;
    uint8_t event[6];
    int n = zmq_recv(t->monitor, event, sizeof event, ZMQ_DONTWAIT);
    if (n < 0)
        return;
    zmq_recv(t->monitor, NULL, 0, 0);                      /* the endpoint */
    uint16_t what;
    memcpy(&what, event, sizeof what);
    if (what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED && t->state == TRY_DIALLING) {
        t->state = TRY_CONNECTED;
        t->due = 0;
        try_step(t);
    } else if (what == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL || what == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
        try_failed(t, err_set(ERR_DENIED, "%s: no device that lets others join is there", t->address));
    } else if (what == ZMQ_EVENT_DISCONNECTED && t->state >= TRY_CONNECTED) {
        try_failed(t, err_set(ERR_DENIED, "%s: the other side has closed the connection: is the invite over?", t->address));
    }
}

static int socket_options(struct try *t)
{
    uint8_t sk[32], server_pk[32], server_sk[32];
    keys_join_server(server_pk, server_sk);
    crypto_box_keypair(t->pk, sk);
    int none = 0, r = net_socket_common(t->socket);
    if (r == 0 && (zmq_setsockopt(t->socket, ZMQ_RCVHWM, &none, sizeof none) ||
                   zmq_setsockopt(t->socket, ZMQ_CURVE_SERVERKEY, server_pk, sizeof server_pk) ||
                   zmq_setsockopt(t->socket, ZMQ_CURVE_PUBLICKEY, t->pk, sizeof t->pk) ||
                   zmq_setsockopt(t->socket, ZMQ_CURVE_SECRETKEY, sk, sizeof sk)))
        r = err_set(ERR_IO, "network: socket option: %s", zmq_strerror(errno));
    sodium_memzero(sk, sizeof sk);
    return r;
}

static int watch(struct try *t)
{
    char ep[64];
    snprintf(ep, sizeof ep, "inproc://try-%p", (void *)t);
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                 ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(t->socket, ep, events) || !(t->monitor = zmq_socket(t->j->zmq, ZMQ_PAIR)))
        return err_set(ERR_IO, "network: connection events: %s", zmq_strerror(errno));
    loop_add_socket(t->j->loop, t->monitor, on_monitor, t);
    return zmq_connect(t->monitor, ep) ? err_set(ERR_IO, "network: connection events: %s", zmq_strerror(errno)) : 0;
}

static int dial(struct try *t)
{
    char join[ADDRESS_TEXT], ep[ADDRESS_TEXT + 8];
    int r = address_port(t->address, JOIN_OFFSET, join);
    if (r < 0)
        return r;
    snprintf(ep, sizeof ep, "tcp://%s", join);
    t->state = TRY_DIALLING;
    t->due = loop_now() + DIAL_MS;
    t->socket = zmq_socket(t->j->zmq, ZMQ_DEALER);
    if (!t->socket)
        return err_set(ERR_IO, "network: cannot make a socket: %s", zmq_strerror(errno));
    loop_add_socket(t->j->loop, t->socket, on_socket, t);
    r = socket_options(t);
    if (r == 0)
        r = watch(t);
    if (r == 0 && zmq_connect(t->socket, ep))
        r = err_set(ERR_USAGE, "address %s: %s", t->address, zmq_strerror(errno));
    return r;
}

/* The socket for joining may have been closed while we were dialling it: its device is there, and waits for nobody any more. */
static int no_answer(const struct try *t)
{
    char join[ADDRESS_TEXT], numeric[ADDRESS_TEXT];
    if (t->state == TRY_DIALLING && address_port(t->address, JOIN_OFFSET, join) == 0 && probe(join, PROBE_MS, numeric) == ERR_CLOSED &&
        probe(t->address, PROBE_MS, numeric) == 0)
        return err_set(ERR_DENIED, "no invite is open at %s any more: ask for a new code", t->address);
    return err_set(ERR_TIMEOUT, "%s: no answer", t->address);
}

/* What time alone makes due. */
void try_step(struct try *t)
{
    uint64_t now = loop_now();
    if (t->state == TRY_OVER || now < t->due)
        return;
    if (t->state == TRY_WAITING) {
        int r = dial(t);
        if (r < 0)
            try_failed(t, r);
    } else if (t->state == TRY_CONNECTED) {
        if (t->j->stretched)
            ask(t);
    } else {
        try_failed(t, no_answer(t));
    }
}

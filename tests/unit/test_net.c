/* Who gets in: what libzmq does (the table that node/net*.c is built on), and what net makes of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/net_priv.h"
#include "tests/unit/t_node.h"

#define ENFORCE_DOMAIN 93
enum { HOPELESS = ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                  ZMQ_EVENT_DISCONNECTED };

static void set_int(void *s, int option, int value) { OK(zmq_setsockopt(s, option, &value, sizeof value)); }

/* ---- libzmq ---- */

struct row { const char *first, *later; bool domain, enforce; };  /* codes of the ZAP handler; NULL = there is none */
struct raw { void *ctx, *zap, *server, *client, *monitor; };

static void raw_open(struct raw *r, const struct row *row)
{
    char pk[41], sk[41], ep[80];
    size_t len = sizeof ep;
    r->ctx = zmq_ctx_new();
    if (row->first) {
        r->zap = zmq_socket(r->ctx, ZMQ_REP);
        OK(zmq_bind(r->zap, "inproc://zeromq.zap.01"));
    }
    r->server = zmq_socket(r->ctx, ZMQ_ROUTER);
    OK(zmq_curve_keypair(pk, sk));
    set_int(r->server, ZMQ_LINGER, 0);
    set_int(r->server, ZMQ_HANDSHAKE_IVL, 200);          /* it is this that ends a connection after a 300 */
    set_int(r->server, ZMQ_CURVE_SERVER, 1);
    OK(zmq_setsockopt(r->server, ZMQ_CURVE_SECRETKEY, sk, 40));
    if (row->domain)
        OK(zmq_setsockopt(r->server, ZMQ_ZAP_DOMAIN, "lanyard", 7));
    if (row->enforce)
        set_int(r->server, ENFORCE_DOMAIN, 1);
    OK(zmq_bind(r->server, "tcp://127.0.0.1:*"));
    OK(zmq_getsockopt(r->server, ZMQ_LAST_ENDPOINT, ep, &len));
    r->client = zmq_socket(r->ctx, ZMQ_DEALER);
    set_int(r->client, ZMQ_LINGER, 0);
    set_int(r->client, ZMQ_RECONNECT_IVL, 10);
    OK(zmq_setsockopt(r->client, ZMQ_CURVE_SERVERKEY, pk, 40));
    OK(zmq_curve_keypair(pk, sk));
    OK(zmq_setsockopt(r->client, ZMQ_CURVE_PUBLICKEY, pk, 40));
    OK(zmq_setsockopt(r->client, ZMQ_CURVE_SECRETKEY, sk, 40));
    OK(zmq_socket_monitor(r->client, "inproc://events", HOPELESS));
    r->monitor = zmq_socket(r->ctx, ZMQ_PAIR);
    OK(zmq_connect(r->monitor, "inproc://events"));
    OK(zmq_connect(r->client, ep));
    EQ_I(zmq_send(r->client, "x", 1, 0), 1);
}

static void raw_close(struct raw *r)
{
    zmq_socket_monitor(r->client, NULL, 0);
    void *all[] = { r->monitor, r->client, r->server, r->zap };
    for (size_t i = 0; i < 4; i++)
        if (all[i]) {
            set_int(all[i], ZMQ_LINGER, 0);
            zmq_close(all[i]);
        }
    zmq_ctx_term(r->ctx);
}

static void raw_zap(void *zap, const char *code)
{
    char frame[6][256], more = 1;
    size_t n = 0, len[6];
    while (more && n < 6) {
        int got = zmq_recv(zap, frame[n], 255, 0), m = 0;
        size_t size = sizeof m;
        CHECK(got >= 0);
        len[n++] = (size_t)got;
        OK(zmq_getsockopt(zap, ZMQ_RCVMORE, &m, &size));
        more = m != 0;
    }
    for (int m = 1; more && m; ) {
        size_t size = sizeof m;
        zmq_recv(zap, frame[0], 255, 0);
        OK(zmq_getsockopt(zap, ZMQ_RCVMORE, &m, &size));
    }
    zmq_send(zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(zap, frame[1], len[1], ZMQ_SNDMORE);
    zmq_send(zap, code, 3, ZMQ_SNDMORE);
    zmq_send(zap, "", 0, ZMQ_SNDMORE);
    zmq_send(zap, "user", 4, ZMQ_SNDMORE);
    zmq_send(zap, "", 0, 0);
}

/* Until the message has come (1), the client has been turned away (0), or the time is over (-1). */
static int raw_run(struct raw *r, const char *code, uint64_t ms)
{
    for (uint64_t end = loop_now() + ms, now; (now = loop_now()) < end; ) {
        zmq_pollitem_t it[] = { { r->server, 0, ZMQ_POLLIN, 0 }, { r->monitor, 0, ZMQ_POLLIN, 0 }, { r->zap, 0, ZMQ_POLLIN, 0 } };
        zmq_poll(it, r->zap ? 3 : 2, (long)(end - now));
        if (r->zap && it[2].revents)
            raw_zap(r->zap, code);
        if (it[0].revents)
            return 1;
        if (!it[1].revents)
            continue;
        char event[64];
        zmq_recv(r->monitor, event, sizeof event, 0);
        zmq_recv(r->monitor, event, sizeof event, 0);
        return 0;
    }
    return -1;
}

static int raw_delivered(struct row row)
{
    struct raw r = { 0 };
    raw_open(&r, &row);
    int got = raw_run(&r, row.first, T_DEADLINE_MS);
    while (row.later && got == 0)
        got = raw_run(&r, row.later, 1000);
    raw_close(&r);
    return got;
}

static void test_table_of_libzmq(void)
{
    EQ_I(raw_delivered((struct row){ .domain = false }), 1);
    EQ_I(raw_delivered((struct row){ .domain = true }), 1);
    EQ_I(raw_delivered((struct row){ .domain = true, .enforce = true }), 0);
    EQ_I(raw_delivered((struct row){ .first = "400", .enforce = true }), 1);
    EQ_I(raw_delivered((struct row){ .first = "200", .domain = true, .enforce = true }), 1);
    EQ_I(raw_delivered((struct row){ .first = "400", .later = "200", .domain = true, .enforce = true }), -1);
    EQ_I(raw_delivered((struct row){ .first = "500", .later = "200", .domain = true, .enforce = true }), -1);
    EQ_I(raw_delivered((struct row){ .first = "300", .later = "200", .domain = true, .enforce = true }), 1);
}

/* ---- net ---- */

enum { CLIENTS = 4 };
struct client { void *s, *monitor; unsigned replies, lost; enum msg_type last; };
static struct node {
    struct t_group g;
    struct loop *loop; struct net *net;
    unsigned requests, joins;
    struct net_from from;
    struct client client[CLIENTS];
    size_t nclient;
} n;

static void on_request(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    (void)arg, (void)body;
    n.requests++;
    n.from = *from;
    struct msg reply = { .type = MSG_PONG, .req = m->req };
    net_reply(n.net, from, &reply, NULL);
}
static void on_join(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    (void)arg, (void)body;
    n.joins++;
    n.from = *from;
    struct msg reply = { .type = MSG_PONG, .req = m->req };
    net_reply_join(n.net, from, &reply, NULL);
}

static void client_close(struct client *c)
{
    if (!c->s)
        return;
    zmq_socket_monitor(c->s, NULL, 0);
    loop_del_socket(n.loop, c->s);
    loop_del_socket(n.loop, c->monitor);
    zmq_close(c->monitor);
    zmq_close(c->s);
    c->s = NULL;
}
static void node_end(void)
{
    for (size_t i = 0; i < n.nclient; i++)
        client_close(&n.client[i]);
    net_free(&n.net);
    loop_free(&n.loop);
    if (n.g.keys)
        t_group_release(&n.g);
    n = (struct node){ 0 };
}
static int node_listen(const char *listen, struct net **out)
{
    struct net_config c = { .loop = n.loop, .keys = n.g.dev[0], .group_keys = n.g.keys, .group = &n.g.group, .listen = listen,
                            .ops = { .request = on_request, .join = on_join } };
    return net_new(&c, out);
}
static void node_begin(void)
{
    node_end();
    t_group_init(&n.g, 2);
    t_must(loop_new(&n.loop));
    t_must(node_listen("127.0.0.1:0", &n.net));
}

static void on_reply(void *arg)
{
    struct client *c = arg;
    char head[512];
    struct msg m;
    for (int len; (len = zmq_recv(c->s, head, sizeof head, ZMQ_DONTWAIT)) >= 0; c->replies++) {
        OK(msg_decode(head, (size_t)len, &m));
        c->last = m.type;
    }
}
static void on_event(void *arg)
{
    struct client *c = arg;
    char event[64];
    while (zmq_recv(c->monitor, event, sizeof event, ZMQ_DONTWAIT) >= 0) {
        zmq_recv(c->monitor, event, sizeof event, 0);
        c->lost++;
    }
}
enum { PORT_JOIN = 2, NO_CURVE = 16, WRONG_SERVER_KEY = 32 };
/* The device that dials; how: the port, and what is wrong with it. */
static struct client *dial(size_t device, unsigned how)
{
    CHECK(n.nclient < CLIENTS);
    struct client *c = &n.client[n.nclient++];
    uint8_t pk[32], sk[32];
    char ep[80];
    if (how & PORT_JOIN)
        keys_join_server(pk, sk);
    else
        keys_server(n.g.keys, pk, sk);
    pk[0] ^= how & WRONG_SERVER_KEY ? 1 : 0;
    c->s = zmq_socket(net_context(n.net), ZMQ_DEALER);
    set_int(c->s, ZMQ_LINGER, 0);
    set_int(c->s, ZMQ_RECONNECT_IVL, 20);
    if (!(how & NO_CURVE)) {
        OK(zmq_setsockopt(c->s, ZMQ_CURVE_SERVERKEY, pk, 32));
        OK(zmq_setsockopt(c->s, ZMQ_CURVE_PUBLICKEY, n.g.dev[device]->tr_pk, 32));
        OK(zmq_setsockopt(c->s, ZMQ_CURVE_SECRETKEY, n.g.dev[device]->tr_sk, 32));
    }
    snprintf(ep, sizeof ep, "inproc://client-%zu", n.nclient);
    OK(zmq_socket_monitor(c->s, ep, HOPELESS));
    c->monitor = zmq_socket(net_context(n.net), ZMQ_PAIR);
    OK(zmq_connect(c->monitor, ep));
    loop_add_socket(n.loop, c->s, on_reply, c);
    loop_add_socket(n.loop, c->monitor, on_event, c);
    snprintf(ep, sizeof ep, "tcp://127.0.0.1:%u", net_port(n.net) + (how & PORT_JOIN));
    OK(zmq_connect(c->s, ep));
    return c;
}
static void ping(struct client *c)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    struct msg m = { .type = MSG_PING, .req = 7 };
    OK(msg_encode(&head, &m));
    EQ_I(loop_send(n.loop, c->s, head.data, head.len, ZMQ_DONTWAIT), head.len);
}
static bool answered(void *arg) { return ((struct client *)arg)->replies > 0; }
static bool turned_away(void *arg) { return ((struct client *)arg)->lost > 0; }
static void is_served(struct client *c)
{
    c->replies = 0;
    ping(c);
    UNTIL(n.loop, answered, c);
    EQ_U(c->last, MSG_PONG);
}

static void test_member_gets_in(void)
{
    node_begin();
    is_served(dial(1, 0));
    CHECK(id_eq(&n.from.who, &n.g.dev[1]->dev));
    CHECK(strstr(n.from.address, "127.0.0.1"));
    is_served(dial(0, 0));
    CHECK(id_eq(&n.from.who, &n.g.dev[0]->dev));
}

static void test_stranger_waits_until_he_is_known(void)
{
    node_begin();
    struct client *c = dial(2, 0);
    ping(c);
    UNTIL(n.loop, turned_away, c);
    EQ_U(n.requests, 0);
    t_group_add(&n.g, 2);
    UNTIL(n.loop, answered, c);
    CHECK(id_eq(&n.from.who, &n.g.dev[2]->dev));
}

static void never_gets_in(size_t device, unsigned how)
{
    struct client *c = dial(device, how);
    ping(c);
    UNTIL(n.loop, turned_away, c);
    is_served(dial(0, 0));
    t_within(n.loop, 100, answered, c);
    EQ_U(c->replies, 0);
    EQ_U(n.requests, 1);
}
static void test_revoked_never(void)
{
    node_begin();
    t_group_revoke(&n.g, 1);
    never_gets_in(1, 0);
}
static void test_plain_never(void)
{
    node_begin();
    never_gets_in(1, NO_CURVE);
}
static void test_wrong_server_key_never(void)
{
    node_begin();
    never_gets_in(1, WRONG_SERVER_KEY);
}

/* Without its handler libzmq must let nobody in; see the table. */
static void test_fails_closed_without_a_handler(void)
{
    node_begin();
    loop_del_socket(n.loop, n.net->zap);
    zmq_close(n.net->zap);
    n.net->zap = NULL;
    struct client *stranger = dial(2, 0), *member = dial(1, 0);
    ping(stranger);
    ping(member);
    UNTIL(n.loop, turned_away, stranger);
    UNTIL(n.loop, turned_away, member);
    EQ_U(n.requests, 0);
}

/* ---- ports ---- */

static int tcp_connect(unsigned port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, (struct sockaddr *)&a, sizeof a) ? errno : 0;
    close(fd);
    return r;
}

static bool is_refused(void *arg) { return tcp_connect(*(unsigned *)arg) == ECONNREFUSED; }

static void test_three_ports(void)
{
    node_begin();
    char address[80];
    snprintf(address, sizeof address, "127.0.0.1:%u", net_port(n.net));
    EQ_S(net_address(n.net), address);
    EQ_I(tcp_connect(net_port(n.net)), 0);
    EQ_I(tcp_connect(net_port(n.net) + 1u), 0);
    EQ_I(tcp_connect(net_port(n.net) + 2u), ECONNREFUSED);
}

static void test_port_taken(void)
{
    node_begin();
    char address[80];
    for (unsigned i = 0; i < 3; i++) {
        struct net *second;
        snprintf(address, sizeof address, "127.0.0.1:%u", net_port(n.net) + 2 - i);
        FAILS(node_listen(address, &second), ERR_EXISTS, "choose another");
    }
    is_served(dial(1, 0));
}

static void test_bad_addresses(void)
{
    static const char *const bad[] = { "", "127.0.0.1", ":7447", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65534", "127.0.0.1:7447x" };
    node_begin();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct net *second;
        FAILS(node_listen(bad[i], &second), ERR_USAGE, "ADDR:PORT");
    }
}

static void test_join_socket(void)
{
    node_begin();
    OK(net_join_open(n.net));
    OK(net_join_open(n.net));
    struct client *c = dial(3, PORT_JOIN);              /* no member */
    is_served(c);
    EQ_U(n.joins, 1);
    EQ_U(n.requests, 0);
    EQ_MEM(n.from.who.b, n.g.dev[3]->tr_pk, 32);
    net_join_close(n.net);
    unsigned port = net_port(n.net) + 2u;
    UNTIL(n.loop, is_refused, &port);
    OK(net_join_open(n.net));
    is_served(dial(3, PORT_JOIN));
}

/* ---- what is not a message ---- */

static void send_frames(struct client *c, size_t frames, const void *data, size_t len)
{
    for (size_t i = 0; i < frames; i++)
        EQ_I(loop_send(n.loop, c->s, data, len, i + 1 < frames ? ZMQ_SNDMORE : 0), len);
}
static void send_head(struct client *c, const struct msg *m, bool body)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    OK(msg_encode(&head, m));
    EQ_I(loop_send(n.loop, c->s, head.data, head.len, body ? ZMQ_SNDMORE : 0), head.len);
    if (body)
        EQ_I(loop_send(n.loop, c->s, "body", 4, 0), 4);
}

static void test_malformed_messages_are_dropped(void)
{
    node_begin();
    struct client *c = dial(1, 0), *honest = dial(0, 0);
    is_served(c);
    AUTOFREE uint8_t *much = xcalloc(LIMIT_HEAD + 1, 1);
    static const uint8_t unknown[] = { 0x93, 1, 99, 1 }, version[] = { 0x95, 2, 4, 1, 0, 0 }, huge[] = { 0xdd, 0x0f, 0xff, 0xff, 0xff };
    uint8_t deep[64], ping_head[] = { 0x95, 1, 4, 1, 0, 0 };
    memset(deep, 0x91, sizeof deep);
    send_frames(c, 3, ping_head, sizeof ping_head);
    send_frames(c, 100, ping_head, sizeof ping_head);
    send_frames(c, 1, much, LIMIT_HEAD + 1);
    send_frames(c, 1, "", 0);
    send_frames(c, 2, "", 0);
    send_frames(c, 1, "garbage", 7);
    send_frames(c, 1, unknown, sizeof unknown);
    send_frames(c, 1, version, sizeof version);
    send_frames(c, 1, huge, sizeof huge);
    send_frames(c, 1, deep, sizeof deep);
    send_head(c, &(struct msg){ .type = MSG_PING, .req = 1 }, true);
    send_head(c, &(struct msg){ .type = MSG_PEX, .req = 1 }, false);
    is_served(honest);
    is_served(c);                                       /* behind all that, on the same connection */
    EQ_U(n.requests, 3);
    EQ_U(c->lost, 0);
}

static void test_too_long_ends_only_that_connection(void)
{
    node_begin();
    struct client *c = dial(1, 0), *honest = dial(0, 0);
    is_served(c);
    is_served(honest);
    AUTOFREE uint8_t *much = xcalloc(LIMIT_WIRE + 1, 1);
    send_frames(c, 1, much, LIMIT_WIRE + 1);
    UNTIL(n.loop, turned_away, c);
    is_served(honest);
    EQ_U(honest->lost, 0);
    EQ_U(n.requests, 3);
    is_served(dial(1, 0));
}

static void test_reply_to_nobody(void)
{
    node_begin();
    struct client *c = dial(1, 0);
    is_served(c);
    client_close(c);
    struct msg m = { .type = MSG_VEC, .req = 1 };
    for (int i = 0; i < 500; i++) {
        zmq_msg_t body;
        net_body_take(&body, xcalloc(10000, 1), 10000);
        net_reply(n.net, &n.from, &m, &body);
        net_body_take(&body, xcalloc(10000, 1), 10000);
        net_reply_join(n.net, &n.from, &m, &body);
    }
    is_served(dial(0, 0));
}

int main(void)
{
    t_node_init();
    RUN(test_table_of_libzmq);
    RUN(test_member_gets_in);
    RUN(test_stranger_waits_until_he_is_known);
    RUN(test_revoked_never);
    RUN(test_plain_never);
    RUN(test_wrong_server_key_never);
    RUN(test_fails_closed_without_a_handler);
    RUN(test_three_ports);
    RUN(test_port_taken);
    RUN(test_bad_addresses);
    RUN(test_join_socket);
    RUN(test_malformed_messages_are_dropped);
    RUN(test_too_long_ends_only_that_connection);
    RUN(test_reply_to_nobody);
    node_end();
    return t_done();
}

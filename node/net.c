#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/log.h"
#include "node/net_priv.h"

/* Hidden behind ZMQ_BUILD_DRAFT_API in zmq.h, but accepted by Debian's library; its return code is checked. */
#define ENFORCE_DOMAIN 93
#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define PORT_TRIES 50
#define KEEP_MS 200
#define REPLIES_WAITING 256      /* of a connection, before further ones are dropped */
#define VECTORS_WAITING 16       /* the same; each is as good as those before it together */
#define REQUESTS_WAITING 256     /* of a connection, before its sender has to wait */
#define CLOSE_TRIES 20

/* ---- options ---- */

static int set_int(void *s, int option, int value)
{
    if (zmq_setsockopt(s, option, &value, sizeof value) == 0)
        return 0;
    return err_set(ERR_IO, "network: socket option %d: %s", option, zmq_strerror(errno));
}

static int set_max(void *s, int64_t bytes)
{
    if (zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &bytes, sizeof bytes) == 0)
        return 0;
    return err_set(ERR_IO, "network: maximum message size: %s", zmq_strerror(errno));
}

int net_socket_common(void *s)
{
    static const struct { int option, value; } table[] = {
        {ZMQ_LINGER, 0}, {ZMQ_IPV6, 1}, {ZMQ_HANDSHAKE_IVL, 5000},
        {ZMQ_TCP_KEEPALIVE, 1}, {ZMQ_TCP_KEEPALIVE_IDLE, 20}, {ZMQ_TCP_KEEPALIVE_INTVL, 5}, {ZMQ_TCP_KEEPALIVE_CNT, 3},
    };
    int r = set_max(s, LIMIT_WIRE);
    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        r = set_int(s, table[i].option, table[i].value);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_key(void *s, int option, const uint8_t key[32])
{
    if (zmq_setsockopt(s, option, key, 32) == 0)
        return 0;
    return err_set(ERR_IO, "network: CURVE key: %s", zmq_strerror(errno));
}

/* No heartbeats: with a receive limit they abort the process in libzmq 4.3.4; for the same reason the side that connects has no
 * receive limit. What it may receive is bounded by what it has asked for. No ZMQ_IMMEDIATE: see tests/unit/test_net_frames.c. */
int net_socket_dial(struct net *n, void *s)
{
    uint8_t pk[32], sk[32];
    keys_server(n->c.group_keys, pk, sk);
    int r = net_socket_common(s);
    if (r == 0)
        r = set_int(s, ZMQ_RCVHWM, 0);
    if (r == 0)
        r = set_int(s, ZMQ_RECONNECT_IVL, 500);
    if (r == 0)
        r = set_int(s, ZMQ_RECONNECT_IVL_MAX, 15000);
    if (r == 0)
        r = set_key(s, ZMQ_CURVE_SERVERKEY, pk);
    if (r == 0)
        r = set_key(s, ZMQ_CURVE_PUBLICKEY, n->c.keys->tr_pk);
    if (r == 0)
        r = set_key(s, ZMQ_CURVE_SECRETKEY, n->c.keys->tr_sk);
    return r;
}

static int server_socket(struct net *n, int type, const char *domain, const uint8_t sk[32], void **out)
{
    void *s = zmq_socket(n->zmq, type);
    if (!s)
        return err_set(ERR_IO, "network: cannot make a socket: %s", zmq_strerror(errno));
    int r = net_socket_common(s);
    if (r == 0)
        r = set_int(s, ZMQ_CURVE_SERVER, 1);
    if (r == 0)
        r = set_key(s, ZMQ_CURVE_SECRETKEY, sk);
    if (r == 0 && zmq_setsockopt(s, ZMQ_ZAP_DOMAIN, domain, strlen(domain)))
        r = err_set(ERR_IO, "network: ZAP domain: %s", zmq_strerror(errno));
    if (r == 0)
        r = set_int(s, ENFORCE_DOMAIN, 1);
    if (r == 0 && type == ZMQ_ROUTER)
        r = set_int(s, ZMQ_ROUTER_MANDATORY, 1);
    if (r == 0)
        r = set_int(s, ZMQ_SNDHWM, type == ZMQ_ROUTER ? REPLIES_WAITING : VECTORS_WAITING);
    if (r == 0 && type == ZMQ_ROUTER)
        r = set_int(s, ZMQ_RCVHWM, REQUESTS_WAITING);
    if (r == 0 && type == ZMQ_ROUTER)
        r = set_max(s, LIMIT_WIRE_REQUEST);
    if (r < 0) {
        zmq_close(s);
        return r;
    }
    *out = s;
    return 0;
}

/* ---- receiving ---- */

static bool has_more(zmq_msg_t *m) { return zmq_msg_more(m) != 0; }

static void drain(void *socket)
{
    zmq_msg_t m;
    int more = 1;
    while (more) {
        zmq_msg_init(&m);
        more = zmq_msg_recv(&m, socket, 0) >= 0 && has_more(&m);
        zmq_msg_close(&m);
    }
}

int net_receive(void *socket, zmq_msg_t *route, zmq_msg_t *head, zmq_msg_t *body, bool *has_body)
{
    *has_body = false;
    if (route) {
        if (zmq_msg_recv(route, socket, ZMQ_DONTWAIT) < 0)
            return 0;
        if (!has_more(route))
            return err_set(ERR_BAD, "message: without a head");
    }
    if (zmq_msg_recv(head, socket, ZMQ_DONTWAIT) < 0)
        return 0;
    if (!has_more(head))
        return 1;
    *has_body = true;
    if (zmq_msg_recv(body, socket, 0) >= 0 && has_more(body)) {
        drain(socket);
        return err_set(ERR_BAD, "message: more than two frames");
    }
    return 1;
}

static int sender(zmq_msg_t *route, zmq_msg_t *last, struct net_from *from)
{
    memset(from, 0, sizeof *from);
    const char *user = zmq_msg_gets(last, "User-Id"), *addr = zmq_msg_gets(last, "Peer-Address");
    if (!user || hex_decode(&from->who, sizeof from->who, user) < 0)
        return err_set(ERR_DENIED, "message: without a proven sender");
    if (zmq_msg_size(route) > sizeof from->route)
        return err_set(ERR_BAD, "message: routing id too long");
    from->routelen = zmq_msg_size(route);
    memcpy(from->route, zmq_msg_data(route), from->routelen);
    snprintf(from->address, sizeof from->address, "%s", addr ? addr : "");
    return 0;
}

int net_check_body(const struct msg *m, zmq_msg_t *body, bool has_body)
{
    if (msg_has_body(m->type) != has_body)
        return err_set(ERR_BAD, "message %s: %s", msg_name(m->type), has_body ? "with a body it may not have" : "without its body");
    return has_body ? msg_body_check(m, zmq_msg_size(body)) : 0;
}

/* One message of a ROUTER; false when none waits. */
static bool serve_one(struct net *n, void *socket, void (*handler)(void *, const struct net_from *, const struct msg *, zmq_msg_t *))
{
    zmq_msg_t route, head, body;
    zmq_msg_init(&route);
    zmq_msg_init(&head);
    zmq_msg_init(&body);
    bool has_body;
    struct net_from from;
    struct msg m;
    int r = net_receive(socket, &route, &head, &body, &has_body);
    bool got = r != 0;
    if (r > 0)
        r = sender(&route, has_body ? &body : &head, &from);
    if (got && r >= 0)
        r = msg_decode(zmq_msg_data(&head), zmq_msg_size(&head), &m);
    if (got && r >= 0)
        r = net_check_body(&m, &body, has_body);
    if (got && r < 0)
        log_seldom(LOG_WARN, "message refused why=\"%s\"", err_text());
    else if (got)
        handler(n->c.ops.arg, &from, &m, has_body ? &body : NULL);
    zmq_msg_close(&route);
    zmq_msg_close(&head);
    zmq_msg_close(&body);
    return got;
}

/* Bounded in number and in time, so that one busy peer cannot keep the loop from everything else: of some requests 64 take seconds. What
 * is left wakes the next poll. */
enum { MESSAGES_A_TURN = 64, TURN_MS = 20 };

static void on_router(void *arg)
{
    struct net *n = arg;
    uint64_t end = loop_now() + TURN_MS;
    for (int i = 0; i < MESSAGES_A_TURN && loop_now() < end && serve_one(n, n->router, n->c.ops.request); i++)
        ;
}

static void on_join(void *arg)
{
    struct net *n = arg;
    uint64_t end = loop_now() + TURN_MS;
    for (int i = 0; i < MESSAGES_A_TURN && loop_now() < end && n->join && serve_one(n, n->join, n->c.ops.join); i++)
        ;
}

/* ---- ports ---- */

static int split_listen(const char *listen, char *host, size_t size, uint16_t *port)
{
    const char *colon = strrchr(listen, ':');
    char *end;
    unsigned long p = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || colon == listen || end == colon + 1 || *end || p > 65533 || (size_t)(colon - listen) >= size)
        return err_set(ERR_USAGE, "listen address %s: not ADDR:PORT with a port of 0..65533", listen);
    memcpy(host, listen, (size_t)(colon - listen));
    host[colon - listen] = 0;
    *port = (uint16_t)p;
    return 0;
}

static int bind_at(struct net *n, void *socket, uint16_t port)
{
    char ep[128];
    if (port)
        snprintf(ep, sizeof ep, "tcp://%s:%u", n->host, port);
    else
        snprintf(ep, sizeof ep, "tcp://%s:*", n->host);
    if (zmq_bind(socket, ep))
        return err_set(errno == EADDRINUSE ? ERR_EXISTS : ERR_IO, "listening on %s:%u: %s: choose another with --listen ADDR:PORT",
                       n->host, port, zmq_strerror(errno));
    return 0;
}

static int bound_port(void *socket, uint16_t *port)
{
    char ep[128];
    size_t len = sizeof ep;
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, ep, &len))
        return err_set(ERR_IO, "network: own address: %s", zmq_strerror(errno));
    *port = (uint16_t)strtoul(strrchr(ep, ':') + 1, NULL, 10);
    return 0;
}

/* Keeps a port without listening on it, so that dialling it is refused at once. */
static int reserve(struct net *n, uint16_t port)
{
    char host[64], service[8];
    snprintf(host, sizeof host, "%s", n->host[0] == '[' ? n->host + 1 : n->host);
    host[strcspn(host, "]")] = 0;
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hint = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *ai;
    if (getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, service, &hint, &ai))
        return err_set(ERR_USAGE, "listen address %s: not a numeric address", n->host);
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    int r = fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen), off = 0;
    if (!r)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off);   /* it has let us in; others it would let in, too */
    freeaddrinfo(ai);
    if (!r) {
        n->reserved = fd;
        return 0;
    }
    r = err_set(errno == EADDRINUSE ? ERR_EXISTS : ERR_IO, "port %u for joining: %m: choose another with --listen ADDR:PORT", port);
    if (fd >= 0)
        close(fd);
    return r;
}

static void close_two(struct net *n)
{
    if (n->router)
        zmq_close(n->router);
    if (n->pub)
        zmq_close(n->pub);
    n->router = n->pub = NULL;
}

static void close_sockets(struct net *n)
{
    close_two(n);
    if (n->reserved >= 0)
        close(n->reserved);
    n->reserved = -1;
}

static int bind_two(struct net *n, uint16_t port)
{
    uint8_t pk[32], sk[32];
    keys_server(n->c.group_keys, pk, sk);
    int r = server_socket(n, ZMQ_ROUTER, "lanyard", sk, &n->router);
    if (r == 0)
        r = server_socket(n, ZMQ_PUB, "lanyard", sk, &n->pub);
    if (r == 0)
        r = bind_at(n, n->router, port);
    if (r == 0)
        r = bound_port(n->router, &n->port);
    if (r == 0 && n->port > 65533)
        r = err_set(ERR_EXISTS, "port %u: no room for two more behind it", n->port);
    return r ? r : bind_at(n, n->pub, (uint16_t)(n->port + 1));
}

static int bind_three(struct net *n, uint16_t port)
{
    int r = bind_two(n, port);
    return r ? r : reserve(n, (uint16_t)(n->port + 2));
}

static int bind_all(struct net *n)
{
    uint16_t port = 0;
    int r = split_listen(n->c.listen, n->host, sizeof n->host, &port);
    if (r < 0)
        return r;
    for (int i = 0; i < PORT_TRIES; i++) {
        r = bind_three(n, port);
        if (r != ERR_EXISTS || port)
            break;
        close_sockets(n);
    }
    if (r == 0)
        snprintf(n->address, sizeof n->address, "%s:%u", n->host, n->port);
    return r;
}

int net_join_open(struct net *n)
{
    if (n->join)
        return 0;
    uint8_t pk[32], sk[32];
    keys_join_server(pk, sk);
    int r = server_socket(n, ZMQ_ROUTER, "join", sk, &n->join);
    if (r < 0)
        return r;
    close(n->reserved);
    n->reserved = -1;
    r = bind_at(n, n->join, (uint16_t)(n->port + 2));
    if (r < 0) {
        zmq_close(n->join);
        n->join = NULL;
        return r;
    }
    loop_add_socket(n->c.loop, n->join, on_join, n);
    return 0;
}

/* libzmq closes a listening socket some time after zmq_close: until then the port is taken. */
static void keep_port(void *arg)
{
    struct net *n = arg;
    if (!n->join && n->reserved < 0 && reserve(n, (uint16_t)(n->port + 2)) < 0)
        loop_timer_set(n->c.loop, &n->keep_timer, KEEP_MS, keep_port, n);
}

void net_join_close(struct net *n)
{
    if (!n->join)
        return;
    loop_del_socket(n->c.loop, n->join);
    zmq_close(n->join);
    n->join = NULL;
    /* It takes libzmq's thread about a millisecond. Whoever dials in between would wait for an answer that does not come. */
    for (int i = 0; i < CLOSE_TRIES && reserve(n, (uint16_t)(n->port + 2)) < 0; i++)
        poll(NULL, 0, 1);
    keep_port(n);
}

/* ---- shaking off ---- */

/* As with the join socket, the ports are free a moment after their sockets have been closed. */
static void open_again(void *arg)
{
    struct net *n = arg;
    int r = ERR_EXISTS;
    for (int i = 0; i < CLOSE_TRIES && r == ERR_EXISTS; i++) {
        r = bind_two(n, n->port);
        if (r < 0)
            close_two(n);
        if (r == ERR_EXISTS)
            poll(NULL, 0, 1);
    }
    if (r == 0) {
        loop_add_socket(n->c.loop, n->router, on_router, n);
        return;
    }
    log_seldom(LOG_WARN, "listening again why=\"%s\"", err_text());
    loop_timer_set(n->c.loop, &n->shake_timer, KEEP_MS, open_again, n);
}

static void shake(void *arg)
{
    struct net *n = arg;
    loop_del_socket(n->c.loop, n->router);
    close_two(n);
    open_again(n);
}

/* From a timer: the caller may be serving a message of the socket. */
void net_shake_off(struct net *n)
{
    if (n->router)
        loop_timer_set(n->c.loop, &n->shake_timer, 0, shake, n);
}

/* ---- life cycle ---- */

static int start(struct net *n)
{
    if (zmq_has("curve") != 1)
        return err_set(ERR_IO, "libzmq has no CURVE encryption: install Debian's libzmq5");
    n->zmq = zmq_ctx_new();
    if (!n->zmq || zmq_ctx_set(n->zmq, ZMQ_IO_THREADS, 2) || zmq_ctx_set(n->zmq, ZMQ_MAX_SOCKETS, 4096))
        return err_set(ERR_IO, "network: context: %s", zmq_strerror(errno));
    n->zap = zmq_socket(n->zmq, ZMQ_REP);
    if (!n->zap || zmq_bind(n->zap, ZAP_ENDPOINT))
        return err_set(ERR_IO, "network: access control: %s", zmq_strerror(errno));
    loop_add_socket(n->c.loop, n->zap, net_zap_serve, n);
    int r = bind_all(n);
    if (r == 0)
        loop_add_socket(n->c.loop, n->router, on_router, n);
    return r;
}

int net_new(const struct net_config *c, struct net **out)
{
    struct net *n = xcalloc(1, sizeof *n);
    n->c = *c;
    n->reserved = n->debts.fd = -1;
    int r = net_send_start(n);
    if (r == 0)
        r = start(n);
    if (r < 0) {
        net_free(&n);
        return r;
    }
    *out = n;
    return 0;
}

void net_free(struct net **pn)
{
    struct net *n = *pn;
    if (!n)
        return;
    loop_timer_clear(n->c.loop, &n->keep_timer);
    loop_timer_clear(n->c.loop, &n->shake_timer);
    void *all[] = {n->join, n->router, n->pub, n->zap};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]) {
            loop_del_socket(n->c.loop, all[i]);
            zmq_close(all[i]);
        }
    if (n->reserved >= 0)
        close(n->reserved);
    if (n->zmq)
        zmq_ctx_term(n->zmq);
    net_send_release(n);
    free(n);
    *pn = NULL;
}

void *net_context(struct net *n) { return n->zmq; }
const char *net_address(const struct net *n) { return n->address; }
uint16_t net_port(const struct net *n) { return n->port; }

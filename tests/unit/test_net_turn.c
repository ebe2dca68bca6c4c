/* Requests that take long: between two of them the loop does what else is to be done. Replies that wait are counted. */
#include <zmq.h>

#include "node/net.h"
#include "tests/unit/t_node.h"

enum { REQUESTS = 6, LONG_MS = 25 };

static struct { unsigned requests, ticks, ticks_before, together; struct loop *loop; struct loop_timer tick; } n;

static void on_request(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    (void)arg, (void)from, (void)m, (void)body;
    for (uint64_t end = loop_now() + LONG_MS; loop_now() < end; )
        ;
    n.together += n.requests > 0 && n.ticks == n.ticks_before;
    n.ticks_before = n.ticks;
    n.requests++;
}

static void on_tick(void *arg)
{
    n.ticks++;
    loop_timer_set(n.loop, &n.tick, 0, on_tick, arg);
}

static void *dial(struct net *net, const struct t_group *g)
{
    uint8_t pk[32], sk[32];
    char ep[64];
    int none = 0;
    void *s = zmq_socket(net_context(net), ZMQ_DEALER);
    keys_server(g->keys, pk, sk);
    CHECK(zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none) == 0 && zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, pk, 32) == 0);
    CHECK(zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, g->dev[1]->tr_pk, 32) == 0);
    CHECK(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, g->dev[1]->tr_sk, 32) == 0);
    snprintf(ep, sizeof ep, "tcp://127.0.0.1:%u", net_port(net));
    CHECK(zmq_connect(s, ep) == 0);
    return s;
}

static bool all_came(void *arg) { (void)arg; return n.requests == REQUESTS; }

static struct net *open_net(struct t_group *g, const struct net_ops *ops)
{
    struct net *net;
    t_group_init(g, 2);
    t_must(loop_new(&n.loop));
    struct net_config c = { .loop = n.loop, .keys = g->dev[0], .group_keys = g->keys, .group = &g->group, .listen = "127.0.0.1:0", .ops = *ops };
    t_must(net_new(&c, &net));
    return net;
}

static void close_net(struct net *net, void *client, struct t_group *g)
{
    zmq_close(client);
    net_free(&net);
    loop_free(&n.loop);
    t_group_release(g);
}

static void send_pings(void *s, int count)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    OK(msg_encode(&head, &(struct msg){ .type = MSG_PING, .req = 1 }));
    for (int i = 0; i < count; i++)
        EQ_I(zmq_send(s, head.data, head.len, 0), head.len);
}

static void test_long_requests_leave_time_for_others(void)
{
    struct t_group g;
    struct net *net = open_net(&g, &(struct net_ops){ .request = on_request });
    void *s = dial(net, &g);
    send_pings(s, REQUESTS);
    on_tick(NULL);
    UNTIL(n.loop, all_came, NULL);
    EQ_U(n.together, 0);
    loop_timer_clear(n.loop, &n.tick);
    close_net(net, s, &g);
}

/* ---- what waits to be sent ---- */

static struct { struct net_from from; bool came; int told, again; struct net *net; } w;

static void note_sender(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    (void)arg, (void)m, (void)body;
    w.from = *from;
    w.came = true;
}

static bool has_come(void *arg) { (void)arg; return w.came; }
static void on_sent(void *arg) { (void)arg; w.told++; }
static void on_sent_again(void *arg) { (void)arg; w.again++; }
static bool is_sent(void *arg) { (void)arg; return w.told == 1 && net_waiting_all(w.net) == 0; }
static bool is_sent_again(void *arg) { (void)arg; return w.again == 1 && net_waiting_all(w.net) == 0; }

static void reply_at_length(void)
{
    zmq_msg_t body;
    net_body_take(&body, xcalloc(LIMIT_BODY, 1), LIMIT_BODY);
    net_reply(w.net, &w.from, &(struct msg){ .type = MSG_VEC, .req = 1 }, &body);
}

static void test_what_waits_is_counted_until_it_is_sent(void)
{
    struct t_group g;
    w.net = open_net(&g, &(struct net_ops){ .request = note_sender });
    void *s = dial(w.net, &g);
    send_pings(s, 1);
    UNTIL(n.loop, has_come, NULL);
    net_when_sent(w.net, on_sent, NULL);
    reply_at_length();
    UNTIL(n.loop, is_sent, NULL);
    EQ_U(net_waiting(w.net, &w.from.who), 0);
    net_when_sent(w.net, on_sent, NULL);
    net_when_sent(w.net, NULL, NULL);
    net_when_sent(w.net, on_sent_again, NULL);
    reply_at_length();
    UNTIL(n.loop, is_sent_again, NULL);
    EQ_U(w.told, 1);
    close_net(w.net, s, &g);
}

int main(void)
{
    t_node_init();
    RUN(test_long_requests_leave_time_for_others);
    RUN(test_what_waits_is_counted_until_it_is_sent);
    return t_done();
}

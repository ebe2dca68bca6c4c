/* Requests that take long: between two of them the loop does what else is to be done. */
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

static void test_long_requests_leave_time_for_others(void)
{
    struct t_group g;
    struct net *net;
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    t_group_init(&g, 2);
    t_must(loop_new(&n.loop));
    struct net_config c = { .loop = n.loop, .keys = g.dev[0], .group_keys = g.keys, .group = &g.group, .listen = "127.0.0.1:0",
                            .ops = { .request = on_request } };
    t_must(net_new(&c, &net));
    void *s = dial(net, &g);
    OK(msg_encode(&head, &(struct msg){ .type = MSG_PING, .req = 1 }));
    for (int i = 0; i < REQUESTS; i++)
        EQ_I(zmq_send(s, head.data, head.len, 0), head.len);
    on_tick(NULL);
    UNTIL(n.loop, all_came, NULL);
    EQ_U(n.together, 0);
    loop_timer_clear(n.loop, &n.tick);
    zmq_close(s);
    net_free(&net);
    loop_free(&n.loop);
    t_group_release(&g);
}

int main(void)
{
    t_node_init();
    RUN(test_long_requests_leave_time_for_others);
    return t_done();
}

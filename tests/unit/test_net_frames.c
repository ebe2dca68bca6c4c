/* Why no socket of ours has ZMQ_IMMEDIATE: with it libzmq 4.3.4 ends the process when a connection breaks while a message of two frames
 * is being read. The pipe is then given up at once, and the second frame is asserted to be there (fq.cpp). Without it what came stays
 * readable. Set the option on the dealer here, and this program ends by SIGABRT. */
#include <zmq.h>

#include "tests/unit/t.h"

/* libzmq looks for what its own thread has to say at every 100th frame read. That must be a second one. */
enum { MESSAGES = 100, READ_BEFORE = 1 };

static void *open_socket(void *ctx, int type)
{
    void *s = zmq_socket(ctx, type);
    int none = 0;
    CHECK(s && zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none) == 0);
    return s;
}

static void send_messages(void *router, const char *to, size_t len, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK(zmq_send(router, to, len, ZMQ_SNDMORE) >= 0);
        CHECK(zmq_send(router, "head", 4, ZMQ_SNDMORE) == 4);
        CHECK(zmq_send(router, "body", 4, 0) == 4);
    }
}

static void receive_one(void *dealer)
{
    char frame[16];
    CHECK(zmq_recv(dealer, frame, sizeof frame, ZMQ_DONTWAIT) == 4 && memcmp(frame, "head", 4) == 0);
    CHECK(zmq_recv(dealer, frame, sizeof frame, 0) == 4 && memcmp(frame, "body", 4) == 0);
}

static void wait_until_readable(void *s)
{
    zmq_pollitem_t it = {s, 0, ZMQ_POLLIN, 0};
    CHECK(zmq_poll(&it, 1, 10000) == 1);
}

/* Returns when the dealer's connection has ended; what had come by then waits to be read. */
static void wait_for_the_end(void *monitor)
{
    char frame[256];
    wait_until_readable(monitor);
    zmq_recv(monitor, frame, sizeof frame, 0);
    zmq_recv(monitor, frame, sizeof frame, 0);
}

static void test_what_came_before_a_break_is_read(void)
{
    void *ctx = zmq_ctx_new(), *other = zmq_ctx_new();
    void *router = open_socket(other, ZMQ_ROUTER), *dealer = open_socket(ctx, ZMQ_DEALER), *monitor = zmq_socket(ctx, ZMQ_PAIR);
    char endpoint[64], id[64];
    size_t size = sizeof endpoint;
    CHECK(zmq_bind(router, "tcp://127.0.0.1:*") == 0 && zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    CHECK(zmq_socket_monitor(dealer, "inproc://end", ZMQ_EVENT_DISCONNECTED) == 0 && zmq_connect(monitor, "inproc://end") == 0);
    CHECK(zmq_connect(dealer, endpoint) == 0 && zmq_send(dealer, "hi", 2, 0) == 2);
    int len = zmq_recv(router, id, sizeof id, 0);
    CHECK(len > 0 && zmq_recv(router, endpoint, sizeof endpoint, 0) == 2);
    CHECK(zmq_recv(dealer, id + 32, 1, ZMQ_DONTWAIT) < 0);    /* from here on frames are counted */
    send_messages(router, id, (size_t)len, READ_BEFORE);
    wait_until_readable(dealer);
    receive_one(dealer);
    send_messages(router, id, (size_t)len, MESSAGES);
    int linger = 10000;
    CHECK(zmq_setsockopt(router, ZMQ_LINGER, &linger, sizeof linger) == 0);
    zmq_close(router);
    zmq_ctx_term(other);
    wait_for_the_end(monitor);
    for (int i = 0; i < MESSAGES; i++)
        receive_one(dealer);
    zmq_socket_monitor(dealer, NULL, 0);
    zmq_close(monitor);
    zmq_close(dealer);
    zmq_ctx_term(ctx);
}

int main(void)
{
    RUN(test_what_came_before_a_break_is_read);
    return t_done();
}

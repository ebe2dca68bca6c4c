/* Many sockets in one loop. What libzmq says of a socket's news it says once: a wake that is missed is a message that stays where it
 * is. No timer helps here, so everything that is sent either arrives or the test waits until its deadline. */
#include <pthread.h>
#include <zmq.h>

#include "tests/unit/t_node.h"

enum { INPROC = 150, TCP = 15, THREADS = 3, SOCKETS = 2 * (INPROC + TCP) + THREADS, TOKENS = 40, HOPS = 250 };

/* Each token goes from socket to socket. Whoever gets one takes it alone, though more may wait, and sends it on from any other. */
static struct {
    void *ctx, *socket[SOCKETS], *echo[THREADS];
    pthread_t thread[THREADS];
    size_t n;
    struct loop *loop;
    unsigned arrived, hops;
    uint32_t seed;
} t;

static size_t any_socket(void)
{
    t.seed = t.seed * 1664525 + 1013904223;
    return (t.seed >> 8) % t.n;
}
static void pass_on(uint32_t left) { EQ_I(loop_send(t.loop, t.socket[any_socket()], &left, sizeof left, 0), sizeof left); }
static void on_token(void *arg)
{
    uint32_t left;
    EQ_I(zmq_recv(arg, &left, sizeof left, ZMQ_DONTWAIT), sizeof left);
    t.hops++;
    if (left == 0)
        t.arrived++;
    else
        pass_on(left - 1);
}
static bool all_arrived(void *arg) { (void)arg; return t.arrived == TOKENS; }

static void *socket_new(void)
{
    int none = 0;
    void *s = zmq_socket(t.ctx, ZMQ_PAIR);
    CHECK(s && zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none) == 0);
    return s;
}
static void enter(void *s)
{
    t.socket[t.n++] = s;
    loop_add_socket(t.loop, s, on_token, s);
}
/* Binds one, connects the other. */
static void join(void *a, void *b, const char *at)
{
    char ep[64];
    size_t size = sizeof ep;
    OK(zmq_bind(a, at));
    OK(zmq_getsockopt(a, ZMQ_LAST_ENDPOINT, ep, &size));
    OK(zmq_connect(b, ep));
}
static void enter_two(const char *at)
{
    void *a = socket_new(), *b = socket_new();
    join(a, b, at);
    enter(a);
    enter(b);
}

/* In a thread of its own: what comes goes back, until something empty comes. */
static void *echo(void *s)
{
    uint32_t token;
    for (int len; (len = zmq_recv(s, &token, sizeof token, 0)) > 0; )
        zmq_send(s, &token, (size_t)len, 0);
    return NULL;
}
static void enter_thread(size_t i)
{
    char at[32];
    void *s = socket_new();
    t.echo[i] = socket_new();
    snprintf(at, sizeof at, "inproc://echo-%zu", i);
    join(t.echo[i], s, at);
    enter(s);
    OK(pthread_create(&t.thread[i], NULL, echo, t.echo[i]));
}

static void begin(void)
{
    memset(&t, 0, sizeof t);
    t_must(loop_new(&t.loop));
    t.ctx = zmq_ctx_new();
    for (unsigned i = 0; i < INPROC; i++) {
        char at[32];
        snprintf(at, sizeof at, "inproc://pair-%u", i);
        enter_two(at);
    }
    for (unsigned i = 0; i < TCP; i++)
        enter_two("tcp://127.0.0.1:*");
    for (size_t i = 0; i < THREADS; i++)
        enter_thread(i);
}
static void end(void)
{
    for (size_t i = 0; i < THREADS; i++) {
        EQ_I(zmq_send(t.socket[SOCKETS - THREADS + i], "", 0, 0), 0);
        OK(pthread_join(t.thread[i], NULL));
        zmq_close(t.echo[i]);
    }
    for (size_t i = 0; i < t.n; i++) {
        loop_del_socket(t.loop, t.socket[i]);
        zmq_close(t.socket[i]);
    }
    zmq_ctx_term(t.ctx);
    loop_free(&t.loop);
}

static void test_no_wake_is_missed(void)
{
    for (uint32_t seed = 1; seed <= 4; seed++) {
        begin();
        t.seed = seed;
        for (unsigned i = 0; i < TOKENS; i++)
            pass_on(HOPS);
        UNTIL(t.loop, all_arrived, NULL);
        EQ_U(t.hops, TOKENS * (HOPS + 1u));
        end();
    }
}

/* A socket that was sent on from elsewhere has taken in what was told of it, and has told the loop nothing. */
static struct loop_timer timer;
static void send_on_both(void *arg)
{
    void **pair = arg;
    uint32_t token = 0;
    EQ_I(loop_send(t.loop, pair[1], &token, sizeof token, 0), sizeof token);
    EQ_I(loop_send(t.loop, pair[0], &token, sizeof token, 0), sizeof token);
}
static bool two_arrived(void *arg) { (void)arg; return t.hops == 2; }
static void test_sending_is_no_end_of_receiving(void)
{
    for (int i = 0; i < 20; i++) {
        memset(&t, 0, sizeof t);
        t_must(loop_new(&t.loop));
        t.ctx = zmq_ctx_new();
        enter_two("inproc://pair");
        loop_timer_set(t.loop, &timer, 3, send_on_both, t.socket);
        UNTIL(t.loop, two_arrived, NULL);
        for (size_t k = 0; k < t.n; k++) {
            loop_del_socket(t.loop, t.socket[k]);
            zmq_close(t.socket[k]);
        }
        zmq_ctx_term(t.ctx);
        loop_free(&t.loop);
    }
}

/* ---- timers ---- */

enum { TIMERS = 500 };
static struct loop_timer many[TIMERS];
static struct { uint64_t due; unsigned ran, wrong; } seen;
static void on_timer(void *arg)
{
    struct loop_timer *self = arg;
    seen.wrong += self->due < seen.due || self->set;
    seen.due = self->due;
    seen.ran++;
}
static bool all_ran(void *arg) { return seen.ran == *(unsigned *)arg; }
static void test_many_timers_run_in_order(void)
{
    memset(&t, 0, sizeof t);
    memset(&seen, 0, sizeof seen);
    t.n = 50;
    t_must(loop_new(&t.loop));
    for (size_t i = 0; i < 2 * TIMERS; i++)              /* the second time moves them */
        loop_timer_set(t.loop, &many[i % TIMERS], any_socket(), on_timer, &many[i % TIMERS]);
    unsigned left = TIMERS;
    for (size_t i = 0; i < TIMERS; i += 3, left--)
        loop_timer_clear(t.loop, &many[i]);
    UNTIL(t.loop, all_ran, &left);
    EQ_U(seen.wrong, 0);
    for (size_t i = 0; i < TIMERS; i++)
        CHECK(!many[i].set);
    loop_free(&t.loop);
}

int main(void)
{
    t_node_init();
    RUN(test_no_wake_is_missed);
    RUN(test_sending_is_no_end_of_receiving);
    RUN(test_many_timers_run_in_order);
    return t_done();
}

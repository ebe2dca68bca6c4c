#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/unit/t_node.h"

static struct loop *loop;
static char trace[64];

static void begin(void)
{
    loop_free(&loop);
    trace[0] = 0;
    t_must(loop_new(&loop));
}
static void note(void *arg)
{
    CHECK(strlen(trace) + 1 < sizeof trace);
    memcpy(trace + strlen(trace), arg, strlen(arg) + 1);
}
static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}
static bool has_run(void *arg) { return strcmp(trace, arg) == 0; }

/* ---- timers ---- */

static void test_timers_run_in_order(void)
{
    struct loop_timer t[5] = { 0 };
    begin();
    loop_timer_set(loop, &t[0], 20, note, "d");
    loop_timer_set(loop, &t[1], 0, note, "a");
    loop_timer_set(loop, &t[2], 10, note, "c");
    loop_timer_set(loop, &t[3], 0, note, "b");
    UNTIL(loop, has_run, "abcd");
    CHECK(!t[0].set && !t[1].set);
}

static void test_timer_moved_and_cleared(void)
{
    struct loop_timer t[3] = { 0 };
    begin();
    loop_timer_set(loop, &t[0], 5, note, "x");
    loop_timer_set(loop, &t[1], 10, note, "a");
    loop_timer_clear(loop, &t[0]);
    loop_timer_clear(loop, &t[0]);
    loop_timer_set(loop, &t[2], 0, note, "x");
    loop_timer_set(loop, &t[2], 20, note, "b");
    UNTIL(loop, has_run, "ab");
}

static struct loop_timer self, other;
static void clear_other_and_go_on(void *arg)
{
    note(arg);
    loop_timer_clear(loop, &other);
    if (strlen(trace) < 3)
        loop_timer_set(loop, &self, 0, clear_other_and_go_on, arg);
}
static void test_timers_change_timers(void)
{
    begin();
    loop_timer_set(loop, &self, 0, clear_other_and_go_on, "a");
    loop_timer_set(loop, &other, 0, note, "x");
    UNTIL(loop, has_run, "aaa");
    CHECK(!other.set);
}

/* ---- descriptors and sockets ---- */

static int fds[2][2];
static void take(void *arg)
{
    char c[2] = { 0 };
    int fd = *(int *)arg;
    EQ_I(read(fd, c, 1), 1);
    note(c);
}
static void take_and_remove_both(void *arg)
{
    take(arg);
    loop_del_fd(loop, fds[0][0]);
    loop_del_fd(loop, fds[1][0]);
    loop_del_fd(loop, 9999);
}
static void open_pipes(void)
{
    begin();
    OK(pipe2(fds[0], O_CLOEXEC | O_NONBLOCK));
    OK(pipe2(fds[1], O_CLOEXEC | O_NONBLOCK));
}
static void close_pipes(void)
{
    for (int i = 0; i < 4; i++)
        close(fds[i / 2][i % 2]);
}

static void test_descriptors(void)
{
    open_pipes();
    loop_add_fd(loop, fds[0][0], POLLIN, take, &fds[0][0]);
    loop_add_fd(loop, fds[1][1], 0, stop, NULL);
    EQ_I(write(fds[0][1], "ab", 2), 2);
    UNTIL(loop, has_run, "ab");
    struct loop_timer t = { 0 };
    loop_timer_set(loop, &t, T_DEADLINE_MS, note, "x");
    loop_set_fd(loop, fds[1][1], POLLOUT);
    OK(loop_run(loop));                                /* writable: it stops */
    EQ_S(trace, "ab");
    loop_timer_clear(loop, &t);
    close_pipes();
}

static void test_removed_while_ready(void)
{
    open_pipes();
    EQ_I(write(fds[0][1], "a", 1), 1);
    EQ_I(write(fds[1][1], "a", 1), 1);
    loop_add_fd(loop, fds[0][0], POLLIN, take_and_remove_both, &fds[0][0]);
    loop_add_fd(loop, fds[1][0], POLLIN, take_and_remove_both, &fds[1][0]);
    struct loop_timer t = { 0 };
    loop_timer_set(loop, &t, 30, stop, NULL);
    OK(loop_run(loop));
    EQ_S(trace, "a");
    close_pipes();
}

static void test_many_descriptors(void)
{
    int many[100][2];
    begin();
    for (int i = 0; i < 100; i++) {
        OK(pipe2(many[i], O_CLOEXEC | O_NONBLOCK));
        loop_add_fd(loop, many[i][0], POLLIN, take, &many[i][0]);
    }
    EQ_I(write(many[99][1], "z", 1), 1);
    EQ_I(write(many[0][1], "z", 1), 1);
    UNTIL(loop, has_run, "zz");
    for (int i = 0; i < 100; i++) {
        loop_del_fd(loop, many[i][0]);
        close(many[i][0]);
        close(many[i][1]);
    }
}

static void take_message(void *arg)
{
    char c[2] = { 0 };
    EQ_I(zmq_recv(arg, c, 1, ZMQ_DONTWAIT), 1);
    note(c);
}
static void test_zmq_sockets_are_level_triggered(void)
{
    begin();
    void *ctx = zmq_ctx_new(), *a = zmq_socket(ctx, ZMQ_PAIR), *b = zmq_socket(ctx, ZMQ_PAIR);
    OK(zmq_bind(a, "inproc://x"));
    OK(zmq_connect(b, "inproc://x"));
    loop_add_socket(loop, a, take_message, a);
    EQ_I(zmq_send(b, "a", 1, 0), 1);
    EQ_I(zmq_send(b, "b", 1, 0), 1);
    EQ_I(zmq_send(b, "c", 1, 0), 1);
    UNTIL(loop, has_run, "abc");                       /* one message a call */
    loop_del_socket(loop, a);
    EQ_I(zmq_send(b, "x", 1, 0), 1);
    struct loop_timer t = { 0 };
    loop_timer_set(loop, &t, 20, stop, NULL);
    OK(loop_run(loop));
    EQ_S(trace, "abc");
    zmq_close(a);
    zmq_close(b);
    zmq_ctx_term(ctx);
}

/* ---- stopping ---- */

static void test_stop_before_sleep(void)
{
    begin();
    loop_before_sleep(loop, stop, NULL);
    OK(loop_run(loop));                                /* with nothing to wake it */
    OK(loop_run(loop));
}
static void test_stop_before_running(void)
{
    begin();
    loop_stop(loop);
    OK(loop_run(loop));
}
static void test_nothing_runs_after_a_stop(void)
{
    struct loop_timer t[2] = { 0 };
    begin();
    loop_timer_set(loop, &t[0], 0, stop, NULL);
    loop_timer_set(loop, &t[1], 0, note, "a");
    OK(loop_run(loop));
    EQ_S(trace, "");
    UNTIL(loop, has_run, "a");
}

int main(void)
{
    t_node_init();
    RUN(test_timers_run_in_order);
    RUN(test_timer_moved_and_cleared);
    RUN(test_timers_change_timers);
    RUN(test_descriptors);
    RUN(test_removed_while_ready);
    RUN(test_many_descriptors);
    RUN(test_zmq_sockets_are_level_triggered);
    RUN(test_stop_before_sleep);
    RUN(test_stop_before_running);
    RUN(test_nothing_runs_after_a_stop);
    loop_free(&loop);
    return t_done();
}

/* loop: the one thread that owns every socket, the index and all state of the node. It waits in epoll for plain descriptors and for the
 * descriptors that libzmq signals (ZMQ_FD), and calls back. What a wake costs depends on what is ready, not on how much is waited for.
 *
 * Callbacks run one at a time and may add and remove anything, also themselves. Both kinds of sources are level triggered: who leaves
 * something unread is called again. Times are milliseconds: loop_now is monotonic, loop_wall is the time of day. `before_sleep` runs
 * before each wait: with it tests wait for a condition.
 *
 * ZMQ_FD says only that a socket has news, which the next call of any kind on that socket takes in, whatever it was made for. So a
 * socket that was called since it was last looked at is looked at (ZMQ_EVENTS) before the loop sleeps:
 *   after its own callback, and when it was added, the loop knows that by itself;
 *   who sends on it does so by loop_send;
 *   who does anything else with it outside its callback (connects, binds, sets an option) says so by loop_touched. */
#ifndef NODE_LOOP_H
#define NODE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "proto/err.h"

struct loop;
typedef void (*loop_fn)(void *arg);

/* A one-shot timer, owned by its user; zero it once. */
struct loop_timer { uint64_t due, turn; loop_fn fn; void *arg; bool set; size_t at; };

int  loop_new(struct loop **out) MUST_CHECK;
void loop_free(struct loop **l);
int  loop_run(struct loop *l) MUST_CHECK;               /* until loop_stop; then it may run again */
void loop_stop(struct loop *l);
void loop_before_sleep(struct loop *l, loop_fn fn, void *arg);

void loop_add_fd(struct loop *l, int fd, short events, loop_fn fn, void *arg);   /* POLLIN, POLLOUT; errors always wake */
void loop_set_fd(struct loop *l, int fd, short events);
void loop_del_fd(struct loop *l, int fd);                                        /* before it is closed; unknown is fine */
void loop_add_socket(struct loop *l, void *zsocket, loop_fn fn, void *arg);      /* readable */
void loop_del_socket(struct loop *l, void *zsocket);                             /* the same */
void loop_touched(struct loop *l, void *zsocket);        /* one that is not the loop's is nothing to it */
/* zmq_send and zmq_msg_send, with their results; for sockets of the loop and others. */
int  loop_send(struct loop *l, void *zsocket, const void *data, size_t len, int flags) MUST_CHECK;
int  loop_send_msg(struct loop *l, void *zsocket, zmq_msg_t *m, int flags) MUST_CHECK;

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t in_ms, loop_fn fn, void *arg);  /* again = moved */
void loop_timer_clear(struct loop *l, struct loop_timer *t);

uint64_t loop_now(void);
uint64_t loop_wall(void);

#endif

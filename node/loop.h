/* loop: the one thread that owns every socket, the index and all state of the node. It waits in zmq_poll (ZeroMQ sockets and plain
 * descriptors together, level triggered, so that libzmq's edge-triggered ZMQ_FD is never touched) and calls back.
 *
 * Callbacks run one at a time and may add and remove anything, also themselves. Times are milliseconds: loop_now is monotonic,
 * loop_wall is the time of day. `before_sleep` runs before each wait: with it tests wait for a
 * condition. */
#ifndef NODE_LOOP_H
#define NODE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/err.h"

struct loop;
typedef void (*loop_fn)(void *arg);

/* A one-shot timer, owned by its user; zero it once. */
struct loop_timer { uint64_t due; loop_fn fn; void *arg; bool set; struct loop_timer *next; };

int  loop_new(struct loop **out) MUST_CHECK;
void loop_free(struct loop **l);
int  loop_run(struct loop *l) MUST_CHECK;               /* until loop_stop; then it may run again */
void loop_stop(struct loop *l);
void loop_before_sleep(struct loop *l, loop_fn fn, void *arg);

void loop_add_fd(struct loop *l, int fd, short events, loop_fn fn, void *arg);   /* POLLIN, POLLOUT */
void loop_set_fd(struct loop *l, int fd, short events);
void loop_del_fd(struct loop *l, int fd);
void loop_add_socket(struct loop *l, void *zsocket, loop_fn fn, void *arg);      /* readable */
void loop_del_socket(struct loop *l, void *zsocket);

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t in_ms, loop_fn fn, void *arg);  /* again = moved */
void loop_timer_clear(struct loop *l, struct loop_timer *t);

uint64_t loop_now(void);
uint64_t loop_wall(void);

#endif

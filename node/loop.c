#include "node/loop.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

struct source { void *zsocket; int fd; short events; loop_fn fn; void *arg; };

struct loop {
    struct source *src; size_t n, cap;
    zmq_pollitem_t *item; size_t item_cap;
    struct loop_timer *timers;          /* sorted by due */
    loop_fn idle; void *idle_arg;
    bool stop;
};

static uint64_t clock_ms(clockid_t c)
{
    struct timespec t;
    clock_gettime(c, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
uint64_t loop_now(void) { return clock_ms(CLOCK_MONOTONIC); }
uint64_t loop_wall(void) { return clock_ms(CLOCK_REALTIME); }

int loop_new(struct loop **out)
{
    *out = xcalloc(1, sizeof **out);
    return 0;
}

void loop_free(struct loop **l)
{
    if (!*l)
        return;
    free((*l)->src);
    free((*l)->item);
    free(*l);
    *l = NULL;
}

void loop_stop(struct loop *l) { l->stop = true; }

void loop_before_sleep(struct loop *l, loop_fn fn, void *arg)
{
    l->idle = fn;
    l->idle_arg = arg;
}

static void add(struct loop *l, struct source s)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->src = xrealloc(l->src, l->cap, sizeof *l->src);
    }
    l->src[l->n++] = s;
}

static struct source *find(struct loop *l, const void *zsocket, int fd)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->src[i].zsocket == zsocket && (zsocket || l->src[i].fd == fd))
            return &l->src[i];
    return NULL;
}

static void del(struct loop *l, const void *zsocket, int fd)
{
    struct source *s = find(l, zsocket, fd);
    if (s)
        *s = l->src[--l->n];
}

void loop_add_fd(struct loop *l, int fd, short events, loop_fn fn, void *arg)
{
    assert(!find(l, NULL, fd));
    add(l, (struct source){.fd = fd, .events = events, .fn = fn, .arg = arg});
}
void loop_set_fd(struct loop *l, int fd, short events)
{
    struct source *s = find(l, NULL, fd);
    assert(s);
    s->events = events;
}
void loop_del_fd(struct loop *l, int fd) { del(l, NULL, fd); }
void loop_add_socket(struct loop *l, void *zsocket, loop_fn fn, void *arg)
{
    add(l, (struct source){.zsocket = zsocket, .fd = -1, .events = POLLIN, .fn = fn, .arg = arg});
}
void loop_del_socket(struct loop *l, void *zsocket) { del(l, zsocket, -1); }

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    if (!t->set)
        return;
    for (struct loop_timer **p = &l->timers; *p; p = &(*p)->next)
        if (*p == t) {
            *p = t->next;
            break;
        }
    t->set = false;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t in_ms, loop_fn fn, void *arg)
{
    loop_timer_clear(l, t);
    *t = (struct loop_timer){.due = loop_now() + in_ms, .fn = fn, .arg = arg, .set = true};
    struct loop_timer **p = &l->timers;
    while (*p && (*p)->due <= t->due)
        p = &(*p)->next;
    t->next = *p;
    *p = t;
}

static void run_timers(struct loop *l)
{
    uint64_t now = loop_now();
    while (l->timers && l->timers->due <= now && !l->stop) {
        struct loop_timer *t = l->timers;
        l->timers = t->next;
        t->set = false;
        t->fn(t->arg);
    }
}

static long time_left(const struct loop *l)
{
    if (!l->timers)
        return -1;
    uint64_t now = loop_now();
    return l->timers->due <= now ? 0 : (long)(l->timers->due - now);
}

/* Sources are copied into poll items first: a callback may change the list, so each ready one is looked up again by its key. */
static void dispatch(struct loop *l, size_t n)
{
    for (size_t i = 0; i < n && !l->stop; i++) {
        zmq_pollitem_t *it = &l->item[i];
        if (!it->revents)
            continue;
        struct source *s = find(l, it->socket, it->fd);
        if (s)
            s->fn(s->arg);
    }
}

/* poll's bits and ZeroMQ's are not the same numbers. */
static short zmq_events(short events)
{
    return (short)((events & POLLIN ? ZMQ_POLLIN : 0) | (events & POLLOUT ? ZMQ_POLLOUT : 0));
}

int loop_run(struct loop *l)
{
    while (!l->stop) {
        if (l->idle)
            l->idle(l->idle_arg);
        if (l->stop)
            break;
        size_t n = l->n;
        if (n > l->item_cap) {
            l->item_cap = l->cap;
            l->item = xrealloc(l->item, l->item_cap, sizeof *l->item);
        }
        for (size_t i = 0; i < n; i++)
            l->item[i] = (zmq_pollitem_t){.socket = l->src[i].zsocket, .fd = l->src[i].fd,
                                           .events = zmq_events(l->src[i].events)};
        int r = zmq_poll(l->item, (int)n, time_left(l));
        if (r < 0 && errno != EINTR)
            return err_set(ERR_IO, "waiting for events: %m");
        if (r > 0)
            dispatch(l, n);
        run_timers(l);
    }
    l->stop = false;
    return 0;
}

#include "node/loop.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 };

/* fd: of a socket that which libzmq signals. `at`: its place in the list of all. */
struct source { void *zsocket; int fd; loop_fn fn; void *arg; size_t at; bool touched; };

struct loop {
    int epoll;
    struct source **src; size_t n, cap;
    struct source **touched; size_t ntouched, touched_cap;    /* to be looked at before the next sleep; NULL: removed meanwhile */
    struct epoll_event ready[BATCH]; int nready;              /* what the last wait has found; data.ptr NULL: removed meanwhile */
    struct loop_timer **heap; size_t ntimer, heap_cap;
    uint64_t turn;                                            /* counts timers: those due together run as they were set */
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
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return err_set(ERR_IO, "waiting for events: %m");
    *out = xcalloc(1, sizeof **out);
    (*out)->epoll = fd;
    return 0;
}

void loop_free(struct loop **pl)
{
    struct loop *l = *pl;
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++)
        free(l->src[i]);
    free(l->src);
    free(l->touched);
    free(l->heap);
    close(l->epoll);
    free(l);
    *pl = NULL;
}

void loop_stop(struct loop *l) { l->stop = true; }

void loop_before_sleep(struct loop *l, loop_fn fn, void *arg)
{
    l->idle = fn;
    l->idle_arg = arg;
}

/* ---- sources ---- */

static struct source *find(const struct loop *l, const void *zsocket, int fd)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->src[i]->zsocket == zsocket && (zsocket || l->src[i]->fd == fd))
            return l->src[i];
    return NULL;
}

/* Room for one more of n. */
static void *grown(void *list, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return list;
    *cap = *cap ? 2 * *cap : 16;
    return xrealloc(list, *cap, size);
}

/* poll's bits and epoll's are the same numbers. The kernel has as little memory for this as for anything else: no way to go on. */
static void watch(struct loop *l, int op, struct source *s, short events)
{
    struct epoll_event e = {.events = (uint32_t)events, .data.ptr = s};
    if (epoll_ctl(l->epoll, op, s->fd, &e) == 0)
        return;
    perror("lanyard: waiting for events");
    abort();
}

static struct source *add(struct loop *l, struct source s, short events)
{
    struct source *own = xcalloc(1, sizeof *own);
    *own = s;
    own->at = l->n;
    l->src = grown(l->src, l->n, &l->cap, sizeof *l->src);
    l->src[l->n++] = own;
    watch(l, EPOLL_CTL_ADD, own, events);
    return own;
}

static void del(struct loop *l, struct source *s)
{
    if (!s)
        return;
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, s->fd, NULL);
    for (int i = 0; i < l->nready; i++)
        if (l->ready[i].data.ptr == s)
            l->ready[i].data.ptr = NULL;
    for (size_t i = 0; i < l->ntouched && s->touched; i++)
        if (l->touched[i] == s)
            l->touched[i] = NULL;
    l->src[s->at] = l->src[--l->n];
    l->src[s->at]->at = s->at;
    free(s);
}

void loop_add_fd(struct loop *l, int fd, short events, loop_fn fn, void *arg)
{
    assert(!find(l, NULL, fd));
    add(l, (struct source){.fd = fd, .fn = fn, .arg = arg}, events);
}
void loop_set_fd(struct loop *l, int fd, short events)
{
    struct source *s = find(l, NULL, fd);
    assert(s);
    watch(l, EPOLL_CTL_MOD, s, events);
}
void loop_del_fd(struct loop *l, int fd) { del(l, find(l, NULL, fd)); }

static void touch(struct loop *l, struct source *s)
{
    if (s->touched)
        return;
    s->touched = true;
    l->touched = grown(l->touched, l->ntouched, &l->touched_cap, sizeof *l->touched);
    l->touched[l->ntouched++] = s;
}

void loop_add_socket(struct loop *l, void *zsocket, loop_fn fn, void *arg)
{
    int fd = -1;
    size_t size = sizeof fd;
    int r = zmq_getsockopt(zsocket, ZMQ_FD, &fd, &size);
    assert(r == 0 && !find(l, zsocket, -1));
    touch(l, add(l, (struct source){.zsocket = zsocket, .fd = fd, .fn = fn, .arg = arg}, POLLIN));
}
void loop_del_socket(struct loop *l, void *zsocket) { del(l, find(l, zsocket, -1)); }

void loop_touched(struct loop *l, void *zsocket)
{
    struct source *s = find(l, zsocket, -1);
    if (s)
        touch(l, s);
}

int loop_send(struct loop *l, void *zsocket, const void *data, size_t len, int flags)
{
    loop_touched(l, zsocket);
    return zmq_send(zsocket, data, len, flags);
}

int loop_send_msg(struct loop *l, void *zsocket, zmq_msg_t *m, int flags)
{
    loop_touched(l, zsocket);
    return zmq_msg_send(m, zsocket, flags);
}

/* ---- timers: a heap, the next one first ---- */

static bool before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due < b->due || (a->due == b->due && a->turn < b->turn);
}

static void put(struct loop *l, size_t at, struct loop_timer *t)
{
    l->heap[at] = t;
    t->at = at;
}

/* To its place: towards the root past those that are later, else away from it past those that are earlier. */
static void settle(struct loop *l, size_t at, struct loop_timer *t)
{
    for (; at > 0 && before(t, l->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(l, at, l->heap[(at - 1) / 2]);
    for (size_t child; (child = 2 * at + 1) < l->ntimer; at = child) {
        if (child + 1 < l->ntimer && before(l->heap[child + 1], l->heap[child]))
            child++;
        if (before(t, l->heap[child]))
            break;
        put(l, at, l->heap[child]);
    }
    put(l, at, t);
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    if (!t->set)
        return;
    t->set = false;
    struct loop_timer *last = l->heap[--l->ntimer];
    if (last != t)
        settle(l, t->at, last);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t in_ms, loop_fn fn, void *arg)
{
    loop_timer_clear(l, t);
    *t = (struct loop_timer){.due = loop_now() + in_ms, .turn = l->turn++, .fn = fn, .arg = arg, .set = true};
    l->heap = grown(l->heap, l->ntimer, &l->heap_cap, sizeof *l->heap);
    l->ntimer++;
    settle(l, l->ntimer - 1, t);
}

static void run_timers(struct loop *l)
{
    uint64_t now = loop_now();
    while (l->ntimer && l->heap[0]->due <= now && !l->stop) {
        struct loop_timer *t = l->heap[0];
        loop_timer_clear(l, t);
        t->fn(t->arg);
    }
}

static int time_left(const struct loop *l)
{
    if (l->ntouched)
        return 0;
    if (!l->ntimer)
        return -1;
    uint64_t now = loop_now(), due = l->heap[0]->due, left = due > now ? due - now : 0;
    return left > INT32_MAX ? INT32_MAX : (int)left;
}

/* ---- turns ---- */

/* News of a socket may be that it is readable; whether it is, it says itself. */
static void serve_ready(struct loop *l)
{
    for (int i = 0; i < l->nready && !l->stop; i++) {
        struct source *s = l->ready[i].data.ptr;
        if (s && s->zsocket)
            touch(l, s);
        else if (s)
            s->fn(s->arg);
    }
    l->nready = 0;
}

/* Takes in all news. */
static bool readable(void *zsocket)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(zsocket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN);
}

/* A readable one is looked at again in the next turn: it may have more, and its callback may have called it. */
static void serve_touched(struct loop *l)
{
    size_t n = l->ntouched, left = 0;
    for (size_t i = 0; i < n && !l->stop; i++) {
        struct source *s = l->touched[i];
        l->touched[i] = NULL;
        if (!s)
            continue;
        s->touched = false;
        if (readable(s->zsocket)) {
            touch(l, s);
            s->fn(s->arg);
        }
    }
    for (size_t i = 0; i < l->ntouched; i++)
        if (l->touched[i])
            l->touched[left++] = l->touched[i];
    l->ntouched = left;
}

int loop_run(struct loop *l)
{
    while (!l->stop) {
        if (l->idle)
            l->idle(l->idle_arg);
        if (l->stop)
            break;
        l->nready = epoll_wait(l->epoll, l->ready, BATCH, time_left(l));
        if (l->nready < 0 && errno != EINTR)
            return err_set(ERR_IO, "waiting for events: %m");
        serve_ready(l);
        serve_touched(l);
        run_timers(l);
    }
    l->stop = false;
    return 0;
}

#include "node/pool.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PARTS_MAX = 8, NICE = 5 };      /* what is said comes before what is worked on: locks, answers */

struct queue { struct job *head, **tail; };

struct pool {
    struct loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t work, room;
    struct queue quick, slow, finished;
    unsigned slow_running, slow_max, parts;
    _Atomic bool stop;
    int fd;
    unsigned nthread;
    pthread_t thread[];
};

static void push(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->tail = j;
    q->tail = &j->next;
}
static struct job *pop(struct queue *q)
{
    struct job *j = q->head;
    if (j) {
        q->head = j->next;
        if (!q->head)
            q->tail = &q->head;
    }
    return j;
}

static void finish(struct pool *p, struct job *j)   /* lock held */
{
    bool was_empty = !p->finished.head;
    push(&p->finished, j);
    if (was_empty) {
        uint64_t one = 1;
        ssize_t r = write(p->fd, &one, sizeof one);
        assert(r == sizeof one);
    }
}

static struct job *next_job(struct pool *p)         /* lock held */
{
    struct job *j = pop(&p->quick);
    if (!j && p->slow_running < p->slow_max && (j = pop(&p->slow)))
        p->slow_running++;
    return j;
}

static void *worker(void *arg)
{
    struct pool *p = arg;
    setpriority(PRIO_PROCESS, 0, NICE);  /* of this thread alone. Where that is not allowed all are equal */
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        struct job *j = next_job(p);
        if (!j) {
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        j->run(j);
        pthread_mutex_lock(&p->lock);
        if (j->slow) {
            p->slow_running--;
            pthread_cond_signal(&p->work);
        }
        finish(p, j);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void on_finished(void *arg)
{
    struct pool *p = arg;
    uint64_t n;
    ssize_t r = read(p->fd, &n, sizeof n);
    (void)r;
    pthread_mutex_lock(&p->lock);
    struct job *j = p->finished.head;
    p->finished = (struct queue){NULL, &p->finished.head};
    p->parts = 0;
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
    while (j) {
        struct job *next = j->next;
        j->done(j);
        j = next;
    }
}

static void init_sync(struct pool *p)
{
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->room, NULL);
    p->quick.tail = &p->quick.head;
    p->slow.tail = &p->slow.head;
    p->finished.tail = &p->finished.head;
}

int pool_new(struct loop *l, unsigned threads, struct pool **out)
{
    assert(threads >= 2);
    struct pool *p = xcalloc(1, sizeof *p + threads * sizeof(pthread_t));
    p->loop = l;
    p->slow_max = threads - 1;
    init_sync(p);
    p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->fd < 0) {
        free(p);
        return err_set(ERR_IO, "worker threads: eventfd: %m");
    }
    loop_add_fd(l, p->fd, POLLIN, on_finished, p);
    *out = p;
    for (; p->nthread < threads; p->nthread++)
        if (pthread_create(&p->thread[p->nthread], NULL, worker, p)) {
            pool_free(out);
            return err_set(ERR_IO, "worker threads: cannot start one: too many processes?");
        }
    return 0;
}

void pool_free(struct pool **pp)
{
    struct pool *p = *pp;
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->nthread; i++)
        pthread_join(p->thread[i], NULL);
    on_finished(p);
    for (struct job *j; (j = pop(&p->quick)) || (j = pop(&p->slow)); )
        j->done(j);
    loop_del_fd(p->loop, p->fd);
    close(p->fd);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->room);
    free(p);
    *pp = NULL;
}

void pool_submit(struct pool *p, struct job *j)
{
    pthread_mutex_lock(&p->lock);
    push(j->slow ? &p->slow : &p->quick, j);
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

void pool_part(struct pool *p, struct job *part)
{
    pthread_mutex_lock(&p->lock);
    while (p->parts >= PARTS_MAX && !p->stop)
        pthread_cond_wait(&p->room, &p->lock);
    p->parts++;
    finish(p, part);
    pthread_mutex_unlock(&p->lock);
}

const _Atomic bool *pool_stopping(const struct pool *p) { return &p->stop; }

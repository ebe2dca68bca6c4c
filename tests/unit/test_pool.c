#include <pthread.h>
#include <stdatomic.h>

#include "node/pool.h"
#include "tests/unit/t_node.h"

enum { JOBS = 300 };
struct task { struct job job; int number; bool ran, done; struct gate *gate; };
/* Jobs wait here until the test lets them go on. */
struct gate { pthread_mutex_t lock; pthread_cond_t cond; unsigned inside; bool open; };

static struct loop *loop;
static struct pool *pool;
static int order[JOBS], norder;
static struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static void gate_open(bool open)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = open;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.lock);
}
static void end(void)
{
    gate_open(true);
    pool_free(&pool);
    loop_free(&loop);
}
static void begin(unsigned threads)
{
    end();
    gate_open(false);
    norder = 0;
    t_must(loop_new(&loop));
    t_must(pool_new(loop, threads, &pool));
}

static void wait_at_gate(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->inside++;
    pthread_cond_broadcast(&g->cond);
    while (!g->open)
        pthread_cond_wait(&g->cond, &g->lock);
    g->inside--;
    pthread_mutex_unlock(&g->lock);
}
static void until_inside(unsigned n)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.inside < n)
        pthread_cond_wait(&gate.cond, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}
static void run(struct job *j)
{
    struct task *t = (struct task *)j;
    if (t->gate)
        wait_at_gate(t->gate);
    t->ran = true;
}
static void done(struct job *j)
{
    struct task *t = (struct task *)j;
    t->done = true;
    order[norder++] = t->number;
}
static struct task task(int number, bool slow, struct gate *g)
{
    return (struct task){ .job = { .run = run, .done = done, .slow = slow }, .number = number, .gate = g };
}
static bool finished(void *arg) { return norder == *(int *)arg; }

static void test_all_run_once(void)
{
    static struct task t[JOBS];
    begin(3);
    for (int i = 0; i < JOBS; i++) {
        t[i] = task(i, i % 3 == 0, NULL);
        pool_submit(pool, &t[i].job);
    }
    UNTIL(loop, finished, &(int){ JOBS });
    for (int i = 0; i < JOBS; i++)
        CHECK(t[i].ran && t[i].done);
}

/* Two workers of which one is held: what is left is in the order of the queue. */
static void test_order(void)
{
    static struct task held, t[JOBS];
    begin(2);
    held = task(-1, true, &gate);
    pool_submit(pool, &held.job);
    until_inside(1);
    for (int i = 0; i < 100; i++) {
        t[i] = task(i, false, NULL);
        pool_submit(pool, &t[i].job);
    }
    UNTIL(loop, finished, &(int){ 100 });
    for (int i = 0; i < 100; i++)
        EQ_I(order[i], i);
}

static void test_slow_jobs_leave_one_worker(void)
{
    static struct task slow[10], quick;
    begin(3);
    for (int i = 0; i < 10; i++) {
        slow[i] = task(i, true, &gate);
        pool_submit(pool, &slow[i].job);
    }
    until_inside(2);
    quick = task(77, false, NULL);
    pool_submit(pool, &quick.job);
    UNTIL(loop, finished, &(int){ 1 });
    EQ_I(order[0], 77);
    EQ_U(gate.inside, 2);
    gate_open(true);
    UNTIL(loop, finished, &(int){ 11 });
}

/* ---- parts ---- */

enum { PARTS = 200 };
struct walker { struct job job; struct task part[PARTS]; _Atomic int sent; bool done; };

static void walk(struct job *j)
{
    struct walker *k = (struct walker *)j;
    for (int i = 0; i < PARTS; i++) {
        k->part[i] = task(i, false, NULL);
        pool_part(pool, &k->part[i].job);
        k->sent++;
    }
}
static void walked(struct job *j) { ((struct walker *)j)->done = true; }
static bool over(void *arg) { return ((struct walker *)arg)->done; }

static void test_parts_come_in_order_before_the_end(void)
{
    static struct walker k;
    begin(2);
    k = (struct walker){ .job = { .run = walk, .done = walked, .slow = true } };
    pool_submit(pool, &k.job);
    UNTIL(loop, over, &k);
    EQ_I(norder, PARTS);
    for (int i = 0; i < PARTS; i++)
        EQ_I(order[i], i);
}

static _Atomic int most;
static struct walker *watched;
static void done_slowly(struct job *j)
{
    int ahead = watched->sent - norder;
    most = ahead > most ? ahead : most;
    done(j);
}
static void walk_counted(struct job *j)
{
    struct walker *k = (struct walker *)j;
    for (int i = 0; i < PARTS; i++) {
        k->part[i] = task(i, false, NULL);
        k->part[i].job.done = done_slowly;
        pool_part(pool, &k->part[i].job);
        k->sent++;
    }
}
static void test_parts_do_not_outrun_the_loop(void)
{
    static struct walker k;
    begin(2);
    most = 0;
    watched = &k;
    k = (struct walker){ .job = { .run = walk_counted, .done = walked } };
    pool_submit(pool, &k.job);
    UNTIL(loop, over, &k);
    EQ_I(norder, PARTS);
    CHECK(most <= 20);                       /* those taken by the loop at once, and as many again behind them */
}

/* ---- the end ---- */

static void test_freeing_ends_all_jobs(void)
{
    static struct task running, queued[20];
    begin(2);
    running = task(0, true, NULL);
    pool_submit(pool, &running.job);
    for (int i = 0; i < 20; i++) {
        queued[i] = task(i + 1, true, NULL);
        pool_submit(pool, &queued[i].job);
    }
    pool_free(&pool);
    EQ_I(norder, 21);
    CHECK(running.done);
    for (int i = 0; i < 20; i++)
        CHECK(queued[i].done);
}

static void run_until_stopped(struct job *j)
{
    struct task *t = (struct task *)j;
    const _Atomic bool *stopping = pool_stopping(pool);
    wait_at_gate(&gate);
    while (!*stopping)
        ;
    t->ran = true;
}
static void test_long_jobs_are_told(void)
{
    static struct task t, behind;
    begin(2);
    gate_open(true);
    t = task(0, true, NULL);
    t.job.run = run_until_stopped;
    behind = task(1, true, NULL);
    pool_submit(pool, &t.job);
    pool_submit(pool, &behind.job);
    pool_free(&pool);
    CHECK(t.done && behind.done);
    CHECK(!behind.ran);
}

static void test_freeing_frees_a_blocked_walk(void)
{
    static struct walker k;
    begin(2);
    k = (struct walker){ .job = { .run = walk, .done = walked } };
    pool_submit(pool, &k.job);
    while (k.sent < 8)
        ;
    pool_free(&pool);
    CHECK(k.done);
    EQ_I(norder, PARTS);
}

static struct task follow;
static void done_and_submit(struct job *j)
{
    done(j);
    follow = task(2, false, NULL);
    pool_submit(pool, &follow.job);
}
static void test_done_may_submit(void)
{
    static struct task t;
    begin(2);
    t = task(1, false, NULL);
    t.job.done = done_and_submit;
    pool_submit(pool, &t.job);
    UNTIL(loop, finished, &(int){ 2 });
    norder = 0;
    t = task(1, false, &gate);
    t.job.done = done_and_submit;
    pool_submit(pool, &t.job);
    gate_open(true);
    struct pool *p = pool;
    pool_free(&p);                           /* also while it is being freed */
    pool = NULL;
    EQ_I(norder, 2);
}

int main(void)
{
    t_node_init();
    RUN(test_all_run_once);
    RUN(test_order);
    RUN(test_slow_jobs_leave_one_worker);
    RUN(test_parts_come_in_order_before_the_end);
    RUN(test_parts_do_not_outrun_the_loop);
    RUN(test_freeing_ends_all_jobs);
    RUN(test_long_jobs_are_told);
    RUN(test_freeing_frees_a_blocked_walk);
    RUN(test_done_may_submit);
    end();
    return t_done();
}

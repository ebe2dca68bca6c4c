/* Whose turn it is. */
#include "node/queue.h"
#include "tests/unit/t.h"

enum { MIB = 1 << 20, ITEMS = 64 };

static struct queue q;
static struct waiting item[3][ITEMS];
static size_t used[3];
static const struct client *barred;

static bool may(void *arg, struct client *c)
{
    (void)arg;
    return c != barred;
}

static struct client *client(unsigned i)
{
    struct id who = { { (uint8_t)(i + 1) } };
    return queue_client(&q, &who);
}

static void put(unsigned i, uint64_t now) { queue_put(&q, client(i), &item[i][used[i]++], now); }

static void begin(void)
{
    struct client *of;
    while (queue_stale(&q, UINT64_MAX, &of))
        ;
    queue_release(&q);
    memset(used, 0, sizeof used);
    barred = NULL;
}

/* Serves the next one, which is so large; -1: nobody. */
static int serve(uint64_t bytes)
{
    struct client *c = queue_next(&q, may, NULL);
    if (!c)
        return -1;
    queue_take(&q, c);
    queue_charge(c, bytes);
    return c->who.b[0] - 1;
}

static void test_oldest_first(void)
{
    begin();
    EQ_I(serve(1), -1);
    put(0, 1);
    put(0, 2);
    struct client *c = queue_next(&q, may, NULL);
    CHECK(c == client(0) && queue_take(&q, c) == &item[0][0] && queue_take(&q, c) == &item[0][1]);
    EQ_I(serve(1), -1);
    EQ_U(q.n, 0);
}

static void test_turns_by_bytes(void)
{
    begin();
    uint64_t had[3] = { 0 };
    for (int i = 0; i < ITEMS; i++) {
        put(0, 0);
        put(1, 0);
        put(2, 0);
    }
    static const uint64_t size[3] = { 4 * MIB, MIB, MIB / 2 };
    for (int i = 0; i < 60; i++) {
        int who = (int)(queue_next(&q, may, NULL)->who.b[0] - 1);
        EQ_I(serve(size[who]), who);
        had[who] += size[who];
    }
    for (int i = 0; i < 3; i++)
        CHECK(had[i] >= 12u * MIB && had[i] <= 20u * MIB);
}

/* Who has been away is served at once, and has no claim to all that the others had meanwhile. */
static void test_who_comes_late(void)
{
    begin();
    for (int i = 0; i < ITEMS; i++)
        put(0, 0);
    for (int i = 0; i < 32; i++)
        EQ_I(serve(MIB), 0);
    for (int i = 0; i < 8; i++)
        put(1, 0);
    int second = 0;
    for (int i = 0; i < 8; i++)
        second += serve(MIB);
    CHECK(second >= 3 && second <= 5);
}

static void test_who_may_not(void)
{
    begin();
    put(0, 0);
    put(1, 0);
    barred = client(0);
    EQ_I(serve(1), 1);
    EQ_I(serve(1), -1);
    barred = NULL;
    EQ_I(serve(1), 0);
}

static void test_waited_for_too_long(void)
{
    begin();
    struct client *of;
    put(0, 10);
    put(1, 20);
    put(1, 30);
    CHECK(!queue_stale(&q, 10, &of));
    CHECK(queue_stale(&q, 21, &of) == &item[0][0] && of == client(0));
    CHECK(queue_stale(&q, 21, &of) == &item[1][0] && of == client(1));
    CHECK(!queue_stale(&q, 21, &of));
    EQ_I(serve(1), 1);
}

int main(void)
{
    RUN(test_oldest_first);
    RUN(test_turns_by_bytes);
    RUN(test_who_comes_late);
    RUN(test_who_may_not);
    RUN(test_waited_for_too_long);
    begin();
    return t_done();
}

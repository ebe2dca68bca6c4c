/* Who chooses whom. */
#include <stdlib.h>

#include "node/ring.h"
#include "tests/unit/t_record.h"

enum { MOST = 300 };

static struct id dev[MOST];
static bool edge[MOST][MOST];

static void devices(uint64_t *seed, size_t n)
{
    for (size_t i = 0; i < n; i++)
        t_bytes(seed, dev[i].b, sizeof dev[i].b);
}

/* Each chooses among all others. */
static void choose(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct id others[MOST];
        bool chosen[MOST];
        size_t k = 0;
        for (size_t j = 0; j < n; j++)
            if (j != i)
                others[k++] = dev[j];
        ring_choose(&dev[i], others, k, 1, chosen);
        for (size_t j = 0, at = 0; j < n; j++)
            edge[i][j] = j != i && chosen[at++];
    }
}

/* The longest way of any to any, along edges that either end has chosen; SIZE_MAX: there is none. */
static size_t diameter(size_t n)
{
    size_t worst = 0;
    for (size_t from = 0; from < n; from++) {
        size_t way[MOST], queue[MOST], head = 0, tail = 0;
        for (size_t i = 0; i < n; i++)
            way[i] = SIZE_MAX;
        way[from] = 0;
        queue[tail++] = from;
        while (head < tail) {
            size_t at = queue[head++];
            for (size_t to = 0; to < n; to++)
                if (way[to] == SIZE_MAX && (edge[at][to] || edge[to][at])) {
                    way[to] = way[at] + 1;
                    queue[tail++] = to;
                }
        }
        for (size_t i = 0; i < n; i++)
            worst = way[i] > worst ? way[i] : worst;
    }
    return worst;
}

static double degree(size_t n)
{
    size_t ends = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            ends += edge[i][j] || edge[j][i];
    return (double)ends / (double)n;
}

static void test_few_choose_all(void)
{
    uint64_t seed = 1;
    for (size_t n = 1; n <= 2 * RING_BESIDE + 1; n++) {
        devices(&seed, n);
        choose(n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                EQ_U(edge[i][j], i != j);
    }
}

static void test_many_are_a_few_steps_apart(void)
{
    uint64_t seed = 2;
    for (int run = 0; run < 5; run++)
        for (size_t n = 25; n <= MOST; n *= 2) {
            devices(&seed, n);
            choose(n);
            CHECK(diameter(n) <= 4);
            CHECK(degree(n) <= 15);
        }
}

/* By how many one is chosen is a matter of chance, and of nothing else. */
static void test_nobody_has_many_neighbours(void)
{
    uint64_t seed = 4;
    for (int run = 0; run < 5; run++) {
        devices(&seed, 100);
        choose(100);
        for (size_t i = 0; i < 100; i++) {
            size_t ends = 0;
            for (size_t j = 0; j < 100; j++)
                ends += edge[i][j] || edge[j][i];
            CHECK(ends >= 2 * RING_BESIDE && ends <= 22);
        }
    }
}

static bool is_connected(size_t n, const uint64_t *next, uint64_t gone)
{
    uint64_t all = (UINT64_C(1) << n) - 1, seen = 0, now = all & ~gone & -(all & ~gone);
    while (now & ~seen) {
        size_t at = (size_t)__builtin_ctzll(now & ~seen);
        seen |= UINT64_C(1) << at;
        now |= next[at] & ~gone;
    }
    return seen == (all & ~gone);
}

static int by_id(const void *a, const void *b) { return memcmp(a, b, sizeof(struct id)); }

/* Before anybody has chosen anew. That the next two on either side are there is enough. */
static void test_any_three_go(void)
{
    enum { N = 30 };
    uint64_t seed = 5, next[N] = { 0 };
    devices(&seed, N);
    qsort(dev, N, sizeof *dev, by_id);
    choose(N);
    for (size_t i = 0; i < N; i++)
        for (size_t step = 1; step <= 2; step++) {
            size_t after = (i + step) % N;
            CHECK(edge[i][after] && edge[after][i]);
            next[i] |= UINT64_C(1) << after;
            next[after] |= UINT64_C(1) << i;
        }
    for (size_t a = 0; a < N; a++)
        for (size_t b = 0; b < N; b++)
            for (size_t c = 0; c < N; c++)
                CHECK(is_connected(N, next, UINT64_C(1) << a | UINT64_C(1) << b | UINT64_C(1) << c));
}

/* Whatever ids are around it, in the end it has chosen everybody. */
static void test_everybody_is_drawn(void)
{
    uint64_t seed = 6;
    bool ever[99] = { 0 }, chosen[99];
    devices(&seed, 100);
    for (uint64_t draw = 1; draw <= 1000; draw++) {
        ring_choose(&dev[99], dev, 99, draw, chosen);
        for (size_t i = 0; i < 99; i++)
            ever[i] |= chosen[i];
    }
    for (size_t i = 0; i < 99; i++)
        CHECK(ever[i]);
}

/* When one goes, few change their minds: the others' links stay. */
static void test_one_goes(void)
{
    uint64_t seed = 3;
    static bool before[MOST][MOST];
    size_t n = 100, changed = 0;
    devices(&seed, n);
    choose(n);
    memcpy(before, edge, sizeof before);
    choose(n - 1);
    for (size_t i = 0; i < n - 1; i++)
        for (size_t j = 0; j < n - 1; j++)
            changed += edge[i][j] != before[i][j];
    CHECK(changed < 2 * n / 5);
}

/* Those at the same place, or across the end of the ring, are neighbours like others; one of those far behind is chosen, too. */
static void test_edges_of_the_ring(void)
{
    struct id self = { { 0 } }, d[12] = { 0 };
    bool chosen[12];
    size_t far = 0;
    memset(d[0].b, 0xff, sizeof d[0].b);
    for (size_t i = 1; i < 12; i++)
        d[i].b[0] = (uint8_t)(0x10 * i), d[i].b[31] = 1;
    d[2].b[0] = 0;
    ring_choose(&self, d, 12, 1, chosen);
    CHECK(chosen[0] && chosen[1] && chosen[2] && chosen[11]);
    for (size_t i = 4; i < 11; i++)
        far += chosen[i];
    CHECK(far == 1 || far == 2);         /* one of them, and perhaps the one that is drawn */
}

int main(void)
{
    RUN(test_few_choose_all);
    RUN(test_many_are_a_few_steps_apart);
    RUN(test_nobody_has_many_neighbours);
    RUN(test_any_three_go);
    RUN(test_everybody_is_drawn);
    RUN(test_one_goes);
    RUN(test_edges_of_the_ring);
    return t_done();
}

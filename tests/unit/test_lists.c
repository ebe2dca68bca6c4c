/* node/lists: block lists in memory are the right ones, and never more than there may be. */
#include "node/lists.h"
#include "tests/unit/t.h"

static struct lists open_lists(size_t most)
{
    struct lists l = {.most = most};
    struct id group = id_hash("group", 5);
    OK(index_open(":memory:", &group, false, &l.index));
    return l;
}
static void close_lists(struct lists *l)
{
    lists_release(l);
    EQ_U(l->bytes, 0);
    index_close(&l->index);
}

/* A list of n blocks, all alike but for the first one; its name. */
static struct id put(struct lists *l, uint32_t n, uint32_t first)
{
    AUTOFREE uint8_t *refs = xcalloc(n, BLOCK_REF);
    struct block_ref a = {id_hash(&first, sizeof first), first}, b = {id_hash("b", 1), 100};
    for (uint32_t i = 0; i < n; i++)
        block_ref_put(refs + (size_t)i * BLOCK_REF, i ? &b : &a);
    OK(index_begin(l->index));
    OK(index_tree_put(l->index, &a.id, refs, n));
    OK(index_commit(l->index));
    return a.id;
}

static void check_list(struct lists *l, const struct id *root, uint32_t n, uint32_t first)
{
    const struct list *v = lists_get(l, root);
    CHECK(v && id_eq(&v->root, root));
    EQ_U(v->n, n);
    EQ_U(v->at[0], 0);
    EQ_U(v->at[n - 1], n > 1 ? first + 100 * (n - 2) : 0);
}

static void test_the_last_ones_stay(void)
{
    struct lists l = open_lists(LISTS_BYTES);
    struct id id[LISTS_CACHED + 1], none = id_hash("none", 4);
    for (uint32_t i = 0; i <= LISTS_CACHED; i++)
        id[i] = put(&l, i + 1, i + 7);
    for (int twice = 0; twice < 2; twice++)
        for (uint32_t i = 0; i <= LISTS_CACHED; i++)
            check_list(&l, &id[i], i + 1, i + 7);
    EQ_U(l.count, LISTS_CACHED);
    check_list(&l, &id[1], 2, 8);                 /* it was the one to go next */
    check_list(&l, &id[0], 1, 7);
    CHECK(id_eq(&l.v[0].root, &id[0]) && id_eq(&l.v[1].root, &id[1]));
    CHECK(!lists_get(&l, &none));
    EQ_U(l.count, LISTS_CACHED);
    close_lists(&l);
}

static void test_no_more_bytes_than_that(void)
{
    enum { HALF = 10, WHOLE = 21, MOST = 20 * (BLOCK_REF + 8) };
    struct lists l = open_lists(MOST);
    struct id half = put(&l, HALF, 1), other = put(&l, HALF, 2), small = put(&l, 3, 3), large = put(&l, WHOLE, 4);
    check_list(&l, &half, HALF, 1);
    check_list(&l, &other, HALF, 2);
    EQ_U(l.count, 2);
    check_list(&l, &small, 3, 3);
    EQ_U(l.count, 2);
    CHECK(l.bytes <= MOST);
    check_list(&l, &large, WHOLE, 4);
    EQ_U(l.count, 1);
    check_list(&l, &small, 3, 3);
    EQ_U(l.count, 1);
    close_lists(&l);
}

int main(void)
{
    RUN(test_the_last_ones_stay);
    RUN(test_no_more_bytes_than_that);
    return t_done();
}

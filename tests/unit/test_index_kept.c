/* index: what is kept, and what of it no version names. */
#include "tests/unit/t_index.h"

static struct index *ix;

static int see(void *arg, const struct ix_kept *k) { return t_saw(arg, (uint64_t)k->id); }

/* Of a path that is known, of a content that is, and neither of a version nor a part of one. */
static void test_kept_strays(void)
{
    struct ix_kept row[] = { { .path = 4, .root = t_root(1), .name = "" }, { .path = 4, .entry = 9, .root = t_root(2), .name = "v" },
                             { .path = 5, .entry = KEPT_PART, .root = t_root(3), .name = "p" }, { .root = t_root(4), .name = "n" },
                             { .path = 6, .name = "r" }, { .path = 4, .root = t_root(5), .name = "s" } };
    struct seen s = { 0 };
    OK(index_begin(ix));
    for (int i = 0; i < 6; i++)
        OK(index_kept_put(ix, &row[i]));
    OK(index_kept_strays(ix, see, &s));
    EQ_U(s.n, 2);
    EQ_MEM(s.v, ((uint64_t[]){ (uint64_t)row[0].id, (uint64_t)row[5].id }), 2 * sizeof *s.v);
    OK(index_commit(ix));
}

int main(void)
{
    ix = t_index(":memory:");
    RUN(test_kept_strays);
    index_close(&ix);
    return t_done();
}

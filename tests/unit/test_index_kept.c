/* index: what is kept, and what of it no version names. */
#include "tests/unit/t_index.h"

#include "store/index_priv.h"

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

/* Asked every second, of a history that may have a million contents in packs: only those that are files are looked at. */
static void test_kept_files(void)
{
    struct seen s = { 0 };
    struct ix_kept packed = { .path = 9, .entry = 9, .name = "" }, file = { .path = 9, .entry = 9, .root = t_root(99), .name = "f" };
    OK(index_begin(ix));
    for (uint64_t i = 0; i < 1000; i++) {
        packed.root = t_root(1000 + i);
        OK(index_kept_put(ix, &packed));
    }
    OK(index_kept_put(ix, &file));
    OK(index_commit(ix));
    (void)sqlite3_stmt_status(ix->stmt[Q_KEPT_FILES], SQLITE_STMTSTATUS_VM_STEP, 1);
    OK(index_kept_files(ix, packed.id - 999, see, &s));
    EQ_U(s.n, 1);
    EQ_U(s.v[0], (uint64_t)file.id);
    CHECK(sqlite3_stmt_status(ix->stmt[Q_KEPT_FILES], SQLITE_STMTSTATUS_VM_STEP, 1) < 100);
    OK(index_begin(ix));
    OK(index_kept_packed(ix, file.id));
    OK(index_commit(ix));
    EQ_I(index_kept_files(ix, 0, see, &(struct seen){ .limit = 1 }), 77);       /* of the test before */
    EQ_I(index_kept_files(ix, packed.id, see, &(struct seen){ .limit = 1 }), 0);
}

int main(void)
{
    ix = t_index(":memory:");
    RUN(test_kept_strays);
    RUN(test_kept_files);
    index_close(&ix);
    return t_done();
}

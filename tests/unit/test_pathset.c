#include "node/pathset.h"
#include "tests/unit/t.h"

/* ---- against a model: an array of all paths that are used ---- */

enum { PATHS = 400 };
struct model { bool in; uint32_t value; };

static size_t path_of(size_t i, char out[static 32])
{
    /* Some differ only in length, some hold a NUL: all are bytes. */
    size_t n = (size_t)snprintf(out, 32, "%.*s%zu", (int)(i % 7), "a/b/c/d", i / 3);
    if (i % 3 == 1)
        out[n++] = '\0';
    if (i % 3 == 2)
        out[n++] = 'x';
    return n;
}

static void compare(const struct pathset *s, const struct model *m)
{
    size_t n = 0, met = 0, at = 0;
    for (size_t i = 0; i < PATHS; i++) {
        char path[32];
        uint32_t value = 0;
        size_t len = path_of(i, path);
        EQ_U(pathset_get(s, path, len, &value), m[i].in);
        EQ_U(pathset_get(s, path, len, NULL), m[i].in);
        if (m[i].in)
            EQ_U(value, m[i].value);
        n += m[i].in;
    }
    EQ_U(s->n, n);
    while (pathset_next(s, &at))
        met++;
    EQ_U(met, n);
}

static void test_model(void)
{
    uint64_t seed = 1;
    for (int run = 0; run < 20; run++) {
        struct pathset s = { 0 };
        struct model m[PATHS] = { 0 };
        compare(&s, m);
        for (int step = 0; step < 5000; step++) {
            size_t i = t_rand(&seed) % PATHS;
            char path[32];
            size_t len = path_of(i, path);
            if (t_rand(&seed) % (run % 2 ? 3 : 2) == 0) {
                m[i] = (struct model){ true, (uint32_t)t_rand(&seed) };
                pathset_put(&s, path, len, m[i].value);
            } else {
                m[i].in = false;
                pathset_del(&s, path, len);
            }
            if (step % 500 == 0)
                compare(&s, m);
        }
        compare(&s, m);
        pathset_release(&s);
        EQ_U(s.n + s.cap, 0);
    }
}

/* Puts and deletes without end must not let it grow without end. */
static void test_it_forgets(void)
{
    struct pathset s = { 0 };
    for (uint32_t i = 0; i < 200000; i++) {
        pathset_put(&s, (const char *)&i, sizeof i, i);
        if (i >= 10) {
            uint32_t old = i - 10;
            pathset_del(&s, (const char *)&old, sizeof old);
        }
    }
    EQ_U(s.n, 10);
    CHECK(s.cap <= 256);
    pathset_release(&s);
}

static void test_the_empty_path(void)
{
    struct pathset s = { 0 };
    uint32_t v = 0;
    CHECK(!pathset_get(&s, "", 0, &v));
    pathset_put(&s, "", 0, 7);
    CHECK(pathset_get(&s, "", 0, &v));
    EQ_U(v, 7);
    pathset_del(&s, "", 0);
    pathset_del(&s, "", 0);
    CHECK(!pathset_get(&s, "", 0, &v));
    pathset_release(&s);
}

static void test_deleting_while_going_through(void)
{
    struct pathset s = { 0 };
    for (uint32_t i = 0; i < 100; i++)
        pathset_put(&s, (const char *)&i, sizeof i, i);
    size_t at = 0;
    for (const struct pathset_slot *p; (p = pathset_next(&s, &at)); )
        if (p->value % 2)
            pathset_del(&s, p->path, p->len);
    EQ_U(s.n, 50);
    for (uint32_t i = 0; i < 100; i++)
        EQ_U(pathset_get(&s, (const char *)&i, sizeof i, NULL), i % 2 == 0);
    pathset_release(&s);
}

int main(void)
{
    RUN(test_model);
    RUN(test_it_forgets);
    RUN(test_the_empty_path);
    RUN(test_deleting_while_going_through);
    return t_done();
}

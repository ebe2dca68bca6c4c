#include "node/sidmap.h"
#include "tests/unit/t.h"

/* ---- against a model: an array of all ids that are used ---- */

enum { SIDS = 300 };
struct model { bool in; void *value; };
static char values[16];

/* Ids that differ in one byte, at the front or at the end: a member makes them up. */
static struct sid sid_of(size_t i)
{
    struct sid s = { { 0 } };
    s.b[i % 2 ? 0 : SID_LEN - 1] = (uint8_t)(i / 2 + 1);
    return s;
}

struct walk { const struct model *m; struct sid before; size_t n; };
static void on_row(void *arg, const struct sid *sid, void *value)
{
    struct walk *k = arg;
    size_t i = sid->b[0] ? (size_t)(sid->b[0] - 1) * 2 + 1 : (size_t)(sid->b[SID_LEN - 1] - 1) * 2;
    CHECK(k->n == 0 || sid_cmp(&k->before, sid) < 0);
    CHECK(k->m[i].in && k->m[i].value == value);
    k->before = *sid;
    k->n++;
}

static void compare(const struct sidmap *s, const struct model *m)
{
    struct walk k = { .m = m };
    size_t n = 0;
    for (size_t i = 0; i < SIDS; i++) {
        struct sid sid = sid_of(i);
        EQ_U(sidmap_has(s, &sid), m[i].in);
        CHECK(sidmap_get(s, &sid) == (m[i].in ? m[i].value : NULL));
        n += m[i].in;
    }
    EQ_U(s->n, n);
    sidmap_each(s, on_row, &k);
    EQ_U(k.n, n);
}

static void test_model(void)
{
    uint64_t seed = 1;
    for (int run = 0; run < 20; run++) {
        struct sidmap s = { 0 };
        struct model m[SIDS] = { { 0 } };
        for (int step = 0; step < 1000; step++) {
            size_t i = run == 0 ? (size_t)step % SIDS : t_rand(&seed) % SIDS;   /* once in order */
            struct sid sid = sid_of(i);
            m[i] = (struct model){ true, t_rand(&seed) % 4 ? &values[t_rand(&seed) % sizeof values] : NULL };
            sidmap_put(&s, &sid, m[i].value);
            if (t_rand(&seed) % 300 == 0) {
                sidmap_clear(&s);
                memset(m, 0, sizeof m);
            }
            if (step % 50 == 0)
                compare(&s, m);
        }
        compare(&s, m);
        sidmap_clear(&s);
    }
}

int main(void)
{
    RUN(test_model);
    return t_done();
}

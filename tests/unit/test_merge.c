#include "tests/unit/t.h"

#include "proto/merge.h"

static struct sid sid_of(unsigned n)
{
    return (struct sid){ .b = { (uint8_t)(n + 1) } };
}

static struct version version_of(unsigned stream, uint64_t seq, uint64_t hlc)
{
    return (struct version){ .dot = { sid_of(stream), seq }, .hlc = hlc };
}

static void version_release(struct version *v)
{
    dots_release(&v->ctx);
    dots_release(&v->except);
}

static void test_supersedes(void)
{
    AUTO(version_release) struct version a = version_of(0, 1, 0);
    AUTO(version_release) struct version b = version_of(1, 5, 0);
    CHECK(!merge_supersedes(&a, &b));
    ctx_raise(&a.ctx, &b.dot.sid, 4);
    CHECK(!merge_supersedes(&a, &b));
    ctx_raise(&a.ctx, &b.dot.sid, 5);
    CHECK(merge_supersedes(&a, &b));
    CHECK(!merge_supersedes(&b, &a));
    dots_add(&a.except, &(struct dot){ b.dot.sid, 4 });
    CHECK(merge_supersedes(&a, &b));
    dots_add(&a.except, &b.dot);
    CHECK(!merge_supersedes(&a, &b));
}

static void test_winner_order(void)
{
    /* each beats all before it */
    struct version v[] = { version_of(0, 1, 90), version_of(1, 1, 10), version_of(2, 1, 10), version_of(0, 3, 20),
                           version_of(0, 4, 20), version_of(0, 2, 5), version_of(1, 9, 6), version_of(1, 7, 4),
                           version_of(0, 6, 3) };
    v[0].tombstone = true;
    v[1].required = v[1].tombstone = true;
    v[5].required = v[6].required = true;
    v[7].directory = true;
    v[8].directory = v[8].required = true;
    size_t n = sizeof v / sizeof *v;
    for (size_t best = 0; best < n; best++) {
        const struct version *heads[sizeof v / sizeof *v];
        for (size_t turn = 0; turn <= best; turn++) {
            for (size_t i = 0; i <= best; i++)
                heads[i] = &v[(i + turn) % (best + 1)];
            CHECK(heads[merge_winner(heads, best + 1)] == &v[best]);
        }
    }
}

static bool seen_all(void *arg, const struct dot *d)
{
    (void)arg, (void)d;
    return true;
}

/* The history of merge.h's comment: 1 writes B, loses to X of 0, then edits X; a third that descends from it must keep B. */
static void test_own_lost_version(void)
{
    struct sid one = sid_of(1), two = sid_of(2);
    AUTO(version_release) struct version b = version_of(1, 1, 10);
    AUTO(version_release) struct version x = version_of(0, 1, 20);
    AUTO(version_release) struct version edit = version_of(1, 2, 30);
    AUTO(version_release) struct version next = version_of(2, 1, 40);
    merge_context_edit(&edit.ctx, &edit.except, &one, &x, (const struct version *[]){ &b, &x }, 2);
    EQ_U(edit.except.n, 1);
    merge_context_edit(&next.ctx, &next.except, &two, &edit, (const struct version *[]){ &edit }, 1);
    CHECK(ctx_covers(&next.ctx, &b.dot));
    const struct version *all[] = { &b, &x, &edit, &next };
    EQ_U(merge_heads(all, 4), 2);
    CHECK(merge_supersedes(&next, &x) && merge_supersedes(&next, &edit) && !merge_supersedes(&next, &b));
    AUTO(version_release) struct version resolve = version_of(0, 2, 50);
    merge_context_all(&resolve.ctx, &resolve.except, (const struct version *[]){ &b, &next }, 2, seen_all, NULL);
    const struct version *more[] = { &resolve, &b, &x, &edit, &next };
    EQ_U(merge_heads(more, 5), 1);
    CHECK(more[0] == &resolve);
}

/* Covered by the base's own dot, yet not superseded by it: kept, though an honest author would have excepted it himself. */
static void test_covered_sibling(void)
{
    struct sid self = sid_of(0);
    AUTO(version_release) struct version sibling = version_of(1, 1, 10);
    AUTO(version_release) struct version base = version_of(1, 2, 20);
    AUTO(version_release) struct version other = version_of(2, 1, 5);
    AUTO(version_release) struct version edit = version_of(0, 1, 30);
    dots_add(&base.except, &sibling.dot);
    dots_add(&base.except, &(struct dot){ sid_of(3), 9 });
    const struct version *heads[] = { &other, &sibling, &base };
    merge_context_edit(&edit.ctx, &edit.except, &self, &base, heads, 3);
    EQ_U(edit.ctx.n, 1);
    EQ_U(ctx_get(&edit.ctx, &base.dot.sid), 2);
    EQ_U(edit.except.n, 2);
    dots_clear(&base.except);
    ctx_raise(&base.ctx, &other.dot.sid, 1);
    merge_context_edit(&edit.ctx, &edit.except, &self, &base, heads, 3);
    EQ_U(edit.except.n, 2);
    CHECK(dots_has(&edit.except, &sibling.dot) && dots_has(&edit.except, &other.dot));
}

static bool seen_only(void *arg, const struct dot *d)
{
    return dot_cmp(arg, d) == 0;
}

static void test_context_of_all(void)
{
    AUTO(version_release) struct version a = version_of(0, 3, 10);
    AUTO(version_release) struct version b = version_of(1, 4, 20);
    AUTO(version_release) struct version all = version_of(2, 1, 30);
    struct dot seen = { sid_of(5), 1 }, unseen = { sid_of(6), 1 };
    ctx_raise(&a.ctx, &seen.sid, 7);
    ctx_raise(&a.ctx, &b.dot.sid, 2);
    ctx_raise(&b.ctx, &unseen.sid, 8);
    dots_add(&a.except, &unseen);
    dots_add(&b.except, &seen);
    dots_add(&b.except, &unseen);
    merge_context_all(&all.ctx, &all.except, (const struct version *[]){ &a, &b }, 2, seen_only, &seen);
    EQ_U(all.ctx.n, 4);
    CHECK(ctx_get(&all.ctx, &a.dot.sid) == 3 && ctx_get(&all.ctx, &b.dot.sid) == 4);
    CHECK(ctx_get(&all.ctx, &seen.sid) == 7 && ctx_get(&all.ctx, &unseen.sid) == 8);
    EQ_U(all.except.n, 1);
    CHECK(dots_has(&all.except, &unseen));
    ctx_raise(&a.ctx, &unseen.sid, 1);
    dots_clear(&a.except);                      /* now one of them supersedes it, and so what supersedes that */
    merge_context_all(&all.ctx, &all.except, (const struct version *[]){ &a, &b }, 2, seen_only, &seen);
    EQ_U(all.except.n, 0);
}

static void test_first_version(void)
{
    struct sid self = sid_of(0);
    AUTO(version_release) struct version old = version_of(0, 1, 10);
    AUTO(version_release) struct version fresh = version_of(0, 2, 20);
    dots_add(&fresh.except, &old.dot); /* is cleared */
    ctx_raise(&fresh.ctx, &self, 7);
    merge_context_edit(&fresh.ctx, &fresh.except, &self, NULL, NULL, 0);
    EQ_U(fresh.ctx.n + fresh.except.n, 0);
    merge_context_edit(&fresh.ctx, &fresh.except, &self, NULL, (const struct version *[]){ &old }, 1);
    EQ_U(fresh.ctx.n, 0);
    CHECK(dots_has(&fresh.except, &old.dot));
}

static void test_forged_circle(void)
{
    AUTO(version_release) struct version a = version_of(0, 1, 0);
    AUTO(version_release) struct version b = version_of(1, 1, 0);
    ctx_raise(&a.ctx, &b.dot.sid, 1);
    ctx_raise(&b.ctx, &a.dot.sid, 1);
    const struct version *v[] = { &a, &b };
    EQ_U(merge_heads(v, 2), 0);
}

/* ---- random histories: what the rule calls live, once everybody has everything, must be what the true ancestry calls live ---- */
#define DEVICES 5
#define STEPS 40
struct history {
    uint64_t seed;
    unsigned ndevice;
    bool use_except, stale;             /* stale: what is on disk may lag behind what is known */
    size_t n;
    struct version v[STEPS];
    uint64_t ancestors[STEPS];          /* true ancestry, as a set of indexes */
    uint64_t known[DEVICES][DEVICES];   /* known[i][s]: i has stream s up to here */
    uint64_t written[DEVICES];
    uint64_t clock[DEVICES];
    const struct version *disk[DEVICES];
    unsigned author;
};

static uint64_t below(struct history *h, uint64_t n)
{
    return t_rand(&h->seed) % n;
}

static unsigned stream_of(const struct dot *d)
{
    return d->sid.b[0] - 1u;
}

static size_t known_heads(struct history *h, unsigned device, const struct version **out)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        if (h->v[i].dot.seq <= h->known[device][stream_of(&h->v[i].dot)])
            out[n++] = &h->v[i];
    return merge_heads(out, n);
}

static bool author_has_seen(void *arg, const struct dot *d)
{
    const struct history *h = arg;
    return d->seq <= h->known[h->author][stream_of(d)];
}

static uint64_t lineage(const struct history *h, const struct version *v)
{
    size_t i = (size_t)(v - h->v);
    return h->ancestors[i] | UINT64_C(1) << i;
}

static void write_version(struct history *h, unsigned i)
{
    const struct version *heads[STEPS];
    size_t nheads = known_heads(h, i, heads);
    const struct version *winner = nheads ? heads[merge_winner(heads, nheads)] : NULL;
    const struct version *base = h->stale ? h->disk[i] : winner;
    struct version *e = &h->v[h->n];
    struct sid self = sid_of(i);
    h->author = i;
    *e = (struct version){ .dot = { self, h->written[i] + 1 } };
    bool edit = !winner || below(h, 4) > 0;
    e->tombstone = !edit && below(h, 2);
    if (below(h, 5) > 0) /* else the clock stands still or runs behind what was seen */
        h->clock[i] = (winner && winner->hlc > h->clock[i] ? winner->hlc : h->clock[i]) + 1;
    e->hlc = h->clock[i] + below(h, 4);
    if (edit) {
        merge_context_edit(&e->ctx, &e->except, &self, base, heads, nheads);
        h->ancestors[h->n] = base ? lineage(h, base) : 0;
    } else {
        merge_context_all(&e->ctx, &e->except, heads, nheads, author_has_seen, h);
        for (size_t k = 0; k < nheads; k++)
            h->ancestors[h->n] |= lineage(h, heads[k]);
    }
    if (!h->use_except)
        dots_clear(&e->except);
    h->known[i][i] = ++h->written[i];
    h->disk[i] = e;
    h->n++;
}

/* `to` receives a random part of what `from` has, each stream from its beginning on. */
static void exchange(struct history *h, unsigned to, unsigned from)
{
    for (unsigned s = 0; s < h->ndevice; s++) {
        uint64_t has = h->known[to][s], offered = h->known[from][s];
        if (offered > has && below(h, 10) < 7)
            h->known[to][s] = has + 1 + below(h, offered - has);
    }
    const struct version *heads[STEPS];
    size_t n = known_heads(h, to, heads);
    if (n && below(h, 10) < 6)
        h->disk[to] = heads[merge_winner(heads, n)];
}

static uint64_t live_by_rule(struct history *h, bool backwards, const struct version **winner)
{
    const struct version *v[STEPS];
    for (size_t i = 0; i < h->n; i++)
        v[i] = &h->v[backwards ? h->n - 1 - i : i];
    if (!backwards)
        for (size_t i = h->n; i > 1; i--) {
            size_t j = below(h, i);
            const struct version *swap = v[j];
            v[j] = v[i - 1];
            v[i - 1] = swap;
        }
    size_t n = merge_heads(v, h->n);
    *winner = n ? v[merge_winner(v, n)] : NULL;
    uint64_t live = 0;
    for (size_t i = 0; i < n; i++)
        live |= UINT64_C(1) << (v[i] - h->v);
    return live;
}

static uint64_t live_in_truth(const struct history *h)
{
    uint64_t superseded = 0, all = 0;
    for (size_t i = 0; i < h->n; i++) {
        superseded |= h->ancestors[i];
        all |= UINT64_C(1) << i;
    }
    return all & ~superseded;
}

enum { HOLDS = 0, LOST = 1, REVIVED = 2, ORDER = 4 };

static int run_history(uint64_t seed, bool use_except, bool stale)
{
    struct history h = { .seed = seed, .use_except = use_except, .stale = stale };
    h.ndevice = 2 + (unsigned)below(&h, DEVICES - 1);
    for (unsigned i = 0; i < h.ndevice; i++)
        h.clock[i] = below(&h, 51);
    for (uint64_t step = 5 + below(&h, STEPS - 4); step > 0; step--) {
        unsigned i = (unsigned)below(&h, h.ndevice);
        if (below(&h, 2))
            write_version(&h, i);
        else
            exchange(&h, i, (unsigned)below(&h, h.ndevice));
    }
    const struct version *winner, *again;
    uint64_t rule = live_by_rule(&h, false, &winner), truth = live_in_truth(&h);
    int result = (truth & ~rule ? LOST : 0) | (rule & ~truth ? REVIVED : 0);
    if (live_by_rule(&h, true, &again) != rule || winner != again)
        result |= ORDER;
    for (size_t i = 0; i < h.n; i++)
        version_release(&h.v[i]);
    return result;
}

static void test_histories(void)
{
    for (uint64_t seed = 0; seed < 30000; seed++)
        if (run_history(seed, true, false) != HOLDS)
            T_FAIL("seed %" PRIu64 ": %d", seed, run_history(seed, true, false));
}

static void test_histories_with_stale_disk(void)
{
    for (uint64_t seed = 0; seed < 30000; seed++)
        if (run_history(seed, true, true) != HOLDS)
            T_FAIL("seed %" PRIu64 ": %d", seed, run_history(seed, true, true));
}

/* The test above can fail: without exceptions versions are lost. */
static void test_histories_without_except(void)
{
    int lost = 0;
    for (uint64_t seed = 0; seed < 2000; seed++)
        lost += run_history(seed, false, false) & LOST;
    CHECK(lost > 100);
}

/* Contexts of 2,000 streams with 2,000 exceptions, edited 1,000 times: linear, or this would take minutes. */
static void test_large_contexts(void)
{
    struct sid self = sid_of(200);
    AUTO(version_release) struct version base = version_of(100, 1, 0);
    AUTO(version_release) struct version next = version_of(200, 1, 0);
    for (unsigned i = 0; i < 2000; i++) {
        struct sid s = { .b = { 50, (uint8_t)(i >> 8), (uint8_t)i } };
        ctx_raise(&base.ctx, &s, 10);
        dots_add(&base.except, &(struct dot){ s, 5 });
    }
    for (int i = 0; i < 1000; i++)
        merge_context_edit(&next.ctx, &next.except, &self, &base, (const struct version *[]){ &base }, 1);
    EQ_U(next.ctx.n, 2001);
    EQ_U(next.except.n, 2000);
}

/* ---- what nobody honest writes ---- */

static bool is_superseded(const struct version *all, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++)
        if (k != i && merge_supersedes(&all[k], &all[i]))
            return true;
    return false;
}

/* Any contexts and exceptions: the heads are what the rule says, one by one. */
static void test_heads_by_the_letter(void)
{
    struct version all[STEPS];
    const struct version *v[STEPS];
    struct history h = { .seed = 3 };
    for (int round = 0; round < 500; round++) {
        size_t n = 1 + below(&h, STEPS), expected = 0;
        for (size_t i = 0; i < n; i++) {
            all[i] = (struct version){ .dot = { sid_of((unsigned)below(&h, 3)), 1 + i } };
            v[i] = &all[i];
            for (uint64_t k = below(&h, 3); k > 0; k--) {
                struct sid sid = sid_of((unsigned)below(&h, 4));
                uint64_t seq = 1 + below(&h, STEPS);
                ctx_raise(&all[i].ctx, &sid, sid_eq(&sid, &all[i].dot.sid) && seq > i ? i : seq);
            }
            for (uint64_t k = below(&h, 8); k > 0; k--)
                dots_add(&all[i].except, &(struct dot){ sid_of((unsigned)below(&h, 3)), 1 + below(&h, STEPS) });
        }
        for (size_t i = 0; i < n; i++)
            expected += !is_superseded(all, n, i);
        EQ_U(merge_heads(v, n), expected);
        for (size_t i = 0; i < n; i++)
            CHECK(is_superseded(all, n, (size_t)(v[i] - all)) == (i >= expected));
        for (size_t i = 0; i < n; i++) {
            dots_release(&all[i].ctx);
            dots_release(&all[i].except);
        }
    }
}

/* Compared each with each they would take most of a minute. */
static void test_a_flood_of_versions(void)
{
    enum { MANY = 40000, PAIRS = 8 };
    struct version *all = xcalloc(MANY, sizeof *all);
    const struct version **v = xcalloc(MANY, sizeof *v);
    for (size_t i = 0; i < MANY; i++) {
        all[i].dot = (struct dot){ sid_of(0), 1 + i };
        v[i] = &all[i];
        for (unsigned k = 1; k <= PAIRS; k++) {
            struct sid sid = sid_of(k);
            ctx_raise(&all[i].ctx, &sid, 1);
        }
    }
    EQ_U(merge_heads(v, MANY), MANY);
    struct sid self = sid_of(0);
    ctx_raise(&all[MANY - 1].ctx, &self, MANY - 1);
    EQ_U(merge_heads(v, MANY), 1);
    CHECK(v[0] == &all[MANY - 1]);
    for (size_t i = 0; i < MANY; i++)
        dots_release(&all[i].ctx);
    free(v);
    free(all);
}

int main(void)
{
    RUN(test_supersedes);
    RUN(test_winner_order);
    RUN(test_own_lost_version);
    RUN(test_covered_sibling);
    RUN(test_context_of_all);
    RUN(test_first_version);
    RUN(test_forged_circle);
    RUN(test_histories);
    RUN(test_histories_with_stale_disk);
    RUN(test_histories_without_except);
    RUN(test_large_contexts);
    RUN(test_heads_by_the_letter);
    RUN(test_a_flood_of_versions);
    return t_done();
}

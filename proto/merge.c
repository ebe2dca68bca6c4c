#include "proto/merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool merge_supersedes(const struct version *a, const struct version *b)
{
    return ctx_covers(&a->ctx, &b->dot) && !dots_has(&a->except, &b->dot);
}

/* ---- heads ---- */

enum { FEW = 8 };                    /* so many are compared each with each */

/* Superseding is not transitive because of the exceptions, so the dead go to the back but are still asked. */
static size_t heads_of_few(const struct version **v, size_t n)
{
    size_t heads = n;
    for (size_t i = 0; i < heads;) {
        bool dead = false;
        for (size_t j = 0; j < n && !dead; j++)
            dead = j != i && merge_supersedes(v[j], v[i]);
        if (dead) {
            const struct version *last = v[--heads];
            v[heads] = v[i];
            v[i] = last;
        } else {
            i++;
        }
    }
    return heads;
}

/* A pair of a context, of a stream of which there is a version. */
struct cover { const struct dot *pair; const struct version *by; };
struct covers { struct cover *v; size_t n, cap; };

static int by_version_dot(const void *a, const void *b)
{
    return dot_cmp(&(*(const struct version *const *)a)->dot, &(*(const struct version *const *)b)->dot);
}

static int by_stream(const void *key, const void *v)
{
    return sid_cmp(key, &(*(const struct version *const *)v)->dot.sid);
}

/* By stream, the greatest number first. */
static int by_reach(const void *a, const void *b)
{
    const struct dot *x = ((const struct cover *)a)->pair, *y = ((const struct cover *)b)->pair;
    int c = sid_cmp(&x->sid, &y->sid);
    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

static void add_covers(struct covers *c, const struct version *by, const struct version *const *sorted, size_t n)
{
    for (size_t i = 0; i < by->ctx.n; i++) {
        if (!bsearch(&by->ctx.v[i].sid, sorted, n, sizeof *sorted, by_stream))
            continue;
        if (c->n == c->cap) {
            c->cap = c->cap ? 2 * c->cap : 64;
            c->v = xrealloc(c->v, c->cap, sizeof *c->v);
        }
        c->v[c->n++] = (struct cover){&by->ctx.v[i], by};
    }
}

/* The first pair of the stream. */
static size_t first_of(const struct covers *c, const struct sid *sid)
{
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (sid_cmp(&c->v[mid].pair->sid, sid) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Whoever reaches it and makes no exception kills it: so each step that does not decide has an exception of its own. */
static bool is_dead(const struct covers *c, const struct version *v)
{
    for (size_t i = first_of(c, &v->dot.sid); i < c->n && sid_eq(&c->v[i].pair->sid, &v->dot.sid) && c->v[i].pair->seq >= v->dot.seq; i++)
        if (c->v[i].by != v && !dots_has(&c->v[i].by->except, &v->dot))
            return true;
    return false;
}

size_t merge_heads(const struct version **v, size_t n)
{
    if (n <= FEW)
        return heads_of_few(v, n);
    struct covers c = {0};
    AUTOFREE const struct version **sorted = xcalloc(n, sizeof *sorted);
    memcpy(sorted, v, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_version_dot);
    for (size_t i = 0; i < n; i++)
        add_covers(&c, v[i], sorted, n);
    if (c.n)
        qsort(c.v, c.n, sizeof *c.v, by_reach);
    size_t heads = 0, dead = n;
    for (size_t i = 0; i < n; i++) {
        bool gone = is_dead(&c, sorted[i]);
        v[gone ? --dead : heads++] = sorted[i];
    }
    free(c.v);
    return heads;
}

/* ---- the winner ---- */

static bool beats(const struct version *a, const struct version *b)
{
    if (a->tombstone != b->tombstone)
        return b->tombstone;
    if (a->directory != b->directory)
        return a->directory;
    if (a->required != b->required)
        return a->required;
    if (a->hlc != b->hlc)
        return a->hlc > b->hlc;
    return dot_cmp(&a->dot, &b->dot) > 0;
}

size_t merge_winner(const struct version *const *heads, size_t n)
{
    assert(n > 0);
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (beats(heads[i], heads[best]))
            best = i;
    return best;
}

static int by_dot(const void *a, const void *b)
{
    return dot_cmp(a, b);
}

/* Heads come in any order; a dot set is sorted. Sorting once keeps many heads from costing a move of the whole set each. */
static void add_dots(struct dots *set, struct dot *dot, size_t n)
{
    if (n == 0)
        return;
    qsort(dot, n, sizeof *dot, by_dot);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (dot_cmp(&dot[i], &dot[kept - 1]) != 0)
            dot[kept++] = dot[i];
    dots_union(set, &(struct dots){ .v = dot, .n = kept, .cap = n });
}

void merge_context_edit(struct dots *ctx, struct dots *except, const struct sid *self,
                        const struct version *base, const struct version *const *heads, size_t n)
{
    dots_clear(ctx);
    dots_clear(except);
    if (base) {
        dots_copy(ctx, &base->ctx);
        ctx_raise(ctx, &base->dot.sid, base->dot.seq);
        dots_copy(except, &base->except);
    }
    AUTOFREE struct dot *sibling = xcalloc(n, sizeof *sibling);
    size_t nsibling = 0;
    for (size_t i = 0; i < n; i++) {
        const struct dot *d = &heads[i]->dot;
        bool is_base = base && dot_cmp(d, &base->dot) == 0;
        if (!is_base && (ctx_covers(ctx, d) || sid_eq(&d->sid, self)))
            sibling[nsibling++] = *d;
    }
    add_dots(except, sibling, nsibling);
}

static bool one_supersedes(const struct version *const *heads, size_t n, const struct dot *d)
{
    const struct version v = {.dot = *d};
    for (size_t i = 0; i < n; i++)
        if (merge_supersedes(heads[i], &v))
            return true;
    return false;
}

void merge_context_all(struct dots *ctx, struct dots *except, const struct version *const *heads, size_t n,
                       bool (*seen)(void *arg, const struct dot *d), void *arg)
{
    dots_clear(ctx);
    dots_clear(except);
    for (size_t i = 0; i < n; i++) {
        ctx_union(ctx, &heads[i]->ctx);
        dots_union(except, &heads[i]->except);
    }
    for (size_t i = 0; i < n; i++)
        ctx_raise(ctx, &heads[i]->dot.sid, heads[i]->dot.seq);
    size_t kept = 0;
    for (size_t i = 0; i < except->n; i++)
        if (!seen(arg, &except->v[i]) && !one_supersedes(heads, n, &except->v[i]))
            except->v[kept++] = except->v[i];
    except->n = kept;
}

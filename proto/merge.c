#include "proto/merge.h"

#include <assert.h>
#include <stdlib.h>

bool merge_supersedes(const struct version *a, const struct version *b)
{
    return ctx_covers(&a->ctx, &b->dot) && !dots_has(&a->except, &b->dot);
}

size_t merge_heads(const struct version **v, size_t n)
{
    /* Superseding is not transitive because of the exceptions, so the dead go to the back but are still asked. */
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

static bool beats(const struct version *a, const struct version *b)
{
    if (a->required != b->required)
        return a->required;
    if (a->tombstone != b->tombstone)
        return b->tombstone;
    if (a->directory != b->directory)
        return a->directory;
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

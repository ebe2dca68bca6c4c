#include "proto/vv.h"

#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

static void reserve(struct dots *d, size_t n)
{
    if (n <= d->cap)
        return;
    size_t cap = d->cap * 2 > n ? d->cap * 2 : n;
    d->v = xrealloc(d->v, cap, sizeof *d->v);
    d->cap = cap;
}

void dots_release(struct dots *d)
{
    free(d->v);
    *d = (struct dots){0};
}

void dots_clear(struct dots *d)
{
    d->n = 0;
}

void dots_copy(struct dots *to, const struct dots *from)
{
    if (to == from)
        return;
    reserve(to, from->n);
    if (from->n)
        memcpy(to->v, from->v, from->n * sizeof *from->v);
    to->n = from->n;
}

int dot_cmp(const struct dot *a, const struct dot *b)
{
    int c = sid_cmp(&a->sid, &b->sid);
    return c ? c : (a->seq > b->seq) - (a->seq < b->seq);
}

/* In a context a stream occurs once, so the stream alone is the key; in a dot set the whole dot is. */
typedef int order(const struct dot *a, const struct dot *b);

static int stream_cmp(const struct dot *a, const struct dot *b)
{
    return sid_cmp(&a->sid, &b->sid);
}

/* Index of the first element that is not before `key`. */
static size_t lower_bound(const struct dots *d, const struct dot *key, order *cmp)
{
    size_t low = 0, high = d->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (cmp(&d->v[mid], key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct dot *find(const struct dots *d, const struct dot *key, order *cmp)
{
    size_t i = lower_bound(d, key, cmp);
    return i < d->n && cmp(&d->v[i], key) == 0 ? &d->v[i] : NULL;
}

static void insert(struct dots *d, const struct dot *x, order *cmp)
{
    size_t at = d->n && cmp(&d->v[d->n - 1], x) < 0 ? d->n : lower_bound(d, x, cmp); /* mostly at the end */
    struct dot copy = *x; /* x may lie in d */
    reserve(d, d->n + 1);
    if (at < d->n)
        memmove(&d->v[at + 1], &d->v[at], (d->n - at) * sizeof *d->v);
    d->v[at] = copy;
    d->n++;
}

/* How many elements of b are not in a. */
static size_t count_new(const struct dots *a, const struct dots *b, order *cmp)
{
    size_t i = 0, fresh = 0;
    for (size_t j = 0; j < b->n; j++) {
        while (i < a->n && cmp(&a->v[i], &b->v[j]) < 0)
            i++;
        if (i == a->n || cmp(&a->v[i], &b->v[j]) != 0)
            fresh++;
    }
    return fresh;
}

/* Merges b into a in linear time: from the back, so that nothing is overwritten before it was moved. */
static void unite(struct dots *a, const struct dots *b, order *cmp)
{
    if (a == b || b->n == 0)
        return;
    size_t i = a->n, j = b->n, out = a->n + count_new(a, b, cmp);
    reserve(a, out);
    a->n = out;
    while (j > 0) {
        int c = i > 0 ? cmp(&a->v[i - 1], &b->v[j - 1]) : -1;
        out--;
        if (c > 0) {
            a->v[out] = a->v[--i];
            continue;
        }
        struct dot d = b->v[--j];
        if (c == 0 && a->v[--i].seq > d.seq)
            d.seq = a->v[i].seq;
        a->v[out] = d;
    }
}

uint64_t ctx_get(const struct dots *c, const struct sid *sid)
{
    const struct dot *d = find(c, &(struct dot){ .sid = *sid }, stream_cmp);
    return d ? d->seq : 0;
}

bool ctx_covers(const struct dots *c, const struct dot *d)
{
    return ctx_get(c, &d->sid) >= d->seq;
}

void ctx_raise(struct dots *c, const struct sid *sid, uint64_t seq)
{
    struct dot x = { .sid = *sid, .seq = seq };
    struct dot *d = find(c, &x, stream_cmp);
    if (!d)
        insert(c, &x, stream_cmp);
    else if (d->seq < seq)
        d->seq = seq;
}

void ctx_union(struct dots *c, const struct dots *other)
{
    unite(c, other, stream_cmp);
}

bool dots_has(const struct dots *d, const struct dot *x)
{
    return find(d, x, dot_cmp);
}

void dots_add(struct dots *d, const struct dot *x)
{
    if (!find(d, x, dot_cmp))
        insert(d, x, dot_cmp);
}

void dots_union(struct dots *d, const struct dots *other)
{
    unite(d, other, dot_cmp);
}

static void put(struct buf *b, const struct dots *d)
{
    mp_put_array(b, d->n);
    for (size_t i = 0; i < d->n; i++) {
        mp_put_array(b, 2);
        mp_put_bin(b, d->v[i].sid.b, SID_LEN);
        mp_put_u64(b, d->v[i].seq);
    }
}

static void read_sorted(struct mp *m, struct dots *d, order *cmp)
{
    uint32_t n = mp_array(m, LIMIT_CTX);
    dots_clear(d);
    reserve(d, n);
    for (uint32_t i = 0; i < n && !m->failed; i++) {
        struct dot x;
        mp_array_of(m, 2);
        mp_bin_into(m, x.sid.b, SID_LEN);
        x.seq = mp_u64(m, LIMIT_SEQ);
        if (x.seq == 0 || (d->n && cmp(&d->v[d->n - 1], &x) >= 0))
            m->failed = true;
        d->v[d->n++] = x;
    }
    if (m->failed)
        dots_clear(d);
}

void ctx_put(struct buf *b, const struct dots *c)
{
    put(b, c);
}

void ctx_read(struct mp *m, struct dots *c)
{
    read_sorted(m, c, stream_cmp);
}

void dots_put(struct buf *b, const struct dots *d)
{
    put(b, d);
}

void dots_read(struct mp *m, struct dots *d)
{
    read_sorted(m, d, dot_cmp);
}

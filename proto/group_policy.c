/* The policies of a group (group.h): pairs of keys and values as they were signed, sorted by key. */
#include <stdlib.h>
#include <string.h>

#include "proto/group_priv.h"

/* Never changed: a record makes another one. */
struct policies { unsigned refs; uint32_t n; size_t len; uint8_t pairs[]; };

void policies_share(struct group *g)
{
    if (g->policies)
        g->policies->refs++;
}

void policies_drop(struct group *g)
{
    if (g->policies && --g->policies->refs == 0)
        free(g->policies);
    g->policies = NULL;
}

struct mp group_policies(const struct group *g, uint32_t *n)
{
    *n = g->policies ? g->policies->n : 0;
    return mp_reader(g->policies ? g->policies->pairs : NULL, g->policies ? g->policies->len : 0);
}

/* ---- a record ---- */

struct pair { struct bytes key, value; bool there; };
static void next(struct mp *m, uint32_t *left, struct pair *p)
{
    *p = (struct pair){ .there = *left > 0 };
    if (!p->there)
        return;
    (*left)--;
    p->key = mp_str(m, SIZE_MAX);
    p->value = mp_skip(m);
}

static int compare(const struct bytes *a, const struct bytes *b)
{
    int c = memcmp(a->p, b->p, a->len < b->len ? a->len : b->len);
    return c ? c : (a->len > b->len) - (a->len < b->len);
}

static bool is_nil(const struct bytes *v)
{
    struct mp m = mp_reader(v->p, v->len);
    return mp_nil(&m);
}

static uint32_t put(struct buf *out, const struct pair *p)
{
    if (is_nil(&p->value))
        return 0;
    mp_put_strn(out, (const char *)p->key.p, p->key.len);
    buf_add(out, p->value.p, p->value.len);
    return 1;
}

/* Both are sorted; where both have a key the new value counts. */
static uint32_t merge(struct mp *old, uint32_t nold, struct mp *new, uint32_t nnew, struct buf *out)
{
    struct pair a, b;
    uint32_t n = 0;
    next(old, &nold, &a);
    next(new, &nnew, &b);
    while (a.there || b.there) {
        int c = !a.there ? 1 : !b.there ? -1 : compare(&a.key, &b.key);
        n += put(out, c < 0 ? &a : &b);
        if (c <= 0)
            next(old, &nold, &a);
        if (c >= 0)
            next(new, &nnew, &b);
    }
    return n;
}

int policies_set(struct group *g, const struct ctl_op *op)
{
    AUTO(buf_release) struct buf out = BUF_INIT(LIMIT_POLICY_BYTES);
    uint32_t nold;
    struct mp old = group_policies(g, &nold), new = mp_reader(op->policy.p, op->policy.len);
    uint32_t nnew = mp_map(&new, LIMIT_CTL_OPS), n = merge(&old, nold, &new, nnew, &out);
    if (!buf_ok(&out) || n > LIMIT_POLICIES)
        return err_set(ERR_FULL, "a group has at most %u policies, of %u bytes together", LIMIT_POLICIES, LIMIT_POLICY_BYTES);
    policies_drop(g);
    if (n == 0)
        return 0;
    g->policies = xcalloc(1, sizeof *g->policies + out.len);
    *g->policies = (struct policies){ .refs = 1, .n = n, .len = out.len };
    memcpy(g->policies->pairs, out.data, out.len);
    return 0;
}

bool policies_are(const struct group *g, const struct ctl_op *op)
{
    struct mp m = mp_reader(op->policy.p, op->policy.len);
    uint32_t n = mp_map(&m, LIMIT_CTL_OPS);
    for (struct pair p; n > 0;) {
        struct bytes now;
        next(&m, &n, &p);
        bool set = group_policy(g, &p.key, &now);
        if (is_nil(&p.value) ? set : !set || compare(&now, &p.value) != 0)
            return false;
    }
    return true;
}

/* ---- questions ---- */

bool group_policy(const struct group *g, const struct bytes *key, struct bytes *value)
{
    uint32_t n;
    struct mp m = group_policies(g, &n);
    for (struct pair p; n > 0;) {
        next(&m, &n, &p);
        if (compare(&p.key, key) == 0) {
            *value = p.value;
            return true;
        }
    }
    return false;
}

struct id group_policies_id(const struct group *g)
{
    return g->policies ? id_hash(g->policies->pairs, g->policies->len) : ID_NONE;
}

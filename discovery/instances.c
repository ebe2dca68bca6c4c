#include "discovery/instances.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool unusable4(in_addr_t a, bool loopback)
{
    return a >> 24 == 0 || IN_MULTICAST(a) || IN_BADCLASS(a) || (a >> 24 == IN_LOOPBACKNET && !loopback);
}

int addr_text4(char out[static ADDR_TEXT], const struct in_addr *a, bool loopback)
{
    if (unusable4(ntohl(a->s_addr), loopback))
        return err_set(ERR_BAD, "an IPv4 address that cannot be dialled");
    inet_ntop(AF_INET, a, out, ADDR_TEXT);
    return 0;
}

int addr_text6(char out[static ADDR_TEXT], const struct in6_addr *a, int ifindex, bool loopback)
{
    if (IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_MULTICAST(a) || IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_V4COMPAT(a) ||
        (IN6_IS_ADDR_LOOPBACK(a) && !loopback))
        return err_set(ERR_BAD, "an IPv6 address that cannot be dialled");
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, a, text, sizeof text);
    if (IN6_IS_ADDR_LINKLOCAL(a))
        snprintf(out, ADDR_TEXT, "%s%%%d", text, ifindex);
    else
        snprintf(out, ADDR_TEXT, "%s", text);
    return 0;
}

static int addr_rank(const char *a)
{
    return !strchr(a, ':') ? 0 : !strchr(a, '%') ? 1 : 2;
}

int addr_cmp(const char *a, const char *b)
{
    int c = addr_rank(a) - addr_rank(b);
    return c ? c : strcmp(a, b);
}

static struct instance *find_instance(struct instances *p, const char *instance)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (strcmp(p->v[i]->name, instance) == 0)
            return p->v[i];
    return NULL;
}

static struct sighting *find_sighting(struct instance *q, struct where w)
{
    for (uint32_t i = 0; i < q->n; i++)
        if (q->s[i].where.ifindex == w.ifindex && q->s[i].where.proto == w.proto)
            return &q->s[i];
    return NULL;
}

static bool is_present(const struct instance *q)
{
    for (uint32_t i = 0; i < q->n; i++)
        if (q->s[i].resolved)
            return true;
    return false;
}

static void remove_sighting(struct instances *p, struct instance *q, struct sighting *s)
{
    if (s->resolver)
        p->drop(p->arg, s->resolver);
    *s = q->s[--q->n];
    q->dirty = true;
}

void instances_release(struct instances *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        free(p->v[i]);
    p->n = 0;
}

static uint32_t count_seen(const struct instances *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n; i++)
        n += p->v[i]->n > 0;
    return n;
}

static bool turn_out_stranger(struct instances *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        struct instance *q = p->v[p->victim++ % p->n];
        if (q->n == 0 || q->ours || q->txt.hint[0])
            continue;
        while (q->n)
            remove_sighting(p, q, &q->s[0]);
        return true;
    }
    return false;
}

static struct instance *add_instance(struct instances *p, const char *instance)
{
    if (count_seen(p) >= INSTANCES_MAX && !turn_out_stranger(p))
        return NULL;
    instances_sweep(p);
    if (p->n == INSTANCES_TABLE)
        return NULL;
    struct instance *q = xcalloc(1, sizeof *q);
    memcpy(q->name, instance, strlen(instance));
    return p->v[p->n++] = q;
}

struct sighting *instances_see(struct instances *p, const char *instance, struct where w)
{
    size_t len = strlen(instance);
    if (len == 0 || len >= INSTANCE_TEXT)
        return NULL;
    struct instance *q = find_instance(p, instance);
    if (!q)
        q = add_instance(p, instance);
    if (!q)
        return NULL;
    struct sighting *s = find_sighting(q, w);
    if (!s) {
        if (q->n == SIGHTINGS_MAX)
            return NULL;
        s = &q->s[q->n++];
        *s = (struct sighting){ .where = w };
    }
    s->expires = 0;
    return s;
}

struct sighting *instances_find(struct instances *p, const char *instance, struct where w)
{
    struct instance *q = find_instance(p, instance);
    return q ? find_sighting(q, w) : NULL;
}

struct sighting *instances_pending(struct instances *p, int64_t now, const char **instance)
{
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < p->v[i]->n; k++) {
            struct sighting *s = &p->v[i]->s[k];
            if (s->resolver || s->expires || s->resolve_at > now)
                continue;
            *instance = p->v[i]->name;
            return s;
        }
    return NULL;
}

void instances_lose(struct instances *p, const char *instance, struct where w)
{
    struct instance *q = find_instance(p, instance);
    struct sighting *s = q ? find_sighting(q, w) : NULL;
    if (s)
        remove_sighting(p, q, s);
}

void instances_resolve(struct instances *p, const char *instance, struct where w, const char *addr, uint16_t port,
                       const struct txt *t, bool ours)
{
    struct instance *q = find_instance(p, instance);
    struct sighting *s = q ? find_sighting(q, w) : NULL;
    if (!s)
        return;
    assert(strlen(addr) < ADDR_TEXT && port != 0);
    snprintf(s->addr, sizeof s->addr, "%s", addr);
    s->resolved = true;
    q->port = port;
    q->txt = *t;
    q->ours = ours;
    q->dirty = true;
}

void instances_unresolve(struct instances *p, const char *instance, struct where w)
{
    struct instance *q = find_instance(p, instance);
    struct sighting *s = q ? find_sighting(q, w) : NULL;
    if (!s)
        return;
    s->resolved = false;
    q->dirty = true;
}

void instances_abandon(struct instances *p, int64_t until)
{
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < p->v[i]->n; k++) {
            struct sighting *s = &p->v[i]->s[k];
            s->resolver = NULL;
            s->resolve_at = 0;
            if (s->expires == 0)
                s->expires = until;
        }
}

int64_t instances_expire(struct instances *p, int64_t now)
{
    int64_t next = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        struct instance *q = p->v[i];
        for (uint32_t k = 0; k < q->n;) {
            struct sighting *s = &q->s[k];
            if (s->expires && s->expires <= now) {
                remove_sighting(p, q, s);
                continue;
            }
            if (s->expires && (next == 0 || s->expires < next))
                next = s->expires;
            k++;
        }
    }
    return next;
}

void instances_sweep(struct instances *p)
{
    for (uint32_t i = 0; i < p->n;) {
        if (p->v[i]->n || p->v[i]->known) {
            i++;
            continue;
        }
        free(p->v[i]);
        p->v[i] = p->v[--p->n];
    }
}

bool instances_changed(const struct instances *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->v[i]->dirty)
            return true;
    return false;
}

static int text_cmp(const void *a, const void *b)
{
    return addr_cmp(a, b);
}

/* Best first, each once, at most LIMIT_ADDRS. */
static void merge_addresses(const struct instance *q, struct disc_event *e)
{
    char all[SIGHTINGS_MAX][ADDR_TEXT];
    uint32_t n = 0;
    for (uint32_t i = 0; i < q->n; i++)
        if (q->s[i].resolved)
            memcpy(all[n++], q->s[i].addr, ADDR_TEXT);
    qsort(all, n, ADDR_TEXT, text_cmp);
    for (uint32_t i = 0; i < n && e->naddr < LIMIT_ADDRS; i++)
        if (i == 0 || strcmp(all[i - 1], all[i]) != 0)
            memcpy(e->addr[e->naddr++], all[i], ADDR_TEXT);
}

static struct disc_event event_of(const struct instance *q)
{
    struct disc_event e = { .type = is_present(q) ? DISC_FOUND : DISC_LOST };
    memcpy(e.instance, q->name, sizeof e.instance);
    if (e.type == DISC_LOST)
        return e;
    e.ours = q->ours;
    memcpy(e.hint, q->txt.hint, sizeof e.hint);
    e.port = q->port;
    e.pub_port = q->txt.pub_port;
    merge_addresses(q, &e);
    return e;
}

static bool same_event(const struct disc_event *a, const struct disc_event *b)
{
    if (a->ours != b->ours || strcmp(a->hint, b->hint) != 0 || a->port != b->port || a->pub_port != b->pub_port ||
        a->naddr != b->naddr)
        return false;
    for (uint32_t i = 0; i < a->naddr; i++)
        if (strcmp(a->addr[i], b->addr[i]) != 0)
            return false;
    return true;
}

/* Whether the user must be told about q; if so, he is. */
static bool tell(struct instance *q, struct disc_event *out)
{
    q->dirty = false;
    *out = event_of(q);
    bool present = out->type == DISC_FOUND;
    if (!present && !q->known)
        return false;
    if (present && q->known && same_event(&q->told, out))
        return false;
    q->known = present;
    q->told = *out;
    return true;
}

bool instances_next(struct instances *p, struct disc_event *out)
{
    for (uint32_t i = 0; i < p->n; i++) {
        struct instance *q = p->v[p->turn++ % p->n];
        if (q->dirty && tell(q, out))
            return true;
    }
    return false;
}

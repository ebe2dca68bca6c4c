/* What the thread does between two rounds of the poll: choose the backend, publish, resolve, let go. Callbacks only take notes, so
 * everything that opens or frees something happens here. */
#include <assert.h>
#include <avahi-common/error.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "discovery/state.h"

/* Milliseconds. */
#define TICK            5000    /* how often to look at what nobody reports: our interfaces and addresses, the day */
#define RETRY           3000    /* after a failure to open a backend or a resolver */
#define CLIENT_PAUSE    1000    /* after the daemon went: it may be back at once */
#define PATIENCE        15000   /* with something that should be established by now */
#define KEEP            20000   /* what was found through one backend, for the next one to find it too */
#define BACKOFF_MIN     1000    /* before publishing again after a collision or a failure; doubles */
#define BACKOFF_MAX     60000

int64_t discovery_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void wake_no_later(struct discovery *d, int64_t when)
{
    if (when < d->wake_at)
        d->wake_at = when;
}

/* --- choosing the backend --------------------------------------------------------------------------------------------- */

/* Closes the backend at work; what it found is kept for a while. */
static void leave(struct discovery *d, int64_t now)
{
    pthread_mutex_lock(&d->lock);
    instances_abandon(&d->instances, now + KEEP);
    pthread_mutex_unlock(&d->lock);
    d->dropped.n = 0;               /* the backend frees them with itself */
    d->active->ops->close(d->active);
    d->active = NULL;
    d->published = false;
    d->publish_at = d->tick_at = 0;
}

static void close_when_down(struct discovery *d, struct backend *b, int64_t now)
{
    if (!b->handle || b->state != BACKEND_DOWN)
        return;
    snprintf(b == &d->client ? d->why_client : d->why_embedded, sizeof d->why_client, "%s", avahi_strerror(b->error));
    if (b == d->active)
        leave(d, now);
    else
        b->ops->close(b);
    d->client_at = d->embedded_at = now + CLIENT_PAUSE;
}

static void open_client(struct discovery *d, int64_t now)
{
    if (d->client.handle)
        return;
    if (now < d->client_at) {
        wake_no_later(d, d->client_at);
        return;
    }
    if (d->client.ops->open(&d->client, avahi_simple_poll_get(d->poll)) < 0) {
        snprintf(d->why_client, sizeof d->why_client, "%s", err_text());
        d->client_at = now + RETRY;
        wake_no_later(d, d->client_at);
    }
}

static void use_client(struct discovery *d, int64_t now)
{
    if (backend_browse(&d->client) < 0) {
        d->client.state = BACKEND_DOWN;
        wake_no_later(d, now);
        return;
    }
    if (d->active)
        leave(d, now);
    d->active = &d->client;
}

static void use_embedded(struct discovery *d, int64_t now)
{
    struct backend *b = &d->embedded;
    if (now < d->embedded_at) {
        wake_no_later(d, d->embedded_at);
        return;
    }
    if (b->ops->open(b, avahi_simple_poll_get(d->poll)) == 0 && backend_browse(b) == 0) {
        d->active = b;
        return;
    }
    snprintf(d->why_embedded, sizeof d->why_embedded, "%s", err_text());
    b->ops->close(b);
    d->embedded_at = now + RETRY;
    wake_no_later(d, d->embedded_at);
}

/* The daemon whenever it can be used. While it starts it gets some time before we start a stack of our own. */
static void choose_backend(struct discovery *d, int64_t now)
{
    close_when_down(d, &d->client, now);
    close_when_down(d, &d->embedded, now);
    open_client(d, now);
    if (d->client.state == BACKEND_ABSENT)
        snprintf(d->why_client, sizeof d->why_client, "it is not running");
    if (d->client.state != BACKEND_BUSY)
        d->busy_since = 0;
    else if (d->busy_since == 0)
        d->busy_since = now;

    if (d->client.state == BACKEND_READY && d->active != &d->client)
        use_client(d, now);
    if (d->active)
        return;
    if (d->busy_since && now < d->busy_since + PATIENCE)
        wake_no_later(d, d->busy_since + PATIENCE);
    else
        use_embedded(d, now);
}

/* --- publishing ------------------------------------------------------------------------------------------------------- */

static int allowed_interfaces(const struct discovery *d, int out[static IFACES_MAX])
{
    if (!d->allow) {
        out[0] = AVAHI_IF_UNSPEC;
        return 1;
    }
    int n = 0;
    struct if_nameindex *all = if_nameindex();
    for (struct if_nameindex *i = all; i && i->if_name && n < IFACES_MAX; i++)
        if (d->allow(i->if_name))
            out[n++] = (int)i->if_index;
    if (all)
        if_freenameindex(all);
    return n;
}

static struct txt wanted_txt(struct discovery *d)
{
    struct txt t = { .pub_port = d->pub_port };
    if (d->has_key)
        tag_make(t.tag, d->k_disc, d->instance, time(NULL));
    pthread_mutex_lock(&d->lock);
    memcpy(t.hint, d->hint, sizeof t.hint);
    pthread_mutex_unlock(&d->lock);
    return t;
}

static struct publication publication(const struct discovery *d)
{
    struct publication p = { .instance = d->instance, .port = d->port, .txt = &d->txt, .nifaces = d->nifaces };
    memcpy(p.iface, d->iface, sizeof p.iface);
    return p;
}

static void withdraw(struct discovery *d)
{
    if (d->published)
        backend_withdraw(d->active);
    d->published = false;
}

static void publish_later(struct discovery *d, int64_t now)
{
    withdraw(d);
    d->backoff = d->backoff == 0 ? BACKOFF_MIN : 2 * d->backoff < BACKOFF_MAX ? 2 * d->backoff : BACKOFF_MAX;
    d->publish_at = now + d->backoff;
    wake_no_later(d, d->publish_at);
}

static void publish_anew(struct discovery *d, int64_t now)
{
    d->nifaces = allowed_interfaces(d, d->iface);
    if (d->nifaces == 0) {
        d->publish_at = now + TICK;
        return;
    }
    d->txt = wanted_txt(d);
    struct publication p = publication(d);
    d->active->published = AVAHI_ENTRY_GROUP_UNCOMMITED;
    d->published = true;            /* also after a failure there may be a group to free */
    d->published_at = now;
    if (backend_publish(d->active, &p) < 0)
        publish_later(d, now);
    else
        wake_no_later(d, now + PATIENCE);
}

static bool interfaces_changed(const struct discovery *d)
{
    int iface[IFACES_MAX];
    int n = allowed_interfaces(d, iface);
    return n != d->nifaces || memcmp(iface, d->iface, (size_t)n * sizeof *iface) != 0;
}

/* Keeps the TXT record up to date: the tag of the day, the hint. */
static void publish_changes(struct discovery *d, int64_t now)
{
    struct txt t = wanted_txt(d);
    if (txt_same(&t, &d->txt))
        return;
    d->txt = t;
    struct publication p = publication(d);
    if (backend_update(d->active, &p) < 0)
        publish_later(d, now);
}

static void tick(struct discovery *d, int64_t now)
{
    if (now >= d->tick_at) {
        d->tick_at = now + TICK;
        if (d->active->ops->tick)
            d->active->ops->tick(d->active);
        if (d->published && interfaces_changed(d))
            withdraw(d);                /* and it is published anew at once */
    }
    wake_no_later(d, d->tick_at);
}

static void publish(struct discovery *d, int64_t now)
{
    if (!d->active || d->port == 0)
        return;
    if (d->active->state != BACKEND_READY) {
        withdraw(d);
        return;
    }
    tick(d, now);
    if (!d->published) {
        if (now >= d->publish_at)
            publish_anew(d, now);
        else
            wake_no_later(d, d->publish_at);
        return;
    }
    switch (d->active->published) {
    case AVAHI_ENTRY_GROUP_ESTABLISHED:
        d->backoff = 0;
        publish_changes(d, now);
        return;
    case AVAHI_ENTRY_GROUP_COLLISION:
        discovery_random_name(d->instance, "a-");
        publish_later(d, now);
        return;
    case AVAHI_ENTRY_GROUP_FAILURE:
        publish_later(d, now);
        return;
    case AVAHI_ENTRY_GROUP_UNCOMMITED:
    case AVAHI_ENTRY_GROUP_REGISTERING:
        if (now >= d->published_at + PATIENCE)      /* it hangs when an interface goes while it probes */
            publish_later(d, now);
        else
            wake_no_later(d, d->published_at + PATIENCE);
    }
}

/* --- resolving -------------------------------------------------------------------------------------------------------- */

static bool take_pending(struct discovery *d, int64_t now, char instance[static INSTANCE_TEXT], struct where *w)
{
    const char *name = NULL;
    pthread_mutex_lock(&d->lock);
    struct sighting *s = instances_pending(&d->instances, now, &name);
    if (s) {
        s->resolve_at = now + RETRY;
        snprintf(instance, INSTANCE_TEXT, "%s", name);
        *w = s->where;
    }
    pthread_mutex_unlock(&d->lock);
    return s;
}

/* The lock is not held while a backend is called: that may take long, and the loop must not wait for it. */
static void resolve_pending(struct discovery *d, int64_t now)
{
    char instance[INSTANCE_TEXT];
    struct where w;
    while (d->active && d->active->state != BACKEND_DOWN && take_pending(d, now, instance, &w)) {
        void *resolver = backend_resolve(d->active, instance, w);
        pthread_mutex_lock(&d->lock);
        struct sighting *s = instances_find(&d->instances, instance, w);
        assert(s && !s->resolver);
        s->resolver = resolver;     /* kept open until the sighting goes: browsing does not report changes of addresses */
        pthread_mutex_unlock(&d->lock);
    }
}

static void free_dropped(struct discovery *d)
{
    while (d->dropped.n)
        d->active->ops->resolver_free(d->active, d->dropped.v[--d->dropped.n]);
}

static void expire(struct discovery *d, int64_t now)
{
    pthread_mutex_lock(&d->lock);
    int64_t next = instances_expire(&d->instances, now);
    instances_sweep(&d->instances);
    discovery_unlock(d);
    if (next)
        wake_no_later(d, next);
}

static void describe(struct discovery *d)
{
    pthread_mutex_lock(&d->lock);
    if (d->active == &d->client) {
        d->at_work = DISC_CLIENT;
        snprintf(d->text, sizeof d->text, "mDNS by avahi-daemon");
    } else if (d->active == &d->embedded) {
        d->at_work = DISC_EMBEDDED;
        snprintf(d->text, sizeof d->text, "mDNS embedded; avahi-daemon: %s", d->why_client);
    } else if (d->why_embedded[0]) {
        d->at_work = DISC_FAILED;
        snprintf(d->text, sizeof d->text, "no mDNS: %s; avahi-daemon: %s", d->why_embedded, d->why_client);
    }
    pthread_mutex_unlock(&d->lock);
}

void discovery_step(struct discovery *d)
{
    int64_t now = discovery_now();
    d->wake_at = now + TICK;
    choose_backend(d, now);
    free_dropped(d);
    publish(d, now);
    resolve_pending(d, now);
    expire(d, now);
    describe(d);
    if (d->client.state == BACKEND_DOWN && d->client.handle)
        wake_no_later(d, now);
}

#include "discovery/discovery.h"

#include <assert.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "discovery/state.h"

#define STOP_MS 2000    /* for the thread to end */

void discovery_random_name(char out[static INSTANCE_TEXT], const char *prefix)
{
    char symbols[9] = "";
    for (int i = 0; i < 8; i++)
        symbols[i] = "abcdefghijklmnopqrstuvwxyz234567"[randombytes_uniform(32)];
    snprintf(out, INSTANCE_TEXT, "%s%s", prefix, symbols);
}

/* --- what the backends report ----------------------------------------------------------------------------------------- */

static bool is_loopback(const char *ifname)
{
    return strcmp(ifname, "lo") == 0;
}

bool discovery_allows(const struct discovery *d, const char *ifname)
{
    return d->allow ? d->allow(ifname) : !is_loopback(ifname);
}

void discovery_unlock(struct discovery *d)
{
    if (instances_changed(&d->instances))
        eventfd_write(d->event_fd, 1);
    pthread_mutex_unlock(&d->lock);
}

void discovery_on_seen(struct discovery *d, const char *instance, struct where w)
{
    char ifname[IF_NAMESIZE];
    if (w.ifindex <= 0 || !if_indextoname((unsigned)w.ifindex, ifname) || !discovery_allows(d, ifname))
        return;
    if (strcmp(instance, d->instance) == 0)
        return;
    pthread_mutex_lock(&d->lock);
    (void)instances_see(&d->instances, instance, w);
    discovery_unlock(d);
}

void discovery_on_gone(struct discovery *d, const char *instance, struct where w)
{
    pthread_mutex_lock(&d->lock);
    instances_lose(&d->instances, instance, w);
    discovery_unlock(d);
}

void discovery_on_unresolved(struct discovery *d, const char *instance, struct where w)
{
    pthread_mutex_lock(&d->lock);
    instances_unresolve(&d->instances, instance, w);
    discovery_unlock(d);
}

static int address_text(char out[static ADDR_TEXT], const AvahiAddress *a, int ifindex)
{
    char ifname[IF_NAMESIZE];
    bool loopback = if_indextoname((unsigned)ifindex, ifname) && is_loopback(ifname);
    if (a->proto == AVAHI_PROTO_INET)
        return addr_text4(out, &(struct in_addr){ .s_addr = a->data.ipv4.address }, loopback);
    struct in6_addr six;
    memcpy(&six, a->data.ipv6.address, sizeof six);
    return addr_text6(out, &six, ifindex, loopback);
}

void discovery_on_resolved(struct discovery *d, const char *instance, struct where w, const AvahiAddress *a, uint16_t port,
                           AvahiStringList *txt)
{
    char addr[ADDR_TEXT];
    struct txt t;
    if (strlen(instance) >= INSTANCE_TEXT || port == 0 || address_text(addr, a, w.ifindex) < 0 || txt_read(txt, &t) < 0) {
        discovery_on_unresolved(d, instance, w);
        return;
    }
    bool ours = d->has_key && tag_is_ours(t.tag, d->k_disc, instance, time(NULL));
    pthread_mutex_lock(&d->lock);
    instances_resolve(&d->instances, instance, w, addr, port, &t, ours);
    discovery_unlock(d);
}

/* The resolver of a sighting that goes; this may be inside a callback. */
static void drop_resolver(void *arg, void *resolver)
{
    struct resolvers *r = &((struct discovery *)arg)->dropped;
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        r->v = xrealloc(r->v, r->cap, sizeof *r->v);
    }
    r->v[r->n++] = resolver;
}

/* --- the thread ------------------------------------------------------------------------------------------------------- */

static void on_wake(AvahiWatch *w, int fd, AvahiWatchEvent event, void *arg)
{
    (void)w, (void)event, (void)arg;
    eventfd_t count;
    eventfd_read(fd, &count);
}

static bool must_quit(struct discovery *d)
{
    pthread_mutex_lock(&d->lock);
    bool quit = d->quit;
    pthread_mutex_unlock(&d->lock);
    return quit;
}

static void release(struct discovery *d)
{
    instances_release(&d->instances);
    free(d->dropped.v);
    free(d->client.calls);
    free(d->embedded.calls);
    if (d->poll)
        avahi_simple_poll_free(d->poll);
    for (int i = 0; i < 3; i++) {
        int fd = ((int[]){ d->event_fd, d->wake_fd, d->done_fd })[i];
        if (fd >= 0)
            close(fd);
    }
    pthread_mutex_destroy(&d->lock);
    sodium_memzero(d->k_disc, sizeof d->k_disc);
    free(d);
}

static void *run(void *arg)
{
    struct discovery *d = arg;
    while (!must_quit(d)) {
        discovery_step(d);
        int64_t sleep = d->wake_at - discovery_now();
        if (avahi_simple_poll_iterate(d->poll, sleep > 0 ? (int)sleep : 0) != 0)
            break;
    }
    d->client.ops->close(&d->client);
    d->embedded.ops->close(&d->embedded);
    pthread_mutex_lock(&d->lock);
    d->at_work = DISC_FAILED;
    snprintf(d->text, sizeof d->text, "no mDNS: its loop ended");
    d->done = true;
    bool orphan = d->orphan;
    eventfd_write(d->done_fd, 1);
    pthread_mutex_unlock(&d->lock);
    if (orphan)
        release(d);
    return NULL;
}

/* All signals are for the loop's signalfd: the thread starts with all of them blocked. */
static int start_thread(struct discovery *d)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&d->thread, NULL, run, d);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return err_set(ERR_IO, "discovery: no thread: %s", strerror(rc));
    pthread_setname_np(d->thread, "discovery");
    return 0;
}

static struct discovery *new_discovery(const struct discovery_config *c)
{
    struct discovery *d = xcalloc(1, sizeof *d);
    d->port = c->port;
    d->pub_port = c->pub_port;
    d->allow = c->allow_interface;
    d->has_key = c->k_disc;
    if (c->k_disc)
        memcpy(d->k_disc, c->k_disc, sizeof d->k_disc);
    pthread_mutex_init(&d->lock, NULL);
    d->instances.drop = drop_resolver;
    d->instances.arg = d;
    d->client = (struct backend){ .ops = &CLIENT_BACKEND, .owner = d };
    d->embedded = (struct backend){ .ops = &EMBEDDED_BACKEND, .owner = d };
    d->at_work = DISC_STARTING;
    snprintf(d->text, sizeof d->text, "mDNS is starting");
    discovery_random_name(d->instance, "a-");
    d->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    d->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    d->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    d->poll = avahi_simple_poll_new();
    return d;
}

/* --- what the loop calls ---------------------------------------------------------------------------------------------- */

int discovery_start(const struct discovery_config *c, struct discovery **out)
{
    *out = NULL;
    if (sodium_init() < 0)
        return err_set(ERR_IO, "discovery: the system has no randomness");
    struct discovery *d = new_discovery(c);
    int rc = 0;
    if (d->event_fd < 0 || d->wake_fd < 0 || d->done_fd < 0 || !d->poll)
        rc = err_set(ERR_IO, "discovery: no descriptors: %m");
    if (rc == 0) {
        const AvahiPoll *api = avahi_simple_poll_get(d->poll);
        if (!api->watch_new(api, d->wake_fd, AVAHI_WATCH_IN, on_wake, NULL))
            rc = err_set(ERR_IO, "discovery: no memory for a watch");
    }
    if (rc == 0)
        rc = start_thread(d);
    if (rc < 0) {
        release(d);
        return rc;
    }
    *out = d;
    return 0;
}

/* A thread that waits for an answer of D-Bus may take half a minute: then it is left to end, and to clean up, by itself. */
void discovery_stop(struct discovery **pd)
{
    struct discovery *d = *pd;
    if (!d)
        return;
    *pd = NULL;
    pthread_mutex_lock(&d->lock);
    d->quit = true;
    pthread_mutex_unlock(&d->lock);
    eventfd_write(d->wake_fd, 1);
    poll(&(struct pollfd){ .fd = d->done_fd, .events = POLLIN }, 1, STOP_MS);
    pthread_mutex_lock(&d->lock);
    pthread_t thread = d->thread;
    bool done = d->done;
    d->orphan = !done;
    pthread_mutex_unlock(&d->lock);
    if (!done) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    release(d);
}

int discovery_fd(const struct discovery *d)
{
    return d->event_fd;
}

bool discovery_next(struct discovery *d, struct disc_event *out)
{
    pthread_mutex_lock(&d->lock);
    bool any = instances_next(&d->instances, out);
    if (!any) {
        eventfd_t count;
        eventfd_read(d->event_fd, &count);
    }
    pthread_mutex_unlock(&d->lock);
    return any;
}

void discovery_hint(struct discovery *d, const char *hint)
{
    assert(!hint || hint_is_valid(hint));
    pthread_mutex_lock(&d->lock);
    snprintf(d->hint, sizeof d->hint, "%s", hint ? hint : "");
    pthread_mutex_unlock(&d->lock);
    eventfd_write(d->wake_fd, 1);
}

enum disc_backend discovery_state(struct discovery *d, char *text, unsigned long size)
{
    pthread_mutex_lock(&d->lock);
    enum disc_backend at_work = d->at_work;
    snprintf(text, size, "%s", d->text);
    pthread_mutex_unlock(&d->lock);
    return at_work;
}

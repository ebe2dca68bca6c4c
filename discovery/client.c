/* The backend over D-Bus: avahi-daemon does the work. Calls block until the daemon answers; one that does not is given up. */
#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/error.h>

#include "discovery/backend.h"

/* The functions of the library, as X(name). */
#define CALLS \
    X(avahi_client_errno) X(avahi_client_new) X(avahi_client_free) X(avahi_service_browser_new) \
    X(avahi_service_resolver_new) X(avahi_service_resolver_free) X(avahi_entry_group_free) \
    X(avahi_entry_group_new) X(avahi_entry_group_add_service_strlst) X(avahi_entry_group_commit) \
    X(avahi_entry_group_update_service_txt_strlst)

struct calls {
#define X(name) __typeof__(name) *name;
    CALLS
#undef X
};
static const char *const CALL_NAMES[] = {
#define X(name) #name,
    CALLS
#undef X
};

static const struct calls *lib(const struct backend *b)
{
    return b->calls;
}

/* The client is the callback's argument: b->handle is not set yet when this is called from inside avahi_client_new. */
static void on_state(AvahiClient *c, AvahiClientState state, void *arg)
{
    struct backend *b = arg;
    switch (state) {
    case AVAHI_CLIENT_S_RUNNING:
        b->state = BACKEND_READY;
        return;
    case AVAHI_CLIENT_S_REGISTERING:
    case AVAHI_CLIENT_S_COLLISION:
        b->state = BACKEND_BUSY;
        return;
    case AVAHI_CLIENT_CONNECTING:
        b->state = BACKEND_ABSENT;
        return;
    case AVAHI_CLIENT_FAILURE:
    default:
        b->error = lib(b)->avahi_client_errno(c);
        b->state = BACKEND_DOWN;
    }
}

/* AVAHI_CLIENT_NO_FAIL waits for a daemon, but not for D-Bus: without the bus this fails, and is tried again later. */
static int client_open(struct backend *b, const AvahiPoll *poll)
{
    int rc = backend_load(b, "libavahi-client.so.3", CALL_NAMES, sizeof CALL_NAMES / sizeof *CALL_NAMES);
    if (rc < 0)
        return rc;
    b->handle = lib(b)->avahi_client_new(poll, AVAHI_CLIENT_NO_FAIL, on_state, b, &b->error);
    if (b->handle)
        return 0;
    b->state = BACKEND_DOWN;
    return err_set(ERR_IO, "no connection to D-Bus: %s", avahi_strerror(b->error));
}

static void client_close(struct backend *b)
{
    if (b->handle)
        lib(b)->avahi_client_free(b->handle);       /* and with it the browser, the resolvers and the group */
    b->handle = b->browser = b->group = NULL;
    b->state = BACKEND_DOWN;
}

static int client_error(const struct backend *b)
{
    return lib(b)->avahi_client_errno(b->handle);
}

static void on_browse(AvahiServiceBrowser *browser, AvahiIfIndex ifindex, AvahiProtocol proto, AvahiBrowserEvent event,
                      const char *name, const char *type, const char *domain, AvahiLookupResultFlags flags, void *arg)
{
    (void)browser, (void)type, (void)domain, (void)flags;
    backend_on_browse(arg, event, name, (struct where){ ifindex, proto });
}

static void *client_browser_new(struct backend *b)
{
    return lib(b)->avahi_service_browser_new(b->handle, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, SERVICE_TYPE, NULL,
                                             AVAHI_LOOKUP_USE_MULTICAST, on_browse, b);
}

static void on_resolve(AvahiServiceResolver *r, AvahiIfIndex ifindex, AvahiProtocol proto, AvahiResolverEvent event,
                       const char *name, const char *type, const char *domain, const char *host, const AvahiAddress *a,
                       uint16_t port, AvahiStringList *txt, AvahiLookupResultFlags flags, void *arg)
{
    (void)r, (void)type, (void)domain, (void)host, (void)flags;
    backend_on_resolve(arg, event, name, (struct where){ ifindex, proto }, a, port, txt);
}

/* The address is asked for in the family of the transport: one answer for each sighting, and always the same one. */
static void *client_resolver_new(struct backend *b, const char *instance, struct where w)
{
    return lib(b)->avahi_service_resolver_new(b->handle, w.ifindex, w.proto, instance, SERVICE_TYPE, NULL, w.proto,
                                              AVAHI_LOOKUP_USE_MULTICAST, on_resolve, b);
}

static void client_resolver_free(struct backend *b, void *resolver)
{
    lib(b)->avahi_service_resolver_free(resolver);
}

static void on_group(AvahiEntryGroup *g, AvahiEntryGroupState state, void *arg)
{
    (void)g;
    struct backend *b = arg;
    b->published = state;
}

static void *client_group_new(struct backend *b)
{
    return lib(b)->avahi_entry_group_new(b->handle, on_group, b);
}

static void client_group_free(struct backend *b)
{
    lib(b)->avahi_entry_group_free(b->group);
}

static int client_group_add(struct backend *b, const struct publication *p, int iface, AvahiStringList *txt)
{
    return lib(b)->avahi_entry_group_add_service_strlst(b->group, iface, AVAHI_PROTO_UNSPEC, 0, p->instance, SERVICE_TYPE, NULL,
                                                        NULL, p->port, txt);
}

static int client_group_update(struct backend *b, const struct publication *p, int iface, AvahiStringList *txt)
{
    return lib(b)->avahi_entry_group_update_service_txt_strlst(b->group, iface, AVAHI_PROTO_UNSPEC, 0, p->instance, SERVICE_TYPE,
                                                               NULL, txt);
}

static int client_group_commit(struct backend *b)
{
    return lib(b)->avahi_entry_group_commit(b->group);
}

const struct backend_ops CLIENT_BACKEND = {
    .name = "avahi-daemon",
    .open = client_open,
    .close = client_close,
    .error = client_error,
    .browser_new = client_browser_new,
    .resolver_new = client_resolver_new,
    .resolver_free = client_resolver_free,
    .group_new = client_group_new,
    .group_free = client_group_free,
    .group_add = client_group_add,
    .group_update = client_group_update,
    .group_commit = client_group_commit,
};

/* The backend over D-Bus: avahi-daemon does the work. Calls block until the daemon answers; one that does not is given up. */
#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/error.h>

#include "discovery/backend.h"

/* The functions of the library, as X(name). */
#define CALLS \
    X(avahi_client_errno) X(avahi_client_new) X(avahi_client_free) X(avahi_service_browser_get_client) \
    X(avahi_service_browser_new) X(avahi_service_resolver_new) X(avahi_service_resolver_free) X(avahi_entry_group_free) \
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

/* A call that got no answer would be followed by others that wait as long: be done with such a daemon. */
static int failed(struct backend *b, const char *what)
{
    b->error = lib(b)->avahi_client_errno(b->handle);
    if (b->error == AVAHI_ERR_DBUS_ERROR || b->error == AVAHI_ERR_TIMEOUT || b->error == AVAHI_ERR_DISCONNECTED)
        b->state = BACKEND_DOWN;
    return err_set(ERR_IO, "avahi-daemon: %s: %s", what, avahi_strerror(b->error));
}

static void on_browse(AvahiServiceBrowser *browser, AvahiIfIndex ifindex, AvahiProtocol proto, AvahiBrowserEvent event,
                      const char *name, const char *type, const char *domain, AvahiLookupResultFlags flags, void *arg)
{
    (void)type, (void)domain, (void)flags;
    struct backend *b = arg;
    struct where w = { ifindex, proto };
    if (event == AVAHI_BROWSER_NEW) {
        discovery_on_seen(b->owner, name, w);
    } else if (event == AVAHI_BROWSER_REMOVE) {
        discovery_on_gone(b->owner, name, w);
    } else if (event == AVAHI_BROWSER_FAILURE) {
        b->error = lib(b)->avahi_client_errno(lib(b)->avahi_service_browser_get_client(browser));
        b->state = BACKEND_DOWN;
    }
}

static int client_browse(struct backend *b)
{
    b->browser = lib(b)->avahi_service_browser_new(b->handle, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, SERVICE_TYPE, NULL,
                                                   AVAHI_LOOKUP_USE_MULTICAST, on_browse, b);
    return b->browser ? 0 : failed(b, "cannot browse");
}

static void on_resolve(AvahiServiceResolver *r, AvahiIfIndex ifindex, AvahiProtocol proto, AvahiResolverEvent event,
                       const char *name, const char *type, const char *domain, const char *host, const AvahiAddress *a,
                       uint16_t port, AvahiStringList *txt, AvahiLookupResultFlags flags, void *arg)
{
    (void)r, (void)type, (void)domain, (void)host, (void)flags;
    struct backend *b = arg;
    struct where w = { ifindex, proto };
    if (event == AVAHI_RESOLVER_FOUND && a)
        discovery_on_resolved(b->owner, name, w, a, port, txt);
    else
        discovery_on_unresolved(b->owner, name, w);
}

/* The address is asked for in the family of the transport: one answer for each sighting, and always the same one. */
static void *client_resolve(struct backend *b, const char *instance, struct where w)
{
    void *r = lib(b)->avahi_service_resolver_new(b->handle, w.ifindex, w.proto, instance, SERVICE_TYPE, NULL, w.proto,
                                                 AVAHI_LOOKUP_USE_MULTICAST, on_resolve, b);
    if (!r)
        (void)failed(b, "cannot resolve");
    return r;
}

static void client_unresolve(struct backend *b, void *resolver)
{
    lib(b)->avahi_service_resolver_free(resolver);
}

static void on_group(AvahiEntryGroup *g, AvahiEntryGroupState state, void *arg)
{
    (void)g;
    struct backend *b = arg;
    b->published = state;
}

static void client_withdraw(struct backend *b)
{
    if (b->group)
        lib(b)->avahi_entry_group_free(b->group);
    b->group = NULL;
}

static int client_publish(struct backend *b, const struct publication *p)
{
    b->group = lib(b)->avahi_entry_group_new(b->handle, on_group, b);
    if (!b->group)
        return failed(b, "cannot publish");
    AvahiStringList *txt = txt_make(p->txt);
    int rc = 0;
    for (int i = 0; i < p->nifaces && rc == 0; i++)
        rc = lib(b)->avahi_entry_group_add_service_strlst(b->group, p->iface[i], AVAHI_PROTO_UNSPEC, 0, p->instance,
                                                          SERVICE_TYPE, NULL, NULL, p->port, txt);
    avahi_string_list_free(txt);
    if (rc == 0)
        rc = lib(b)->avahi_entry_group_commit(b->group);
    return rc == 0 ? 0 : failed(b, "cannot publish");
}

static int client_update(struct backend *b, const struct publication *p)
{
    AvahiStringList *txt = txt_make(p->txt);
    int rc = 0;
    for (int i = 0; i < p->nifaces && rc == 0; i++)
        rc = lib(b)->avahi_entry_group_update_service_txt_strlst(b->group, p->iface[i], AVAHI_PROTO_UNSPEC, 0, p->instance,
                                                                 SERVICE_TYPE, NULL, txt);
    avahi_string_list_free(txt);
    return rc == 0 ? 0 : failed(b, "cannot change the TXT record");
}

const struct backend_ops CLIENT_BACKEND = {
    .name = "avahi-daemon",
    .open = client_open,
    .close = client_close,
    .browse = client_browse,
    .resolve = client_resolve,
    .unresolve = client_unresolve,
    .publish = client_publish,
    .update = client_update,
    .withdraw = client_withdraw,
};

/* The backend without a daemon: avahi-core in our own process, beside whatever else answers mDNS on this machine. */
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <avahi-core/core.h>
#include <avahi-core/log.h>
#include <avahi-core/lookup.h>
#include <avahi-core/publish.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/backend.h"

/* The functions of the library, as X(name). */
#define CALLS \
    X(avahi_server_add_address) X(avahi_server_errno) X(avahi_set_log_function) X(avahi_server_config_init) \
    X(avahi_server_new) X(avahi_server_config_free) X(avahi_server_free) X(avahi_s_service_browser_new) \
    X(avahi_s_service_resolver_new) X(avahi_s_service_resolver_free) X(avahi_s_entry_group_free) \
    X(avahi_s_entry_group_new) X(avahi_server_add_service_strlst) X(avahi_s_entry_group_commit) \
    X(avahi_server_update_service_txt_strlst)

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

/* The addresses that our host name stands for. Published by ourselves, since avahi-core would publish the reverse records (address
 * to name) with them: these it claims for itself alone, and so does every other stack on this machine, for the same addresses.
 * They then withdraw their records and rename the host, again and again. */
#define OWN_MAX 64

struct own_address {
    int ifindex;
    AvahiAddress a;
    AvahiSEntryGroup *group;
    bool there;
};
struct own_addresses {
    struct own_address v[OWN_MAX];
    uint32_t n;
};

/* It complains about every interface without a multicast route; what matters comes back as an error. */
static void be_quiet(AvahiLogLevel level, const char *text)
{
    (void)level, (void)text;
}

/* Without host records of its own the server has no name to collide: it is RUNNING at once. */
static void on_state(AvahiServer *s, AvahiServerState state, void *arg)
{
    struct backend *b = arg;
    b->error = lib(b)->avahi_server_errno(s);
    b->state = state == AVAHI_SERVER_RUNNING ? BACKEND_READY : state == AVAHI_SERVER_FAILURE ? BACKEND_DOWN : BACKEND_BUSY;
}

/* Interfaces that may not be used, as far as they exist now. One that comes later is filtered on what it reports. */
static AvahiStringList *denied_interfaces(const struct discovery *d)
{
    AvahiStringList *denied = NULL;
    struct if_nameindex *all = if_nameindex();
    for (struct if_nameindex *i = all; i && i->if_name; i++)
        if (!discovery_allows(d, i->if_name))
            denied = avahi_string_list_add(denied, i->if_name);
    if (all)
        if_freenameindex(all);
    return denied;
}

static int embedded_open(struct backend *b, const AvahiPoll *poll)
{
    char host[INSTANCE_TEXT];
    AvahiServerConfig c;
    int rc = backend_load(b, "libavahi-core.so.7", CALL_NAMES, sizeof CALL_NAMES / sizeof *CALL_NAMES);
    if (rc < 0)
        return rc;
    lib(b)->avahi_set_log_function(be_quiet);
    lib(b)->avahi_server_config_init(&c);
    discovery_random_name(host, "lanyard-");
    avahi_free(c.host_name);
    c.host_name = avahi_strdup(host);       /* never the machine's: its own responder would see a second claim to it */
    c.deny_interfaces = denied_interfaces(b->owner);
    c.publish_addresses = c.publish_hinfo = c.publish_workstation = c.publish_domain = 0;
    c.enable_reflector = c.enable_wide_area = 0;
    b->handle = lib(b)->avahi_server_new(poll, &c, on_state, b, &b->error);
    lib(b)->avahi_server_config_free(&c);
    if (b->handle) {
        b->extra = xcalloc(1, sizeof(struct own_addresses));
        return 0;
    }
    b->state = BACKEND_DOWN;
    return err_set(ERR_IO, "embedded mDNS: %s", avahi_strerror(b->error));
}

static void embedded_close(struct backend *b)
{
    if (b->handle)
        lib(b)->avahi_server_free(b->handle);       /* says goodbye at once; frees the browser, the resolvers and the group */
    b->handle = b->browser = b->group = NULL;
    free(b->extra);
    b->extra = NULL;
    b->state = BACKEND_DOWN;
}

static int embedded_error(const struct backend *b)
{
    return lib(b)->avahi_server_errno(b->handle);
}

static void on_browse(AvahiSServiceBrowser *browser, AvahiIfIndex ifindex, AvahiProtocol proto, AvahiBrowserEvent event,
                      const char *name, const char *type, const char *domain, AvahiLookupResultFlags flags, void *arg)
{
    (void)browser, (void)type, (void)domain, (void)flags;
    backend_on_browse(arg, event, name, (struct where){ ifindex, proto });
}

static void *embedded_browser_new(struct backend *b)
{
    return lib(b)->avahi_s_service_browser_new(b->handle, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, SERVICE_TYPE, NULL,
                                               AVAHI_LOOKUP_USE_MULTICAST, on_browse, b);
}

static void on_resolve(AvahiSServiceResolver *r, AvahiIfIndex ifindex, AvahiProtocol proto, AvahiResolverEvent event,
                       const char *name, const char *type, const char *domain, const char *host, const AvahiAddress *a,
                       uint16_t port, AvahiStringList *txt, AvahiLookupResultFlags flags, void *arg)
{
    (void)r, (void)type, (void)domain, (void)host, (void)flags;
    backend_on_resolve(arg, event, name, (struct where){ ifindex, proto }, a, port, txt);
}

static void *embedded_resolver_new(struct backend *b, const char *instance, struct where w)
{
    return lib(b)->avahi_s_service_resolver_new(b->handle, w.ifindex, w.proto, instance, SERVICE_TYPE, NULL, w.proto,
                                                AVAHI_LOOKUP_USE_MULTICAST, on_resolve, b);
}

static void embedded_resolver_free(struct backend *b, void *resolver)
{
    lib(b)->avahi_s_service_resolver_free(resolver);
}

static void on_group(AvahiServer *s, AvahiSEntryGroup *g, AvahiEntryGroupState state, void *arg)
{
    (void)s, (void)g;
    struct backend *b = arg;
    b->published = state;
}

static void *embedded_group_new(struct backend *b)
{
    return lib(b)->avahi_s_entry_group_new(b->handle, on_group, b);
}

static void embedded_group_free(struct backend *b)
{
    lib(b)->avahi_s_entry_group_free(b->group);
}

static int embedded_group_add(struct backend *b, const struct publication *p, int iface, AvahiStringList *txt)
{
    return lib(b)->avahi_server_add_service_strlst(b->handle, b->group, iface, AVAHI_PROTO_UNSPEC, 0, p->instance, SERVICE_TYPE,
                                                   NULL, NULL, p->port, txt);
}

static int embedded_group_update(struct backend *b, const struct publication *p, int iface, AvahiStringList *txt)
{
    return lib(b)->avahi_server_update_service_txt_strlst(b->handle, b->group, iface, AVAHI_PROTO_UNSPEC, 0, p->instance,
                                                          SERVICE_TYPE, NULL, txt);
}

static int embedded_group_commit(struct backend *b)
{
    return lib(b)->avahi_s_entry_group_commit(b->group);
}

/* ---- addresses of the own host ---- */

static void on_address(AvahiServer *s, AvahiSEntryGroup *g, AvahiEntryGroupState state, void *arg)
{
    (void)g;
    struct backend *b = arg;
    if (state != AVAHI_ENTRY_GROUP_COLLISION && state != AVAHI_ENTRY_GROUP_FAILURE)
        return;
    b->error = lib(b)->avahi_server_errno(s);
    b->state = BACKEND_DOWN;            /* somebody else has our host name: begin again with another one */
}

static AvahiSEntryGroup *publish_address(struct backend *b, int ifindex, AvahiAddress *a)
{
    AvahiSEntryGroup *g = lib(b)->avahi_s_entry_group_new(b->handle, on_address, b);
    AvahiProtocol proto = a->proto == AVAHI_PROTO_INET ? AVAHI_PROTO_INET : AVAHI_PROTO_UNSPEC;
    if (!g)
        return NULL;
    if (lib(b)->avahi_server_add_address(b->handle, g, ifindex, proto, AVAHI_PUBLISH_NO_REVERSE, NULL, a) == 0 &&
        lib(b)->avahi_s_entry_group_commit(g) == 0)
        return g;
    lib(b)->avahi_s_entry_group_free(g);
    return NULL;
}

static void keep_address(struct backend *b, int ifindex, AvahiAddress a)
{
    struct own_addresses *own = b->extra;
    for (uint32_t i = 0; i < own->n; i++)
        if (own->v[i].ifindex == ifindex && avahi_address_cmp(&own->v[i].a, &a) == 0) {
            own->v[i].there = true;
            return;
        }
    if (own->n == OWN_MAX)
        return;
    AvahiSEntryGroup *g = publish_address(b, ifindex, &a);
    if (g)
        own->v[own->n++] = (struct own_address){ .ifindex = ifindex, .a = a, .group = g, .there = true };
}

static bool is_link_local(const struct ifaddrs *i)
{
    return i->ifa_addr->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr);
}

static bool is_usable(const struct backend *b, const struct ifaddrs *i)
{
    return i->ifa_addr && (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6) &&
           (i->ifa_flags & IFF_UP) && discovery_allows(b->owner, i->ifa_name);
}

/* A link-local address is of use where there is no other IPv6 address. */
static bool has_better(const struct backend *b, const struct ifaddrs *all, const struct ifaddrs *than)
{
    for (const struct ifaddrs *i = all; i; i = i->ifa_next)
        if (is_usable(b, i) && i->ifa_addr->sa_family == AF_INET6 && !is_link_local(i) && strcmp(i->ifa_name, than->ifa_name) == 0)
            return true;
    return false;
}

static AvahiAddress address_of(const struct ifaddrs *i)
{
    AvahiAddress a = { .proto = AVAHI_PROTO_INET };
    if (i->ifa_addr->sa_family == AF_INET) {
        a.data.ipv4.address = ((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr.s_addr;
        return a;
    }
    a.proto = AVAHI_PROTO_INET6;
    memcpy(a.data.ipv6.address, &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr, sizeof a.data.ipv6.address);
    return a;
}

static void embedded_tick(struct backend *b)
{
    struct own_addresses *own = b->extra;
    struct ifaddrs *all;
    if (getifaddrs(&all) < 0)
        return;
    for (uint32_t i = 0; i < own->n; i++)
        own->v[i].there = false;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next)
        if (is_usable(b, i) && !(is_link_local(i) && has_better(b, all, i)))
            keep_address(b, (int)if_nametoindex(i->ifa_name), address_of(i));
    freeifaddrs(all);
    for (uint32_t i = 0; i < own->n;) {
        if (own->v[i].there) {
            i++;
            continue;
        }
        lib(b)->avahi_s_entry_group_free(own->v[i].group);
        own->v[i] = own->v[--own->n];
    }
}

const struct backend_ops EMBEDDED_BACKEND = {
    .name = "embedded mDNS",
    .open = embedded_open,
    .close = embedded_close,
    .error = embedded_error,
    .tick = embedded_tick,
    .browser_new = embedded_browser_new,
    .resolver_new = embedded_resolver_new,
    .resolver_free = embedded_resolver_free,
    .group_new = embedded_group_new,
    .group_free = embedded_group_free,
    .group_add = embedded_group_add,
    .group_update = embedded_group_update,
    .group_commit = embedded_group_commit,
};

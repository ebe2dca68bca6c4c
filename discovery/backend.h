/* backend: the little that discovery needs of mDNS, made by avahi-client (client.c) and by avahi-core (embedded.c). The backend_ops
 * are the calls of either library; the backend_ functions are what is made of them, the same for both.
 *
 * A backend lives on the AvahiPoll it is opened on and is touched by that poll's thread only. What it learns it reports through
 * the discovery_on_ functions, from inside Avahi's callbacks: they take notes and never call the backend. Everything else is
 * called between two rounds of the poll, where freeing is allowed. Changes of state may be reported from inside `open` already,
 * before there is a handle.
 *
 *   ops->open -> backend_browse once it is READY -> publish, update, withdraw, resolve, resolver_free ... -> ops->close, which
 *   frees all of these too
 *
 * The two libraries must not be linked, only loaded, each into a scope of its own: both define avahi_entry_group_free, with
 * different arguments, and where both are visible one of them calls the other's. So a backend calls through a table of the
 * functions it needs, made by backend_load. avahi-common is linked as usual.
 *
 * An entry group is never reset, always freed and made anew: a reset leaves the timer of a delayed registration running, and the
 * next commit then fails an assertion of avahi-core (0.8), in our process or in the daemon. */
#ifndef DISCOVERY_BACKEND_H
#define DISCOVERY_BACKEND_H

#include <avahi-common/address.h>
#include <avahi-common/defs.h>
#include <avahi-common/strlst.h>
#include <avahi-common/watch.h>
#include <stddef.h>
#include <stdint.h>

#include "discovery/discovery.h"
#include "discovery/instances.h"

#define SERVICE_TYPE "_lanyard._tcp"
#define IFACES_MAX 16

enum backend_state {
    BACKEND_DOWN,       /* not open, or of no more use: close it, and open it again later */
    BACKEND_ABSENT,     /* waits for the daemon to appear */
    BACKEND_BUSY,       /* its host name is not established (yet): browsing works, publishing does not */
    BACKEND_READY,
};

struct publication {
    const char *instance;
    uint16_t port;
    const struct txt *txt;
    int iface[IFACES_MAX];      /* indexes, or one AVAHI_IF_UNSPEC for all */
    int nifaces;
};

struct backend {
    const struct backend_ops *ops;
    struct discovery *owner;
    void *calls;                    /* the backend's table of functions; free() it at the end */
    void *handle;                   /* AvahiClient or AvahiServer, NULL = closed */
    void *browser, *group, *extra;  /* extra: of the backend alone */
    enum backend_state state;
    AvahiEntryGroupState published; /* of the group, while there is one */
    int error;                      /* Avahi's, why it is DOWN */
};

struct backend_ops {
    const char *name;
    int  (*open)(struct backend *b, const AvahiPoll *poll) MUST_CHECK;
    void (*close)(struct backend *b);
    int  (*error)(const struct backend *b);         /* Avahi's, of the call that failed last */
    void (*tick)(struct backend *b);                /* every few seconds while something is published; may be NULL */

    /* What makes something returns NULL, what does something an error of Avahi's, when it cannot, now. */
    void *(*browser_new)(struct backend *b);
    void *(*resolver_new)(struct backend *b, const char *instance, struct where w);
    void (*resolver_free)(struct backend *b, void *resolver);
    void *(*group_new)(struct backend *b);
    void (*group_free)(struct backend *b);
    int  (*group_add)(struct backend *b, const struct publication *p, int iface, AvahiStringList *txt) MUST_CHECK;
    int  (*group_update)(struct backend *b, const struct publication *p, int iface, AvahiStringList *txt) MUST_CHECK;
    int  (*group_commit)(struct backend *b) MUST_CHECK;
};

extern const struct backend_ops CLIENT_BACKEND, EMBEDDED_BACKEND;

int   backend_browse(struct backend *b) MUST_CHECK;
void *backend_resolve(struct backend *b, const char *instance, struct where w);     /* NULL = it could not, now */
int   backend_publish(struct backend *b, const struct publication *p) MUST_CHECK;   /* starts; `published` tells how it goes on */
int   backend_update(struct backend *b, const struct publication *p) MUST_CHECK;    /* of the TXT record */
void  backend_withdraw(struct backend *b);                                          /* also after a publish that failed */

/* For the backends: what Avahi's callbacks say. */
void backend_on_browse(struct backend *b, AvahiBrowserEvent event, const char *instance, struct where w);
void backend_on_resolve(struct backend *b, AvahiResolverEvent event, const char *instance, struct where w, const AvahiAddress *a,
                        uint16_t port, AvahiStringList *txt);
/* For the backends: loads a library and makes b->calls, an array of the addresses of the named functions, unless that was done
 * before. */
int backend_load(struct backend *b, const char *soname, const char *const *names, size_t n) MUST_CHECK;

/* What a backend reports. */
void discovery_on_seen(struct discovery *d, const char *instance, struct where w);
void discovery_on_gone(struct discovery *d, const char *instance, struct where w);
void discovery_on_resolved(struct discovery *d, const char *instance, struct where w, const AvahiAddress *a, uint16_t port,
                           AvahiStringList *txt);
void discovery_on_unresolved(struct discovery *d, const char *instance, struct where w);

/* Whether an interface may be used (discovery.h: allow_interface). */
bool discovery_allows(const struct discovery *d, const char *ifname);

/* The prefix and 8 random symbols of base32: a name that means nothing. */
void discovery_random_name(char out[static INSTANCE_TEXT], const char *prefix);

#endif

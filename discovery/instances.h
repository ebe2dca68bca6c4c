/* instances: the services that were seen on the network, merged by name, and what of them is still to be told. Pure: no Avahi, no
 * lock, no clock; the caller holds the lock and gives the time (milliseconds of any steady clock for deadlines).
 *
 * mDNS reports an instance once for every interface and protocol: each is a sighting. A sighting is resolved when its address,
 * port and TXT are known. An instance with a resolved sighting is present: its addresses are those of all resolved sightings,
 * its port and TXT those that came last. When the backend is closed its sightings stay for a while (instances_abandon), so that
 * the next backend can take them over and nobody notices. At most INSTANCES_MAX instances are kept: a new one then takes the place
 * of one that is not (yet) known as one of our group and shows no hint, or is not taken up.
 *
 * Everything is told through instances_next, and only changes are. */
#ifndef DISCOVERY_INSTANCES_H
#define DISCOVERY_INSTANCES_H

#include <netinet/in.h>

#include "discovery/discovery.h"
#include "discovery/txt.h"

#define INSTANCES_MAX 256               /* with sightings */
#define INSTANCES_TABLE (2 * INSTANCES_MAX) /* and those whose loss is still to be told */
#define SIGHTINGS_MAX 16            /* of one instance: 8 interfaces with both protocols */
#define ADDR_TEXT 64

/* Where an instance was seen: interface index, and the protocol as Avahi counts (0 IPv4, 1 IPv6). */
struct where { int ifindex, proto; };

struct sighting {
    struct where where;
    void *resolver;                 /* the backend's, NULL = none is open */
    int64_t resolve_at;             /* when to open one, if there is none */
    int64_t expires;                /* 0 = the backend reports it; else it was abandoned and lasts until then */
    bool resolved;
    char addr[ADDR_TEXT];
};
struct instance {
    char name[INSTANCE_TEXT];
    struct sighting s[SIGHTINGS_MAX];
    uint32_t n;
    uint16_t port;
    struct txt txt;
    bool ours;
    bool dirty;                     /* look at it in instances_next */
    bool known;                     /* the user was told FOUND, as in `told` */
    struct disc_event told;
};
struct instances {
    struct instance *v[INSTANCES_TABLE];
    uint32_t n;
    uint32_t turn, victim;          /* where instances_next goes on, and the search for one to turn out: all are treated alike */
    void (*drop)(void *arg, void *resolver);    /* called for the open resolver of a sighting that goes */
    void *arg;
};

void instances_release(struct instances *p);            /* without calling drop */
/* The backend sees it. NULL = there is no room, or the name is no instance name. */
struct sighting *instances_see(struct instances *p, const char *instance, struct where w);
/* One that the backend sees and that has no resolver though resolve_at has come, or NULL. */
struct sighting *instances_pending(struct instances *p, int64_t now, const char **instance);
struct sighting *instances_find(struct instances *p, const char *instance, struct where w);
void instances_lose(struct instances *p, const char *instance, struct where w);             /* the backend sees it no longer */
void instances_resolve(struct instances *p, const char *instance, struct where w, const char *addr, uint16_t port,
                       const struct txt *t, bool ours);
void instances_unresolve(struct instances *p, const char *instance, struct where w);        /* there, but it does not answer */
void instances_abandon(struct instances *p, int64_t until);     /* the backend goes, its resolvers with it: drop is not called */
/* Ends what was abandoned and is due; returns the next deadline, 0 = none. */
int64_t instances_expire(struct instances *p, int64_t now);
bool instances_changed(const struct instances *p);              /* instances_next may have something */
bool instances_next(struct instances *p, struct disc_event *out);
void instances_sweep(struct instances *p);      /* frees instances without sightings that the user does not know (any more) */

/* Text of an address seen on an interface: link-local IPv6 gets the zone "%ifindex". ERR_BAD for what nobody can be dialled at:
 * unspecified, multicast, broadcast, IPv4 in IPv6, and loopback unless `loopback` (it was seen on such an interface). */
int  addr_text4(char out[static ADDR_TEXT], const struct in_addr *a, bool loopback) MUST_CHECK;
int  addr_text6(char out[static ADDR_TEXT], const struct in6_addr *a, int ifindex, bool loopback) MUST_CHECK;
/* The order in which to dial: IPv4, other IPv6, link-local IPv6; then by text. */
int  addr_cmp(const char *a, const char *b);

#endif

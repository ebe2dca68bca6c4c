/* peers: the instances that were seen on the network, merged by name, and what of them is still to be told. Pure: no Avahi, no
 * lock, no clock; the caller holds the lock and gives the time (milliseconds of any steady clock for deadlines).
 *
 * mDNS reports an instance once for every interface and protocol: each is a sighting. A sighting is resolved when its address,
 * port and TXT are known. An instance with a resolved sighting is present: its addresses are those of all resolved sightings,
 * its port and TXT those that came last. When the backend is closed its sightings stay for a while (peers_abandon), so that
 * the next backend can take them over and nobody notices. At most PEERS_MAX instances are kept: a new one then takes the place
 * of one that is not (yet) known as one of our group and shows no hint, or is not taken up.
 *
 * Everything is told through peers_next, and only changes are. */
#ifndef DISCOVERY_PEERS_H
#define DISCOVERY_PEERS_H

#include <netinet/in.h>

#include "discovery/discovery.h"
#include "discovery/txt.h"

#define PEERS_MAX 256               /* with sightings */
#define PEERS_TABLE (2 * PEERS_MAX) /* and those whose loss is still to be told */
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
struct peer {
    char instance[INSTANCE_TEXT];
    struct sighting s[SIGHTINGS_MAX];
    uint32_t n;
    uint16_t port;
    struct txt txt;
    bool ours;
    bool dirty;                     /* look at it in peers_next */
    bool known;                     /* the user was told FOUND, as in `told` */
    struct disc_event told;
};
struct peers {
    struct peer *v[PEERS_TABLE];
    uint32_t n;
    uint32_t turn, victim;          /* where peers_next goes on, and the search for one to turn out: so that all are treated alike */
    void (*drop)(void *arg, void *resolver);    /* called for the open resolver of a sighting that goes */
    void *arg;
};

void peers_release(struct peers *p);            /* without calling drop */
/* The backend sees it. NULL = there is no room, or the name is no instance name. */
struct sighting *peers_see(struct peers *p, const char *instance, struct where w);
/* One that the backend sees and that has no resolver though resolve_at has come, or NULL. */
struct sighting *peers_pending(struct peers *p, int64_t now, const char **instance);
struct sighting *peers_find(struct peers *p, const char *instance, struct where w);
void peers_lose(struct peers *p, const char *instance, struct where w);             /* the backend sees it no longer */
void peers_resolve(struct peers *p, const char *instance, struct where w, const char *addr, uint16_t port, const struct txt *t,
                   bool ours);
void peers_unresolve(struct peers *p, const char *instance, struct where w);        /* there, but it does not answer */
void peers_abandon(struct peers *p, int64_t until);     /* the backend goes, its resolvers with it: drop is not called */
int64_t peers_expire(struct peers *p, int64_t now);     /* ends what was abandoned and is due; returns the next deadline, 0 = none */
bool peers_changed(const struct peers *p);              /* peers_next may have something */
bool peers_next(struct peers *p, struct disc_event *out);
void peers_sweep(struct peers *p);                      /* frees instances without sightings that the user does not know (any more) */

/* Text of an address seen on an interface: link-local IPv6 gets the zone "%ifindex". ERR_BAD for what nobody can be dialled at:
 * unspecified, multicast, broadcast, IPv4 in IPv6, and loopback unless `loopback` (it was seen on such an interface). */
int  addr_text4(char out[static ADDR_TEXT], const struct in_addr *a, bool loopback) MUST_CHECK;
int  addr_text6(char out[static ADDR_TEXT], const struct in6_addr *a, int ifindex, bool loopback) MUST_CHECK;
/* The order in which to dial: IPv4, other IPv6, link-local IPv6; then by text. */
int  addr_cmp(const char *a, const char *b);

#endif

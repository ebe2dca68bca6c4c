/* discovery: finding other nodes on the local network by mDNS / DNS-SD (RFC 6762, 6763), service type _lanyard._tcp.
 *
 * avahi-client is used while avahi-daemon runs (it is noticed when it comes and goes); without it an embedded avahi-core does the
 * same. Either runs in a thread of its own; events come out through a queue and a descriptor to poll. What is found is a hint
 * and nothing more: dial it, and CURVE decides. Names on the network mean nothing: the instance name is random and new at every start.
 *
 * TXT record: "v=1", "p=<port of the vectors' PUB socket>", "t=<16 hex digits>": the tag, the first 8 bytes of BLAKE2b-16(key =
 * K_disc, instance | UTC day as 8 digits YYYYMMDD), by which members recognise their own group and nobody else can; while an
 * invite is open also "j=<two symbols>" (code_hint of pake.h). No group, device, host or user name is ever published (the
 * embedded stack has a random host name; avahi-daemon publishes the machine's, as it does anyway).
 *
 * A service is reported only with v=1, both ports not 0 and an address that can be dialled. When the backend changes, what was
 * found is kept for 20 s for the other one to find it too. At most 256 instances are kept; strangers make room for new ones.
 *
 *   discovery_start -> poll discovery_fd -> discovery_next until false -> ... -> discovery_stop
 * All functions are called by one thread, the loop's. libdbus sets SIGPIPE to be ignored in the whole process. */
#ifndef DISCOVERY_DISCOVERY_H
#define DISCOVERY_DISCOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/limits.h"
#include "proto/err.h"

struct discovery;

struct discovery_config {
    uint16_t port;                  /* of the request socket, published in SRV; 0 = publish nothing, only browse */
    uint16_t pub_port;
    const uint8_t *k_disc;          /* 32 bytes, or NULL: tags are not judged and none is published */
    bool (*allow_interface)(const char *name);  /* NULL = all but loopback; called by the thread, whenever, and after stop too if
                                                   that had to leave the thread behind: look at constant things only */
};

enum disc_backend { DISC_STARTING, DISC_CLIENT, DISC_EMBEDDED, DISC_FAILED };

struct disc_event {
    enum { DISC_FOUND, DISC_LOST } type;         /* FOUND again = its addresses or TXT changed */
    char instance[64];              /* without the service type */
    bool ours;                      /* the tag is of our group (of yesterday, today or tomorrow) */
    char hint[3];                   /* "j", or "" */
    uint16_t port, pub_port;
    uint32_t naddr;
    char addr[LIMIT_ADDRS][64];     /* numeric; IPv4 first, then global IPv6, then link-local as "fe80::1%3" (numeric index) */
};

int  discovery_start(const struct discovery_config *c, struct discovery **out) MUST_CHECK;
void discovery_stop(struct discovery **d);                 /* says goodbye on the network, joins the thread; after 2 s it leaves
                                                              one that waits for D-Bus to end by itself */
int  discovery_fd(const struct discovery *d);              /* an eventfd: readable while events wait */
bool discovery_next(struct discovery *d, struct disc_event *out);   /* own service is never reported */
void discovery_hint(struct discovery *d, const char *hint);/* publish "j=" (two of 0-9, A-Z), NULL = remove it */
/* Which backend is at work, and why the other is not, for `status` and logs. text holds a line. */
enum disc_backend discovery_state(struct discovery *d, char *text, unsigned long size);

#endif

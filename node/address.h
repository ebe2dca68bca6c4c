/* address: "HOST:PORT" as text; IPv6 hosts are in brackets. One address is enough to reach all of a node: it names the request port
 * P, and vectors are at P + 1, joining at P + 2 (node/net.h). */
#ifndef NODE_ADDRESS_H
#define NODE_ADDRESS_H

#include <stdint.h>

#include "proto/limits.h"
#include "proto/err.h"

#define ADDRESS_TEXT 80                    /* with NUL: also an IPv6 address with its zone */

/* "HOST:PORT" -> "HOST:PORT+by". ERR_USAGE when it is no address, or there is no such port. */
int address_port(const char *address, int by, char out[static ADDRESS_TEXT]) MUST_CHECK;
/* A numeric host as discovery tells it ("192.0.2.1", "fe80::1%3") and a port. */
void address_make(const char *host, uint16_t port, char out[static ADDRESS_TEXT]);
/* Where others can dial a node that listens on `listen` (no port 0): itself, or for 0.0.0.0, [::] and * the addresses of all
 * interfaces: loopback only when there is nothing else, link-local never. Returns how many. */
uint32_t address_own(const char *listen, char out[static LIMIT_ADDRS][64]);
/* What an address of somebody else's is good for. USELESS: a name, which would have to be looked up; a wildcard, multicast, broadcast;
 * a link-local address, which needs a zone; an IPv4 address in the disguise of IPv6; no address. */
enum address_kind { ADDRESS_USELESS, ADDRESS_LOOPBACK, ADDRESS_PLAIN };
enum address_kind address_kind(const char *address);

#endif

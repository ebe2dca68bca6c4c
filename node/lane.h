/* lane: a socket that dials one address, and what becomes of its connection. Owned by its user; zero it once. lane_open and lane_close may
 * take turns, but not quickly: libzmq ends a socket some time after it was closed. */
#ifndef NODE_LANE_H
#define NODE_LANE_H

#include "node/net.h"

struct lane { struct loop *loop; void *socket, *monitor; };     /* socket NULL: closed */
/* What is called when a message has come (net_receive), and when something has happened to the connection (lane_event; may be NULL). */
struct lane_calls { loop_fn message, event; void *arg; };
/* A socket of that type (ZMQ_DEALER, ZMQ_SUB), with the keys to dial a node of this group; it is not connected yet. After a failure it is
 * closed. */
int  lane_open(struct lane *l, struct loop *loop, struct net *net, int type, const struct lane_calls *c) MUST_CHECK;
int  lane_connect(struct lane *l, const char *endpoint) MUST_CHECK;
void lane_close(struct lane *l);                                /* closed already is fine */
/* The next event, one of ZMQ_EVENT_HANDSHAKE_SUCCEEDED, _FAILED_AUTH (value: the ZAP code), _FAILED_PROTOCOL and _DISCONNECTED; false when
 * none waits. */
bool lane_event(struct lane *l, uint16_t *what, uint32_t *value);

#endif

/* net: the listening side and everything about CURVE. Three sockets on three consecutive ports:
 *   P      ROUTER  requests of members        server key of the group, ZAP domain "lanyard"
 *   P + 1  PUB     signed vectors             the same
 *   P + 2  ROUTER  joining, open only while an invite is: the public join key, ZAP domain "join"
 * So one address is enough to reach all of a node; P + 2 is reserved from the start.
 *
 * The ZAP handler lives in the loop like everything else and is bound before any other socket exists. It fails closed: every TCP
 * socket has CURVE, a ZAP domain and ZMQ_ZAP_ENFORCE_DOMAIN, without which libzmq lets strangers in when no handler answers. Members
 * get 200 and their device id as User-Id; a stranger's key gets 300 ("not now", since our control log may be behind); a revoked
 * device 400. On the join socket any key is let in and is its own User-Id.
 *
 * The identity of a sender is the User-Id of the last frame of its message, never a routing id. */
#ifndef NODE_NET_H
#define NODE_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "node/loop.h"
#include "proto/group.h"
#include "proto/keys.h"
#include "proto/msg.h"

struct net;

/* Who sent a request, and the way back. */
struct net_from {
    uint8_t route[16]; size_t routelen;
    struct id who;                   /* device id; on the join socket the CURVE key */
    char address[64];                /* numeric IP as seen by us */
};
struct net_ops {
    /* body: NULL when the message had one frame. The callee may zmq_msg_move the body away; otherwise it is closed afterwards. */
    void (*request)(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body);
    void (*join)(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body);
    void *arg;
};
struct net_config {
    struct loop *loop;
    const struct device_keys *keys;
    const struct group_keys *group_keys;
    const struct group *group;
    const char *listen;              /* "ADDR:PORT", IPv6 in brackets; port 0 = any three free ones */
    struct net_ops ops;
};

int  net_new(const struct net_config *c, struct net **out) MUST_CHECK;
void net_free(struct net **n);
void *net_context(struct net *n);
const char *net_address(const struct net *n);       /* "ADDR:PORT" really listened on */
uint16_t net_port(const struct net *n);

/* Sends a reply; the body (may be NULL) is consumed. A reply to somebody who has gone, or who does not read, is dropped: at most
 * NET_WAITING_MAX bytes wait for one device, far more than an honest one has asked for. */
#define NET_WAITING_MAX (64u << 20)
/* Bytes of bodies that wait to be sent, to one device and to all. net_when_sent: once some of them have gone, `fn` is called in the loop,
 * one time (NULL: not any more). Ask for it first and look at the numbers then. */
size_t net_waiting(struct net *n, const struct id *who);
size_t net_waiting_all(const struct net *n);
void net_when_sent(struct net *n, loop_fn fn, void *arg);
void net_reply(struct net *n, const struct net_from *to, const struct msg *m, zmq_msg_t *body);
void net_reply_join(struct net *n, const struct net_from *to, const struct msg *m, zmq_msg_t *body);
/* A vector on PUB. */
void net_publish(struct net *n, const void *blob, size_t len);
/* Somebody may not connect any more: all connections to our sockets end soon after, and whoever may comes back by itself. (libzmq
 * cannot end a single one.) */
void net_shake_off(struct net *n);
int  net_join_open(struct net *n) MUST_CHECK;       /* already open is fine */
void net_join_close(struct net *n);

/* Options that every TCP socket gets; client sockets also get the keys to dial a node of this group. */
int  net_socket_common(void *socket) MUST_CHECK;
int  net_socket_dial(struct net *n, void *socket) MUST_CHECK;
/* Topic of this group's vectors: "v1" and 8 bytes. */
#define NET_TOPIC 10
void net_topic(const struct net *n, uint8_t topic[static NET_TOPIC]);
/* Receives one whole message of at most two frames into head and body (initialised; body has_body). Longer ones are drained and
 * refused. 1 = a message, 0 = none waiting, ERR_BAD = a refused one. With `route` the first frame goes there. */
int  net_receive(void *socket, zmq_msg_t *route, zmq_msg_t *head, zmq_msg_t *body, bool *has_body) MUST_CHECK;
/* Whether a message of that head may have that body, or none. */
int  net_check_body(const struct msg *m, zmq_msg_t *body, bool has_body) MUST_CHECK;
/* A body that takes over memory from malloc without a copy. */
void net_body_take(zmq_msg_t *body, void *data, size_t len);
void net_body_of(zmq_msg_t *body, struct buf *from);            /* the same with what is in `from`, which is empty then */

#endif

/* net_priv: what net.c and net_zap.c share. */
#ifndef NODE_NET_PRIV_H
#define NODE_NET_PRIV_H

#include "node/net.h"

/* Bytes of bodies that wait to be sent: to a device, over all connections of it, and to all. Threads of libzmq count them down, and wake
 * the loop if it has asked to be told. */
struct debts { _Atomic size_t bytes; _Atomic bool tell; int fd; loop_fn fn; void *arg; };
struct debt { struct debts *all; struct id who; _Atomic size_t bytes; };

struct net {
    struct net_config c;
    void *zmq, *zap, *router, *pub, *join;   /* router and pub NULL: for a moment in net_shake_off */
    char host[64];
    char address[80];
    uint16_t port;
    struct loop_timer keep_timer, shake_timer;
    struct debts debts; struct debt **debt; size_t ndebt;
    int reserved;                    /* a bound, not listening socket that keeps P + 2 */
};

int  net_send_start(struct net *n) MUST_CHECK;
void net_send_release(struct net *n);
void net_zap_serve(void *net);       /* answers all waiting questions of libzmq; a loop_fn */

#endif

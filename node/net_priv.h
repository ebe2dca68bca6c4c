/* net_priv: what net.c and net_zap.c share. */
#ifndef NODE_NET_PRIV_H
#define NODE_NET_PRIV_H

#include "node/net.h"

struct net {
    struct net_config c;
    void *zmq, *zap, *router, *pub, *join;
    char host[64];
    char address[80];
    uint16_t port;
    struct loop_timer keep_timer;
    int reserved;                    /* a bound, not listening socket that keeps P + 2 */
};

void net_zap_serve(void *net);       /* answers all waiting questions of libzmq; a loop_fn */

#endif

#include "node/lane.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* By a random name: libzmq gives that of a socket that was closed free some time after that. */
static int watch(struct lane *l, void *zmq, const struct lane_calls *c)
{
    char ep[64];
    snprintf(ep, sizeof ep, "inproc://lane-%08x%08x", randombytes_random(), randombytes_random());
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                 ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(l->socket, ep, events) || !(l->monitor = zmq_socket(zmq, ZMQ_PAIR)) || zmq_connect(l->monitor, ep))
        return err_set(ERR_IO, "network: connection events: %s", zmq_strerror(errno));
    loop_add_socket(l->loop, l->monitor, c->event, c->arg);
    return 0;
}

int lane_open(struct lane *l, struct loop *loop, struct net *net, int type, const struct lane_calls *c)
{
    *l = (struct lane){.loop = loop, .socket = zmq_socket(net_context(net), type)};
    if (!l->socket)
        return err_set(ERR_IO, "network: cannot make a socket: %s", zmq_strerror(errno));
    loop_add_socket(loop, l->socket, c->message, c->arg);
    int r = net_socket_dial(net, l->socket);
    if (r == 0 && c->event)
        r = watch(l, net_context(net), c);
    if (r < 0)
        lane_close(l);
    return r;
}

int lane_connect(struct lane *l, const char *endpoint)
{
    loop_touched(l->loop, l->socket);
    return zmq_connect(l->socket, endpoint) ? err_set(ERR_USAGE, "address %s: %s", endpoint, zmq_strerror(errno)) : 0;
}

void lane_close(struct lane *l)
{
    if (l->monitor)
        zmq_socket_monitor(l->socket, NULL, 0);
    void *all[] = {l->monitor, l->socket};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]) {
            loop_del_socket(l->loop, all[i]);
            zmq_close(all[i]);
        }
    l->monitor = l->socket = NULL;
}

bool lane_event(struct lane *l, uint16_t *what, uint32_t *value)
{
    uint8_t event[6];
    int n = l->monitor ? zmq_recv(l->monitor, event, sizeof event, ZMQ_DONTWAIT) : -1;
    if (n < 0)
        return false;
    zmq_recv(l->monitor, NULL, 0, 0);                       /* the endpoint */
    *what = 0;
    if (n == sizeof event) {
        memcpy(what, event, sizeof *what);
        memcpy(value, event + 2, sizeof *value);
    }
    return true;
}

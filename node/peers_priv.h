/* peers, the inside: the addresses, the devices behind them, and which links are wished for (peers_wish.c). */
#ifndef NODE_PEERS_PRIV_H
#define NODE_PEERS_PRIV_H

#include "node/peers.h"

struct address {
    char text[80];
    unsigned sources;
    struct id dev;              /* who answered there last; none = nobody yet */
    bool self;                  /* that is this node */
    bool twin;                  /* that was another one with our keys */
    bool revoked;               /* that was a device that is revoked, and has been told */
    uint64_t due, pause;
    bool failed;                /* nobody answered there when it was dialled last */
    bool room;                  /* it is being dialled, by WISH_ROOM */
    struct link *link;
};
struct device {
    struct id dev;
    struct link *link;
    uint64_t up;                /* since when, loop_now */
    uint64_t last_seen_ms;
    char address[80]; unsigned sources;
    char heard[80];             /* from where its last greeting came; "" = none that could be dialled */
    uint32_t nhint; char hint[LIMIT_ADDRS][64];   /* from its card */
};

struct peers {
    struct peers_config c;
    struct link_config link_config;
    struct address **addr; size_t naddr;
    struct device *dev; size_t ndev;
    size_t dialling;
    size_t room;                /* dials of WISH_ROOM until room_due */
    uint64_t room_due;
    size_t rooms, unwished;     /* of them under way; links that such ones became and that go again, when that was counted last */
    size_t first;               /* of addr, to be looked at next */
    struct loop_timer tick;
    bool paused;
};

struct address *peers_by_link(const struct peers *p, const struct link *l);
struct device *peers_device(const struct peers *p, const struct id *dev);       /* NULL: nothing is known of it */
bool peers_hinted(const struct device *d, const char *text);                    /* that address stands on its card */
void peers_wake(struct peers *p);                   /* something has changed: there may be somebody to dial */
size_t peers_unwished(const struct peers *p);       /* links that stay for a moment only */
enum peer_wish peers_wish_at(const struct peers *p, const struct address *a);

#endif

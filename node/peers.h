/* peers: addresses and the devices behind them. Addresses come from everywhere (mDNS, --peer, the cache, address cards, a
 * greeting that reached us) and prove nothing; each is dialled with a growing pause until a device of the group answers. One link a device
 * is kept; other addresses of a device that is linked wait until it is gone. */
#ifndef NODE_PEERS_H
#define NODE_PEERS_H

#include "node/link.h"

struct peers;

enum addr_source { ADDR_STATIC = 1, ADDR_MDNS = 2, ADDR_HEARD = 4, ADDR_CACHE = 8, ADDR_CARD = 16 };  /* a set of bits */

enum peer_wish { WISH_NONE, WISH_ROOM, WISH_LINK };     /* none; without haste, to see who is there; by all means */

struct peers_ops {
    void (*hello)(void *arg, struct msg_hello *h);
    /* A node with our own device's keys answered: whether it is this very one. */
    bool (*self)(void *arg, const struct msg_hello *h);
    void (*up)(void *arg, const struct id *dev, struct link *l, const struct msg_hello *h);
    void (*down)(void *arg, const struct id *dev);
    void (*stranger)(void *arg, struct link *l);
    void (*revoked)(void *arg, struct link *l, bool self);      /* as in link.h; may be NULL */
    void (*vector)(void *arg, struct link *l, const void *blob, size_t len);
    void (*published)(void *arg, struct link *l, uint64_t ctr);                 /* as in link.h */
    /* Whether there is to be a link to that device, when nobody but us asks for it; NULL: to every one. A device NULL: of which nothing is
     * known; WISH_LINK for it means to every one, too. */
    enum peer_wish (*wish)(void *arg, const struct id *dev);
    bool (*gather)(void *arg, loop_fn fn, void *fn_arg);                        /* peers_gather; NULL: who can be linked is */
    void *arg;
};
struct peers_config {
    struct loop *loop; struct net *net; const struct device_keys *keys; const struct group *group; struct peers_ops ops;
    uint64_t stay_ms;               /* how long a link that is not wished for stays; 0: 10 s */
};

int  peers_new(const struct peers_config *c, struct peers **out) MUST_CHECK;
void peers_free(struct peers **p);
void peers_add(struct peers *p, const char *address, enum addr_source source);
void peers_remove(struct peers *p, const char *address, enum addr_source source);
/* A greeting of `dev` reached our listening socket from that address: dial back, at once if it is a new start of it. */
void peers_heard(struct peers *p, const struct id *dev, const uint8_t inst[static 8], const char *ip, uint16_t port);
/* Where a card of `dev` says that it can be dialled, in place of what the one before said; n = 0: nowhere. At most LIMIT_ADDRS. Only while
 * `dev` is not linked, and, when nothing else speaks for an address, with pauses that grow longer than others. */
void peers_hint(struct peers *p, const struct id *dev, uint32_t n, char (*addr)[64]);
void peers_pause(struct peers *p, bool paused);            /* paused: all links end and none is made */
/* Links to devices that are members no more, or revoked, end; but `last_word` is called first with one that is up: when it returns true the link
 * lives until its owner kills it. It is no longer that device's link for anybody else. */
void peers_expel(struct peers *p, bool (*last_word)(void *arg, struct link *l), void *arg);
struct link *peers_link(const struct peers *p, const struct id *dev);   /* NULL when not online */

/* True: calls back, not from within, once all who are online are linked as far as they can be, or after PEERS_GATHER_MS. False: they are. */
#define PEERS_GATHER_MS 3000
bool peers_gather(struct peers *p, loop_fn fn, void *arg);
/* What ops.wish says may have changed: links that are not wished for end some time after they came up, unless contents
 * are coming in over them; those that are are dialled. To a device
 * that somebody named by its address (ADDR_STATIC) the link stays. */
void peers_review(struct peers *p);
bool peers_reachable(const struct peers *p, const struct id *dev);     /* linked; or it has an address that did not fail when last dialled */

struct peer_info { bool online; const char *address; enum addr_source source; uint64_t last_seen_ms; /* time of day; 0 = never */ };
void peers_info(const struct peers *p, const struct id *dev, struct peer_info *out);
size_t peers_online(const struct peers *p);

#endif

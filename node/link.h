/* link: a connection that this node dials: to one address, at which some device of the group answers. It has three sockets: DEALER
 * for control, DEALER for bulk (a vector never waits behind a block), SUB for the device's vectors. That for bulk is there while it is
 * used: the first request opens it, and a minute without any closes it. A peer that leaves a PING without an answer is gone, unless
 * something else has come from it meanwhile.
 *
 *   DIALLING --handshake--> GREETING --HELLO_OK verified--> UP --silence, disconnect--> DEAD
 *                 \------------ refused, time-out ----------------------------------------^
 * Who answers is known only at UP: HELLO_OK is signed by the device over both transport keys and both nonces, so no member can
 * pose as another and no recording can be played again. DEAD is reported once (ops.down); its owner frees the link and may dial
 * again with a new one.
 *
 * Requests: link_request gives the message a number and calls back exactly once: with the reply, or with NULL after the
 * time-out or when the link dies. Replies that nobody waits for are dropped. */
#ifndef NODE_LINK_H
#define NODE_LINK_H

#include "node/net.h"

struct link;
enum link_state { LINK_DIALLING, LINK_GREETING, LINK_UP, LINK_DEAD };

/* What HELLO and HELLO_OK say about ourselves is filled in by the owner at the time of sending. */
struct link_ops {
    void (*hello)(void *arg, struct msg_hello *h);          /* all but nonce and sig */
    bool (*up)(void *arg, struct link *l, const struct msg_hello *h);  /* false = not wanted (ourselves, a second way): becomes DEAD */
    /* A device that the control log does not name answered, with the group's server key: perhaps our log is behind. The link stays
     * in GREETING for requests of control records, which prove themselves; the owner kills it then. */
    void (*stranger)(void *arg, struct link *l);
    /* A revoked device answered, or (`self`) the other side refuses us as one. The link stays as with a stranger, so that the device can
     * be told; with `self` it ends by itself. May be NULL. */
    void (*revoked)(void *arg, struct link *l, bool self);
    void (*down)(void *arg, struct link *l, const char *why);
    void (*vector)(void *arg, struct link *l, const void *blob, size_t len);
    void (*published)(void *arg, struct link *l, uint64_t ctr);       /* it has published its vector number ctr, which may have got lost */
    void *arg;
};
struct link_config {
    struct loop *loop;
    struct net *net;
    const struct device_keys *keys;
    const struct group *group;
    uint64_t bulk_idle_ms, ping_timeout_ms;   /* 0: a minute, 10 s */
    struct link_ops ops;
};

/* address "HOST:PORT" of the peer's request socket. The config is borrowed. */
int  link_dial(const struct link_config *c, const char *address, struct link **out) MUST_CHECK;
void link_free(struct link **l);                            /* pending requests are called back with NULL first */
enum link_state link_state(const struct link *l);
const char *link_address(const struct link *l);
const struct id *link_device(const struct link *l);         /* once UP */
const uint8_t *link_inst(const struct link *l);             /* 8 bytes: which start of it */

typedef void (*link_reply_fn)(void *arg, const struct msg *reply, zmq_msg_t *body);  /* reply NULL = none will come */
enum link_lane { LANE_CONTROL, LANE_BULK };
/* m->req is set here. link_request_body: for types that have a body, which is copied. */
void link_request(struct link *l, enum link_lane lane, struct msg *m, uint64_t timeout_ms, link_reply_fn fn, void *arg);
void link_request_body(struct link *l, enum link_lane lane, struct msg *m, const struct buf *body, uint64_t timeout_ms, link_reply_fn fn,
                       void *arg);
bool link_busy(const struct link *l);                       /* something that was asked for on LANE_BULK is under way */
/* Drops the link as if the peer had gone (a wrong answer, a new start of it that was heard of elsewhere). */
void link_kill(struct link *l, const char *why);

#endif

/* inviter: the side of joining that is inside: invites of a running node, and the exchange with whoever comes with a code.
 *
 *   inviter_invite -> code; join socket opens -> JOIN1 -> JOIN2 -> JOIN3 -> the control log grows by one ADD -> JOIN4
 *
 * An invite is   OPEN --right JOIN3--> USED,   OPEN --its time is over--> EXPIRED,   OPEN --5 tries--> BURNED (takes no more JOIN1)
 * A try is counted at JOIN1, since the JOIN2 that answers it lets the asker test one guess. JOIN1 names the invite by its hint
 * (code_hint): one that fits no open invite is refused and costs nobody anything. Each try keeps an exchange of its own until the
 * invite ends; JOIN3 finds it by the CURVE key of the joiner, which is also what the exchange is bound to.
 * The join socket stays open, and refused ones are told why, until the time of the last invite is over, used or not.
 *
 * Errors that a joiner can cause are answered with ERR and change nothing else. */
#ifndef NODE_INVITER_H
#define NODE_INVITER_H

#include "node/net.h"
#include "node/pool.h"
#include "proto/pake.h"
#include "store/control.h"

#define INVITES 8                          /* open at once */
#define INVITE_TRIES 5
#define INVITE_TTL_MAX_S (7u * 24 * 3600)

struct inviter;

struct inviter_ops {
    void (*joined)(void *arg, uint64_t invite, const struct id *dev, const char *name);   /* JOIN4 has been sent */
    void (*ended)(void *arg, uint64_t invite, const char *why);       /* expired, or burned and over, without anybody having joined */
    void (*appended)(void *arg);                                      /* the control log has grown, group state is new */
    void (*hint)(void *arg, const char *hint);                        /* to announce; NULL: no invite is open. May be NULL */
    void *arg;
};
struct inviter_config {
    struct loop *loop;
    struct pool *pool;
    struct net *net;
    const struct device_keys *keys;
    const struct group_keys *group_keys;
    struct control *control;
    struct inviter_ops ops;
};

int  inviter_new(const struct inviter_config *c, struct inviter **out) MUST_CHECK;
/* Ends all invites without calling ops.ended. Comes before the net and the pool are freed. */
void inviter_free(struct inviter **i);
/* A new invite, for `ttl_s` seconds, with a number for ops. The code can be used as soon as it has been stretched in the pool, which
 * is over before anybody has typed it; who is faster is told to try again. ERR_DENIED when our own role does not allow it,
 * ERR_USAGE for a bad ttl, ERR_FULL when INVITES are open, ERR_IO when the join socket cannot be opened. */
int  inviter_invite(struct inviter *i, enum role role, uint64_t ttl_s, char code[static CODE_TEXT], uint64_t *invite) MUST_CHECK;
/* For net_ops.join: anything that came to the join socket. */
void inviter_message(struct inviter *i, const struct net_from *from, const struct msg *m, zmq_msg_t *body);

#endif

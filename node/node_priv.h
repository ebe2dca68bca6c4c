/* node_priv: what node.c, self.c, greet.c and main.c share. */
#ifndef NODE_NODE_PRIV_H
#define NODE_NODE_PRIV_H

#include "node/node.h"

struct node_options {
    const char *listen;              /* NULL = the config's */
    bool no_mdns;
    const char *const *peer; size_t npeer;
};
int  node_new(const char *home, const struct node_options *o, struct node **out) MUST_CHECK;
int  node_run(struct node *n, bool *restart) MUST_CHECK;
void node_free(struct node **n);

/* One of the texts of struct node that make the state an error; NULL ends it. Both are logged, and told as events. */
void node_set_error(struct node *n, char *to, size_t size, const char *text);

/* self.c: who this node is. */
int  self_start(struct node *n) MUST_CHECK;       /* the folder has been opened, and nothing in it looked at */
void self_end(struct node *n);                    /* a clean end */
void self_tick(struct node *n);
void self_tell_forks(struct node *n);             /* proofs that somebody lacks */
void self_serve_fork(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body);
bool self_greeted(void *node, const struct msg_hello *h);   /* by a node with our keys: whether it is this very one */

/* greet.c: the network side: sockets, peers, the inviter, and what members ask and say. */
int  greet_start(struct node *n, const char *listen) MUST_CHECK;
void greet_free(struct node *n);      /* after the peers */
void greet_retry(struct node *n);     /* change sets that were refused may be good now: another clock, a longer control log */
/* What is known of a device is remembered for the next start, under a word of ours. */
void greet_remember(struct node *n, const char *word, const struct id *dev, const void *v, size_t len);
int  greet_recall(struct node *n, const char *word, const struct id *dev, struct buf *v) MUST_CHECK;   /* ERR_NOTFOUND */

/* control_sync.c: the control log: asked for, handed out, written, and what follows. */
void control_ask(struct node *n, struct link *l, bool stranger);      /* for what we lack; a stranger's link ends with the answer */
/* Up to where that device has the control log, and the hash of its last record. */
void control_heard(struct node *n, struct link *l, uint64_t ctl_n, const struct id *tip);
void control_serve(struct node *n, const struct net_from *from, const struct msg *m);
void control_told(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body);   /* records that were not asked for */
void control_revoked(struct node *n, struct link *l, bool self);      /* link.h: revoked */
void control_start(struct node *n);                                   /* sees to what a crash left undone */
void control_cuts(struct node *n);                                    /* engine_cuts; when it failed: again, while n->cuts_due */
void control_open_key(struct node *n);                                /* control_keys.c: the key of the epoch in force; state error without */
void control_renew_key(struct node *n);                               /* control_keys.c: if it is due, and this device's part */
void control_look_at_self(struct node *n);                            /* state error while this device does not belong to the group */
/* Signs a record with these operations, as this device, and appends it. As group_apply and control_append. */
int  control_issue(struct node *n, const struct ctl_op *op, size_t nop) MUST_CHECK;
/* The same with other keys than this device's: those of the group's recovery. */
int  control_issue_as(struct node *n, const struct device_keys *k, const struct ctl_op *op, size_t nop) MUST_CHECK;

/* node_keeper.c: when the history may be looked after. */
int  node_keeper_start(struct node *n) MUST_CHECK;
void node_keeper_tick(struct node *n, bool idle);

/* greet_pex.c: address cards: which are told to whom, and when. */
void greet_pex_start(struct node *n);
void greet_pex_free(struct node *n);
void greet_pex_up(struct node *n, const struct id *dev);       /* a device has come: both tell each other what they hold */
void greet_pex_ask_all(struct node *n);                        /* the control log has grown: what was passed over may be good now */
void greet_pex_serve(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body);

/* audit.c: who knows the same as a peer shows the same; else its live state is gone through. */
void audit_poll(struct node *n);      /* a vector has come, or some time has passed */
void audit_free(struct node *n);
void audit_serve(struct node *n, const struct net_from *from, const struct msg *m);

#endif

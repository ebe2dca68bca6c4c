/* node_priv: what node.c, greet.c and main.c share. */
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

/* greet.c: the network side: sockets, peers, the inviter, and what members ask and say. */
int  greet_start(struct node *n, const char *listen) MUST_CHECK;
void greet_retry(struct node *n);     /* change sets that were refused may be good now: another clock, a longer control log */

#endif

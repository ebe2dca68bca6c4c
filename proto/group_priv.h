/* group_priv: what group.c needs of group_require.c and group_policy.c. */
#ifndef PROTO_GROUP_PRIV_H
#define PROTO_GROUP_PRIV_H

#include "proto/group.h"

void requirements_share(struct group *g);       /* g is a copy of another group: both hold them now */
void requirements_drop(struct group *g);
int  requirement_add(struct group *g, const struct ctl *c, const struct ctl_op *op) MUST_CHECK;     /* ERR_BAD: there is one with its id */
void requirement_cancel(struct group *g, const struct ctl *c, const uint8_t id[static 16]);

void policies_share(struct group *g);
void policies_drop(struct group *g);
int  policies_set(struct group *g, const struct ctl_op *op) MUST_CHECK;        /* ERR_FULL */
bool policies_are(const struct group *g, const struct ctl_op *op);             /* so already */

#endif

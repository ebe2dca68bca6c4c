/* group: who belongs to a group and as what: a pure function of the genesis and the control log.
 *
 *   group_init(&g, genesis blob); group_apply(&g, record 1); group_apply(&g, record 2); ...
 * Members are never removed from the list (their entries stay verifiable); revoked ones are marked. */
#ifndef PROTO_GROUP_H
#define PROTO_GROUP_H

#include <stdbool.h>

#include "proto/record.h"

struct member { struct card card; enum role role; bool revoked; uint64_t added_ms; uint64_t added_n; };
struct group {
    struct id id;
    struct member *member; size_t nmember;
    uint64_t ctl_n;          /* last record applied; 0 = only the genesis */
    struct id ctl_hash;      /* its hash; the group id when ctl_n = 0 */
};
int  group_init(struct group *g, const void *genesis, size_t len) MUST_CHECK;
void group_release(struct group *g);
/* Applies record ctl_n + 1. ERR_AGAIN when it comes later than that, ERR_EXISTS when it is the one we have, ERR_BAD when it does
 * not continue the chain, ERR_DENIED when its signer may not do that. On failure g is unchanged. */
int  group_apply(struct group *g, const struct ctl *c) MUST_CHECK;
const struct member *group_find(const struct group *g, const struct id *dev);           /* also revoked ones */
const struct member *group_by_transport(const struct group *g, const uint8_t tr_pk[static 32]);
const struct member *group_by_name(const struct group *g, const char *name);            /* by name or a unique id prefix (hex) */
bool role_may_admin(enum role r);
bool role_may_write(enum role r);

#endif

/* lost: what was in records of ours that are about to lose, or have lost, against a chain that weighs more. Kept in a file (HOME/control.lost,
 * a list of CTL blobs) before the chain is switched, so that no crash forgets it; afterwards what this device signed is signed
 * again, one record an operation, if it is not so already and still allowed. What the chain that lost has undone itself stays undone: who
 * was added and revoked, what was required and cancelled. Whatever is not signed again is reported, also what others signed who may not
 * any more; what those signed who may, their own nodes see to.
 *
 *   lost_keep(from); control_switch; lost_issue; and lost_issue at every start */
#ifndef NODE_LOST_H
#define NODE_LOST_H

#include "proto/keys.h"
#include "store/control.h"

struct lost {
    struct control *control;
    const struct device_keys *keys;
    const struct group_keys *group_keys;     /* in force, sealed to who is added again; NULL: he keeps what he was given */
    const char *path;
    void (*report)(void *arg, const struct ctl *record, const struct ctl_op *op, const char *why);
    void *arg;
};
int lost_keep(const struct lost *l, uint64_t from) MUST_CHECK;
/* How many operations were signed. When the disk fails the file stays, for the next time. */
int lost_issue(const struct lost *l, uint64_t now_ms) MUST_CHECK;

#endif

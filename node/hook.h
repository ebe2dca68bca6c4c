/* hook: programs of the user's that are run when something happens: the executables HOME/hooks/on-lock, on-unlock, on-conflict, on-join
 * and on-error.
 *
 * A hook is run without a shell and without arguments, in a process group of its own, in the home directory, with the facts in its
 * environment (LANYARD_EVENT, LANYARD_HOME, LANYARD_FOLDER, LANYARD_DEVICE, LANYARD_TIME, and what the event says: LANYARD_BY,
 * LANYARD_MESSAGE, LANYARD_REASON, LANYARD_NAME, LANYARD_PATH). The facts are the words of others: a script has to quote them. Its input
 * is empty, its output becomes lines of the log, and no other descriptor of ours is open in it. Of each kind one runs at a time, the
 * others wait, at most HOOK_QUEUE; after a time its group is killed. The loop never waits for it.
 *
 * Notifications on the desktop are run the same way, by a program of ours; only a lock and its end are such.
 *
 * A hook has to be a regular file of the user whose node this is, which nobody else can write to, and so has the directory it is in;
 * else it is not run, and the log says why. */
#ifndef NODE_HOOK_H
#define NODE_HOOK_H

#include "node/loop.h"

#define HOOK_QUEUE 100

struct hooks;
struct hooks *hooks_new(struct loop *l, const char *home, uint64_t limit_ms);      /* l and home are borrowed; how long one may run */
void hooks_free(struct hooks **h);                                 /* kills those that run */
/* For the event of that name (node_event); one without a hook is none's business. `facts` are "NAME=VALUE", the last one NULL; copied. */
void hooks_notify(struct hooks *h, const char *event, const char *const *facts);   /* the same for the desktop (notify.h) */
void hooks_run(struct hooks *h, const char *event, const char *const *facts);

#endif

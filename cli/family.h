/* family: the processes that a process has started, and those that they have started, as /proc shows them at the moment. Whoever has
 * outlived his parent belongs to the nearest ancestor that is a subreaper (prctl(2)), else to nobody here.
 *
 * It is a look, no lock: those that are not stopped may have started others when it returns. Processes that have ended and wait for
 * their parent are left out. */
#ifndef CLI_FAMILY_H
#define CLI_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct relative { pid_t pid, parent, group; };
struct family { struct relative *v; size_t n; };    /* parents before their children */

/* All descendants of root but `without` and its own; empty when /proc cannot be read. */
struct family family_of(pid_t root, pid_t without);
void family_release(struct family *f);
/* It is stopped, or has ended: it does nothing more by itself. */
bool family_rests(pid_t pid);

#endif

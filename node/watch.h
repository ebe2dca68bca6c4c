/* watch: notices changes in the folder as they happen, by inotify on its directories. What it reports are hints: "look there".
 * Moves, floods (IN_Q_OVERFLOW) and watch limits are handled so that at worst the answer is "look everywhere".
 *
 * watch_add may be called by the worker that walks, before it reads the directory, so that nothing made in between is missed; the
 * watch descriptor it returns is given to watch_bind in the loop. Everything else belongs to the loop thread. */
#ifndef NODE_WATCH_H
#define NODE_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "node/loop.h"

struct watch;
struct watch_ops {
    /* deep: a directory that came from elsewhere: everything in it is new. path "" and deep: look everywhere. */
    void (*changed)(void *arg, const char *path, size_t len, bool deep);
    void *arg;
};
int  watch_new(struct loop *l, const char *root, const struct watch_ops *ops, struct watch **out) MUST_CHECK;
void watch_free(struct watch **w);
/* Watches a directory (path relative to the root, "" = root). Returns its descriptor (>= 0), ERR_FULL when the limit of the system is
 * reached, ERR_NOTFOUND when it is no longer a directory, ERR_IO. Thread-safe. */
int  watch_add(struct watch *w, const char *path, size_t len) MUST_CHECK;
void watch_bind(struct watch *w, int wd, const char *path, size_t len);
size_t watch_count(const struct watch *w);
/* Handles what the kernel has queued by now. */
void watch_drain(struct watch *w);

#endif

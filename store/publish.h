/* publish: a new file of the node's home is there complete, or not at all. It is written under another name and published under its own;
 * whoever finds the name finds the whole file, whenever the power went. Directories that are made here last as well. */
#ifndef STORE_PUBLISH_H
#define STORE_PUBLISH_H

#include <stdbool.h>
#include <sys/types.h>

#include "proto/err.h"

/* Makes `tmp` durable and gives it the name `path` in the same directory, durably. ERR_EXISTS when `path` is there already: it is
 * never replaced. On failure tmp is removed. */
int publish(const char *tmp, const char *path) MUST_CHECK;
/* The same in the place of a file that is there. *placed: it has the name now, though perhaps not durably when that failed. */
int publish_over(const char *tmp, const char *path, bool *placed) MUST_CHECK;
/* Makes it durable that `path` is in its directory, or is not any more. */
int publish_name(const char *path) MUST_CHECK;
/* Makes a directory and those above it that are missing, each durable in the one above it. */
int publish_dirs(const char *path, mode_t mode) MUST_CHECK;

#endif

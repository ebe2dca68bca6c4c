/* file: small files of the node's home, read and written whole. A file that is written is complete and durable under its name, or
 * the name is as before: temporary name PATH.new, fsync, rename, fsync of the directory. */
#ifndef NODE_FILE_H
#define NODE_FILE_H

#include <sys/types.h>

#include "proto/buf.h"

/* Appends the whole file to *out and tells its permission bits (mode may be NULL). ERR_NOTFOUND, ERR_FULL beyond out->max, ERR_IO.
 * When `secret`, room for out->max bytes is taken at once, so that no copy stays behind in freed memory: file_wipe afterwards. */
int  file_read(const char *path, bool secret, struct buf *out, mode_t *mode) MUST_CHECK;
int  file_create(const char *path, const void *data, size_t len, mode_t mode) MUST_CHECK;    /* ERR_EXISTS */
int  file_replace(const char *path, const void *data, size_t len, mode_t mode) MUST_CHECK;   /* whether it is there or not */
/* As file_replace, but nothing is flushed: after a power cut it may be missing or empty. For what is written again at every start. */
int  file_show(const char *path, const void *data, size_t len, mode_t mode) MUST_CHECK;
/* buf_release of a buffer that held secrets. */
void file_wipe(struct buf *b);
/* "DIR/NAME", to be freed. */
char *file_in(const char *dir, const char *name);

#endif

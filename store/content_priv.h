/* content_priv: what content.c and content_read.c share. */
#ifndef STORE_CONTENT_PRIV_H
#define STORE_CONTENT_PRIV_H

#include <sys/types.h>

#include "store/content.h"

/* errno of a read or write as a code, with the place. */
int content_io_error(const char *what, uint64_t off);
/* Reads until len bytes or the end of the file: the number of bytes, or ERR_IO. */
ssize_t content_read_at(int fd, uint8_t *p, size_t len, uint64_t off);
/* Where the hole at off ends, at data or with the file. off itself: there is none, or the file system cannot say. */
uint64_t content_hole_end(int fd, uint64_t off);

#endif

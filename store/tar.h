/* tar: the frame of a POSIX archive (pax interchange format, IEEE Std 1003.1), piece by piece into a buffer: what a ustar header cannot
 * say (names of more than 100 bytes or beyond ASCII, sizes from 8 GiB, fractions of a second, times before 1970) goes into an
 * extended header before it. Owner and group are 0, as in other archives that are made from no disk.
 *
 *   for each item: tar_header, the content of a file, tar_pad of its size
 *   tar_end */
#ifndef STORE_TAR_H
#define STORE_TAR_H

#include "proto/buf.h"
#include "proto/mp.h"

enum tar_type { TAR_FILE = '0', TAR_SYMLINK = '2', TAR_DIR = '5' };
struct tar_item {
    enum tar_type type;
    const char *path; size_t len;    /* relative, no '/' at its end */
    uint32_t mode;                   /* permission bits */
    uint64_t size;                   /* of a file */
    int64_t mtime_ns;
    struct bytes target;             /* of a symlink */
};
#define TAR_BLOCK 512u
/* At most this many bytes for an item: two blocks, and a path, a target and two numbers rounded up. */
#define TAR_HEADER_MAX (2 * TAR_BLOCK + 4096u + 4096u + 2 * TAR_BLOCK)

void tar_header(struct buf *out, const struct tar_item *t);
void tar_pad(struct buf *out, uint64_t size);      /* zeroes up to the end of a block */
void tar_end(struct buf *out);

#endif

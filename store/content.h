/* content: reading a whole file into its content record and block list; copying and verifying blocks. All functions run in
 * worker threads: own descriptors, own buffers, no SQLite. */
#ifndef STORE_CONTENT_H
#define STORE_CONTENT_H

#include "proto/block.h"
#include "proto/buf.h"
#include "proto/record.h"
#include "store/chunk.h"
#include "store/stamp.h"

struct content_list {
    enum content_type type;
    uint8_t class;
    uint32_t nblocks;
    struct id root;
    uint64_t size;
    const uint8_t *inline_bytes; size_t inline_len;   /* owned; a file has at most LIMIT_INLINE of them */
    uint8_t *refs;                /* nblocks * BLOCK_REF bytes when nblocks >= 2, else NULL; owned */
};
void content_list_release(struct content_list *c);
/* The content that is so short that it is told itself; its bytes are copied. */
struct content_list content_list_inline(const void *bytes, size_t len);

/* Reads fd from start to end (pread, sequential advice, one read per byte), chunks and hashes it. ERR_CHANGED when the size differs
 * from `size` on the way. previous_class as in chunk_class_of. `stop` may be set by another thread to give up (ERR_CLOSED).
 * Large holes are not read: blocks of zeros are all alike. Only where the file system is known to say exactly where they are. */
int content_read(int fd, uint64_t size, const struct gear *g, int previous_class, const _Atomic bool *stop,
                 struct content_list *out) MUST_CHECK;

/* Reads len bytes at off and checks that they are block `id`: 0, ERR_CORRUPT when they are not, ERR_IO. buf has room for len. */
int content_block(int fd, uint64_t off, uint32_t len, const struct id *id, uint8_t *buf) MUST_CHECK;

/* The same for several, of one file or of many: they are hashed side by side (proto/lanes.h). Of each, buf has room for len, and code says
 * what content_block would return; there is no text to it. */
struct block_read { int fd; uint64_t off; uint32_t len; struct id id; uint8_t *buf; int code; };
void content_blocks(struct block_read *b, size_t n);

/* The id of a block of so many zeros. */
struct id content_zeros(uint32_t len);

/* Copies a whole file of known content from fd into out_fd, verifying every block on the way: a reflink (FICLONE) first when the
 * file system can, else reads and writes; holes stay holes, and are not read. out_fd then has exactly the content (on failure anything). refs as in content_list
 * (NULL for one block or inline: then root is the block id). */
int content_copy(int fd, int out_fd, const struct content_list *c) MUST_CHECK;

/* Which blocks of the list are already in fd at their place (an unfinished download after a restart): bit i%8 of byte i/8 says
 * so, the others are cleared. Holes are not read. */
int content_have(int fd, const uint8_t *refs, uint32_t nblocks, const struct id *root, uint64_t size, uint8_t *bitmap) MUST_CHECK;

#endif

/* block: block lists. A file of n >= 2 blocks is described by n references of 36 bytes: block id (32) | length (u32 LE), in
 * order. The list is cut into leaves of LIMIT_TREE_LEAF references (the last may be shorter).
 *   leaf hash = BLAKE2b-256(0x02 | references), root = BLAKE2b-256(0x03 | n (u32 LE) | leaf hashes)
 * both with the personalisation "lanyard-blocks-1", so that no file's bytes can pose as a list.
 * A file of one block has the block's id as its root and no list. */
#ifndef PROTO_BLOCK_H
#define PROTO_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/id.h"

#define BLOCK_REF 36
struct block_ref { struct id id; uint32_t len; };

void block_ref_put(uint8_t out[static BLOCK_REF], const struct block_ref *r);
void block_ref_get(const uint8_t in[static BLOCK_REF], struct block_ref *r);

uint32_t  block_leaves(uint32_t nblocks);                                   /* number of leaves */
struct id block_leaf_hash(const uint8_t *refs, uint32_t n);
struct id block_root(const uint8_t *refs, uint32_t nblocks);                /* n >= 1; for 1 the block's id */
/* Whether the list is what `root` commits to and its lengths are in 1..LIMIT_BLOCK and sum to size. 0 or ERR_BAD. */
int block_list_check(const uint8_t *refs, uint32_t nblocks, const struct id *root, uint64_t size) MUST_CHECK;

#endif

/* merkle: the hash tree under the signature of a change set. Tree shape of RFC 6962 section 2.1; leaf = BLAKE2b-256(0x00 | entry),
 * node = BLAKE2b-256(0x01 | left | right).
 *
 * A pruned run stands for `count` leaves beginning at leaf `first` whose entries were forgotten (superseded and past their
 * retention). It must be a whole subtree of the tree's shape: then its hash alone is enough to compute the root. */
#ifndef PROTO_MERKLE_H
#define PROTO_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/id.h"

struct id merkle_leaf(const void *entry, size_t len);
/* Root over n >= 1 leaf hashes. */
struct id merkle_root(const struct id *leaf, size_t n);

/* Root from a mix of leaves and pruned runs, given in order; an item of count 1 is a leaf. */
struct merkle_item { uint32_t first, count; struct id hash; };
/* ERR_BAD when the items do not tile 0..n-1 or a run is not a subtree. */
int merkle_root_pruned(const struct merkle_item *item, size_t nitems, uint32_t n, struct id *root) MUST_CHECK;
/* Whether leaves first..first+count-1 of n form one subtree. */
bool merkle_is_subtree(uint32_t first, uint32_t count, uint32_t n);
/* Of subtrees of n leaves, in order: two that are the halves of a greater one become that one, as long as there are such. Returns how
 * many are left. */
size_t merkle_merge(struct merkle_item *item, size_t nitems, uint32_t n);

/* The audit path of leaf `index` among n (RFC 6962 2.1.1), bottom up. proof needs room for 12 hashes (n <= LIMIT_CS_COUNT). */
#define MERKLE_PROOF_MAX 12
size_t merkle_proof(const struct id *leaf, size_t n, size_t index, struct id proof[static MERKLE_PROOF_MAX]);
/* The subtrees whose roots that proof holds, in its order; the hashes are left alone. Returns their number. */
size_t merkle_siblings(uint32_t index, uint32_t n, struct merkle_item out[static MERKLE_PROOF_MAX]);
/* Many proofs from one tree: node has room for 2n - 1 hashes. Fails like merkle_root_pruned. merkle_tree_proof is for leaves that are
 * items of their own. */
int merkle_tree(const struct merkle_item *item, size_t nitems, uint32_t n, struct id *node) MUST_CHECK;
size_t merkle_tree_proof(const struct id *node, uint32_t n, uint32_t index, struct id proof[static MERKLE_PROOF_MAX]);
/* The root that this proof leads to; ERR_BAD when the proof's length does not fit (index, n). */
int merkle_root_from_proof(const struct id *leaf, size_t n, size_t index, const struct id *proof, size_t nproof,
                           struct id *root) MUST_CHECK;

#endif

#include "proto/merkle.h"

#include <assert.h>
#include <inttypes.h>

#include "proto/limits.h"

#define TAG_LEAF 0x00
#define TAG_NODE 0x01
static_assert(LIMIT_CS_COUNT == 1u << MERKLE_PROOF_MAX, "a proof has one hash a level");

struct id merkle_leaf(const void *entry, size_t len)
{
    return id_hash_tagged(TAG_LEAF, entry, len, NULL, 0);
}

static struct id node(const struct id *left, const struct id *right)
{
    return id_hash_tagged(TAG_NODE, left->b, ID_LEN, right->b, ID_LEN);
}

/* Where a tree of n >= 2 leaves divides: the greatest power of two below n. */
static size_t split(size_t n)
{
    size_t k = 1;
    while (k < n - k)
        k *= 2;
    return k;
}

struct id merkle_root(const struct id *leaf, size_t n)
{
    assert(n > 0);
    if (n == 1)
        return *leaf;
    size_t k = split(n);
    struct id left = merkle_root(leaf, k), right = merkle_root(leaf + k, n - k);
    return node(&left, &right);
}

bool merkle_is_subtree(uint32_t first, uint32_t count, uint32_t n)
{
    size_t low = 0, size = n;
    if (count == 0)
        return false;
    while (low != first || size != count) {
        if (size <= count)
            return false;
        size_t k = split(size);
        if (first < low + k) {
            size = k;
        } else {
            low += k;
            size -= k;
        }
    }
    return true;
}

struct cursor { const struct merkle_item *next, *end; };

/* Root of the subtree of leaves low..low+size-1 from the items that come next. An item that is neither this subtree nor within
 * one of its halves meets a leaf that it does not fit: so the tiling and the shape are checked on the way. */
static int subtree(struct cursor *c, size_t low, size_t size, struct id *root)
{
    if (c->next == c->end)
        return err_set(ERR_BAD, "change set: leaf %zu is missing", low);
    if (c->next->first == low && c->next->count == size) {
        *root = c->next++->hash;
        return 0;
    }
    if (size == 1)
        return err_set(ERR_BAD, "change set: leaves %" PRIu32 "+%" PRIu32 " are not the subtree that comes next",
                       c->next->first, c->next->count);
    size_t k = split(size);
    struct id left, right;
    int r = subtree(c, low, k, &left);
    if (!r)
        r = subtree(c, low + k, size - k, &right);
    if (!r)
        *root = node(&left, &right);
    return r;
}

int merkle_root_pruned(const struct merkle_item *item, size_t nitems, uint32_t n, struct id *root)
{
    if (n == 0)
        return err_set(ERR_BAD, "change set: empty");
    struct cursor c = { item, item + nitems };
    int r = subtree(&c, 0, n, root);
    if (!r && c.next != c.end)
        r = err_set(ERR_BAD, "change set: more leaves than %" PRIu32, n);
    return r;
}

size_t merkle_proof(const struct id *leaf, size_t n, size_t index, struct id proof[static MERKLE_PROOF_MAX])
{
    assert(index < n && n <= LIMIT_CS_COUNT);
    if (n == 1)
        return 0;
    size_t k = split(n), used;
    if (index < k) {
        used = merkle_proof(leaf, k, index, proof);
        proof[used] = merkle_root(leaf + k, n - k);
    } else {
        used = merkle_proof(leaf + k, n - k, index - k, proof);
        proof[used] = merkle_root(leaf, k);
    }
    return used + 1;
}

int merkle_root_from_proof(const struct id *leaf, size_t n, size_t index, const struct id *proof, size_t nproof,
                           struct id *root)
{
    if (index >= n || (n == 1) != (nproof == 0))
        return err_set(ERR_BAD, "proof: %zu hashes do not fit leaf %zu of %zu", nproof, index, n);
    if (n == 1) {
        *root = *leaf;
        return 0;
    }
    size_t k = split(n);
    const struct id *sibling = &proof[nproof - 1]; /* bottom up: the topmost is the last */
    struct id below;
    bool goes_left = index < k;
    int r = merkle_root_from_proof(leaf, goes_left ? k : n - k, goes_left ? index : index - k, proof, nproof - 1, &below);
    if (!r)
        *root = goes_left ? node(&below, sibling) : node(sibling, &below);
    return r;
}

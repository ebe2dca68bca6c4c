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

static bool halves(const struct merkle_item *a, const struct merkle_item *b, uint32_t n)
{
    return b->first == a->first + a->count && merkle_is_subtree(a->first, a->count + b->count, n);
}

size_t merkle_merge(struct merkle_item *item, size_t nitems, uint32_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < nitems; i++) {
        item[left++] = item[i];
        for (; left > 1 && halves(&item[left - 2], &item[left - 1], n); left--) {
            struct merkle_item *a = &item[left - 2];
            a->hash = node(&a->hash, &item[left - 1].hash);
            a->count += item[left - 1].count;
        }
    }
    return left;
}

struct cursor { const struct merkle_item *next, *end; };

/* The nodes of a tree lie in one array: a node, then those of its left half (2k - 1 of them for k leaves), then those of its right. What
 * is below a run stays as it is. Without an array (NULL) only the root is computed. */
static struct id *left_of(struct id *at) { return at ? at + 1 : NULL; }
static struct id *right_of(struct id *at, size_t k) { return at ? at + 2 * k : NULL; }

/* Root of the subtree of leaves low..low+size-1 from the items that come next. An item that is neither this subtree nor within
 * one of its halves meets a leaf that it does not fit: so the tiling and the shape are checked on the way. */
static int subtree(struct cursor *c, size_t low, size_t size, struct id *at, struct id *root)
{
    if (c->next == c->end)
        return err_set(ERR_BAD, "change set: leaf %zu is missing", low);
    if (c->next->first == low && c->next->count == size) {
        *root = c->next++->hash;
        if (at)
            *at = *root;
        return 0;
    }
    if (size == 1)
        return err_set(ERR_BAD, "change set: leaves %" PRIu32 "+%" PRIu32 " are not the subtree that comes next",
                       c->next->first, c->next->count);
    size_t k = split(size);
    struct id left, right;
    int r = subtree(c, low, k, left_of(at), &left);
    if (!r)
        r = subtree(c, low + k, size - k, right_of(at, k), &right);
    if (!r)
        *root = node(&left, &right);
    if (!r && at)
        *at = *root;
    return r;
}

static int tree(const struct merkle_item *item, size_t nitems, uint32_t n, struct id *at, struct id *root)
{
    if (n == 0)
        return err_set(ERR_BAD, "change set: empty");
    struct cursor c = { item, item + nitems };
    int r = subtree(&c, 0, n, at, root);
    if (!r && c.next != c.end)
        r = err_set(ERR_BAD, "change set: more leaves than %" PRIu32, n);
    return r;
}

int merkle_root_pruned(const struct merkle_item *item, size_t nitems, uint32_t n, struct id *root)
{
    return tree(item, nitems, n, NULL, root);
}

int merkle_tree(const struct merkle_item *item, size_t nitems, uint32_t n, struct id *at)
{
    struct id root;
    return tree(item, nitems, n, at, &root);
}

size_t merkle_siblings(uint32_t index, uint32_t n, struct merkle_item out[static MERKLE_PROOF_MAX])
{
    struct merkle_item down[MERKLE_PROOF_MAX] = {0};
    size_t low = 0, size = n, depth = 0;
    assert(index < n && n <= LIMIT_CS_COUNT);
    for (; size > 1; depth++) {
        size_t k = split(size);
        bool left = index < low + k;
        down[depth].first = (uint32_t)(left ? low + k : low);
        down[depth].count = (uint32_t)(left ? size - k : k);
        low = left ? low : low + k;
        size = left ? k : size - k;
    }
    for (size_t i = 0; i < depth; i++) {
        out[i].first = down[depth - 1 - i].first;
        out[i].count = down[depth - 1 - i].count;
    }
    return depth;
}

size_t merkle_tree_proof(const struct id *at, uint32_t n, uint32_t index, struct id proof[static MERKLE_PROOF_MAX])
{
    if (n == 1)
        return 0;
    uint32_t k = (uint32_t)split(n);
    const struct id *left = at + 1, *right = at + 2 * (size_t)k;
    size_t used = index < k ? merkle_tree_proof(left, k, index, proof) : merkle_tree_proof(right, n - k, index - k, proof);
    proof[used] = index < k ? *right : *left;
    return used + 1;
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

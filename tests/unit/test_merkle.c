/* Expected values: Python's hashlib.blake2b over the definition of RFC 6962 section 2.1. */
#include "tests/unit/t.h"

#include "proto/limits.h"
#include "proto/merkle.h"

#define MOST 70

static struct id leaves[LIMIT_CS_COUNT];

static void make_leaves(void)
{
    for (unsigned i = 0; i < LIMIT_CS_COUNT; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "entry %u", i);
        leaves[i] = merkle_leaf(text, (size_t)n);
    }
}

static void root_is(size_t n, const char *expected)
{
    char hex[ID_HEX];
    struct id root = merkle_root(leaves, n);
    EQ_S(id_hex(&root, hex), expected);
}

static void test_known(void)
{
    root_is(1, "7ae7017e7be33d0baee4720e72284d1e7c5ff5db89cf20fa37928601fee74420");
    root_is(2, "345f6d432001d3954b52fde3bcf583828a08a82a2b34659950bc8a703fed7e9b");
    root_is(3, "cee1648f87a4cd47633f44a38028462ab0f38096de69604e6b29f96320ec1d9b");
    root_is(5, "5893a6a6bdfcf179d0e078c69ed64042c3942dcd0b15ecd2d20d967328944a50");
    root_is(7, "7a5ccad0c83295e64c6b9fee8d48b717f0783c796afebf23647ec2bf62678b64");
}

/* The definition: MTH(D[n]) = H(1 | MTH(D[0:k]) | MTH(D[k:n])), k the largest power of two smaller than n. */
static struct id naive(size_t first, size_t n)
{
    if (n == 1)
        return leaves[first];
    size_t k = 1;
    while (2 * k < n)
        k = 2 * k;
    struct id l = naive(first, k), r = naive(first + k, n - k);
    uint8_t both[1 + 2 * ID_LEN] = { 1 };
    memcpy(both + 1, l.b, ID_LEN);
    memcpy(both + 1 + ID_LEN, r.b, ID_LEN);
    return id_hash(both, sizeof both);
}

static void test_roots(void)
{
    for (size_t n = 1; n <= MOST; n++) {
        struct id root = merkle_root(leaves, n), expected = naive(0, n);
        CHECK(id_eq(&root, &expected));
    }
}

/* All subtrees of the tree over first..first+n-1, by the definition. */
static bool naive_subtree(size_t first, size_t n, size_t want_first, size_t want_count)
{
    if (first == want_first && n == want_count)
        return true;
    if (n <= 1)
        return false;
    size_t k = 1;
    while (2 * k < n)
        k = 2 * k;
    return naive_subtree(first, k, want_first, want_count) || naive_subtree(first + k, n - k, want_first, want_count);
}

static size_t tile(struct merkle_item *item, uint32_t n, uint32_t run_first, uint32_t run_count)
{
    size_t used = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i == run_first) {
            item[used++] = (struct merkle_item){ i, run_count, naive(i, run_count) };
            i += run_count - 1;
        } else {
            item[used++] = (struct merkle_item){ i, 1, leaves[i] };
        }
    }
    return used;
}

/* Each run of each tree: accepted exactly when it is a subtree, and then the root is the same. */
static void test_pruned_runs(void)
{
    for (uint32_t n = 1; n <= MOST; n++) {
        struct id expected = naive(0, n), root;
        for (uint32_t first = 0; first < n; first++)
            for (uint32_t count = 1; count <= n - first; count++) {
                bool whole = naive_subtree(0, n, first, count);
                CHECK(merkle_is_subtree(first, count, n) == whole);
                if (!whole && count > 20 && n > 40)
                    continue; /* enough of those */
                struct merkle_item item[MOST];
                size_t used = tile(item, n, first, count);
                int r = merkle_root_pruned(item, used, n, &root);
                EQ_I(r, whole ? 0 : ERR_BAD);
                CHECK(!whole || id_eq(&root, &expected));
            }
    }
    CHECK(!merkle_is_subtree(0, 0, 5) && !merkle_is_subtree(5, 1, 5) && !merkle_is_subtree(0, 6, 5) && !merkle_is_subtree(0, 0, 0));
    CHECK(!merkle_is_subtree(UINT32_MAX, UINT32_MAX, UINT32_MAX) && merkle_is_subtree(0, UINT32_MAX, UINT32_MAX));
}

/* Splits at random into subtrees, by the definition. */
static size_t random_items(uint64_t *seed, struct merkle_item *item, uint32_t first, uint32_t n)
{
    if (n == 1 || t_rand(seed) % 3 == 0) {
        item[0] = (struct merkle_item){ first, n, naive(first, n) };
        return 1;
    }
    uint32_t k = 1;
    while (2 * k < n)
        k = 2 * k;
    size_t used = random_items(seed, item, first, k);
    return used + random_items(seed, item + used, first + k, n - k);
}

static void test_many_pruned_runs(void)
{
    uint64_t seed = 9;
    for (int i = 0; i < 300; i++) {
        uint32_t n = 1 + (uint32_t)(t_rand(&seed) % MOST);
        struct merkle_item item[MOST + 1];
        struct id root, expected = naive(0, n);
        size_t used = random_items(&seed, item, 0, n);
        OK(merkle_root_pruned(item, used, n, &root));
        CHECK(id_eq(&root, &expected));
        item[used] = (struct merkle_item){ n, 1, leaves[0] };
        EQ_I(merkle_root_pruned(item, used + 1, n, &root), ERR_BAD);
        EQ_I(merkle_root_pruned(item, used - 1, n, &root), ERR_BAD);
        item[t_rand(&seed) % used].hash.b[3] ^= 1;
        OK(merkle_root_pruned(item, used, n, &root));
        CHECK(!id_eq(&root, &expected));
    }
}

/* The greatest subtrees of which every leaf is in the set, by the definition. */
static size_t greatest(const bool *in, struct merkle_item *item, uint32_t first, uint32_t n)
{
    bool all = true;
    for (uint32_t i = first; i < first + n; i++)
        all = all && in[i];
    if (all || n == 1) {
        item[0] = (struct merkle_item){ first, n, naive(first, n) };
        return all;
    }
    uint32_t k = 1;
    while (2 * k < n)
        k = 2 * k;
    size_t used = greatest(in, item, first, k);
    return used + greatest(in, item + used, first + k, n - k);
}

static void test_merge(void)
{
    uint64_t seed = 5;
    for (int run = 0; run < 500; run++) {
        uint32_t n = 1 + (uint32_t)(t_rand(&seed) % MOST);
        bool in[MOST] = { false };
        struct merkle_item item[MOST], want[MOST];
        size_t used = 0, most = t_rand(&seed) % 4;
        for (uint32_t i = 0; i < n; i++)
            if ((in[i] = most == 0 || t_rand(&seed) % (1 + most) != 0))
                item[used++] = (struct merkle_item){ i, 1, leaves[i] };
        size_t nwant = greatest(in, want, 0, n);
        EQ_U(merkle_merge(item, used, n), nwant);
        for (size_t i = 0; i < nwant; i++) {
            EQ_U(item[i].first, want[i].first);
            EQ_U(item[i].count, want[i].count);
            CHECK(id_eq(&item[i].hash, &want[i].hash));
        }
        EQ_U(merkle_merge(item, nwant, n), nwant);
    }
}

static void test_tree_proofs(void)
{
    uint64_t seed = 6;
    struct id tree[2 * MOST], proof[MERKLE_PROOF_MAX], plain[MERKLE_PROOF_MAX];
    for (int run = 0; run < 300; run++) {
        uint32_t n = 1 + (uint32_t)(t_rand(&seed) % MOST);
        struct merkle_item item[MOST];
        size_t used = random_items(&seed, item, 0, n);
        OK(merkle_tree(item, used, n, tree));
        for (size_t i = 0; i < used; i++) {
            if (item[i].count > 1)
                continue;
            size_t len = merkle_tree_proof(tree, n, item[i].first, proof);
            EQ_U(len, merkle_proof(leaves, n, item[i].first, plain));
            EQ_MEM(proof, plain, len * sizeof *proof);
        }
        EQ_I(merkle_tree(item, used - 1, n, tree), ERR_BAD);
    }
}

static void test_siblings(void)
{
    struct id proof[MERKLE_PROOF_MAX];
    for (uint32_t n = 1; n <= MOST; n++)
        for (uint32_t i = 0; i < n; i++) {
            struct merkle_item s[MERKLE_PROOF_MAX];
            size_t len = merkle_proof(leaves, n, i, proof);
            EQ_U(merkle_siblings(i, n, s), len);
            for (size_t k = 0; k < len; k++) {
                struct id hash = naive(s[k].first, s[k].count);
                CHECK(id_eq(&hash, &proof[k]));
            }
        }
}

static void test_bad_tilings(void)
{
    struct id root;
    struct merkle_item two[2] = { { 0, 1, leaves[0] }, { 1, 1, leaves[1] } };
    OK(merkle_root_pruned(two, 2, 2, &root));
    FAILS(merkle_root_pruned(two, 2, 0, &root), ERR_BAD, "empty");
    FAILS(merkle_root_pruned(two, 0, 2, &root), ERR_BAD, "missing");
    FAILS(merkle_root_pruned(two, 2, 3, &root), ERR_BAD, "missing");
    FAILS(merkle_root_pruned(two, 2, 1, &root), ERR_BAD, "more leaves");
    two[1].first = 0;
    FAILS(merkle_root_pruned(two, 2, 2, &root), ERR_BAD, "subtree");
    two[1] = (struct merkle_item){ 1, 0, leaves[1] };
    FAILS(merkle_root_pruned(two, 2, 2, &root), ERR_BAD, "subtree");
    two[1] = (struct merkle_item){ 1, UINT32_MAX, leaves[1] };
    FAILS(merkle_root_pruned(two, 2, 2, &root), ERR_BAD, "subtree");
    EQ_I(merkle_root_pruned(two, 2, UINT32_MAX, &root), ERR_BAD);
}

static void test_proofs(void)
{
    for (size_t n = 1; n <= MOST; n++) {
        struct id expected = naive(0, n);
        for (size_t i = 0; i < n; i++) {
            struct id proof[MERKLE_PROOF_MAX + 1], root;
            size_t len = merkle_proof(leaves, n, i, proof);
            CHECK(len <= MERKLE_PROOF_MAX);
            OK(merkle_root_from_proof(&leaves[i], n, i, proof, len, &root));
            CHECK(id_eq(&root, &expected));
            EQ_I(merkle_root_from_proof(&leaves[i], n, i, proof, len + 1, &root), ERR_BAD);
            if (len == 0)
                continue;
            EQ_I(merkle_root_from_proof(&leaves[i], n, i, proof, len - 1, &root), ERR_BAD);
            OK(merkle_root_from_proof(&leaves[n + 1], n, i, proof, len, &root));
            CHECK(!id_eq(&root, &expected));
            proof[len - 1].b[0] ^= 1;
            OK(merkle_root_from_proof(&leaves[i], n, i, proof, len, &root));
            CHECK(!id_eq(&root, &expected));
        }
    }
}

/* RFC 6962 2.1.3 draws a tree of seven leaves: the path of leaf 4 is [its neighbour's leaf, leaf 6, the node over 0..3]. */
static void test_proof_shape(void)
{
    struct id proof[MERKLE_PROOF_MAX], k = naive(0, 4);
    EQ_U(merkle_proof(leaves, 7, 4, proof), 3);
    CHECK(id_eq(&proof[0], &leaves[5]) && id_eq(&proof[1], &leaves[6]) && id_eq(&proof[2], &k));
    EQ_U(merkle_proof(leaves, 7, 6, proof), 2);
    CHECK(id_eq(&proof[1], &k));
}

static void test_largest(void)
{
    struct id proof[MERKLE_PROOF_MAX], root, expected = naive(0, LIMIT_CS_COUNT);
    EQ_U(merkle_proof(leaves, LIMIT_CS_COUNT, 1234, proof), MERKLE_PROOF_MAX);
    OK(merkle_root_from_proof(&leaves[1234], LIMIT_CS_COUNT, 1234, proof, MERKLE_PROOF_MAX, &root));
    CHECK(id_eq(&root, &expected));
    EQ_I(merkle_root_from_proof(&leaves[0], 0, 0, proof, 0, &root), ERR_BAD);
    EQ_I(merkle_root_from_proof(&leaves[0], 1, 1, proof, 0, &root), ERR_BAD);
    EQ_I(merkle_root_from_proof(&leaves[0], 3, 3, proof, 1, &root), ERR_BAD); /* as long as that of leaf 2 */
    EQ_I(merkle_root_from_proof(&leaves[0], SIZE_MAX, SIZE_MAX - 1, proof, 12, &root), ERR_BAD);
}

int main(void)
{
    make_leaves();
    RUN(test_known);
    RUN(test_roots);
    RUN(test_pruned_runs);
    RUN(test_many_pruned_runs);
    RUN(test_merge);
    RUN(test_tree_proofs);
    RUN(test_siblings);
    RUN(test_bad_tilings);
    RUN(test_proofs);
    RUN(test_proof_shape);
    RUN(test_largest);
    return t_done();
}

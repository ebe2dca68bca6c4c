/* Expected values: Python's hashlib.blake2b with person=b"lanyard-blocks-1". */
#include "tests/unit/t.h"

#include "proto/block.h"
#include "proto/limits.h"

#define MOST 10000

/* Reference i: the hash of "block i", 1000 + i % 7 bytes. */
static uint8_t refs[MOST * BLOCK_REF];

static void make_refs(void)
{
    for (unsigned i = 0; i < MOST; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "block %u", i);
        struct block_ref r = { .id = id_hash(text, (size_t)n), .len = 1000 + i % 7 };
        block_ref_put(refs + i * BLOCK_REF, &r);
    }
}

static const struct { uint32_t n; uint64_t size; const char *root; } known[] = {
    { 1,     1000,     "0f085feb724eb32133e5d2070279744141c6c2b5a27e64548048f33204739f06" },
    { 2,     2001,     "35810d0ab318da51ddd95bf749b2f5e8ee6c121205194d52f7412667402f2032" },
    { 3,     3003,     "c99d7436d69c714fe3436ed25e5619598723868159b21803f0682f095eae1a44" },
    { 4096,  4108285,  "4ab55c0cf094e182573e97581bcc23a79dafb341e20aea0f29eca4671fa14ae7" },
    { 4097,  4109286,  "865f1f45bd3323e907289043f78fd5c362b11ca79bb4ef69e6b1149bbbb469a0" },
    { 10000, 10029994, "41f920f520a30de74b8210fa28d8f16040a247bd99ffb4ac4d59aefa14b8ef91" },
};

static void test_reference(void)
{
    struct block_ref r = { .id = id_hash("x", 1), .len = 0x01020304 }, back;
    uint8_t bytes[BLOCK_REF];
    block_ref_put(bytes, &r);
    EQ_MEM(bytes, r.id.b, ID_LEN);
    EQ_MEM(bytes + ID_LEN, "\x04\x03\x02\x01", 4);
    block_ref_get(bytes, &back);
    CHECK(id_eq(&r.id, &back.id));
    EQ_U(back.len, r.len);
    r.len = UINT32_MAX;
    block_ref_put(bytes, &r);
    block_ref_get(bytes, &back);
    EQ_U(back.len, UINT32_MAX);
}

static void test_leaves(void)
{
    EQ_U(block_leaves(0), 0);
    EQ_U(block_leaves(1), 1);
    EQ_U(block_leaves(4096), 1);
    EQ_U(block_leaves(4097), 2);
    EQ_U(block_leaves(8192), 2);
    EQ_U(block_leaves(UINT32_MAX), 1048576);
}

static void test_roots(void)
{
    char hex[ID_HEX];
    struct id leaf = block_leaf_hash(refs, 3);
    EQ_S(id_hex(&leaf, hex), "3c4c52b01ddf25024f6a1a932ddd96c3e5d022854920c119d008ba1169fcb678");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct id root = block_root(refs, known[i].n);
        EQ_S(id_hex(&root, hex), known[i].root);
    }
}

static void test_check(void)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct id root;
        uint32_t n = known[i].n;
        uint64_t size = known[i].size;
        OK(hex_decode(root.b, ID_LEN, known[i].root));
        OK(block_list_check(refs, n, &root, size));
        FAILS(block_list_check(refs, n, &root, size - 1), ERR_BAD, "expected");
        FAILS(block_list_check(refs, n, &root, size + 1), ERR_BAD, "expected");
        uint8_t *last = refs + (size_t)(n - 1) * BLOCK_REF;
        last[5] ^= 1;
        FAILS(block_list_check(refs, n, &root, size), ERR_BAD, "root");
        last[5] ^= 1;
        root.b[31] ^= 1;
        FAILS(block_list_check(refs, n, &root, size), ERR_BAD, "root");
    }
}

/* Lists of which the root is right and the lengths are not allowed. */
static void test_lengths(void)
{
    uint8_t two[2 * BLOCK_REF];
    static const uint32_t bad[] = { 0, LIMIT_BLOCK + 1, UINT32_MAX };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct block_ref r = { .id = id_hash("a", 1), .len = bad[i] };
        block_ref_put(two, &r);
        r.len = 1;
        block_ref_put(two + BLOCK_REF, &r);
        struct id root = block_root(two, 2);
        FAILS(block_list_check(two, 2, &root, (uint64_t)bad[i] + 1), ERR_BAD, "block 0");
    }
    struct block_ref r = { .id = id_hash("a", 1), .len = LIMIT_BLOCK };
    block_ref_put(two, &r);
    block_ref_put(two + BLOCK_REF, &r);
    struct id root = block_root(two, 2);
    OK(block_list_check(two, 2, &root, 2ull * LIMIT_BLOCK));
    FAILS(block_list_check(two, 0, &root, 0), ERR_BAD, "0 blocks");
    FAILS(block_list_check(two, LIMIT_BLOCKS + 1, &root, 0), ERR_BAD, "blocks");
}

/* Swapped blocks, and lengths moved between blocks, are another list. */
static void test_order_counts(void)
{
    uint8_t swapped[3 * BLOCK_REF];
    struct id root = block_root(refs, 3);
    memcpy(swapped, refs, sizeof swapped);
    memcpy(swapped, refs + BLOCK_REF, BLOCK_REF);
    memcpy(swapped + BLOCK_REF, refs, BLOCK_REF);
    FAILS(block_list_check(swapped, 3, &root, 3003), ERR_BAD, "root");
    memcpy(swapped, refs, sizeof swapped);
    swapped[ID_LEN]++;
    swapped[BLOCK_REF + ID_LEN]--;
    FAILS(block_list_check(swapped, 3, &root, 3003), ERR_BAD, "root");
}

int main(void)
{
    make_refs();
    RUN(test_reference);
    RUN(test_leaves);
    RUN(test_roots);
    RUN(test_check);
    RUN(test_lengths);
    RUN(test_order_counts);
    return t_done();
}

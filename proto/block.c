#include "proto/block.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "proto/limits.h"

#define TAG_LEAF 0x02
#define TAG_ROOT 0x03

static void put_u32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

void block_ref_put(uint8_t out[static BLOCK_REF], const struct block_ref *r)
{
    memcpy(out, r->id.b, ID_LEN);
    put_u32(out + ID_LEN, r->len);
}

void block_ref_get(const uint8_t in[static BLOCK_REF], struct block_ref *r)
{
    memcpy(r->id.b, in, ID_LEN);
    r->len = get_u32(in + ID_LEN);
}

uint32_t block_leaves(uint32_t nblocks)
{
    return nblocks / LIMIT_TREE_LEAF + (nblocks % LIMIT_TREE_LEAF != 0);
}

/* BLAKE2b-256 with the personalisation of block lists, begun with its tag. */
static void list_hash_init(crypto_generichash_blake2b_state *st, uint8_t tag)
{
    static const char person[] = "lanyard-blocks-1";
    static_assert(sizeof person - 1 == crypto_generichash_blake2b_PERSONALBYTES, "fills its field");
    int bad = crypto_generichash_blake2b_init_salt_personal(st, NULL, 0, ID_LEN, NULL, (const uint8_t *)person);
    bad |= crypto_generichash_blake2b_update(st, &tag, 1);
    assert(!bad);
}

static void list_hash_add(crypto_generichash_blake2b_state *st, const uint8_t *p, size_t len)
{
    int bad = crypto_generichash_blake2b_update(st, p, len);
    assert(!bad);
}

static struct id list_hash_final(crypto_generichash_blake2b_state *st)
{
    struct id out;
    int bad = crypto_generichash_blake2b_final(st, out.b, ID_LEN);
    assert(!bad);
    return out;
}

struct id block_leaf_hash(const uint8_t *refs, uint32_t n)
{
    crypto_generichash_blake2b_state st;
    list_hash_init(&st, TAG_LEAF);
    list_hash_add(&st, refs, (size_t)n * BLOCK_REF);
    return list_hash_final(&st);
}

struct id block_root(const uint8_t *refs, uint32_t nblocks)
{
    assert(nblocks > 0);
    if (nblocks == 1) {
        struct block_ref only;
        block_ref_get(refs, &only);
        return only.id;
    }
    crypto_generichash_blake2b_state st;
    uint8_t count[4];
    put_u32(count, nblocks);
    list_hash_init(&st, TAG_ROOT);
    list_hash_add(&st, count, sizeof count);
    for (uint32_t i = 0; i < block_leaves(nblocks); i++) {
        uint32_t first = i * LIMIT_TREE_LEAF, left = nblocks - first;
        struct id leaf = block_leaf_hash(refs + (size_t)first * BLOCK_REF, left < LIMIT_TREE_LEAF ? left : LIMIT_TREE_LEAF);
        list_hash_add(&st, leaf.b, ID_LEN);
    }
    return list_hash_final(&st);
}

int block_list_check(const uint8_t *refs, uint32_t nblocks, const struct id *root, uint64_t size)
{
    if (nblocks == 0 || nblocks > LIMIT_BLOCKS)
        return err_set(ERR_BAD, "block list: %" PRIu32 " blocks", nblocks);
    uint64_t sum = 0; /* at most LIMIT_BLOCKS * LIMIT_BLOCK: no overflow */
    for (uint32_t i = 0; i < nblocks; i++) {
        uint32_t len = get_u32(refs + (size_t)i * BLOCK_REF + ID_LEN);
        if (len == 0 || len > LIMIT_BLOCK)
            return err_set(ERR_BAD, "block list: block %" PRIu32 " of %" PRIu32 " bytes", i, len);
        sum += len;
    }
    if (sum != size)
        return err_set(ERR_BAD, "block list: %" PRIu64 " bytes, expected %" PRIu64, sum, size);
    struct id actual = block_root(refs, nblocks);
    if (!id_eq(&actual, root))
        return err_set(ERR_BAD, "block list: not what its root commits to");
    return 0;
}

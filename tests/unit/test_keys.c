/* Expected values of the derived keys: Python's hashlib, with X25519 written out after RFC 7748. */
#include "tests/unit/t.h"

#include <sodium.h>

#include "proto/keys.h"

static void release_device(struct device_keys **k)
{
    if (*k)
        device_keys_free(k);
}

static void release_group(struct group_keys **k)
{
    if (*k)
        group_keys_free(k);
}

static struct group_keys *counting_group(void)
{
    struct group_keys *g = group_keys_new();
    for (size_t i = 0; i < sizeof g->k_group; i++)
        g->k_group[i] = (uint8_t)i;
    return g;
}

#define EQ_HEX(data, len, expected) do { char t_hex[2 * 64 + 1]; hex_encode(t_hex, (data), (len)); EQ_S(t_hex, expected); } while (0)

static void test_derived(void)
{
    AUTO(release_group) struct group_keys *g = counting_group();
    uint8_t out[32], pk[32], sk[32];
    keys_chunk(g, out);
    EQ_HEX(out, 32, "48431df70503a28d28a61a56271e7495fb39c61f7d055d83cfcc4efd4b881225");
    keys_disc(g, out);
    EQ_HEX(out, 32, "b18000b12c269dc5ff66a22583fb818bad498e71a012310496775a42588abce8");
    keys_topic(g, out);
    EQ_HEX(out, 8, "5e4c10e01a6545df");
    keys_server(g, pk, sk);
    EQ_HEX(sk, 32, "3b921c781307edc182b7520587f22ec946a13b5d1f9ae99b562f1e0d82980f0e");
    EQ_HEX(pk, 32, "eef95ff96e409ed6ea75a65cd49a9b8ccd50503e4ca4888a211bb7a401a41c3b");
    keys_join_server(pk, sk);
    EQ_HEX(sk, 32, "8feec39c50866f548cbbaa78bf3f0de7ba0717f8366f7486ec3a5399ea1405c8");
    EQ_HEX(pk, 32, "274b84d78a09ace75268b9f4e0b149b63ab3d802a5e901b0d4a1c4b7eaab2b47");
}

static void test_device_keys(void)
{
    AUTO(release_device) struct device_keys *a = device_keys_new();
    AUTO(release_device) struct device_keys *b = device_keys_new();
    AUTO(release_device) struct device_keys *none = device_keys_empty();
    CHECK(!id_eq(&a->dev, &b->dev));
    CHECK(memcmp(a->tr_pk, b->tr_pk, 32) != 0);
    EQ_MEM(a->sign_sk + 32, a->dev.b, 32); /* libsodium's layout: seed | public key */
    uint8_t pk[32], converted[32];
    EQ_I(crypto_scalarmult_base(pk, a->tr_sk), 0);
    EQ_MEM(pk, a->tr_pk, 32);
    EQ_I(crypto_sign_ed25519_sk_to_curve25519(converted, a->sign_sk), 0);
    CHECK(memcmp(converted, a->tr_sk, 32) != 0); /* the two pairs are independent */
    CHECK(sodium_is_zero((const uint8_t *)none, sizeof *none));
    device_keys_free(&none);
    CHECK(none == NULL);
}

static void test_group_keys(void)
{
    struct group_keys *g = group_keys_new();
    CHECK(sodium_is_zero((const uint8_t *)g, sizeof *g));
    group_keys_free(&g);
    CHECK(g == NULL);
}

static void test_sign(void)
{
    AUTO(release_device) struct device_keys *k = device_keys_new();
    AUTO(release_device) struct device_keys *other = device_keys_new();
    uint8_t sig[SIG_LEN];
    keys_sign(sig, "context-1", "data", 4, k);
    OK(keys_verify(sig, "context-1", "data", 4, &k->dev));
    FAILS(keys_verify(sig, "context-2", "data", 4, &k->dev), ERR_DENIED, "context-2");
    EQ_I(keys_verify(sig, "context-1", "Data", 4, &k->dev), ERR_DENIED);
    EQ_I(keys_verify(sig, "context-1", "data", 3, &k->dev), ERR_DENIED);
    EQ_I(keys_verify(sig, "context-1", "data", 4, &other->dev), ERR_DENIED);
    EQ_I(keys_verify(sig, "context-1", "data", 4, &ID_NONE), ERR_DENIED);
    for (size_t i = 0; i < SIG_LEN; i++) {
        sig[i] ^= 0x10;
        EQ_I(keys_verify(sig, "context-1", "data", 4, &k->dev), ERR_DENIED);
        sig[i] ^= 0x10;
    }
    keys_sign(sig, "context-1", NULL, 0, k);
    OK(keys_verify(sig, "context-1", NULL, 0, &k->dev));
}

/* context | 0x00 | data: the boundary cannot be moved, and it is plain Ed25519 over these bytes. */
static void test_signed_bytes(void)
{
    AUTO(release_device) struct device_keys *k = device_keys_new();
    uint8_t sig[SIG_LEN];
    keys_sign(sig, "ab", "cd", 2, k);
    EQ_I(crypto_sign_verify_detached(sig, (const uint8_t *)"ab\0cd", 5, k->dev.b), 0);
    EQ_I(keys_verify(sig, "abc", "d", 1, &k->dev), ERR_DENIED);
    EQ_I(keys_verify(sig, "a", "bcd", 3, &k->dev), ERR_DENIED);
}

static void test_seal(void)
{
    AUTO(release_device) struct device_keys *k = device_keys_new();
    AUTO(release_device) struct device_keys *other = device_keys_new();
    uint8_t box[10 + SEAL_EXTRA], out[10];
    keys_seal(box, "0123456789", 10, k->tr_pk);
    OK(keys_unseal(out, box, sizeof box, k));
    EQ_MEM(out, "0123456789", 10);
    EQ_I(keys_unseal(out, box, sizeof box, other), ERR_DENIED);
    EQ_I(keys_unseal(out, box, sizeof box - 1, k), ERR_DENIED);
    FAILS(keys_unseal(out, box, SEAL_EXTRA - 1, k), ERR_BAD, "short");
    box[40] ^= 1;
    EQ_I(keys_unseal(out, box, sizeof box, k), ERR_DENIED);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_derived);
    RUN(test_device_keys);
    RUN(test_group_keys);
    RUN(test_sign);
    RUN(test_signed_bytes);
    RUN(test_seal);
    return t_done();
}

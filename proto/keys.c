#include "proto/keys.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static_assert(SIG_LEN == crypto_sign_BYTES, "an Ed25519 signature");
static_assert(SEAL_EXTRA == crypto_box_SEALBYTES, "what a sealed box adds");
static_assert(sizeof((struct device_keys *)0)->sign_sk == crypto_sign_SECRETKEYBYTES, "libsodium's layout");

int keys_init(void)
{
    if (sodium_init() < 0)
        return err_set(ERR_IO, "libsodium: the system gives no random numbers");
    return 0;
}

static void *secret_alloc(size_t size)
{
    void *p = sodium_malloc(size);
    if (!p)
        abort(); /* a few pages: as xcalloc */
    memset(p, 0, size);
    return p;
}

struct device_keys *device_keys_empty(void)
{
    return secret_alloc(sizeof(struct device_keys));
}

struct device_keys *device_keys_new(void)
{
    struct device_keys *k = device_keys_empty();
    int bad = crypto_sign_keypair(k->dev.b, k->sign_sk) | crypto_box_keypair(k->tr_pk, k->tr_sk);
    assert(!bad);
    return k;
}

void device_keys_free(struct device_keys **k)
{
    sodium_free(*k);
    *k = NULL;
}

struct group_keys *group_keys_new(void)
{
    return secret_alloc(sizeof(struct group_keys));
}

void group_keys_free(struct group_keys **k)
{
    sodium_free(*k);
    *k = NULL;
}

void keys_chunk(const struct group_keys *g, uint8_t out[static 32])
{
    id_derive(out, 32, g->k_group, "chunk", NULL, 0);
}

void keys_disc(const struct group_keys *g, uint8_t out[static 32])
{
    id_derive(out, 32, g->k_group, "disc", NULL, 0);
}

void keys_topic(const struct group_keys *g, uint8_t out[static 8])
{
    uint8_t full[16];
    id_derive(full, sizeof full, g->k_group, "topic", NULL, 0);
    memcpy(out, full, 8);
}

void keys_server(const struct group_keys *g, uint8_t pk[static 32], uint8_t sk[static 32])
{
    uint8_t seed[crypto_box_SEEDBYTES];
    id_derive(seed, sizeof seed, g->k_group, "curve-server", NULL, 0);
    int bad = crypto_box_seed_keypair(pk, sk, seed);
    assert(!bad);
    sodium_memzero(seed, sizeof seed);
}

void keys_join_server(uint8_t pk[static 32], uint8_t sk[static 32])
{
    static const char label[] = "lanyard join server 1";
    struct id seed = id_hash(label, sizeof label - 1);
    int bad = crypto_box_seed_keypair(pk, sk, seed.b);
    assert(!bad);
}

/* Ed25519 takes its message in one piece: context | 0x00 | data. The caller frees. */
static uint8_t *message_new(const char *context, const void *data, size_t len, size_t *total)
{
    size_t contextlen = strlen(context) + 1;
    uint8_t *msg = xcalloc(1, contextlen + len);
    memcpy(msg, context, contextlen);
    if (len)
        memcpy(msg + contextlen, data, len);
    *total = contextlen + len;
    return msg;
}

void keys_sign(uint8_t sig[static SIG_LEN], const char *context, const void *data, size_t len, const struct device_keys *k)
{
    size_t total;
    AUTOFREE uint8_t *msg = message_new(context, data, len, &total);
    int bad = crypto_sign_detached(sig, NULL, msg, total, k->sign_sk);
    assert(!bad);
}

int keys_verify(const uint8_t sig[static SIG_LEN], const char *context, const void *data, size_t len, const struct id *dev)
{
    size_t total;
    AUTOFREE uint8_t *msg = message_new(context, data, len, &total);
    if (crypto_sign_verify_detached(sig, msg, total, dev->b) != 0) {
        char hex[ID_HEX];
        return err_set(ERR_DENIED, "%s: not signed by device %s", context, id_hex(dev, hex));
    }
    return 0;
}

void keys_seal(uint8_t *out, const void *data, size_t len, const uint8_t tr_pk[static 32])
{
    int bad = crypto_box_seal(out, data, len, tr_pk);
    assert(!bad);
}

int keys_unseal(uint8_t *out, const void *box, size_t boxlen, const struct device_keys *k)
{
    if (boxlen < SEAL_EXTRA)
        return err_set(ERR_BAD, "sealed box: %zu bytes, shorter than an empty one", boxlen);
    if (crypto_box_seal_open(out, box, boxlen, k->tr_pk, k->tr_sk) != 0)
        return err_set(ERR_DENIED, "sealed box: not for this device, or damaged");
    return 0;
}

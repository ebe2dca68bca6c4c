/* Signatures as a hash of everything they depend on: the simulator proves nothing about Ed25519, which would take half of its time.
 * The linker puts these in the place of the product's (--wrap). */
#include <sodium.h>
#include <string.h>

#include "proto/keys.h"

void __wrap_keys_sign(uint8_t sig[static SIG_LEN], const char *context, const void *data, size_t len, const struct device_keys *k);
int  __wrap_keys_verify(const uint8_t sig[static SIG_LEN], const char *context, const void *data, size_t len, const struct id *dev);

static void digest(uint8_t out[static SIG_LEN], const char *context, const void *data, size_t len, const struct id *dev)
{
    crypto_generichash_state st;
    crypto_generichash_init(&st, dev->b, ID_LEN, SIG_LEN);
    crypto_generichash_update(&st, (const uint8_t *)context, strlen(context) + 1);
    crypto_generichash_update(&st, data, len);
    crypto_generichash_final(&st, out, SIG_LEN);
}

void __wrap_keys_sign(uint8_t sig[static SIG_LEN], const char *context, const void *data, size_t len, const struct device_keys *k)
{
    digest(sig, context, data, len, &k->dev);
}

int __wrap_keys_verify(const uint8_t sig[static SIG_LEN], const char *context, const void *data, size_t len, const struct id *dev)
{
    uint8_t good[SIG_LEN];
    digest(good, context, data, len, dev);
    return memcmp(good, sig, SIG_LEN) == 0 ? 0 : err_set(ERR_DENIED, "signature: not that of this device");
}

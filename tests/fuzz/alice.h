/* alice: the device key that the fuzz targets sign with, the one of the test vectors. */
#ifndef TESTS_FUZZ_ALICE_H
#define TESTS_FUZZ_ALICE_H

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "proto/keys.h"

/* Made once. */
static inline const struct device_keys *alice(void)
{
    static struct device_keys *k;
    if (!k) {
        uint8_t seed[32];
        int bad = keys_init();
        assert(bad == 0);
        memset(seed, 1, sizeof seed);
        k = device_keys_empty();
        crypto_sign_seed_keypair(k->dev.b, k->sign_sk, seed);
    }
    return k;
}

#endif

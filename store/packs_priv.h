/* packs_priv: numbers in packs. */
#ifndef STORE_PACKS_PRIV_H
#define STORE_PACKS_PRIV_H

#include "store/packs.h"

static inline void put_le(uint8_t *out, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(v >> 8 * i);
}

static inline uint64_t get_le(const uint8_t *in, size_t n)
{
    uint64_t v = 0;
    for (size_t i = n; i-- > 0; )
        v = v << 8 | in[i];
    return v;
}

#endif

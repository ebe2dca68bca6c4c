#include "store/chunk.h"

#include <assert.h>

#include "proto/id.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define GIB (1024ull * MIB)

/* n bits, every second one from bit 62 down: the high bits of a gear hash depend on the most bytes. Bit 63 stays free because
 * chunk_cut tests the hash once while it is shifted by one more. */
#define MASK(n) (0x5555555555555555ull & ~0ull << (64 - 2 * (n)))

const struct chunk_class chunk_classes[CHUNK_CLASSES] = {
    { .min = 16 * KIB, .avg = 64 * KIB, .max = 256 * KIB, .mask_small = MASK(18), .mask_large = MASK(14) },
    { .min = 128 * KIB, .avg = 512 * KIB, .max = 2 * MIB, .mask_small = MASK(21), .mask_large = MASK(17) },
    { .min = 512 * KIB, .avg = 2 * MIB, .max = 4 * MIB, .mask_small = MASK(23), .mask_large = MASK(19) },
};

static const struct { uint64_t from, to; } class_sizes[CHUNK_CLASSES] = {
    { 0, 16 * MIB },
    { 16 * MIB, 4 * GIB },
    { 4 * GIB, UINT64_MAX },
};

void chunk_gear(struct gear *g, const uint8_t key[static 32])
{
    for (uint8_t j = 0; j < 32; j++) {
        uint8_t out[64];
        id_derive(out, sizeof out, key, "gear", &j, 1);
        for (size_t i = 0; i < 8; i++) {
            uint64_t word = 0;
            for (size_t k = 8; k-- > 0;)
                word = word << 8 | out[8 * i + k];
            g->t[8 * j + i] = word;
        }
    }
}

int chunk_class_of(uint64_t size, int previous)
{
    assert(previous >= -1 && previous < CHUNK_CLASSES);
    if (previous >= 0 && size >= class_sizes[previous].from / 2 && size / 2 < class_sizes[previous].to)
        return previous;
    int c = 0;
    while (c < CHUNK_CLASSES - 1 && size >= class_sizes[c].to)
        c++;
    return c;
}

/* The offset of the first match in data[i..end), or end. *h is the hash of what was passed. Two bytes per step (Xia 2020): after
 * the first the hash stands one bit higher than in the definition, and so does the mask. */
static size_t scan(const struct gear *g, uint64_t mask, uint64_t *h, const uint8_t *data, size_t i, size_t end)
{
    const uint64_t *t = g->t;
    uint64_t hash = *h;
    for (; i + 2 <= end; i += 2) {
        hash = (hash << 2) + (t[data[i]] << 1);
        if (!(hash & mask << 1))
            return i;
        hash += t[data[i + 1]];
        if (!(hash & mask))
            return i + 1;
    }
    if (i < end) {
        hash = (hash << 1) + t[data[i]];
        if (!(hash & mask))
            return i;
    }
    *h = hash;
    return end;
}

size_t chunk_cut(const struct gear *g, const struct chunk_class *c, const uint8_t *data, size_t len)
{
    if (len <= c->min)
        return len;
    size_t end = len < c->max ? len : c->max;
    size_t normal = end < c->avg ? end : c->avg;
    uint64_t h = 0;
    size_t cut = scan(g, c->mask_small, &h, data, c->min, normal);
    if (cut < normal)
        return cut;
    return scan(g, c->mask_large, &h, data, normal, end);
}

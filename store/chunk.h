/* chunk: content-defined chunking. FastCDC (Xia et al., USENIX ATC 2016; 2020 in IEEE TPDS) with a gear hash, level-2 normalised
 * chunking and skipping of the minimum size. The gear table is keyed with the group's chunk key, so that a stranger cannot
 * recognise known files by their cuts. Pure functions.
 *
 * Same bytes, same cuts, whatever the buffering: a cut depends on the bytes from the previous cut on and on nothing else.
 *
 * Exactly: the hash h (64 bits) begins at 0 with the byte at offset min of the chunk, and each byte b makes it h = 2h + t[b].
 * When h & mask is 0 after the byte at offset i, the chunk is the i bytes before it; mask is mask_small for i < avg and
 * mask_large from there. Without a match the chunk has max bytes, or what is left. mask_small has log2(avg) + 2 bits set,
 * mask_large log2(avg) - 2, every second one from bit 62 down.
 * The table: t[8j .. 8j+7] = BLAKE2b-512(key, "gear" | 0x00 | j), j one byte, as eight u64 LE. */
#ifndef STORE_CHUNK_H
#define STORE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK_CLASSES 3
struct chunk_class { uint32_t min, avg, max; uint64_t mask_small, mask_large; };  /* before / after the average */
extern const struct chunk_class chunk_classes[CHUNK_CLASSES];  /* 16/64/256 KiB, 128/512 KiB/2 MiB, 512 KiB/2 MiB/4 MiB */

struct gear { uint64_t t[256]; };
void chunk_gear(struct gear *g, const uint8_t key[static 32]);

/* The class for a file of that size: 0 below 16 MiB, 1 below 4 GiB, 2 above; but `previous` (-1: none) is kept until the size has
 * left its range by a factor of 2, so that a growing log is not chunked anew at the border. */
int chunk_class_of(uint64_t size, int previous);

/* Length of the first chunk of data[0..len). Needs len >= class max, or all that is left of the file. */
size_t chunk_cut(const struct gear *g, const struct chunk_class *c, const uint8_t *data, size_t len);

#endif

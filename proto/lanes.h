/* lanes: BLAKE2b-256 of several texts at once (RFC 7693, the same results as id_hash). Hashing one text is a chain of steps that wait
 * for each other; those of eight texts fill a vector register side by side. With AVX-512 that is four times, with AVX2 twice as fast
 * as libsodium's one text after the other. Other processors do the latter.
 *
 * It pays where there are several texts of about the same length, such as the blocks of a file. The longest are begun first, who has
 * ended gives its lane to the next, and a text that is as long as many of the others together is hashed alone. Pure functions. */
#ifndef PROTO_LANES_H
#define PROTO_LANES_H

#include "proto/id.h"
#include "proto/mp.h"

enum lanes { LANES_NONE, LANES_AVX2, LANES_AVX512 };
enum lanes lanes_best(void);                        /* what this processor can */

/* out[i] = id_hash(in[i]), for all i < n. */
void lanes_hash(const struct bytes *in, size_t n, struct id *out);
/* The same in a certain way, no better than lanes_best(): for tests and measurements. */
void lanes_hash_by(enum lanes how, const struct bytes *in, size_t n, struct id *out);

#endif

/* id: names made of hashes and keys.
 *
 * `struct id` is 32 bytes: a BLAKE2b-256 hash (block, root, record) or an Ed25519 public key (device). `struct sid` is the
 * 16-byte id of a stream. Both are plain values: copy, compare with id_eq/id_cmp, never with ==. All zero means "none".
 * Hex is lower case. */
#ifndef PROTO_ID_H
#define PROTO_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

#define ID_LEN 32
#define SID_LEN 16
#define ID_HEX (2 * ID_LEN + 1)   /* with the final NUL */
#define SID_HEX (2 * SID_LEN + 1)

struct id  { uint8_t b[ID_LEN]; };
struct sid { uint8_t b[SID_LEN]; };

extern const struct id ID_NONE;

/* BLAKE2b-256 of the bytes: the id of a block, of a record, of an inline content. */
struct id id_hash(const void *data, size_t len);
/* BLAKE2b-256 of `tag` (one byte) followed by a and b: Merkle leaves and nodes, block-list leaves. b may be NULL, 0. */
struct id id_hash_tagged(uint8_t tag, const void *a, size_t alen, const void *b, size_t blen);
/* BLAKE2b of `outlen` (16..64) bytes keyed with `key` over the label, and behind it 0x00 and `more` when that is not NULL: derives
 * a secret or a tag from a label. */
void id_derive(void *out, size_t outlen, const uint8_t key[static 32], const char *label, const void *more, size_t morelen);
/* sid = BLAKE2b-16(group_id | dev | inc): the id of the stream that device `dev` writes in incarnation `inc`. */
struct sid sid_make(const struct id *group, const struct id *dev, const uint8_t inc[static 8]);

bool id_eq(const struct id *a, const struct id *b);
int  id_cmp(const struct id *a, const struct id *b);
bool id_is_none(const struct id *a);
bool sid_eq(const struct sid *a, const struct sid *b);
int  sid_cmp(const struct sid *a, const struct sid *b);

void hex_encode(char *out, const void *data, size_t len);                     /* writes 2*len+1 bytes */
int  hex_decode(void *out, size_t len, const char *hex) MUST_CHECK;           /* exactly 2*len hex digits (either case) and a NUL, or ERR_BAD */
const char *id_hex(const struct id *a, char out[static ID_HEX]);              /* returns out */
const char *sid_hex(const struct sid *a, char out[static SID_HEX]);

/* A device id for people: 8 groups of 5 decimal digits, "12345-67890-...". Group i is the i-th big-endian 32-bit word of its
 * BLAKE2b-256, modulo 100000. */
#define FINGERPRINT_LEN 48
const char *id_fingerprint(const struct id *dev, char out[static FINGERPRINT_LEN]);

#endif

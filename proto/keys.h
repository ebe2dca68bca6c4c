/* keys: the secrets of a device and of a group, and what is derived from them (docs/PROTOCOL.md "Identities and keys").
 *
 * Secret structs are meant to live in sodium_malloc memory: device_keys_new, group_keys_new and their _free do that. Call sodium_init() (err: keys_init)
 * once before anything here. */
#ifndef PROTO_KEYS_H
#define PROTO_KEYS_H

#include <stdint.h>

#include "proto/id.h"

#define SIG_LEN 64
#define CURVE_Z85 41  /* a Curve25519 key in ZeroMQ's Z85, with NUL */

struct device_keys {
    struct id dev;            /* Ed25519 public key: the device's id */
    uint8_t sign_sk[64];      /* Ed25519 secret key, libsodium's layout */
    uint8_t tr_pk[32], tr_sk[32]; /* transport: Curve25519, independent of the first */
};
struct group_keys {
    struct id group;          /* group_id = BLAKE2b-256(genesis record) */
    uint8_t k_group[32];      /* random, fixed, known to members */
    uint8_t k_epoch[32];      /* random, renewed at every revocation */
    uint64_t epoch;
};

int keys_init(void) MUST_CHECK;                       /* sodium_init; ERR_IO when the system has no randomness */
struct device_keys *device_keys_new(void);            /* fresh random keys */
struct device_keys *device_keys_empty(void);          /* zeroed, to be filled from the key file */
void device_keys_free(struct device_keys **k);
struct group_keys *group_keys_new(void);              /* zeroed; caller fills */
void group_keys_free(struct group_keys **k);

/* derived secrets: BLAKE2b(key = k_group, label), see id_derive; the labels are in brackets */
void keys_chunk(const struct group_keys *g, uint8_t out[static 32]);   /* the chunker's gear table ["chunk"] */
void keys_disc(const struct group_keys *g, uint8_t out[static 32]);    /* mDNS tags ["disc"] */
void keys_topic(const struct group_keys *g, uint8_t out[static 8]);    /* group tag in the PUB topic: first 8 of 16 bytes ["topic"] */
/* CURVE server pair of all nodes: crypto_box_seed_keypair of the 32 bytes ["curve-server"] */
void keys_server(const struct group_keys *g, uint8_t pk[static 32], uint8_t sk[static 32]);
/* The CURVE server pair of every join socket: public knowledge, it only carries the PAKE (docs/PROTOCOL.md "Joining").
 * crypto_box_seed_keypair of BLAKE2b-256("lanyard join server 1"). */
void keys_join_server(uint8_t pk[static 32], uint8_t sk[static 32]);

/* Signatures are Ed25519 over context | 0x00 | bytes. A context belongs to exactly one format. */
void keys_sign(uint8_t sig[static SIG_LEN], const char *context, const void *data, size_t len, const struct device_keys *k);
int  keys_verify(const uint8_t sig[static SIG_LEN], const char *context, const void *data, size_t len,
                 const struct id *dev) MUST_CHECK;    /* 0 or ERR_DENIED */

/* Anonymous sealed boxes (crypto_box_seal) to a device's transport key. Unsealing writes boxlen - SEAL_EXTRA bytes; ERR_BAD when
 * the box is too short to be one, ERR_DENIED when it was not sealed to k or is damaged. */
#define SEAL_EXTRA 48
void keys_seal(uint8_t *out, const void *data, size_t len, const uint8_t tr_pk[static 32]);  /* out: len + SEAL_EXTRA */
int  keys_unseal(uint8_t *out, const void *box, size_t boxlen, const struct device_keys *k) MUST_CHECK;

#endif

/* pake: joining by a short code: CPace (draft-irtf-cfrg-cpace, CPACE-RISTR255-SHA512) and the invite code.
 *
 * A code is 10 symbols of Crockford's base32 shown as XXXXX-XXXXX: 9 random ones (45 bits) and a check symbol that catches any
 * single wrong symbol and any swap of neighbours. Reading it ignores case, spaces and dashes, and takes O for 0, I and L for 1.
 * It is stretched with Argon2id (64 MiB, t = 3, one lane, salt "lanyard-join-1" and two zero bytes, the 11 bytes of the normal
 * form as password) before it becomes the password of the exchange.
 *
 *   joiner (initiator)                                       inviter (responder)
 *   pake_new                        -- JOIN1: Ya ------->    pake_new; pake_derive(Ya)
 *   pake_derive(Yb), pake_check(Tb) <- JOIN2: Yb, Tb ----    pake_tag
 *   pake_tag, pake_seal(card)       -- JOIN3: Ta, card -->   pake_check(Ta), pake_open
 *   pake_open                       <- JOIN4: membership -   pake_seal(membership)
 * ADa is the joiner's CURVE public key as used on the connection, ADb the server's; both ends see them through CURVE, so a
 * man in the middle of the connection changes the transcript and the tags do not match.
 *
 * From ISK (64 bytes; sid is empty, the transcript is the draft's initiator-responder one) follow
 *   mac_key = SHA-512("CPaceMac" | ISK);  Ta = HMAC-SHA512(mac_key, lv_cat("joiner", Ya, ADa)),  Tb with "inviter", Yb, ADb
 *   keys    = BLAKE2b-256(key = ISK, "lanyard-join-1 joiner to inviter"), the same with "inviter to joiner"
 * and a payload is XChaCha20-Poly1305 (IETF) with a zero nonce and no associated data: a key encrypts one message.
 *
 * Called in another order, or twice, the functions assert: derive, then check, then seal and open. What a peer may do wrong is
 * an error instead. After an error of pake_derive or pake_check the secrets are gone and only pake_free may follow. */
#ifndef PROTO_PAKE_H
#define PROTO_PAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/buf.h"
#include "proto/mp.h"

#define CODE_SYMBOLS 10
#define CODE_TEXT 12                       /* "XXXXX-XXXXX" and NUL */

void code_generate(char out[static CODE_TEXT]);
/* Normal form of what a person typed. ERR_USAGE when it cannot be a code (length, symbols), ERR_DENIED when the check symbol is
 * wrong: somebody mistyped. */
int  code_normalise(const char *typed, char out[static CODE_TEXT]) MUST_CHECK;
/* A public hint which code an inviter on the network waits for: the first two symbols (10 of its 45 bits). With it a joiner
 * does not spend other people's tries. */
void code_hint(const char code[static CODE_TEXT], char out[static 3]);
/* Argon2id of the normal form; takes about 0.2 s and 64 MiB. ERR_FULL when there is no memory. */
int  code_stretch(const char code[static CODE_TEXT], uint8_t prs[static 32]) MUST_CHECK;

struct pake;                               /* one exchange; secret memory */
enum pake_side { PAKE_JOINER, PAKE_INVITER };
/* The channel identifier is "lanyard-join-1"; own_ad and peer_ad are 32-byte CURVE keys. Writes the own share. The caller wipes
 * prs. */
struct pake *pake_new(enum pake_side side, const uint8_t prs[static 32], const uint8_t own_ad[static 32],
                      const uint8_t peer_ad[static 32], uint8_t share[static 32]);
void pake_free(struct pake **p);
int  pake_derive(struct pake *p, const uint8_t peer_share[static 32]) MUST_CHECK;  /* ERR_BAD: not a valid group element */
void pake_tag(const struct pake *p, uint8_t tag[static 64]);                        /* own key confirmation */
int  pake_check(struct pake *p, const uint8_t tag[static 64]) MUST_CHECK;           /* the peer's; ERR_DENIED = wrong code */
/* Authenticated encryption under the agreed key, one key a direction, one message a direction: a second pake_seal asserts, a
 * second pake_open is ERR_DENIED, as is a box that does not open. Both append to `out`, which is unchanged on failure (or failed:
 * ERR_FULL). What was opened holds secrets: the caller wipes it. */
#define PAKE_EXTRA 16                      /* a box is longer than its content by this */
int  pake_seal(struct pake *p, struct buf *out, const void *data, size_t len) MUST_CHECK;
int  pake_open(struct pake *p, struct buf *out, const void *box, size_t len) MUST_CHECK;

/* Only for the draft's test vectors: the generator for a password, and the result of an exchange with given scalars. */
void cpace_generator(uint8_t g[static 32], const void *prs, size_t prslen, const void *ci, size_t cilen,
                     const void *sid, size_t sidlen);
int  cpace_isk(uint8_t isk[static 64], const uint8_t scalar[static 32], const uint8_t peer_share[static 32],
               const void *sid, size_t sidlen, const void *ya, const void *ada, size_t adalen,
               const void *yb, const void *adb, size_t adblen) MUST_CHECK;

/* What JOIN4 carries: [1, genesis blob, [ctl blob...], k_group, k_epoch, epoch, [addr...]]; the keys are bin of 32, epoch is a
 * number, addr is str, "HOST:PORT" of 1..63 printable ASCII characters, at most LIMIT_ADDRS.
 * A blob is a signed blob as record.h has it, put in as it is: [bin record, bin signature]. Decoding checks this form, but no
 * signature and no record: group_init and group_apply do. */
struct membership {
    struct bytes genesis;                  /* one blob */
    struct bytes ctl; uint32_t nctl;       /* nctl blobs, one behind the other: read with mp_skip */
    uint8_t k_group[32], k_epoch[32];      /* secret: the caller wipes the struct */
    uint64_t epoch;
    struct bytes addrs; uint32_t naddr;    /* naddr strs: read with mp_str */
};
int membership_encode(struct buf *out, const struct membership *m) MUST_CHECK;  /* genesis, ctl, addrs: already encoded */
/* Strict: ERR_BAD for anything more, less or else. The byte strings are borrowed from data; *out is zero on failure. */
int membership_decode(const void *data, size_t len, struct membership *out) MUST_CHECK;

#endif

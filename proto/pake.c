#include "proto/pake.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SHARE 32
#define SHA512_BLOCK 128

static const char DSI[] = "CPaceRistretto255";
static const char DSI_ISK[] = "CPaceRistretto255_ISK";
static const char DSI_MAC[] = "CPaceMac";
static const char CHANNEL[] = "lanyard-join-1";

/* By side: what keeps the two directions apart in tags and keys. */
static const char *const TAG_LABEL[] = { [PAKE_JOINER] = "joiner", [PAKE_INVITER] = "inviter" };
static const char *const KEY_LABEL[] = { [PAKE_JOINER] = "lanyard-join-1 joiner to inviter",
                                         [PAKE_INVITER] = "lanyard-join-1 inviter to joiner" };

/* ---- CPace ---- */

/* LEB128 of a length; returns its number of bytes. */
static size_t leb128(size_t v, uint8_t out[static 10])
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

/* The draft's lv_cat, field by field into a hash: length (LEB128), bytes. */
static void hash_lv(crypto_hash_sha512_state *h, const void *data, size_t len)
{
    uint8_t length[10];
    crypto_hash_sha512_update(h, length, leb128(len, length));
    if (len)
        crypto_hash_sha512_update(h, data, len);
}

/* How many zero bytes make DSI and PRS fill the first block of the hash, so that its time does not depend on CI and sid. */
static size_t zero_pad(size_t prslen)
{
    uint8_t length[10];
    size_t used = 1 + leb128(prslen, length) + prslen + 1 + strlen(DSI);
    return used < SHA512_BLOCK ? SHA512_BLOCK - used : 0;
}

void cpace_generator(uint8_t g[static 32], const void *prs, size_t prslen, const void *ci, size_t cilen,
                     const void *sid, size_t sidlen)
{
    static const uint8_t zeros[SHA512_BLOCK];
    uint8_t digest[crypto_hash_sha512_BYTES];
    crypto_hash_sha512_state h;
    crypto_hash_sha512_init(&h);
    hash_lv(&h, DSI, strlen(DSI));
    hash_lv(&h, prs, prslen);
    hash_lv(&h, zeros, zero_pad(prslen));
    hash_lv(&h, ci, cilen);
    hash_lv(&h, sid, sidlen);
    crypto_hash_sha512_final(&h, digest);
    crypto_core_ristretto255_from_hash(g, digest);
    sodium_memzero(digest, sizeof digest);
    sodium_memzero(&h, sizeof h);
}

int cpace_isk(uint8_t isk[static 64], const uint8_t scalar[static 32], const uint8_t peer_share[static 32],
              const void *sid, size_t sidlen, const void *ya, const void *ada, size_t adalen,
              const void *yb, const void *adb, size_t adblen)
{
    uint8_t k[SHARE];
    /* This refuses what does not decode and the identity (the only element whose product is the identity); but libsodium 1.0.18
     * ignores the top bit, which no canonical element has set. */
    bool top_bit = peer_share[SHARE - 1] & 0x80;
    if (top_bit || crypto_scalarmult_ristretto255(k, scalar, peer_share) != 0) {
        sodium_memzero(k, sizeof k);
        return err_set(ERR_BAD, "join: the other side's share is not a valid group element");
    }
    crypto_hash_sha512_state h;
    crypto_hash_sha512_init(&h);
    hash_lv(&h, DSI_ISK, strlen(DSI_ISK));
    hash_lv(&h, sid, sidlen);
    hash_lv(&h, k, sizeof k);
    hash_lv(&h, ya, SHARE);
    hash_lv(&h, ada, adalen);
    hash_lv(&h, yb, SHARE);
    hash_lv(&h, adb, adblen);
    crypto_hash_sha512_final(&h, isk);
    sodium_memzero(k, sizeof k);
    sodium_memzero(&h, sizeof h);
    return 0;
}

/* ---- the exchange ---- */

/* STARTED -- pake_derive --> DERIVED -- pake_check --> CONFIRMED; a failure of either leads to FAILED, where nothing is left.
 * Only under a confirmed key is anything sealed or opened. */
enum pake_state { PAKE_STARTED, PAKE_DERIVED, PAKE_CONFIRMED, PAKE_FAILED };

struct party { uint8_t share[SHARE], ad[32]; };
struct pake {
    enum pake_side side;
    enum pake_state state;
    bool sealed, opened;
    struct party own, peer;
    uint8_t scalar[32];                          /* until DERIVED */
    uint8_t mac_key[64];                         /* from DERIVED on */
    uint8_t seal_key[32], open_key[32];          /* from DERIVED on, each until it was used */
};

static enum pake_side other(enum pake_side s)
{
    return s == PAKE_JOINER ? PAKE_INVITER : PAKE_JOINER;
}

struct pake *pake_new(enum pake_side side, const uint8_t prs[static 32], const uint8_t own_ad[static 32],
                      const uint8_t peer_ad[static 32], uint8_t share[static 32])
{
    struct pake *p = sodium_malloc(sizeof *p);
    if (!p)
        abort();
    memset(p, 0, sizeof *p);
    p->side = side;
    p->state = PAKE_STARTED;
    memcpy(p->own.ad, own_ad, sizeof p->own.ad);
    memcpy(p->peer.ad, peer_ad, sizeof p->peer.ad);

    uint8_t g[SHARE];
    cpace_generator(g, prs, 32, CHANNEL, strlen(CHANNEL), NULL, 0);
    crypto_core_ristretto255_scalar_random(p->scalar);
    int rc = crypto_scalarmult_ristretto255(p->own.share, p->scalar, g);
    assert(rc == 0);                             /* g is valid, the scalar is not 0, the order is prime */
    sodium_memzero(g, sizeof g);
    memcpy(share, p->own.share, SHARE);
    return p;
}

void pake_free(struct pake **p)
{
    sodium_free(*p);                             /* zeroes first */
    *p = NULL;
}

static void fail(struct pake *p)
{
    sodium_memzero(p, sizeof *p);
    p->state = PAKE_FAILED;
}

/* mac_key = SHA-512("CPaceMac" | sid | ISK) with the empty sid, as the draft suggests; the payload keys by keyed BLAKE2b. */
static void derive_keys(struct pake *p, const uint8_t isk[static 64])
{
    crypto_hash_sha512_state h;
    crypto_hash_sha512_init(&h);
    crypto_hash_sha512_update(&h, (const uint8_t *)DSI_MAC, strlen(DSI_MAC));
    crypto_hash_sha512_update(&h, isk, 64);
    crypto_hash_sha512_final(&h, p->mac_key);
    sodium_memzero(&h, sizeof h);

    const char *seal = KEY_LABEL[p->side], *open = KEY_LABEL[other(p->side)];
    crypto_generichash(p->seal_key, sizeof p->seal_key, (const uint8_t *)seal, strlen(seal), isk, 64);
    crypto_generichash(p->open_key, sizeof p->open_key, (const uint8_t *)open, strlen(open), isk, 64);
}

int pake_derive(struct pake *p, const uint8_t peer_share[static 32])
{
    assert(p->state == PAKE_STARTED);
    memcpy(p->peer.share, peer_share, SHARE);
    const struct party *a = p->side == PAKE_JOINER ? &p->own : &p->peer;
    const struct party *b = p->side == PAKE_JOINER ? &p->peer : &p->own;
    uint8_t isk[64];
    int rc = cpace_isk(isk, p->scalar, peer_share, NULL, 0, a->share, a->ad, sizeof a->ad, b->share, b->ad, sizeof b->ad);
    if (rc == 0) {
        derive_keys(p, isk);
        sodium_memzero(p->scalar, sizeof p->scalar);
        p->state = PAKE_DERIVED;
    } else {
        fail(p);
    }
    sodium_memzero(isk, sizeof isk);
    return rc;
}

static void mac_lv(crypto_auth_hmacsha512_state *m, const void *data, size_t len)
{
    uint8_t length[10];
    crypto_auth_hmacsha512_update(m, length, leb128(len, length));
    crypto_auth_hmacsha512_update(m, data, len);
}

/* HMAC-SHA512(mac_key, lv_cat(label, share, AD)) of the side that sends it. The label is our addition to the draft's: a tag that
 * is reflected to its sender never fits. */
static void side_tag(const struct pake *p, enum pake_side side, uint8_t tag[static 64])
{
    const struct party *who = side == p->side ? &p->own : &p->peer;
    crypto_auth_hmacsha512_state m;
    crypto_auth_hmacsha512_init(&m, p->mac_key, sizeof p->mac_key);
    mac_lv(&m, TAG_LABEL[side], strlen(TAG_LABEL[side]));
    mac_lv(&m, who->share, sizeof who->share);
    mac_lv(&m, who->ad, sizeof who->ad);
    crypto_auth_hmacsha512_final(&m, tag);
    sodium_memzero(&m, sizeof m);
}

void pake_tag(const struct pake *p, uint8_t tag[static 64])
{
    assert(p->state == PAKE_DERIVED || p->state == PAKE_CONFIRMED);
    side_tag(p, p->side, tag);
}

int pake_check(struct pake *p, const uint8_t tag[static 64])
{
    assert(p->state == PAKE_DERIVED);
    uint8_t want[64];
    side_tag(p, other(p->side), want);
    int differs = sodium_memcmp(want, tag, sizeof want);
    sodium_memzero(want, sizeof want);
    if (differs) {
        fail(p);
        return err_set(ERR_DENIED, "join: wrong code, or somebody between the devices: ask for a new code");
    }
    p->state = PAKE_CONFIRMED;
    return 0;
}

/* ---- payload ---- */

/* Each key seals one message, so that the nonce may be constant. */
static const uint8_t NONCE[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];

int pake_seal(struct pake *p, struct buf *out, const void *data, size_t len)
{
    assert(p->state == PAKE_CONFIRMED && !p->sealed);
    if (len > SIZE_MAX - PAKE_EXTRA)
        return err_set(ERR_FULL, "join: too much to seal: %zu bytes", len);
    uint8_t *box = buf_room(out, len + PAKE_EXTRA);
    if (!box)
        return err_set(ERR_FULL, "join: no room to seal %zu bytes", len);
    crypto_aead_xchacha20poly1305_ietf_encrypt(box, NULL, data, len, NULL, 0, NULL, NONCE, p->seal_key);
    p->sealed = true;
    sodium_memzero(p->seal_key, sizeof p->seal_key);
    return 0;
}

int pake_open(struct pake *p, struct buf *out, const void *box, size_t len)
{
    assert(p->state == PAKE_CONFIRMED);
    if (p->opened)
        return err_set(ERR_DENIED, "join: a second message where one is due");
    if (len < PAKE_EXTRA)
        return err_set(ERR_DENIED, "join: sealed message of %zu bytes: too short", len);
    size_t before = out->len;
    uint8_t *text = buf_room(out, len);          /* the tag's room too, so that it is never empty; given back below */
    if (!text)
        return err_set(ERR_FULL, "join: no room to open %zu bytes", len);
    int bad = crypto_aead_xchacha20poly1305_ietf_decrypt(text, NULL, NULL, box, len, NULL, 0, NONCE, p->open_key);
    p->opened = true;
    sodium_memzero(p->open_key, sizeof p->open_key);
    out->len = before + (bad ? 0 : len - PAKE_EXTRA);
    return bad ? err_set(ERR_DENIED, "join: sealed message is not what the other side sent") : 0;
}

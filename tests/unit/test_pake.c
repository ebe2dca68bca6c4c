/* The vectors named draft are those of draft-irtf-cfrg-cpace-21 (source github.com/cfrg/draft-irtf-cfrg-cpace, 2026-04-23), section
 * "Test vector for CPace using group ristretto255 and hash SHA-512", initiator-responder setting. */
#include "proto/pake.h"
#include "tests/unit/t.h"

#include <signal.h>
#include <sodium.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEX(name, text) uint8_t name[(sizeof(text) - 1) / 2]; \
    EQ_I(sodium_hex2bin(name, sizeof name, text, sizeof(text) - 1, NULL, NULL, NULL), 0)

#define DRAFT_CI  "0b415f696e69746961746f720b425f726573706f6e646572"
#define DRAFT_SID "7e4b4791d6a8ef019b936c79fb7f2c57"
#define DRAFT_G   "222b6b195fe84b1652badb6f6a3ae3d24341e7306967f0b8115b40d5698c7e56"
#define DRAFT_YA_ "da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08"   /* scalars */
#define DRAFT_YB_ "d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d"
#define DRAFT_YA  "d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157"   /* shares */
#define DRAFT_YB  "3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258"
#define DRAFT_ISK "b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd" \
                  "2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447"
#define DRAFT_S   "7cd0e075fa7955ba52c02759a6c90dbbfc10e6d40aea8d283e407d88cf538a05"
#define DRAFT_X   "2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"   /* valid */
#define DRAFT_Y_I1 "2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"  /* does not decode */
#define IDENTITY  "0000000000000000000000000000000000000000000000000000000000000000"

/* ---- CPace against the draft ---- */

static void draft_generator(void)
{
    HEX(ci, DRAFT_CI);
    HEX(sid, DRAFT_SID);
    HEX(want, DRAFT_G);
    uint8_t g[32];
    cpace_generator(g, "Password", 8, ci, sizeof ci, sid, sizeof sid);
    EQ_MEM(g, want, 32);
}

static void draft_shares(void)
{
    HEX(g, DRAFT_G);
    HEX(a, DRAFT_YA_);
    HEX(b, DRAFT_YB_);
    HEX(ya, DRAFT_YA);
    HEX(yb, DRAFT_YB);
    uint8_t share[32];
    OK(crypto_scalarmult_ristretto255(share, a, g));
    EQ_MEM(share, ya, 32);
    OK(crypto_scalarmult_ristretto255(share, b, g));
    EQ_MEM(share, yb, 32);
}

static void draft_isk(void)
{
    HEX(sid, DRAFT_SID);
    HEX(a, DRAFT_YA_);
    HEX(b, DRAFT_YB_);
    HEX(ya, DRAFT_YA);
    HEX(yb, DRAFT_YB);
    HEX(want, DRAFT_ISK);
    uint8_t isk[64];
    OK(cpace_isk(isk, a, yb, sid, sizeof sid, ya, "ADa", 3, yb, "ADb", 3));
    EQ_MEM(isk, want, 64);
    OK(cpace_isk(isk, b, ya, sid, sizeof sid, ya, "ADa", 3, yb, "ADb", 3));
    EQ_MEM(isk, want, 64);
}

static int isk_with_share(const uint8_t share[static 32])
{
    HEX(s, DRAFT_S);
    uint8_t isk[64];
    return cpace_isk(isk, s, share, NULL, 0, share, NULL, 0, share, NULL, 0);
}

static void draft_invalid_shares(void)
{
    HEX(x, DRAFT_X);
    HEX(y_i1, DRAFT_Y_I1);
    HEX(identity, IDENTITY);
    OK(isk_with_share(x));
    FAILS(isk_with_share(y_i1), ERR_BAD, "group element");
    FAILS(isk_with_share(identity), ERR_BAD, "group element");
}

/* RFC 9496: a field element below p = 2^255 - 19 and even, anything else is refused even where arithmetic could go on. */
static void non_canonical_shares(void)
{
    HEX(p, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");       /* = 0 mod p */
    HEX(p_plus_2, "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    HEX(one, "0100000000000000000000000000000000000000000000000000000000000000");     /* "negative": odd */
    HEX(ones, "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff");
    HEX(top_bit, DRAFT_X);
    top_bit[31] |= 0x80;
    FAILS(isk_with_share(p), ERR_BAD, "group element");
    FAILS(isk_with_share(p_plus_2), ERR_BAD, "group element");
    FAILS(isk_with_share(one), ERR_BAD, "group element");
    FAILS(isk_with_share(ones), ERR_BAD, "group element");
    FAILS(isk_with_share(top_bit), ERR_BAD, "group element");
}

/* Lengths of two LEB128 bytes, and a password that fills the block by itself: the generator string written out by hand. */
static void long_fields(void)
{
    uint8_t prs[200], ci[300], text[1000], hash[64], want[32], g[32];
    memset(prs, 'p', sizeof prs);
    memset(ci, 'c', sizeof ci);
    size_t n = 0;
    text[n++] = 17;
    memcpy(text + n, "CPaceRistretto255", 17), n += 17;
    text[n++] = 0x80 | (200 & 0x7f), text[n++] = 200 >> 7;
    memcpy(text + n, prs, sizeof prs), n += sizeof prs;
    text[n++] = 0;                                                    /* no padding */
    text[n++] = 0x80 | (300 & 0x7f), text[n++] = 300 >> 7;
    memcpy(text + n, ci, sizeof ci), n += sizeof ci;
    text[n++] = 0;                                                    /* no sid */
    crypto_hash_sha512(hash, text, n);
    crypto_core_ristretto255_from_hash(want, hash);
    cpace_generator(g, prs, sizeof prs, ci, sizeof ci, NULL, 0);
    EQ_MEM(g, want, 32);
}

/* ---- the exchange ---- */

static const uint8_t PRS[32] = "a stretched code", AD_A[32] = "key of the joiner", AD_B[32] = "key of the inviter";
struct pair { struct pake *a, *b; uint8_t ya[32], yb[32], ta[64], tb[64]; };

static void start(struct pair *x)
{
    x->a = pake_new(PAKE_JOINER, PRS, AD_A, AD_B, x->ya);
    x->b = pake_new(PAKE_INVITER, PRS, AD_B, AD_A, x->yb);
}

static void derive(struct pair *x)
{
    OK(pake_derive(x->b, x->ya));
    OK(pake_derive(x->a, x->yb));
    pake_tag(x->a, x->ta);
    pake_tag(x->b, x->tb);
}

static void confirm(struct pair *x)
{
    start(x);
    derive(x);
    OK(pake_check(x->a, x->tb));
    OK(pake_check(x->b, x->ta));
}

static void finish(struct pair *x)
{
    pake_free(&x->a);
    pake_free(&x->b);
    CHECK(!x->a && !x->b);
}

static void same_code_agrees(void)
{
    struct pair x;
    confirm(&x);
    AUTO(buf_release) struct buf box = BUF_INIT(1000), text = BUF_INIT(1000);
    OK(pake_seal(x.a, &box, "card", 4));
    EQ_U(box.len, 4 + PAKE_EXTRA);
    OK(pake_open(x.b, &text, box.data, box.len));
    EQ_U(text.len, 4);
    EQ_MEM(text.data, "card", 4);

    buf_clear(&box);
    buf_add_str(&box, "kept|");                  /* both append */
    OK(pake_seal(x.b, &box, "membership", 10));
    OK(pake_open(x.a, &text, box.data + 5, box.len - 5));
    EQ_U(text.len, 14);
    EQ_MEM(text.data, "cardmembership", 14);
    finish(&x);
}

static void an_empty_message(void)
{
    struct pair x;
    confirm(&x);
    AUTO(buf_release) struct buf box = BUF_INIT(1000), text = BUF_INIT(1000);
    OK(pake_seal(x.a, &box, NULL, 0));
    OK(pake_open(x.b, &text, box.data, box.len));
    EQ_U(text.len, 0);
    finish(&x);
}

static void two_exchanges_share_nothing(void)
{
    struct pair x, y;
    confirm(&x);
    confirm(&y);
    CHECK(memcmp(x.ya, y.ya, 32) != 0 && memcmp(x.yb, y.yb, 32) != 0);
    CHECK(memcmp(x.ta, y.ta, 64) != 0 && memcmp(x.tb, y.tb, 64) != 0);
    AUTO(buf_release) struct buf box = BUF_INIT(1000), text = BUF_INIT(1000);
    OK(pake_seal(x.a, &box, "card", 4));
    FAILS(pake_open(y.b, &text, box.data, box.len), ERR_DENIED, "sealed");
    finish(&x);
    finish(&y);
}

/* The other side's view of code and keys differs: neither confirms. */
static void disagree(const uint8_t prs_b[static 32], const uint8_t own_b[static 32], const uint8_t peer_b[static 32])
{
    struct pair x;
    x.a = pake_new(PAKE_JOINER, PRS, AD_A, AD_B, x.ya);
    x.b = pake_new(PAKE_INVITER, prs_b, own_b, peer_b, x.yb);
    derive(&x);
    FAILS(pake_check(x.a, x.tb), ERR_DENIED, "wrong code");
    FAILS(pake_check(x.b, x.ta), ERR_DENIED, "wrong code");
    finish(&x);
}

static void another_code_or_key_is_denied(void)
{
    static const uint8_t other[32] = "something else";
    disagree(other, AD_B, AD_A);
    disagree(PRS, other, AD_A);
    disagree(PRS, AD_B, other);
    disagree(PRS, AD_A, AD_B);
}

static void every_bit_of_share_and_tag_counts(void)
{
    for (int bit = 0; bit < 512; bit++) {
        struct pair x;
        start(&x);
        derive(&x);
        x.tb[bit / 8] ^= (uint8_t)(1 << bit % 8);
        FAILS(pake_check(x.a, x.tb), ERR_DENIED, "wrong code");
        finish(&x);
    }
    for (int bit = 0; bit < 256; bit++) {
        struct pair x;
        start(&x);
        x.ya[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int rc = pake_derive(x.b, x.ya);
        CHECK(rc == 0 || rc == ERR_BAD);         /* half of the strings are no element */
        if (rc == 0) {
            OK(pake_derive(x.a, x.yb));
            pake_tag(x.b, x.tb);
            FAILS(pake_check(x.a, x.tb), ERR_DENIED, "wrong code");
        }
        finish(&x);
    }
}

static void a_reflected_peer_is_denied(void)
{
    struct pair x;
    x.a = pake_new(PAKE_JOINER, PRS, AD_A, AD_A, x.ya);   /* even if keys did not tell the sides apart */
    OK(pake_derive(x.a, x.ya));
    pake_tag(x.a, x.ta);
    FAILS(pake_check(x.a, x.ta), ERR_DENIED, "wrong code");
    pake_free(&x.a);
}

static void a_bad_share_ends_the_exchange(void)
{
    struct pair x;
    start(&x);
    HEX(identity, IDENTITY);
    HEX(y_i1, DRAFT_Y_I1);
    FAILS(pake_derive(x.a, identity), ERR_BAD, "group element");
    FAILS(pake_derive(x.b, y_i1), ERR_BAD, "group element");
    finish(&x);
}

static void a_changed_box_is_denied(void)
{
    for (size_t bit = 0; bit < 8 * (4 + PAKE_EXTRA); bit++) {
        struct pair x;
        confirm(&x);
        AUTO(buf_release) struct buf box = BUF_INIT(1000), text = BUF_INIT(1000);
        OK(pake_seal(x.a, &box, "card", 4));
        box.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        buf_add_str(&text, "before");
        FAILS(pake_open(x.b, &text, box.data, box.len), ERR_DENIED, "sealed");
        EQ_U(text.len, 6);
        finish(&x);
    }
}

static void a_box_of_another_size_or_direction_is_denied(void)
{
    AUTO(buf_release) struct buf box = BUF_INIT(1000), text = BUF_INIT(1000);
    for (size_t len = 0; len < 4 + PAKE_EXTRA; len++) {
        struct pair x;
        confirm(&x);
        buf_clear(&box);
        OK(pake_seal(x.a, &box, "card", 4));
        FAILS(pake_open(x.b, &text, box.data, len), ERR_DENIED, "sealed");
        finish(&x);
    }
    struct pair x;
    confirm(&x);
    buf_clear(&box);
    OK(pake_seal(x.a, &box, "card", 4));
    FAILS(pake_open(x.a, &text, box.data, box.len), ERR_DENIED, "sealed");   /* one's own, sent back */
    finish(&x);
}

static void a_second_box_is_denied(void)
{
    struct pair x;
    confirm(&x);
    AUTO(buf_release) struct buf box = BUF_INIT(1000), text = BUF_INIT(1000);
    OK(pake_seal(x.a, &box, "card", 4));
    OK(pake_open(x.b, &text, box.data, box.len));
    FAILS(pake_open(x.b, &text, box.data, box.len), ERR_DENIED, "second");
    finish(&x);
}

static void a_full_buffer_is_an_error(void)
{
    struct pair x;
    confirm(&x);
    AUTO(buf_release) struct buf small = BUF_INIT(19), box = BUF_INIT(20), text = BUF_INIT(3);
    FAILS(pake_seal(x.a, &small, "card", 4), ERR_FULL, "room");
    OK(pake_seal(x.a, &box, "card", 4));
    FAILS(pake_open(x.b, &text, box.data, box.len), ERR_FULL, "room");
    finish(&x);
}

/* A joiner from the text of docs/PROTOCOL.md alone, against the inviter of pake.c. */
static void lv(uint8_t **at, const void *data, uint8_t len)
{
    *(*at)++ = len;
    memcpy(*at, data, len);
    *at += len;
}

static void written_tag(uint8_t tag[static 64], const uint8_t mac_key[static 64], const char *label,
                        const uint8_t share[static 32], const uint8_t ad[static 32])
{
    uint8_t text[100], *at = text;
    lv(&at, label, (uint8_t)strlen(label));
    lv(&at, share, 32);
    lv(&at, ad, 32);
    crypto_auth_hmacsha512_state m;
    crypto_auth_hmacsha512_init(&m, mac_key, 64);
    crypto_auth_hmacsha512_update(&m, text, (size_t)(at - text));
    crypto_auth_hmacsha512_final(&m, tag);
}

static void a_joiner_by_the_book(void)
{
    uint8_t g[32], scalar[32], ya[32], yb[32], isk[64], mac_in[8 + 64], mac_key[64], tag[64], want[64], key[32];
    cpace_generator(g, PRS, 32, "lanyard-join-1", 14, "", 0);
    crypto_core_ristretto255_scalar_random(scalar);
    OK(crypto_scalarmult_ristretto255(ya, scalar, g));
    struct pake *b = pake_new(PAKE_INVITER, PRS, AD_B, AD_A, yb);
    OK(pake_derive(b, ya));
    OK(cpace_isk(isk, scalar, yb, "", 0, ya, AD_A, 32, yb, AD_B, 32));
    memcpy(mac_in, "CPaceMac", 8);
    memcpy(mac_in + 8, isk, 64);
    crypto_hash_sha512(mac_key, mac_in, sizeof mac_in);

    pake_tag(b, tag);
    written_tag(want, mac_key, "inviter", yb, AD_B);
    EQ_MEM(tag, want, 64);
    written_tag(tag, mac_key, "joiner", ya, AD_A);
    OK(pake_check(b, tag));

    static const char label[] = "lanyard-join-1 joiner to inviter", nonce[24];
    crypto_generichash(key, 32, (const uint8_t *)label, sizeof label - 1, isk, 64);
    uint8_t box[4 + PAKE_EXTRA];
    crypto_aead_xchacha20poly1305_ietf_encrypt(box, NULL, (const uint8_t *)"card", 4, NULL, 0, NULL, (const uint8_t *)nonce, key);
    AUTO(buf_release) struct buf text = BUF_INIT(100);
    OK(pake_open(b, &text, box, sizeof box));
    EQ_MEM(text.data, "card", 4);
    pake_free(&b);
}

/* ---- misuse is a bug and aborts ---- */

static void seal_twice(struct pair *x)
{
    struct buf box = BUF_INIT(1000);
    (void)!pake_seal(x->a, &box, "1", 1);
    (void)!pake_seal(x->a, &box, "2", 1);
}
static void seal_unconfirmed(struct pair *x)
{
    struct buf box = BUF_INIT(1000);
    struct pair y;
    start(&y);
    derive(&y);
    (void)!pake_seal(y.a, &box, "1", 1);
    (void)x;
}
static void derive_twice(struct pair *x) { (void)!pake_derive(x->a, x->yb); }
static void check_twice(struct pair *x)  { (void)!pake_check(x->a, x->tb); }
static void go_on_after_a_wrong_tag(struct pair *x)
{
    struct pair y;
    start(&y);
    derive(&y);
    (void)!pake_check(y.a, x->tb);
    (void)!pake_check(y.a, y.tb);
}

static bool aborts(void (*misuse)(struct pair *))
{
    struct pair x;
    confirm(&x);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);                          /* the assertion's text */
        misuse(&x);
        _exit(0);
    }
    int status = 0;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    finish(&x);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void misuse_aborts(void)
{
    CHECK(aborts(seal_twice));
    CHECK(aborts(seal_unconfirmed));
    CHECK(aborts(derive_twice));
    CHECK(aborts(check_twice));
    CHECK(aborts(go_on_after_a_wrong_tag));
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(draft_generator);
    RUN(draft_shares);
    RUN(draft_isk);
    RUN(draft_invalid_shares);
    RUN(non_canonical_shares);
    RUN(long_fields);
    RUN(same_code_agrees);
    RUN(an_empty_message);
    RUN(two_exchanges_share_nothing);
    RUN(another_code_or_key_is_denied);
    RUN(every_bit_of_share_and_tag_counts);
    RUN(a_reflected_peer_is_denied);
    RUN(a_bad_share_ends_the_exchange);
    RUN(a_changed_box_is_denied);
    RUN(a_box_of_another_size_or_direction_is_denied);
    RUN(a_second_box_is_denied);
    RUN(a_full_buffer_is_an_error);
    RUN(a_joiner_by_the_book);
    RUN(misuse_aborts);
    return t_done();
}

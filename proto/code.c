#include "proto/pake.h"
#include "proto/phrase.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

/* Crockford's base32: no I, L, O, U. */
static const char SYMBOL[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* Argon2id: t = 3, 64 MiB, one lane. The salt is fixed, because both sides must get the same password from the code alone. */
static const unsigned long long STRETCH_PASSES = 3;
static const size_t STRETCH_BYTES = 64u << 20;
static const uint8_t STRETCH_SALT[crypto_pwhash_SALTBYTES] = "lanyard-join-1\0";
static const uint8_t PHRASE_SALT[crypto_pwhash_SALTBYTES + 1] = "lanyard-recover-";

/* Value 0..31 of a typed symbol, -1 when it is none. */
static int symbol_value(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    const char *at = c ? strchr(SYMBOL, c) : NULL;
    return at ? (int)(at - SYMBOL) : -1;
}

/* For n - 1 symbols the one that makes s0*a^(n-1) + ... + s(n-2)*a + check = 0 in GF(32) = GF(2)[a]/(a^5 + a^2 + 1). The weights are powers of
 * a, which has order 31, so they are distinct and not zero. A wrong symbol changes the sum by weight * difference, and a swap by
 * (difference of the weights) * (difference of the symbols): neither product is zero. */
static uint8_t check_value(const uint8_t *s, int n)
{
    unsigned sum = 0;
    for (int i = 0; i < n - 1; i++) {
        sum = (sum ^ s[i]) << 1;          /* (sum + s[i]) * a */
        if (sum & 32)
            sum ^= 32 | 4 | 1;            /* a^5 = a^2 + 1 */
    }
    return (uint8_t)sum;
}

/* In groups of five. */
static void text_of(const uint8_t *s, int n, char *out)
{
    for (int i = 0; i < n; i++) {
        if (i > 0 && i % 5 == 0)
            *out++ = '-';
        *out++ = SYMBOL[s[i]];
    }
    *out = '\0';
}

static void generate(int n, char *out)
{
    uint8_t s[PHRASE_SYMBOLS];
    randombytes_buf(s, (size_t)n - 1);
    for (int i = 0; i < n - 1; i++)
        s[i] &= 31;
    s[n - 1] = check_value(s, n);
    text_of(s, n, out);
    sodium_memzero(s, sizeof s);
}

void code_generate(char out[static CODE_TEXT]) { generate(CODE_SYMBOLS, out); }
void phrase_generate(char out[static PHRASE_TEXT]) { generate(PHRASE_SYMBOLS, out); }

/* Errors never quote what was typed: what was mistyped once is nearly the secret. */
static int read_symbols(const char *what, const char *typed, uint8_t *s, int max)
{
    int n = 0;
    for (; *typed; typed++) {
        if (*typed == ' ' || *typed == '-')
            continue;
        int v = symbol_value(*typed);
        if (v < 0)
            return err_set(ERR_USAGE, "the %s holds a character that no %s has: it is %d letters and digits, without U", what, what, max);
        if (n == max)
            return err_set(ERR_USAGE, "the %s is too long: it has %d letters and digits", what, max);
        s[n++] = (uint8_t)v;
    }
    if (n < max)
        return err_set(ERR_USAGE, "the %s is too short: it has %d letters and digits, not %d", what, max, n);
    return 0;
}

static int normalise(const char *what, const char *by, const char *typed, int n, char *out)
{
    uint8_t s[PHRASE_SYMBOLS] = { 0 };
    int rc = read_symbols(what, typed, s, n);
    if (rc == 0 && check_value(s, n) != s[n - 1])
        rc = err_set(ERR_DENIED, "the %s is mistyped: compare it with the one that %s printed", what, by);
    if (rc == 0)
        text_of(s, n, out);
    sodium_memzero(s, sizeof s);
    return rc;
}

int code_normalise(const char *typed, char out[static CODE_TEXT]) { return normalise("code", "invite", typed, CODE_SYMBOLS, out); }

int phrase_normalise(const char *typed, char out[static PHRASE_TEXT])
{
    return normalise("phrase", "lanyard", typed, PHRASE_SYMBOLS, out);
}

void code_hint(const char code[static CODE_TEXT], char out[static 3])
{
    out[0] = code[0];
    out[1] = code[1];
    out[2] = '\0';
}

static int stretch(const char *what, const char *text, const uint8_t *salt, uint8_t out[static 32])
{
    if (crypto_pwhash(out, 32, text, strlen(text), salt, STRETCH_PASSES, STRETCH_BYTES, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err_set(ERR_FULL, "no memory to stretch the %s: %zu MiB are needed", what, STRETCH_BYTES >> 20);
    return 0;
}

int code_stretch(const char code[static CODE_TEXT], uint8_t prs[static 32])
{
    assert(strlen(code) == CODE_TEXT - 1);
    return stretch("code", code, STRETCH_SALT, prs);
}

int phrase_keys(const char phrase[static PHRASE_TEXT], struct device_keys *k)
{
    assert(strlen(phrase) == PHRASE_TEXT - 1);
    uint8_t seed[crypto_sign_SEEDBYTES];
    int rc = stretch("phrase", phrase, PHRASE_SALT, seed);
    if (rc == 0)
        crypto_sign_seed_keypair(k->dev.b, k->sign_sk, seed);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

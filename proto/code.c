#include "proto/pake.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

/* Crockford's base32: no I, L, O, U. */
static const char SYMBOL[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* Argon2id: t = 3, 64 MiB, one lane. The salt is fixed, because both sides must get the same password from the code alone. */
static const unsigned long long STRETCH_PASSES = 3;
static const size_t STRETCH_BYTES = 64u << 20;
static const uint8_t STRETCH_SALT[crypto_pwhash_SALTBYTES] = "lanyard-join-1\0";

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

/* The symbol that makes s0*a^9 + s1*a^8 + ... + s8*a + check = 0 in GF(32) = GF(2)[a]/(a^5 + a^2 + 1). The weights are powers of
 * a, which has order 31, so they are distinct and not zero. A wrong symbol changes the sum by weight * difference, and a swap by
 * (difference of the weights) * (difference of the symbols): neither product is zero. */
static uint8_t check_value(const uint8_t s[static CODE_SYMBOLS - 1])
{
    unsigned sum = 0;
    for (int i = 0; i < CODE_SYMBOLS - 1; i++) {
        sum = (sum ^ s[i]) << 1;          /* (sum + s[i]) * a */
        if (sum & 32)
            sum ^= 32 | 4 | 1;            /* a^5 = a^2 + 1 */
    }
    return (uint8_t)sum;
}

static void code_text(const uint8_t s[static CODE_SYMBOLS], char out[static CODE_TEXT])
{
    for (int i = 0; i < CODE_SYMBOLS; i++)
        out[i < CODE_SYMBOLS / 2 ? i : i + 1] = SYMBOL[s[i]];
    out[CODE_SYMBOLS / 2] = '-';
    out[CODE_TEXT - 1] = '\0';
}

void code_generate(char out[static CODE_TEXT])
{
    uint8_t s[CODE_SYMBOLS];
    randombytes_buf(s, CODE_SYMBOLS - 1);
    for (int i = 0; i < CODE_SYMBOLS - 1; i++)
        s[i] &= 31;
    s[CODE_SYMBOLS - 1] = check_value(s);
    code_text(s, out);
    sodium_memzero(s, sizeof s);
}

/* Errors never quote the code: what was mistyped once is nearly the code. */
static int read_symbols(const char *typed, uint8_t s[static CODE_SYMBOLS])
{
    int n = 0;
    for (; *typed; typed++) {
        if (*typed == ' ' || *typed == '-')
            continue;
        int v = symbol_value(*typed);
        if (v < 0)
            return err_set(ERR_USAGE, "the code holds a character that no code has: it is %d letters and digits, without U",
                           CODE_SYMBOLS);
        if (n == CODE_SYMBOLS)
            return err_set(ERR_USAGE, "the code is too long: it has %d letters and digits", CODE_SYMBOLS);
        s[n++] = (uint8_t)v;
    }
    if (n < CODE_SYMBOLS)
        return err_set(ERR_USAGE, "the code is too short: it has %d letters and digits, not %d", CODE_SYMBOLS, n);
    return 0;
}

int code_normalise(const char *typed, char out[static CODE_TEXT])
{
    uint8_t s[CODE_SYMBOLS] = { 0 };
    int rc = read_symbols(typed, s);
    if (rc == 0 && check_value(s) != s[CODE_SYMBOLS - 1])
        rc = err_set(ERR_DENIED, "the code is mistyped: compare it with the one that invite printed");
    if (rc == 0)
        code_text(s, out);
    sodium_memzero(s, sizeof s);
    return rc;
}

void code_hint(const char code[static CODE_TEXT], char out[static 3])
{
    out[0] = code[0];
    out[1] = code[1];
    out[2] = '\0';
}

int code_stretch(const char code[static CODE_TEXT], uint8_t prs[static 32])
{
    assert(strlen(code) == CODE_TEXT - 1);
    if (crypto_pwhash(prs, 32, code, CODE_TEXT - 1, STRETCH_SALT, STRETCH_PASSES, STRETCH_BYTES,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err_set(ERR_FULL, "no memory to stretch the code: %zu MiB are needed", STRETCH_BYTES >> 20);
    return 0;
}

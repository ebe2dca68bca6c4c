#include "proto/pake.h"
#include "tests/unit/t.h"

#include <ctype.h>
#include <sodium.h>

static const char ALPHABET[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static const int PLACE[CODE_SYMBOLS] = { 0, 1, 2, 3, 4, 6, 7, 8, 9, 10 };   /* of symbol i in the text */

static void generated_codes_have_the_form_and_read_back(void)
{
    for (int i = 0; i < 1000; i++) {
        char code[CODE_TEXT], back[CODE_TEXT];
        code_generate(code);
        EQ_U(strlen(code), CODE_TEXT - 1);
        CHECK(code[5] == '-');
        for (int k = 0; k < CODE_SYMBOLS; k++)
            CHECK(strchr(ALPHABET, code[PLACE[k]]));
        OK(code_normalise(code, back));
        EQ_S(back, code);
    }
}

static void every_symbol_is_generated_at_every_place(void)
{
    bool seen[CODE_SYMBOLS][32] = { 0 };
    for (int i = 0; i < 2000; i++) {         /* a symbol stays away by chance with 32 * 10 * (31/32)^2000 < 1e-25 */
        char code[CODE_TEXT];
        code_generate(code);
        for (int k = 0; k < CODE_SYMBOLS; k++)
            seen[k][strchr(ALPHABET, code[PLACE[k]]) - ALPHABET] = true;
    }
    for (int k = 0; k < CODE_SYMBOLS; k++)
        for (int v = 0; v < 32; v++)
            CHECK(seen[k][v]);
}

static void every_single_wrong_symbol_is_caught(void)
{
    for (int i = 0; i < 300; i++) {
        char code[CODE_TEXT], wrong[CODE_TEXT], out[CODE_TEXT];
        code_generate(code);
        for (int k = 0; k < CODE_SYMBOLS; k++)
            for (const char *a = ALPHABET; *a; a++) {
                memcpy(wrong, code, CODE_TEXT);
                wrong[PLACE[k]] = *a;
                if (*a == code[PLACE[k]])
                    OK(code_normalise(wrong, out));
                else
                    FAILS(code_normalise(wrong, out), ERR_DENIED, "mistyped");
            }
    }
}

static void every_swap_of_two_symbols_is_caught(void)
{
    for (int i = 0; i < 3000; i++) {         /* neighbours are what the scheme promises; it catches any two */
        char code[CODE_TEXT], wrong[CODE_TEXT], out[CODE_TEXT];
        code_generate(code);
        for (int k = 0; k < CODE_SYMBOLS; k++)
            for (int l = k + 1; l < CODE_SYMBOLS; l++) {
                memcpy(wrong, code, CODE_TEXT);
                wrong[PLACE[k]] = code[PLACE[l]];
                wrong[PLACE[l]] = code[PLACE[k]];
                if (code[PLACE[k]] == code[PLACE[l]])
                    OK(code_normalise(wrong, out));
                else
                    FAILS(code_normalise(wrong, out), ERR_DENIED, "mistyped");
            }
    }
}

/* The scheme, spelled out with another arithmetic: sum of a^(9-i) * s_i with logarithms. */
static void the_check_symbol_is_the_weighted_sum(void)
{
    uint8_t power[31];
    int log[32] = { 0 };
    for (unsigned i = 0, v = 1; i < 31; i++, v = v << 1 ^ (v & 16 ? 0x25 : 0)) {
        power[i] = (uint8_t)v;
        log[v] = (int)i;
    }
    for (int i = 0; i < 1000; i++) {
        char code[CODE_TEXT];
        code_generate(code);
        unsigned sum = 0;
        for (int k = 0; k < CODE_SYMBOLS; k++) {
            int v = (int)(strchr(ALPHABET, code[PLACE[k]]) - ALPHABET);
            if (v)
                sum ^= power[(log[v] + 9 - k) % 31];
        }
        EQ_U(sum, 0);
    }
}

static void typing_is_forgiving(void)
{
    char out[CODE_TEXT];
    OK(code_normalise("00000-00000", out));
    OK(code_normalise("oOoO0 0oOoO", out));
    EQ_S(out, "00000-00000");
    OK(code_normalise("  --0-0 0-0 0-0 0 0-0-0  ", out));
    EQ_S(out, "00000-00000");

    for (int i = 0; i < 1000; i++) {
        char code[CODE_TEXT], typed[2 * CODE_TEXT] = "";
        code_generate(code);
        size_t n = 0;
        for (int k = 0; k < CODE_SYMBOLS; k++) {
            char c = code[PLACE[k]];
            c = c == '0' ? 'o' : c == '1' ? "iIlL"[i % 4] : i % 3 ? (char)tolower(c) : c;
            typed[n++] = c;
            if ((i + k) % 4 == 0)
                typed[n++] = i % 2 ? ' ' : '-';
        }
        OK(code_normalise(typed, out));
        EQ_S(out, code);
    }
}

static void what_cannot_be_a_code_is_a_usage_error(void)
{
    char out[CODE_TEXT];
    FAILS(code_normalise("", out), ERR_USAGE, "too short");
    FAILS(code_normalise("-----", out), ERR_USAGE, "too short");
    FAILS(code_normalise("00000-0000", out), ERR_USAGE, "too short");
    FAILS(code_normalise("00000-000000", out), ERR_USAGE, "too long");
    FAILS(code_normalise("U0000-00000", out), ERR_USAGE, "character");
    FAILS(code_normalise("u0000-00000", out), ERR_USAGE, "character");
    FAILS(code_normalise("00000_00000", out), ERR_USAGE, "character");
    FAILS(code_normalise("0000\xc3\x96-00000", out), ERR_USAGE, "character");
    FAILS(code_normalise("00000-00001", out), ERR_DENIED, "mistyped");
}

static void the_hint_is_the_first_two_symbols(void)
{
    char hint[3];
    code_hint("7K0AB-CDEFG", hint);
    EQ_S(hint, "7K");
}

/* Fixed by docs/PROTOCOL.md: a change of any parameter of Argon2id makes old and new devices unable to join each other. */
static void stretching_is_fixed(void)
{
    uint8_t a[32], b[32];
    char hex[2 * sizeof a + 1];
    OK(code_stretch("00000-00000", a));
    sodium_bin2hex(hex, sizeof hex, a, sizeof a);
    EQ_S(hex, "8dd59a040c401d206052cf8d7e9e86c4c9910f825f5bd9539b6d78e5cab1f6d6");
    OK(code_stretch("00000-00001", b));
    CHECK(memcmp(a, b, sizeof a) != 0);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(generated_codes_have_the_form_and_read_back);
    RUN(every_symbol_is_generated_at_every_place);
    RUN(every_single_wrong_symbol_is_caught);
    RUN(every_swap_of_two_symbols_is_caught);
    RUN(the_check_symbol_is_the_weighted_sum);
    RUN(typing_is_forgiving);
    RUN(what_cannot_be_a_code_is_a_usage_error);
    RUN(the_hint_is_the_first_two_symbols);
    RUN(stretching_is_fixed);
    return t_done();
}

/* t: the whole unit test harness. A test file is a program:
 *   static void test_one(void) { CHECK(1 + 1 == 2); EQ_U(f(), 3); }
 *   int main(void) { RUN(test_one); return t_done(); }
 * It prints TAP lines: "ok N - file: name" or "not ok ...", with what was expected on lines that begin with '#'. A failed check
 * ends its test and the program goes on with the next one. */
#ifndef TESTS_UNIT_T_H
#define TESTS_UNIT_T_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

static jmp_buf t_jump;
static int t_count, t_failed;

#define T_FAIL(...) do { printf("# %s:%d: ", __FILE__, __LINE__); printf(__VA_ARGS__); printf("\n"); longjmp(t_jump, 1); } while (0)
#define CHECK(cond) do { if (!(cond)) T_FAIL("not true: %s", #cond); } while (0)
#define EQ_U(a, b) do { uint64_t t_a = (uint64_t)(a), t_b = (uint64_t)(b); \
    if (t_a != t_b) T_FAIL("%s is %" PRIu64 ", expected %s = %" PRIu64, #a, t_a, #b, t_b); } while (0)
#define EQ_I(a, b) do { int64_t t_a = (int64_t)(a), t_b = (int64_t)(b); \
    if (t_a != t_b) T_FAIL("%s is %" PRId64 ", expected %s = %" PRId64 " (%s)", #a, t_a, #b, t_b, err_text()); } while (0)
#define EQ_S(a, b) do { const char *t_a = (a), *t_b = (b); \
    if (strcmp(t_a, t_b) != 0) T_FAIL("%s is \"%s\", expected \"%s\"", #a, t_a, t_b); } while (0)
#define EQ_MEM(a, b, n) do { if (memcmp((a), (b), (n)) != 0) T_FAIL("%s and %s differ", #a, #b); } while (0)
/* 0 and nothing else */
#define OK(call) EQ_I((call), 0)
/* fails with `code`, and the text contains `words` */
#define FAILS(call, code, words) do { EQ_I((call), (code)); \
    if (!strstr(err_text(), (words))) T_FAIL("text \"%s\" lacks \"%s\"", err_text(), (words)); } while (0)

#define RUN(fn) t_run(#fn, fn)
static inline void t_run(const char *name, void (*fn)(void))
{
    t_count++;
    int bad = setjmp(t_jump);
    if (!bad)
        fn();
    else
        t_failed++;
    printf("%sok %d - %s\n", bad ? "not " : "", t_count, name);
    fflush(stdout);
}
static inline int t_done(void)
{
    printf("1..%d\n", t_count);
    return t_failed ? 1 : 0;
}
/* Deterministic random numbers for property tests (splitmix64, Steele et al. 2014). */
static inline uint64_t t_rand(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
#endif

#include <threads.h>

#include "tests/unit/t.h"

#include "proto/limits.h"
#include "proto/path.h"

#define GOOD(s) OK(path_check(s, sizeof s - 1))
#define WRONG(s, words) FAILS(path_check(s, sizeof s - 1), ERR_BAD, words)

static void test_good(void)
{
    GOOD("a");
    GOOD("a/b/c");
    GOOD("...");
    GOOD(".a/..b/c..");
    GOOD("with space/\xc3\xa4/tab\there");
    GOOD("bytes \xff\xfe that are no UTF-8");
    GOOD("a/.lanyard");
    GOOD(".lanyard2/a");
    GOOD(".lanyar");
    GOOD("back\\slash");
}

static void test_wrong(void)
{
    WRONG("", "empty");
    WRONG("/", "empty component");
    WRONG("/a", "empty component");
    WRONG("a/", "empty component");
    WRONG("a//b", "empty component");
    WRONG(".", "\".\"");
    WRONG("..", "\"..\"");
    WRONG("a/./b", "\".\"");
    WRONG("a/../b", "\"..\"");
    WRONG("a/..", "\"..\"");
    WRONG("../a", "\"..\"");
    WRONG("a\0b", "NUL");
    WRONG("a\0", "NUL");
    WRONG(".lanyard", "own");
    WRONG(".lanyard/x", "own");
    WRONG(".Lanyard/x", "own");
    WRONG("a\n/../b", "a\\x0a/../b");
}

static void test_lengths(void)
{
    char p[LIMIT_PATH + 1];
    memset(p, 'a', sizeof p);
    OK(path_check(p, LIMIT_NAME));
    FAILS(path_check(p, LIMIT_NAME + 1), ERR_BAD, "255");
    for (size_t i = LIMIT_NAME; i < sizeof p; i += LIMIT_NAME + 1)
        p[i] = '/';
    p[LIMIT_PATH - 1] = 'a';
    OK(path_check(p, LIMIT_PATH));
    p[LIMIT_PATH] = 'a';
    FAILS(path_check(p, LIMIT_PATH + 1), ERR_BAD, "4095");
}

static void test_depth(void)
{
    char p[2 * LIMIT_PATH_DEPTH + 1];
    for (size_t i = 0; i < sizeof p; i++)
        p[i] = i % 2 ? '/' : 'a';
    OK(path_check(p, 2 * LIMIT_PATH_DEPTH - 1));
    FAILS(path_check(p, 2 * LIMIT_PATH_DEPTH + 1), ERR_BAD, "512");
}

/* path_check against the rules written a second time, over strings of the few bytes that matter. */
static void test_random(void)
{
    static const char alphabet[] = { 'a', '/', '.', '\0', '/', '.', 'b', '\xff' };
    uint64_t seed = 3;
    size_t good = 0;
    for (int run = 0; run < 200000; run++) {
        char p[16];
        size_t len = t_rand(&seed) % 9;
        p[0] = '/';
        for (size_t i = 1; i <= len; i++)
            p[i] = alphabet[t_rand(&seed) % sizeof alphabet];
        p[len + 1] = '/';
        bool expected = len > 0 && !memchr(p, 0, len + 2) && !memmem(p, len + 2, "//", 2) && !memmem(p, len + 2, "/./", 3) &&
                        !memmem(p, len + 2, "/../", 4);
        CHECK((path_check(p + 1, len) == 0) == expected);
        good += expected;
    }
    CHECK(good > 10000);
}

static void test_parent_and_beneath(void)
{
    EQ_U(path_parent("a/b/c", 5), 3);
    EQ_U(path_parent("a", 1), 0);
    CHECK(path_beneath("a/b", 3, "a", 1));
    CHECK(path_beneath("a/b/c", 5, "a", 1));
    CHECK(!path_beneath("a", 1, "a", 1));
    CHECK(!path_beneath("ab/c", 4, "a", 1));
    CHECK(!path_beneath("b/a", 3, "a", 1));
    CHECK(!path_beneath("a", 1, "a/b", 3));
    CHECK(path_beneath("a", 1, "", 0));
}

#define SHOWN(s) path_show(s, sizeof s - 1)

static void test_show(void)
{
    EQ_S(SHOWN("a/\xc3\xa4 b"), "a/\xc3\xa4 b");
    EQ_S(SHOWN("a\nb\x1b[0m\x7f\0c"), "a\\x0ab\\x1b[0m\\x7f\\x00c");
    EQ_S(SHOWN("a\\x0a"), "a\\x5cx0a");
    EQ_S(SHOWN("\xff\xc3(\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80"), "\\xff\\xc3(\\xc0\\xaf\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
    EQ_S(SHOWN("\xc2\x9b" "1 \xe2\x80\xae" "evil"), "\\xc2\\x9b1 \\xe2\\x80\\xaeevil");
    EQ_S(SHOWN("\xe2\x82\xac\xf0\x9f\x98\x80 \xe2\x82"), "\xe2\x82\xac\xf0\x9f\x98\x80 \\xe2\\x82");
    const char *a = SHOWN("1"), *b = SHOWN("2"), *c = SHOWN("3"), *d = SHOWN("4");
    CHECK(*a == '1' && *b == '2' && *c == '3' && *d == '4');
    char big[LIMIT_PATH + 100];
    memset(big, 1, sizeof big);
    EQ_U(strlen(path_show(big, sizeof big)), 4 * LIMIT_PATH);
}

/* Eight results, so that any that were shared would be overwritten. */
static int show_elsewhere(void *arg)
{
    (void)arg;
    for (int i = 0; i < 8; i++)
        EQ_S(SHOWN("there"), "there");
    return 0;
}

static void test_each_thread_has_its_own(void)
{
    thrd_t thread;
    const char *here = SHOWN("here");
    CHECK(thrd_create(&thread, show_elsewhere, NULL) == thrd_success);
    thrd_join(thread, NULL);
    EQ_S(here, "here");
}

#define NAME_GOOD(s) OK(snapshot_name_check(s, sizeof s - 1))
#define NAME_WRONG(s, words) FAILS(snapshot_name_check(s, sizeof s - 1), ERR_BAD, words)

static void test_snapshot_names(void)
{
    char longest[LIMIT_SNAPSHOT_NAME + 1];
    memset(longest, 'n', sizeof longest);
    OK(snapshot_name_check(longest, LIMIT_SNAPSHOT_NAME));
    FAILS(snapshot_name_check(longest, sizeof longest), ERR_BAD, "longer than 64");
    NAME_GOOD("before the move \xc3\xa4");
    NAME_GOOD("...");
    NAME_WRONG("", "empty");
    NAME_WRONG(".", "\".\"");
    NAME_WRONG("..", "\"..\"");
    NAME_WRONG("a/b", "'/'");
    NAME_WRONG("a\nb", "control");
    NAME_WRONG("a\0b", "control");
    NAME_WRONG("\xe2\x80\xae", "control");            /* turns the direction of writing */
    NAME_WRONG("a\xff", "UTF-8");
    CHECK(path_is_snapshot(".lanyard/snapshots/a", 20));
    CHECK(!path_is_snapshot(".lanyard/snapshots/", 19));
    CHECK(!path_is_snapshot(".lanyard/snapshotsX", 19));
    CHECK(!path_is_snapshot("a", 1));
    OK(path_check_snapshot(".lanyard/snapshots/a", 20));
    FAILS(path_check_snapshot("a", 1), ERR_BAD, "not beneath");
    WRONG(".lanyard/snapshots/a", "own folder");
}

int main(void)
{
    RUN(test_good);
    RUN(test_wrong);
    RUN(test_lengths);
    RUN(test_depth);
    RUN(test_random);
    RUN(test_parent_and_beneath);
    RUN(test_show);
    RUN(test_each_thread_has_its_own);
    RUN(test_snapshot_names);
    return t_done();
}

#include "tests/unit/t.h"

#include <errno.h>
#include <pthread.h>

static void test_set_and_prefix(void)
{
    EQ_I(err_set(ERR_BAD, "path %s: too %s", "a/b", "long"), ERR_BAD);
    EQ_S(err_text(), "path a/b: too long");
    EQ_I(err_prefix(ERR_FULL, "peer %d", 7), ERR_FULL);
    EQ_S(err_text(), "peer 7: path a/b: too long");
}

static void test_own_text_as_argument(void)
{
    err_set(ERR_BAD, "inner");
    err_set(ERR_IO, "outer (%s)", err_text());
    EQ_S(err_text(), "outer (inner)");
    err_prefix(ERR_IO, "%s", err_text());
    EQ_S(err_text(), "outer (inner): outer (inner)");
}

static void test_errno_in_text(void)
{
    errno = ENOSPC;
    err_set(ERR_IO, "write: %m");
    EQ_S(err_text(), "write: No space left on device");
}

static void test_control_characters(void)
{
    err_set(ERR_BAD, "a\nb\x1b[31m\x7f\tc \xc3\xa4 \xc2\x9b" "d");
    EQ_S(err_text(), "a?b?[31m??c \xc3\xa4 ??d");
}

static void test_long_text_is_cut(void)
{
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    EQ_I(err_set(ERR_BAD, "%s", big), ERR_BAD);
    CHECK(strlen(err_text()) >= 500 && strlen(err_text()) < 5000);
    err_prefix(ERR_BAD, "front");
    CHECK(strncmp(err_text(), "front: xxx", 10) == 0);
    err_prefix(ERR_BAD, "%s", big);
    CHECK(strlen(err_text()) >= 500);
}

static void test_names(void)
{
    EQ_S(err_name(0), "ok");
    EQ_S(err_name(ERR_BAD), "bad");
    EQ_S(err_name(ERR_CORRUPT), "corrupt");
    EQ_S(err_name(ERR_USAGE), "usage");
    EQ_S(err_name(ERR_LOCKED), "locked");
    EQ_S(err_name(ERR_LOCKED - 1), "unknown");
    EQ_S(err_name(-2000000000), "unknown");
    for (int code = ERR_BAD; code >= ERR_LOCKED; code--)
        CHECK(err_name(code) && *err_name(code) && strcmp(err_name(code), "unknown") != 0);
}

static void *other_thread(void *arg)
{
    char *seen = arg;
    snprintf(seen, 64, "%s", err_text());
    err_set(ERR_BAD, "other");
    return NULL;
}

static void test_thread_local(void)
{
    pthread_t thread;
    char seen[64] = "untouched";
    err_set(ERR_BAD, "mine");
    EQ_I(pthread_create(&thread, NULL, other_thread, seen), 0);
    pthread_join(thread, NULL);
    EQ_S(seen, "");
    EQ_S(err_text(), "mine");
}

static void test_memory(void)
{
    AUTOFREE char *s = xstrdup("text");
    EQ_S(s, "text");
    AUTOFREE uint64_t *v = xcalloc(4, sizeof *v);
    EQ_U(v[0] | v[1] | v[2] | v[3], 0);
    v = xrealloc(v, 100, sizeof *v);
    v[99] = 1;
    AUTOFREE char *empty = xcalloc(0, 8);
    CHECK(empty != NULL);
}

int main(void)
{
    RUN(test_set_and_prefix);
    RUN(test_own_text_as_argument);
    RUN(test_errno_in_text);
    RUN(test_control_characters);
    RUN(test_long_text_is_cut);
    RUN(test_names);
    RUN(test_thread_local);
    RUN(test_memory);
    return t_done();
}

/* Which paths the files of kept/ had. */
#include <sodium.h>

#include "proto/limits.h"
#include "tests/unit/folder_fixture.h"

struct note { const char *name; char path[LIMIT_PATH + 1]; size_t len; int n; };

static int see(void *arg, const char *name, const char *path, size_t len)
{
    struct note *s = arg;
    if (s->name && strcmp(name, s->name) != 0)
        return 0;
    memcpy(s->path, path, len);
    s->path[len] = '\0';
    s->len = len;
    s->n++;
    return 0;
}
/* The path that is noted for a file; "" when none is. */
static const char *noted(const char *name)
{
    static struct note s;
    s = (struct note){ .name = name };
    OK(folder_kept_paths(folder, see, &s));
    return s.path;
}
static int notes(void)
{
    struct note s = { .n = 0 };
    OK(folder_kept_paths(folder, see, &s));
    return s.n;
}

static void test_what_is_displaced(void)
{
    begin();
    EQ_I(notes(), 0);
    make_dir("d");
    put("d/a\nb", "a");
    put("f", "f");
    put("g", "g");
    OK(symlink("f", full("link")));
    temp("t", "new");
    struct change c[] = { change(CHANGE_REMOVE, "d/a\nb", NULL, "k-1"), change(CHANGE_FILE, "f", "t", "k-2"),
                          change(CHANGE_META, "g", NULL, "k-3"), change(CHANGE_REMOVE, "link", NULL, "k-4") };
    OK(folder_apply(folder, c, 4));
    EQ_S(noted("k-1"), "d/a\nb");
    EQ_S(noted("k-2"), "f");
    EQ_I(notes(), 2);
    struct change log = change(CHANGE_REMOVE, "g", NULL, "k-5");
    log.whole = true;                     /* a part of a database is no version of anything */
    OK(outcome(&log));
    EQ_I(notes(), 2);
}

static void test_as_long_as_may_be(void)
{
    begin();
    char path[LIMIT_PATH];
    for (size_t i = 0; i < sizeof path; i++)
        path[i] = i % 200 == 199 ? '/' : (char)('a' + i % 26);
    path[sizeof path - 1] = (char)0xff;
    folder_kept_note(folder, "k-1", path, sizeof path);
    EQ_I(strlen(noted("k-1")), sizeof path);
    CHECK(memcmp(noted("k-1"), path, sizeof path) == 0);
    folder_kept_note(folder, "../k", "f", 1);
    folder_kept_note(folder, "k-2", "../f", 4);
    EQ_I(notes(), 1);
}

static void append_text(const char *text)
{
    int fd = open(full(".lanyard/kept/.paths"), O_WRONLY | O_APPEND | O_CLOEXEC);
    EQ_I(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* What a power cut or a full disk left of a line is none, and does no harm to the next. */
static void test_torn(void)
{
    static const char *const torn[] = { "\n", "\nk-2", "\nk-2 ", "\nk-2 66", "\nk-2 666", "\nk-2 6.", "\nk-2 xx.", "\nk-2 .", "\n.k 66.", "\nk-2 2e2e.", "\n 66.", "\n\n" };
    begin();
    folder_kept_note(folder, "k-1", "f", 1);
    for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
        append_text(torn[i]);
        EQ_I(notes(), 1 + (int)i);
        folder_kept_note(folder, "k-1", "f", 1);
        EQ_I(notes(), 2 + (int)i);
    }
}

static void test_tidy(void)
{
    begin();
    for (int i = 0; i < 10; i++) {
        char name[20];
        snprintf(name, sizeof name, "k-%d", i);
        folder_kept_note(folder, name, name, strlen(name));
    }
    for (int i = 5; i < 10; i++) {
        char path[40];
        snprintf(path, sizeof path, ".lanyard/kept/k-%d", i);
        edit(path, "x");
    }
    folder_kept_tidy(folder);
    EQ_I(notes(), 10);                    /* half of them are needed */
    OK(unlink(full(".lanyard/kept/k-5")));
    folder_kept_tidy(folder);
    EQ_I(notes(), 4);
    EQ_S(noted("k-9"), "k-9");
    EQ_S(noted("k-5"), "");
    folder_kept_note(folder, "k-10", "f", 1);
    EQ_I(notes(), 5);
}

static int full_pwrite_calls;
static ssize_t no_room(int fd, const void *p, size_t n, off_t at)
{
    full_pwrite_calls++;
    if (pwrite(fd, p, n / 2, at) < 0)
        return -1;
    errno = ENOSPC;
    return -1;
}

static void test_a_note_that_fails_holds_up_nothing(void)
{
    begin();
    hook();
    table.pwrite = no_room;
    put("f", "f");
    struct change c = change(CHANGE_REMOVE, "f", NULL, "k-1");
    OK(outcome(&c));
    EQ_I(full_pwrite_calls, 1);
    EQ_S(kept("k-1"), "f");
    EQ_I(notes(), 0);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_what_is_displaced);
    RUN(test_as_long_as_may_be);
    RUN(test_torn);
    RUN(test_tidy);
    RUN(test_a_note_that_fails_holds_up_nothing);
    finish_all();
    return t_done();
}

/* A program opens a file for writing at some moment of a change, and goes on writing to it afterwards: what it writes is found at the path
 * that it has opened, whatever the moment was. */
#include <signal.h>
#include <sodium.h>

#include "tests/unit/t_calls.h"

static int ncalls, open_at;       /* before which system call the writer comes */
static int writer = -1;

static int before_call(const char *name)
{
    (void)name;
    if (++ncalls == open_at)
        writer = open(full("b"), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    return 0;
}

/* Whether leases tell of writers in this directory; if not there is nothing to be tested. */
static bool leases(void)
{
    begin();
    put("f", "x");
    int fd;
    OK(folder_open_file(folder, "f", 1, &fd));
    int code = folder_quiet(fd);
    close(fd);
    return code == 0;
}

static void is_at(const char *path, int fd)
{
    struct stat there, open_one;
    OK(lstat(full(path), &there));
    OK(fstat(fd, &open_one));
    if (there.st_ino != open_one.st_ino)
        T_FAIL("a writer that came before call %d writes to a file that is no longer at %s", open_at, path);
}

static struct change begin_change(enum change_op op)
{
    begin();
    put("b", "old b");
    put("from", "from");
    temp("t-b", "new b");
    return op == CHANGE_MOVE ? change_move("from", "b", "kept-b")
         : op == CHANGE_SYMLINK ? change_link("b", "new", "kept-b") : change(op, "b", "t-b", "kept-b");
}

static void writer_everywhere(enum change_op op)
{
    unsigned came = 0;
    for (int at = 1, total = at; at <= total; at++) {
        struct change c = begin_change(op);
        hook_calls(before_call);
        ncalls = 0;
        open_at = at;
        writer = -1;
        OK(folder_apply(folder, &c, 1));
        total = ncalls;
        sys = &without_sync;
        if (writer < 0)
            continue;
        came++;
        is_at("b", writer);
        if (c.code < 0) {
            EQ_I(c.code, ERR_CHANGED);
            CHECK(strstr(c.text, "open for writing"));
            CHECK(!c.was_kept);
        }
        close(writer);
        if (c.code < 0) {         /* nothing had happened, and now nobody is in the way */
            c.expected = look("b");
            c.from_expected = look("from");
            OK(outcome(&c));
        }
        EQ_S(kept("kept-b"), "old b");
    }
    CHECK(came >= 3);
}

static void everywhere(void)
{
    if (!leases())
        return;
    writer_everywhere(CHANGE_FILE);
    writer_everywhere(CHANGE_SYMLINK);
    writer_everywhere(CHANGE_REMOVE);
    writer_everywhere(CHANGE_DIR);
    writer_everywhere(CHANGE_MOVE);
}
static void test_writer_comes_at_any_moment(void) { everywhere(); }
static void test_writer_comes_without_exchange(void)
{
    no_exchange = true;
    everywhere();
    no_exchange = false;
}

/* One opens the old file before it is displaced, another one the new file before that is taken back. */
static int exchanges, first, second;
static int two_renameat2(int a, const char *p, int b, const char *q, unsigned f)
{
    if (f & RENAME_EXCHANGE)
        *(exchanges++ ? &second : &first) = open(full("b"), O_RDWR | O_CLOEXEC);
    return renameat2(a, p, b, q, f);
}
static void test_two_writers(void)
{
    if (!leases())
        return;
    put("b", "old b");
    temp("t-b", "new b");
    struct change c = change(CHANGE_FILE, "b", "t-b", "kept-b");
    hook();
    table.renameat2 = two_renameat2;
    exchanges = 0;
    FAILS(outcome(&c), ERR_CHANGED, "open for writing");
    sys = &without_sync;
    EQ_I(exchanges, 2);
    is_at("b", first);
    is_at(".lanyard/kept/kept-b", second);        /* not in tmp/, where it would be removed */
    CHECK(c.was_kept);
    close(first);
    close(second);
}

/* There are no descriptors left, once or from then on: so nobody can be asked whether it is written to. */
static int opened, fails_at;
static bool fails_on;
static int before_open(const char *name)
{
    bool fails = strcmp(name, "openat2") == 0 && (++opened == fails_at || (fails_on && opened > fails_at));
    errno = EMFILE;
    return fails ? -1 : 0;
}

static void no_descriptors(enum change_op op, bool on)
{
    fails_on = on;
    for (fails_at = 1; fails_at < 12; fails_at++) {
        struct change c = begin_change(op);
        writer = open(full("b"), O_RDWR | O_CLOEXEC);
        hook_calls(before_open);
        opened = 0;
        OK(folder_apply(folder, &c, 1));
        sys = &without_sync;
        open_at = fails_at;
        is_at("b", writer);
        CHECK(c.code < 0 && !c.was_kept);
        close(writer);
    }
}

static void test_no_descriptors(void)
{
    static const enum change_op ops[] = { CHANGE_FILE, CHANGE_SYMLINK, CHANGE_REMOVE, CHANGE_DIR, CHANGE_MOVE };
    for (size_t i = 0; leases() && i < sizeof ops / sizeof *ops; i++) {
        no_descriptors(ops[i], false);
        no_descriptors(ops[i], true);
    }
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    signal(SIGIO, SIG_IGN);
    RUN(test_writer_comes_at_any_moment);
    RUN(test_writer_comes_without_exchange);
    RUN(test_two_writers);
    RUN(test_no_descriptors);
    finish_all();
    return t_done();
}

/* The flushes of a batch of one change: which there are, when they are not enough, and every call failing, once or from then on. What the
 * power leaves of such batches: test_powercut.c. */
#include "store/folder_priv.h"
#include "tests/unit/t_calls.h"

enum { MAX_CALLS = 200 };
static const char *calls[MAX_CALLS];
static int ncalls, fail_at;
static bool fail_on;              /* from fail_at on, not only there */

static int enter(const char *name)
{
    CHECK(ncalls < MAX_CALLS);
    calls[ncalls++] = name;
    errno = EIO;
    return fail_at && (fail_on ? ncalls >= fail_at : ncalls == fail_at) ? -1 : 0;
}
static void hook_all(int at, bool on)
{
    hook_calls(enter);
    ncalls = 0;
    fail_at = at;
    fail_on = on;
}

static struct change one_change(void)
{
    begin();
    folder->flushes_dirs = true;
    put("b", "old b");
    temp("t-b", "new b");
    return change(CHANGE_FILE, "b", "t-b", "kept-b");
}

static bool is_call(int i, const char *name) { return strcmp(calls[i], name) == 0; }

static void test_order_of_one(void)
{
    struct change c = one_change();
    hook_all(0, false);
    OK(folder_apply(folder, &c, 1));
    sys = &without_sync;
    int before = 0, renames = 0;
    for (int i = 0; i < ncalls; i++) {
        CHECK(!is_call(i, "syncfs"));
        renames += is_call(i, "renameat2");
        before += !renames && is_call(i, "fsync");
    }
    EQ_I(before, 2);                  /* the new file, and the note of its path */
    EQ_I(renames, 2);
    for (int i = 0; i < 2; i++)       /* kept/ and tmp/ */
        CHECK(is_call(ncalls - 1 - i, "fsync"));
    EQ_S(get("b"), "new b");
}

/* A note that cannot be flushed holds up nothing: it is the first. What cannot be opened to be flushed makes it syncfs. */
static void fail_every_call_of_one(bool on)
{
    for (int at = 1, total = 1; at <= total + 1; at++) {
        struct change c = one_change();
        hook_all(at, on);
        int code = folder_apply(folder, &c, 1), note = 0;
        total = ncalls;
        while (note < total && !is_call(note, "fsync"))
            note++;
        bool flush = at <= total && (is_call(at - 1, "fsync") || is_call(at - 1, "syncfs")) && at - 1 != note;
        if (!on)
            EQ_I(code, flush ? ERR_IO : 0);
        else if (at <= total)
            EQ_I(code, ERR_IO);
        CHECK(strcmp(get("b"), "old b") == 0 || strcmp(kept("kept-b"), "old b") == 0);
        CHECK(strcmp(get("b"), "old b") == 0 || strcmp(get("b"), "new b") == 0);
        EQ_I(kept("kept-b")[0] != '\0', c.was_kept);
        if (code == 0 && c.code == 0)
            EQ_S(get("b"), "new b");
        sys = &without_sync;
    }
}

static void test_call_fails_of_one(void)
{
    fail_every_call_of_one(false);
    fail_every_call_of_one(true);
}

/* Where directories are made on the way, or what comes was written long ago, it is syncfs. */
static void test_not_by_itself(void)
{
    for (int i = 0; i < 2; i++) {
        struct change c = one_change();
        struct stamp old = { .kind = STAMP_FILE, .size = 5 };
        if (i == 0)
            c = change(CHANGE_FILE, "new/b", "t-b", NULL);
        hook_all(0, false);
        OK(folder_apply(folder, &c, 1));
        sys = &without_sync;
        CHECK(is_call(ncalls - 1, i == 0 ? "syncfs" : "fsync"));
        CHECK(!folder_single(&c, &old));
        old.ctime_ns = c.now.ctime_ns;
        CHECK(folder_single(&c, &old));
        old.size = 1 << 30;
        CHECK(!folder_single(&c, &old));
    }
}

int main(void)
{
    RUN(test_order_of_one);
    RUN(test_call_fails_of_one);
    RUN(test_not_by_itself);
    finish_all();
    return t_done();
}

/* The durability path under faults: the order of the system calls of a batch; every call failing once, or from then on; and the
 * user changing a file before any one of the calls. After each: nothing of the user's is lost, and the results say where it is. */
#include <sodium.h>

#include "tests/unit/t_calls.h"

/* ---- a table that records, fails and interferes ---- */
enum { MAX_CALLS = 4000 };
static const char *calls[MAX_CALLS];
static int ncalls, fail_at, fail_errno, interfere_at;
static bool fail_on;              /* from fail_at on, not only there */
static void (*interfere)(void);

/* 0, or -1 when this call is to fail. */
static int enter(const char *name)
{
    if (ncalls < MAX_CALLS)
        calls[ncalls] = name;
    ncalls++;
    if (interfere && ncalls == interfere_at)
        interfere();
    if (fail_at && (fail_on ? ncalls >= fail_at : ncalls == fail_at)) {
        errno = fail_errno;
        return -1;
    }
    return 0;
}

static void hook_all(void)
{
    hook_calls(enter);
    ncalls = 0;
}
static void unhook(void)
{
    sys = &without_sync;
    fail_on = false;
    fail_at = interfere_at = 0;
    interfere = NULL;
}

/* ---- one of everything ---- */
enum { NEW, REPLACE, LINK, REMOVE, MOVE_OVER, DIR_OVER, MOVE_NEW, META, OVER_DIR, REMOVE_DIR, NCHANGES };
static struct change batch[NCHANGES];

static void make_batch(void)
{
    begin();
    put("b", "old b");
    put("c", "old c");
    put("d", "old d");
    put("e", "old e");
    put("f", "old f");
    put("g", "old g");
    put("h", "old h");
    put("j", "old j");
    make_dir("k");
    make_dir("l");
    OK(link(full("d"), full("../d")));   /* kept as a copy */
    temp("t-new", "new a");
    temp("t-b", "new b");
    temp("t-k", "new k");
    batch[NEW] = change(CHANGE_FILE, "a/a/new", "t-new", NULL);
    batch[REPLACE] = change(CHANGE_FILE, "b", "t-b", "kept-b");
    batch[LINK] = change_link("c", "target", "kept-c");
    batch[REMOVE] = change(CHANGE_REMOVE, "d", NULL, "kept-d");
    batch[MOVE_OVER] = change_move("e", "f", "kept-f");
    batch[DIR_OVER] = change(CHANGE_DIR, "g", NULL, "kept-g");
    batch[MOVE_NEW] = change_move("h", "i/h", NULL);
    batch[META] = change(CHANGE_META, "j", NULL, NULL);
    batch[OVER_DIR] = change(CHANGE_FILE, "k", "t-k", NULL);
    batch[REMOVE_DIR] = change(CHANGE_REMOVE, "l", NULL, NULL);
}

static void check_all_done(void)
{
    for (int i = 0; i < NCHANGES; i++)
        if (batch[i].code != 0)
            T_FAIL("change %d: %d %s", i, batch[i].code, batch[i].text);
    EQ_S(get("a/a/new"), "new a");
    EQ_S(get("b"), "new b");
    EQ_S(kept("kept-b"), "old b");
    EQ_S(get("c"), "<target>");
    EQ_S(kept("kept-c"), "old c");
    EQ_S(get("d"), "");
    EQ_S(kept("kept-d"), "old d");
    EQ_S(get("e"), "");
    EQ_S(get("f"), "old e");
    EQ_S(kept("kept-f"), "old f");
    EQ_S(get("g"), "/");
    EQ_S(kept("kept-g"), "old g");
    EQ_S(get("h"), "");
    EQ_S(get("i/h"), "old h");
    EQ_S(get("j"), "old j");
    EQ_S(get("k"), "new k");
    EQ_S(get("l"), "");
}

static void test_order(void)
{
    make_batch();
    hook_all();
    OK(folder_apply(folder, batch, NCHANGES));
    unhook();
    check_all_done();
    int flushes = 0, renames = 0;
    for (int i = 0; i < ncalls; i++) {
        bool touches = strcmp(calls[i], "renameat2") == 0 || strcmp(calls[i], "unlinkat") == 0 || strcmp(calls[i], "mkdirat") == 0;
        flushes += strcmp(calls[i], "syncfs") == 0;
        renames += touches;
        if (touches)
            EQ_I(flushes, 1);     /* after the first and before the second */
        if (strcmp(calls[i], "symlinkat") == 0)
            EQ_I(flushes, 0);
    }
    EQ_I(flushes, 2);
    EQ_S(calls[ncalls - 1], "syncfs");
    CHECK(renames > 10);
}

static bool somewhere(const char *text)
{
    static const char *const places[] = { "a/a/new", "b", "c", "d", "e", "f", "g", "h", "i/h", "j", "k", "l" };
    static const char *const names[] = { "kept-b", "kept-c", "kept-d", "kept-f", "kept-g" };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strcmp(get(places[i]), text) == 0)
            return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(kept(names[i]), text) == 0)
            return true;
    return false;
}

static bool is_one_of(const char *s, const char *a, const char *b)
{
    return strcmp(s, a) == 0 || strcmp(s, b) == 0;
}

/* What must hold after any failure. */
static void check_nothing_lost(void)
{
    static const char *const user[] = { "old b", "old c", "old d", "old e", "old f", "old g", "old h", "old j" };
    for (size_t i = 0; i < sizeof user / sizeof *user; i++)
        if (!somewhere(user[i]))
            T_FAIL("\"%s\" is gone", user[i]);
    for (int i = 0; i < NCHANGES; i++) {
        const struct change *c = &batch[i];
        if (c->kept)
            EQ_I(kept(c->kept)[0] != '\0', c->was_kept);   /* whatever is in kept/ is reported */
    }
    CHECK(is_one_of(get("a/a/new"), "", "new a"));
    CHECK(is_one_of(get("b"), "old b", "new b") || (no_exchange && fail_on && !*get("b")));
    CHECK(is_one_of(get("c"), "old c", "<target>") || (no_exchange && fail_on && !*get("c")));
    CHECK(is_one_of(get("d"), "old d", ""));
    CHECK(is_one_of(get("f"), "old f", "old e") || (no_exchange && fail_on && !*get("f")));
    CHECK(is_one_of(get("g"), "old g", "/") || !*get("g"));
    EQ_S(get("j"), "old j");
    if (batch[REPLACE].code == 0 && strcmp(get("b"), "new b") != 0)
        T_FAIL("b: success, but it is \"%s\"", get("b"));
}

/* Every call fails: once (the disk is full) or from then on (it has died). */
static void fail_every_call(int error, bool on)
{
    for (int at = 1;; at++) {
        make_batch();
        hook_all();
        fail_at = at;
        fail_errno = error;
        fail_on = on;
        int code = folder_apply(folder, batch, NCHANGES);
        int total = ncalls;
        bool flush = at <= total && !on && strcmp(calls[at - 1], "syncfs") == 0;
        if (code != 0 && !flush && !on)
            T_FAIL("call %d %s: %d %s", at, calls[at - 1], code, err_text());
        if (flush || (on && at <= total))
            EQ_I(code, ERR_IO);
        check_nothing_lost();
        unhook();
        if (at > total) {
            check_all_done();
            break;
        }
    }
}

static void test_call_fails(void)
{
    fail_every_call(EIO, false);
    fail_every_call(ENOSPC, false);
}
static void test_disk_dies(void)
{
    fail_every_call(EIO, true);
}
static void test_call_fails_without_exchange(void)
{
    no_exchange = true;
    fail_every_call(EIO, false);
    fail_every_call(EIO, true);
    no_exchange = false;
}

/* ---- the user interferes ---- */
static bool acted;                /* whether there was something to do for the user */
static void user_edits(void)
{
    acted = strcmp(get("b"), "/") != 0;
    if (acted)
        edit("b", "user b");
}
static void replace_b(void)
{
    acted = rename(full("b.save"), full("b")) == 0;
    if (!acted)
        unlink(full("b.save"));
}
static void user_saves(void) { edit("b.save", "user b"); replace_b(); }
static void user_links(void) { symlink("user", full("b.save")); replace_b(); }
static void user_removes(void) { unlink(full("b")); }
static void user_makes_dir(void)
{
    unlink(full("b"));
    acted = mkdir(full("b"), 0755) == 0;
    if (acted)
        edit("b/x", "user b");
}
static void user_moves_away(void) { rename(full("b"), full("b.moved")); }

static const struct { void (*act)(void); const char *leaves; } users[] = {
    { user_edits, "user b" }, { user_saves, "user b" }, { user_links, "<user>" },
    { user_removes, NULL }, { user_makes_dir, "/" }, { user_moves_away, NULL },
};

/* The one moment in which an edit cannot be seen in the stamp: between the last look before mode and mtime are set and the first
 * look after. */
static bool racy(enum change_op op)
{
    if ((op != CHANGE_META && op != CHANGE_MOVE) || interfere_at < 2)
        return false;
    const char *next = calls[interfere_at - 1], *previous = calls[interfere_at - 2];
    return strcmp(next, "fchmod") == 0 || strcmp(next, "utimensat") == 0 || strcmp(previous, "utimensat") == 0;
}

static void check_user_kept(const struct change *c, const char *leaves)
{
    const char *there = get("b"), *put_away = kept("kept-b");
    EQ_I(put_away[0] != '\0', c->was_kept);
    bool elsewhere = strcmp(get("from"), leaves ? leaves : "") == 0   /* moved there and back */
                  || strcmp(get("new"), leaves ? leaves : "") == 0;   /* written through the new link */
    if (leaves && !elsewhere && strcmp(there, leaves) != 0 && strcmp(put_away, leaves) != 0)
        T_FAIL("the user's \"%s\" is neither at b (\"%s\") nor kept (\"%s\")", leaves, there, put_away);
    if (leaves && c->code == 0 && strcmp(there, leaves) == 0 && !racy(c->op)) {
        struct stamp now = look("b");
        if (stamp_same(&now, &c->now))        /* the next scan must see the edit */
            T_FAIL("operation %d: the edit before call %d (%s) is hidden", c->op, interfere_at, calls[interfere_at - 1]);
    }
    if (c->code == 0 && leaves && strcmp(put_away, leaves) == 0)
        T_FAIL("the user's \"%s\" was put away as if it had been \"old b\"", leaves);
    if (c->code < 0 && c->code != ERR_CHANGED)
        EQ_I(c->code, ERR_EXISTS);            /* a directory that is not empty */
}

/* One change of b, and one act of the user before its n-th system call, for every n. */
static void interfere_everywhere(enum change_op op)
{
    for (size_t u = 0; u < sizeof users / sizeof *users; u++)
        for (int at = 1, total = at; at <= total; at++) {
            begin();
            put("b", "old b");
            put("from", "from");
            temp("t-b", "new b");
            struct change c = op == CHANGE_MOVE ? change_move("from", "b", "kept-b")
                            : op == CHANGE_SYMLINK ? change_link("b", "new", "kept-b") : change(op, "b", "t-b", "kept-b");
            hook_all();
            interfere = users[u].act;
            interfere_at = at;
            acted = false;
            OK(folder_apply(folder, &c, 1));
            total = ncalls;
            if (at <= total)
                check_user_kept(&c, acted ? users[u].leaves : NULL);
            unhook();
            if (c.code < 0 && op == CHANGE_MOVE && strcmp(get("from"), "from") != 0 && strcmp(get("b"), "from") != 0 &&
                strcmp(kept("kept-b"), "from") != 0 && strcmp(get("from"), users[u].leaves ? users[u].leaves : "") != 0)
                /* (when the user's file is at `from`, they had overwritten the moved one in its new place) */
                T_FAIL("the moved file is lost: act %zu before call %d", u, at);
        }
}

static void test_user_interferes(void)
{
    interfere_everywhere(CHANGE_FILE);
    interfere_everywhere(CHANGE_SYMLINK);
    interfere_everywhere(CHANGE_REMOVE);
    interfere_everywhere(CHANGE_DIR);
    interfere_everywhere(CHANGE_MOVE);
    interfere_everywhere(CHANGE_META);
}
static void test_user_interferes_without_exchange(void)
{
    no_exchange = true;
    interfere_everywhere(CHANGE_FILE);
    interfere_everywhere(CHANGE_MOVE);
    no_exchange = false;
}

/* The same for the source of a move: the user's edit of it is never taken for the content that was to be moved. */
static void user_edits_source(void) { edit("from", "user from"); }

static bool renamed_before(int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(calls[i], "renameat2") == 0)
            return true;
    return false;
}

static void test_user_edits_the_source_of_a_move(void)
{
    for (int over = 0; over < 2; over++)
        for (int at = 1, total = at; at <= total; at++) {
            begin();
            put("from", "old from");
            if (over)
                put("to", "old to");
            struct change c = change_move("from", "to", "kept-to");
            hook_all();
            interfere = user_edits_source;
            interfere_at = at;
            OK(folder_apply(folder, &c, 1));
            total = ncalls;
            bool unseen = racy(CHANGE_MOVE), last_moment = strcmp(calls[at - 1], "renameat2") == 0 && !renamed_before(at - 1);
            unhook();
            if (at > total)
                continue;
            if (last_moment) {    /* after the source was looked at: it is moved back */
                EQ_I(c.code, ERR_CHANGED);
                EQ_S(get("from"), "user from");
                EQ_S(get("to"), over ? "old to" : "");
                CHECK(!c.was_kept);
            }
            CHECK(strcmp(get("from"), "user from") == 0 || strcmp(get("to"), "user from") == 0 || c.was_kept);
            CHECK(!over || strcmp(get("to"), "old to") == 0 || strcmp(kept("kept-to"), "old to") == 0);
            if (c.code == 0 && strcmp(get("to"), "user from") == 0 && !unseen) {
                struct stamp now = look("to");
                CHECK(!stamp_same(&now, &c.now));
            }
        }
}

/* The user saves before the exchange, and does something else before the exchange is taken back. */
static int exchanges;
static void (*second_act)(void);
static int twice_renameat2(int a, const char *p, int b, const char *q, unsigned f)
{
    if (f & RENAME_EXCHANGE) {
        exchanges++;
        if (exchanges == 1)
            user_saves();
        else
            second_act();
    }
    return renameat2(a, p, b, q, f);
}
static void user_saves_again(void)
{
    edit("b.save", "user b again");
    OK(rename(full("b.save"), full("b")));
}
static void user_edits_ours(void) { edit("b", "user b again"); }

static void interfere_twice(void (*second)(void), const char *in_place, const char *put_away, const char *in_tmp)
{
    begin();
    put("b", "old b");
    temp("t-b", "new b");
    struct change c = change(CHANGE_FILE, "b", "t-b", "kept-b");
    hook();
    table.renameat2 = twice_renameat2;
    exchanges = 0;
    second_act = second;
    OK(folder_apply(folder, &c, 1));
    sys = &without_sync;
    EQ_I(exchanges, 2);
    EQ_I(c.code, ERR_CHANGED);
    EQ_S(get("b"), in_place);
    EQ_S(kept("kept-b"), put_away);
    EQ_S(get(".lanyard/tmp/t-b"), in_tmp);
    EQ_I(c.was_kept, put_away[0] != '\0');
}
static void nothing(void)
{
}

static void test_user_interferes_twice(void)
{
    interfere_twice(nothing, "user b", "", "new b");
    interfere_twice(user_saves_again, "user b", "user b again", "");
    interfere_twice(user_edits_ours, "user b", "user b again", "");
    interfere_twice(user_removes, "user b", "", "");
}

/* ---- sys_kernel itself ---- */
static void test_kernel_table(void)
{
    const void *const *p = (const void *const *)&sys_kernel;
    for (size_t i = 0; i < sizeof sys_kernel / sizeof *p; i++)
        CHECK(p[i]);
    CHECK(sys == &sys_kernel);   /* before any begin() */
    begin();
    sys = &sys_kernel;
    put("x", "x");
    int fd = open(full("x"), O_PATH | O_CLOEXEC);
    OK(sys->fchmod(fd, 0604));
    EQ_U(mode_of("x"), 0604);
    const struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 99 } };
    OK(sys->utimensat(fd, NULL, ts, 0));
    EQ_I(look("x").mtime_ns, 99000000000);
    close(fd);
    EQ_I(sys->fchmod(fd, 0600), -1);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_kernel_table);
    RUN(test_order);
    RUN(test_call_fails);
    RUN(test_disk_dies);
    RUN(test_call_fails_without_exchange);
    RUN(test_user_interferes);
    RUN(test_user_interferes_without_exchange);
    RUN(test_user_edits_the_source_of_a_move);
    RUN(test_user_interferes_twice);
    finish_all();
    return t_done();
}

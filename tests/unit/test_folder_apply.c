#include <sodium.h>

#include "tests/unit/folder_fixture.h"

static int count_name(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return 0;
}

static void test_path_tricks(void)
{
    begin();
    static const char *const bad[] = { "..", "../outside", "a/../../outside", "/etc/passwd", "a//b", "a/", ".", "./a", "",
                                       ".lanyard/marker", ".lanyard", ".lanyard/kept/x" };
    edit("../outside", "secret");
    temp("t", "t");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t len = strlen(bad[i]);
        struct stamp st;
        int fd;
        AUTO(buf_release) struct buf b = BUF_INIT(10);
        EQ_I(folder_stat(folder, bad[i], len, &st), ERR_BAD);
        EQ_I(folder_open_file(folder, bad[i], len, &fd), ERR_BAD);
        EQ_I(folder_readlink(folder, bad[i], len, &b), ERR_BAD);
        for (int op = CHANGE_FILE; op <= CHANGE_META; op++) {
            struct change c = { .op = (enum change_op)op, .path = bad[i], .len = len, .tmp = "t", .kept = "k", .from = "a", .fromlen = 1,
                                .target = { (const uint8_t *)"x", 1 }, .from_expected = { .kind = STAMP_FILE } };
            OK(folder_apply(folder, &c, 1));
            EQ_I(c.code, ERR_BAD);
            CHECK(c.text[0]);
            c.path = "a", c.len = 1, c.from = bad[i], c.fromlen = len;
            if (op == CHANGE_MOVE)
                EQ_I(outcome(&c), ERR_BAD);
        }
    }
    struct stamp st;
    EQ_I(folder_stat(folder, "a\0b", 3, &st), ERR_BAD);
    EQ_S(get("../outside"), "secret");
    struct change c = { .op = CHANGE_SYMLINK, .path = "a", .len = 1 };
    EQ_I(outcome(&c), ERR_BAD);
    c.target = (struct bytes){ (const uint8_t *)"a\0b", 3 };
    EQ_I(outcome(&c), ERR_BAD);
    static const char *const names[] = { "", ".", "..", "a/b", "A", "../../x", "a b" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int fd;
        EQ_I(folder_tmp_create(folder, names[i], 1, &fd), ERR_BAD);
        EQ_I(folder_tmp_open(folder, names[i], &fd), ERR_BAD);
        EQ_I(folder_tmp_remove(folder, names[i]), ERR_BAD);
        EQ_I(folder_kept_open(folder, names[i], &fd), ERR_BAD);
        EQ_I(folder_kept_remove(folder, names[i]), ERR_BAD);
        EQ_I(folder_kept_adopt(folder, "t", names[i]), ERR_BAD);
        EQ_I(folder_kept_adopt(folder, names[i], "k"), ERR_BAD);
    }
}

/* A directory that somebody has replaced by a link to elsewhere leads nowhere. */
static void test_link_in_the_middle(void)
{
    begin();
    OK(mkdir(full("../elsewhere"), 0755));
    put("../elsewhere/f", "untouched");
    OK(symlink("../elsewhere", full("d")));
    struct stamp st;
    int fd;
    FAILS(folder_stat(folder, "d/f", 3, &st), ERR_IO, "d is a symbolic link");
    FAILS(folder_open_file(folder, "d/f", 3, &fd), ERR_IO, "d is a symbolic link");
    const struct walk_ops none = { 0 };
    FAILS(folder_walk(folder, "d", 1, &none), ERR_IO, "d is a symbolic link");
    temp("t", "evil");
    struct change c = { .op = CHANGE_FILE, .path = "d/f", .len = 3, .tmp = "t", .kept = "k" };
    const struct stamp there = { .kind = STAMP_FILE };
    for (int op = CHANGE_FILE; op <= CHANGE_META; op++)
        for (int expect = 0; expect < 2; expect++) {
            c.op = (enum change_op)op;
            c.expected = expect ? there : (struct stamp){ 0 };
            c.target = (struct bytes){ (const uint8_t *)"x", 1 };
            c.from = "d/f", c.fromlen = 3, c.from_expected = there;
            apply_one(&c);
            if (op == CHANGE_REMOVE && !expect)
                EQ_I(c.code, 0);         /* what is to be gone is not there */
            else
                FAILS(c.code, ERR_CHANGED, "d is a symbolic link");
        }
    c.path = "d/new/f", c.len = 7, c.op = CHANGE_FILE, c.expected = (struct stamp){ 0 };
    FAILS(outcome(&c), ERR_CHANGED, "d is a symbolic link");
    EQ_S(get("../elsewhere/f"), "untouched");
    EQ_S(get("../elsewhere/new"), "");
}

static int swap_renameat2(int a, const char *p, int b, const char *q, unsigned f)
{
    if (rename(full("d"), full("moved")) == 0)
        (void)!symlink("../elsewhere", full("d"));
    return renameat2(a, p, b, q, f);
}

static void test_directory_swapped_for_a_link_meanwhile(void)
{
    begin();
    OK(mkdir(full("../elsewhere"), 0755));
    put("../elsewhere/f", "untouched");
    make_dir("d");
    put("d/f", "old");
    temp("t", "new");
    struct change c = change(CHANGE_FILE, "d/f", "t", "k");
    hook();
    table.renameat2 = swap_renameat2;
    OK(folder_apply(folder, &c, 1));
    EQ_S(get("../elsewhere/f"), "untouched");
    EQ_S(get("moved/f"), "new");
    EQ_S(kept("k"), "old");
}

static void test_new_file(void)
{
    begin();
    temp("t", "text");
    struct change c = change(CHANGE_FILE, "a/b/\n\xff", "t", NULL);
    c.mode = 07640;
    OK(outcome(&c));
    EQ_S(get("a/b/\n\xff"), "text");
    EQ_U(mode_of("a/b/\n\xff"), 0640);
    EQ_I(c.now.mtime_ns, 1234567890123456789);
    struct stamp now = look("a/b/\n\xff");
    CHECK(stamp_same(&c.now, &now));
    CHECK(!c.was_kept);
    temp("t", "before 1970");
    c = change(CHANGE_FILE, "old", "t", NULL);
    c.mtime_ns = -1;
    OK(outcome(&c));
    EQ_I(look("old").mtime_ns, -1);
    temp("t", "x");
    c = change(CHANGE_FILE, "there", "t", NULL);
    put("there", "user");
    FAILS(outcome(&c), ERR_CHANGED, "left alone");
    EQ_S(get("there"), "user");
    EQ_S(get(".lanyard/tmp/t"), "x");
    c = change(CHANGE_FILE, "there/below", "t", NULL);
    EQ_I(outcome(&c), ERR_CHANGED);
    c = change(CHANGE_FILE, "x", "missing", NULL);
    FAILS(outcome(&c), ERR_IO, "tmp/missing");
}

static void test_replace(void)
{
    begin();
    put("f", "old");
    temp("t", "new");
    struct change c = change(CHANGE_FILE, "f", "t", "k");
    struct change stale = c;
    OK(outcome(&c));
    EQ_S(get("f"), "new");
    EQ_S(kept("k"), "old");
    CHECK(c.was_kept);
    struct stamp now = look("f");
    CHECK(stamp_same(&c.now, &now));
    temp("t", "newer");
    stale.kept = "k2";
    FAILS(outcome(&stale), ERR_CHANGED, "left alone");
    CHECK(!stale.was_kept);
    EQ_S(get("f"), "new");
    EQ_S(kept("k2"), "");
    EQ_S(get(".lanyard/tmp/t"), "newer");
    c = change(CHANGE_FILE, "f", "t", "k");   /* kept/k is taken */
    FAILS(outcome(&c), ERR_EXISTS, "kept/k");
    EQ_S(get("f"), "new");
    EQ_S(kept("k"), "old");
}

static void test_file_over_directory(void)
{
    begin();
    make_dir("empty");
    make_dir("full");
    put("full/x", "x");
    temp("t1", "new");
    temp("t2", "new");
    struct change c[2] = { change(CHANGE_FILE, "empty", "t1", NULL), change(CHANGE_FILE, "full", "t2", NULL) };
    OK(folder_apply(folder, c, 2));
    OK(c[0].code);
    EQ_S(get("empty"), "new");
    EQ_I(c[1].code, ERR_EXISTS);
    EQ_S(get("full/x"), "x");
    OK(mkfifo(full("fifo"), 0600));
    c[1] = change(CHANGE_FILE, "fifo", "t2", "k");
    EQ_I(outcome(&c[1]), ERR_EXISTS);
    c[1] = change(CHANGE_REMOVE, "fifo", NULL, "k");
    EQ_I(outcome(&c[1]), ERR_EXISTS);
    EQ_S(get("fifo"), "special");
}

static void test_symlinks(void)
{
    begin();
    put("f", "old");
    struct change c = change_link("new/l", "../f", NULL);
    OK(outcome(&c));
    EQ_S(get("new/l"), "<../f>");
    EQ_I(c.now.kind, STAMP_SYMLINK);
    EQ_I(look("new/l").mtime_ns, 1234567890123456789);
    c = change_link("f", "elsewhere", "k1");
    OK(outcome(&c));
    EQ_S(get("f"), "<elsewhere>");
    EQ_S(kept("k1"), "old");
    temp("t", "file again");
    c = change(CHANGE_FILE, "f", "t", "k2");
    OK(outcome(&c));
    EQ_S(get("f"), "file again");
    EQ_S(kept("k2"), "<elsewhere>");
    c = change(CHANGE_REMOVE, "new/l", NULL, "k3");
    OK(outcome(&c));
    EQ_S(kept("k3"), "<../f>");
    c = change_link("f", "x", "k4");
    edit("f", "edited by the user");
    EQ_I(outcome(&c), ERR_CHANGED);
    int n = 0;
    OK(folder_tmp_list(folder, count_name, &n));
    EQ_I(n, 0);   /* the link that was not needed is gone */
}

static void test_remove(void)
{
    begin();
    put("f", "old");
    make_dir("empty");
    make_dir("full");
    put("full/x", "x");
    struct change c = change(CHANGE_REMOVE, "f", NULL, "k");
    OK(outcome(&c));
    EQ_S(get("f"), "");
    EQ_S(kept("k"), "old");
    EQ_I(c.now.kind, STAMP_ABSENT);
    CHECK(c.was_kept);
    c = change(CHANGE_REMOVE, "empty", NULL, NULL);
    OK(outcome(&c));
    c = change(CHANGE_REMOVE, "full", NULL, NULL);
    FAILS(outcome(&c), ERR_EXISTS, "not empty");
    c = change(CHANGE_REMOVE, "f", NULL, NULL);
    OK(outcome(&c));   /* nothing there, as expected */
    c = change(CHANGE_REMOVE, "no/such/dir", NULL, NULL);
    OK(outcome(&c));
    c = change(CHANGE_REMOVE, "full/x", NULL, "k2");
    edit("full/x", "edit");
    EQ_I(outcome(&c), ERR_CHANGED);
    EQ_S(get("full/x"), "edit");
    c = change(CHANGE_REMOVE, "full/x", NULL, "k2");
    OK(unlink(full("full/x")));
    EQ_I(outcome(&c), ERR_CHANGED);
    /* A tree, bottom up, then a file in the place of its root, in one batch. */
    put("full/x", "x");
    make_dir("full/d");
    temp("t", "new");
    struct change all[] = { change(CHANGE_REMOVE, "full/d", NULL, NULL), change(CHANGE_REMOVE, "full/x", NULL, "k3"),
                            change(CHANGE_REMOVE, "full", NULL, NULL), change(CHANGE_FILE, "full", "t", NULL) };
    all[3].expected = (struct stamp){ 0 };
    OK(folder_apply(folder, all, 4));
    for (int i = 0; i < 4; i++)
        OK(all[i].code);
    EQ_S(get("full"), "new");
}

static void test_move(void)
{
    begin();
    put("a", "content a");
    put("b", "content b");
    struct change c = change_move("a", "d/e/a", NULL);
    OK(outcome(&c));
    EQ_S(get("a"), "");
    EQ_S(get("d/e/a"), "content a");
    EQ_U(mode_of("d/e/a"), 0640);
    struct stamp now = look("d/e/a");
    CHECK(stamp_same(&c.now, &now));
    EQ_I(now.mtime_ns, 1234567890123456789);
    c = change_move("d/e/a", "b", "k");
    OK(outcome(&c));
    EQ_S(get("b"), "content a");
    EQ_S(kept("k"), "content b");
    CHECK(c.was_kept);
    c = change_move("b", "x", NULL);
    edit("b", "edited");
    EQ_I(outcome(&c), ERR_CHANGED);
    c = change_move("b", "x", NULL);
    put("x", "user");
    EQ_I(outcome(&c), ERR_CHANGED);
    EQ_S(get("b"), "edited");
    EQ_S(get("x"), "user");
    c = change_move("b", "y", NULL);
    OK(unlink(full("b")));
    EQ_I(outcome(&c), ERR_CHANGED);
    make_dir("gone");
    put("gone/f", "f");
    c = change_move("gone/f", "y", NULL);
    OK(unlink(full("gone/f")));
    OK(rmdir(full("gone")));
    EQ_I(outcome(&c), ERR_CHANGED);
}

static void test_directories(void)
{
    begin();
    put("f", "old");
    make_dir("have");
    temp("t1", "1");
    temp("t2", "2");
    struct change c[] = {
        change(CHANGE_DIR, "p/q", NULL, NULL), change(CHANGE_DIR, "p", NULL, NULL), change(CHANGE_FILE, "p/q/f", "t1", NULL),
        change(CHANGE_DIR, "have", NULL, NULL), change(CHANGE_FILE, "have/f", "t2", NULL), change(CHANGE_DIR, "f", NULL, "k"),
    };
    c[0].mode = 0500, c[1].mode = 0555, c[3].mode = 0511, c[5].mode = 0700;
    OK(folder_apply(folder, c, 6));
    for (int i = 0; i < 6; i++)
        OK(c[i].code);
    EQ_U(mode_of("p"), 0555);
    EQ_U(mode_of("p/q"), 0500);
    EQ_U(mode_of("have"), 0511);
    EQ_S(get("p/q/f"), "1");
    EQ_S(get("have/f"), "2");
    EQ_S(get("f"), "/");
    EQ_S(kept("k"), "old");
    struct stamp now = look("p/q");
    CHECK(stamp_same(&c[0].now, &now));
    struct change d = change(CHANGE_DIR, "have", NULL, NULL);
    OK(chmod(full("have"), 0700));
    EQ_I(outcome(&d), ERR_CHANGED);
    d = change(CHANGE_DIR, "gone", NULL, NULL);
    put("gone", "a file came");
    EQ_I(outcome(&d), ERR_CHANGED);
    d = change(CHANGE_DIR, "have", NULL, NULL);
    d.expected = (struct stamp){ 0 };   /* an existing one is fine */
    d.mode = 0750;
    OK(outcome(&d));
    EQ_U(mode_of("have"), 0750);
}

static void test_meta(void)
{
    begin();
    put("f", "text");
    make_dir("d");
    OK(symlink("x", full("l")));
    struct change c[] = { change(CHANGE_META, "f", NULL, NULL), change(CHANGE_META, "d", NULL, NULL), change(CHANGE_META, "l", NULL, NULL),
                          change(CHANGE_META, "absent", NULL, NULL) };
    OK(folder_apply(folder, c, 4));
    EQ_U(mode_of("f"), 0640);
    EQ_U(mode_of("d"), 0640);
    EQ_I(look("f").mtime_ns, 1234567890123456789);
    EQ_I(look("l").mtime_ns, 1234567890123456789);
    for (int i = 0; i < 3; i++) {
        OK(c[i].code);
        struct stamp now = look(c[i].path);
        CHECK(stamp_same(&c[i].now, &now));
    }
    EQ_I(c[3].code, ERR_CHANGED);
    EQ_I(outcome(&c[0]), ERR_CHANGED);   /* its stamp is of before */
    struct change none = change(CHANGE_META, "f", NULL, NULL);
    none.mode = 0;
    OK(outcome(&none));
    EQ_U(mode_of("f"), 0);
    none = change(CHANGE_META, "f", NULL, NULL);
    OK(outcome(&none));                  /* and back, though it cannot be read */
    EQ_U(mode_of("f"), 0640);
}

/* As an ordinary user, whose own directories may lack write permission. */
static void unwritable(void)
{
    begin();
    make_dir("d");
    make_dir("d/sub");
    put("d/f", "old");
    temp("t1", "1");
    temp("t2", "2");
    OK(chmod(full("d"), 0555));
    struct change c[] = { change(CHANGE_FILE, "d/f", "t1", "k"), change(CHANGE_FILE, "d/new/f", "t2", NULL),
                          change(CHANGE_REMOVE, "d/sub", NULL, NULL) };
    OK(folder_apply(folder, c, 3));
    for (int i = 0; i < 3; i++)
        OK(c[i].code);
    EQ_S(get("d/f"), "1");
    EQ_S(get("d/new/f"), "2");
    EQ_S(get("d/sub"), "");
    EQ_U(mode_of("d"), 0555);
    make_dir("s");
    put("s/f", "last");
    OK(chmod(full("s"), 0555));
    struct change out[] = { change_move("s/f", "out", NULL), change(CHANGE_REMOVE, "s", NULL, NULL) };
    OK(folder_apply(folder, out, 2));
    OK(out[0].code);
    OK(out[1].code);   /* not mistaken for changed while we may write in it */
    struct change dirs[] = { change(CHANGE_DIR, "p", NULL, NULL), change(CHANGE_DIR, "p/q", NULL, NULL) };
    dirs[0].mode = 0, dirs[1].mode = 0500;
    OK(folder_apply(folder, dirs, 2));
    OK(dirs[0].code);
    OK(dirs[1].code);   /* deepest first: p is closed after p/q */
    EQ_U(mode_of("p"), 0);
    OK(chmod(full("p"), 0700));
    EQ_U(mode_of("p/q"), 0500);
    OK(chmod(full("d/f"), 0));
    struct change m = change(CHANGE_META, "d/f", NULL, NULL);
    OK(outcome(&m));
    EQ_U(mode_of("d/f"), 0640);
}
static void test_unwritable_directory(void)
{
    as_user(unwritable);
}

/* Many files of a few directories, one failing item among them, and the parent opened once per directory. */
static int opens;
static int counting_openat2(int d, const char *p, uint64_t f, uint64_t m, uint64_t r)
{
    opens += (f & O_DIRECTORY) != 0;
    return sys_kernel.openat2(d, p, f, m, r);
}
/* A displaced file that has another name in the folder: who writes to it there does not change what is kept. */
static void test_hard_link(void)
{
    static const enum change_op ops[] = { CHANGE_FILE, CHANGE_REMOVE };
    for (int i = 0; i < 2; i++) {
        begin();
        put("a", "old");
        OK(chmod(full("a"), 0640));
        OK(link(full("a"), full("b")));
        temp("t", "new");
        struct change c = change(ops[i], "a", "t", "k");
        EQ_I(outcome(&c), 0);
        CHECK(c.was_kept);
        edit("b", "written to");
        EQ_S(kept("k"), "old");
        EQ_I(mode_of(".lanyard/kept/k"), 0640);
        CHECK(ops[i] == CHANGE_FILE ? strcmp(get("a"), "new") == 0 : !*get("a"));
    }
}

static void test_big_batch(void)
{
    enum { N = 1000 };
    begin();
    static struct change c[N];
    static char path[N][32], tmp[N][16];
    for (int i = 0; i < N; i++) {
        snprintf(path[i], sizeof path[i], "d%d/f%d", i / 100, i);
        snprintf(tmp[i], sizeof tmp[i], "t%d", i);
        temp(tmp[i], path[i]);
        c[i] = change(CHANGE_FILE, path[i], tmp[i], NULL);
    }
    make_dir("d5");
    put("d5/f555", "user");
    hook();
    table.openat2 = counting_openat2;
    opens = 0;
    OK(folder_apply(folder, c, N));
    sys = &without_sync;
    CHECK(opens < 60);
    for (int i = 0; i < N; i++) {
        EQ_I(c[i].code, i == 555 ? ERR_CHANGED : 0);
        EQ_S(get(path[i]), i == 555 ? "user" : path[i]);
    }
    OK(folder_apply(folder, NULL, 0));
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_path_tricks);
    RUN(test_link_in_the_middle);
    RUN(test_directory_swapped_for_a_link_meanwhile);
    RUN(test_new_file);
    RUN(test_replace);
    RUN(test_file_over_directory);
    RUN(test_symlinks);
    RUN(test_remove);
    RUN(test_move);
    RUN(test_directories);
    RUN(test_meta);
    RUN(test_unwritable_directory);
    RUN(test_hard_link);
    RUN(test_big_batch);
    finish_all();
    return t_done();
}

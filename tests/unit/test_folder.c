#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "proto/limits.h"
#include "tests/unit/folder_fixture.h"

static struct sys table;
static void hook(void)
{
    table = without_sync;
    sys = &table;
}

static int outcome(struct change *c)
{
    apply_one(c);
    return c->code;
}

/* ---- creating, opening ---- */

static void test_create_and_open(void)
{
    begin();
    struct folder *other;
    const struct id stranger = { { 8 } };
    OK(folder_create(root, &group));   /* again: fine */
    FAILS(folder_create(root, &stranger), ERR_EXISTS, "another group");
    FAILS(folder_open(root, &stranger, &other), ERR_EXISTS, "another group");
    char deep[600];
    snprintf(deep, sizeof deep, "%s/x/y/z", base);
    FAILS(folder_open(deep, &group, &other), ERR_NOTFOUND, "mount or restore it");
    OK(folder_create(deep, &group));
    OK(folder_open(deep, &group, &other));
    EQ_S(folder_path(other), deep);
    folder_close(&other);
    CHECK(other == NULL);
    EQ_U(mode_of(".lanyard"), 0700);
    char want[128], hex[ID_HEX];
    snprintf(want, sizeof want, "lanyard folder of group %s\n", id_hex(&group, hex));
    EQ_S(get(".lanyard/marker"), want);
    snprintf(deep, sizeof deep, "%s/file", base);
    edit("../file", "x");
    FAILS(folder_create(deep, &group), ERR_IO, "file");
    CHECK(folder_granularity(folder) == 50000000 || folder_granularity(folder) == 2100000000);
}

static void test_health(void)
{
    begin();
    OK(folder_healthy(folder));
    OK(rename(full(".lanyard/marker"), full("m")));
    FAILS(folder_healthy(folder), ERR_NOTFOUND, "mount or restore it");
    struct folder *f;
    FAILS(folder_open(root, &group, &f), ERR_NOTFOUND, "marker");
    OK(rename(full("m"), full(".lanyard/marker")));
    OK(folder_healthy(folder));
    char away[600];
    snprintf(away, sizeof away, "%s/away", base);
    OK(rename(root, away));
    FAILS(folder_healthy(folder), ERR_NOTFOUND, "No such file");
    OK(folder_create(root, &group));   /* looks the same, is another */
    FAILS(folder_healthy(folder), ERR_NOTFOUND, "another directory");
}

static void test_room(void)
{
    begin();
    OK(folder_room(folder, 0));
    OK(folder_room(folder, 1 << 20));
    FAILS(folder_room(folder, UINT64_MAX), ERR_FULL, "MiB");
    FAILS(folder_room(folder, LIMIT_FILE_SIZE * 16), ERR_FULL, "MiB");
}

/* ---- looking ---- */

static void test_kinds(void)
{
    begin();
    put("file", "12345");
    make_dir("dir");
    OK(symlink("file", full("link")));
    OK(mkfifo(full("fifo"), 0600));
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%.90s/s", root);
    OK(bind(s, (struct sockaddr *)&a, sizeof a));
    OK(chmod(full("file"), 04751));

    struct stamp st = look("file");
    EQ_I(st.kind, STAMP_FILE);
    EQ_U(st.mode, 0751);
    EQ_U(st.size, 5);
    EQ_I(st.mtime_ns, 1600000000000000000);
    CHECK(st.ino != 0 && st.dev != 0 && st.ctime_ns > st.mtime_ns);
    EQ_I(look("dir").kind, STAMP_DIR);
    EQ_I(look("link").kind, STAMP_SYMLINK);
    EQ_I(look("fifo").kind, STAMP_SPECIAL);
    EQ_I(look("s").kind, STAMP_SPECIAL);
    EQ_I(look("nothing").kind, STAMP_ABSENT);
    EQ_I(look("nothing/at/all").kind, STAMP_ABSENT);
    EQ_I(look("file/below").kind, STAMP_ABSENT);
    close(s);
}

static void test_stamps(void)
{
    const struct stamp a = { STAMP_FILE, 0644, 1, 2, 3, 4, 5 };
    struct stamp b[] = { a, a, a, a, a, a, a };
    b[0].kind = STAMP_SYMLINK, b[1].mode++, b[2].dev++, b[3].ino++, b[4].size++, b[5].mtime_ns++, b[6].ctime_ns++;
    CHECK(stamp_same(&a, &a) && stamp_same_file(&a, &a));
    for (int i = 0; i < 7; i++) {
        CHECK(!stamp_same(&a, &b[i]));
        EQ_I(stamp_same_file(&a, &b[i]), i == 6);
        b[i].kind = STAMP_DIR;
        struct stamp d = a;
        d.kind = STAMP_DIR;
        EQ_I(stamp_same(&d, &b[i]), i == 0 || i > 3);
        EQ_I(stamp_same_file(&d, &b[i]), i == 0 || i > 3);
    }
    const struct stamp none = { 0 }, none2 = { .mode = 1, .ino = 3 };
    CHECK(stamp_same(&none, &none2) && !stamp_same(&none, &a));
}

static int failing_errno;
static int failing_openat2(int d, const char *p, uint64_t f, uint64_t m, uint64_t r)
{
    (void)d, (void)p, (void)f, (void)m, (void)r;
    errno = failing_errno;
    return -1;
}

/* What is no evidence of absence must never be taken for it. */
static void test_stat_errors_are_not_absence(void)
{
    begin();
    put("x", "x");
    struct stamp st;
    const int errors[] = { EIO, EACCES, ENOMEM, EMFILE, ELOOP, ENAMETOOLONG };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        hook();
        table.openat2 = failing_openat2;
        failing_errno = errors[i];
        EQ_I(folder_stat(folder, "x", 1, &st), ERR_IO);
        EQ_I(folder_stat(folder, "d/x", 3, &st), ERR_IO);
    }
}

static void test_open_file(void)
{
    begin();
    make_dir("d");
    put("d/f", "text");
    OK(symlink("d", full("link")));
    OK(mkfifo(full("fifo"), 0600));
    int fd;
    char text[8] = "";
    OK(folder_open_file(folder, "d/f", 3, &fd));
    EQ_I(read(fd, text, 8), 4);
    EQ_S(text, "text");
    EQ_I(write(fd, text, 1), -1);
    close(fd);
    FAILS(folder_open_file(folder, "d/g", 3, &fd), ERR_NOTFOUND, "No such file");
    EQ_I(fd, -1);
    FAILS(folder_open_file(folder, "d", 1, &fd), ERR_CHANGED, "not a file");
    FAILS(folder_open_file(folder, "link", 4, &fd), ERR_CHANGED, "not a file");
    FAILS(folder_open_file(folder, "fifo", 4, &fd), ERR_CHANGED, "not a file");   /* and does not wait for a writer */
    FAILS(folder_open_file(folder, "link/f", 6, &fd), ERR_IO, "link is a symbolic link");
    FAILS(folder_open_file(folder, "d/f/x", 5, &fd), ERR_NOTFOUND, "d/f/x");
}

static void test_readlink(void)
{
    begin();
    put("f", "x");
    make_dir("d");
    char far[4001];
    memset(far, 'a', 4000);
    for (int i = 0; i < 4000; i += 100)
        far[i] = '/';
    far[4000] = '\0';
    OK(symlink("to/\nwhere", full("d/l")));
    OK(symlink(far, full("far")));
    AUTO(buf_release) struct buf b = BUF_INIT(4095);
    OK(folder_readlink(folder, "d/l", 3, &b));
    EQ_U(b.len, 9);
    EQ_MEM(b.data, "to/\nwhere", 9);
    FAILS(folder_readlink(folder, "f", 1, &b), ERR_CHANGED, "not a symbolic link");
    FAILS(folder_readlink(folder, "d", 1, &b), ERR_CHANGED, "not a symbolic link");
    FAILS(folder_readlink(folder, "g", 1, &b), ERR_NOTFOUND, "g");
    buf_clear(&b);
    OK(folder_readlink(folder, "far", 3, &b));
    EQ_U(b.len, 4000);
    AUTO(buf_release) struct buf small = BUF_INIT(100);
    FAILS(folder_readlink(folder, "far", 3, &small), ERR_FULL, "100");
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
    struct walk_ops none = { 0 };
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
            FAILS(c.code, ERR_IO, "d is a symbolic link");
        }
    c.path = "d/new/f", c.len = 7, c.op = CHANGE_FILE, c.expected = (struct stamp){ 0 };
    FAILS(outcome(&c), ERR_IO, "d is a symbolic link");
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

static void test_quiet(void)
{
    begin();
    signal(SIGIO, SIG_IGN);
    put("f", "x");
    int fd, w = open(full("f"), O_WRONLY | O_CLOEXEC);
    OK(folder_open_file(folder, "f", 1, &fd));
    int code = folder_quiet(fd);
    if (code != ERR_NOTFOUND) {   /* a file system that has leases */
        EQ_I(code, ERR_AGAIN);
        close(w);
        OK(folder_quiet(fd));
        OK(folder_quiet(fd));     /* it was given back */
        w = open(full("f"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        CHECK(w >= 0);
    }
    close(w);
    close(fd);
    int pipes[2];
    OK(pipe(pipes));
    FAILS(folder_quiet(pipes[0]), ERR_NOTFOUND, "leases");
    close(pipes[0]);
    close(pipes[1]);
}

/* ---- walking ---- */

struct seen { char text[1 << 16]; size_t n, troubles; const char *skip; int fail_at; };
static int on_entry(void *arg, const char *path, size_t len, const struct stamp *st)
{
    struct seen *s = arg;
    if (path[len] != '\0')
        return ERR_BAD;
    s->n++;
    if (s->fail_at && (int)s->n == s->fail_at)
        return ERR_CLOSED;
    size_t at = strlen(s->text);
    snprintf(s->text + at, sizeof s->text - at, "%s%s;", path, st->kind == STAMP_DIR ? "/" : st->kind == STAMP_FILE ? "" :
             st->kind == STAMP_SYMLINK ? "@" : "?");
    return s->skip && strcmp(path, s->skip) == 0 ? WALK_SKIP : WALK_DESCEND;
}
static void on_trouble(void *arg, const char *path, size_t len)
{
    struct seen *s = arg;
    s->troubles++;
    size_t at = strlen(s->text);
    snprintf(s->text + at, sizeof s->text - at, "!%.*s;", (int)len, path);
}
static struct seen seen;
static int walk(const char *dir, const char *skip)
{
    memset(&seen, 0, sizeof seen);
    seen.skip = skip;
    return folder_walk(folder, dir, strlen(dir), &(struct walk_ops){ on_entry, on_trouble, &seen });
}
static void saw(const char *item)
{
    const char *p = strstr(seen.text, item);
    if (!p || (p > seen.text && p[-1] != ';'))
        T_FAIL("\"%s\" not among %s", item, seen.text);
}

static void test_walk(void)
{
    begin();
    char longest[257] = "";
    memset(longest, 'n', 255);
    make_dir("a");
    make_dir("a/b");
    make_dir("a/.lanyard");
    put("a/b/c", "x");
    put("a/.lanyard/x", "x");
    put("new\nline", "x");
    put("\xff\xfe", "x");
    put(longest, "x");
    make_dir("skipped");
    put("skipped/x", "x");
    OK(symlink("a", full("link")));
    OK(mkfifo(full("fifo"), 0600));
    OK(walk("", "skipped"));
    EQ_U(seen.n, 11);
    EQ_U(seen.troubles, 0);
    saw("a/;"), saw("a/b/;"), saw("a/b/c;"), saw("a/.lanyard/;"), saw("a/.lanyard/x;"), saw("new\nline;"), saw("\xff\xfe;");
    saw("skipped/;"), saw("link@;"), saw("fifo?;");
    longest[255] = ';';
    saw(longest);
    OK(walk("a", NULL));
    EQ_U(seen.n, 4);
    OK(walk("a/b", NULL));
    EQ_S(seen.text, "a/b/c;");
    FAILS(walk("nothing", NULL), ERR_IO, "nothing");
    FAILS(walk("new\nline", NULL), ERR_IO, "directory");
    EQ_I(walk("..", NULL), ERR_BAD);
    memset(&seen, 0, sizeof seen);
    seen.fail_at = 3;
    EQ_I(folder_walk(folder, "", 0, &(struct walk_ops){ on_entry, on_trouble, &seen }), ERR_CLOSED);
    EQ_U(seen.n, 3);
}

static int locked_openat2(int d, const char *p, uint64_t f, uint64_t m, uint64_t r)
{
    if (strcmp(p, "a/locked") == 0) {
        errno = EACCES;
        return -1;
    }
    return sys_kernel.openat2(d, p, f, m, r);
}
static int bad_statx(int d, const char *p, int f, unsigned m, struct statx *st)
{
    if (strcmp(p, "broken") == 0) {
        errno = EIO;
        return -1;
    }
    if (strcmp(p, "vanished") == 0) {
        errno = ENOENT;
        return -1;
    }
    return statx(d, p, f, m, st);
}

static void test_walk_trouble(void)
{
    begin();
    make_dir("a");
    make_dir("a/locked");
    put("a/locked/x", "x");
    put("a/broken", "x");
    put("a/vanished", "x");
    put("a/z", "x");
    make_dir(".LANYARD");   /* refused by path_check: a folder that ignores case would take it for ours */
    put("b", "x");
    hook();
    table.openat2 = locked_openat2;
    table.statx = bad_statx;
    OK(walk("", NULL));
    EQ_U(seen.troubles, 3);
    EQ_U(seen.n, 4);
    saw("!a/locked;"), saw("a/locked/;"), saw("!a/broken;"), saw("a/z;"), saw("!.LANYARD;"), saw("b;");
}

static void test_walk_deep(void)
{
    begin();
    char path[2 * 600] = "d";
    int at = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 520; i++) {   /* deeper than LIMIT_PATH_DEPTH */
        OK(mkdirat(at, "d", 0755));
        int next = openat(at, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
    }
    close(at);
    struct rlimit old, few = { 24, 24 };
    OK(getrlimit(RLIMIT_NOFILE, &old));
    few.rlim_max = old.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &few));
    static struct seen deep;
    memset(&deep, 0, sizeof deep);
    int code = folder_walk(folder, "", 0, &(struct walk_ops){ on_entry, on_trouble, &deep });
    OK(setrlimit(RLIMIT_NOFILE, &old));
    OK(code);
    EQ_U(deep.n, LIMIT_PATH_DEPTH);
    EQ_U(deep.troubles, 1);
    for (int i = 1; i < 512; i++)
        strcat(path, "/d");
    EQ_I(look(path).kind, STAMP_DIR);
}

/* ---- tmp/ and kept/ ---- */

static int count_name(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return 0;
}
static int stop_at_once(void *arg, const char *name)
{
    (void)arg, (void)name;
    return 42;
}
static int remove_it(void *arg, const char *name)
{
    return folder_tmp_remove(arg, name);
}
static int full_fallocate(int fd, int mode, off_t off, off_t len)
{
    (void)fd, (void)mode, (void)off, (void)len;
    errno = ENOSPC;
    return -1;
}

static void test_temp_files(void)
{
    begin();
    int fd, again, n = 0;
    temp("one.1", "text");
    OK(folder_tmp_open(folder, "one.1", &fd));
    OK(folder_tmp_create(folder, "one.1", 5 << 20, &again));   /* a new one; who has the old one open keeps it */
    EQ_I(pwrite(again, "new", 3, 0), 3);
    char text[8] = "";
    EQ_I(pread(fd, text, 8, 0), 4);
    EQ_S(text, "text");
    EQ_S(get(".lanyard/tmp/one.1"), "new");
    close(fd);
    close(again);
    temp("two", "x");
    OK(folder_tmp_list(folder, count_name, &n));
    EQ_I(n, 2);
    EQ_I(folder_tmp_list(folder, stop_at_once, NULL), 42);
    OK(folder_tmp_list(folder, remove_it, folder));
    n = 0;
    OK(folder_tmp_list(folder, count_name, &n));
    EQ_I(n, 0);
    OK(folder_tmp_remove(folder, "two"));
    FAILS(folder_tmp_open(folder, "two", &fd), ERR_NOTFOUND, "two");
    hook();
    table.fallocate = full_fallocate;
    FAILS(folder_tmp_create(folder, "big", 1ull << 30, &fd), ERR_FULL, "big");
    EQ_I(fd, -1);
    EQ_S(get(".lanyard/tmp/big"), "");
}

static void test_kept_files(void)
{
    begin();
    int fd, n = 0;
    temp("t", "text");
    OK(folder_kept_adopt(folder, "t", "k.1"));
    EQ_S(kept("k.1"), "text");
    EQ_S(get(".lanyard/tmp/t"), "");
    temp("t", "other");
    FAILS(folder_kept_adopt(folder, "t", "k.1"), ERR_EXISTS, "k.1");
    FAILS(folder_kept_adopt(folder, "none", "k.2"), ERR_NOTFOUND, "none");
    EQ_S(kept("k.1"), "text");
    OK(folder_kept_open(folder, "k.1", &fd));
    close(fd);
    OK(folder_kept_list(folder, count_name, &n));
    EQ_I(n, 1);
    OK(folder_kept_remove(folder, "k.1"));
    OK(folder_kept_remove(folder, "k.1"));
    FAILS(folder_kept_open(folder, "k.1", &fd), ERR_NOTFOUND, "k.1");
}

/* ---- changing ---- */

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
static int as_user(void)
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
    OK(chmod(full("d/new"), 0));
    OK(walk("", NULL));
    EQ_U(seen.troubles, 1);
    saw("!d/new;");
    struct stamp st;
    FAILS(folder_stat(folder, "d/new/f", 7, &st), ERR_IO, "Permission denied");
    return 0;
}
static void test_unwritable_directory(void)
{
    finish_all();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
            _exit(3);
        int bad = setjmp(t_jump);
        if (!bad)
            as_user();
        finish_all();
        fflush(stdout);
        _exit(bad ? 1 : 0);
    }
    int status;
    EQ_I(waitpid(child, &status, 0), child);
    EQ_I(status, 0);
}

/* Many files of a few directories, one failing item among them, and the parent opened once per directory. */
static int opens;
static int counting_openat2(int d, const char *p, uint64_t f, uint64_t m, uint64_t r)
{
    opens += (f & O_DIRECTORY) != 0;
    return sys_kernel.openat2(d, p, f, m, r);
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
    RUN(test_create_and_open);
    RUN(test_health);
    RUN(test_room);
    RUN(test_kinds);
    RUN(test_stamps);
    RUN(test_stat_errors_are_not_absence);
    RUN(test_open_file);
    RUN(test_readlink);
    RUN(test_path_tricks);
    RUN(test_link_in_the_middle);
    RUN(test_directory_swapped_for_a_link_meanwhile);
    RUN(test_quiet);
    RUN(test_walk);
    RUN(test_walk_trouble);
    RUN(test_walk_deep);
    RUN(test_temp_files);
    RUN(test_kept_files);
    RUN(test_new_file);
    RUN(test_replace);
    RUN(test_file_over_directory);
    RUN(test_symlinks);
    RUN(test_remove);
    RUN(test_move);
    RUN(test_directories);
    RUN(test_meta);
    RUN(test_unwritable_directory);
    RUN(test_big_batch);
    finish_all();
    return t_done();
}

#include <signal.h>
#include <sodium.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proto/limits.h"
#include "store/folder_priv.h"
#include "tests/unit/folder_fixture.h"

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
static int opened;
static struct sys counting;
static int count_open(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    opened++;
    return sys_kernel.openat2(dirfd, path, flags, mode, resolve);
}

/* Many looks into one directory open it once, and say what single ones do. */
static void test_near(void)
{
    begin();
    make_dir("c");
    make_dir("d");
    put("c/b", "of another");
    put("d/a", "a");
    put("d/b", "bb");
    put("e", "eee");
    counting = without_sync;
    counting.openat2 = count_open;
    sys = &counting;
    AUTO(folder_near_release) struct folder_near near = FOLDER_NEAR_INIT;
    static const char *const path[] = {"d/a", "d/b", "d/none", "d/a", "c/b", "d", "e", "none/x", "d/b", "d/b/x"};
    for (size_t i = 0; i < sizeof path / sizeof *path; i++) {
        struct stamp st, alone;
        opened = 0;
        OK(folder_stat_near(folder, &near, path[i], strlen(path[i]), &st));
        CHECK(i < 1 || i > 3 || opened == 0);
        OK(folder_stat(folder, path[i], strlen(path[i]), &alone));
        CHECK(st.kind == alone.kind && (st.kind == STAMP_ABSENT || stamp_same(&st, &alone)));
    }
    struct stamp st;
    EQ_I(folder_stat_near(folder, &near, "../d", 4, &st), ERR_BAD);
}

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

static int times_set, looks;
static int count_times(int dirfd, const char *path, const struct timespec ts[2], int flags)
{
    times_set++;
    return sys_kernel.utimensat(dirfd, path, ts, flags);
}
static int count_looks(int dirfd, const char *path, int flags, unsigned mask, struct statx *st)
{
    looks++;
    return sys_kernel.statx(dirfd, path, flags, mask, st);
}

/* What the temp file has already is not set again; what has come to differ since is. Of plain content nobody asks for a log beside it. */
static void test_dressed(void)
{
    begin();
    for (int dressed = 0; dressed < 3; dressed++) {
        int fd;
        char path[16];
        snprintf(path, sizeof path, "f%d", dressed);
        OK(folder_tmp_create(folder, "t", 4, &fd));
        struct change c = change(CHANGE_FILE, path, "t", NULL);
        c.plain = dressed > 0;
        if (dressed > 0)
            folder_tmp_dress(fd, dressed == 1 ? c.mode : 0400, c.mtime_ns);
        close(fd);
        hook();
        table.utimensat = count_times;
        table.statx = count_looks;
        times_set = looks = 0;
        OK(outcome(&c));
        sys = &without_sync;
        EQ_I(times_set, dressed == 0);
        CHECK(dressed != 1 || looks == 2);
        EQ_U(mode_of(path), c.mode & 0777);
        EQ_I(c.now.mtime_ns, c.mtime_ns);
    }
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

/* The target of a link is content like any other, and is not followed. */
static void test_kept_links(void)
{
    begin();
    char target[LIMIT_SYMLINK + 1] = "";
    struct stat st;
    int fd;
    edit(".lanyard/marked", "not this");
    OK(symlink("../marked", full(".lanyard/kept/k.1")));
    OK(folder_kept_open(folder, "k.1", &fd));
    OK(fstat(fd, &st));
    CHECK(S_ISREG(st.st_mode) && st.st_nlink == 0);
    EQ_I(pread(fd, target, sizeof target, 0), strlen("../marked"));
    EQ_S(target, "../marked");
    close(fd);
}

/* Only what is as on record, in every field, and nothing but its mode. */
static void test_mode_alone(void)
{
    begin();
    struct stamp st, now;
    edit("f", "text");
    st = look("f");
    OK(folder_set_mode(folder, "f", 1, &st, 0400, &now));
    EQ_U(now.mode, 0400);
    struct stamp there = look("f");
    CHECK(stamp_same(&now, &there));
    EQ_I(now.mtime_ns, st.mtime_ns);
    EQ_I(folder_set_mode(folder, "f", 1, &st, 0600, &now), ERR_CHANGED);       /* another mode than it had */
    st = there;
    st.ctime_ns--;
    EQ_I(folder_set_mode(folder, "f", 1, &st, 0600, &now), ERR_CHANGED);       /* it may have been edited, and its time set back */
    EQ_U(look("f").mode, 0400);
    EQ_I(symlink("f", full("link")), 0);
    st = look("link");
    EQ_I(folder_set_mode(folder, "link", 4, &st, 0600, &now), ERR_CHANGED);
    EQ_I(folder_set_mode(folder, "gone", 4, &there, 0600, &now), ERR_NOTFOUND);
    EQ_I(folder_set_mode(folder, "../outside", 10, &there, 0600, &now), ERR_BAD);
    EQ_U(look("f").mode, 0400);
    OK(folder_flush(folder));
}

/* The kernel says once to each open file that something could not be written. What is to be said to a batch goes to nobody else. */
static int told_last;
static int tell_syncfs(int fd)
{
    told_last = fd;
    return 0;
}
static void test_flush_takes_no_word_from_a_batch(void)
{
    begin();
    folder->flushes_dirs = false;        /* as a batch of many */
    temp("t", "new");
    hook();
    table.syncfs = tell_syncfs;
    struct change c = change(CHANGE_FILE, "f", "t", NULL);
    OK(outcome(&c));
    int to_batches = told_last;
    OK(folder_flush(folder));
    CHECK(told_last != to_batches);
    OK(folder_apply(folder, &c, 1));
    EQ_I(told_last, to_batches);
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
    RUN(test_near);
    RUN(test_stat_errors_are_not_absence);
    RUN(test_open_file);
    RUN(test_readlink);
    RUN(test_quiet);
    RUN(test_temp_files);
    RUN(test_dressed);
    RUN(test_kept_files);
    RUN(test_kept_links);
    RUN(test_mode_alone);
    RUN(test_flush_takes_no_word_from_a_batch);
    finish_all();
    return t_done();
}

/* folder_fixture: a folder in a temp directory, for the tests of store/folder*.c. begin() makes a fresh one and removes the one
 * before (also after a failed test); at the end finish_all(). */
#ifndef TESTS_UNIT_FOLDER_FIXTURE_H
#define TESTS_UNIT_FOLDER_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/folder.h"
#include "store/sys.h"
#include "tests/unit/t.h"

static char base[256];            /* the temp directory */
static char root[512];            /* the folder in it */
static struct folder *folder;
static const struct id group = { { 7 } };

static inline int open_up(const char *p, const struct stat *st, int type, struct FTW *w)
{
    (void)st, (void)w;
    return type == FTW_D || type == FTW_DNR ? chmod(p, 0700) : 0;
}
static inline int remove_one(const char *p, const struct stat *st, int type, struct FTW *w)
{
    (void)st, (void)type, (void)w;
    return remove(p);
}
static inline void finish_all(void)
{
    sys = &sys_kernel;
    folder_close(&folder);
    if (base[0]) {
        (void)nftw(base, open_up, 16, FTW_PHYS);
        (void)nftw(base, remove_one, 16, FTW_PHYS | FTW_DEPTH);
    }
    base[0] = '\0';
}
static inline int no_sync(int fd)
{
    (void)fd;
    return 0;
}
/* Flushes are not what most tests are about, and take most of their time. */
static struct sys without_sync;

static inline void begin(void)
{
    finish_all();
    without_sync = sys_kernel;
    without_sync.fsync = without_sync.syncfs = no_sync;
    sys = &without_sync;
    const char *dir = getenv("TMPDIR");
    snprintf(base, sizeof base, "%s/lanyard-test-XXXXXX", dir ? dir : "/tmp");
    CHECK(mkdtemp(base));
    snprintf(root, sizeof root, "%s/folder", base);
    OK(folder_create(root, &group));
    OK(folder_open(root, &group, &folder));
}

/* ---- what the user does, with paths relative to the folder ---- */
static inline const char *full(const char *path)
{
    static char ring[4][PATH_MAX];
    static int next;
    char *p = ring[next++ % 4];
    snprintf(p, PATH_MAX, "%s/%s", root, path);
    return p;
}
static inline void make_dir(const char *path)
{
    OK(mkdir(full(path), 0755));
}
/* Overwrites in place. */
static inline void edit(const char *path, const char *text)
{
    int fd = open(full(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        T_FAIL("%s: %s", path, strerror(errno));
    EQ_I(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}
/* A file of some time ago: later writes give it another mtime, however coarse the clock. */
static inline void put(const char *path, const char *text)
{
    edit(path, text);
    const struct timespec past[2] = { { .tv_sec = 1600000000 }, { .tv_sec = 1600000000 } };
    OK(utimensat(AT_FDCWD, full(path), past, 0));
}
/* "" when there is no file; a link's target in <>; a directory "/". Four latest results stay. */
static inline const char *get(const char *path)
{
    static char ring[4][4096];
    static int next;
    char *p = ring[next++ % 4];
    struct stat st;
    if (lstat(full(path), &st) < 0)
        return "";
    if (S_ISDIR(st.st_mode))
        return "/";
    if (S_ISLNK(st.st_mode)) {
        p[0] = '<';
        ssize_t n = readlink(full(path), p + 1, 4000);
        snprintf(p + 1 + n, 2, ">");
        return p;
    }
    if (!S_ISREG(st.st_mode))
        return "special";
    int fd = open(full(path), O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, p, 4095);
    close(fd);
    p[n < 0 ? 0 : n] = '\0';
    return p;
}
static inline const char *kept(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, ".lanyard/kept/%s", name);
    return get(path);
}
static inline mode_t mode_of(const char *path)
{
    struct stat st;
    OK(lstat(full(path), &st));
    return st.st_mode & 07777;
}

/* ---- what the node does ---- */
static inline struct stamp look(const char *path)
{
    struct stamp st;
    OK(folder_stat(folder, path, strlen(path), &st));
    return st;
}
static inline void temp(const char *name, const char *text)
{
    int fd;
    OK(folder_tmp_create(folder, name, strlen(text), &fd));
    EQ_I(pwrite(fd, text, strlen(text), 0), strlen(text));
    close(fd);
}
/* A change of `path` as it is now; tmp, kept and from may be NULL. */
static inline struct change change(enum change_op op, const char *path, const char *tmp, const char *keep)
{
    return (struct change){ .op = op, .path = path, .len = strlen(path), .expected = look(path), .tmp = tmp, .kept = keep,
                            .mode = 0640, .mtime_ns = 1234567890123456789 };
}
static inline struct change change_move(const char *from, const char *path, const char *keep)
{
    struct change c = change(CHANGE_MOVE, path, NULL, keep);
    c.from = from;
    c.fromlen = strlen(from);
    c.from_expected = look(from);
    return c;
}
static inline struct change change_link(const char *path, const char *target, const char *keep)
{
    struct change c = change(CHANGE_SYMLINK, path, NULL, keep);
    c.target = (struct bytes){ (const uint8_t *)target, strlen(target) };
    return c;
}
static inline void apply_one(struct change *c)
{
    OK(folder_apply(folder, c, 1));
    if (c->code < 0)
        err_set((enum err)c->code, "%s", c->text);
}
static inline int outcome(struct change *c)
{
    apply_one(c);
    return c->code;
}

/* ---- the rest ---- */

/* A table of system calls to put hooks into; the next begin() takes them out. */
static struct sys table;
static inline void hook(void)
{
    table = without_sync;
    sys = &table;
}

/* Runs fn in a child that is not root, so that permissions count. */
static inline void as_user(void (*fn)(void))
{
    finish_all();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
            _exit(3);
        int bad = setjmp(t_jump);
        if (!bad)
            fn();
        finish_all();
        fflush(stdout);
        _exit(bad ? 1 : 0);
    }
    int status;
    EQ_I(waitpid(child, &status, 0), child);
    EQ_I(status, 0);
}
#endif

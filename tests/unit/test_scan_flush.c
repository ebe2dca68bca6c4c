/* What a version names is on the disk of its author before it is signed: a power cut takes back what was saved a moment before. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "node/scan_priv.h"
#include "store/folder_priv.h"
#include "tests/unit/t_scan.h"

enum { MANY = 100 };
static _Atomic unsigned files, whole;        /* flushes of single files of the folder, and of the file system */
static _Atomic bool fails;
static bool may_mount;

static int count_fsync(int fd)
{
    struct stat st;
    files += fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    return fails ? (errno = EIO, -1) : sys_kernel.fsync(fd);
}
static int count_syncfs(int fd)
{
    whole++;
    return fails ? (errno = EIO, -1) : sys_kernel.syncfs(fd);
}

/* How many of them there had been when there was something new to announce. */
static unsigned files_before, whole_before;
static void note_flushes(void *arg)
{
    (void)arg;
    files_before = files;
    whole_before = whole;
}

static void begin_counting(void)
{
    world_begin();
    hook();
    table.fsync = count_fsync;
    table.syncfs = count_syncfs;
    w.also_committed = note_flushes;
    files = whole = files_before = whole_before = 0;
    fails = false;
}

static bool has_file(void *path)
{
    struct ix_local l;
    return quiet(NULL) && local_of(path, &l);
}

static void test_one_file(void)
{
    begin_counting();
    first_scan();
    EQ_U(files, 0);
    edit("a", "one");
    UNTIL(w.loop, has_file, (char *)"a");
    CHECK(files_before >= 1);
    EQ_U(whole, 1);                          /* of the start */
}

/* What lies there at the start has one flush, before all else. */
static void test_first_scan(void)
{
    begin_counting();
    char name[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "f%d", i);
        edit(name, name);
        const struct timespec old[2] = { { .tv_sec = 1700000000 }, { .tv_sec = 1700000000 } };
        EQ_I(utimensat(AT_FDCWD, full(name), old, 0), 0);
    }
    folder->granularity = 1;
    first_scan();
    EQ_U(authored(), MANY);
    EQ_U(files, 0);
    EQ_U(whole, 1);
    EQ_U(whole_before, 1);
}

static bool has_many(void *arg)
{
    (void)arg;
    return quiet(NULL) && authored() >= MANY;
}

static void test_many_files(void)
{
    begin_counting();
    first_scan();
    unsigned at_start = whole;
    char name[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "f%d", i);
        edit(name, name);
    }
    UNTIL(w.loop, has_many, NULL);
    CHECK(whole_before > at_start || files_before >= MANY);
    CHECK(whole + files < MANY);
}

static bool has_trouble(void *arg)
{
    (void)arg;
    return w.trouble.n > 0;
}

/* Nothing is said of what may not be there tomorrow. */
static void flush_fails(int count)
{
    begin_counting();
    first_scan();
    fails = true;
    char name[16];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "f%d", i);
        edit(name, name);
    }
    UNTIL(w.loop, has_trouble, NULL);
    EQ_U(authored(), 0);
    fails = false;
    scan_all(w.scan);
    UNTIL(w.loop, has_file, (char *)"f0");
    CHECK(authored() >= 1);
}
static void test_flush_fails(void)
{
    flush_fails(1);
    CHECK(strstr(w.trouble.text[0], "fsync") != NULL);
    flush_fails(60);
    CHECK(strstr(w.trouble.text[0], "sync") != NULL);
}

/* What is mounted in the folder has no part in the flushes of the folder's own file system. In a name space of our own, which ends with us. */
static void test_what_is_mounted_in_the_folder(void)
{
    begin_counting();
    EQ_I(mkdir(full("sub"), 0700), 0);
    if (!may_mount || mount("none", full("sub"), "tmpfs", 0, "size=1m") < 0) {
        printf("# SKIP nothing can be mounted here\n");
        return;
    }
    char name[16];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "sub/%c", 'a' + i);
        edit(name, name);
    }
    first_scan();
    EQ_U(authored(), 11);                    /* with the directory */
    CHECK(files_before >= 10);
    (void)umount2(full("sub"), MNT_DETACH);
}

int main(void)
{
    may_mount = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    t_node_init();
    RUN(test_one_file);
    RUN(test_first_scan);
    RUN(test_many_files);
    RUN(test_flush_fails);
    RUN(test_what_is_mounted_in_the_folder);
    world_end();
    return t_done();
}

/* Times of files that prove little: of a clock that was set back, of file systems that count seconds by twos. */
#include "node/scan_priv.h"
#include "store/folder_priv.h"
#include "tests/unit/t_scan.h"

/* An hour from now. */
static int later_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *st)
{
    int r = sys_kernel.statx(dirfd, path, flags, mask, st);
    st->stx_ctime.tv_sec += 3600;
    return r;
}

/* The clock was set back: a file of the near future waits, and is not read again and again until its time has come. */
static void test_times_to_come(void)
{
    const int64_t s = 1000000000, grain = s / 20, now = 1700000000 * s;
    const struct stamp old = { .ctime_ns = now - s, .mtime_ns = now - s }, young = { .ctime_ns = now - grain / 2 };
    EQ_U(take_young(&old, now, grain), 0);
    EQ_U(take_young(&young, now, grain), 26);
    const struct stamp set = { .ctime_ns = now - s, .mtime_ns = now + s };           /* by its user */
    EQ_U(take_young(&set, now, grain), 0);
    const struct stamp near = { .ctime_ns = now + s / 50 }, soon = { .ctime_ns = now + 5 * s }, far = { .ctime_ns = now + 1000000 * s };
    EQ_U(take_young(&near, now, grain), 1000);
    EQ_U(take_young(&soon, now, grain), 5051);
    EQ_U(take_young(&far, now, grain), 3600 * 1000);
    world_begin();
    hook();
    table.statx = later_statx;
    edit("a", "one");
    first_scan();
    CHECK(!is_settled((char *)"a"));
    EQ_U(w.scan->later.n, 1);
    CHECK(w.scan->later.v[0].due > loop_now() + 60 * 1000);
}

/* Again and again edits of the same length in one tick. */
static int coarse_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *st)
{
    int r = sys_kernel.statx(dirfd, path, flags, mask, st);
    st->stx_mtime.tv_sec &= ~1ll;
    st->stx_ctime.tv_sec &= ~1ll;
    st->stx_mtime.tv_nsec = st->stx_ctime.tv_nsec = 0;
    return r;
}
static bool says(void *text) { return quiet(NULL) && strcmp(text_of("a"), text) == 0; }

static void test_times_of_two_seconds(void)
{
    static char texts[3][4] = { "two", "six", "ten" };
    world_begin();
    hook();
    table.statx = coarse_statx;
    folder->granularity = 2100 * 1000000ll;      /* what is taken of a file system that is not known for more */
    edit("a", "one");
    first_scan();
    for (size_t i = 0; i < 3; i++) {
        edit("a", texts[i]);
        UNTIL(w.loop, says, texts[i]);
    }
    EQ_U(authored(), 4);
}

/* How often a large file is read from its beginning. */
enum { LARGE = 64 << 20 };
static _Atomic unsigned readings;
static ssize_t count_readings(int fd, void *p, size_t n, off_t off)
{
    struct stat st;
    readings += off == 0 && n > 4096 && fstat(fd, &st) == 0 && st.st_size == LARGE;
    return sys_kernel.pread(fd, p, n, off);
}

static void test_large_file_is_read_once(void)
{
    world_begin();
    first_scan();
    readings = 0;
    hook();
    table.pread = count_readings;
    int fd = open(full("a"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    EQ_I(write(fd, "x", 1), 1);
    OK(ftruncate(fd, LARGE));
    close(fd);
    wait_settled("a", NULL);
    EQ_U(version("a").size, LARGE);
    EQ_U(readings, 1);
}

int main(void)
{
    t_node_init();
    RUN(test_times_to_come);
    RUN(test_times_of_two_seconds);
    RUN(test_large_file_is_read_once);
    world_end();
    return t_done();
}

/* What must not make the scanner announce deletions, or give up: a folder that is gone, read errors, mass deletions. */
#include "tests/unit/t_scan.h"

/* ---- read errors are no deletions ---- */

static bool ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}
static int shut_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    if (ends_with(path, "shut") && (flags & O_DIRECTORY)) {
        errno = EACCES;
        return -1;
    }
    return sys_kernel.openat2(dirfd, path, flags, mode, resolve);
}
static int bad_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *st)
{
    if (ends_with(path, "rotten")) {
        errno = EIO;
        return -1;
    }
    return sys_kernel.statx(dirfd, path, flags, mask, st);
}

static void test_unreadable_directory_is_no_deletion(void)
{
    world_begin();
    make_dir("shut");
    edit("shut/a", "x");
    make_dir("shut/e");
    edit("shut/e/b", "x");
    edit("c", "x");
    first_scan();
    uint64_t before = authored();
    hook();
    table.openat2 = shut_openat2;
    scan_again();
    OK(unlink(full("shut/a")));
    scan_again();
    EQ_U(authored(), before);
    EQ_U(w.trouble.n, 1);
    EQ_S(w.trouble.path[0], "shut");
    EQ_U(scan_errors(w.scan), 1);
    EQ_S(w.failed, "");
    table.openat2 = sys_kernel.openat2;
    scan_again();
    EQ_U(scan_errors(w.scan), 0);
    CHECK(is_deleted("shut/a") && !is_deleted("shut/e/b"));
}

static void test_directory_that_opens_again_is_looked_into(void)
{
    world_begin();
    make_dir("shut");
    hook();
    table.openat2 = shut_openat2;
    first_scan();
    edit("shut/a", "x");
    scan_again();
    CHECK(!on_disk("shut/a"));
    table.openat2 = sys_kernel.openat2;
    OK(chmod(full("shut"), 0700));
    settle();
    CHECK(on_disk("shut/a"));
}

static void test_stat_error_is_no_deletion(void)
{
    world_begin();
    edit("rotten", "x");
    edit("good", "x");
    first_scan();
    hook();
    table.statx = bad_statx;
    scan_again();
    scan_hint(w.scan, "rotten", 6, false);
    settle();
    EQ_U(authored(), 2);
    EQ_U(w.trouble.n, 1);
    EQ_S(w.trouble.path[0], "rotten");
}

static _Atomic bool eio;
static ssize_t rotten_pread(int fd, void *p, size_t n, off_t off)
{
    struct stat st;
    if (eio && fstat(fd, &st) == 0 && st.st_size == 5000) {
        errno = EIO;
        return -1;
    }
    return sys_kernel.pread(fd, p, n, off);
}
static bool is_taken(void *path) { return on_disk(path) && quiet(NULL); }

static void test_file_that_cannot_be_read_is_tried_again(void)
{
    world_begin();
    put_big("a", 5000, 1);
    eio = true;
    hook();
    table.pread = rotten_pread;
    first_scan();
    scan_again();
    EQ_U(authored(), 0);
    EQ_U(w.trouble.n, 1);
    EQ_U(scan_errors(w.scan), 1);
    eio = false;
    UNTIL(w.loop, is_taken, "a");
    EQ_U(scan_errors(w.scan), 0);
}

/* ---- the folder is gone ---- */

static bool has_failed(void *arg)
{
    (void)arg;
    return w.failed[0] != 0;
}
static bool is_well(void *arg)
{
    (void)arg;
    return !w.failed[0] && quiet(NULL);
}

static void test_missing_marker_stops_everything(void)
{
    world_begin();
    edit("a", "x");
    edit("b", "x");
    first_scan();
    OK(rename(full(".lanyard/marker"), full(".lanyard/away")));
    OK(unlink(full("a")));
    edit("c", "x");
    scan_all(w.scan);
    UNTIL(w.loop, has_failed, NULL);
    CHECK(strstr(w.failed, "marker"));
    CHECK(!scan_idle(w.scan));
    EQ_U(authored(), 2);
    OK(rename(full(".lanyard/away"), full(".lanyard/marker")));
    UNTIL(w.loop, is_well, NULL);
    EQ_U(authored(), 4);
    CHECK(is_deleted("a") && on_disk("c"));
}

static void test_another_directory_in_its_place(void)
{
    world_begin();
    edit("a", "x");
    first_scan();
    char away[600];
    snprintf(away, sizeof away, "%s/away", base);
    OK(rename(root, away));
    OK(folder_create(root, &group));
    scan_all(w.scan);
    UNTIL(w.loop, has_failed, NULL);
    EQ_U(authored(), 1);
}

/* ---- mass deletions ---- */

static bool is_braked(void *arg)
{
    uint64_t n;
    (void)arg;
    return scan_braked(w.scan, &n) && quiet(NULL);
}

static void test_brake(void)
{
    uint64_t n;
    world_begin();
    make_dir("d");
    put_many("d", 0, 200);
    edit("other", "x");
    first_scan();
    EQ_U(authored(), 202);
    delete_many("d", 0, 120);
    UNTIL(w.loop, is_braked, NULL);
    CHECK(scan_braked(w.scan, &n));
    EQ_U(n, 120);
    EQ_U(authored(), 202);
    /* Other changes go on, and do not release it. */
    edit("other", "y");
    settle();
    EQ_S(text_of("other"), "y");
    CHECK(scan_braked(w.scan, &n));
    EQ_U(n, 120);
    OK(unlink(full("other")));
    settle();
    CHECK(scan_braked(w.scan, &n));
    EQ_U(authored(), 203);
    scan_accept_deletions(w.scan);
    settle();
    CHECK(!scan_braked(w.scan, &n));
    uint64_t deleted;
    EQ_U(notes(&deleted), 1);
    EQ_U(deleted, 120 + 1);
    EQ_U(authored(), 203 + 121 + 1);
    CHECK(is_deleted("d/0") && !is_deleted("d/120"));
}

static void test_brake_after_a_restart(void)
{
    uint64_t n;
    world_begin();
    make_dir("d");
    put_many("d", 0, 150);
    first_scan();
    scan_end();
    delete_many("d", 0, 150);
    first_scan();
    CHECK(scan_braked(w.scan, &n));
    EQ_U(n, 150);
    EQ_U(authored(), 151);
    scan_again();
    EQ_U(authored(), 151);
    put_many("d", 0, 150);
    settle();
    scan_again();
    CHECK(!scan_braked(w.scan, &n));
    CHECK(!is_deleted("d/3"));
}

static void test_acceptance_during_another_look_counts(void)
{
    uint64_t n;
    world_begin();
    make_dir("d");
    put_many("d", 0, 150);
    first_scan();
    scan_end();
    delete_many("d", 0, 150);
    first_scan();
    CHECK(scan_braked(w.scan, &n));
    edit("x", "x");
    CHECK(!scan_idle(w.scan));
    t_within(w.loop, 15, is_well, NULL);        /* the look at x has perhaps begun */
    scan_accept_deletions(w.scan);
    settle();
    CHECK(is_deleted("d/3") && !scan_braked(w.scan, &n));
}

static void test_no_brake_for_few_files(void)
{
    uint64_t n;
    world_begin();
    make_dir("d");
    put_many("d", 0, 120);
    first_scan();
    delete_many("d", 0, 100);
    settle();
    CHECK(!scan_braked(w.scan, &n));
    CHECK(is_deleted("d/0"));
}

static void test_no_brake_for_a_small_part(void)
{
    uint64_t n;
    world_begin();
    make_dir("d");
    put_many("d", 0, 420);
    first_scan();
    delete_many("d", 0, 105);
    settle();
    CHECK(!scan_braked(w.scan, &n));
    CHECK(is_deleted("d/0"));
}

/* Directories are not files: they do not make a great loss a small one. */
static void test_brake_counts_files(void)
{
    uint64_t n;
    world_begin();
    make_dir("d");
    for (int i = 0; i < 600; i++) {
        char path[40];
        snprintf(path, sizeof path, "e%d", i);
        make_dir(path);
    }
    put_many("d", 0, 120);
    first_scan();
    delete_many("d", 0, 120);
    settle();
    CHECK(scan_braked(w.scan, &n));
    EQ_U(n, 120);
}

static void test_renames_do_not_brake(void)
{
    uint64_t n;
    world_begin();
    make_dir("d");
    put_many("d", 0, 150);
    first_scan();
    UNTIL(w.loop, is_settled, "d/0");
    for (int i = 0; i < 150; i++) {
        char path[40];
        snprintf(path, sizeof path, "d/%d", i);
        wait_settled(path, NULL);
    }
    OK(rename(full("d"), full("e")));
    settle();
    CHECK(!scan_braked(w.scan, &n));
    CHECK(is_deleted("d/0") && on_disk("e/0"));
}

/* ---- the end in the middle of work ---- */

static bool has_begun(void *arg)
{
    (void)arg;
    return w.committed > 0;
}

static void test_stopped_in_the_middle(void)
{
    world_begin();
    make_dir("d");
    put_many("d", 0, 3000);
    scan_start();
    scan_end();                                  /* before the first look */
    scan_start();
    UNTIL(w.loop, has_begun, NULL);
    OK(unlink(full("d/5")));
    scan_end();                                  /* files are being hashed */
    EQ_S(w.failed, "");
    CHECK(!is_deleted("d/7"));
    first_scan();
    CHECK(!on_disk("d/5") && on_disk("d/2999") && on_disk("d/7"));
}

int main(void)
{
    t_node_init();
    RUN(test_unreadable_directory_is_no_deletion);
    RUN(test_directory_that_opens_again_is_looked_into);
    RUN(test_stat_error_is_no_deletion);
    RUN(test_file_that_cannot_be_read_is_tried_again);
    RUN(test_missing_marker_stops_everything);
    RUN(test_another_directory_in_its_place);
    RUN(test_brake);
    RUN(test_brake_after_a_restart);
    RUN(test_acceptance_during_another_look_counts);
    RUN(test_no_brake_for_few_files);
    RUN(test_no_brake_for_a_small_part);
    RUN(test_brake_counts_files);
    RUN(test_renames_do_not_brake);
    RUN(test_stopped_in_the_middle);
    world_end();
    return t_done();
}

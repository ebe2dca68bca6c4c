/* What the scanner takes from a real folder, and what it leaves. Dangers: test_scan_danger.c. */
#include "tests/unit/t_scan.h"

enum { BIG = 300000 };

static void test_first_scan_takes_everything(void)
{
    world_begin();
    make_dir("d");
    make_dir("d/e");
    edit("a", "one");
    edit("d/e/b", "");
    put_big("d/big", BIG, 1);
    OK(symlink("../outside", full("l")));
    first_scan();
    EQ_U(authored(), 6);
    EQ_U(version("a").kind, KIND_FILE);
    EQ_S(text_of("a"), "one");
    EQ_U(version("d/e/b").size, 0);
    EQ_U(version("d/e").kind, KIND_DIR);
    EQ_U(version("d/big").size, BIG);
    AUTO(buf_release) struct buf refs = BUF_INIT(1 << 20);
    struct id root_of_big = version("d/big").root;
    OK(index_tree_get(w.ix, &root_of_big, &refs));
    struct scan_figures f;
    scan_figures(w.scan, &f);
    EQ_U(f.files, 3);
    EQ_U(f.changed, 6);
    CHECK(w.committed > 0);
    EQ_U(w.trouble.n, 0);
}

static void test_unchanged_rescan_authors_nothing(void)
{
    world_begin();
    make_dir("d");
    put_many("d", 0, 30);
    OK(symlink("d/1", full("l")));
    first_scan();
    uint64_t before = authored();
    EQ_U(before, 32);
    scan_again();
    scan_end();
    first_scan();
    EQ_U(authored(), before);
}

static void test_edits_are_noticed(void)
{
    world_begin();
    put("a", "one");
    put_big("big", BIG, 1);
    first_scan();
    struct id before = version("big").root;
    edit("a", "two");
    put_big("big", BIG, 2);
    edit("new", "new");
    settle();
    EQ_S(text_of("a"), "two");
    EQ_S(text_of("new"), "new");
    struct id after = version("big").root;
    CHECK(!id_eq(&before, &after));
    EQ_U(authored(), 5);
    OK(chmod(full("a"), 0755));
    settle();
    EQ_U(authored(), 6);
    EQ_S(text_of("a"), "two");
}

static void test_deletes_are_noticed(void)
{
    world_begin();
    make_dir("d");
    make_dir("d/e");
    edit("d/e/f", "x");
    edit("a", "x");
    first_scan();
    OK(unlink(full("a")));
    settle();
    CHECK(is_deleted("a") && !on_disk("a"));
    OK(unlink(full("d/e/f")));
    OK(rmdir(full("d/e")));
    OK(rmdir(full("d")));
    settle();
    CHECK(is_deleted("d/e/f") && is_deleted("d/e") && is_deleted("d"));
    EQ_U(authored(), 8);
    scan_again();
    EQ_U(authored(), 8);
}

/* ---- renames ---- */

static _Atomic unsigned content_reads;
static ssize_t count_pread(int fd, void *p, size_t n, off_t off)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size == BIG)
        content_reads++;
    return sys_kernel.pread(fd, p, n, off);
}
static void watch_reads(void)
{
    content_reads = 0;
    hook();
    table.pread = count_pread;
}

static void test_rename_reads_nothing(void)
{
    world_begin();
    put_big("a", BIG, 1);
    first_scan();
    wait_settled("a", NULL);
    struct id before = version("a").root;
    watch_reads();
    OK(rename(full("a"), full("b")));
    settle();
    EQ_U(content_reads, 0);
    EQ_U(authored(), 3);
    CHECK(is_deleted("a") && !on_disk("a"));
    struct id after = version("b").root;
    CHECK(id_eq(&before, &after));
    AUTO(buf_release) struct buf refs = BUF_INIT(1 << 20);
    OK(index_tree_get(w.ix, &after, &refs));
    EQ_U(version("b").size, BIG);
}

static void test_rename_while_not_running_reads_nothing(void)
{
    world_begin();
    make_dir("d");
    put_big("d/a", BIG, 1);
    edit("d/c", "small");
    first_scan();
    wait_settled("d/a", "d/c");
    scan_end();
    watch_reads();
    OK(rename(full("d"), full("moved")));
    first_scan();
    EQ_U(content_reads, 0);
    EQ_U(version("moved/a").size, BIG);
    EQ_S(text_of("moved/c"), "small");
    CHECK(is_deleted("d/a") && is_deleted("d/c") && is_deleted("d"));
    EQ_U(authored(), 9);
}

/* A container of a file system that some program mounts: written in place, and its time is set back afterwards. */
static void test_renamed_and_edited_while_not_running_is_read(void)
{
    world_begin();
    put_big("a", BIG, 1);
    put_big("x", BIG, 2);
    first_scan();
    wait_settled("a", "x");
    struct id before = version("a").root, other = version("x").root;
    scan_end();
    struct stat st;
    OK(stat(full("a"), &st));
    OK(rename(full("a"), full("b")));
    OK(rename(full("x"), full("y")));
    int fd = open(full("b"), O_WRONLY | O_CLOEXEC);
    EQ_I(pwrite(fd, "edited", 6, 1000), 6);
    OK(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}));
    close(fd);
    first_scan();
    struct id after = version("b").root, same = version("y").root;
    CHECK(!id_eq(&before, &after) && id_eq(&other, &same));
    CHECK(is_deleted("a") && is_deleted("x"));
}

enum { NEW_FILES = 1500 };
static char *new_file(unsigned i)
{
    static char name[16];
    snprintf(name, sizeof name, "n%04u", i);
    return name;
}

/* With so many new files only those wait for the end of the look that may be renamed ones; and with so many gone the facts are given in
 * parts. */
static void test_rename_among_many_new_and_many_gone(void)
{
    world_begin();
    make_dir("d");
    put_big("d/a", BIG, 1);
    first_scan();
    wait_settled("d/a", NULL);
    scan_end();
    watch_reads();
    OK(rename(full("d"), full("z")));
    for (unsigned i = 0; i < NEW_FILES; i++)
        edit(new_file(i), "x");
    first_scan();
    EQ_U(content_reads, 0);
    EQ_U(version("z/a").size, BIG);
    CHECK(is_deleted("d/a"));
    for (unsigned i = 0; i < NEW_FILES; i++)
        CHECK(on_disk(new_file(i)));
    uint64_t before = authored();
    for (unsigned i = 0; i < NEW_FILES; i++)
        OK(unlink(full(new_file(i))));
    scan_accept_deletions(w.scan);
    settle();
    for (unsigned i = 0; i < NEW_FILES; i++)
        CHECK(is_deleted(new_file(i)));
    uint64_t deleted, n = notes(&deleted);               /* one a transaction; none of what was moved */
    CHECK(n > 0 && deleted > NEW_FILES / 2 && deleted <= NEW_FILES);
    EQ_U(authored() - before, NEW_FILES + n);
}

static void test_directory_rename_reads_nothing(void)
{
    world_begin();
    make_dir("d");
    make_dir("d/e");
    put_big("d/e/a", BIG, 1);
    first_scan();
    wait_settled("d/e/a", NULL);
    watch_reads();
    OK(rename(full("d"), full("z")));
    settle();
    EQ_U(content_reads, 0);
    EQ_U(version("z/e/a").size, BIG);
    CHECK(is_deleted("d/e/a") && is_deleted("d/e") && is_deleted("d"));
    edit("z/e/new", "seen under its new name");
    settle();
    CHECK(on_disk("z/e/new"));
    EQ_U(authored(), 10);
}

static void test_renamed_and_edited_is_read(void)
{
    world_begin();
    put_big("a", BIG, 1);
    first_scan();
    wait_settled("a", NULL);
    struct id before = version("a").root;
    OK(rename(full("a"), full("b")));
    put_big("b", BIG, 2);
    settle();
    struct id after = version("b").root;
    CHECK(!id_eq(&before, &after));
    CHECK(is_deleted("a"));
}

static void test_moved_in_and_out(void)
{
    world_begin();
    char outside[600];
    snprintf(outside, sizeof outside, "%s/outside", base);
    OK(mkdir(outside, 0755));
    make_dir("d");
    edit("d/a", "x");
    first_scan();
    char target[sizeof outside + 2];
    snprintf(target, sizeof target, "%s/d", outside);
    OK(rename(full("d"), target));
    settle();
    CHECK(is_deleted("d") && is_deleted("d/a"));
    OK(rename(target, full("back")));
    settle();
    CHECK(on_disk("back/a"));
    EQ_U(authored(), 6);
}

/* ---- not yet, and not at all ---- */

static void test_open_for_writing_waits(void)
{
    world_begin();
    edit("a", "whole");
    first_scan();
    int fd = open(full("a"), O_WRONLY | O_CLOEXEC | O_TRUNC);
    EQ_I(write(fd, "ha", 2), 2);
    settle();
    scan_again();
    EQ_S(text_of("a"), "whole");
    EQ_U(authored(), 1);
    EQ_I(write(fd, "lf", 2), 2);
    close(fd);
    settle();
    EQ_S(text_of("a"), "half");
    EQ_U(w.trouble.n, 0);
}

static void test_young_files_are_looked_at_again(void)
{
    world_begin();
    edit("a", "one");
    first_scan();
    struct ix_local l;
    CHECK(local_of("a", &l));
    /* Nothing but the scanner itself makes it look again. */
    wait_settled("a", NULL);
    EQ_U(authored(), 1);
}

/* A file system whose clock never ticks: an edit of the same length is nowhere to be seen but in the content. */
static int frozen_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *st)
{
    int r = sys_kernel.statx(dirfd, path, flags, mask, st);
    st->stx_mtime.tv_sec = st->stx_ctime.tv_sec = 4000000000;
    st->stx_mtime.tv_nsec = st->stx_ctime.tv_nsec = 0;
    return r;
}
static bool says_two(void *arg)
{
    (void)arg;
    return quiet(NULL) && strcmp(text_of("a"), "two") == 0;
}

static void test_edit_within_a_tick_is_found(void)
{
    world_begin();
    hook();
    table.statx = frozen_statx;
    edit("a", "one");
    first_scan();
    EQ_S(text_of("a"), "one");
    scan_end();
    int fd = open(full("a"), O_WRONLY | O_CLOEXEC);
    EQ_I(write(fd, "two", 3), 3);
    close(fd);
    scan_start();
    UNTIL(w.loop, says_two, NULL);
}

static void test_ignored_files(void)
{
    world_begin();
    edit("a.o", "was there before the rule");
    edit("keep", "x");
    make_dir("cache");
    edit("cache/x", "x");
    first_scan();
    EQ_U(authored(), 4);
    edit(".lanyardignore", "*.o\n/cache/\n");
    settle();
    edit("b.o", "after the rule");
    edit("cache/y", "y");
    edit("a.o", "changed");
    settle();
    scan_again();
    EQ_U(authored(), 5);
    CHECK(!on_disk("b.o") && !on_disk("cache/y") && on_disk(".lanyardignore"));
    CHECK(!is_deleted("a.o") && !is_deleted("cache/x"));
    OK(unlink(full("cache/x")));
    OK(unlink(full("a.o")));
    settle();
    scan_again();
    CHECK(!is_deleted("a.o") && !is_deleted("cache/x"));
    CHECK(scan_ignored(w.scan, "sub/c.o", 7, false) && !scan_ignored(w.scan, "sub/c.c", 7, false));
    edit(".lanyardignore", "# nothing\n");
    settle();
    CHECK(on_disk("b.o") && on_disk("cache/y"));
}

static void test_special_files_are_reported_once(void)
{
    world_begin();
    OK(mkfifo(full("pipe"), 0600));
    edit("a", "x");
    first_scan();
    scan_again();
    EQ_U(authored(), 1);
    EQ_U(w.trouble.n, 1);
    EQ_S(w.trouble.path[0], "pipe");
    EQ_U(scan_errors(w.scan), 1);
    OK(unlink(full("pipe")));
    settle();
    scan_again();
    EQ_U(scan_errors(w.scan), 0);
    EQ_U(authored(), 1);
}

static void test_symlinks_are_data(void)
{
    world_begin();
    make_dir("d");
    edit("d/a", "x");
    OK(symlink("d", full("to_dir")));
    OK(symlink("/etc/passwd", full("to_file")));
    first_scan();
    EQ_U(authored(), 4);
    EQ_U(version("to_dir").kind, KIND_SYMLINK);
    EQ_S(text_of("to_file"), "/etc/passwd");
    CHECK(!on_disk("to_dir/a"));
    OK(unlink(full("to_dir")));
    OK(symlink("e", full("to_dir")));
    settle();
    EQ_S(text_of("to_dir"), "e");
    char target[1200];
    memset(target, 'x', sizeof target - 1);
    target[sizeof target - 1] = 0;
    OK(symlink(target, full("long")));
    settle();
    EQ_U(version("long").size, sizeof target - 1);
    EQ_U(w.trouble.n, 0);
}

static void test_busy_paths_are_left_alone(void)
{
    world_begin();
    edit("a", "one");
    edit("b", "one");
    first_scan();
    w.busy = "a";
    edit("a", "by an install");
    OK(unlink(full("b")));
    settle();
    EQ_S(text_of("a"), "one");
    CHECK(is_deleted("b"));
    w.busy = "b";
    OK(unlink(full("a")));
    settle();
    CHECK(is_deleted("a"));
    edit("b", "by an install");
    settle();
    CHECK(!on_disk("b"));
    w.busy = NULL;
    UNTIL(w.loop, is_there, "b");
}

static void test_kind_changes(void)
{
    world_begin();
    make_dir("x");
    edit("x/inner", "x");
    edit("y", "file");
    first_scan();
    OK(unlink(full("x/inner")));
    OK(rmdir(full("x")));
    edit("x", "now a file");
    OK(unlink(full("y")));
    make_dir("y");
    edit("y/inner", "y");
    settle();
    EQ_U(version("x").kind, KIND_FILE);
    EQ_U(version("y").kind, KIND_DIR);
    CHECK(is_deleted("x/inner") && on_disk("y/inner"));
    EQ_U(authored(), 7);
}

int main(void)
{
    t_node_init();
    RUN(test_first_scan_takes_everything);
    RUN(test_unchanged_rescan_authors_nothing);
    RUN(test_edits_are_noticed);
    RUN(test_deletes_are_noticed);
    RUN(test_rename_reads_nothing);
    RUN(test_rename_while_not_running_reads_nothing);
    RUN(test_renamed_and_edited_while_not_running_is_read);
    RUN(test_rename_among_many_new_and_many_gone);
    RUN(test_directory_rename_reads_nothing);
    RUN(test_renamed_and_edited_is_read);
    RUN(test_moved_in_and_out);
    RUN(test_open_for_writing_waits);
    RUN(test_young_files_are_looked_at_again);
    RUN(test_edit_within_a_tick_is_found);
    RUN(test_ignored_files);
    RUN(test_special_files_are_reported_once);
    RUN(test_symlinks_are_data);
    RUN(test_busy_paths_are_left_alone);
    RUN(test_kind_changes);
    world_end();
    return t_done();
}

/* The node was killed between putting a version into the folder and recording that, and the version is outdated when it starts again. */
#include "tests/unit/t_pull.h"

static void start(void)
{
    scan_start();
    pull_start();
    settle();
}

/* The file as the far device has it, with its mode and time. */
static void put_as(const char *path, const char *text, int64_t mtime_ns)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { mtime_ns / 1000000000, mtime_ns % 1000000000 } };
    edit("../new", text);
    OK(chmod(full("../new"), 0640));
    OK(utimensat(AT_FDCWD, full("../new"), times, 0));
    OK(rename(full("../new"), full(path)));
}
static int64_t latest_time(void) { return 1500000000000000000 + (int64_t)far.ino * 1000; }   /* of what far_save made last */

static void unrecorded_install(bool had_one, bool deleted)
{
    both_begin();
    if (had_one)
        far_save("a", "one");
    start();
    take_all();
    pull_end();
    far_save("a", "two");
    entries_from(far.e, 1, w.e);
    put_as("a", "two", latest_time());
    if (deleted)
        far_delete("a");
    else
        far_save("a", "three");
    entries_from(far.e, 1, w.e);
    start();
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_S(get("a"), deleted ? "" : "three");
    EQ_U(authored(), 0);
    EQ_U(conflicts(), 0);
}
static void test_outdated_by_an_edit(void) { unrecorded_install(true, false); }
static void test_outdated_by_a_removal(void) { unrecorded_install(true, true); }
static void test_new_file_outdated_by_an_edit(void) { unrecorded_install(false, false); }
static void test_new_file_outdated_by_a_removal(void) { unrecorded_install(false, true); }

/* The same versions, with their times: but the disk has shown them before, so it is the user who brings them back. */
static void test_old_version_brought_back(void)
{
    both_begin();
    start();
    far_save("a", "one");
    int64_t one = latest_time();
    take_all();
    far_save("a", "two");
    take_all();
    put_as("a", "one", one);
    scan_again();
    EQ_U(authored(), 1);
    EQ_S(get("a"), "one");
    to_far();
    far_delete("a");
    take_all();
    EQ_S(get("a"), "");
    put_as("a", "one", one);
    scan_again();
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_U(authored(), 2);
    EQ_S(get("a"), "one");
}

static bool tidied(void *arg)
{
    (void)arg;
    return strcmp(get(".lanyard/tmp/d-5"), "") == 0;
}

/* An unfinished download of what is not wanted any more goes when nothing is. */
static void test_unwanted_downloads_go(void)
{
    both_begin();
    edit(".lanyard/tmp/d-5", "ours");
    start();
    EQ_S(get(".lanyard/tmp/d-5"), "ours");
    far_save("a", "one");
    from_far();
    UNTIL(w.loop, tidied, NULL);
    EQ_S(get("a"), "one");
}

int main(void)
{
    t_node_init();
    RUN(test_outdated_by_an_edit);
    RUN(test_outdated_by_a_removal);
    RUN(test_new_file_outdated_by_an_edit);
    RUN(test_new_file_outdated_by_a_removal);
    RUN(test_old_version_brought_back);
    RUN(test_unwanted_downloads_go);
    both_end();
    return t_done();
}

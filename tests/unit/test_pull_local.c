/* What pull puts into a real folder when nothing has to be fetched. */
#include "tests/unit/t_pull.h"

enum { BIG = 300000 };

static void start(void)
{
    scan_start();
    pull_start();
    settle();
}

static struct stat stat_of(const char *path)
{
    struct stat st;
    OK(lstat(full(path), &st));
    return st;
}

static void test_files_dirs_links(void)
{
    both_begin();
    start();
    far_dir("d", 0750);
    far_save("d/a", "hello");
    far_save("deep/er/b", "");
    far_link("l", "d/a");
    take_all();
    EQ_S(get("d/a"), "hello");
    EQ_S(get("l"), "<d/a>");
    EQ_U(mode_of("d"), 0750);
    EQ_U(mode_of("d/a"), 0640);
    EQ_U(stat_of("deep/er/b").st_size, 0);
    struct ix_local l;
    CHECK(local_of("d/a", &l));
    EQ_I(stat_of("d/a").st_mtim.tv_sec, 1500000000);
    EQ_U(l.stamp.mtime_ns, 1500000000000002000);
    /* The directories that were made on the way have no version yet; nothing else is new to the scanner. */
    scan_again();
    EQ_U(authored(), 2);
    no_echo();
    EQ_U(conflicts(), 0);
}

static void test_updates_and_removals(void)
{
    both_begin();
    start();
    far_dir("d", 0755);
    far_save("d/a", "one");
    far_save("b", "one");
    far_link("l", "b");
    take_all();
    far_save("b", "two");
    far_link("l", "c");
    far_delete("d/a");
    far_delete("d");
    take_all();
    EQ_S(get("b"), "two");
    EQ_S(get("l"), "<c>");
    EQ_S(get("d"), "");
    CHECK(!on_disk("d/a") && !on_disk("d"));
    far_delete("l");
    take_all();
    EQ_S(get("l"), "");
    no_echo();
    EQ_U(authored(), 0);
}

static int count_kept(void *arg, const struct ix_kept *k)
{
    (void)k;
    ++*(unsigned *)arg;
    return 0;
}
static unsigned kept_rows(void)
{
    unsigned n = 0;
    OK(index_kept_each(w.ix, count_kept, &n));
    return n;
}

static void test_what_is_replaced_is_kept(void)
{
    both_begin();
    start();
    far_save("a", "one");
    take_all();
    EQ_U(kept_rows(), 0);
    far_save("a", "two");
    take_all();
    EQ_U(kept_rows(), 1);
    far_delete("a");
    take_all();
    EQ_U(kept_rows(), 2);
}

static void test_only_times_and_mode(void)
{
    both_begin();
    put_big("big", BIG, 1);
    start();
    to_far();
    ino_t before = stat_of("big").st_ino;
    far_resave("big", "big");
    take_all();
    EQ_U(stat_of("big").st_ino, before);
    EQ_U(mode_of("big"), 0600);
    EQ_I(stat_of("big").st_mtim.tv_sec, 1500000000);
    EQ_U(kept_rows(), 0);
    no_echo();
}

/* ---- contents that are here already ---- */

static _Atomic unsigned content_reads;
static ssize_t count_pread(int fd, void *p, size_t n, off_t off)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size == BIG)
        content_reads++;
    return sys_kernel.pread(fd, p, n, off);
}

static void test_move_reads_nothing(void)
{
    both_begin();
    put_big("big", BIG, 1);
    put_big("small", 10, 2);             /* its entry carries it */
    start();
    wait_settled("big", "small");
    to_far();
    ino_t big = stat_of("big").st_ino, small = stat_of("small").st_ino;
    far_copy("sub/moved", "big");
    far_copy("sub/too", "small");
    far_delete("big");
    far_delete("small");
    content_reads = 0;
    hook();
    table.pread = count_pread;
    take_all();
    EQ_U(content_reads, 0);
    CHECK(stat_of("sub/moved").st_ino == big && stat_of("sub/too").st_ino == small);
    CHECK(!on_disk("big") && !on_disk("small"));
    EQ_U(kept_rows(), 0);
    scan_again();
    no_echo();
}

static void test_move_over_a_file(void)
{
    both_begin();
    put_big("a", BIG, 1);
    put_big("b", BIG, 2);
    start();
    wait_settled("a", "b");
    to_far();
    struct id moved = version("a").root;
    far_copy("b", "a");
    far_delete("a");
    take_all();
    struct id now = version("b").root;
    CHECK(id_eq(&now, &moved));
    EQ_S(get("a"), "");
    EQ_U(kept_rows(), 1);
    no_echo();
}

static size_t bytes_of(const char *path, uint8_t **out)
{
    int fd = open(full(path), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        T_FAIL("%s: %s", path, strerror(errno));
    *out = xcalloc(2 * BIG, 1);
    ssize_t n = read(fd, *out, 2 * BIG);
    close(fd);
    CHECK(n >= 0);
    return (size_t)n;
}
static void same_files(const char *a, const char *b)
{
    AUTOFREE uint8_t *x = NULL, *y = NULL;
    size_t n = bytes_of(a, &x);
    EQ_U(n, bytes_of(b, &y));
    EQ_MEM(x, y, n);
}

static void test_copy_of_what_lies_elsewhere(void)
{
    both_begin();
    put_big("big", BIG, 1);
    put_big("one", 5000, 2);
    start();
    wait_settled("big", "one");
    to_far();
    far_copy("c/big", "big");
    far_copy("c/one", "one");
    take_all();
    same_files("big", "c/big");
    same_files("one", "c/one");
    CHECK(stat_of("big").st_ino != stat_of("c/big").st_ino);
}

static void test_copy_from_what_was_kept(void)
{
    both_begin();
    put_big("big", BIG, 1);
    start();
    wait_settled("big", NULL);
    to_far();
    OK(link(full("big"), full(".lanyard/saved")));
    far_delete("big");
    take_all();
    EQ_U(kept_rows(), 1);
    far_copy("back", ".lanyard/saved");
    take_all();
    same_files("back", ".lanyard/saved");
}

static void change_places(bool touched)
{
    both_begin();
    put_big("a", BIG, 1);
    put_big("b", BIG, 2);
    if (!touched)
        OK(link(full("a"), full(".lanyard/was_a")));
    start();
    wait_settled("a", "b");
    to_far();
    struct id a = version("a").root, b = version("b").root;
    if (touched)
        OK(link(full("a"), full(".lanyard/was_a")));
    far_copy("a", "b");
    far_copy("b", ".lanyard/was_a");
    take_all();
    struct id now_a = version("a").root, now_b = version("b").root;
    CHECK(id_eq(&now_a, &b) && id_eq(&now_b, &a));
    same_files("b", ".lanyard/was_a");
}

/* Each replaces what the other is copied from. */
static void test_two_files_change_places(void) { change_places(false); }
/* And then they are not quite what they were (a link more: the ctime), and all is decided once more. */
static void test_changed_meanwhile_is_copied_later(void) { change_places(true); }

static bool pull_rests(void *arg)
{
    (void)arg;
    return far.looks > 0 && pull_idle(far.pull);
}

/* A source that is no longer what its version says is not copied; what is wanted stays wanted. */
static void test_edited_source_is_not_copied(void)
{
    both_begin();
    put_big("big", BIG, 1);
    start();
    wait_settled("big", NULL);
    to_far();
    far_copy("copy", "big");
    scan_free(&w.scan);
    put_big("big", BIG, 3);
    from_far();
    t_within(w.loop, 300, nothing_wanted, NULL);
    EQ_S(get("copy"), "");
    uint64_t n, bytes;
    OK(index_want_totals(w.ix, &n, &bytes));
    EQ_U(n, 1);
    CHECK(pull_idle(far.pull));
}

/* ---- blocks ---- */

static struct content_list reversed(const char *path)
{
    struct id root_of = version(path).root;
    AUTO(buf_release) struct buf refs = BUF_INIT(1 << 20);
    OK(index_tree_get(w.ix, &root_of, &refs));
    struct content_list c = { .type = CONTENT_BLOCKS, .nblocks = (uint32_t)(refs.len / BLOCK_REF), .size = version(path).size };
    c.refs = xcalloc(refs.len, 1);
    for (uint32_t i = 0; i < c.nblocks; i++)
        memcpy(c.refs + i * BLOCK_REF, refs.data + (c.nblocks - 1 - i) * BLOCK_REF, BLOCK_REF);
    c.root = block_root(c.refs, c.nblocks);
    OK(index_begin(w.ix));
    OK(index_tree_put(w.ix, &c.root, c.refs, c.nblocks));
    OK(index_commit(w.ix));
    return c;
}

/* All blocks of the new version are in the old one, each at another place. */
static void test_blocks_of_the_replaced_version(void)
{
    both_begin();
    put_big("big", BIG, 1);
    start();
    wait_settled("big", NULL);
    to_far();
    struct content_list c = reversed("big");
    CHECK(c.nblocks >= 2);
    struct stamp st = far_stamp(STAMP_FILE, 0644, BIG);
    far_seen("big", &st, &c);
    take_all();
    int fd = open(full("big"), O_RDONLY | O_CLOEXEC);
    uint8_t have[64];
    OK(content_have(fd, c.refs, c.nblocks, &c.root, BIG, have));
    close(fd);
    for (uint32_t i = 0; i < c.nblocks; i++)
        CHECK(have[i / 8] >> (i % 8) & 1);
    content_list_release(&c);
    no_echo();
}

/* An unfinished download goes on with what it has; here it has all. */
static void test_download_goes_on(void)
{
    both_begin();
    put_big("big", BIG, 1);
    start();
    wait_settled("big", NULL);
    char name[100], hex[ID_HEX];
    struct id root_of = version("big").root;
    far_copy("other", "big");
    OK(rename(full("big"), full(".lanyard/saved")));
    settle();
    CHECK(!on_disk("big"));
    snprintf(name, sizeof name, ".lanyard/tmp/d-%.40s", id_hex(&root_of, hex));
    OK(link(full(".lanyard/saved"), full(name)));
    take_all();
    same_files("other", ".lanyard/saved");
    EQ_S(get(name), "");
}

/* ---- the user is there, too ---- */

static void test_user_edit_is_not_overwritten(void)
{
    both_begin();
    start();
    far_save("a", "one");
    take_all();
    scan_free(&w.scan);                              /* so that pull meets the edit before the scanner does */
    edit("a", "edited by the user");
    far_save("a", "two");
    from_far();
    t_within(w.loop, 1000, pull_rests, NULL);
    EQ_S(get("a"), "edited by the user");
    CHECK(far.looks > 0);
    pull_end();
    start();
    pull_kick(far.pull);
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_U(conflicts(), 1);
    EQ_S(get("a"), "edited by the user");            /* the later of two that did not know of each other */
    EQ_U(authored(), 1);
}

static void test_user_edit_is_not_removed(void)
{
    both_begin();
    start();
    far_save("a", "one");
    far_save("b", "one");
    take_all();
    edit("a", "edited by the user");
    OK(unlink(full("b")));
    edit("new", "user");
    far_delete("a");
    far_save("b", "two");
    far_save("new", "far");
    take_all();
    EQ_S(get("a"), "edited by the user");
    EQ_S(get("b"), "two");
    CHECK(strcmp(get("new"), "user") == 0 || strcmp(get("new"), "far") == 0);
    EQ_U(conflicts(), 1);
}

static void test_ignored_is_not_put_there(void)
{
    both_begin();
    edit(".lanyardignore", "*.o\ncache/\n");
    start();
    far_save("a.o", "x");
    far_save("cache/b", "x");
    far_dir("cache", 0755);
    far_save("c", "x");
    take_all();
    EQ_S(get("a.o"), "");
    EQ_S(get("cache"), "");
    EQ_S(get("c"), "x");
    no_echo();
}

static void test_directory_with_ignored_files_stays(void)
{
    both_begin();
    edit(".lanyardignore", "*.o\n");
    start();
    far_dir("d", 0755);
    far_save("d/a", "x");
    take_all();
    edit("d/private.o", "x");
    far_delete("d/a");
    far_delete("d");
    take_all();
    EQ_S(get("d/a"), "");
    EQ_S(get("d/private.o"), "x");
    no_echo();
}

static void test_kind_changes(void)
{
    both_begin();
    start();
    far_save("x", "file");
    far_dir("y", 0755);
    far_save("y/inner", "y");
    take_all();
    far_delete("x");
    far_dir("x", 0755);
    far_save("x/inner", "x");
    far_delete("y/inner");
    far_delete("y");
    far_save("y", "file");
    take_all();
    EQ_S(get("x/inner"), "x");
    EQ_S(get("y"), "file");
    no_echo();
    EQ_U(authored(), 0);
}

/* ---- after a crash ---- */

static void test_leftovers(void)
{
    both_begin();
    edit(".lanyard/tmp/i-5", "ours");
    edit(".lanyard/tmp/f-5", "ours");
    edit(".lanyard/tmp/d-5", "ours, to go on with");
    edit(".lanyard/kept/k-5", "perhaps the user's");
    start();
    EQ_S(get(".lanyard/tmp/i-5"), "");
    EQ_S(get(".lanyard/tmp/f-5"), "");
    EQ_S(get(".lanyard/tmp/d-5"), "ours, to go on with");
    EQ_S(kept("k-5"), "perhaps the user's");
    EQ_U(kept_rows(), 1);
    pull_end();
    start();
    EQ_U(kept_rows(), 1);
}

static void test_stopped_in_the_middle(void)
{
    both_begin();
    put_big("big", BIG, 1);
    start();
    wait_settled("big", NULL);
    to_far();
    far_copy("copy", "big");
    for (int i = 0; i < 200; i++) {
        char path[40];
        snprintf(path, sizeof path, "d/%d", i);
        far_save(path, path);
    }
    from_far();
    t_within(w.loop, 3, nothing_wanted, NULL);
    pull_end();
    start();
    take_all();
    same_files("copy", "big");
    EQ_S(get("d/199"), "d/199");
    scan_again();
    no_echo();
}

int main(void)
{
    t_node_init();
    RUN(test_files_dirs_links);
    RUN(test_updates_and_removals);
    RUN(test_what_is_replaced_is_kept);
    RUN(test_only_times_and_mode);
    RUN(test_move_reads_nothing);
    RUN(test_move_over_a_file);
    RUN(test_copy_of_what_lies_elsewhere);
    RUN(test_copy_from_what_was_kept);
    RUN(test_two_files_change_places);
    RUN(test_changed_meanwhile_is_copied_later);
    RUN(test_edited_source_is_not_copied);
    RUN(test_blocks_of_the_replaced_version);
    RUN(test_download_goes_on);
    RUN(test_user_edit_is_not_overwritten);
    RUN(test_user_edit_is_not_removed);
    RUN(test_ignored_is_not_put_there);
    RUN(test_directory_with_ignored_files_stays);
    RUN(test_kind_changes);
    RUN(test_leftovers);
    RUN(test_stopped_in_the_middle);
    both_end();
    return t_done();
}

/* What is put away is what it is said to be; and kept files that the index knows nothing about are read, and then whoever wants their
 * content finds it. */
#include "node/pull_priv.h"
#include "tests/unit/t_pull.h"

enum { BIG = 300000, AT_THE_BORDER = 9 << 20 };

static void start(void)
{
    scan_start();
    pull_start();
    settle();
}

static int is_nameless(void *arg, const struct ix_kept *k)
{
    (void)arg, (void)k;
    return 1;
}
static bool all_named(void *arg)
{
    (void)arg;
    return index_kept_nameless(w.ix, 0, is_nameless, NULL) == 0;
}
static int count_kept(void *arg, const struct ix_kept *k)
{
    (void)k;
    ++*(unsigned *)arg;
    return 0;
}
static unsigned kept_with(const struct id *root_of)
{
    unsigned n = 0;
    OK(index_kept_by_root(w.ix, root_of, count_kept, &n));
    return n;
}
static unsigned kept_rows(void)
{
    unsigned n = 0;
    OK(index_kept_each(w.ix, count_kept, &n));
    return n;
}

static struct content_list content_of(const char *path, int class)
{
    struct content_list c;
    struct stat st;
    int fd = open(full(path), O_RDONLY | O_CLOEXEC);
    OK(fstat(fd, &st));
    OK(content_read(fd, (uint64_t)st.st_size, &w.gear, class, NULL, &c));
    close(fd);
    return c;
}

static void test_read_and_recorded(void)
{
    both_begin();
    edit(".lanyard/kept/k-1", "small");
    put_big(".lanyard/kept/k-2", BIG, 1);
    put_big(".lanyard/kept/k-3", 5000, 2);
    for (int i = 10; i < 90; i++) {             /* several jobs */
        char name[40];
        snprintf(name, sizeof name, ".lanyard/kept/k-%d", i);
        edit(name, name);
    }
    start();
    UNTIL(w.loop, all_named, NULL);
    EQ_U(kept_rows(), 83);
    for (int i = 1; i <= 3; i++) {
        char name[40];
        snprintf(name, sizeof name, ".lanyard/kept/k-%d", i);
        struct content_list c = content_of(name, -1);
        EQ_U(kept_with(&c.root), 1);
        AUTO(buf_release) struct buf refs = BUF_INIT(1 << 20);
        EQ_I(index_tree_get(w.ix, &c.root, &refs), c.refs ? 0 : ERR_NOTFOUND);
        content_list_release(&c);
    }
    pull_end();
    start();
    EQ_U(kept_rows(), 83);
}

/* What grew past a border is cut as it was before: the file alone does not say which way its author has cut it. */
static void test_both_sides_of_a_border(void)
{
    both_begin();
    put_big(".lanyard/kept/k-1", AT_THE_BORDER, 1);
    start();
    UNTIL(w.loop, all_named, NULL);
    for (int class = 0; class < 2; class++) {
        struct content_list c = content_of(".lanyard/kept/k-1", class);
        EQ_U(c.class, class);
        EQ_U(kept_with(&c.root), 1);
        content_list_release(&c);
    }
}

static void same_as_kept(const char *path, const char *name)
{
    struct content_list a = content_of(path, -1), b = content_of(name, -1);
    CHECK(id_eq(&a.root, &b.root));
    content_list_release(&a);
    content_list_release(&b);
}

/* The version is wanted before the file has been read, and there is nobody to fetch it from. */
static void test_a_wanted_content_is_found(void)
{
    both_begin();
    put_big(".lanyard/saved", BIG, 1);
    put_big(".lanyard/kept/k-1", BIG, 1);
    far_copy("back", ".lanyard/saved");
    entries_from(far.e, 1, w.e);
    start();
    UNTIL(w.loop, nothing_wanted, NULL);
    same_as_kept("back", ".lanyard/kept/k-1");
}

static bool keep_wanted(void *arg)
{
    uint64_t n, bytes;
    (void)arg;
    return conflicts() == 1 && index_want_totals(w.ix, &n, &bytes) == 0 && n == 1 && quiet(NULL);
}

/* A loser that is to be kept is in kept/ already. */
static void test_a_loser_is_kept_already(void)
{
    both_begin();
    put_big(".lanyard/saved", BIG, 1);
    edit("f", "of another mind");
    start();
    far_copy("f", ".lanyard/saved");
    from_far();
    UNTIL(w.loop, keep_wanted, NULL);
    pull_end();
    put_big(".lanyard/kept/k-1", BIG, 1);
    start();
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_S(get("f"), "of another mind");
    struct content_list c = content_of(".lanyard/saved", -1);
    EQ_U(kept_with(&c.root), 1);
    content_list_release(&c);
}

static bool rests(void *arg)
{
    (void)arg;
    return pull_idle(far.pull) && kept_rows() == 3;
}

static void test_what_cannot_be_read_is_tried_later(void)
{
    both_begin();
    signal(SIGIO, SIG_IGN);
    edit(".lanyard/kept/k-1", "still being written");
    OK(symlink("somewhere", full(".lanyard/kept/k-2")));
    OK(mkfifo(full(".lanyard/kept/k-3"), 0600));
    int writer = open(full(".lanyard/kept/k-1"), O_WRONLY | O_CLOEXEC);
    start();
    UNTIL(w.loop, rests, NULL);
    struct content_list c = content_of(".lanyard/kept/k-1", -1);
    t_within(w.loop, 100, all_named, NULL);
    EQ_U(kept_with(&c.root), 0);
    close(writer);
    pull_end();
    start();
    while (kept_with(&c.root) == 0)
        t_within(w.loop, 10, all_named, NULL);
    EQ_U(kept_rows(), 3);
    content_list_release(&c);
}

static int row_of(void *arg, const struct ix_kept *k)
{
    *(struct ix_kept *)arg = *k;
    return 1;
}

static bool all_found(void *arg)
{
    (void)arg;
    return !far.pull->find;
}

/* The index is lost: who had heard of a version names it, the others become versions of the paths that are noted. */
static void test_what_no_version_names_becomes_one(void)
{
    both_begin();
    edit("f", "there");
    put_big(".lanyard/saved", BIG, 1);
    put_big(".lanyard/kept/k-1", BIG, 1);
    put_big(".lanyard/kept/k-2", BIG, 2);
    edit(".lanyard/kept/k-3", "small");
    edit(".lanyard/kept/k-4", "without a note");
    for (int i = 1; i <= 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "k-%d", i);
        folder_kept_note(folder, name, i == 3 ? "d/g" : "f", i == 3 ? 3 : 1);
    }
    start();
    far_copy("elsewhere", ".lanyard/saved");
    from_far();
    UNTIL(w.loop, nothing_wanted, NULL);
    uint64_t before = authored();
    pull_find(far.pull);
    UNTIL(w.loop, all_found, NULL);
    EQ_U(authored(), before + 4);               /* two versions, and their ends */
    struct content_list big = content_of(".lanyard/kept/k-2", -1);
    struct ix_kept k;
    struct ix_entry row;
    EQ_I(index_kept_by_root(w.ix, &big.root, row_of, &k), 1);
    OK(index_entry_get(w.ix, k.entry, &row, NULL));
    CHECK(row.path == k.path && id_eq(&row.root, &big.root) && !row.live);
    EQ_U(kept_rows(), 4);
    EQ_S(get("f"), "there");
    CHECK(is_deleted("d/g"));
    content_list_release(&big);
    pull_find(far.pull);
    UNTIL(w.loop, all_found, NULL);
    EQ_U(authored(), before + 4);
}

/* A device that may not write makes no versions of them: their paths are put on record. */
static void test_a_reader_knows_their_paths(void)
{
    both_begin();
    w.g.group.member[0].role = ROLE_READER;
    edit(".lanyard/kept/k-1", "mine");
    edit(".lanyard/kept/k-2", "without a note");
    folder_kept_note(folder, "k-1", "d/f", 3);
    start();
    UNTIL(w.loop, all_named, NULL);
    pull_find(far.pull);
    UNTIL(w.loop, all_found, NULL);
    EQ_U(authored(), 0);
    EQ_U(kept_rows(), 2);
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH);
    struct ix_kept k;
    EQ_I(index_kept_strays(w.ix, row_of, &k), 1);
    CHECK(k.entry == 0 && k.size == 4);
    OK(index_path_get(w.ix, k.path, &name, NULL));
    EQ_MEM(name.data, "d/f", 3);
}

static void unsettle(const char *path)
{
    struct ix_local l;
    CHECK(local_of(path, &l));
    l.stamp = look(path);
    l.settled = false;
    OK(index_begin(w.ix));
    OK(index_local_put(w.ix, &l));
    OK(index_commit(w.ix));
}

static bool nobody_serves(void *arg)
{
    (void)arg;
    return far.pull->all.n == 1 && item_unserved(far.pull, far.pull->all.head);
}

/* The content lies in the folder, but in a file that was written a moment ago. Nobody else has it, and once the file has lain still it
 * is copied all the same. */
static void test_content_that_settles(void)
{
    both_begin();
    put_big("f", 300000, 3);
    start();
    wait_settled("f", NULL);
    to_far();
    unsettle("f");
    far_resave("copy", "f");
    from_far();
    UNTIL(w.loop, nobody_serves, NULL);
    scan_hint(w.scan, "f", 1, false);
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_U(look("copy").size, 300000);
}

static bool was_looked_at(void *arg)
{
    (void)arg;
    return far.looks > 0 && pull_idle(far.pull);
}

/* An edit in the very tick in which the file was read for its last version, so that nothing but its content is different. */
static void test_unsettled_is_read_before_it_is_put_away(void)
{
    both_begin();
    edit("f", "one");
    start();
    to_far();
    scan_free(&w.scan);
    edit("f", "two");
    unsettle("f");
    far_save("f", "of another mind");
    from_far();
    UNTIL(w.loop, was_looked_at, NULL);
    EQ_S(get("f"), "two");
    scan_start();
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_U(conflicts(), 1);
}

int main(void)
{
    t_node_init();
    RUN(test_what_no_version_names_becomes_one);
    RUN(test_a_reader_knows_their_paths);
    RUN(test_content_that_settles);
    RUN(test_unsettled_is_read_before_it_is_put_away);
    RUN(test_read_and_recorded);
    RUN(test_both_sides_of_a_border);
    RUN(test_a_wanted_content_is_found);
    RUN(test_a_loser_is_kept_already);
    RUN(test_what_cannot_be_read_is_tried_later);
    both_end();
    return t_done();
}

/* Names that the file system of one device takes for one: which is shown, what is hidden, and what ends that. This file system does tell
 * them apart; that it does not is what the tests say. */
#include "tests/unit/t_pull.h"

static int64_t path_id(const char *path)
{
    int64_t id;
    t_must(index_path_id(w.ix, path, strlen(path), false, &id));
    return id;
}

static int64_t winner(const char *path)
{
    int64_t entry;
    t_must(index_path_get(w.ix, path_id(path), NULL, &entry));
    return entry;
}

/* The wanted version of `path` finds its name taken by what is at `other`. */
static void clash(const char *path, const char *other)
{
    t_must(engine_begin(w.e));
    t_must(engine_clash(w.e, winner(path), &(struct bytes){ (const uint8_t *)path, strlen(path) },
                        &(struct bytes){ (const uint8_t *)other, strlen(other) }));
    t_must(engine_commit(w.e, far.wall));
}

static bool hidden_behind(const char *path, const char *other)
{
    int64_t found;
    return index_clash_get(w.ix, path_id(path), &found) == 0 && found == path_id(other);
}

static void start(void)
{
    scan_start();
    pull_start();
    settle();
    UNTIL(w.loop, nothing_wanted, NULL);
}

/* Foo is on disk, foo comes, which is later, and whoever wanted to put it there has been told. */
static void foo_comes(void)
{
    both_begin();
    start();
    far_save("Foo", "one");
    take_all();
    far_save("foo", "two");
    entries_from(far.e, 1, w.e);
    clash("foo", "Foo");
}

static void foo_goes(void)
{
    far_delete("foo");
    take_all();
    EQ_S(get("foo"), "");
    EQ_S(get("Foo"), "one");
    EQ_U(conflicts(), 0);
    EQ_U(authored(), 0);
}

static void test_the_later_one_is_shown(void)
{
    foo_comes();
    CHECK(hidden_behind("Foo", "foo"));
    pull_kick(far.pull);
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_S(get("foo"), "two");
    EQ_S(get("Foo"), "");
    scan_again();
    EQ_U(authored(), 0);
    EQ_U(conflicts(), 1);
    foo_goes();
}

/* Killed after Foo was put away, before that was recorded: it is not missing. */
static void test_killed_while_it_is_hidden(void)
{
    char kept[64];
    foo_comes();
    pull_end();
    snprintf(kept, sizeof kept, ".lanyard/kept/k-%llx-1-1", (unsigned long long)winner("Foo"));
    OK(rename(full("Foo"), full(kept)));
    start();
    EQ_U(authored(), 0);
    EQ_S(get("foo"), "two");
    EQ_S(get("Foo"), "one");             /* a start tries them all, and here there is room for both */
    EQ_U(conflicts(), 0);
}

/* So is a database in use, of which a snapshot is on record: what lies in its place when it makes way is another file. */
static void test_a_database_killed_while_it_is_hidden(void)
{
    char kept[64];
    struct ix_local l;
    foo_comes();
    pull_end();
    t_must(engine_begin(w.e));
    t_must(index_local_get(w.ix, path_id("Foo"), &l));
    l.apart = true;
    l.stamp.size += 4096;                /* with its log */
    t_must(index_local_put(w.ix, &l));
    t_must(engine_commit(w.e, far.wall));
    snprintf(kept, sizeof kept, ".lanyard/kept/k-%llx-1-1", (unsigned long long)winner("Foo"));
    OK(rename(full("Foo"), full(kept)));
    start();
    EQ_U(authored(), 0);
    EQ_S(get("foo"), "two");
    EQ_S(get("Foo"), "one");
}

static void test_the_earlier_one_is_hidden(void)
{
    both_begin();
    far_save("foo", "one");
    entries_from(far.e, 1, w.e);
    edit("Foo", "mine, and later");
    scan_start();
    settle();
    EQ_U(authored(), 1);
    clash("foo", "Foo");
    CHECK(hidden_behind("foo", "Foo"));
    EQ_U(conflicts(), 1);
    uint64_t n, bytes;
    t_must(index_want_totals(w.ix, &n, &bytes));
    EQ_U(n, 0);
    scan_again();
    EQ_U(authored(), 1);
    OK(unlink(full("Foo")));
    scan_again();
    EQ_U(conflicts(), 0);
    pull_start();
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_S(get("foo"), "one");
    EQ_U(authored(), 2);                 /* the user's own deletion of Foo */
}

/* A newer version of what is hidden is another question. */
static void test_news_of_the_hidden_one(void)
{
    foo_comes();
    pull_kick(far.pull);
    UNTIL(w.loop, nothing_wanted, NULL);
    CHECK(hidden_behind("Foo", "foo"));
    far_save("Foo", "three");
    entries_from(far.e, 1, w.e);
    EQ_U(conflicts(), 0);
    clash("Foo", "foo");
    CHECK(hidden_behind("foo", "Foo"));
    pull_kick(far.pull);
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_S(get("Foo"), "three");
    EQ_S(get("foo"), "");
    scan_again();
    EQ_U(authored(), 0);
}

/* Of what is beneath a directory the directory is listed; a file gives way to one, whatever the times. */
static void test_directories(void)
{
    both_begin();
    start();
    far_dir("Dir", 0755);
    far_save("Dir/x", "one");
    take_all();
    far_save("dir/y", "two");
    entries_from(far.e, 1, w.e);
    t_must(engine_begin(w.e));
    t_must(engine_clash(w.e, winner("dir/y"), &(struct bytes){ (const uint8_t *)"dir", 3 }, &(struct bytes){ (const uint8_t *)"Dir", 3 }));
    t_must(engine_commit(w.e, far.wall));
    CHECK(hidden_behind("dir", "Dir"));
    EQ_U(conflicts(), 1);
    far_delete("Dir/x");
    far_delete("Dir");
    take_all();
    EQ_S(get("dir/y"), "two");
    EQ_U(conflicts(), 0);
    edit("Y", "a file, and later");
    scan_again();
    far_dir("y", 0755);
    entries_from(far.e, 1, w.e);
    clash("y", "Y");
    CHECK(hidden_behind("Y", "y"));
}

int main(void)
{
    t_node_init();
    RUN(test_the_later_one_is_shown);
    RUN(test_killed_while_it_is_hidden);
    RUN(test_a_database_killed_while_it_is_hidden);
    RUN(test_the_earlier_one_is_hidden);
    RUN(test_news_of_the_hidden_one);
    RUN(test_directories);
    both_end();
    return t_done();
}

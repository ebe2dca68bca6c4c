/* node/scan_db.c: databases in use become versions, and what lies beside them does not. */
#include "tests/unit/t_scan.h"

#include "tests/unit/t_app.h"

static void fresh(void)
{
    app_end(SIGKILL);
    world_begin();
}

static bool is_apart(void *path)
{
    struct ix_local l;
    return quiet(NULL) && local_of(path, &l) && l.apart && l.settled;
}
static bool is_plain(void *path)
{
    struct ix_local l;
    return quiet(NULL) && local_of(path, &l) && !l.apart && l.settled;
}

struct kept { char name[64]; unsigned n; };
static int note_kept(void *arg, const struct ix_kept *k)
{
    struct kept *v = arg;
    v->n++;
    snprintf(v->name, sizeof v->name, "%s", k->name);
    return 0;
}
static struct kept kept_of(const char *path)
{
    struct kept v = {0};
    struct ix_entry row = version(path);
    CHECK(index_kept_by_root(w.ix, &row.root, note_kept, &v) >= 0);
    return v;
}
static int64_t sum_of(const char *path)
{
    char file[100];
    struct kept k = kept_of(path);
    EQ_U(k.n, 1);
    snprintf(file, sizeof file, ".lanyard/kept/%s", k.name);
    return app_sum(full(file));
}
static int one_more(void *arg, const char *name)
{
    (void)name;
    ++*(unsigned *)arg;
    return 0;
}
static unsigned files_kept(void)
{
    unsigned n = 0;
    OK(folder_kept_list(folder, one_more, &n));
    return n;
}

struct state { const char *path; struct id not; };
static bool has_changed(void *arg)
{
    const struct state *s = arg;
    char path[80];
    snprintf(path, sizeof path, "%s", s->path);
    struct ix_entry row = version(path);
    return is_apart(path) && !id_eq(&row.root, &s->not);
}
static void wait_change(const char *path)
{
    struct state s = {path, version(path).root};
    UNTIL(w.loop, has_changed, &s);
}

static void test_in_use_is_taken(void)
{
    char x[] = "x.db";
    fresh();
    app_start(x);
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    first_scan();
    UNTIL(w.loop, is_apart, x);
    EQ_I(sum_of(x), 5);
    CHECK(!on_disk("x.db-wal") && !on_disk("x.db-shm"));
    EQ_U(authored(), 1);
    app_do(APP_ADD(6));
    wait_change(x);
    EQ_I(sum_of(x), 11);
    EQ_U(authored(), 2);
    EQ_U(files_kept(), 2);
    EQ_U(w.trouble.n, 0);
    uint64_t snapshot = version(x).hlc;
    app_do(APP_ADD(7));
    app_end(0);
    UNTIL(w.loop, is_plain, x);
    CHECK(version(x).hlc > snapshot + 1);             /* an edit, of just before it was closed */
}

static void test_journals_too(void)
{
    char x[] = "x.db";
    fresh();
    app_start(x);
    app_do(APP_TABLES APP_ADD(5));
    first_scan();
    UNTIL(w.loop, is_apart, x);
    app_do(APP_ADD(6));
    wait_change(x);
    EQ_I(sum_of(x), 11);
    EQ_U(authored(), 2);
}

/* Then it is a file like any other, but no edit of then: it says what the snapshot said. What lay beside it was none. */
static void check_closed(const char *mode)
{
    char x[] = "x.db";
    fresh();
    app_start(x);
    app_do(mode);
    app_do(APP_TABLES APP_ADD(5));
    first_scan();
    UNTIL(w.loop, is_apart, x);
    uint64_t snapshot = version(x).hlc;
    app_end(0);
    EQ_S(get("x.db-wal"), "");
    UNTIL(w.loop, is_plain, x);
    EQ_U(authored(), 2);
    EQ_U(version(x).hlc, snapshot + 1);
    app_start(x);
    app_do("SELECT * FROM a");
    app_end(0);
    scan_again();
    UNTIL(w.loop, is_plain, x);
    EQ_U(authored(), 2);
}

static void test_closed_with_a_log(void) { check_closed("PRAGMA journal_mode=WAL"); }
static void test_closed_with_journals(void) { check_closed("PRAGMA journal_mode=DELETE"); }

static void test_a_restart_takes_nothing_again(void)
{
    char x[] = "x.db";
    fresh();
    app_start(x);
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    first_scan();
    UNTIL(w.loop, is_apart, x);
    uint64_t before = w.committed;
    scan_end();
    first_scan();
    scan_again();
    EQ_U(authored(), 1);
    EQ_U(files_kept(), 1);
    CHECK(before == w.committed && is_apart(x));
}

static void test_at_rest_it_is_a_file(void)
{
    char x[] = "x.db";
    fresh();
    app_start(x);
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    app_end(0);
    first_scan();
    UNTIL(w.loop, is_plain, x);
    EQ_U(authored(), 1);
    EQ_U(files_kept(), 0);
    app_start(x);
    app_do("SELECT * FROM a");                        /* opened, and its log made, but nothing said */
    scan_again();
    UNTIL(w.loop, is_plain, x);
    app_end(0);
    scan_again();
    EQ_U(authored(), 1);
}

/* With a log the file itself need not change for a long time. */
static void test_opened_later(void)
{
    char x[] = "x.db";
    fresh();
    app_start(x);
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    app_end(0);
    first_scan();
    UNTIL(w.loop, is_plain, x);
    app_start(x);
    app_do(APP_ADD(6));
    UNTIL(w.loop, is_apart, x);
    EQ_I(sum_of(x), 11);
    EQ_U(authored(), 2);
}

static bool same_content(const char *path, const struct id *is)
{
    struct ix_entry row = version(path);
    return id_eq(&row.root, is);
}

/* What another device has taken as a snapshot is a file here. Once a program has it open, its row no longer says that the content is at
 * the path; then it must be somewhere else. */
static void test_a_snapshot_of_what_is_known_is_kept(void)
{
    char x[] = "x.db", file[100], snapshot[65536];
    fresh();
    app_start(x);
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    first_scan();
    UNTIL(w.loop, is_apart, x);
    struct ix_entry taken = version(x);
    snprintf(file, sizeof file, ".lanyard/kept/%s", kept_of(x).name);
    int fd = open(full(file), O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, snapshot, sizeof snapshot);
    close(fd);
    fresh();
    fd = open(full(x), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    EQ_I(write(fd, snapshot, (size_t)n), n);
    close(fd);
    first_scan();
    UNTIL(w.loop, is_plain, x);
    CHECK(same_content(x, &taken.root));
    app_start(x);
    app_do("PRAGMA user_version=0");                  /* written, though it says nothing new */
    scan_again();
    UNTIL(w.loop, is_apart, x);
    CHECK(same_content(x, &taken.root));
    EQ_I(sum_of(x), 5);
}

static void test_left_behind(void)
{
    char x[] = "x.db";
    fresh();
    app_start(x);
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    app_end(SIGKILL);
    first_scan();
    UNTIL(w.loop, is_apart, x);
    EQ_I(sum_of(x), 5);
    CHECK(get("x.db-wal")[0] && !on_disk("x.db-wal"));
    EQ_U(authored(), 1);
}

static void test_names_alone_mean_nothing(void)
{
    char a[] = "a-wal", b[] = "b.txt-journal";
    fresh();
    put("a", "no database");
    put(a, "1");
    put(b, "2");
    first_scan();
    wait_settled(a, b);
    EQ_U(authored(), 3);
    OK(unlink(full(a)));
    settle();
    CHECK(is_deleted(a));
}

/* Such a version ends, and nothing else does: neither the file nor what the version said. */
static void test_what_was_a_file_before(void)
{
    char x[] = "x.db", log[] = "x.db-wal";
    fresh();
    put(x, "no database yet");
    put(log, "of something else");
    first_scan();
    wait_settled(x, log);
    struct ix_entry was = version(log);
    app_start("y.db");
    app_do(APP_TABLES APP_ADD(5));
    app_end(0);
    OK(rename(full("y.db"), full(x)));
    scan_again();
    UNTIL(w.loop, is_apart, x);
    CHECK(is_deleted(log) && !on_disk(log));
    EQ_S(get(log), "of something else");
    struct ix_entry row;
    OK(index_entry_get(w.ix, was.id, &row, NULL));
    OK(unlink(full(log)));
    uint64_t n = authored();
    scan_again();
    UNTIL(w.loop, is_plain, x);
    EQ_U(authored(), n + 1);                          /* the database, at rest now */
}

static bool was_told(void *arg) { return w.trouble.n >= *(size_t *)arg; }

static void test_damaged_is_said_once_and_taken_later(void)
{
    char x[] = "x.db", bad[9000];
    size_t one = 1;
    fresh();
    memset(bad, 'x', sizeof bad);
    memcpy(bad, "SQLite format 3", 16);
    int fd = open(full(x), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    EQ_I(write(fd, bad, sizeof bad), sizeof bad);
    first_scan();
    UNTIL(w.loop, was_told, &one);
    EQ_S(w.trouble.path[0], x);
    CHECK(strstr(w.trouble.text[0], "SQLite cannot read it"));
    scan_again();
    EQ_U(w.trouble.n, 1);
    close(fd);
    scan_again();
    UNTIL(w.loop, is_plain, x);
    EQ_U(authored(), 1);
    EQ_U(scan_errors(w.scan), 0);
}

static void test_deleted(void)
{
    char x[] = "x.db";
    fresh();
    app_start(x);
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    first_scan();
    UNTIL(w.loop, is_apart, x);
    app_end(0);
    UNTIL(w.loop, is_plain, x);
    OK(unlink(full(x)));
    settle();
    CHECK(is_deleted(x));
    EQ_U(authored(), 3);
    EQ_U(files_kept(), 1);                            /* the old version */
}

static void test_ignored(void)
{
    char y[] = "y";
    fresh();
    put(".lanyardignore", "*.db\n");
    put(y, "file");
    app_start("x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    first_scan();
    wait_settled(y, NULL);
    app_do(APP_ADD(5));
    scan_again();
    CHECK(!on_disk("x.db") && !on_disk("x.db-wal") && !on_disk("x.db-shm"));
    EQ_U(authored(), 2);
}

int main(int argc, char **argv)
{
    APP_HELPER(argc, argv);
    t_node_init();
    signal(SIGPIPE, SIG_IGN);
    RUN(test_in_use_is_taken);
    RUN(test_journals_too);
    RUN(test_closed_with_a_log);
    RUN(test_closed_with_journals);
    RUN(test_a_restart_takes_nothing_again);
    RUN(test_at_rest_it_is_a_file);
    RUN(test_opened_later);
    RUN(test_a_snapshot_of_what_is_known_is_kept);
    RUN(test_left_behind);
    RUN(test_names_alone_mean_nothing);
    RUN(test_what_was_a_file_before);
    RUN(test_damaged_is_said_once_and_taken_later);
    RUN(test_deleted);
    RUN(test_ignored);
    app_end(SIGKILL);
    world_end();
    return t_done();
}

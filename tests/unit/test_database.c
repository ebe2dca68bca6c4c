/* store/database*.c: what belongs to a database, and snapshots of one in each of its states. */
#include "tests/unit/t_app.h"

#include <sodium.h>
#include <stdatomic.h>

static const _Atomic bool go_on;

static struct database seen(const char *path)
{
    struct database d;
    OK(database_look(folder, path, strlen(path), &d));
    return d;
}

/* A snapshot under that name in tmp/; its path. */
static const char *snapshot(const char *path, const char *tmp)
{
    struct database d = seen(path);
    OK(database_snapshot(folder, path, strlen(path), &d, tmp, &go_on));
    char name[100];
    snprintf(name, sizeof name, ".lanyard/tmp/%s", tmp);
    return full(name);
}

/* Of the file, or 0 when it is not there. */
static uint64_t hash_of(const char *file)
{
    uint8_t bytes[65536];
    uint64_t h[2] = {0};
    crypto_generichash_state st;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    crypto_generichash_init(&st, NULL, 0, 16);
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0; )
        crypto_generichash_update(&st, bytes, (unsigned long long)n);
    close(fd);
    crypto_generichash_final(&st, (uint8_t *)h, 16);
    return h[0] | 1;
}

static int one_more(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return 0;
}
static int in_tmp(void)
{
    int n = 0;
    OK(folder_tmp_list(folder, one_more, &n));
    return n;
}

static void fresh(void)
{
    app_end(SIGKILL);
    begin();
}

/* ---- what belongs to it ---- */

static void test_names(void)
{
    EQ_U(database_base("a-wal", 5), 1);
    EQ_U(database_base("dir/x.db-journal", 16), 8);
    EQ_U(database_base("x-shm", 5), 1);
    EQ_U(database_base("-wal", 4), 0);
    EQ_U(database_base("dir/-wal", 8), 0);
    EQ_U(database_base("x-wall", 6), 0);
    EQ_U(database_base("wal", 3), 0);
}

static void test_parts(void)
{
    fresh();
    app_start("x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(1));
    put("y", "no database, though it is called as if beside one");
    put("y-wal", "a file like any other");
    CHECK(database_part(folder, "x.db-wal", 8) && database_part(folder, "x.db-shm", 8) && database_part(folder, "x.db-journal", 12));
    CHECK(!database_part(folder, "x.db", 4) && !database_part(folder, "y-wal", 5) && !database_part(folder, "z-wal", 5));
    struct database d = seen("x.db");
    CHECK(d.wal && d.logged && d.open && d.whole.size > d.file.size);
    EQ_I(d.beside[BESIDE_JOURNAL].kind, STAMP_ABSENT);
    FAILS(database_look(folder, "y", 1, &d), ERR_NOTFOUND, "no database");
    app_end(0);
    d = seen("x.db");
    CHECK(d.wal && !d.logged && !d.open && stamp_same(&d.whole, &d.file));
}

static void test_a_journal_that_is_done_with_says_nothing(void)
{
    fresh();
    app_start("x.db");
    app_do("PRAGMA journal_mode=PERSIST;" APP_TABLES APP_ADD(1));
    struct database d = seen("x.db");
    CHECK(d.open && !d.logged && d.beside[BESIDE_JOURNAL].size > 0);
}

/* ---- snapshots ---- */

static void test_in_use_with_a_log(void)
{
    fresh();
    app_start("x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5) APP_ADD(6));
    app_do("BEGIN; INSERT INTO a(n) VALUES (100)");        /* half of a transaction */
    uint64_t file = hash_of(full("x.db")), wal = hash_of(full("x.db-wal"));
    EQ_I(app_sum(snapshot("x.db", "s-1")), 11);
    EQ_U(hash_of(full("x.db")), file);
    EQ_U(hash_of(full("x.db-wal")), wal);
    app_do("INSERT INTO b(n) VALUES (100); COMMIT");        /* the program does not notice */
    EQ_I(app_sum(snapshot("x.db", "s-2")), 111);
}

static void test_in_use_with_journals(void)
{
    fresh();
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(5) APP_ADD(6));
    app_do("BEGIN; INSERT INTO a(n) VALUES (100)");
    EQ_I(app_sum(snapshot("x.db", "s-1")), 11);
    app_do("INSERT INTO b(n) VALUES (100); COMMIT");
    EQ_I(app_sum(snapshot("x.db", "s-2")), 111);
}

/* The program dies: what it had committed is in the log, and nothing is made of it in the user's files. */
static void test_left_with_a_log(void)
{
    fresh();
    app_start("x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5) APP_ADD(6));
    uint64_t in_use = hash_of(snapshot("x.db", "s-1"));
    app_end(SIGKILL);
    uint64_t file = hash_of(full("x.db")), wal = hash_of(full("x.db-wal"));
    CHECK(seen("x.db").logged && !seen("x.db").open);
    const char *copy = snapshot("x.db", "s-2");
    EQ_U(hash_of(copy), in_use);                            /* the same state, the same bytes */
    EQ_U(hash_of(full("x.db")), file);
    EQ_U(hash_of(full("x.db-wal")), wal);
    EQ_I(app_sum(copy), 11);
    app_start("x.db");                                      /* the next program finds everything */
    app_do(APP_ADD(7));
    app_end(0);
    EQ_I(app_sum(snapshot("x.db", "s-3")), 18);
}

/* It dies in a transaction of which half is in the file already. */
static void test_left_with_a_hot_journal(void)
{
    fresh();
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(5) APP_ADD(6));
    app_do("PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN; UPDATE a SET n = 1000;"
           "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 200) INSERT INTO a(n, fill) SELECT 1, randomblob(3000) FROM t");
    app_end(SIGKILL);
    uint64_t file = hash_of(full("x.db")), journal = hash_of(full("x.db-journal"));
    CHECK(journal && seen("x.db").logged && seen("x.db").file.size > 200 * 3000);
    EQ_I(app_sum(snapshot("x.db", "s-1")), 11);
    EQ_U(hash_of(full("x.db")), file);
    EQ_U(hash_of(full("x.db-journal")), journal);
}

static void test_at_rest_the_bytes_are_those_of_before(void)
{
    fresh();
    app_start("x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5) APP_ADD(6));
    uint64_t in_use = hash_of(snapshot("x.db", "s-1"));
    app_end(0);
    CHECK(!seen("x.db").logged);
    EQ_U(hash_of(snapshot("x.db", "s-2")), in_use);
    EQ_I(in_tmp(), 2);                                      /* nothing is left of what it took */
}

static void test_in_a_directory(void)
{
    fresh();
    make_dir("d");
    app_start("d/x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    EQ_I(app_sum(snapshot("d/x.db", "s-1")), 5);
}

/* ---- what cannot be ---- */

static void test_damaged(void)
{
    fresh();
    char bad[9000];
    memset(bad, 'x', sizeof bad);
    memcpy(bad, "SQLite format 3", 16);
    int fd = open(full("x.db"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    EQ_I(write(fd, bad, sizeof bad), sizeof bad);
    struct database d = seen("x.db");
    CHECK(d.open);
    EQ_I(database_snapshot(folder, "x.db", 4, &d, "s-1", &go_on), ERR_CORRUPT);
    close(fd);
    put("x.db-wal", "nor is this a log");
    d = seen("x.db");
    CHECK(!d.open && d.logged);
    EQ_I(database_snapshot(folder, "x.db", 4, &d, "s-1", &go_on), ERR_CORRUPT);
    EQ_I(in_tmp(), 0);
}

static void test_locked(void)
{
    fresh();
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(5));
    app_do("BEGIN EXCLUSIVE");
    struct database d = seen("x.db");
    FAILS(database_snapshot(folder, "x.db", 4, &d, "s-1", &go_on), ERR_AGAIN, "locked");
    EQ_I(in_tmp(), 0);
    app_do("COMMIT;" APP_ADD(6));
    EQ_I(app_sum(snapshot("x.db", "s-1")), 11);
}

/* To open it would make the files beside it. */
static void test_nothing_is_made_beside_it(void)
{
    fresh();
    app_start("x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    app_end(0);
    int fd = open(full("x.db"), O_RDWR | O_CLOEXEC);
    struct database d = seen("x.db");
    CHECK(d.open && d.wal);
    FAILS(database_snapshot(folder, "x.db", 4, &d, "s-1", &go_on), ERR_AGAIN, "open for writing");
    EQ_S(get("x.db-wal"), "");
    EQ_S(get("x.db-shm"), "");
    close(fd);
}

static void test_stopped(void)
{
    fresh();
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(5));
    struct database d = seen("x.db");
    _Atomic bool stop = true;
    EQ_I(database_snapshot(folder, "x.db", 4, &d, "s-1", &stop), ERR_CLOSED);
    EQ_I(in_tmp(), 0);
}

/* Another file by the time it was copied. */
static void test_replaced(void)
{
    fresh();
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(5));
    struct database d = seen("x.db");
    app_end(0);
    OK(rename(full("x.db"), full("old")));
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(6));
    EQ_I(database_snapshot(folder, "x.db", 4, &d, "s-1", &go_on), ERR_CHANGED);
    EQ_I(in_tmp(), 0);
}

/* What is called as if it were a log, and is a link, is not followed. */
static void test_links(void)
{
    fresh();
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(5));
    app_end(0);
    put("elsewhere", "secret");
    OK(symlink("elsewhere", full("x.db-wal")));
    OK(symlink("x.db", full("y.db")));
    struct database d = seen("x.db");
    CHECK(!d.logged);
    EQ_I(app_sum(snapshot("x.db", "s-1")), 5);
    FAILS(database_look(folder, "y.db", 4, &d), ERR_NOTFOUND, "not a file");
}

/* ---- making way ---- */

static struct database_moved moved;

static int make_way(const char *path, struct stamp *expected, const char *tmp)
{
    return database_make_way(folder, path, strlen(path), expected, tmp, "k-1", &go_on, &moved);
}
static struct stamp whole(const char *path) { return seen(path).whole; }

/* What a program would find in a copy of the files as they are. */
static int64_t opens_as(const char *path)
{
    static const char *const suffix[] = {"", "-wal", "-journal"};
    char name[80];
    OK(mkdir(full(".lanyard/look"), 0700));
    for (int i = 0; i < 3; i++) {
        struct stat st;
        char from[80], to[80], bytes[65536];
        snprintf(from, sizeof from, "%s%s", path, suffix[i]);
        snprintf(to, sizeof to, ".lanyard/look/x%s", suffix[i]);
        if (stat(full(from), &st) < 0)
            continue;
        int in = open(full(from), O_RDONLY | O_CLOEXEC), out = open(full(to), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        for (ssize_t n; (n = read(in, bytes, sizeof bytes)) > 0; )
            EQ_I(write(out, bytes, (size_t)n), n);
        close(in);
        close(out);
    }
    int64_t sum = app_sum(full(".lanyard/look/x"));
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, ".lanyard/look/x%s", suffix[i]);
        (void)unlink(full(name));
    }
    OK(rmdir(full(".lanyard/look")));
    return sum;
}

static void leave_log(void)
{
    fresh();
    app_start("x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    app_do("PRAGMA wal_checkpoint(TRUNCATE);" APP_ADD(6) "UPDATE a SET fill = NULL; UPDATE b SET fill = NULL;");
    app_end(SIGKILL);
}
static void leave_journal(void)
{
    fresh();
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(5) APP_ADD(6));
    app_do("PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN; UPDATE a SET n = 1000;"
           "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 200) INSERT INTO a(n, fill) SELECT 1, randomblob(3000) FROM t");
    app_end(SIGKILL);
}

static void check_way(void (*leave)(void))
{
    leave();
    struct stamp expected = whole("x.db");
    CHECK(seen("x.db").logged);
    OK(make_way("x.db", &expected, NULL));
    struct stamp now = look("x.db");
    CHECK(stamp_same(&now, &expected));
    CHECK(!*get("x.db-wal") && !*get("x.db-journal") && !*get("x.db-shm"));
    EQ_I(app_sum(full("x.db")), 11);
    CHECK(moved.n >= 2 && strcmp(moved.name[0], "k-1-m") == 0);
}
static void test_way_with_a_log(void) { check_way(leave_log); }
static void test_way_with_a_journal(void) { check_way(leave_journal); }

static int renames_left;
static int renames(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (renames_left-- > 0)
        return sys_kernel.renameat2(from_dir, from, to_dir, to, flags);
    errno = EIO;
    return -1;
}

/* From the n-th rename on there is none, as after a crash. */
static void check_crashes(void (*leave)(void))
{
    int r = -1, n = 0;
    for (; r < 0; n++) {
        leave();
        struct stamp expected = whole("x.db");
        without_sync.renameat2 = renames;
        renames_left = n;
        r = make_way("x.db", &expected, NULL);
        without_sync.renameat2 = sys_kernel.renameat2;
        EQ_I(opens_as("x.db"), 11);
    }
    CHECK(n > 3);
}
static void test_crash_with_a_log(void) { check_crashes(leave_log); }
static void test_crash_with_a_journal(void) { check_crashes(leave_journal); }

static void test_no_way_while_it_is_open(void)
{
    fresh();
    app_start("x.db");
    app_do("PRAGMA journal_mode=WAL;" APP_TABLES APP_ADD(5));
    struct stamp expected = whole("x.db");
    FAILS(make_way("x.db", &expected, NULL), ERR_CHANGED, "has the database open");
    app_do(APP_ADD(6));
    app_end(SIGKILL);
    FAILS(make_way("x.db", &expected, NULL), ERR_CHANGED, "not what it was");
    EQ_U(moved.n, 0);
    EQ_I(opens_as("x.db"), 11);
}

static void put_tmp(const char *name, const char *from)
{
    char bytes[65536];
    int fd, in = open(full(from), O_RDONLY | O_CLOEXEC);
    OK(folder_tmp_create(folder, name, 0, &fd));
    for (ssize_t n; (n = read(in, bytes, sizeof bytes)) > 0; )
        EQ_I(write(fd, bytes, (size_t)n), n);
    close(in);
    close(fd);
}

/* The log of one that is gone would be taken for one of the next. */
static void test_way_for_a_new_one(void)
{
    struct stamp none = {.kind = STAMP_ABSENT};
    leave_log();
    put_tmp("new", "x.db");
    OK(rename(full("x.db-wal"), full("y-wal")));
    put("text", "no database");
    put_tmp("text", "text");
    OK(make_way("y", &none, "text"));
    CHECK(moved.n == 0 && *get("y-wal"));
    OK(make_way("y", &none, "new"));
    CHECK(moved.n == 1 && !*get("y-wal"));
}

/* Whoever asks folder_apply without making way first. */
static void test_nothing_is_put_beside_a_log(void)
{
    leave_log();
    put("text", "no database");
    put_tmp("text", "text");
    put_tmp("new", "x.db");
    struct change c[] = {
        {.op = CHANGE_FILE, .path = "x.db", .len = 4, .expected = look("x.db"), .tmp = "text", .kept = "k-1", .mode = 0644},
        {.op = CHANGE_REMOVE, .path = "x.db", .len = 4, .expected = look("x.db"), .kept = "k-2"},
        {.op = CHANGE_MOVE, .path = "z.db", .len = 4, .from = "x.db", .fromlen = 4, .from_expected = look("x.db"), .mode = 0644},
    };
    OK(folder_apply(folder, c, 3));
    for (int i = 0; i < 3; i++) {
        EQ_I(c[i].code, ERR_CHANGED);
        CHECK(strstr(c[i].text, "log of a database"));
    }
    EQ_I(opens_as("x.db"), 11);
    struct change part[] = {
        {.op = CHANGE_FILE, .path = "x.db-journal", .len = 12, .tmp = "text", .mode = 0644},
        {.op = CHANGE_REMOVE, .path = "x.db-wal", .len = 8, .expected = look("x.db-wal"), .kept = "k-3"},
    };
    OK(folder_apply(folder, part, 2));
    CHECK(part[0].code == ERR_CHANGED && part[1].code == ERR_CHANGED && strstr(part[1].text, "part of the database"));
    OK(unlink(full("x.db")));
    c[0] = (struct change){.op = CHANGE_FILE, .path = "x.db", .len = 4, .tmp = "new", .mode = 0644};
    OK(folder_apply(folder, c, 1));
    EQ_I(c[0].code, ERR_CHANGED);
}

int main(int argc, char **argv)
{
    APP_HELPER(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    RUN(test_names);
    RUN(test_parts);
    RUN(test_a_journal_that_is_done_with_says_nothing);
    RUN(test_in_use_with_a_log);
    RUN(test_in_use_with_journals);
    RUN(test_left_with_a_log);
    RUN(test_left_with_a_hot_journal);
    RUN(test_at_rest_the_bytes_are_those_of_before);
    RUN(test_in_a_directory);
    RUN(test_damaged);
    RUN(test_locked);
    RUN(test_nothing_is_made_beside_it);
    RUN(test_stopped);
    RUN(test_replaced);
    RUN(test_links);
    RUN(test_way_with_a_log);
    RUN(test_way_with_a_journal);
    RUN(test_crash_with_a_log);
    RUN(test_crash_with_a_journal);
    RUN(test_no_way_while_it_is_open);
    RUN(test_way_for_a_new_one);
    RUN(test_nothing_is_put_beside_a_log);
    app_end(SIGKILL);
    finish_all();
    return t_done();
}

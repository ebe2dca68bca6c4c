/* Transactions of the index: callbacks that call back, rollback, failed writes, checkpoints, kill -9. */
#include "tests/unit/t_index.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store/index_priv.h"

static void want_one(struct index *ix, int64_t entry, uint64_t size)
{
    struct ix_want w = { .entry = entry, .path = entry, .stream = 1, .seq = (uint64_t)entry, .size = size,
                         .role = WANT_INSTALL, .kind = KIND_FILE, .root = t_root(size) };
    OK(index_want_put(ix, &w));
}

/* ---- callbacks ---- */

struct nest { struct index *ix; unsigned depth, rows; int stop; };

static int nest_row(void *arg, const struct ix_entry *e)
{
    struct nest *n = arg;
    const uint8_t *bytes = e->raw.p;
    n->rows++;
    if (n->depth < 3) {
        struct nest inner = { .ix = n->ix, .depth = n->depth + 1, .stop = n->stop };
        int rc = index_entry_each_of_path(n->ix, e->path, nest_row, &inner);
        n->rows += inner.rows;
        if (rc != 0)
            return rc;
    }
    EQ_MEM(bytes, "the entry", 9);   /* ours is still valid after theirs */
    return n->depth == 3 ? n->stop : 0;
}

/* The same iteration in itself, four deep, also when the innermost ends them all. */
static void test_reentrant(void)
{
    struct index *ix = t_index(":memory:");
    OK(index_begin(ix));
    for (unsigned i = 1; i <= 3; i++)
        (void)t_entry(ix, 1, i, 5, KIND_FILE, i);
    struct nest n = { .ix = ix };
    OK(index_entry_each_of_path(ix, 5, nest_row, &n));
    EQ_U(n.rows, 3 + 9 + 27 + 81);
    n = (struct nest){ .ix = ix, .stop = -99 };
    EQ_I(index_entry_each_of_path(ix, 5, nest_row, &n), -99);
    EQ_U(n.rows, 4);
    n = (struct nest){ .ix = ix };
    OK(index_entry_each_of_path(ix, 5, nest_row, &n));
    EQ_U(n.rows, 120);
    OK(index_commit(ix));
    index_close(&ix);
}

struct work { struct index *ix; unsigned rows; };

static int work_row(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    struct work *w = arg;
    int64_t id, again;
    struct ix_entry e;
    OK(index_begin(w->ix));
    want_one(w->ix, winner, len);
    OK(index_entry_get(w->ix, winner, &e, NULL));
    OK(index_path_id(w->ix, name, len, false, &id));
    EQ_I(id, path);
    OK(index_path_id(w->ix, name, len, true, &again));
    OK(index_conflict_set(w->ix, path, true));
    if (w->rows++ % 2)
        index_rollback(w->ix);
    else
        OK(index_commit(w->ix));
    OK(index_checkpoint(w->ix, true));   /* this row's statement reads: put off, not failed */
    return 0;
}

/* A callback that runs whole transactions on other tables. */
static void test_work_in_callback(void)
{
    struct index *ix = t_index(t_file("work"));
    OK(index_begin(ix));
    for (unsigned i = 1; i <= 10; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%02u", i);
        int64_t path = t_path(ix, name);
        struct ix_entry e = t_entry(ix, 1, i, path, KIND_FILE, i);
        OK(index_path_set_winner(ix, path, e.id));
    }
    OK(index_commit(ix));
    struct work w = { .ix = ix };
    OK(index_path_each(ix, "", 0, true, work_row, &w));
    EQ_U(w.rows, 10);
    t_totals(ix, 5, 15);
    uint64_t n;
    OK(index_conflict_count(ix, &n));
    EQ_U(n, 5);
    index_close(&ix);
}

/* ---- rollback ---- */

static void test_rollback(void)
{
    const char *path = t_file("rollback");
    struct index *ix = t_index(path);
    uint64_t n;
    CHECK(!index_in_tx(ix));
    OK(index_begin(ix));
    CHECK(index_in_tx(ix));
    want_one(ix, 1, 100);
    want_one(ix, 2, 200);
    OK(index_commit(ix));
    CHECK(!index_in_tx(ix));
    OK(index_begin(ix));
    want_one(ix, 3, 300);
    want_one(ix, 1, 1);
    OK(index_want_del(ix, 2));
    OK(index_conflict_set(ix, 1, true));
    t_totals(ix, 2, 301);
    index_rollback(ix);
    index_rollback(ix);   /* nothing to do */
    CHECK(!index_in_tx(ix));
    t_totals(ix, 2, 300);
    OK(index_conflict_count(ix, &n));
    EQ_U(n, 0);
    OK(index_begin(ix));
    want_one(ix, 9, 900);
    index_close(&ix);     /* rolls back */
    CHECK(!ix);
    ix = t_index(path);
    t_totals(ix, 2, 300);
    index_close(&ix);
    index_close(&ix);
}

/* Sizes that peers may claim add up beyond 64 bits; the sums still go down to what they were. */
static void test_totals_wrap(void)
{
    struct index *ix = t_index(t_file("wrap"));
    OK(index_begin(ix));
    for (int64_t i = 1; i <= 5; i++)
        want_one(ix, i, 1ull << 62);
    want_one(ix, 6, 6);
    OK(index_commit(ix));
    index_close(&ix);
    ix = t_index(t_file("wrap"));
    OK(index_begin(ix));
    for (int64_t i = 1; i <= 5; i++)
        OK(index_want_del(ix, i));
    OK(index_commit(ix));
    t_totals(ix, 1, 6);
    index_close(&ix);
}

/* ---- failed writes ---- */

/* Writes until the first failure. */
static int fill(struct index *ix)
{
    static uint8_t bytes[20000];
    char key[16];
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < 1000; i++) {
        snprintf(key, sizeof key, "key %u", i);
        rc = index_kv_put(ix, key, bytes, sizeof bytes);
    }
    return rc;
}

static void check_failed(struct index *ix, int code)
{
    struct ix_want w = { .entry = 1, .role = WANT_KEEP, .kind = KIND_FILE };
    struct buf b = BUF_INIT(100000);
    EQ_I(index_kv_put(ix, "small", "x", 1), code);
    EQ_I(index_want_put(ix, &w), code);
    FAILS(index_commit(ix), code, "roll it back");
    CHECK(index_in_tx(ix));
    index_rollback(ix);
    EQ_I(index_kv_get(ix, "key 0", &b), ERR_NOTFOUND);
    OK(index_kv_get(ix, "before", &b));
    t_totals(ix, 1, 8);
    buf_release(&b);
}

static void test_full(void)
{
    struct index *ix = t_index(t_file("full"));
    OK(index_begin(ix));
    OK(index_kv_put(ix, "before", "x", 1));
    want_one(ix, 7, 8);
    OK(index_commit(ix));
    CHECK(sqlite3_exec(ix->db, "PRAGMA max_page_count = 60", NULL, NULL, NULL) == SQLITE_OK);
    OK(index_begin(ix));
    want_one(ix, 8, 9);
    FAILS(fill(ix), ERR_FULL, "make room");
    check_failed(ix, ERR_FULL);
    CHECK(sqlite3_exec(ix->db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL) == SQLITE_OK);
    OK(index_begin(ix));
    OK(fill(ix));
    OK(index_commit(ix));
    index_close(&ix);
}

/* The kernel refuses to let files grow. */
static void test_io(void)
{
    struct index *ix = t_index(t_file("io"));
    OK(index_begin(ix));
    OK(index_kv_put(ix, "before", "x", 1));
    want_one(ix, 7, 8);
    OK(index_commit(ix));
    struct rlimit old, tight = { 0 };
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    tight = old;
    tight.rlim_cur = 300000;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
    OK(index_begin(ix));
    int rc = fill(ix);
    if (rc == 0)
        rc = index_commit(ix);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    EQ_I(rc, ERR_IO);
    check_failed(ix, ERR_IO);
    OK(index_begin(ix));
    OK(fill(ix));
    OK(index_commit(ix));
    index_close(&ix);
}

/* A write outside a transaction is a bug, and so is a second begin. */
static void aborts(void (*bug)(struct index *))
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct index *ix = t_index(":memory:");
        (void)!freopen("/dev/null", "w", stderr);
        bug(ix);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
static void bug_put(struct index *ix) { (void)!index_kv_put(ix, "k", "v", 1); }
static void bug_want_del(struct index *ix) { (void)!index_want_del(ix, 1); }
static void bug_path(struct index *ix) { int64_t id; (void)!index_path_id(ix, "p", 1, true, &id); }
static void bug_begin(struct index *ix) { (void)!index_begin(ix); (void)!index_begin(ix); }
static void bug_commit(struct index *ix) { (void)!index_commit(ix); }
static void bug_read_write(struct index *ix) { (void)!index_read_begin(ix); (void)!index_kv_put(ix, "k", "v", 1); }
static void bug_read_begin(struct index *ix) { (void)!index_read_begin(ix); (void)!index_begin(ix); }
static void bug_read_in_tx(struct index *ix) { (void)!index_begin(ix); (void)!index_read_begin(ix); }
static void test_bugs(void)
{
    aborts(bug_read_write);
    aborts(bug_read_begin);
    aborts(bug_read_in_tx);
    aborts(bug_put);
    aborts(bug_want_del);
    aborts(bug_path);
    aborts(bug_begin);
    aborts(bug_commit);
}

/* Reads between index_read_begin and index_read_end see one state; then the file is free, and writing goes on. */
static void test_read_span(void)
{
    struct index *ix = t_index(":memory:");
    AUTO(buf_release) struct buf v = BUF_INIT(16);
    uint64_t n, bytes;
    OK(index_begin(ix));
    OK(index_kv_put(ix, "k", "v", 1));
    OK(index_want_put(ix, &(struct ix_want){ .entry = 1, .path = 1, .stream = 1, .seq = 1, .size = 5, .role = WANT_KEEP, .kind = KIND_FILE }));
    OK(index_commit(ix));
    for (int i = 0; i < 3; i++) {
        OK(index_read_begin(ix));
        CHECK(!index_in_tx(ix));
        OK(index_kv_get(ix, "k", &v));
        index_read_end(ix);
        OK(index_want_totals(ix, &n, &bytes));
        CHECK(n == 1 && bytes == 5);
        OK(index_begin(ix));
        OK(index_kv_put(ix, "k", "w", 1));
        OK(index_commit(ix));
    }
    OK(index_read_begin(ix));
    index_close(&ix);
}

/* ---- checkpoints ---- */

static int64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void commit_megabytes(struct index *ix, unsigned n)
{
    static uint8_t bytes[1 << 20];
    for (unsigned i = 0; i < n; i++) {
        memset(bytes, (int)i, sizeof bytes);   /* SQLite does not write a page that stays the same */
        OK(index_begin(ix));
        OK(index_kv_put(ix, i % 2 ? "odd" : "even", bytes, sizeof bytes));
        OK(index_commit(ix));
    }
}

/* What was reserved is still there when SQLite has opened it; the file itself is as long as it makes it. */
static void test_room_for_the_map(void)
{
    struct stat st;
    struct index *ix = t_index(t_file("map"));
    commit_megabytes(ix, 1);
    CHECK(stat(t_file("map-shm"), &st) == 0 && st.st_size == 32768 && st.st_blocks >= (256 << 10) / 512);
    index_close(&ix);
}

static void test_checkpoint(void)
{
    const char *path = t_file("checkpoint"), *wal = t_file("checkpoint-wal");
    struct index *ix = t_index(path);
    commit_megabytes(ix, 8);
    int64_t before = size_of(path);
    OK(index_checkpoint(ix, false));
    EQ_I(size_of(path), before);                 /* not yet */
    CHECK(size_of(wal) > 8 << 20);
    commit_megabytes(ix, 30);
    OK(index_checkpoint(ix, false));
    CHECK(size_of(path) > before);               /* now, and the WAL begins anew */
    int64_t high = size_of(wal);
    commit_megabytes(ix, 20);
    EQ_I(size_of(wal), high);
    OK(index_begin(ix));
    OK(index_kv_del(ix, "odd"));
    OK(index_kv_del(ix, "even"));
    OK(index_commit(ix));
    before = size_of(path);
    OK(index_checkpoint(ix, true));
    EQ_I(size_of(wal), 0);
    CHECK(size_of(path) < before - (1 << 20));   /* unused pages were given back */
    OK(index_checkpoint(ix, true));
    index_close(&ix);
    CHECK(!t_exists(wal));
}

/* A row of a MiB for each of n keys. */
static void put_keys(struct index *ix, int n)
{
    static uint8_t bytes[1 << 20];
    OK(index_begin(ix));
    for (int i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        memset(bytes, i, sizeof bytes);
        OK(index_kv_put(ix, key, bytes, sizeof bytes));
    }
    OK(index_commit(ix));
}

static void del_keys(struct index *ix, int n)
{
    OK(index_begin(ix));
    for (int i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        OK(index_kv_del(ix, key));
    }
    OK(index_commit(ix));
}

/* Nothing is written after the rows have gone: all their pages are given back all the same, a part a call. */
static void test_shrink(void)
{
    const char *path = t_file("shrink"), *wal = t_file("shrink-wal");
    struct index *ix = t_index(path);
    put_keys(ix, 20);
    OK(index_checkpoint(ix, true));
    int64_t full = size_of(path);
    CHECK(full > 20 << 20);
    del_keys(ix, 20);
    OK(index_checkpoint(ix, true));
    CHECK(size_of(path) > 8 << 20);              /* not at once: the caller has other things to do */
    for (int i = 0; i < 4; i++)
        OK(index_checkpoint(ix, true));
    CHECK(size_of(path) < 2 << 20);
    EQ_I(size_of(wal), 0);
    EQ_I(ix->wal_pages, 0);                      /* and from now on it costs nothing */
    index_close(&ix);
}

static void test_rest(void)
{
    struct index *ix = t_index(t_file("rest"));
    struct buf got = BUF_INIT(4u << 20);
    put_keys(ix, 4);
    CHECK(index_rest(ix) > 4 << 20);
    EQ_U(index_rest(ix), 0);
    OK(index_kv_get(ix, "key 3", &got));         /* read anew */
    EQ_U(got.len, 1 << 20);
    CHECK(got.data[0] == 3 && got.data[got.len - 1] == 3);
    buf_release(&got);
    index_close(&ix);
}

/* ---- kill -9 ---- */

/* Commits row after row and says each number once its commit has returned. */
static void commit_for_ever(const char *path, int out)
{
    struct id group = t_root(0);
    struct index *ix;
    if (index_open(path, &group, true, &ix) != 0)
        _exit(1);
    for (uint64_t i = 1;; i++) {
        struct ix_entry e = { .stream = 1, .seq = i, .path = (int64_t)i, .kind = KIND_FILE, .root = t_root(i),
                              .raw = t_text("raw") };
        struct ix_want w = { .stream = 1, .seq = i, .size = i, .role = WANT_INSTALL, .kind = KIND_FILE };
        int rc = index_begin(ix);
        if (rc == 0)
            rc = index_entry_put(ix, &e);
        w.entry = e.id;
        if (rc == 0)
            rc = index_want_put(ix, &w);
        if (rc == 0)
            rc = index_commit(ix);
        if (rc == 0 && i % 64 == 0)
            rc = index_checkpoint(ix, i % 128 == 0);
        if (rc != 0 || write(out, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

static int count_row(void *arg, const struct ix_entry *e)
{
    EQ_U(e->seq, ++*(uint64_t *)arg);
    EQ_U(e->raw.len, 3);
    return 0;
}

static void kill_after(const char *path, uint64_t rows)
{
    int p[2];
    uint64_t last = 0, found = 0, n, bytes;
    CHECK(pipe2(p, O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(p[0]);
        commit_for_ever(path, p[1]);
    }
    close(p[1]);
    while (last < rows)
        CHECK(read(p[0], &last, sizeof last) == sizeof last);
    CHECK(kill(pid, SIGKILL) == 0);
    while (read(p[0], &n, sizeof n) == sizeof n)   /* said before it died */
        last = n;
    close(p[0]);
    CHECK(waitpid(pid, NULL, 0) == pid);
    struct index *ix = t_index(path);
    OK(index_entry_each_of_stream(ix, 1, 1, UINT64_MAX, count_row, &found));
    CHECK(found == last || found == last + 1);
    OK(index_want_totals(ix, &n, &bytes));
    EQ_U(n, found);
    EQ_U(bytes, found * (found + 1) / 2);
    index_close(&ix);
}

static void test_killed(void)
{
    static const uint64_t rows[] = { 1, 2, 63, 64, 65, 127, 128, 300 };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[16];
        snprintf(name, sizeof name, "killed%u", i);
        kill_after(t_file(name), rows[i]);
    }
}

int main(void)
{
    t_dir_make();
    RUN(test_reentrant);
    RUN(test_work_in_callback);
    RUN(test_rollback);
    RUN(test_totals_wrap);
    RUN(test_full);
    RUN(test_io);
    RUN(test_bugs);
    RUN(test_read_span);
    RUN(test_room_for_the_map);
    RUN(test_checkpoint);
    RUN(test_shrink);
    RUN(test_rest);
    RUN(test_killed);
    t_dir_remove();
    return t_done();
}

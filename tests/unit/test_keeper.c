/* node/keeper: what was kept is packed and stays readable, whatever is damaged or cut off on the way; what expires goes, and nothing
 * that somebody still needs. */
#include "tests/unit/t_keeper.h"
#include "tests/unit/t_pull.h"

enum { BIG = 700000 };

/* ---- kept files ---- */

static struct content_list read_list(const char *path)
{
    struct content_list c;
    struct stat st;
    int fd = open(full(path), O_RDONLY | O_CLOEXEC);
    OK(fstat(fd, &st));
    OK(content_read(fd, (uint64_t)st.st_size, &w.gear, -1, NULL, &c));
    close(fd);
    return c;
}

static const char *kept_path(const char *name)
{
    static char path[4][80];
    static unsigned at;
    snprintf(path[at % 4], sizeof path[0], ".lanyard/kept/%s", name);
    return path[at++ % 4];
}

static bool is_there_as_file(const char *name) { return access(full(kept_path(name)), F_OK) == 0; }

/* A file of kept/ with this seed's bytes, of which `change` were changed at the end, and its row. */
static struct id keep(const char *name, size_t n, uint64_t seed, size_t change)
{
    put_big(kept_path(name), n, seed);
    if (change) {
        int fd = open(full(kept_path(name)), O_WRONLY | O_CLOEXEC);
        AUTOFREE char *data = xcalloc(change, 1);
        memset(data, (int)change, change);
        EQ_I(pwrite(fd, data, change, (off_t)(n - change)), change);
        close(fd);
    }
    struct content_list c = read_list(kept_path(name));
    struct id id = c.root;
    struct ix_kept row = {.path = 1, .root = c.root, .size = c.size, .kept_ms = loop_wall() - 1000, .name = name};
    t_must(index_begin(w.ix));
    t_must(index_kept_put(w.ix, &row));
    if (c.refs)
        t_must(index_tree_put(w.ix, &c.root, c.refs, c.nblocks));
    t_must(index_commit(w.ix));
    content_list_release(&c);
    return id;
}

static void flip_in_pack(const struct id *content)
{
    AUTO(buf_release) struct buf refs = BUF_INIT(1 << 20);
    struct block_ref ref = {*content, 0};
    struct ix_piece p;
    if (index_tree_get(w.ix, content, &refs) == 0)
        block_ref_get(refs.data, &ref);
    t_must(index_piece_get(w.ix, PACK_BLOCK, &ref.id, &p));
    char path[80];
    uint8_t byte;
    snprintf(path, sizeof path, ".lanyard/packs/p-%08" PRIx64, p.at.pack);
    int fd = open(full(path), O_RDWR | O_CLOEXEC);
    EQ_I(pread(fd, &byte, 1, (off_t)(p.at.off + 1000)), 1);
    byte ^= 1;
    EQ_I(pwrite(fd, &byte, 1, (off_t)(p.at.off + 1000)), 1);
    close(fd);
}

/* ---- tests ---- */

static void test_fold(void)
{
    fresh(30, 90);
    struct id one = keep("k-1", BIG, 1, 0), two = keep("k-2", BIG, 1, 5000), small = keep("k-3", 10, 3, 0), none = keep("k-4", 0, 4, 0);
    struct id same = keep("k-5", BIG, 1, 0);
    struct keeper_figures f = run_pass();
    EQ_U(f.folded, 5);
    EQ_U(f.packed, 5);
    EQ_U(f.kept, 0);
    CHECK(f.pack_bytes < BIG * 3 / 2);
    CHECK(id_eq(&one, &same) && !is_there_as_file("k-1") && !is_there_as_file("k-5"));
    OK(readable(&one));
    OK(readable(&two));
    OK(readable(&small));
    OK(readable(&none));
    f = run_pass();
    EQ_U(f.folded + f.expired + f.compacted, 0);
}

/* A file that is not what it is said to be, or is not there, is left alone. */
static void test_damaged_files_stay(void)
{
    fresh(30, 90);
    struct id bad = keep("k-1", BIG, 1, 0), good = keep("k-2", BIG, 2, 0), gone = keep("k-3", BIG, 3, 0);
    int fd = open(full(kept_path("k-1")), O_WRONLY | O_CLOEXEC);
    EQ_I(pwrite(fd, "x", 1, BIG - 10), 1);
    close(fd);
    OK(unlink(full(kept_path("k-3"))));
    struct keeper_figures f = run_pass();
    EQ_U(f.folded, 1);
    EQ_U(f.kept, 2);
    CHECK(is_there_as_file("k-1"));
    OK(readable(&good));
    EQ_I(readable(&gone), ERR_NOTFOUND);
    (void)bad;
}

/* A block that cannot be read in its pack any more is no reason to leave it out; and what lost it before has it again. */
static void test_damaged_block_is_written_again(void)
{
    fresh(30, 90);
    struct id one = keep("k-1", BIG, 1, 0);
    run_pass();
    flip_in_pack(&one);
    EQ_I(readable(&one), ERR_CORRUPT);
    struct id two = keep("k-2", BIG, 1, 5000);
    run_pass();
    OK(readable(&two));
    OK(readable(&one));
}

/* The author may have cut it otherwise than we would: both are contents of the one file. */
static void test_file_of_two_contents(void)
{
    fresh(30, 90);
    struct id one = keep("k-1", BIG, 1, 0);
    struct ix_kept row = {.root = id_hash("another", 7), .size = BIG, .kept_ms = 1, .name = "k-1"};
    t_must(index_begin(w.ix));
    t_must(index_kept_put(w.ix, &row));
    t_must(index_commit(w.ix));
    struct keeper_figures f = run_pass();
    EQ_U(f.kept, 0);                    /* the other row was of 1970 */
    EQ_U(f.packed, 1);
    CHECK(!is_there_as_file("k-1"));
    OK(readable(&one));
    struct id two = keep("k-2", BIG, 2, 0);
    row = (struct ix_kept){.root = id_hash("yet another", 11), .size = LIMIT_BLOCK + 1u, .kept_ms = loop_wall(), .name = "k-2"};
    t_must(index_begin(w.ix));
    t_must(index_kept_put(w.ix, &row));
    t_must(index_commit(w.ix));
    run_pass();
    OK(readable(&two));
    CHECK(is_there_as_file("k-2"));
}

/* Dies at each of its writes in turn: nothing that was readable is lost, and the next pass ends the work. */
static int writes_left;
static ssize_t few_writes(int fd, const void *p, size_t n, off_t off)
{
    if (writes_left-- <= 0) {
        errno = EIO;
        return -1;
    }
    return pwrite(fd, p, n, off);
}
static int few_syncs(int fd)
{
    (void)fd;
    if (writes_left-- > 0)
        return 0;
    errno = EIO;
    return -1;
}

static void test_disk_fails_at_each_write(void)
{
    for (int n = 0; n < 40; n++) {
        fresh(30, 90);
        struct id id[3] = {keep("k-1", BIG, 1, 0), keep("k-2", BIG, 1, 9000), keep("k-3", 3000, 2, 0)};
        struct sys failing = *sys;
        failing.pwrite = few_writes;
        failing.fsync = few_syncs;
        writes_left = n;
        const struct sys *before = sys;
        sys = &failing;
        run_pass();
        sys = before;
        bool done = writes_left > 0;
        for (int i = 0; i < 3; i++)
            OK(readable(&id[i]));
        struct keeper_figures f = run_pass();
        EQ_U(f.kept, 0);
        for (int i = 0; i < 3; i++)
            OK(readable(&id[i]));
        if (done)
            return;
    }
    T_FAIL("more writes than that");
}

/* Idle time as the node tells of it, for a while in which one pass after the other would go by. */
static bool has_passed(void *arg) { return passes >= *(unsigned *)arg; }
static void on_turn(void *arg) { ++*(unsigned *)arg; }
static bool has_turned(void *arg) { return *(unsigned *)arg > 0; }
static void stay_idle(unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        struct loop_timer t = {0};
        unsigned done = 0;
        keeper_tick(keeper, true);
        loop_timer_set(w.loop, &t, 2, on_turn, &done);
        UNTIL(w.loop, has_turned, &done);
    }
}

/* What could not be packed waits, but is no reason to try at once again, and again. */
static void test_a_failed_pass_is_not_tried_at_once(void)
{
    unsigned one = 1;
    fresh(30, 90);
    keep("k-1", BIG, 1, 0);
    struct sys failing = *sys;
    failing.pwrite = few_writes;
    writes_left = 0;
    const struct sys *before = sys;
    sys = &failing;
    passes = 0;
    stay_idle(12);
    UNTIL(w.loop, has_passed, &one);
    stay_idle(30);
    sys = before;
    EQ_U(passes, 1);
    CHECK(keeper_failure(keeper));
    EQ_U(run_pass().kept, 0);           /* unless somebody asks for it */
    CHECK(!keeper_failure(keeper));
}

static int drop_pack(void *arg, const struct ix_pack *p)
{
    (void)arg;
    return index_pack_del(w.ix, p->pack) < 0 ? -1 : 0;
}
static int one_kept(void *arg, const struct ix_kept *row)
{
    *(int64_t *)arg = row->id;
    return 1;
}

/* The index knows nothing of packs any more: they are read, and what is in them is known again. */
static void test_lost_index(void)
{
    fresh(30, 90);
    struct id one = keep("k-1", BIG, 1, 0), small = keep("k-2", 100, 2, 0), bad = keep("k-3", BIG, 3, 0);
    run_pass();
    flip_in_pack(&bad);
    keeper_end();
    index_close(&w.ix);
    engine_free(&w.e);
    t_must(index_open(":memory:", &w.g.group.id, false, &w.ix));
    struct engine_config c = {.index = w.ix, .group = &w.g.group, .keys = w.g.dev[0], .inst = {2}};
    t_must(engine_new(&c, &w.e));
    keeper_start(30, 90);
    EQ_I(readable(&one), ERR_NOTFOUND);
    unsigned before = adoptions;
    struct keeper_figures f = run_pass();
    EQ_U(f.packed, 2);
    EQ_U(adoptions, before + 1);
    OK(readable(&one));
    OK(readable(&small));
    EQ_I(readable(&bad), ERR_NOTFOUND);
}

static int row_of(void *arg, const struct ix_kept *row)
{
    *(struct ix_kept *)arg = *row;
    return 1;
}

/* In a pack its path would be known no more. */
static void test_what_no_version_names_stays_a_file(void)
{
    fresh(30, 90);
    struct id nameless = keep("k-1", BIG, 1, 0), named = keep("k-2", BIG, 2, 0);
    struct ix_kept row;
    EQ_I(index_kept_by_root(w.ix, &nameless, row_of, &row), 1);
    row.path = 0;
    row.name = "k-1";
    t_must(index_begin(w.ix));
    t_must(index_kept_del(w.ix, row.id));
    t_must(index_kept_put(w.ix, &row));
    t_must(index_commit(w.ix));
    EQ_U(run_pass().kept, 1);
    CHECK(is_there_as_file("k-1") && !is_there_as_file("k-2"));
    EQ_I(readable(&named), 0);
    EQ_U(run_pass().kept, 1);
}

/* As it was before the last pass: files that are named are gone, packs that nobody names are there. */
static void test_older_index(void)
{
    fresh(30, 90);
    struct id one = keep("k-1", BIG, 1, 0);
    run_pass();
    int64_t row;
    EQ_I(index_kept_in_packs(w.ix, 0, one_kept, &row), 1);
    t_must(index_begin(w.ix));
    OK(index_pack_each(w.ix, drop_pack, NULL));
    t_must(index_kept_del(w.ix, row));
    t_must(index_kept_put(w.ix, &(struct ix_kept){.path = 1, .root = one, .size = BIG, .kept_ms = loop_wall(), .name = "k-1"}));
    t_must(index_commit(w.ix));
    keeper_end();
    keeper_start(30, 90);
    struct keeper_figures f = run_pass();
    OK(readable(&one));
    EQ_U(f.kept, 0);
    EQ_U(f.packed, 1);
}

/* A node that was killed has left a tail that nobody has flushed. Before a file goes because it is in there, somebody must have. */
static void test_a_tail_that_was_not_flushed(void)
{
    fresh(30, 90);
    struct id one = keep("k-1", BIG, 1, 0);
    run_pass();
    t_must(index_begin(w.ix));
    OK(index_pack_each(w.ix, drop_pack, NULL));
    t_must(index_commit(w.ix));
    keep("k-1", BIG, 1, 0);
    keeper_end();
    struct sys failing = *sys;
    failing.fsync = few_syncs;
    writes_left = 0;
    const struct sys *before = sys;
    sys = &failing;
    keeper_start(30, 90);
    run_pass();
    sys = before;
    CHECK(is_there_as_file("k-1"));
    keeper_end();
    keeper_start(30, 90);
    EQ_U(run_pass().kept, 0);
    OK(readable(&one));
}

/* What nothing refers to is written out of the packs, and what is referred to is still there. */
static void test_compaction(void)
{
    fresh(30, 90);
    struct id old = keep("k-1", BIG, 1, 0), stays = keep("k-2", BIG / 4, 2, 0);
    struct keeper_figures before = run_pass();
    t_must(index_begin(w.ix));           /* it is wanted: in flight */
    struct ix_entry won = {.stream = 1, .seq = 77, .live = true, .kind = KIND_FILE, .size = BIG / 4, .root = stays, .raw = {(const uint8_t *)"x", 1}};
    t_must(index_path_id(w.ix, "wanted", 6, true, &won.path));
    t_must(index_entry_put(w.ix, &won));
    t_must(index_path_set_winner(w.ix, won.path, won.id));
    t_must(index_want_put(w.ix, &(struct ix_want){.entry = won.id, .path = won.path, .role = WANT_INSTALL, .kind = KIND_FILE, .root = stays}));
    t_must(index_commit(w.ix));
    keeper_end();
    keeper_start(0, 90);
    struct keeper_figures after = run_pass();
    EQ_U(after.expired, 1);
    EQ_U(after.compacted, 1);
    CHECK(after.pack_bytes < before.pack_bytes / 3);
    EQ_I(readable(&old), ERR_NOTFOUND);
    OK(readable(&stays));
}

static void min_days(uint64_t days)
{
    AUTO(buf_release) struct buf map = BUF_INIT(100);
    mp_put_map(&map, 1);
    mp_put_str(&map, "history.min_days");
    mp_put_u64(&map, days);
    t_group_do(&w.g, &(struct ctl_op){.type = OP_POLICY, .policy = {map.data, map.len}});
}

/* The policy says how long versions stay at least, whatever this device would do. */
static void test_policy_keeps_longer(void)
{
    fresh(30, 90);
    min_days(1);
    struct id old = keep("k-1", BIG, 1, 0);
    run_pass();
    keeper_end();
    keeper_start(0, 0);
    EQ_U(run_pass().expired, 0);
    OK(readable(&old));
    min_days(0);
    EQ_U(run_pass().expired, 1);
    EQ_I(readable(&old), ERR_NOTFOUND);
    fresh(30, 0);                        /* the same when only the disk is to be spared */
    min_days(1);
    old = keep("k-1", BIG, 1, 0);
    EQ_U(run_pass().expired, 0);
    min_days(0);
    EQ_U(run_pass().expired, 1);
}

static int first_loser(void *arg, const struct ix_entry *row)
{
    int64_t winner;
    t_must(index_path_get(w.ix, row->path, NULL, &winner));
    if (!row->live || row->id == winner)
        return 0;
    *(struct id *)arg = row->root;
    return 1;
}

/* One of path "both", which has lost. */
static int64_t begin_conflict(struct id *loser)
{
    int64_t path;
    keeper_end();
    both_begin();
    put_big("both", BIG, 1);
    put_big("other", BIG, 2);
    scan_start();
    settle();
    wait_settled((char *)(uintptr_t)"both", (char *)(uintptr_t)"other");
    pull_start();
    far_resave("both", "other");
    take_all();
    EQ_U(conflicts(), 1);
    t_must(index_path_id(w.ix, "both", 4, false, &path));
    EQ_I(index_entry_each_of_path(w.ix, path, first_loser, loser), 1);
    return path;
}

static void end_conflict(void)
{
    keeper_stop(keeper);
    pull_end();
    keeper_free(&keeper);
    both_end();
}

/* A version that waits as a conflict is kept, however old it is and however much it takes; what it lost against is in the folder, and an
 * older copy of that may go. */
static void test_conflicts_do_not_expire(void)
{
    struct id loser;
    begin_conflict(&loser);
    struct id winner = version("both").root;
    CHECK(!id_eq(&loser, &winner));
    struct ix_kept copy = {.root = winner, .size = BIG, .kept_ms = 1, .name = ""};
    t_must(index_begin(w.ix));
    t_must(index_kept_put(w.ix, &copy));
    t_must(index_commit(w.ix));
    keeper_start(0, 0);
    struct keeper_figures f = run_pass();
    EQ_U(f.expired, 1);
    EQ_U(f.packed, 1);
    OK(readable(&loser));
    end_conflict();
}

static int since(void *arg, const struct ix_kept *row) { return index_kept_since(w.ix, row->id, *(uint64_t *)arg) < 0 ? -1 : 0; }

static void kept_for_days(const struct id *content, uint64_t days)
{
    uint64_t then = loop_wall() - days * 24 * 60 * 60 * 1000;
    t_must(index_begin(w.ix));
    t_must(index_kept_by_root(w.ix, content, since, &then));
    t_must(index_commit(w.ix));
}

/* It is history from the moment on in which the conflict is over, however long that has waited. */
static void test_a_settled_conflict_stays_for_its_time(void)
{
    struct id loser;
    int64_t path = begin_conflict(&loser), winner;
    keeper_start(30, 90);
    run_pass();
    kept_for_days(&loser, 60);
    EQ_U(run_pass().expired, 0);
    t_must(engine_begin(w.e));
    t_must(index_path_get(w.ix, path, NULL, &winner));
    t_must(engine_resolve(w.e, path, winner, loop_wall()));
    t_must(engine_commit(w.e, loop_wall()));
    EQ_U(conflicts(), 0);
    EQ_U(run_pass().expired, 0);
    kept_for_days(&loser, 31);
    CHECK(run_pass().expired > 0);
    end_conflict();
}

int main(void)
{
    t_node_init();
    RUN(test_fold);
    RUN(test_damaged_files_stay);
    RUN(test_damaged_block_is_written_again);
    RUN(test_file_of_two_contents);
    RUN(test_disk_fails_at_each_write);
    RUN(test_a_failed_pass_is_not_tried_at_once);
    RUN(test_lost_index);
    RUN(test_what_no_version_names_stays_a_file);
    RUN(test_older_index);
    RUN(test_a_tail_that_was_not_flushed);
    RUN(test_compaction);
    RUN(test_policy_keeps_longer);
    RUN(test_conflicts_do_not_expire);
    RUN(test_a_settled_conflict_stays_for_its_time);
    keeper_end();
    world_end();
    return t_done();
}

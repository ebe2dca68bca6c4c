/* What a device answers when it is asked for the history of a path, and the lists of the index behind `lanyard log`. */
#include "node/api_priv.h"
#include "tests/unit/t_index.h"
#include "tests/unit/t_node.h"

static struct t_group group;
static struct index *ix;
static struct engine *engine;
static uint64_t wall = 1700000000000;

static void world_open(void)
{
    t_group_init(&group, 1);
    OK(index_open(":memory:", &group.group.id, false, &ix));
    struct engine_config c = {.index = ix, .group = &group.group, .keys = group.dev[0]};
    OK(engine_new(&c, &engine));
}

static void world_close(void)
{
    engine_free(&engine);
    index_close(&ix);
    t_group_release(&group);
}

/* The user saves a file of one block, in place. */
static void save(const char *path, uint64_t content)
{
    struct content_list c = {.type = CONTENT_BLOCKS, .nblocks = 1, .size = 5000, .root = t_root(content)};
    struct stamp st = {.kind = STAMP_FILE, .mode = 0644, .dev = 1, .ino = 1, .size = c.size, .mtime_ns = (int64_t)++wall};
    OK(engine_begin(engine));
    EQ_I(engine_seen(engine, path, strlen(path), &st, &c, true, wall), 1);
    OK(engine_commit(engine, wall));
}

static void gone(const char *path)
{
    OK(engine_begin(engine));
    EQ_I(engine_gone(engine, path, strlen(path), ++wall), 1);
    OK(engine_commit(engine, wall));
}

static int64_t path_id(const char *path)
{
    int64_t id;
    OK(index_path_id(ix, path, strlen(path), false, &id));
    return id;
}

static void keep(const char *path, uint64_t content, const char *name)
{
    struct id root = t_root(content);
    OK(engine_begin(engine));
    OK(engine_kept(engine, path_id(path), 0, &root, 5000, name, wall));
    OK(engine_commit(engine, wall));
}

static uint32_t answer(const char *path, struct hist_item *items, uint32_t max)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct hist_item before = {0};
    struct mp m;
    uint32_t n;
    OK(hist_answer(engine, ix, path, strlen(path), &body));
    OK(body_open(body.data, body.len, &m, &n));
    for (uint32_t i = 0; i < n; i++) {
        struct hist_item it;
        OK(hist_next(&m, &before, &it));
        before = it;
        if (i < max)
            items[i] = it;
    }
    return n;
}

static void test_what_is_held_is_answered(void)
{
    struct hist_item it[4];
    world_open();
    save("f", 1);
    save("f", 2);
    save("f", 3);
    EQ_U(answer("f", it, 4), 1);
    struct id third = t_root(3), first = t_root(1);
    CHECK(id_eq(&it[0].root, &third) && it[0].dot.seq == 3);
    keep("f", 1, "k-1");
    EQ_U(answer("f", it, 4), 2);
    CHECK(id_eq(&it[0].root, &first) && it[0].dot.seq == 1);
    CHECK(id_eq(&it[1].root, &third) && sid_eq(&it[1].dot.sid, engine_own_sid(engine)));
    gone("f");
    EQ_U(answer("f", it, 4), 1);
    CHECK(id_eq(&it[0].root, &first));
    world_close();
}

static void test_an_unknown_path_has_none(void)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    world_open();
    EQ_I(hist_answer(engine, ix, "f", 1, &body), ERR_NOTFOUND);
    world_close();
}

static int first_stream(void *arg, const struct ix_stream *row)
{
    *(struct ix_stream *)arg = *row;
    return 1;
}

/* However many versions a path has, an answer costs a bounded amount of work. */
static void test_an_answer_is_bounded(void)
{
    struct hist_item it;
    world_open();
    save("f", 1);
    int64_t path = path_id("f");
    struct ix_entry one;
    OK(index_entry_at(ix, 1, 1, &one, NULL));
    OK(index_begin(ix));
    for (uint64_t seq = 2; seq < HIST_LOOKED + 100; seq++)
        (void)t_entry(ix, one.stream, seq, path, KIND_FILE, 1);
    struct ix_stream stream;
    EQ_I(index_stream_each(ix, first_stream, &stream), 1);
    stream.known = HIST_LOOKED + 99;
    OK(index_stream_set(ix, &stream));
    OK(index_commit(ix));
    OK(engine_begin(engine));
    engine_rollback(engine);             /* reads the streams anew */
    EQ_U(answer("f", &it, 1), HIST_LOOKED);
    EQ_U(it.dot.seq, 100);
    world_close();
}

/* ---- lists ---- */

static int saw_seq(void *arg, const struct ix_entry *row) { return t_saw(arg, row->seq); }

static struct seen beneath(const char *dir, uint32_t limit)
{
    struct seen s = {.n = 0};
    OK(index_entry_beneath(ix, dir, strlen(dir), limit, saw_seq, &s));
    return s;
}

static struct seen deleted(const char *dir)
{
    struct seen s = {.n = 0};
    OK(index_entry_deleted(ix, dir, strlen(dir), 100, saw_seq, &s));
    return s;
}

static void test_lists_are_of_the_directory_and_what_is_beneath(void)
{
    world_open();
    save("d/a", 1);
    save("dd", 2);
    save("d/b/c", 3);
    save("d", 4);
    gone("d/a");
    struct seen s = beneath("d", 100);
    EQ_U(s.n, 4);
    EQ_MEM(s.v, ((uint64_t[]){5, 4, 3, 1}), 4 * sizeof *s.v);
    EQ_U(beneath("", 100).n, 5);
    s = beneath("", 2);
    EQ_U(s.n, 2);
    EQ_U(s.v[1], 4);
    EQ_U(beneath("no", 100).n, 0);
    s = deleted("d");
    EQ_U(s.n, 1);
    EQ_U(s.v[0], 5);
    save("d/a", 6);
    EQ_U(deleted("").n, 0);
    world_close();
}

static int saw_path(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    (void)name, (void)len, (void)winner;
    return t_saw(arg, (uint64_t)path);
}

static void test_paths_can_be_gone_on_with(void)
{
    world_open();
    save("d/a", 1);
    save("d/b", 2);
    save("d/c", 3);
    save("e", 4);
    struct seen s = {.n = 0};
    OK(index_path_each_after(ix, "d", 1, "d/a", 3, saw_path, &s));
    EQ_U(s.n, 2);
    EQ_U(s.v[0], (uint64_t)path_id("d/b"));
    world_close();
}

/* ---- what restore is made of ---- */

static int copy(const char *to, int64_t entry)
{
    OK(engine_begin(engine));
    int r = engine_copy(engine, to, strlen(to), entry, ++wall);
    if (r < 0)
        engine_rollback(engine);
    else
        OK(engine_commit(engine, wall));
    return r;
}

static void winner_of(const char *path, struct ix_entry *row)
{
    int64_t winner;
    OK(index_path_get(ix, path_id(path), NULL, &winner));
    OK(index_entry_get(ix, winner, row, NULL));
}

static void test_a_version_is_copied_to_a_free_path(void)
{
    struct ix_entry old, row;
    struct id first = t_root(1);
    world_open();
    save("f", 1);
    winner_of("f", &old);
    save("f", 2);
    OK(copy("to/g", old.id));
    winner_of("to/g", &row);
    CHECK(id_eq(&row.root, &first) && row.kind == KIND_FILE);
    FAILS(copy("to/g", old.id), ERR_EXISTS, "to/g");
    FAILS(copy("f", old.id), ERR_EXISTS, "f");
    gone("f");
    OK(copy("f", old.id));
    winner_of("f", &row);
    CHECK(id_eq(&row.root, &first) && row.live);
    world_close();
}

/* A node that was killed while it fetched an old version is not to wait for it for ever. */
static void test_wants_of_requests_that_are_over_are_dropped(void)
{
    struct ix_entry old, live;
    struct ix_want w;
    world_open();
    save("f", 1);
    winner_of("f", &old);
    save("f", 2);
    winner_of("f", &live);
    w = t_want(&old, WANT_KEEP);
    OK(index_begin(ix));
    OK(index_want_put(ix, &w));
    w = t_want(&live, WANT_KEEP);
    OK(index_want_put(ix, &w));
    OK(index_commit(ix));
    struct node n = {.index = ix, .engine = engine, .announced = {.soon = true}, .lock_timer = {.set = true}};
    OK(api_clean_up(&n));
    EQ_I(index_want_get(ix, old.id, &w), ERR_NOTFOUND);
    OK(index_want_get(ix, live.id, &w));
    world_close();
}

/* ---- asking ---- */

static void never(void *arg) { (void)arg, abort(); }

static void test_without_peers_nothing_is_waited_for(void)
{
    struct id dev, root = t_root(1);
    world_open();
    struct hist *h = hist_new(NULL, &(struct group){0});
    hist_add(h, &root, 1);
    hist_add(h, &root, 1);
    hist_ask(h, NULL, 0, never, NULL);
    CHECK(hist_over(h));
    EQ_U(hist_holders(h, &root, &dev, 1), 0);
    hist_free(&h);
    hist_free(&h);
    world_close();
}

/* In a large group: nobody who is linked holds it, so others are to be linked, who come or do not. */
static struct { loop_fn fn; void *arg; size_t asked, told; } gathering;
static bool gather(void *arg, loop_fn fn, void *fn_arg)
{
    gathering.asked++;
    gathering.fn = fn;
    gathering.arg = fn_arg;
    return *(bool *)arg;
}
static void told(void *arg) { (void)arg, gathering.told++; }

static struct hist *ask_in_large_group(struct peers **peers, struct loop *loop, bool *others)
{
    struct id root = t_root(1);
    struct peers_config c = {.loop = loop, .keys = group.dev[0], .group = &group.group, .ops = {.gather = gather, .arg = others}};
    OK(peers_new(&c, peers));
    struct hist *h = hist_new(*peers, &group.group);
    hist_add(h, &root, 1);
    hist_ask(h, "f", 1, told, NULL);
    return h;
}

static void test_others_are_asked_when_nobody_near_holds_it(void)
{
    struct loop *loop;
    struct peers *peers;
    world_open();
    OK(loop_new(&loop));
    for (int others = 0; others < 2; others++) {
        memset(&gathering, 0, sizeof gathering);
        struct hist *h = ask_in_large_group(&peers, loop, &(bool){others});
        EQ_U(gathering.asked, 1);
        EQ_U(hist_over(h), !others);
        if (others)
            gathering.fn(gathering.arg);
        EQ_U(gathering.told, others);
        EQ_U(gathering.asked, 1);        /* not again and again */
        CHECK(hist_over(h));
        hist_free(&h);
        peers_free(&peers);
    }
    struct hist *h = ask_in_large_group(&peers, loop, &(bool){true});
    hist_free(&h);
    gathering.fn(gathering.arg);
    EQ_U(gathering.told, 1);             /* the one before */
    peers_free(&peers);
    loop_free(&loop);
    world_close();
}

int main(void)
{
    t_node_init();
    RUN(test_what_is_held_is_answered);
    RUN(test_an_unknown_path_has_none);
    RUN(test_an_answer_is_bounded);
    RUN(test_lists_are_of_the_directory_and_what_is_beneath);
    RUN(test_paths_can_be_gone_on_with);
    RUN(test_a_version_is_copied_to_a_free_path);
    RUN(test_wants_of_requests_that_are_over_are_dropped);
    RUN(test_without_peers_nothing_is_waited_for);
    RUN(test_others_are_asked_when_nobody_near_holds_it);
    return t_done();
}

/* The memory that block lists may take. Nobody is online: what a file lacks never comes. */
#include "node/pull_priv.h"
#include "tests/unit/t_pull.h"

enum { BIG = 3000000 };

static void start(void)
{
    both_begin();
    scan_start();
    pull_start();
    settle();
}

static struct item *item_of(const char *path)
{
    for (struct item *it = far.pull->all.head; it; it = it->next_item)
        if (!it->cancelled && strcmp(it->path, path) == 0)
            return it;
    return NULL;
}
static bool is_waiting_for_blocks(void *path)
{
    const struct item *it = item_of(path);
    return it && it->state == ITEM_BLOCKS && it->refs == 0;
}
static bool nothing_taken(void *arg)
{
    (void)arg;
    return far.pull->lists == 0 && far.pull->large == 0;
}
static uint64_t rooms(void)
{
    uint64_t n = 0;
    for (const struct item *it = far.pull->all.head; it; it = it->next_item)
        n += it->room;
    return n;
}
static struct ix_local known_of(const char *path)
{
    struct ix_local l = { 0 };
    local_of(path, &l);
    return l;
}
static bool is_forgotten(void *path) { return quiet(NULL) && known_of(path).stamp.kind != STAMP_FILE; }

/* A file of several blocks at the far device. Its list is known here, its content is not any more. */
static void far_blocks(const char *path, char *like, unsigned seed)
{
    put_big(like, BIG, seed);
    scan_again();
    far_file(path, like, true);
    OK(unlink(full(like)));
    scan_all(w.scan);
    UNTIL(w.loop, is_forgotten, like);
}

static void test_room_is_taken_and_given_back(void)
{
    start();
    far_blocks("a", "like-a", 1);
    from_far();
    UNTIL(w.loop, is_waiting_for_blocks, "a");
    CHECK(item_of("a")->room >= item_of("a")->list.len && far.pull->lists == item_of("a")->room);
    far_delete("a");
    from_far();
    UNTIL(w.loop, nothing_taken, NULL);
}

static bool has_made_room(void *arg)
{
    (void)arg;
    CHECK(far.pull->lists <= far.pull->lists_max && far.pull->lists == rooms());
    return item_of("a") && item_of("a")->state == ITEM_DELAYED && is_waiting_for_blocks("b");
}

/* There is room for one of them: whoever nobody serves makes room for the other. */
static void test_whom_nobody_serves_makes_room(void)
{
    start();
    far_blocks("a", "like-a", 1);
    from_far();
    UNTIL(w.loop, is_waiting_for_blocks, "a");
    far.pull->lists_max = item_of("a")->room * 3 / 2;
    far_blocks("b", "like-b", 2);
    from_far();
    UNTIL(w.loop, has_made_room, NULL);
    CHECK(!item_of("a")->room && !item_of("a")->list.data && !item_of("a")->have);
    EQ_U(far.pull->large, 0);
}

/* A file whose list can never have room is taken beside the others, and one at a time. */
static bool one_of_two(void *arg)
{
    (void)arg;
    CHECK(far.pull->lists == 0 && far.pull->large == rooms());
    CHECK(!item_of("a") || !item_of("b") || !item_of("a")->room || !item_of("b")->room);
    return is_waiting_for_blocks("a") || is_waiting_for_blocks("b");
}

static void test_one_that_is_larger(void)
{
    start();
    far_blocks("a", "like-a", 1);
    far_blocks("b", "like-b", 2);
    far.pull->lists_max = 10;
    from_far();
    UNTIL(w.loop, one_of_two, NULL);
    CHECK(far.pull->large > far.pull->lists_max);
}

/* More files that nobody has than may be looked after at once, and then something that needs nobody. */
static void test_what_nobody_serves_does_not_stop_the_rest(void)
{
    start();
    t_must(engine_begin(far.e));
    for (unsigned i = 0; i < ITEMS_MAX + 300; i++) {
        char path[32];
        snprintf(path, sizeof path, "lost-%u", i);
        struct content_list c = { .type = CONTENT_BLOCKS, .nblocks = 1, .size = 5000, .root = id_hash(path, strlen(path)) };
        struct stamp st = far_stamp(STAMP_FILE, 0644, c.size);
        EQ_I(engine_seen(far.e, path, strlen(path), &st, &c, true, ++far.wall), 1);
    }
    t_must(engine_commit(far.e, far.wall));
    far_save("found", "here");
    from_far();
    UNTIL(w.loop, is_there, "found");
    CHECK(far.pull->all.n <= ITEMS_MAX + 512);
}

int main(void)
{
    t_node_init();
    RUN(test_room_is_taken_and_given_back);
    RUN(test_whom_nobody_serves_makes_room);
    RUN(test_one_that_is_larger);
    RUN(test_what_nobody_serves_does_not_stop_the_rest);
    both_end();
    return t_done();
}

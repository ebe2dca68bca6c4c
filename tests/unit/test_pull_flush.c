/* A disk that fails once, while several things come. */
#include <stdatomic.h>

#include "node/pull_priv.h"
#include "tests/unit/t_pull.h"

enum { BIG = 300000 };

static _Atomic bool flush_fails;
static bool fails(void)
{
    errno = EIO;
    return atomic_exchange(&flush_fails, false);
}
static int failing_syncfs(int fd) { return fails() ? -1 : sys_kernel.syncfs(fd); }
static int failing_fsync(int fd) { return fails() ? -1 : sys_kernel.fsync(fd); }

static bool has_failed(void *arg)
{
    (void)arg;
    return far.failed[0];
}

static void begin_failing(void)
{
    static struct sys failing;
    both_begin();
    failing = sys_kernel;
    failing.syncfs = failing_syncfs;
    failing.fsync = failing_fsync;
    sys = &failing;
    put_big("big", BIG, 1);
    scan_start();
    pull_start();
    wait_settled("big", NULL);       /* or it is read again, and flushed then */
}

/* What nobody has waits, and with it all downloads that somebody may go on with. */
static void far_waits(void)
{
    struct content_list c = { .type = CONTENT_BLOCKS, .size = 5000, .nblocks = 1, .root = id_hash("nobody has it", 13) };
    struct stamp st = far_stamp(STAMP_FILE, 0640, c.size);
    far_seen("elsewhere", &st, &c);
}

static const struct item *item_of(const char *path)
{
    const struct item *it = far.pull->all.head;
    while (it && strcmp(it->path, path) != 0)
        it = it->next_item;
    return it;
}

static bool is_put(void *arg) { return on_disk(arg) && pull_idle(far.pull); }

/* What has come for another batch may be among what could not be written, and the next flush would say nothing of it. */
static void test_nothing_is_trusted_after_a_failed_flush(void)
{
    begin_failing();
    to_far();
    far_waits();
    far_copy("copy", "big");
    flush_fails = true;
    from_far();
    UNTIL(w.loop, has_failed, NULL);
    const struct item *it = item_of("elsewhere");
    CHECK(it && it->state == ITEM_BLOCKS && it->unsafe);
    CHECK(!on_disk("copy"));
    UNTIL(w.loop, is_put, (char *)"copy");
    struct ix_local l;
    CHECK(local_of("copy", &l));
    EQ_U(l.stamp.size, BIG);
    CHECK(!item_of("copy"));
}

static bool is_waiting(void *arg)
{
    const struct item *it = item_of(arg);
    return on_disk(arg) || (it && it->state == ITEM_BLOCKS);
}

/* Nor what somebody who waits has of a download, though he may not be at work on it just now. */
static void test_nor_is_what_was_left_of_a_download(void)
{
    char name[100], hex[ID_HEX];
    begin_failing();
    struct id root_of = version("big").root;
    OK(rename(full("big"), full(".lanyard/saved")));
    settle();
    snprintf(name, sizeof name, ".lanyard/tmp/d-%.40s", id_hex(&root_of, hex));
    OK(link(full(".lanyard/saved"), full(name)));
    far_waits();
    far_save("first", "comes first");
    flush_fails = true;
    from_far();
    UNTIL(w.loop, has_failed, NULL);
    UNTIL(w.loop, is_put, (char *)"first");
    far_copy("late", ".lanyard/saved");
    from_far();
    UNTIL(w.loop, is_waiting, (char *)"late");
    CHECK(!on_disk("late"));
}

int main(void)
{
    t_node_init();
    RUN(test_nothing_is_trusted_after_a_failed_flush);
    RUN(test_nor_is_what_was_left_of_a_download);
    both_end();
    return t_done();
}

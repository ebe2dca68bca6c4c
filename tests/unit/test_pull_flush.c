/* A disk that fails once, while several things come. */
#include <stdatomic.h>

#include "node/pull_priv.h"
#include "tests/unit/t_pull.h"

enum { BIG = 300000 };

static _Atomic bool flush_fails;
static int failing_syncfs(int fd)
{
    if (!atomic_exchange(&flush_fails, false))
        return sys_kernel.syncfs(fd);
    errno = EIO;
    return -1;
}

static bool has_failed(void *arg)
{
    (void)arg;
    return far.failed[0];
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
    static struct sys failing;
    both_begin();
    failing = sys_kernel;
    failing.syncfs = failing_syncfs;
    sys = &failing;
    put_big("big", BIG, 1);
    scan_start();
    pull_start();
    settle();
    to_far();
    struct content_list c = { .type = CONTENT_BLOCKS, .size = 5000, .nblocks = 1, .root = id_hash("nobody has it", 13) };
    struct stamp st = far_stamp(STAMP_FILE, 0640, c.size);
    far_seen("elsewhere", &st, &c);
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

int main(void)
{
    t_node_init();
    RUN(test_nothing_is_trusted_after_a_failed_flush);
    both_end();
    return t_done();
}

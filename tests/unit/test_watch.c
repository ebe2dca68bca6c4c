#include "node/watch.h"
#include "tests/unit/folder_fixture.h"
#include "tests/unit/t_node.h"

static struct loop *loop;
static struct watch *watch;
static struct { char path[80]; bool deep; } told[64];
static size_t ntold;
static bool everywhere;

static void on_changed(void *arg, const char *path, size_t len, bool deep)
{
    (void)arg;
    everywhere |= len == 0;
    CHECK(len || deep);
    if (ntold < 64) {
        snprintf(told[ntold].path, sizeof told->path, "%.*s", (int)len, path);
        told[ntold++].deep = deep;
    }
}
static void end(void)
{
    watch_free(&watch);
    loop_free(&loop);
    finish_all();
}
static void add(const char *path)
{
    int wd = watch_add(watch, path, strlen(path));
    t_must(wd);
    watch_bind(watch, wd, path, strlen(path));
}
static void start(void)
{
    end();
    begin();
    t_must(loop_new(&loop));
    struct watch_ops ops = { .changed = on_changed };
    t_must(watch_new(loop, root, &ops, &watch));
    add("");
    ntold = 0;
    everywhere = false;
}
static void forget(void)
{
    watch_drain(watch);
    ntold = 0;
    everywhere = false;
}
/* Whether exactly that was told since the last question: 1 told, 2 told as new directory. */
static int was_told(const char *path)
{
    int how = 0;
    watch_drain(watch);
    for (size_t i = 0; i < ntold; i++)
        if (strcmp(told[i].path, path) == 0)
            how = told[i].deep ? 2 : how ? how : 1;
    return how;
}

static void test_files(void)
{
    start();
    edit("a", "x");
    EQ_I(was_told("a"), 1);
    forget();
    EQ_I(was_told("a"), 0);
    edit("a", "y");
    EQ_I(was_told("a"), 1);
    forget();
    OK(chmod(full("a"), 0600));
    EQ_I(was_told("a"), 1);
    forget();
    OK(rename(full("a"), full("b")));
    EQ_I(was_told("a"), 1);
    EQ_I(was_told("b"), 1);
    forget();
    OK(unlink(full("b")));
    EQ_I(was_told("b"), 1);
    forget();
    OK(symlink("x", full("l")));
    EQ_I(was_told("l"), 1);
    CHECK(!everywhere);
}

static void test_by_the_loop(void)
{
    start();
    edit("a", "x");
    struct loop_timer t = { 0 };
    loop_timer_set(loop, &t, 0, (loop_fn)loop_stop, loop);
    OK(loop_run(loop));
    EQ_S(told[0].path, "a");
}

static int tries;

static void until_told(void *timer)
{
    if (++tries == 5000 || (ntold && strcmp(told[ntold - 1].path, "b") == 0))
        loop_stop(loop);
    else
        loop_timer_set(loop, timer, 1, until_told, timer);
}

static void edit_another(void *timer)
{
    edit("b", "x");
    until_told(timer);
}

/* What happens soon after a look is looked at, too, though not at once. */
static void test_by_the_loop_again(void)
{
    start();
    edit("a", "x");
    struct loop_timer t = { 0 };
    tries = 0;
    loop_timer_set(loop, &t, 1, edit_another, &t);
    OK(loop_run(loop));
    EQ_S(told[0].path, "a");
    EQ_S(told[ntold - 1].path, "b");
}

static void test_directories(void)
{
    start();
    make_dir("d");
    EQ_I(was_told("d"), 2);
    forget();
    add("d");
    EQ_U(watch_count(watch), 2);
    edit("d/a", "x");
    EQ_I(was_told("d/a"), 1);
    forget();
    OK(unlink(full("d/a")));
    OK(rmdir(full("d")));
    EQ_I(was_told("d"), 1);
    EQ_I(was_told("d/a"), 1);
    EQ_U(watch_count(watch), 1);
    CHECK(!everywhere);
    make_dir("d");                              /* the same name again */
    EQ_I(was_told("d"), 2);
    add("d");
    forget();
    edit("d/b", "x");
    EQ_I(was_told("d/b"), 1);
}

static void test_moved_directory_reports_under_its_new_name(void)
{
    start();
    make_dir("d");
    make_dir("d/e");
    make_dir("dd");
    add("d");
    add("d/e");
    add("dd");
    forget();
    OK(rename(full("d"), full("z")));
    EQ_I(was_told("d"), 1);
    EQ_I(was_told("z"), 2);
    EQ_U(watch_count(watch), 2);                /* "" and dd, which only begins like d */
    add("z");
    add("z/e");
    forget();
    edit("z/e/a", "x");
    edit("dd/b", "x");
    EQ_I(was_told("z/e/a"), 1);
    EQ_I(was_told("dd/b"), 1);
    EQ_I(was_told("d/e/a"), 0);
}

static void test_moved_out(void)
{
    start();
    make_dir("d");
    add("d");
    forget();
    char out[600];
    snprintf(out, sizeof out, "%s/out", base);
    OK(rename(full("d"), out));
    EQ_I(was_told("d"), 1);
    EQ_U(watch_count(watch), 1);
    forget();
    char inside[sizeof out + 2];
    snprintf(inside, sizeof inside, "%s/a", out);
    int fd = open(inside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    watch_drain(watch);
    EQ_U(ntold, 0);
}

static void test_overflow_means_everywhere(void)
{
    start();
    edit("a", "x");
    edit("b", "x");
    forget();
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    long max = 16384;
    CHECK(f && fscanf(f, "%ld", &max) == 1);
    fclose(f);
    for (long i = 0; i < max / 2 + 10; i++) {      /* two files by turns: equal events in a row would be one */
        OK(chmod(full("a"), 0600));
        OK(chmod(full("b"), 0600));
    }
    watch_drain(watch);
    CHECK(everywhere);
    forget();
    edit("a", "y");
    EQ_I(was_told("a"), 1);
    CHECK(!everywhere);
}

/* Changes in a directory whose walk has not reported yet. */
static void test_unbound_means_everywhere(void)
{
    start();
    make_dir("d");
    forget();
    int wd = watch_add(watch, "d", 1);
    t_must(wd);
    edit("d/a", "x");
    watch_drain(watch);
    CHECK(everywhere);
    watch_bind(watch, wd, "d", 1);
    forget();
    edit("d/b", "x");
    EQ_I(was_told("d/b"), 1);
    CHECK(!everywhere);
}

static void test_what_cannot_be_watched(void)
{
    start();
    edit("file", "x");
    make_dir("d");
    OK(symlink("d", full("l")));
    EQ_I(watch_add(watch, "nothing", 7), ERR_NOTFOUND);
    EQ_I(watch_add(watch, "file", 4), ERR_NOTFOUND);
    EQ_I(watch_add(watch, "l", 1), ERR_NOTFOUND);
    EQ_U(watch_count(watch), 1);
}

static void test_own_corner_is_not_told(void)
{
    start();
    forget();
    edit(".lanyard/x", "x");
    OK(chmod(full(".lanyard"), 0755));
    watch_drain(watch);
    EQ_U(ntold, 0);
}

int main(void)
{
    t_node_init();
    RUN(test_files);
    RUN(test_by_the_loop);
    RUN(test_by_the_loop_again);
    RUN(test_directories);
    RUN(test_moved_directory_reports_under_its_new_name);
    RUN(test_moved_out);
    RUN(test_overflow_means_everywhere);
    RUN(test_unbound_means_everywhere);
    RUN(test_what_cannot_be_watched);
    RUN(test_own_corner_is_not_told);
    end();
    return t_done();
}

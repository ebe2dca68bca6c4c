/* Every system call on the durability path fails once, in every way that it can fail (t_fault.h), in the middle of: a batch put into the
 * folder, the same from the wants of a node, keeping a version, writing a file of the home, copying a content. After each the user's
 * contents are all there under names that are told, nothing half is where somebody could take it for whole, and doing it again does it.
 * (What the results of a batch must say after a failure, and what a dead disk leaves, is in test_sys.c; the control log in
 * test_control.c; the making of a home in test_home.c.) */
#include "node/file.h"
#include "store/content.h"
#include "store/publish.h"
#include "tests/unit/t_batch.h"
#include "tests/unit/t_fault.h"
#include "tests/unit/t_pull.h"

static const char *step;             /* for messages: what failed how */
static char step_text[80];
static const char *where(void)
{
    snprintf(step_text, sizeof step_text, "%s: call %d, %s: %s", step, fault.at, fault.name ? fault.name : "none", strerror(fault.error));
    return step_text;
}
#define MUST(cond) do { if (!(cond)) T_FAIL("%s: not true: %s (%s)", where(), #cond, err_text()); } while (0)

/* ---- a batch ---- */

static int is_leftover(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "t-new") != 0 && strcmp(name, "t-b") != 0;
}

static void reopen(void)
{
    sys = &without_sync;
    folder_close(&folder);
    OK(folder_open(root, &group, &folder));
}

static bool batch_fails(int error, int at)
{
    struct change c[NCHANGES];
    step = "batch";
    begin();
    put_theirs();
    size_t n = make_batch(c, 1);
    fault_arm(error, at);
    int code = folder_apply(folder, c, n);
    bool hit = fault.hit;
    reopen();
    MUST(hit || code == 0);
    for (int i = 0; i < THEIRS; i++)
        if (!somewhere(theirs[i]))
            T_FAIL("%s: \"%s\" is gone", where(), theirs[i]);
    for (size_t i = 0; i < n; i++)               /* no success is pretended, and what is in kept/ is told */
        MUST(code < 0 || c[i].code < 0 || c[i].op != CHANGE_FILE || strncmp(get(c[i].path), "new", 3) == 0);
    n = make_batch(c, 2);
    OK(folder_apply(folder, c, n));
    for (size_t i = 0; i < n; i++)
        if (c[i].code < 0)
            T_FAIL("%s: again: %s: %s", where(), c[i].path, c[i].text);
    EQ_U(make_batch(c, 3), 0);
    MUST(folder_tmp_list(folder, is_leftover, NULL) == 0);
    for (int i = 0; i < THEIRS; i++)
        MUST(somewhere(theirs[i]));
    return hit;
}
static void test_batch(void) { fault_everywhere(batch_fails, 60); }

/* ---- keeping a version that lost ---- */

static bool adopt_fails(int error, int at)
{
    step = "adopt";
    begin();
    temp("t-1", "a loser");
    fault_arm(error, at);
    int code = folder_kept_adopt(folder, "t-1", "k-1");
    bool hit = fault.hit;
    reopen();
    MUST(hit || code == 0);
    const char *left = get(".lanyard/tmp/t-1"), *there = kept("k-1");
    if (hit && strcmp(fault.name, "fsync") == 0 && !*there)
        EQ_S(left, "");                          /* another flush would say nothing of what this one could not write */
    else
        MUST(strcmp(left, "a loser") == 0 || strcmp(there, "a loser") == 0);
    MUST(code < 0 || strcmp(kept("k-1"), "a loser") == 0);
    temp("t-1", "a loser");
    MUST(folder_kept_adopt(folder, "t-1", "k-2") == 0);
    EQ_S(kept("k-2"), "a loser");
    return hit;
}
static void test_adopt(void) { fault_everywhere(adopt_fails, 4); }

/* ---- files of the home ---- */

static char *in_base(const char *name) { return file_in(base, name); }
static bool file_has(const char *path, const char *text)
{
    AUTO(buf_release) struct buf b = BUF_INIT(100);
    return file_read(path, false, &b, NULL) == 0 && b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
}

static bool create_fails(int error, int at)
{
    step = "file_create";
    begin();
    AUTOFREE char *path = in_base("file"), *tmp = in_base("file.new");
    fault_arm(error, at);
    int code = file_create(path, "whole", 5, 0600);
    bool hit = fault.hit;
    sys = &without_sync;
    MUST(code == 0 ? file_has(path, "whole") : hit);
    MUST(access(path, F_OK) < 0 || file_has(path, "whole"));
    code = file_create(path, "whole", 5, 0600);
    MUST(code == 0 || code == ERR_EXISTS);
    MUST(file_has(path, "whole"));
    MUST(access(tmp, F_OK) < 0);
    return hit;
}
static void test_create(void) { fault_everywhere(create_fails, 8); }

static bool replace_fails(int error, int at)
{
    step = "file_replace";
    begin();
    AUTOFREE char *path = in_base("file"), *tmp = in_base("file.new");
    OK(file_replace(path, "before", 6, 0600));
    fault_arm(error, at);
    int code = file_replace(path, "after", 5, 0600);
    bool hit = fault.hit;
    sys = &without_sync;
    MUST(code == 0 ? file_has(path, "after") : hit && (file_has(path, "before") || file_has(path, "after")));
    MUST(file_replace(path, "after", 5, 0600) == 0);
    MUST(file_has(path, "after"));
    MUST(access(tmp, F_OK) < 0);
    return hit;
}
static void test_replace(void) { fault_everywhere(replace_fails, 6); }

static bool read_fails(int error, int at)
{
    step = "file_read";
    begin();
    AUTOFREE char *path = in_base("file");
    AUTO(buf_release) struct buf b = BUF_INIT(100);
    OK(file_replace(path, "whole", 5, 0600));
    fault_arm(error, at);
    int code = file_read(path, false, &b, NULL);
    bool hit = fault.hit;
    sys = &without_sync;
    MUST(code == 0 ? b.len == 5 : hit && code != ERR_NOTFOUND);
    return hit;
}
static void test_read(void) { fault_everywhere(read_fails, 3); }

/* ---- a content, read and copied ---- */

enum { BIG = 300000 };
static struct gear gear;

static int open_for(const char *path, int flags)
{
    int fd = open(full(path), flags | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    return fd;
}
static bool copy_fails(int error, int at)
{
    step = "content_copy";
    begin();
    put_big("big", BIG, 1);
    OK(truncate(full("big"), 4 * BIG));          /* a hole at its end */
    int from = open_for("big", O_RDONLY), to = open_for(".lanyard/tmp/t-1", O_RDWR | O_CREAT);
    struct content_list c, got;
    fault_arm(error, at);
    int code = content_read(from, 4 * BIG, &gear, -1, NULL, &c);
    bool read_hit = fault.hit;
    sys = &without_sync;
    if (code < 0) {
        MUST(read_hit);
        OK(content_read(from, 4 * BIG, &gear, -1, NULL, &c));
    }
    int before = fault.calls;
    sys = &fault_sys;
    code = read_hit ? 0 : content_copy(from, to, &c);
    bool hit = fault.hit;
    sys = &without_sync;
    MUST(code == 0 || (hit && fault.calls > before));
    if (code < 0 || read_hit)
        MUST(content_copy(from, to, &c) == 0);
    MUST(content_read(to, 4 * BIG, &gear, -1, NULL, &got) == 0 && id_eq(&got.root, &c.root));
    content_list_release(&c);
    content_list_release(&got);
    close(from);
    close(to);
    return hit;
}
static void test_copy(void)
{
    chunk_gear(&gear, (const uint8_t *)"a key for nothing but these tests");
    fault_everywhere(copy_fails, 10);
}

/* ---- a node's batch: wants of every kind, through node/pull ---- */

static void node_start(void)
{
    scan_start();
    pull_start();
    settle();
}

/* What this device has, and then what the far one has made of it. */
static void node_prepare(void)
{
    both_begin();
    put("b", "old b");
    put("r", "old r");
    put("e", "old e");
    put("f", "old f");
    put_big("big", BIG, 1);
    node_start();
    wait_settled("b", "r");
    wait_settled("e", "f");
    to_far();
    put("loses", "here");
    scan_again();
    pull_end();
    far_save("b", "new b");
    far_delete("r");
    far_copy("loses", "big");
    far_copy("m", "big");
    far_copy("copy", "big");
    far_delete("big");
    far_save("f", "new f");
    far_link("l", "target");
    far_dir("x", 0750);
    far_save("x/y/z", "deep");
    entries_from(far.e, 1, w.e);
}

struct kept_text { const char *text; bool found; };
static int kept_has(void *arg, const struct ix_kept *k)
{
    struct kept_text *t = arg;
    t->found |= strcmp(kept(k->name), t->text) == 0;
    return 0;
}
static bool kept_as_listed(const char *text)
{
    struct kept_text t = { .text = text };
    OK(index_kept_each(w.ix, kept_has, &t));
    return t.found;
}
static int is_big(void *arg, const struct ix_kept *k)
{
    struct stat st;
    char path[300];
    snprintf(path, sizeof path, ".lanyard/kept/%s", k->name);
    *(unsigned *)arg += k->size == BIG && stat(full(path), &st) == 0 && st.st_size == BIG;
    return 0;
}
static unsigned kept_big(void)
{
    unsigned n = 0;
    OK(index_kept_each(w.ix, is_big, &n));
    return n;
}
static bool done_or_told(void *arg)
{
    return nothing_wanted(arg) || (fault.hit && (far.failed[0] || w.failures));
}
static int any(void *arg, const char *name)
{
    (void)arg, (void)name;
    return 1;
}
static bool done_and_tidy(void *arg) { return nothing_wanted(arg) && folder_tmp_list(folder, any, NULL) == 0; }

static bool node_fails(int error, int at)
{
    static const char *const live[][2] = { { "b", "new b" }, { "r", "" }, { "f", "new f" }, { "e", "old e" }, { "l", "<target>" },
                                           { "x/y/z", "deep" }, { "big", "" } };
    static const char *const old[] = { "old b", "old r", "old f" };
    step = "node";
    node_prepare();
    fault_arm(error, at);
    scan_start();
    int code = pull_try();                       /* it does not begin with what it cannot clean up */
    MUST(code == 0 || fault.hit);
    if (code == 0)
        UNTIL(w.loop, done_or_told, NULL);
    pull_end();                                  /* as if it were killed here; and it begins again */
    bool hit = fault.hit;
    sys = &without_sync;
    node_start();
    if (!t_within(w.loop, T_DEADLINE_MS, done_and_tidy, NULL))
        T_FAIL("%s: it does not end: %s %s", where(), far.failed, w.failed);
    for (size_t i = 0; i < sizeof live / sizeof *live; i++)
        if (strcmp(get(live[i][0]), live[i][1]) != 0)
            T_FAIL("%s: %s is \"%s\"", where(), live[i][0], get(live[i][0]));
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        if (!kept_as_listed(old[i]))
            T_FAIL("%s: \"%s\" is in no kept file on record", where(), old[i]);
    MUST(mode_of("x") == 0750);
    MUST(look("m").size == BIG && look("copy").size == BIG);
    EQ_U(conflicts(), 1);
    MUST(strcmp(get("loses"), "here") == 0);
    MUST(kept_big() >= 1);
    return hit;
}
static void test_node(void)
{
    int at = 1;
    while (node_fails(0, at))                    /* 0: one error after the other */
        CHECK(++at < 5000);
    CHECK(at > 100);
}

int main(void)
{
    t_node_init();
    RUN(test_batch);
    RUN(test_adopt);
    RUN(test_create);
    RUN(test_replace);
    RUN(test_read);
    RUN(test_copy);
    RUN(test_node);
    both_end();
    return t_done();
}

#include <sodium.h>
#include <sys/resource.h>

#include "proto/limits.h"
#include "tests/unit/folder_fixture.h"

struct seen { char text[1 << 16]; size_t n, troubles; const char *skip; int fail_at; };
static int on_entry(void *arg, const char *path, size_t len, const struct stamp *st)
{
    struct seen *s = arg;
    if (path[len] != '\0')
        return ERR_BAD;
    s->n++;
    if (s->fail_at && (int)s->n == s->fail_at)
        return ERR_CLOSED;
    size_t at = strlen(s->text);
    snprintf(s->text + at, sizeof s->text - at, "%s%s;", path, st->kind == STAMP_DIR ? "/" : st->kind == STAMP_FILE ? "" :
             st->kind == STAMP_SYMLINK ? "@" : "?");
    return s->skip && strcmp(path, s->skip) == 0 ? WALK_SKIP : WALK_DESCEND;
}
static void on_trouble(void *arg, const char *path, size_t len)
{
    struct seen *s = arg;
    s->troubles++;
    size_t at = strlen(s->text);
    snprintf(s->text + at, sizeof s->text - at, "!%.*s;", (int)len, path);
}
static struct seen seen;
static int walk(const char *dir, const char *skip)
{
    memset(&seen, 0, sizeof seen);
    seen.skip = skip;
    return folder_walk(folder, dir, strlen(dir), &(struct walk_ops){ on_entry, on_trouble, &seen });
}
static void saw(const char *item)
{
    const char *p = strstr(seen.text, item);
    if (!p || (p > seen.text && p[-1] != ';'))
        T_FAIL("\"%s\" not among %s", item, seen.text);
}

static void test_walk(void)
{
    begin();
    char longest[257] = "";
    memset(longest, 'n', 255);
    make_dir("a");
    make_dir("a/b");
    make_dir("a/.lanyard");
    put("a/b/c", "x");
    put("a/.lanyard/x", "x");
    put("new\nline", "x");
    put("\xff\xfe", "x");
    put(longest, "x");
    make_dir("skipped");
    put("skipped/x", "x");
    OK(symlink("a", full("link")));
    OK(mkfifo(full("fifo"), 0600));
    OK(walk("", "skipped"));
    EQ_U(seen.n, 11);
    EQ_U(seen.troubles, 0);
    saw("a/;"), saw("a/b/;"), saw("a/b/c;"), saw("a/.lanyard/;"), saw("a/.lanyard/x;"), saw("new\nline;"), saw("\xff\xfe;");
    saw("skipped/;"), saw("link@;"), saw("fifo?;");
    longest[255] = ';';
    saw(longest);
    OK(walk("a", NULL));
    EQ_U(seen.n, 4);
    OK(walk("a/b", NULL));
    EQ_S(seen.text, "a/b/c;");
    FAILS(walk("nothing", NULL), ERR_IO, "nothing");
    FAILS(walk("new\nline", NULL), ERR_IO, "directory");
    EQ_I(walk("..", NULL), ERR_BAD);
    memset(&seen, 0, sizeof seen);
    seen.fail_at = 3;
    EQ_I(folder_walk(folder, "", 0, &(struct walk_ops){ on_entry, on_trouble, &seen }), ERR_CLOSED);
    EQ_U(seen.n, 3);
}

static int locked_openat2(int d, const char *p, uint64_t f, uint64_t m, uint64_t r)
{
    if (strcmp(p, "a/locked") == 0) {
        errno = EACCES;
        return -1;
    }
    return sys_kernel.openat2(d, p, f, m, r);
}
static int bad_statx(int d, const char *p, int f, unsigned m, struct statx *st)
{
    if (strcmp(p, "broken") == 0) {
        errno = EIO;
        return -1;
    }
    if (strcmp(p, "vanished") == 0) {
        errno = ENOENT;
        return -1;
    }
    return statx(d, p, f, m, st);
}

static void test_walk_trouble(void)
{
    begin();
    make_dir("a");
    make_dir("a/locked");
    put("a/locked/x", "x");
    put("a/broken", "x");
    put("a/vanished", "x");
    put("a/z", "x");
    make_dir(".LANYARD");   /* refused by path_check: a folder that ignores case would take it for ours */
    put("b", "x");
    hook();
    table.openat2 = locked_openat2;
    table.statx = bad_statx;
    OK(walk("", NULL));
    EQ_U(seen.troubles, 3);
    EQ_U(seen.n, 4);
    saw("!a/locked;"), saw("a/locked/;"), saw("!a/broken;"), saw("a/z;"), saw("!.LANYARD;"), saw("b;");
}

static void test_walk_deep(void)
{
    begin();
    char path[2 * LIMIT_PATH_DEPTH];
    int at = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 520; i++) {   /* deeper than LIMIT_PATH_DEPTH */
        OK(mkdirat(at, "d", 0755));
        int next = openat(at, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
    }
    close(at);
    struct rlimit old, few = { 24, 24 };
    OK(getrlimit(RLIMIT_NOFILE, &old));
    few.rlim_max = old.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &few));
    static struct seen deep;
    memset(&deep, 0, sizeof deep);
    int code = folder_walk(folder, "", 0, &(struct walk_ops){ on_entry, on_trouble, &deep });
    OK(setrlimit(RLIMIT_NOFILE, &old));
    OK(code);
    EQ_U(deep.n, LIMIT_PATH_DEPTH);
    EQ_U(deep.troubles, 1);
    for (size_t i = 0; i < sizeof path; i++)
        path[i] = i % 2 ? '/' : 'd';
    path[sizeof path - 1] = '\0';
    EQ_I(look(path).kind, STAMP_DIR);
}

static void locked(void)
{
    begin();
    make_dir("d");
    make_dir("d/new");
    put("d/new/f", "x");
    OK(chmod(full("d/new"), 0));
    OK(walk("", NULL));
    EQ_U(seen.troubles, 1);
    saw("!d/new;");
    struct stamp st;
    FAILS(folder_stat(folder, "d/new/f", 7, &st), ERR_IO, "Permission denied");
}
static void test_walk_locked_directory(void)
{
    as_user(locked);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_walk);
    RUN(test_walk_trouble);
    RUN(test_walk_deep);
    RUN(test_walk_locked_directory);
    finish_all();
    return t_done();
}

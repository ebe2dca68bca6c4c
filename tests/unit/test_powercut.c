/* The power goes: what has been flushed is there, and of what has been done since, any part. The calls of a batch are recorded; for every
 * one of them the disk is made as it may be if that was the last: everything up to the last flush, then each later rename, link,
 * directory or removal or not (a file system may write them in any order; what then cannot be done has not been), and files that were
 * never flushed whole, torn, empty or full of zeros. Then the folder is opened again: nothing of the user's is lost, nothing torn has a
 * user's name, and doing it all again does it. */
#include "store/folder_priv.h"
#include "tests/unit/t_batch.h"

enum { MAX_OPS = 200, SUBSETS = 12, NAME_ROOM = 200 };
static uint64_t seed;

/* ---- what was done ---- */

enum op_kind { OP_RENAME, OP_UNLINK, OP_MKDIR, OP_SYMLINK, OP_FLUSH, OP_FLUSH_FILE };
static struct op { enum op_kind kind; char a[NAME_ROOM], b[NAME_ROOM]; unsigned flags; } op[MAX_OPS];
static int nops;

/* The path in the folder of a name in an open directory, or of an open file. */
static void path_in(char out[static NAME_ROOM], int dir, const char *name)
{
    char link[40], text[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, text, sizeof text - 1);
    CHECK(n >= (ssize_t)strlen(root));
    text[n] = '\0';
    const char *beneath = text + strlen(root);
    beneath += *beneath == '/';
    CHECK(snprintf(out, NAME_ROOM, "%s%s%s", beneath, *beneath && *name ? "/" : "", name) < NAME_ROOM);
}
static struct op *record(enum op_kind kind)
{
    CHECK(nops < MAX_OPS);
    op[nops] = (struct op){ .kind = kind };
    return &op[nops++];
}
static int rec_renameat2(int a, const char *p, int b, const char *q, unsigned flags)
{
    struct op o = { .kind = OP_RENAME, .flags = flags };
    path_in(o.a, a, p);
    path_in(o.b, b, q);
    int r = renameat2(a, p, b, q, flags);
    if (r == 0)
        *record(OP_RENAME) = o;
    return r;
}
static int rec_unlinkat(int d, const char *p, int flags)
{
    struct op o = { .kind = OP_UNLINK, .flags = (unsigned)flags };
    path_in(o.a, d, p);
    int r = unlinkat(d, p, flags);
    if (r == 0)
        *record(OP_UNLINK) = o;
    return r;
}
static int rec_mkdirat(int d, const char *p, mode_t mode)
{
    int r = mkdirat(d, p, mode);
    if (r == 0)
        path_in(record(OP_MKDIR)->a, d, p);
    return r;
}
static int rec_symlinkat(const char *target, int d, const char *p)
{
    int r = symlinkat(target, d, p);
    if (r == 0) {
        struct op *o = record(OP_SYMLINK);
        path_in(o->a, d, p);
        snprintf(o->b, NAME_ROOM, "%s", target);
    }
    return r;
}
static int rec_syncfs(int fd)
{
    (void)fd;
    record(OP_FLUSH);
    return 0;
}
/* Of a directory it makes durable what was done to its entries; a file system may write more, but need not. */
static int rec_fsync(int fd)
{
    path_in(record(OP_FLUSH_FILE)->a, fd, "");
    return 0;
}
static void record_all(void)
{
    hook();
    nops = 0;
    table.renameat2 = rec_renameat2;
    table.unlinkat = rec_unlinkat;
    table.mkdirat = rec_mkdirat;
    table.symlinkat = rec_symlinkat;
    table.syncfs = rec_syncfs;
    table.fsync = rec_fsync;
}

/* ---- the disk as it may be ---- */

static void replay(const struct op *o)
{
    switch (o->kind) {
    case OP_RENAME:
        (void)!renameat2(AT_FDCWD, full(o->a), AT_FDCWD, full(o->b), o->flags);
        break;
    case OP_UNLINK:
        (void)!unlinkat(AT_FDCWD, full(o->a), (int)o->flags);
        break;
    case OP_MKDIR:
        (void)!mkdir(full(o->a), 0755);
        break;
    case OP_SYMLINK:
        (void)!symlink(o->b, full(o->a));
        break;
    case OP_FLUSH:
    case OP_FLUSH_FILE:
        break;
    }
}

/* What was written and not flushed. */
static void tear(const char *tmp)
{
    char path[NAME_ROOM];
    snprintf(path, sizeof path, ".lanyard/tmp/%s", tmp);
    off_t size = (off_t)strlen(get(path));
    switch (t_rand(&seed) % 4) {
    case 0:
        OK(truncate(full(path), 0));
        break;
    case 1:
        OK(truncate(full(path), 0));
        OK(truncate(full(path), size));
        break;
    case 2:
        OK(truncate(full(path), size / 2));
        break;
    }
}

static bool is_in(const char *dir, const char *path)
{
    size_t n = strlen(dir);
    if (n == 0)
        return *path && !strchr(path, '/');
    return strncmp(dir, path, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

/* Whether op i is on disk for certain when the power goes before op `cut`. */
static bool is_flushed(int i, int cut)
{
    for (int k = i + 1; k < cut; k++) {
        if (op[k].kind == OP_FLUSH || (op[k].kind == OP_FLUSH_FILE && is_in(op[k].a, op[i].b)))
            return true;
    }
    return false;
}
static bool data_is_flushed(const char *tmp, int cut)
{
    char path[NAME_ROOM];
    snprintf(path, sizeof path, ".lanyard/tmp/%s", tmp);
    for (int k = 0; k < cut; k++)
        if (op[k].kind == OP_FLUSH || (op[k].kind == OP_FLUSH_FILE && strcmp(op[k].a, path) == 0))
            return true;
    return false;
}

static const char *const temps[] = { "t-new", "t-b", "t-1" };

/* On a folder that is as it was before the first op. */
static void power_goes(int cut)
{
    for (size_t i = 0; i < sizeof temps / sizeof *temps; i++) {
        char path[NAME_ROOM];
        snprintf(path, sizeof path, ".lanyard/tmp/%s", temps[i]);
        if (*get(path) && !data_is_flushed(temps[i], cut))
            tear(temps[i]);
    }
    for (int i = 0; i < cut; i++)
        if (is_flushed(i, cut) || t_rand(&seed) % 2)
            replay(&op[i]);
    folder_close(&folder);
    OK(folder_open(root, &group, &folder));
}

/* ---- a batch ---- */

static const struct { const char *path, *before, *after; } user[] = {
    { "d/new", "", "new a" }, { "b", "old b", "new b" }, { "c", "old c", "<target>" }, { "r", "old r", "" }, { "m", "old m", "" },
    { "d/m", "", "old m" }, { "e", "old e", "" }, { "f", "old f", "old e" }, { "g", "old g", "/" }, { "x", "", "/" },
};
enum { USER = sizeof user / sizeof *user };

static void before_batch(struct change *c, size_t *n)
{
    begin();
    put_theirs();
    *n = make_batch(c, 1);
}

static void check_batch(int cut, int round)
{
    for (int i = 0; i < THEIRS; i++)
        if (!somewhere(theirs[i]))
            T_FAIL("cut at %d of %d, round %d: \"%s\" is lost", cut, nops, round, theirs[i]);
    for (int i = 0; i < USER; i++) {
        const char *now = get(user[i].path);
        bool there = access(full(user[i].path), F_OK) == 0;   /* "" may be a torn file, too */
        if ((there || *now) && (!*now || (strcmp(now, user[i].before) != 0 && strcmp(now, user[i].after) != 0)))
            T_FAIL("cut at %d of %d, round %d: %s is \"%s\"", cut, nops, round, user[i].path, now);
        if (cut > nops && strcmp(now, user[i].after) != 0)
            T_FAIL("after the last flush, round %d: %s is \"%s\"", round, user[i].path, now);
    }
}

static void test_batch(void)
{
    struct change c[NCHANGES];
    size_t n;
    before_batch(c, &n);
    record_all();
    OK(folder_apply(folder, c, n));
    int recorded = nops;
    CHECK(recorded > 10 && op[recorded - 1].kind == OP_FLUSH);
    for (int cut = 0; cut <= recorded + 1; cut++)
        for (int round = 0; round < SUBSETS; round++) {
            before_batch(c, &n);
            power_goes(cut < recorded ? cut : recorded);
            check_batch(cut, round);
            n = make_batch(c, 2 + round);
            OK(folder_apply(folder, c, n));
            for (size_t i = 0; i < n; i++)
                if (c[i].code < 0)
                    T_FAIL("cut at %d, round %d: again: %s: %s", cut, round, c[i].path, c[i].text);
            check_batch(cut, round);
        }
}

/* ---- few changes, which are flushed by themselves ---- */

static const struct { const char *path, *before, *after; } few[] = {
    { "p/b", "old b", "new b" }, { "q/r", "old r", "" }, { "m/m", "old m", "" }, { "s/f", "old f", "old m" }, { "n/new", "", "new a" },
};
enum { FEW = sizeof few / sizeof *few };

static size_t make_few(struct change *c, int try)
{
    static char name[3][20];
    size_t n = 0;
    for (int i = 0; i < 3; i++)
        snprintf(name[i], sizeof name[i], "k-%d-%d", i, try);
    temp("t-new", "new a");
    temp("t-b", "new b");
    if (strcmp(get("p/b"), "new b") != 0)
        c[n++] = change(CHANGE_FILE, "p/b", "t-b", name[0]);
    if (*get("q/r"))
        c[n++] = change(CHANGE_REMOVE, "q/r", NULL, name[1]);
    if (*get("m/m"))
        c[n++] = change_move("m/m", "s/f", name[2]);
    if (strcmp(get("n/new"), "new a") != 0)
        c[n++] = change(CHANGE_FILE, "n/new", "t-new", NULL);
    return n;
}

static size_t before_few(struct change *c)
{
    begin();
    folder->flushes_dirs = true;
    for (int i = 0; i < FEW; i++) {
        make_dir((char[]){ few[i].path[0], '\0' });
        if (*few[i].before)
            put(few[i].path, few[i].before);
    }
    return make_few(c, 1);
}

static void check_few(int cut, int round)
{
    for (int i = 0; i < FEW; i++) {
        struct listed l = { .text = few[i].before };
        CHECK(!*few[i].before || strcmp(get(few[i].path), few[i].before) == 0 || strcmp(get("s/f"), few[i].before) == 0 ||
              folder_kept_list(folder, has_text, &l) > 0);
        const char *now = get(few[i].path);
        bool there = access(full(few[i].path), F_OK) == 0;
        if ((there || *now) && (!*now || (strcmp(now, few[i].before) != 0 && strcmp(now, few[i].after) != 0)))
            T_FAIL("cut at %d of %d, round %d: %s is \"%s\"", cut, nops, round, few[i].path, now);
        if (cut > nops && strcmp(now, few[i].after) != 0)
            T_FAIL("after the last flush, round %d: %s is \"%s\"", round, few[i].path, now);
    }
}

static bool file_is_flushed(const char *path)
{
    for (int i = 0; i < nops; i++)
        if (op[i].kind == OP_FLUSH_FILE && strcmp(op[i].a, path) == 0)
            return true;
    return false;
}

/* What was displaced, removed or moved is the user's, and perhaps he has just written it. Of a rename both directories are flushed. */
static void test_few(void)
{
    static const char *const users[] = { ".lanyard/kept/k-0-1", ".lanyard/kept/k-1-1", ".lanyard/kept/k-2-1", "s/f", "m", "s",
                                         ".lanyard/tmp", ".lanyard/kept" };
    struct change c[FEW];
    size_t n = before_few(c);
    record_all();
    OK(folder_apply(folder, c, n));
    int recorded = nops;
    for (int i = 0; i < recorded; i++)
        CHECK(op[i].kind != OP_FLUSH);
    for (size_t i = 0; i < sizeof users / sizeof *users; i++)
        if (!file_is_flushed(users[i]))
            T_FAIL("%s is not flushed", users[i]);
    for (int cut = 0; cut <= recorded + 1; cut++)
        for (int round = 0; round < SUBSETS; round++) {
            before_few(c);
            power_goes(cut < recorded ? cut : recorded);
            check_few(cut, round);
            n = make_few(c, 2 + round);
            OK(folder_apply(folder, c, n));
            for (size_t i = 0; i < n; i++)
                if (c[i].code < 0)
                    T_FAIL("cut at %d, round %d: again: %s: %s", cut, round, c[i].path, c[i].text);
            check_few(cut, round);
        }
}

/* ---- keeping a version that lost ---- */

static void test_adopt(void)
{
    begin();
    temp("t-1", "a loser of some length");
    record_all();
    OK(folder_kept_adopt(folder, "t-1", "k-1"));
    int recorded = nops;
    for (int cut = 0; cut <= recorded; cut++)
        for (int round = 0; round < SUBSETS; round++) {
            begin();
            temp("t-1", "a loser of some length");
            power_goes(cut);
            const char *now = kept("k-1");
            if (*now || cut == recorded)
                EQ_S(now, "a loser of some length");
        }
}

int main(void)
{
    RUN(test_batch);
    RUN(test_few);
    RUN(test_adopt);
    finish_all();
    return t_done();
}

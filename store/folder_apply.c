/* Applying a batch of changes:
 *   prepare   temp files get mode and time, links are made in tmp/     (nothing of the user's is touched)
 *   note      which paths the files had that will be displaced         (folder_paths.c)
 *   flush                                                              (folder_flush.c: syncfs, or fsync of what a few changes touch)
 *   run       each change in order, by renames                         (folder_place.c)
 *   modes     of directories, deepest first, since a directory without write permission takes no files
 *   flush
 * The parent directory stays open from one change to the next: most neighbours in a batch are neighbours in the tree. */
#include "store/folder_priv.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINK_NAME 24              /* "link-" and 16 hex digits */

/* An open parent directory. We may have given its owner (us) write permission, which is taken back when it is let go. */
struct parent {
    int fd;                       /* -1: none */
    struct zpath path;
    size_t len;
    bool folds;                   /* what answers to a name in it may have another one */
    int restore;                  /* mode, or -1 */
};

/* Of a change: the name of its link in tmp/, or ""; whether it can be flushed by itself. */
struct item { char link[LINK_NAME]; bool single; };

struct batch {
    const struct folder *f;
    struct change *c;
    size_t n;
    struct item *item;
    struct parent to, from;
    bool made;                    /* directories that were missing */
};

static void finish(struct change *c, int code)
{
    c->code = code;
    if (code < 0)
        snprintf(c->text, sizeof c->text, "%s", err_text());
}

/* ---- parents ---- */

/* When we own a directory and have no write permission in it, gives it to us. Returns the mode to restore, or -1. */
static int make_writable(int dir)
{
    struct stamp st;
    if (faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) == 0 || errno != EACCES || folder_look(dir, "", &st) < 0)
        return -1;
    return sys->fchmod(dir, st.mode | 0700) == 0 ? (int)st.mode : -1;
}

static void restore_mode(int dir, int mode)
{
    if (mode >= 0)
        (void)sys->fchmod(dir, (mode_t)mode);
}

static void parent_drop(struct parent *p)
{
    if (p->fd >= 0)
        restore_mode(p->fd, p->restore);
    folder_close_fd(&p->fd);
    p->restore = -1;
}

/* Opens the directory `path`, making it and its parents where they are missing: descriptor, or -1 and errno. */
static int open_making(const struct folder *f, const struct zpath *path)
{
    struct zpath prefix = *path;
    int dir = folder_beneath(f->root, ".", O_PATH | O_DIRECTORY, 0);
    for (char *name = prefix.s; dir >= 0;) {
        char *slash = strchr(name, '/');
        if (slash)
            *slash = '\0';
        int next = folder_beneath(f->root, prefix.s, O_PATH | O_DIRECTORY, 0);
        if (next < 0 && errno == ENOENT) {
            int mode = make_writable(dir);
            int made = sys->mkdirat(dir, name, 0755);
            int e = errno;
            restore_mode(dir, mode);
            errno = e;
            if (made == 0 || errno == EEXIST)
                next = folder_beneath(f->root, prefix.s, O_PATH | O_DIRECTORY, 0);
        }
        folder_close_fd(&dir);
        if (!slash)
            return next;
        dir = next;
        *slash = '/';
        name = slash + 1;
    }
    return -1;
}

/* A file or directory of that name would be in the place of another one that this file system takes for the same. */
static int name_taken(const char *path)
{
    return err_set(ERR_DENIED, "%s: this file system takes its name for that of another file that is there: rename one of them",
                   path_show(path, strlen(path)));
}

/* The parent of a checked path, from the cache or opened anew. ERR_CHANGED when it is missing (and not to be made) or no directory. */
static int parent_open(struct batch *b, struct parent *p, const char *path, size_t len, bool make)
{
    const struct folder *f = b->f;
    size_t n = path_parent(path, len);
    if (p->fd >= 0 && p->len == n && memcmp(p->path.s, path, n) == 0)
        return 0;
    parent_drop(p);
    memcpy(p->path.s, path, n);
    p->path.s[n] = '\0';
    p->len = n;
    p->fd = folder_beneath(f->root, n ? p->path.s : ".", O_PATH | O_DIRECTORY, 0);
    if (p->fd < 0 && errno == ENOENT && make) {
        b->made = true;
        p->fd = open_making(f, &p->path);
    }
    if (p->fd < 0) {
        bool link = errno == ELOOP;      /* it has become one: nothing of the folder is beneath it */
        int code = folder_error(f, p->path.s, "opening the directory");
        return code == ERR_NOTFOUND || link ? ERR_CHANGED : code;
    }
    p->folds = folder_folds(f, p->fd);
    if (n && p->folds && !folder_exact(f->root, p->path.s)) {
        parent_drop(p);
        return make ? name_taken(p->path.s) : err_set(ERR_CHANGED, "its directory is gone");
    }
    p->restore = make_writable(p->fd);
    return 0;
}

static struct spot spot_in(const struct parent *p, const struct zpath *path)
{
    return (struct spot){ p->fd, p->len ? path->s + p->len + 1 : path->s };
}

/* ---- prepare ---- */

static int prepare_link(const struct folder *f, struct change *c, struct item *it)
{
    struct zpath target;
    if (c->target.len < 1 || c->target.len > LIMIT_PATH || memchr(c->target.p, '\0', c->target.len))
        return err_set(ERR_BAD, "a link's target has 1 to %u bytes, none of them NUL", LIMIT_PATH);
    memcpy(target.s, c->target.p, c->target.len);
    target.s[c->target.len] = '\0';
    uint8_t random[8];
    char hex[17], name[LINK_NAME];
    randombytes_buf(random, sizeof random);
    hex_encode(hex, random, sizeof random);
    snprintf(name, sizeof name, "link-%s", hex);
    if (sys->symlinkat(target.s, f->tmp, name) < 0)
        return folder_error(f, PATH_OWN "/tmp", "making a link");
    memcpy(it->link, name, sizeof name);
    return 0;
}

/* mode and time of what will be put in place; *was is its stamp before, and c->now then. */
static int prepare_temp(const struct folder *f, struct change *c, const char *name, struct stamp *was)
{
    const struct spot tmp = { f->tmp, name };
    if (folder_look(f->tmp, name, was) < 0 || was->kind == STAMP_ABSENT)
        return err_set(ERR_IO, PATH_OWN "/tmp/%s: %m", name);
    c->now = *was;
    if (was->kind == STAMP_FILE && was->mode == (c->mode & 0777) && was->mtime_ns == c->mtime_ns)
        return 0;
    int code = folder_set_meta(&tmp, was, c->mode, c->mtime_ns, &c->now);
    return code < 0 ? err_prefix(code == ERR_FULL ? ERR_FULL : ERR_IO, PATH_OWN "/tmp/%s", name) : 0;
}

static int prepare(const struct folder *f, struct change *c, struct item *it)
{
    struct stamp tmp = {0};
    int code = path_check(c->path, c->len);
    if (code == 0 && c->op == CHANGE_MOVE)
        code = path_check(c->from, c->fromlen);
    if (code == 0 && c->kept)
        code = folder_name_check(c->kept);
    if (code == 0 && c->op == CHANGE_FILE)
        code = folder_name_check(c->tmp);
    if (code == 0 && c->op == CHANGE_FILE)
        code = prepare_temp(f, c, c->tmp, &tmp);
    if (code == 0 && c->op == CHANGE_SYMLINK) {
        code = prepare_link(f, c, it);
        if (code == 0)
            code = prepare_temp(f, c, it->link, &tmp);
    }
    it->single = folder_single(c, &tmp);
    return code;
}

/* ---- run ---- */

/* c->now = what is in place now. If that is not what we have put there, the user has already changed it: then c->now stays what we
 * had put there, so that the next look at the file sees a difference. */
static void read_back(struct change *c, const struct spot *at)
{
    struct stamp now;
    if (folder_look(at->dir, at->name, &now) == 0 && stamp_same_file(&now, &c->now))
        c->now = now;
}

static int run_place(struct batch *b, struct change *c, const char *tmp, const struct spot *at)
{
    const struct spot src = { b->f->tmp, tmp };
    const struct stamp is = c->now;
    int code = folder_place(b->f, c, &src, &is, at);
    if (code == 0)
        read_back(c, at);
    return code;
}

static int run_move(struct batch *b, struct change *c, const struct spot *at)
{
    assert(c->from_expected.kind == STAMP_FILE);
    int code = parent_open(b, &b->from, c->from, c->fromlen, false);
    if (code < 0)
        return code;
    struct zpath from;
    code = folder_zpath(&from, c->from, c->fromlen);
    const struct spot src = spot_in(&b->from, &from);
    if (code == 0)
        code = folder_expect(&src, &c->from_expected);
    if (code == 0)
        code = folder_no_log(&src, &src);
    if (code == 0)
        code = folder_place(b->f, c, &src, &c->from_expected, at);
    if (code < 0)
        return code;
    c->now = c->from_expected;
    code = folder_set_meta(at, &c->from_expected, c->mode, c->mtime_ns, &c->now);
    return code == ERR_CHANGED ? 0 : code;   /* as in read_back */
}

static int run_dir(struct batch *b, struct change *c, const struct spot *at)
{
    if (folder_look(at->dir, at->name, &c->now) < 0)
        return err_set(ERR_IO, "looking at it: %m");
    bool want_none = c->expected.kind == STAMP_ABSENT;
    bool displace = c->expected.kind == STAMP_FILE || c->expected.kind == STAMP_SYMLINK;
    if (c->now.kind == STAMP_DIR && (want_none || stamp_same(&c->now, &c->expected)))
        return 0;
    if (!displace && !(want_none && c->now.kind == STAMP_ABSENT))
        return err_set(ERR_CHANGED, "something else is in its place: it is left alone");
    int code = displace ? folder_take_away(b->f, c, at) : 0;
    if (code < 0)
        return code;
    if (sys->mkdirat(at->dir, at->name, (c->mode & 0777) | 0700) < 0 || folder_look(at->dir, at->name, &c->now) < 0) {
        code = err_set(errno == EEXIST || errno == ENOENT ? ERR_CHANGED : errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO,
                       "making the directory: %m");
        if (c->was_kept)
            c->was_kept = sys->renameat2(b->f->kept, c->kept, at->dir, at->name, RENAME_NOREPLACE) < 0;
    }
    return code;
}

static int run_remove(struct batch *b, struct change *c, const struct spot *at)
{
    int code;
    if (c->expected.kind == STAMP_FILE || c->expected.kind == STAMP_SYMLINK) {
        code = folder_take_away(b->f, c, at);
    } else {
        code = folder_expect(at, &c->expected);
        if (code == 0 && c->expected.kind == STAMP_SPECIAL)
            code = err_set(ERR_EXISTS, "a fifo, socket or device: it stays");
        if (code == 0 && c->expected.kind == STAMP_DIR)
            code = folder_remove_dir(at);
    }
    return code;
}

static int run_meta(struct change *c, const struct spot *at)
{
    int code = folder_expect(at, &c->expected);
    if (code < 0)
        return code;
    if (c->expected.kind == STAMP_ABSENT || c->expected.kind == STAMP_SPECIAL)
        return err_set(ERR_CHANGED, "there is no file, directory or link");
    c->now = c->expected;
    return c->expected.kind == STAMP_DIR ? 0 : folder_set_meta(at, &c->expected, c->mode, c->mtime_ns, &c->now);
}

static int run(struct batch *b, struct change *c, struct item *it)
{
    struct zpath path;
    int code = folder_zpath(&path, c->path, c->len);
    if (code < 0)
        return code;
    if (c->op != CHANGE_MOVE)
        parent_drop(&b->from);   /* it could be the very directory that this change is about */
    bool makes = c->op != CHANGE_REMOVE && c->op != CHANGE_META;
    code = parent_open(b, &b->to, c->path, c->len, makes);
    if (code == ERR_CHANGED && c->op == CHANGE_REMOVE && c->expected.kind == STAMP_ABSENT)
        return 0;   /* not even its directory is there */
    if (code < 0)
        return code;
    const struct spot at = spot_in(&b->to, &path);
    if (b->to.folds && !folder_exact(at.dir, at.name)) {
        if (makes)
            return name_taken(path.s);
        return c->op == CHANGE_REMOVE && c->expected.kind == STAMP_ABSENT ? 0 : err_set(ERR_CHANGED, "it is gone: another has its name");
    }
    switch (c->op) {
    case CHANGE_FILE:    return run_place(b, c, c->tmp, &at);
    case CHANGE_SYMLINK: return run_place(b, c, it->link, &at);
    case CHANGE_DIR:     return run_dir(b, c, &at);
    case CHANGE_REMOVE:  return run_remove(b, c, &at);
    case CHANGE_MOVE:    return run_move(b, c, &at);
    case CHANGE_META:    return run_meta(c, &at);
    }
    abort();
}

static void run_all(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct change *c = &b->c[i];
        if (c->code == 0)
            finish(c, run(b, c, &b->item[i]));
    }
    parent_drop(&b->to);
    parent_drop(&b->from);
}

/* ---- modes of directories ---- */

static int longest_first(const void *a, const void *b)
{
    const struct change *x = *(struct change *const *)a, *y = *(struct change *const *)b;
    return x->len < y->len ? 1 : x->len > y->len ? -1 : 0;
}

static void set_dir_modes(struct batch *b)
{
    AUTOFREE struct change **dir = xcalloc(b->n, sizeof *dir);
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct change *c = &b->c[i];
        bool is_dir = c->op == CHANGE_DIR || (c->op == CHANGE_META && c->expected.kind == STAMP_DIR);
        if (is_dir && c->code == 0)
            dir[n++] = c;
    }
    qsort(dir, n, sizeof *dir, longest_first);
    for (size_t i = 0; i < n; i++) {
        struct change *c = dir[i];
        const struct stamp is = c->now;
        struct zpath path;
        int code = folder_zpath(&path, c->path, c->len);
        if (code == 0)
            code = folder_set_meta(&(struct spot){ b->f->root, path.s }, &is, c->mode, 0, &c->now);
        finish(c, code);
    }
}

/* ---- the batch ---- */

static void batch_release(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->item[i].link[0] && b->c[i].code < 0)
            (void)sys->unlinkat(b->f->tmp, b->item[i].link, 0);
    free(b->item);
}

static bool are_few(const struct batch *b)
{
    bool few = b->f->flushes_dirs && b->n <= FOLDER_FEW;
    for (size_t i = 0; few && i < b->n; i++)
        few = b->item[i].single || b->c[i].code < 0;
    return few;
}

static int apply(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct change *c = &b->c[i];
        c->was_kept = false;
        c->now = (struct stamp){ .kind = STAMP_ABSENT };
        c->text[0] = '\0';
        finish(c, prepare(b->f, c, &b->item[i]));
    }
    bool few = are_few(b);
    folder_note_paths(b->f, b->c, b->n, few);
    int code = few ? folder_flush_temps(b->f, b->c, b->n) : folder_sync(b->f);
    if (code < 0) {
        for (size_t i = 0; i < b->n; i++)
            finish(&b->c[i], code);
        return code;
    }
    run_all(b);
    set_dir_modes(b);
    return few && !b->made ? folder_flush_placed(b->f, b->c, b->n) : folder_sync(b->f);
}

int folder_apply(const struct folder *f, struct change *c, size_t n)
{
    if (n == 0)
        return 0;
    struct batch b = { .f = f, .c = c, .n = n, .item = xcalloc(n, sizeof *b.item),
                       .to = { .fd = -1, .restore = -1 }, .from = { .fd = -1, .restore = -1 } };
    int code = apply(&b);
    batch_release(&b);
    return code;
}

/* ---- modes of files ---- */

int folder_flush(const struct folder *f)
{
    AUTOCLOSE int fd = folder_beneath(f->root, ".", O_RDONLY | O_DIRECTORY, 0);
    return fd >= 0 && sys->syncfs(fd) == 0 ? 0 : err_set(ERR_IO, "%s: syncfs: %m", f->path);
}

int folder_set_mode(const struct folder *f, const char *path, size_t len, const struct stamp *is, uint32_t mode, struct stamp *now)
{
    struct zpath z;
    int code = folder_zpath(&z, path, len);
    if (code < 0)
        return code;
    AUTOCLOSE int fd = folder_beneath(f->root, z.s, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0 || folder_look(fd, "", now) < 0)
        return folder_error(f, z.s, "looking at it");
    if (is->kind != STAMP_FILE || !stamp_same(now, is))
        return err_set(ERR_CHANGED, "%s: it is another file now", path_show(path, len));
    if (sys->fchmod(fd, mode & 0777) < 0 || folder_look(fd, "", now) < 0)
        return folder_error(f, z.s, "setting its mode");
    struct stamp meant = *is;
    meant.mode = mode & 0777;
    return stamp_same_file(now, &meant) ? 0 : err_set(ERR_CHANGED, "%s: it was written to meanwhile", path_show(path, len));
}

/* The two flushes of a batch. syncfs does for any batch, but it also waits for all that others are writing to the file system: for a second
 * while somebody copies a large file. So the few small changes of a save or a rename are flushed by themselves: the files and directories
 * that they touch, each with fsync.
 *
 * What that leaves out, and syncfs does not: an error of the disk that nobody was told of before the kernel forgot the file. A file that we
 * have written is flushed in this way only if that was a moment ago.
 * Whatever cannot be opened for it (no right to read it, somebody has removed it) makes it syncfs after all. */
#include "store/folder_priv.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FRESH_NS 5000000000ll
#define SMALL_BYTES (4u << 20)

/* ---- one of them ---- */

static int flush_error(const struct folder *f, const char *what)
{
    return err_set(ERR_IO, "folder %s: %s: %m", f->path, what);
}

/* 1: it cannot be opened. */
static int flush_path(const struct folder *f, int dir, const char *path, uint64_t flags)
{
    AUTOCLOSE int fd = folder_beneath(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | flags, 0);
    if (fd < 0)
        return 1;
    return sys->fsync(fd) == 0 ? 0 : flush_error(f, "fsync");
}

static int flush_user(const struct folder *f, const char *path, size_t len)
{
    struct zpath z;
    return folder_zpath(&z, path, len) < 0 ? 1 : flush_path(f, f->root, z.s, 0);
}

/* The directory of a user's path. */
static int flush_parent(const struct folder *f, const char *path, size_t len)
{
    struct zpath z;
    if (folder_zpath(&z, path, len) < 0)
        return 1;
    z.s[path_parent(path, len)] = '\0';
    return flush_path(f, f->root, z.s[0] ? z.s : ".", O_DIRECTORY);
}

/* ---- which ---- */

static bool is_fresh(const struct stamp *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = now.tv_sec * 1000000000ll + now.tv_nsec - st->ctime_ns;
    return age > -FRESH_NS && age < FRESH_NS;
}

bool folder_single(const struct change *c, const struct stamp *tmp)
{
    switch (c->op) {
    case CHANGE_FILE:
        return tmp->size <= SMALL_BYTES && is_fresh(tmp);
    case CHANGE_MOVE:
    case CHANGE_REMOVE:
        return true;
    case CHANGE_META:
        return c->expected.kind == STAMP_FILE;
    case CHANGE_SYMLINK:
    case CHANGE_DIR:
        return false;
    }
    return false;
}

/* ---- the flushes ---- */

int folder_sync(const struct folder *f) { return sys->syncfs(f->root) == 0 ? 0 : flush_error(f, "syncfs"); }

int folder_flush_temps(const struct folder *f, const struct change *c, size_t n)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (c[i].op == CHANGE_FILE && c[i].code == 0)
            r = flush_path(f, f->tmp, c[i].tmp, 0);
    return r > 0 ? folder_sync(f) : r;
}

/* What was displaced is the user's, and perhaps was written a moment ago; so is what was moved. */
static int flush_files(const struct folder *f, const struct change *c)
{
    int r = c->was_kept && c->expected.kind == STAMP_FILE ? flush_path(f, f->kept, c->kept, 0) : 0;
    if (r == 0 && c->code == 0 && (c->op == CHANGE_MOVE || c->op == CHANGE_META))
        r = flush_user(f, c->path, c->len);
    return r;
}

static int flush_parents(const struct folder *f, const struct change *c)
{
    int r = flush_parent(f, c->path, c->len);
    return r == 0 && c->op == CHANGE_MOVE ? flush_parent(f, c->from, c->fromlen) : r;
}

/* What comes goes from tmp/ to its place, or through kept/ if it displaces something. */
static int flush_own(const struct folder *f, const struct change *c, size_t n)
{
    bool temps = false, kept = false;
    for (size_t i = 0; i < n; i++) {
        temps |= c[i].op == CHANGE_FILE;
        kept |= c[i].expected.kind == STAMP_FILE || c[i].expected.kind == STAMP_SYMLINK;
    }
    bool done = (!temps || sys->fsync(f->tmp) == 0) && (!kept || sys->fsync(f->kept) == 0);
    return done ? 0 : flush_error(f, "fsync");
}

int folder_flush_placed(const struct folder *f, const struct change *c, size_t n)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = flush_files(f, &c[i]);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = flush_parents(f, &c[i]);
    if (r == 0)
        r = flush_own(f, c, n);
    return r > 0 ? folder_sync(f) : r;
}

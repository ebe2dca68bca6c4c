/* The renames of one change. What makes them safe is written at each: nothing of the user's is overwritten or unlinked, and every
 * step that moves something of theirs looks afterwards at what it has moved. */
#include "store/database.h"
#include "store/folder_priv.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* errno as the code of a change. What is missing has been taken away by somebody: look again. */
static int change_error(const char *doing)
{
    enum err code = errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? ERR_CHANGED
                  : errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_FULL : ERR_IO;
    const char *hint = errno == EXDEV ? ": another file system is mounted in the folder"
                     : errno == EINVAL ? ": this file system cannot rename without overwriting, use a local one" : "";
    return err_set(code, "%s: %m%s", doing, hint);
}

static int something_else(void)
{
    return err_set(ERR_CHANGED, "it is not what it was when this change was decided: it is left alone");
}

static bool rename_to(const struct spot *from, const struct spot *to, unsigned flags)
{
    return sys->renameat2(from->dir, from->name, to->dir, to->name, flags) == 0;
}

int folder_expect(const struct spot *at, const struct stamp *expected)
{
    struct stamp now;
    if (folder_look(at->dir, at->name, &now) < 0)
        return change_error("looking at it");
    return stamp_same(&now, expected) ? 0 : something_else();
}

/* Is what has just been renamed to `at` the file that was meant? */
static int arrived(const struct spot *at, const struct stamp *meant)
{
    struct stamp now;
    if (folder_look(at->dir, at->name, &now) < 0)
        return change_error("looking at what was moved");
    return stamp_same_file(&now, meant) ? 0 : something_else();
}

/* To be looked into. *fd is -1 where that cannot be: it is not there, a link, or there is no right to read it. All else may be different in a
 * moment, and is an error: there may be no descriptors left. */
static int open_to_look(const struct spot *at, int *fd)
{
    *fd = folder_beneath(at->dir, at->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    bool never = errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EACCES || errno == EPERM || errno == ENXIO;
    return *fd >= 0 || never ? 0 : change_error("opening it");
}

/* Whoever has a file open for writing would go on writing to it in kept/, where nobody sees it. 1, or 0: nobody, or it cannot be told of a
 * file that cannot be read, on a file system without leases. */
static int is_written(const struct spot *at)
{
    AUTOCLOSE int fd = -1;
    int code = open_to_look(at, &fd);
    return code < 0 ? code : fd >= 0 && folder_lease(fd) == EAGAIN;
}

static int nobody_writes(const struct spot *at)
{
    int is = is_written(at);
    return is == 1 ? err_set(ERR_CHANGED, "somebody has it open for writing: it is left alone") : is;
}

/* 1, 0 */
static int is_database(const struct spot *at)
{
    AUTOCLOSE int fd = -1;
    int code = open_to_look(at, &fd);
    return code < 0 ? code : fd >= 0 && database_is(fd);
}

/* What comes to lie beside a database under such a name SQLite would take for a part of it; and what lies there is one. */
static int no_part(const struct spot *at)
{
    char base[NAME_MAX + 1];
    size_t n = database_base(at->name, strlen(at->name));
    if (n == 0 || n >= sizeof base)
        return 0;
    memcpy(base, at->name, n);
    base[n] = '\0';
    int is = is_database(&(struct spot){ at->dir, base });
    return is == 1 ? err_set(ERR_CHANGED, "it is a part of the database beside it: it is left alone") : is;
}

int folder_no_log(const struct spot *file, const struct spot *at)
{
    int is = database_log_beside(at->dir, at->name) ? is_database(file) : 0;
    return is == 1 ? err_set(ERR_CHANGED, "the log of a database lies beside it: it is left alone") : is;
}

static int copy_bytes(int to, int from)
{
    uint8_t chunk[16384];
    if (sys->clone(to, from) == 0)
        return 0;
    for (off_t at = 0;;) {
        ssize_t n = sys->pread(from, chunk, sizeof chunk, at);
        if (n <= 0)
            return (int)n;
        if (sys->pwrite(to, chunk, (size_t)n, at) != n)
            return -1;
        at += n;
    }
}

/* A copy of a kept file, in tmp/ under the same name, durable. */
static int copy_kept(const struct folder *f, const struct spot *kept, const struct stamp *meant)
{
    const struct spot copy = { f->tmp, kept->name };
    struct stamp is;
    int fd = -1;
    int code = folder_tmp_create(f, kept->name, meant->size, &fd);
    AUTOCLOSE int to = fd, from = folder_beneath(kept->dir, kept->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (code < 0)
        return code;
    if (from < 0 || copy_bytes(to, from) < 0 || folder_look(to, "", &is) < 0)
        return change_error("copying it for kept/");
    code = folder_set_meta(&copy, &is, meant->mode, meant->mtime_ns, &is);
    return code == 0 && sys->fsync(to) < 0 ? change_error("copying it for kept/") : code;
}

/* A file that has another name still can be written to through that one. What is kept is a file of its own then. */
static int unshare(const struct folder *f, const struct spot *kept, const struct stamp *meant)
{
    const struct spot copy = { f->tmp, kept->name };
    struct statx st;
    if (sys->statx(kept->dir, kept->name, AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_NLINK, &st) < 0)
        return change_error("looking at what was moved");
    if (!S_ISREG(st.stx_mode) || st.stx_nlink < 2)
        return 0;
    int code = copy_kept(f, kept, meant);
    if (code == 0)
        code = arrived(kept, meant);     /* written to while it was copied? */
    if (code == 0 && !rename_to(&copy, kept, 0))
        code = change_error("moving its copy to kept/");
    if (code < 0)
        (void)sys->unlinkat(f->tmp, kept->name, 0);
    return code;
}

/* Before a file of the user's is moved to kept/, and again when it is there: then whoever opens the path opens another file. */
static int before_displacing(const struct change *c, const struct spot *at)
{
    int code = folder_expect(at, &c->expected);
    if (code == 0)
        code = nobody_writes(at);
    if (code == 0 && !c->whole)
        code = no_part(at);
    return code < 0 || c->whole ? code : folder_no_log(at, at);
}

static int after_displacing(const struct folder *f, const struct change *c, const struct spot *kept, const struct spot *at)
{
    int code = arrived(kept, &c->expected);
    if (code == 0)
        code = nobody_writes(kept);
    if (code == 0 && !c->whole)
        code = folder_no_log(kept, at);
    return code < 0 ? code : unshare(f, kept, &c->expected);
}

struct timespec folder_time(int64_t mtime_ns)
{
    const int64_t second = 1000000000;
    int64_t s = mtime_ns / second, ns = mtime_ns % second;
    return ns < 0 ? (struct timespec){ s - 1, (long)(ns + second) } : (struct timespec){ s, (long)ns };
}

int folder_set_meta(const struct spot *at, const struct stamp *is, uint32_t mode, int64_t mtime_ns, struct stamp *now)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, folder_time(mtime_ns) };
    struct stamp st;
    AUTOCLOSE int fd = folder_beneath(at->dir, at->name, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0 || folder_look(fd, "", &st) < 0)
        return change_error("looking at it");
    if (!stamp_same_file(&st, is))
        return something_else();
    if (st.kind != STAMP_SYMLINK && st.mode != (mode & 0777) && sys->fchmod(fd, mode & 0777) < 0)
        return change_error("setting its mode");
    if (st.kind != STAMP_DIR && st.mtime_ns != mtime_ns && sys->utimensat(fd, NULL, times, 0) < 0)
        return change_error("setting its time");
    if (folder_look(fd, "", &st) < 0)
        return change_error("looking at it again");
    *now = st;
    return 0;
}

int folder_remove_dir(const struct spot *at)
{
    if (sys->unlinkat(at->dir, at->name, AT_REMOVEDIR) == 0)
        return 0;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return err_set(ERR_EXISTS, "the directory is not empty: it stays");
    return change_error("removing the directory");
}

static struct spot kept_spot(const struct folder *f, const struct change *c)
{
    assert(c->kept);
    return (struct spot){ f->kept, c->kept };
}

static int into_kept(const struct spot *from, const struct spot *kept)
{
    if (rename_to(from, kept, RENAME_NOREPLACE))
        return 0;
    if (errno == EEXIST)
        return err_set(ERR_EXISTS, "kept/%s is there already", kept->name);
    return change_error("moving it to kept/");
}

/* Out of kept/ again, to where it came from, after a failure whose text stays. If somebody has put another file there, or the disk
 * fails, it remains in kept/ and was_kept says so. */
static void out_of_kept(struct change *c, const struct spot *kept, const struct spot *to)
{
    c->was_kept = !rename_to(kept, to, RENAME_NOREPLACE);
}

int folder_take_away(const struct folder *f, struct change *c, const struct spot *at)
{
    const struct spot kept = kept_spot(f, c);
    int code = before_displacing(c, at);
    if (code == 0)
        code = into_kept(at, &kept);
    if (code < 0)
        return code;
    code = after_displacing(f, c, &kept, at);
    if (code < 0)
        out_of_kept(c, &kept, at);
    else
        c->was_kept = true;
    return code;
}

/* To a place where nothing is. */
static int place_new(const struct folder *f, const struct spot *src, const struct stamp *is, const struct spot *at)
{
    if (!rename_to(src, at, RENAME_NOREPLACE))
        return errno == EEXIST ? something_else() : change_error("moving it into place");
    if (src->dir == f->tmp)
        return 0;
    int code = arrived(at, is);   /* the user's file: edited since we looked? */
    if (code < 0)
        (void)rename_to(at, src, RENAME_NOREPLACE);   /* if not, it stays under its new name */
    return code;
}

/* Takes back an exchange that displaced another file than expected, or one that is being written. What the second exchange displaces
 * should be ours, untouched; if not, the user was there between the two, and that file stays in kept/. */
static void undo_exchange(struct change *c, const struct spot *kept, const struct spot *src, const struct stamp *is, const struct spot *at)
{
    struct stamp back;
    if (!rename_to(kept, at, RENAME_EXCHANGE))
        out_of_kept(c, kept, at);   /* ours was removed by somebody: then there is room for the displaced one */
    else if (folder_look(kept->dir, kept->name, &back) == 0 && stamp_same_file(&back, is) && is_written(kept) == 0)
        out_of_kept(c, kept, src);
    else
        c->was_kept = true;
}

/* For file systems without RENAME_EXCHANGE: in two steps, with a moment in which neither file is there. */
static int replace_in_steps(const struct folder *f, struct change *c, const struct spot *src, const struct stamp *is, const struct spot *at)
{
    const struct spot kept = kept_spot(f, c);
    int code = folder_take_away(f, c, at);
    if (code < 0)
        return code;
    code = place_new(f, src, is, at);
    if (code < 0)
        out_of_kept(c, &kept, at);
    return code;
}

/* The new file goes to kept/ first and is exchanged from there, so that the displaced file is in kept/ from the very moment it is
 * no longer in its place: a crash at any point leaves nothing of the user's anywhere else. */
static int replace(const struct folder *f, struct change *c, const struct spot *src, const struct stamp *is, const struct spot *at)
{
    const struct spot kept = kept_spot(f, c);
    int code = before_displacing(c, at);
    if (code == 0)
        code = into_kept(src, &kept);
    if (code < 0)
        return code;
    code = arrived(&kept, is);
    if (code == 0 && !rename_to(&kept, at, RENAME_EXCHANGE)) {
        bool unable = errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
        code = change_error("exchanging it with the file that is there");
        out_of_kept(c, &kept, src);
        return unable && !c->was_kept ? replace_in_steps(f, c, src, is, at) : code;
    }
    if (code < 0) {
        out_of_kept(c, &kept, src);
        return code;
    }
    code = after_displacing(f, c, &kept, at);
    if (code < 0)
        undo_exchange(c, &kept, src, is, at);
    else
        c->was_kept = true;
    return code;
}

int folder_place(const struct folder *f, struct change *c, const struct spot *src, const struct stamp *is, const struct spot *at)
{
    int code = c->whole ? 0 : no_part(at);
    if (code == 0 && !c->whole && !c->plain)
        code = folder_no_log(src, at);
    if (code < 0)
        return code;
    switch (c->expected.kind) {
    case STAMP_FILE:
    case STAMP_SYMLINK:
        return replace(f, c, src, is, at);
    case STAMP_DIR:
        code = folder_expect(at, &c->expected);
        if (code == 0)
            code = folder_remove_dir(at);
        return code < 0 ? code : place_new(f, src, is, at);
    case STAMP_ABSENT:
        return place_new(f, src, is, at);
    case STAMP_SPECIAL:
        break;
    }
    return err_set(ERR_EXISTS, "a fifo, socket or device is in its place: it stays");
}

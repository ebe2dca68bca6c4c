/* The node's own corner: temp files and kept versions, under plain names. */
#include "store/folder_priv.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAME_MOST 100
#define RESERVE_FROM (1u << 20)   /* below that a write finds out soon enough that the disk is full */

int folder_name_check(const char *name)
{
    size_t len = strlen(name);
    if (len < 1 || len > NAME_MOST || name[0] == '.' || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != len)
        return err_set(ERR_BAD, "\"%s\": not a plain name", name);
    return 0;
}

static int own_error(const char *where, const char *name)
{
    enum err code = errno == ENOENT ? ERR_NOTFOUND : errno == EEXIST ? ERR_EXISTS
                  : errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_FULL : ERR_IO;
    return err_set(code, PATH_OWN "/%s/%s: %m", where, name);
}

static int own_open(int dir, const char *where, const char *name, uint64_t flags, int *fd)
{
    *fd = -1;
    int code = folder_name_check(name);
    if (code < 0)
        return code;
    *fd = folder_beneath(dir, name, flags | O_NOFOLLOW | O_NONBLOCK, flags & O_CREAT ? 0600 : 0);
    return *fd < 0 ? own_error(where, name) : 0;
}

static int own_remove(int dir, const char *where, const char *name)
{
    int code = folder_name_check(name);
    if (code < 0)
        return code;
    return sys->unlinkat(dir, name, 0) < 0 && errno != ENOENT ? own_error(where, name) : 0;
}

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int own_list(int dir, const char *where, int (*each)(void *arg, const char *name), void *arg)
{
    int fd = folder_beneath(dir, ".", O_RDONLY | O_DIRECTORY, 0);
    AUTO(close_dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        folder_close_fd(&fd);
        return own_error(where, "");
    }
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e)
            return errno ? own_error(where, "") : 0;
        int r = folder_name_check(e->d_name) == 0 ? each(arg, e->d_name) : 0;
        if (r != 0)
            return r;
    }
}

/* ---- tmp/ ---- */

/* Reserves space, where the file system can. */
static int reserve(int fd, uint64_t size)
{
    if (size < RESERVE_FROM || sys->fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) == 0)
        return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ? 0 : -1;
}

int folder_tmp_create(const struct folder *f, const char *name, uint64_t size, int *fd)
{
    const uint64_t flags = O_RDWR | O_CREAT | O_EXCL;
    int code = own_open(f->tmp, "tmp", name, flags, fd);
    if (code == ERR_EXISTS) {   /* a new inode, so that nobody else can have it open */
        code = own_remove(f->tmp, "tmp", name);
        if (code == 0)
            code = own_open(f->tmp, "tmp", name, flags, fd);
    }
    if (code == 0 && reserve(*fd, size) < 0) {
        code = own_error("tmp", name);
        folder_close_fd(fd);
        (void)sys->unlinkat(f->tmp, name, 0);
    }
    return code;
}

void folder_tmp_dress(int fd, uint32_t mode, int64_t mtime_ns)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, folder_time(mtime_ns) };
    if (mode != 0600)
        (void)sys->fchmod(fd, mode & 0777);
    (void)sys->utimensat(fd, NULL, times, 0);
}

int folder_tmp_open(const struct folder *f, const char *name, int *fd)
{
    return own_open(f->tmp, "tmp", name, O_RDWR, fd);
}

int folder_tmp_remove(const struct folder *f, const char *name)
{
    return own_remove(f->tmp, "tmp", name);
}

int folder_tmp_list(const struct folder *f, int (*each)(void *arg, const char *name), void *arg)
{
    return own_list(f->tmp, "tmp", each, arg);
}

/* ---- kept/ ---- */

/* The target of a link, to be read like any content. */
static int open_target(const struct folder *f, const char *name, int *fd)
{
    char target[LIMIT_SYMLINK + 1];
    ssize_t n = readlinkat(f->kept, name, target, sizeof target);
    if (n < 0 || (size_t)n == sizeof target)
        return n < 0 ? own_error("kept", name) : err_set(ERR_IO, PATH_OWN "/kept/%s: a link to a name that is too long", name);
    *fd = memfd_create("kept", MFD_CLOEXEC);
    if (*fd >= 0 && pwrite(*fd, target, (size_t)n, 0) == n)
        return 0;
    folder_close_fd(fd);
    return own_error("kept", name);
}

int folder_kept_open(const struct folder *f, const char *name, int *fd)
{
    struct stamp is;
    int code = own_open(f->kept, "kept", name, O_RDONLY, fd);
    return code == ERR_IO && folder_look(f->kept, name, &is) == 0 && is.kind == STAMP_SYMLINK ? open_target(f, name, fd) : code;
}

int folder_kept_remove(const struct folder *f, const char *name)
{
    return own_remove(f->kept, "kept", name);
}

int folder_kept_adopt(const struct folder *f, const char *tmp, const char *kept)
{
    int code = folder_name_check(kept);
    if (code < 0)
        return code;
    AUTOCLOSE int fd = -1;
    code = own_open(f->tmp, "tmp", tmp, O_RDONLY, &fd);
    if (code < 0)
        return code;
    if (sys->fsync(fd) < 0) {
        code = own_error("tmp", tmp);
        (void)sys->unlinkat(f->tmp, tmp, 0);
        return code;
    }
    if (sys->renameat2(f->tmp, tmp, f->kept, kept, RENAME_NOREPLACE) < 0 || sys->fsync(f->kept) < 0)
        return own_error("kept", kept);
    return 0;
}

int folder_kept_list(const struct folder *f, int (*each)(void *arg, const char *name), void *arg)
{
    return own_list(f->kept, "kept", each, arg);
}

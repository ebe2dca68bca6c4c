#include "store/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* glibc 2.36 has no wrapper for it. */
static int kernel_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = { .flags = flags, .mode = mode, .resolve = resolve };
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

static int kernel_clone(int out_fd, int fd)
{
    return ioctl(out_fd, FICLONE, fd);
}

/* A descriptor of a file that we own but may not read can only be an O_PATH one, and that has no fchmod of its own before
 * Linux 6.6 (fchmodat2). */
static int kernel_fchmod(int fd, mode_t mode)
{
    char link[32];
    int r = fchmod(fd, mode);
    if (r == 0 || errno != EBADF)
        return r;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return chmod(link, mode);
}

/* glibc's utimensat refuses the NULL path that the system call takes; an O_PATH descriptor wants the empty path instead. */
static int kernel_utimensat(int dirfd, const char *path, const struct timespec ts[2], int flags)
{
    return path ? utimensat(dirfd, path, ts, flags) : utimensat(dirfd, "", ts, flags | AT_EMPTY_PATH);
}

const struct sys sys_kernel = {
    .openat2 = kernel_openat2,
    .close = close,
    .pread = pread,
    .pwrite = pwrite,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .clone = kernel_clone,
    .fsync = fsync,
    .syncfs = syncfs,
    .renameat2 = renameat2,
    .unlinkat = unlinkat,
    .mkdirat = mkdirat,
    .symlinkat = symlinkat,
    .fchmod = kernel_fchmod,
    .utimensat = kernel_utimensat,
    .statx = statx,
};
const struct sys *sys = &sys_kernel;

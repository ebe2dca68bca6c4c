/* sys: the system calls on the durability path, in one replaceable table, so that tests can make the n-th one fail or record
 * their order. Production code calls sys->pwrite(...) and nothing behind its back. Results and errno are those of the kernel.
 * Two additions, both harmless: fchmod also takes an O_PATH descriptor, and utimensat a NULL path for the descriptor itself. */
#ifndef STORE_SYS_H
#define STORE_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct sys {
    int     (*openat2)(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
    int     (*close)(int fd);
    ssize_t (*pread)(int fd, void *p, size_t n, off_t off);
    ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t off);
    int     (*ftruncate)(int fd, off_t len);
    int     (*fallocate)(int fd, int mode, off_t off, off_t len);
    int     (*clone)(int out_fd, int fd);          /* ioctl FICLONE */
    int     (*fsync)(int fd);
    int     (*syncfs)(int fd);
    int     (*renameat2)(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
    int     (*unlinkat)(int dirfd, const char *path, int flags);
    int     (*mkdirat)(int dirfd, const char *path, mode_t mode);
    int     (*symlinkat)(const char *target, int dirfd, const char *path);
    int     (*fchmod)(int fd, mode_t mode);
    int     (*utimensat)(int dirfd, const char *path, const struct timespec ts[2], int flags);
    int     (*statx)(int dirfd, const char *path, int flags, unsigned mask, struct statx *st);
};
extern const struct sys *sys;             /* starts as sys_kernel; only tests change it, before any thread runs */
extern const struct sys sys_kernel;

#endif

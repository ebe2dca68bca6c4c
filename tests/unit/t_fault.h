/* t_fault: makes the n-th system call of store/sys.h fail, once, in whatever thread it is made. A call that fails does nothing, but for
 * close, which closes all the same, as the kernel does. A scenario is run for n = 1, 2, ... until it meets no failure any more. */
#ifndef TESTS_UNIT_T_FAULT_H
#define TESTS_UNIT_T_FAULT_H

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "store/sys.h"
#include "tests/unit/t.h"

static struct {
    _Atomic int calls, hit;           /* calls that can fail so, up to now; whether it has come */
    int at;
    _Atomic int error;
    const char *volatile name;        /* of the call that failed */
} fault;

static const int fault_errors[] = { EIO, ENOSPC, EDQUOT, EMFILE, EINTR };
enum { FAULT_ERRORS = sizeof fault_errors / sizeof *fault_errors };

/* Which calls the kernel lets fail so. EIO may come from all of them. */
enum { F_SPACE = 1, F_FILES = 2, F_SIGNAL = 4 };
static inline bool fault_possible(int error, unsigned can)
{
    return error == ENOSPC || error == EDQUOT ? can & F_SPACE : error == EMFILE ? can & F_FILES : error == EINTR ? can & F_SIGNAL : true;
}
static inline bool fault_now(const char *name, unsigned can)
{
    if ((fault.error && !fault_possible(fault.error, can)) || atomic_fetch_add(&fault.calls, 1) + 1 != fault.at)
        return false;
    if (!fault.error) {
        fault.error = fault_errors[fault.at % FAULT_ERRORS];
        fault.error = fault_possible(fault.error, can) ? fault.error : EIO;
    }
    fault.name = name;
    fault.hit = 1;
    errno = fault.error;
    return true;
}
#define FAULT(name, can) if (fault_now(#name, (can))) return -1
static inline int fault_openat2(int d, const char *p, uint64_t f, uint64_t m, uint64_t r)
{
    FAULT(openat2, F_FILES | F_SIGNAL | (f & O_CREAT ? F_SPACE : 0));
    return sys_kernel.openat2(d, p, f, m, r);
}
static inline int fault_close(int fd)
{
    close(fd);
    FAULT(close, F_SIGNAL | F_SPACE);
    return 0;
}
static inline ssize_t fault_pread(int fd, void *p, size_t n, off_t at) { FAULT(pread, F_SIGNAL); return pread(fd, p, n, at); }
static inline ssize_t fault_pwrite(int fd, const void *p, size_t n, off_t at) { FAULT(pwrite, F_SIGNAL | F_SPACE); return pwrite(fd, p, n, at); }
static inline int fault_ftruncate(int fd, off_t n) { FAULT(ftruncate, F_SIGNAL | F_SPACE); return ftruncate(fd, n); }
static inline int fault_fallocate(int fd, int m, off_t at, off_t n) { FAULT(fallocate, F_SIGNAL | F_SPACE); return fallocate(fd, m, at, n); }
static inline int fault_clone(int to, int from) { FAULT(clone, F_SPACE); return sys_kernel.clone(to, from); }
/* A successful flush is not done: the disk is not what is tested. */
static inline int fault_fsync(int fd) { FAULT(fsync, F_SIGNAL | F_SPACE); (void)fd; return 0; }
static inline int fault_syncfs(int fd) { FAULT(syncfs, F_SIGNAL | F_SPACE); (void)fd; return 0; }
static inline int fault_renameat2(int a, const char *p, int b, const char *q, unsigned f)
{
    FAULT(renameat2, F_SIGNAL | F_SPACE);
    return renameat2(a, p, b, q, f);
}
static inline int fault_unlinkat(int d, const char *p, int f) { FAULT(unlinkat, F_SIGNAL | F_SPACE); return unlinkat(d, p, f); }
static inline int fault_mkdirat(int d, const char *p, mode_t m) { FAULT(mkdirat, F_SIGNAL | F_SPACE); return mkdirat(d, p, m); }
static inline int fault_symlinkat(const char *t, int d, const char *p) { FAULT(symlinkat, F_SIGNAL | F_SPACE); return symlinkat(t, d, p); }
static inline int fault_fchmod(int fd, mode_t m) { FAULT(fchmod, F_SIGNAL | F_SPACE); return sys_kernel.fchmod(fd, m); }
static inline int fault_utimensat(int d, const char *p, const struct timespec ts[2], int f)
{
    FAULT(utimensat, F_SIGNAL | F_SPACE);
    return sys_kernel.utimensat(d, p, ts, f);
}
static inline int fault_statx(int d, const char *p, int f, unsigned m, struct statx *st) { FAULT(statx, F_SIGNAL); return statx(d, p, f, m, st); }

static const struct sys fault_sys = {
    .openat2 = fault_openat2, .close = fault_close, .pread = fault_pread, .pwrite = fault_pwrite, .ftruncate = fault_ftruncate,
    .fallocate = fault_fallocate, .clone = fault_clone, .fsync = fault_fsync, .syncfs = fault_syncfs, .renameat2 = fault_renameat2,
    .unlinkat = fault_unlinkat, .mkdirat = fault_mkdirat, .symlinkat = fault_symlinkat, .fchmod = fault_fchmod,
    .utimensat = fault_utimensat, .statx = fault_statx,
};
/* error 0: each call in another way, as far as it can. */
static inline void fault_arm(int error, int at)
{
    fault.error = error;
    fault.at = at;
    fault.calls = fault.hit = 0;
    sys = &fault_sys;
}

/* Runs scenario(error, at) for each error and every call; it says whether it met the failure. */
static inline void fault_everywhere(bool (*scenario)(int error, int at), int least)
{
    for (int e = 0; e < FAULT_ERRORS; e++) {
        int at = 1;
        while (scenario(fault_errors[e], at))
            CHECK(++at < 5000);
        if (fault_errors[e] == EIO)
            CHECK(at > least);
    }
}

#endif

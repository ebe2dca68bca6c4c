/* t_calls: a table of store/sys.h that tells of each call before it is made, and lets it fail. Flushes are recorded, not done: the disk is
 * not what is tested. On top of folder_fixture.h. */
#ifndef TESTS_UNIT_T_CALLS_H
#define TESTS_UNIT_T_CALLS_H

#include "tests/unit/folder_fixture.h"

static int (*calls_before)(const char *name);   /* 0, or -1 and errno: this call fails */
static bool no_exchange;                        /* as a file system without RENAME_EXCHANGE */

#define BEFORE(name) if (calls_before(#name) < 0) return -1
static inline int h_openat2(int d, const char *p, uint64_t f, uint64_t m, uint64_t r) { BEFORE(openat2); return sys_kernel.openat2(d, p, f, m, r); }
static inline int h_fsync(int fd) { BEFORE(fsync); (void)fd; return 0; }
static inline int h_syncfs(int fd) { BEFORE(syncfs); (void)fd; return 0; }
static inline int h_renameat2(int a, const char *p, int b, const char *q, unsigned f)
{
    BEFORE(renameat2);
    if (no_exchange && (f & RENAME_EXCHANGE)) {
        errno = EINVAL;
        return -1;
    }
    return renameat2(a, p, b, q, f);
}
static inline int h_unlinkat(int d, const char *p, int f) { BEFORE(unlinkat); return unlinkat(d, p, f); }
static inline int h_mkdirat(int d, const char *p, mode_t m) { BEFORE(mkdirat); return mkdirat(d, p, m); }
static inline int h_symlinkat(const char *t, int d, const char *p) { BEFORE(symlinkat); return symlinkat(t, d, p); }
static inline int h_fchmod(int fd, mode_t m) { BEFORE(fchmod); return sys_kernel.fchmod(fd, m); }
static inline int h_utimensat(int d, const char *p, const struct timespec ts[2], int f) { BEFORE(utimensat); return sys_kernel.utimensat(d, p, ts, f); }
static inline int h_statx(int d, const char *p, int f, unsigned m, struct statx *st) { BEFORE(statx); return statx(d, p, f, m, st); }

static inline void hook_calls(int (*before)(const char *name))
{
    hook();
    calls_before = before;
    table.openat2 = h_openat2;
    table.fsync = h_fsync;
    table.syncfs = h_syncfs;
    table.renameat2 = h_renameat2;
    table.unlinkat = h_unlinkat;
    table.mkdirat = h_mkdirat;
    table.symlinkat = h_symlinkat;
    table.fchmod = h_fchmod;
    table.utimensat = h_utimensat;
    table.statx = h_statx;
}

#endif

/* t_power: a disk of which the power may go. Everything that is done to files beneath `temp` (temp_dir.h) is recorded: through store/sys.h,
 * and by SQLite through a VFS. power_cut makes the directory anew as it may be if the power had gone before one of the operations: what has
 * been flushed is there (of a file its bytes, of a directory its names), and of what has been done since, any part: a name or not, a write
 * whole, in part or not at all. A file system may write all of it in any order; what then cannot be done has not been.
 * A flush may also fail, once: the kernel then takes what it could not write for written, and no later flush makes it durable. */
#ifndef TESTS_UNIT_T_POWER_H
#define TESTS_UNIT_T_POWER_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>

#include "tests/unit/temp_dir.h"

enum { P_OPS = 20000, P_FILES = 500, P_NAMES = 64, P_NAME = 120, P_SECTOR = 512 };
enum p_kind { P_LINK, P_RENAME, P_UNLINK, P_MKDIR, P_SYNC_DIR, P_WRITE, P_TRUNCATE, P_SYNC, P_SYNC_FAILED };
struct p_op { enum p_kind kind; int file; char a[P_NAME], b[P_NAME]; off_t at; uint8_t *data; size_t len; int flush; };

static struct {
    struct p_op *op; int n;
    struct { dev_t dev; ino_t ino; } file[P_FILES]; int nfile;
    bool on;
    int flushes, fail_at;             /* of files, up to now; the one that fails, once */
    uint64_t seed;
} power;

/* ---- recording ---- */

/* The path beneath temp; false when it is somewhere else. */
static inline bool p_beneath(const char *path, char out[static P_NAME])
{
    size_t n = strlen(temp);
    if (!power.on || strncmp(path, temp, n) != 0 || (path[n] != '/' && path[n]))
        return false;
    CHECK(strlen(path + n) < P_NAME);
    snprintf(out, P_NAME, "%s", path + n + (path[n] == '/'));
    return true;
}
static inline bool p_path(int dir, const char *name, char out[static P_NAME])
{
    char link[40], text[2 * PATH_MAX];
    if (*name == '/')
        return p_beneath(name, out);
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, text, PATH_MAX);
    CHECK(n > 0);
    if (*name && strcmp(name, ".") != 0)
        snprintf(text + n, PATH_MAX, "/%s", name);
    else
        text[n] = '\0';
    return p_beneath(text, out);
}
static inline struct p_op *p_record(enum p_kind kind, int file)
{
    CHECK(power.n < P_OPS);
    power.op[power.n] = (struct p_op){ .kind = kind, .file = file };
    return &power.op[power.n++];
}
/* A file that has just been made: its inode may have been another file's. */
static inline void p_made(int fd, const char *path)
{
    struct stat st;
    CHECK(power.nfile < P_FILES && fstat(fd, &st) == 0);
    power.file[power.nfile].dev = st.st_dev;
    power.file[power.nfile].ino = st.st_ino;
    snprintf(p_record(P_LINK, power.nfile++)->a, P_NAME, "%s", path);
}
/* -1: none of ours, or a directory. */
static inline int p_file(int fd)
{
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    int i = power.nfile - 1;
    while (i >= 0 && (power.file[i].ino != st.st_ino || power.file[i].dev != st.st_dev))
        i--;
    return power.on ? i : -1;
}
/* What a name stands for will be gone: its inode may become another file's. */
static inline void p_gone(int dir, const char *name)
{
    struct stat st;
    if (!power.on || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    for (int i = 0; i < power.nfile; i++)
        if (power.file[i].ino == st.st_ino && power.file[i].dev == st.st_dev)
            power.file[i].ino = 0;
}
static inline void p_wrote(int file, const void *data, size_t len, off_t at)
{
    if (file < 0)
        return;
    struct p_op *o = p_record(P_WRITE, file);
    o->data = xcalloc(len + 1, 1);
    memcpy(o->data, data, len);
    o->len = len;
    o->at = at;
}

/* False when it fails. */
static inline bool p_flush(int file)
{
    bool ok = file < 0 || ++power.flushes != power.fail_at;
    if (file >= 0)
        (void)p_record(ok ? P_SYNC : P_SYNC_FAILED, file);
    errno = EIO;
    return ok;
}

static inline int p_openat2(int d, const char *name, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    char path[P_NAME];
    bool fresh = flags & O_CREAT && p_path(d, name, path) && faccessat(d, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
    int fd = sys_kernel.openat2(d, name, flags, mode, resolve);
    if (fresh && fd >= 0)
        p_made(fd, path);
    return fd;
}
static inline ssize_t p_pwrite(int fd, const void *p, size_t len, off_t at)
{
    ssize_t n = pwrite(fd, p, len, at);
    if (n > 0)
        p_wrote(p_file(fd), p, (size_t)n, at);
    return n;
}
static inline int p_ftruncate(int fd, off_t len)
{
    int r = ftruncate(fd, len), file = p_file(fd);
    if (r == 0 && file >= 0)
        p_record(P_TRUNCATE, file)->at = len;
    return r;
}
static inline int p_fsync(int fd)
{
    char path[P_NAME];
    int file = p_file(fd);
    if (file < 0 && p_path(fd, "", path))
        snprintf(p_record(P_SYNC_DIR, -1)->a, P_NAME, "%s", path);
    return p_flush(file) ? 0 : -1;
}
static inline int p_renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    char old[P_NAME], new[P_NAME];
    bool ours = p_path(a, from, old) && p_path(b, to, new);
    p_gone(b, to);
    int r = renameat2(a, from, b, to, flags);
    if (r == 0 && ours) {
        struct p_op *o = p_record(P_RENAME, -1);
        snprintf(o->a, P_NAME, "%s", old);
        snprintf(o->b, P_NAME, "%s", new);
    }
    return r;
}
static inline int p_unlinkat(int d, const char *name, int flags)
{
    char path[P_NAME];
    bool ours = p_path(d, name, path);
    p_gone(d, name);
    int r = unlinkat(d, name, flags);
    if (r == 0 && ours)
        snprintf(p_record(P_UNLINK, -1)->a, P_NAME, "%s", path);
    return r;
}
static inline int p_mkdirat(int d, const char *name, mode_t mode)
{
    char path[P_NAME];
    bool ours = p_path(d, name, path);
    int r = mkdirat(d, name, mode);
    if (r == 0 && ours)
        snprintf(p_record(P_MKDIR, -1)->a, P_NAME, "%s", path);
    return r;
}

/* ---- what SQLite does ---- */

struct p_sql { sqlite3_file base; int file; bool name_is_new; char dir[P_NAME], shm[PATH_MAX]; sqlite3_file real[]; };
#define P_REAL(f) (((struct p_sql *)(f))->real)
#define P_CALL(f, method, ...) P_REAL(f)->pMethods->method(P_REAL(f), ##__VA_ARGS__)
static sqlite3_vfs *p_unix, p_vfs;

static inline int pv_close(sqlite3_file *f) { return P_REAL(f)->pMethods ? P_CALL(f, xClose) : SQLITE_OK; }
static inline int pv_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at) { return P_CALL(f, xRead, p, n, at); }
static inline int pv_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    int r = P_CALL(f, xWrite, p, n, at);
    if (r == SQLITE_OK)
        p_wrote(((struct p_sql *)f)->file, p, (size_t)n, at);
    return r;
}
static inline int pv_truncate(sqlite3_file *f, sqlite3_int64 len)
{
    struct p_sql *s = (struct p_sql *)f;
    if (s->file >= 0)
        p_record(P_TRUNCATE, s->file)->at = len;
    return P_CALL(f, xTruncate, len);
}
/* The unix VFS flushes the directory of a new journal at its first flush. */
static inline int pv_sync(sqlite3_file *f, int flags)
{
    struct p_sql *s = (struct p_sql *)f;
    (void)flags;
    if (!p_flush(s->file))
        return SQLITE_IOERR_FSYNC;
    if (s->file >= 0 && s->name_is_new)
        snprintf(p_record(P_SYNC_DIR, -1)->a, P_NAME, "%s", s->dir);
    s->name_is_new = false;
    return SQLITE_OK;
}
static inline int pv_size(sqlite3_file *f, sqlite3_int64 *n) { return P_CALL(f, xFileSize, n); }
static inline int pv_lock(sqlite3_file *f, int n) { return P_CALL(f, xLock, n); }
static inline int pv_unlock(sqlite3_file *f, int n) { return P_CALL(f, xUnlock, n); }
static inline int pv_reserved(sqlite3_file *f, int *out) { return P_CALL(f, xCheckReservedLock, out); }
static inline int pv_control(sqlite3_file *f, int op, void *arg) { return P_CALL(f, xFileControl, op, arg); }
static inline int pv_sector(sqlite3_file *f) { return P_CALL(f, xSectorSize); }
static inline int pv_device(sqlite3_file *f) { return P_CALL(f, xDeviceCharacteristics); }
static inline int pv_map(sqlite3_file *f, int at, int n, int extend, void volatile **p) { return P_CALL(f, xShmMap, at, n, extend, p); }
static inline int pv_shm_lock(sqlite3_file *f, int at, int n, int flags) { return P_CALL(f, xShmLock, at, n, flags); }
static inline void pv_barrier(sqlite3_file *f) { P_CALL(f, xShmBarrier); }
/* The VFS unlinks NAME-shm by itself. */
static inline int pv_unmap(sqlite3_file *f, int del)
{
    const struct p_sql *s = (struct p_sql *)f;
    char path[P_NAME];
    if (del)
        p_gone(AT_FDCWD, s->shm);
    int r = P_CALL(f, xShmUnmap, del);
    if (del && p_beneath(s->shm, path))
        snprintf(p_record(P_UNLINK, -1)->a, P_NAME, "%s", path);
    return r;
}

static const sqlite3_io_methods p_methods = {
    .iVersion = 2, .xClose = pv_close, .xRead = pv_read, .xWrite = pv_write, .xTruncate = pv_truncate, .xSync = pv_sync,
    .xFileSize = pv_size, .xLock = pv_lock, .xUnlock = pv_unlock, .xCheckReservedLock = pv_reserved, .xFileControl = pv_control,
    .xSectorSize = pv_sector, .xDeviceCharacteristics = pv_device, .xShmMap = pv_map, .xShmLock = pv_shm_lock,
    .xShmBarrier = pv_barrier, .xShmUnmap = pv_unmap,
};

static inline int pv_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct p_sql *s = (struct p_sql *)f;
    char path[P_NAME];
    (void)v;
    bool ours = name && p_beneath(name, path);
    *s = (struct p_sql){ .file = -1, .name_is_new = ours && access(name, F_OK) < 0 };
    int r = p_unix->xOpen(p_unix, name, s->real, flags, out);
    f->pMethods = s->real->pMethods ? &p_methods : NULL;
    if (r != SQLITE_OK || !ours)
        return r;
    int fd = open(name, O_PATH | O_CLOEXEC);    /* closing another kind would drop SQLite's locks */
    snprintf(s->shm, sizeof s->shm, "%s-shm", name);
    s->name_is_new |= p_file(fd) < 0;
    if (s->name_is_new)
        p_made(fd, path);
    s->file = p_file(fd);
    close(fd);
    s->name_is_new &= (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    snprintf(s->dir, P_NAME, "%s", path);
    char *slash = strrchr(s->dir, '/');
    *(slash ? slash : s->dir) = '\0';
    return r;
}
static inline int pv_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
    char path[P_NAME];
    (void)v;
    p_gone(AT_FDCWD, name);
    int r = p_unix->xDelete(p_unix, name, 0);
    if (r != SQLITE_OK || !p_beneath(name, path))
        return r;
    snprintf(p_record(P_UNLINK, -1)->a, P_NAME, "%s", path);
    char *slash = strrchr(path, '/');
    *(slash ? slash : path) = '\0';
    if (sync_dir)
        snprintf(p_record(P_SYNC_DIR, -1)->a, P_NAME, "%s", path);
    return r;
}

/* ---- beginning and end ---- */

static struct sys p_sys;
static inline void power_forget(void)
{
    for (int i = 0; i < power.n; i++)
        free(power.op[i].data);
    power.n = power.nfile = power.flushes = power.fail_at = 0;
}
static inline void power_end(void)
{
    power_forget();
    power.on = false;
    free(power.op);
    power.op = NULL;
    if (p_unix)
        sqlite3_vfs_unregister(&p_vfs);
    p_unix = NULL;
    temp_end();
}
/* A fresh directory; from now on everything is recorded. */
static inline void power_begin(uint64_t seed)
{
    power_end();
    temp_begin();
    power.op = xcalloc(P_OPS, sizeof *power.op);
    power.seed = seed;
    power.on = true;
    p_sys = sys_kernel;
    p_sys.openat2 = p_openat2;
    p_sys.pwrite = p_pwrite;
    p_sys.ftruncate = p_ftruncate;
    p_sys.fsync = p_fsync;
    p_sys.renameat2 = p_renameat2;
    p_sys.unlinkat = p_unlinkat;
    p_sys.mkdirat = p_mkdirat;
    sys = &p_sys;
    p_unix = sqlite3_vfs_find("unix");
    CHECK(p_unix);
    p_vfs = *p_unix;
    p_vfs.zName = "power";
    p_vfs.szOsFile = (int)sizeof(struct p_sql) + p_unix->szOsFile;
    p_vfs.xOpen = pv_open;
    p_vfs.xDelete = pv_delete;
    CHECK(sqlite3_vfs_register(&p_vfs, 1) == SQLITE_OK);
}

/* ---- the disk as it may be ---- */

enum p_mood { MOOD_NOTHING, MOOD_ALL, MOOD_ANY, P_MOODS };      /* of what was not flushed */
struct p_name { char name[P_NAME]; int file; };

static inline bool p_lucky(enum p_mood mood) { return mood == MOOD_ALL || (mood == MOOD_ANY && t_rand(&power.seed) % 2); }
static inline bool p_is_parent(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    if (n == 0)
        return !strchr(name, '/');
    return strncmp(dir, name, n) == 0 && name[n] == '/' && !strchr(name + n + 1, '/');
}
/* The operation that makes operation i durable; `power.n` when none does. */
static inline int p_flush_of(int i)
{
    const struct p_op *o = &power.op[i], *k = o + 1;
    const char *in = o->kind == P_RENAME ? o->b : o->a;
    bool bytes = o->kind == P_WRITE || o->kind == P_TRUNCATE;
    for (; k < power.op + power.n; k++)
        if (bytes && k->kind == P_SYNC_FAILED && k->file == o->file)
            return power.n;
        else if (bytes ? k->kind == P_SYNC && k->file == o->file : k->kind == P_SYNC_DIR && p_is_parent(k->a, in))
            break;
    return (int)(k - power.op);
}
static inline int p_by_name(const void *a, const void *b) { return strcmp(((const struct p_name *)a)->name, ((const struct p_name *)b)->name); }
static inline struct p_name *p_find(struct p_name *v, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(v[i].name, name) == 0)
            return &v[i];
    return NULL;
}
static inline void p_name_op(struct p_name *v, int *n, const struct p_op *o)
{
    struct p_name *was = p_find(v, *n, o->a), *over = p_find(v, *n, o->b);
    if (o->kind == P_LINK || o->kind == P_MKDIR) {
        if (!was)
            CHECK(*n < P_NAMES);
        was = was ? was : &v[(*n)++];
        snprintf(was->name, P_NAME, "%s", o->a);
        was->file = o->file;
    } else if (was && o->kind == P_UNLINK) {
        *was = v[--*n];
    } else if (was && o->kind == P_RENAME) {
        if (over)
            over->file = was->file;
        else
            snprintf(was->name, P_NAME, "%s", o->b);
        if (over)
            *was = v[--*n];
    }
}
/* One write, as far as it came. */
static inline void p_tear(int fd, const struct p_op *o, enum p_mood mood)
{
    if (mood != MOOD_ANY) {
        if (mood == MOOD_ALL)
            CHECK(pwrite(fd, o->data, o->len, o->at) == (ssize_t)o->len);
        return;
    }
    unsigned how = (unsigned)(t_rand(&power.seed) % 4);     /* whole, nothing, a beginning, sectors here and there */
    for (size_t at = 0, end = t_rand(&power.seed) % (o->len + 1); at < o->len && how != 1; at += P_SECTOR) {
        size_t n = o->len - at < P_SECTOR ? o->len - at : P_SECTOR;
        if (how == 0 || (how == 2 && at < end) || (how == 3 && t_rand(&power.seed) % 2))
            CHECK(pwrite(fd, o->data + at, n, o->at + (off_t)at) == (ssize_t)n);
    }
}
static inline void p_make_file(const struct p_name *name, int cut, enum p_mood mood)
{
    int fd = open(in_temp(name->name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT)
        return;                                             /* its directory has not become durable */
    CHECK(fd >= 0);
    for (int i = 0; i < cut; i++) {
        const struct p_op *o = &power.op[i];
        if (o->file != name->file || o->kind == P_LINK)
            continue;
        bool sure = o->flush < cut;
        if (o->kind == P_WRITE)
            p_tear(fd, o, sure ? MOOD_ALL : mood);
        else if (o->kind == P_TRUNCATE && (sure || p_lucky(mood)))
            CHECK(ftruncate(fd, o->at) == 0);
    }
    close(fd);
}
/* Nothing may be open beneath temp. What follows is not recorded, and still not flushed: the disk is not what is tested. */
static inline void power_cut(int cut, enum p_mood mood)
{
    static struct p_name v[P_NAMES];
    int n = 0;
    for (int i = 0; power.on && i < power.n; i++)
        power.op[i].flush = p_flush_of(i);
    power.on = false;
    CHECK(nftw(temp, temp_remove, 16, FTW_PHYS | FTW_DEPTH) == 0 && mkdir(temp, 0700) == 0);
    for (int i = 0; i < cut; i++)
        if (power.op[i].kind <= P_MKDIR && (power.op[i].flush < cut || p_lucky(mood)))
            p_name_op(v, &n, &power.op[i]);
    qsort(v, (size_t)n, sizeof *v, p_by_name);              /* parents first */
    for (int i = 0; i < n; i++)
        if (v[i].file < 0)
            (void)!mkdir(in_temp(v[i].name), 0700);
    for (int i = 0; i < n; i++)
        if (v[i].file >= 0)
            p_make_file(&v[i], cut, mood);
}

#endif

#include "store/folder_priv.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "store/packs.h"
#include "store/publish.h"

#define MARKER PATH_OWN "/marker"
#define MARKER_NEW MARKER ".new"
#define MARKER_LEN 128            /* more than a marker has */

/* ---- helpers of all folder*.c ---- */

void folder_close_fd(int *fd)
{
    int e = errno;
    if (*fd >= 0)
        sys->close(*fd);
    *fd = -1;
    errno = e;
}

int folder_zpath(struct zpath *out, const char *path, size_t len)
{
    int code = path_check(path, len);
    if (code < 0)
        return code;
    memcpy(out->s, path, len);
    out->s[len] = '\0';
    return 0;
}

int folder_beneath(int dirfd, const char *path, uint64_t flags, mode_t mode)
{
    const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    int fd;
    do
        fd = sys->openat2(dirfd, path, flags | O_CLOEXEC, mode, resolve);
    while (fd < 0 && (errno == EAGAIN || errno == EINTR)); /* EAGAIN: a rename beneath dirfd disturbed the look-up */
    return fd;
}

int folder_look(int dirfd, const char *name, struct stamp *out)
{
    struct statx st;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
    if (sys->statx(dirfd, name, flags, STATX_BASIC_STATS, &st) == 0) {
        stamp_from(out, &st);
        return 0;
    }
    *out = (struct stamp){ .kind = STAMP_ABSENT };
    return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
}

/* The length of the shortest prefix of path that is a symlink; 0 when there is none (any more). */
static size_t find_link(const struct folder *f, const char *path)
{
    struct zpath prefix;
    size_t len = strlen(path);
    for (size_t n = 0; n < len; n++) {
        n += strcspn(path + n, "/");
        memcpy(prefix.s, path, n);
        prefix.s[n] = '\0';
        AUTOCLOSE int fd = folder_beneath(f->root, prefix.s, O_PATH | O_NOFOLLOW, 0);
        struct stamp st;
        if (fd < 0 || folder_look(fd, "", &st) < 0)
            return 0;
        if (st.kind == STAMP_SYMLINK)
            return n;
    }
    return 0;
}

int folder_error(const struct folder *f, const char *path, const char *doing)
{
    int e = errno;
    size_t len = strlen(path), n = e == ELOOP || e == EXDEV ? find_link(f, path) : 0;
    const char *shown = len ? path_show(path, len) : f->path;
    if (n > 0)
        return err_set(ERR_IO, "%s: %s: %s is a symbolic link and is not followed", shown, doing, path_show(path, n));
    enum err code = e == ENOENT || e == ENOTDIR ? ERR_NOTFOUND : e == ENOSPC || e == EDQUOT || e == EFBIG ? ERR_FULL : ERR_IO;
    errno = e;
    return err_set(code, "%s: %s: %m", shown, doing);
}

/* ---- opening ---- */

static void marker_text(char out[static MARKER_LEN], const struct id *group)
{
    char hex[ID_HEX];
    snprintf(out, MARKER_LEN, "lanyard folder of group %s\n", id_hex(group, hex));
}

/* 0 ours, ERR_EXISTS somebody else's, ERR_NOTFOUND none, ERR_IO. */
static int marker_check(int root, const struct id *group)
{
    char want[MARKER_LEN], found[MARKER_LEN];
    AUTOCLOSE int fd = folder_beneath(root, MARKER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0)
        return err_set(errno == ENOENT || errno == ENOTDIR ? ERR_NOTFOUND : ERR_IO, MARKER ": %m");
    ssize_t n = sys->pread(fd, found, sizeof found, 0);
    if (n < 0)
        return err_set(ERR_IO, MARKER ": %m");
    marker_text(want, group);
    if ((size_t)n != strlen(want) || memcmp(want, found, (size_t)n) != 0)
        return err_set(ERR_EXISTS, "it belongs to another group");
    return 0;
}

/* Whole or not at all, whatever happens meanwhile. */
static int marker_write(int root, const struct id *group)
{
    char text[MARKER_LEN];
    marker_text(text, group);
    AUTOCLOSE int own = folder_beneath(root, PATH_OWN, O_RDONLY | O_DIRECTORY, 0);
    AUTOCLOSE int fd = folder_beneath(root, MARKER_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    size_t len = strlen(text);
    if (own < 0 || fd < 0 || sys->pwrite(fd, text, len, 0) != (ssize_t)len || sys->fsync(fd) < 0 ||
        sys->renameat2(root, MARKER_NEW, root, MARKER, 0) < 0 || sys->fsync(own) < 0 || sys->fsync(root) < 0)
        return err_set(ERR_IO, "writing " MARKER ": %m");
    return 0;
}

int folder_create(const char *path, const struct id *group)
{
    int code = publish_dirs(path, 0755);
    if (code < 0)
        return err_prefix(code, "folder %s", path);
    AUTOCLOSE int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_set(ERR_IO, "folder %s: %m", path);
    code = marker_check(root, group);
    if (code < 0 && code != ERR_NOTFOUND)
        return err_prefix(code, "folder %s", path);
    static const char *const own[] = { PATH_OWN, PATH_OWN "/tmp", PATH_OWN "/kept" };
    for (size_t i = 0; i < 3; i++)
        if (sys->mkdirat(root, own[i], 0700) < 0 && errno != EEXIST)
            return err_set(ERR_IO, "folder %s: making %s: %m", path, own[i]);
    if (code == ERR_NOTFOUND)
        code = marker_write(root, group);
    return code < 0 ? err_prefix(code, "folder %s", path) : 0;
}

static bool is_one_of(int root, const unsigned long *kinds, size_t n)
{
    struct statfs s;
    bool is = false;
    int r = fstatfs(root, &s);
    for (size_t i = 0; r == 0 && i < n; i++)
        is |= (unsigned long)s.f_type == kinds[i];
    return is;
}

/* Timestamps of these are those of the kernel's clock, which ticks every 1 to 10 ms; of others we assume the 2 s of FAT. */
static int64_t granularity_of(int root)
{
    static const unsigned long fine[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
                                          F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC };
    return (is_one_of(root, fine, sizeof fine / sizeof *fine) ? 50 : 2100) * 1000000ll;
}

/* Journals that take a rename whole, and what was done before it: fsync of any directory that it touches makes it durable. tmpfs has
 * nothing to make durable. Of others it is not known, or they write as much as syncfs does. */
static bool does_flush_dirs(int root)
{
    static const unsigned long known[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, TMPFS_MAGIC };
    return is_one_of(root, known, sizeof known / sizeof *known);
}

static int gone(const char *path, const char *why)
{
    return err_set(ERR_NOTFOUND, "folder %s: missing, or its marker is gone: mount or restore it (%s)", path, why);
}

/* Folders of before there were packs get it now. Its name must be durable before a kept file may go because its content is in there. */
static int packs_dir(int root)
{
    AUTOCLOSE int own = folder_beneath(root, PATH_OWN, O_RDONLY | O_DIRECTORY, 0);
    bool made = sys->mkdirat(root, PATH_OWN "/packs", 0700) == 0;
    if (made && (own < 0 || sys->fsync(own) < 0)) {
        (void)sys->unlinkat(root, PATH_OWN "/packs", AT_REMOVEDIR);
        return -1;
    }
    return made || errno == EEXIST ? folder_beneath(root, PATH_OWN "/packs", O_RDONLY | O_DIRECTORY, 0) : -1;
}

static int open_all(struct folder *f)
{
    f->root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->root < 0)
        return gone(f->path, strerror(errno));
    int code = marker_check(f->root, &f->group);
    if (code == ERR_NOTFOUND)
        return gone(f->path, "no " MARKER);
    if (code < 0)
        return err_prefix(code, "folder %s", f->path);
    f->tmp = folder_beneath(f->root, PATH_OWN "/tmp", O_RDONLY | O_DIRECTORY, 0);
    f->kept = folder_beneath(f->root, PATH_OWN "/kept", O_RDONLY | O_DIRECTORY, 0);
    if (f->tmp < 0 || f->kept < 0)
        return gone(f->path, "no " PATH_OWN "/tmp or kept");
    struct stamp st;
    if (folder_look(f->root, "", &st) < 0)
        return err_set(ERR_IO, "folder %s: %m", f->path);
    AUTOCLOSE int dir = packs_dir(f->root);
    code = packs_open(&dir, &f->packs);
    if (code < 0)
        return err_prefix(code, "folder %s", f->path);
    f->dev = st.dev;
    f->ino = st.ino;
    f->granularity = granularity_of(f->root);
    f->flushes_dirs = does_flush_dirs(f->root);
    f->folds = folder_root_folds(f->root);
    return 0;
}

int folder_open(const char *path, const struct id *group, struct folder **out)
{
    *out = NULL;
    char *absolute = realpath(path, NULL);
    if (!absolute)
        return gone(path, strerror(errno));
    struct folder *f = xcalloc(1, sizeof *f);
    *f = (struct folder){ .path = absolute, .root = -1, .tmp = -1, .kept = -1, .group = *group };
    int code = open_all(f);
    if (code < 0)
        folder_close(&f);
    *out = f;
    return code;
}

void folder_close(struct folder **f)
{
    if (!*f)
        return;
    packs_close(&(*f)->packs);
    folder_close_fd(&(*f)->kept);
    folder_close_fd(&(*f)->tmp);
    folder_close_fd(&(*f)->root);
    free((*f)->path);
    free(*f);
    *f = NULL;
}

const struct packs *folder_packs(const struct folder *f) { return f->packs; }

const char *folder_path(const struct folder *f)
{
    return f->path;
}

int64_t folder_granularity(const struct folder *f)
{
    return f->granularity;
}

int folder_healthy(const struct folder *f)
{
    AUTOCLOSE int root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stamp st;
    if (root < 0 || folder_look(root, "", &st) < 0)
        return gone(f->path, strerror(errno));
    if (st.dev != f->dev || st.ino != f->ino)
        return gone(f->path, "another directory is there now");
    int code = marker_check(root, &f->group);
    return code < 0 ? gone(f->path, err_text()) : 0;
}

int folder_room(const struct folder *f, uint64_t bytes)
{
    struct statvfs v;
    if (fstatvfs(f->root, &v) < 0)
        return err_set(ERR_IO, "folder %s: %m", f->path);
    const uint64_t gib = 1ull << 30;
    uint64_t unit = v.f_frsize, free_bytes = v.f_bavail * unit, keep = v.f_blocks / 100 * unit;
    if (keep > gib)
        keep = gib;
    if (free_bytes < keep || free_bytes - keep < bytes)
        return err_set(ERR_FULL, "folder %s: %llu MiB free, %llu MiB more wanted: make room on the disk", f->path,
                       (unsigned long long)(free_bytes >> 20), (unsigned long long)(bytes >> 20));
    return 0;
}

/* ---- looking ---- */

void folder_near_release(struct folder_near *near)
{
    folder_close_fd(&near->fd);
}

/* Opens the directory z, of n bytes: 0, or -1 and errno. */
static int go_near(const struct folder *f, struct folder_near *near, const char *z, size_t n)
{
    if (near->fd >= 0 && near->len == n && memcmp(near->path, z, n) == 0)
        return 0;
    folder_near_release(near);
    near->fd = folder_beneath(f->root, n ? z : ".", O_PATH | O_DIRECTORY, 0);
    if (near->fd < 0)
        return -1;
    memcpy(near->path, z, n);
    near->len = n;
    near->folds = folder_folds(f, near->fd);
    return 0;
}

int folder_stat_near(const struct folder *f, struct folder_near *near, const char *path, size_t len, struct stamp *out)
{
    *out = (struct stamp){ .kind = STAMP_ABSENT };
    struct zpath z;
    int code = folder_zpath(&z, path, len);
    if (code < 0)
        return code;
    size_t n = path_parent(path, len);
    z.s[n] = '\0';
    int there = go_near(f, near, z.s, n);
    z.s[n] = path[n];
    if (there < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (there < 0 || folder_look(near->fd, n ? z.s + n + 1 : z.s, out) < 0)
        return folder_error(f, z.s, "looking at it");
    if (out->kind != STAMP_ABSENT && near->folds && !folder_exact(f->root, z.s))
        *out = (struct stamp){ .kind = STAMP_ABSENT };   /* it is another's */
    return 0;
}

int folder_stat(const struct folder *f, const char *path, size_t len, struct stamp *out)
{
    AUTO(folder_near_release) struct folder_near near = FOLDER_NEAR_INIT;
    return folder_stat_near(f, &near, path, len, out);
}

static int not_a(const char *what, const struct zpath *z)
{
    return err_set(ERR_CHANGED, "%s: not a %s (any more)", path_show(z->s, strlen(z->s)), what);
}

int folder_open_file(const struct folder *f, const char *path, size_t len, int *fd)
{
    *fd = -1;
    struct zpath z;
    int code = folder_zpath(&z, path, len);
    if (code < 0)
        return code;
    AUTOCLOSE int got = folder_beneath(f->root, z.s, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (got < 0 && (errno == ENXIO || (errno == ELOOP && find_link(f, z.s) == len))) /* a socket; a link itself */
        return not_a("file", &z);
    struct stamp st;
    if (got < 0 || folder_look(got, "", &st) < 0)
        return folder_error(f, z.s, "opening");
    if (st.kind != STAMP_FILE)
        return not_a("file", &z);
    *fd = got;
    got = -1;
    return 0;
}

int folder_readlink(const struct folder *f, const char *path, size_t len, struct buf *target)
{
    struct zpath z;
    int code = folder_zpath(&z, path, len);
    if (code < 0)
        return code;
    AUTOCLOSE int fd = folder_beneath(f->root, z.s, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return folder_error(f, z.s, "opening");
    char text[LIMIT_PATH + 1];
    ssize_t n = readlinkat(fd, "", text, sizeof text);
    if (n < 0 && (errno == ENOENT || errno == EINVAL)) /* not a link: ENOENT for the empty path */
        return not_a("symbolic link", &z);
    if (n < 0)
        return folder_error(f, z.s, "reading the link");
    buf_add(target, text, (size_t)n);
    return buf_ok(target) ? 0 : err_set(ERR_FULL, "%s: target of more than %zu bytes", path_show(z.s, len), target->max);
}

int folder_lease(int fd)
{
    if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
        return errno;
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    return 0;
}

int folder_quiet(int fd)
{
    errno = folder_lease(fd);
    if (errno == 0)
        return 0;
    if (errno == EAGAIN)
        return err_set(ERR_AGAIN, "somebody has the file open for writing");
    return err_set(ERR_NOTFOUND, "leases: %m");
}

bool folder_flush_covers(const struct folder *f, const struct stamp *st) { return st->dev == f->dev; }

int folder_flush_file(int fd)
{
    if (sys->fsync(fd) == 0 || errno == EINVAL || errno == EROFS)
        return 0;
    return err_set(ERR_IO, "it cannot be made durable (fsync: %m), and is not announced before it is: check the disk");
}

#include "node/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "store/publish.h"
#include "store/sys.h"

char *file_in(const char *dir, const char *name)
{
    size_t a = strlen(dir), b = strlen(name);
    char *path = xcalloc(1, a + b + 2);
    memcpy(path, dir, a);
    path[a] = '/';
    memcpy(path + a + 1, name, b);
    return path;
}

void file_wipe(struct buf *b)
{
    if (b->data)
        sodium_memzero(b->data, b->cap);
    buf_release(b);
}

/* ---- reading ---- */

static int read_all(int fd, const char *path, struct buf *out)
{
    size_t start = out->len;
    for (;;) {
        uint8_t chunk[4096];
        ssize_t n = sys->pread(fd, chunk, sizeof chunk, (off_t)(out->len - start));
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0)
            buf_add(out, chunk, (size_t)n);
        sodium_memzero(chunk, sizeof chunk);
        if (n < 0)
            return err_set(ERR_IO, "%s: %m", path);
        if (!buf_ok(out))
            return err_set(ERR_FULL, "%s: longer than %zu bytes", path, out->max);
        if (n == 0)
            return 0;
    }
}

int file_read(const char *path, bool secret, struct buf *out, mode_t *mode)
{
    int fd = sys->openat2(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0, 0);
    if (fd < 0)
        return err_set(errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %m", path);
    size_t before = out->len;
    if (secret && buf_room(out, out->max - before))
        out->len = before;
    struct statx st;
    int r = sys->statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) ? err_set(ERR_IO, "%s: %m", path) : 0;
    if (r == 0)
        r = read_all(fd, path, out);
    (void)sys->close(fd);
    if (r == 0 && mode)
        *mode = st.stx_mode & 07777;
    return r;
}

/* ---- writing ---- */

static int write_all(int fd, const char *path, const uint8_t *p, size_t len)
{
    for (off_t at = 0; len > 0;) {
        ssize_t n = sys->pwrite(fd, p, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(n < 0 && (errno == ENOSPC || errno == EDQUOT) ? ERR_FULL : ERR_IO, "%s: %m", path);
        p += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int flush(int fd, const char *path) { return sys->fsync(fd) == 0 ? 0 : err_set(ERR_IO, "%s: fsync: %m", path); }

static int write_new(const char *tmp, const void *data, size_t len, mode_t mode, bool durable)
{
    (void)sys->unlinkat(AT_FDCWD, tmp, 0);   /* left by an attempt that died */
    int fd = sys->openat2(AT_FDCWD, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode, 0);
    if (fd < 0)
        return err_set(errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO, "%s: %m", tmp);
    int r = write_all(fd, tmp, data, len);
    if (r == 0 && durable)
        r = flush(fd, tmp);
    (void)sys->close(fd);
    if (r < 0)
        (void)sys->unlinkat(AT_FDCWD, tmp, 0);
    return r;
}

static char *tmp_name(const char *path)
{
    size_t len = strlen(path);
    char *tmp = xcalloc(1, len + sizeof ".new");
    memcpy(tmp, path, len);
    memcpy(tmp + len, ".new", sizeof ".new");
    return tmp;
}

int file_create(const char *path, const void *data, size_t len, mode_t mode)
{
    AUTOFREE char *tmp = tmp_name(path);
    int r = write_new(tmp, data, len, mode, true);
    return r < 0 ? r : publish(tmp, path);
}

static int replace(const char *path, const void *data, size_t len, mode_t mode, bool durable)
{
    AUTOFREE char *tmp = tmp_name(path);
    int r = write_new(tmp, data, len, mode, durable);
    if (r < 0)
        return r;
    if (sys->renameat2(AT_FDCWD, tmp, AT_FDCWD, path, 0) < 0) {
        r = err_set(ERR_IO, "%s: %m", path);
        (void)sys->unlinkat(AT_FDCWD, tmp, 0);
        return r;
    }
    return durable ? publish_name(path) : 0;
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode) { return replace(path, data, len, mode, true); }

int file_show(const char *path, const void *data, size_t len, mode_t mode) { return replace(path, data, len, mode, false); }

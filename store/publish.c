#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>

#include "store/sys.h"

static int sync_at(const char *path, uint64_t flags)
{
    int fd = sys->openat2(AT_FDCWD, path, flags | O_RDONLY | O_CLOEXEC, 0, 0);
    if (fd < 0)
        return err_set(ERR_IO, "%s: %m", path);
    int rc = sys->fsync(fd) == 0 ? 0 : err_set(ERR_IO, "%s: fsync: %m", path);
    (void)sys->close(fd);
    return rc;
}

int publish_name(const char *path)
{
    AUTOFREE char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = '\0';   /* the parent of "/x" is "/" */
    return sync_at(slash ? dir : ".", O_DIRECTORY);
}

static int rename_new(const char *tmp, const char *path)
{
    int r = sys->renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE);
    if (r < 0 && errno == EINVAL) {   /* a file system without the flag: look first; the home belongs to one process */
        struct statx st;
        if (sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, &st) == 0)
            errno = EEXIST;
        else
            r = sys->renameat2(AT_FDCWD, tmp, AT_FDCWD, path, 0);
    }
    if (r == 0)
        return 0;
    return err_set(errno == EEXIST ? ERR_EXISTS : ERR_IO, "%s: %m", path);
}

int publish_over(const char *tmp, const char *path, bool *placed)
{
    int rc = sync_at(tmp, 0);
    if (rc == 0 && sys->renameat2(AT_FDCWD, tmp, AT_FDCWD, path, 0) != 0)
        rc = err_set(ERR_IO, "%s: %m", path);
    *placed = rc == 0;
    if (rc == 0)
        return publish_name(path);
    (void)sys->unlinkat(AT_FDCWD, tmp, 0);
    return rc;
}

int publish(const char *tmp, const char *path)
{
    int rc = sync_at(tmp, 0);
    if (rc == 0)
        rc = rename_new(tmp, path);
    if (rc != 0) {
        (void)sys->unlinkat(AT_FDCWD, tmp, 0);
        return rc;
    }
    return publish_name(path);
}

/* One that is there is somebody else's affair; one that could not be made durable goes again, so that the next attempt does not take it for
 * such a one. */
static int make_dir(const char *path, mode_t mode)
{
    if (sys->mkdirat(AT_FDCWD, path, mode) < 0)
        return errno == EEXIST ? 0 : err_set(ERR_IO, "making %s: %m", path);
    int rc = publish_name(path);
    if (rc != 0)
        (void)sys->unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
    return rc;
}

int publish_dirs(const char *path, mode_t mode)
{
    AUTOFREE char *part = xstrdup(path);
    for (char *p = part + 1;; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        int rc = make_dir(part, mode);
        *p = c;
        if (rc != 0 || c == '\0')
            return rc;
    }
}

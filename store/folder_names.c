/* Names that a file system takes for others: case, Unicode normalisation. A whole file system does so (vfat, HFS+), or single directories
 * and what is made beneath them (ext4 and f2fs with casefold). What a look-up calls a file does not tell: only a listing does. */
#include "store/folder_priv.h"

#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

bool folder_root_folds(int root)
{
    AUTOCLOSE int fd = folder_beneath(root, PATH_OWN "/MARKER", O_PATH | O_NOFOLLOW, 0);   /* it is called "marker" */
    return fd >= 0;
}

bool folder_folds(const struct folder *f, int dir)
{
    int flags = 0;
    if (f->folds)
        return true;
    AUTOCLOSE int fd = folder_beneath(dir, ".", O_RDONLY | O_DIRECTORY, 0);
    return fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && flags & FS_CASEFOLD_FL;
}

static bool is_listed(DIR *d, const char *name)
{
    for (const struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, name) == 0)
            return true;
    return false;
}

/* The name by which a directory lists the file that was looked at: "" when it does not any more. */
static void find_name(DIR *d, const struct stamp *st, char listed[static LIMIT_NAME + 1])
{
    struct stamp other;
    *listed = '\0';
    rewinddir(d);
    for (const struct dirent *e; (e = readdir(d));) {
        if (strlen(e->d_name) > LIMIT_NAME || folder_look(dirfd(d), e->d_name, &other) < 0 || other.dev != st->dev || other.ino != st->ino)
            continue;
        memcpy(listed, e->d_name, strlen(e->d_name) + 1);
        return;
    }
}

/* Whether a directory lists what answers to a name by another one, and by which. No when nothing does, or it cannot be told. */
static bool has_other_name(int dir, const char *name, char listed[static LIMIT_NAME + 1])
{
    struct stamp st;
    if (folder_look(dir, name, &st) < 0 || st.kind == STAMP_ABSENT)
        return false;
    int fd = folder_beneath(dir, ".", O_RDONLY | O_DIRECTORY, 0);
    AUTO(close_dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        folder_close_fd(&fd);
        return false;
    }
    if (is_listed(d, name))
        return false;
    find_name(d, &st, listed);
    return true;
}

/* The length of the first part of the path, from dirfd on down, that is listed by another name; 0 = there is none. */
static size_t first_other(int dirfd, const char *path, char listed[static LIMIT_NAME + 1])
{
    char name[LIMIT_NAME + 1];
    AUTOCLOSE int dir = folder_beneath(dirfd, ".", O_PATH | O_DIRECTORY, 0);
    for (size_t at = 0; dir >= 0;) {
        size_t n = strcspn(path + at, "/");
        if (n > LIMIT_NAME)
            return 0;
        memcpy(name, path + at, n);
        name[n] = '\0';
        at += n;
        if (has_other_name(dir, name, listed))
            return at;
        if (!path[at++])
            return 0;
        int next = folder_beneath(dir, name, O_PATH | O_DIRECTORY, 0);
        folder_close_fd(&dir);
        dir = next;
    }
    return 0;
}

bool folder_exact(int dirfd, const char *path)
{
    char listed[LIMIT_NAME + 1];
    return first_other(dirfd, path, listed) == 0;
}

int folder_taken_by(const struct folder *f, const char *path, size_t len, size_t *taken, struct buf *other)
{
    struct zpath z;
    char listed[LIMIT_NAME + 1];
    int code = folder_zpath(&z, path, len);
    if (code < 0)
        return code;
    *taken = first_other(f->root, z.s, listed);
    if (*taken == 0 || !*listed)
        return err_set(ERR_NOTFOUND, "%s: no other file has its name", path_show(path, len));
    size_t parent = path_parent(path, *taken);
    buf_clear(other);
    buf_add(other, path, parent ? parent + 1 : 0);
    buf_add(other, listed, strlen(listed));
    return buf_ok(other) ? 0 : err_set(ERR_FULL, "%s: its name is too long", path_show(path, len));
}

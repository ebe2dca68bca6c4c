#include "cli/save.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "proto/limits.h"

static int taken(const char *name) { return failed(err_set(ERR_EXISTS, "%s: exists already: choose another name", name)); }

/* File systems that cannot refuse a name that is taken (vfat) are asked before. */
static int publish(const char *tmp, const char *name)
{
    struct stat st;
    if (renameat2(AT_FDCWD, tmp, AT_FDCWD, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EINVAL && lstat(name, &st) < 0 && errno == ENOENT && rename(tmp, name) == 0)
        return 0;
    return errno == EEXIST ? taken(name) : failed(err_set(ERR_IO, "%s: %m", name));
}

static int write_to(const char *part, const char *name, int (*write)(void *arg, FILE *to), void *arg)
{
    FILE *f = fopen(part, "wxe");
    if (!f)
        return failed(err_set(ERR_IO, "%s: %m", part));
    int code = write(arg, f);
    if (!code && (fflush(f) != 0 || fsync(fileno(f)) != 0))
        code = failed(err_set(ERR_IO, "%s: %m", name));
    if (fclose(f) != 0 && !code)
        code = failed(err_set(ERR_IO, "%s: %m", name));
    if (!code)
        code = publish(part, name);
    if (code)
        (void)unlink(part);
    return code;
}

int save_file(const char *name, int (*write)(void *arg, FILE *to), void *arg)
{
    struct stat st;
    AUTO(buf_release) struct buf tmp = BUF_INIT(LIMIT_PATH + 32);
    if (lstat(name, &st) == 0)
        return taken(name);
    buf_addf(&tmp, "%s.%ld.part%c", name, (long)getpid(), '\0');
    if (!buf_ok(&tmp))
        return failed(err_set(ERR_BAD, "the name of the file is too long"));
    return write_to((const char *)tmp.data, name, write, arg);
}

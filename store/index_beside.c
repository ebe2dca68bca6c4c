/* The files that SQLite keeps beside the index: NAME-wal, its log, and NAME-shm, which says where in the log a page is. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proto/limits.h"
#include "store/index_priv.h"
#include "store/publish.h"
#include "store/sys.h"

enum { SHM_ROOM = 256 << 10 };       /* for a log of 256 MiB */

/* What SQLite keeps beside a database, and would apply to a new one of the same name. */
void beside_remove(const char *path)
{
    static const char *const suffix[] = { "-wal", "-shm", "-journal" };
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 16);
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        buf_clear(&name);
        buf_addf(&name, "%s%s%c", path, suffix[i], '\0');
        if (buf_ok(&name))
            (void)unlink((const char *)name.data);
    }
}

static int copy_all(int from, int to)
{
    uint8_t chunk[16384];
    ssize_t n;
    for (off_t at = 0; (n = sys->pread(from, chunk, sizeof chunk, at)) > 0; at += n)
        if (sys->pwrite(to, chunk, (size_t)n, at) != n)
            return -1;
    return n == 0 ? sys->fsync(to) : -1;
}

/* After a flush that failed the kernel takes what it could not write for written: it can be read, and goes with the next power cut. So
 * what an unclean end has left of the WAL is written anew before anything is built upon it. Without room for that it is as it is. */
static void renew_wal(const char *path)
{
    AUTO(buf_release) struct buf wal = BUF_INIT(LIMIT_PATH + 16), new = BUF_INIT(LIMIT_PATH + 16);
    buf_addf(&wal, "%s-wal%c", path, '\0');
    buf_addf(&new, "%s-wal.new%c", path, '\0');
    if (!buf_ok(&wal) || !buf_ok(&new))
        return;
    const char *old_name = (const char *)wal.data, *new_name = (const char *)new.data;
    int from = sys->openat2(AT_FDCWD, old_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0, 0);
    if (from < 0)
        return;
    int to = sys->openat2(AT_FDCWD, new_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600, 0);
    if (to >= 0 && (copy_all(from, to) < 0 || sys->renameat2(AT_FDCWD, new_name, AT_FDCWD, old_name, 0) < 0 || publish_name(old_name) < 0))
        (void)sys->unlinkat(AT_FDCWD, new_name, 0);
    if (to >= 0)
        (void)sys->close(to);
    (void)sys->close(from);
}

/* SQLite writes to NAME-shm through a mapping, and sees to it that there is room by a byte in each 4 KiB. Where blocks are smaller that is
 * not enough: on a full disk the process died of SIGBUS. SQLite makes an empty file longer, and so leaves it what is reserved here. */
static int reserve_shm(const char *path)
{
    AUTO(buf_release) struct buf shm = BUF_INIT(LIMIT_PATH + 16);
    buf_addf(&shm, "%s-shm%c", path, '\0');
    if (!buf_ok(&shm))
        return 0;
    (void)sys->unlinkat(AT_FDCWD, (const char *)shm.data, 0);
    int fd = sys->openat2(AT_FDCWD, (const char *)shm.data, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600, 0);
    if (fd < 0)
        return 0;                    /* SQLite will meet the same, and say it */
    int r = sys->fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, SHM_ROOM);
    if (r < 0)                       /* not every file system can */
        r = errno == ENOSPC || errno == EDQUOT ? err_set(ERR_FULL, "index %s: %m: to open it takes %d KiB", path, SHM_ROOM >> 10) : 0;
    (void)sys->close(fd);
    return r;
}

int beside_prepare(const char *path)
{
    renew_wal(path);
    return reserve_shm(path);
}

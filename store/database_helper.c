/* The helper process: copies one database. It trusts nothing in it: no schema is read, no SQL of it runs, and memory is limited. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/database_priv.h"

enum { BUSY_MS = 5000, RESTARTS = 3, HEAP_MAX = 256 << 20, COPY_BYTES = 1 << 20, PAGE_SIZE_AT = 16, HEADER_LEN = 100, GROWTH_MIN = 1 << 30, GROWTH = 4 };
static const char *const logs[] = {"-wal", "-journal"};

static void close_db(sqlite3 **db) { (void)sqlite3_close(*db); }

/* ---- files ---- */

static int of_errno(void) { return errno == ENOSPC || errno == EDQUOT ? SQLITE_FULL : SQLITE_IOERR; }

/* The header of the file, before SQLite opens it: closing it later would drop SQLite's locks. */
static uint64_t bytes_a_page(const char *name)
{
    uint8_t h[2] = {0};
    int fd = openat(HELPER_DIR, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool read_it = fd >= 0 && pread(fd, h, sizeof h, PAGE_SIZE_AT) == sizeof h;
    if (fd >= 0)
        close(fd);
    uint64_t size = (uint64_t)h[0] << 8 | h[1];
    return !read_it || size < 512 ? 65536 : size;           /* 1 stands for 65536 */
}

static int copy_bytes(int from, int to)
{
    char *piece = malloc(COPY_BYTES);
    ssize_t n = piece ? 1 : -1;
    while (n > 0) {
        n = read(from, piece, COPY_BYTES);
        for (ssize_t done = 0; done < n; ) {
            ssize_t w = write(to, piece + done, (size_t)(n - done));
            if (w < 0) {
                n = -1;
                break;
            }
            done += w;
        }
    }
    free(piece);
    return n < 0 ? of_errno() : SQLITE_OK;
}

static bool with_suffix(char out[static NAME_MAX + 1], const char *name, const char *suffix)
{
    return snprintf(out, NAME_MAX + 1, "%s%s", name, suffix) <= NAME_MAX;
}

/* NAME and suffix to TMP and suffix. What is not there need not be. */
static int copy_file(const char *name, const char *tmp, const char *suffix)
{
    char from[NAME_MAX + 1], to[NAME_MAX + 1];
    if (!with_suffix(from, name, suffix) || !with_suffix(to, tmp, suffix))
        return *suffix ? SQLITE_OK : SQLITE_CANTOPEN;
    int in = openat(HELPER_DIR, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0)
        return *suffix && (errno == ENOENT || errno == ELOOP) ? SQLITE_OK : SQLITE_CANTOPEN;
    int out = openat(HELPER_TMP, to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int rc = out < 0 ? of_errno() : copy_bytes(in, out);
    close(in);
    if (out >= 0)
        close(out);
    return rc;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Numbers in the header that count what SQLite did with this one file: how often it was changed (24, and again at 92), its schema (40),
 * and by which version (96). A copy begins anew, so that the same state gives the same bytes. */
static int begin_anew(const char *tmp)
{
    uint8_t one[4], version[4];
    put32(one, 1);
    put32(version, 3007000);
    int fd = openat(HELPER_TMP, tmp, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return of_errno();
    int rc = st.st_size < HEADER_LEN ? SQLITE_NOTADB : SQLITE_OK;
    if (rc == SQLITE_OK && (pwrite(fd, one, 4, 24) != 4 || pwrite(fd, one, 4, 40) != 4 || pwrite(fd, one, 4, 92) != 4 ||
                            pwrite(fd, version, 4, 96) != 4))
        rc = of_errno();
    close(fd);
    return rc;
}

/* ---- SQLite ---- */

/* The name of a file in that directory; NULL: it is in no such. */
static const char *name_in(int dir, const char *path)
{
    char link[32], at[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, at, sizeof at);
    bool inside = n > 0 && n < (ssize_t)sizeof at && strncmp(path, at, (size_t)n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
    return inside ? path + n + 1 : NULL;
}

struct confined { sqlite3_vfs vfs; const char *log; };     /* the name of that log; NULL: none */

/* A journal of a transaction over several databases names a file that they have in common, at any path, and whoever plays it back deletes
 * that file. Nothing is deleted but what lies in tmp/, and the write-ahead log of the database that is copied: who closes it last folds the
 * log in and removes it, and that may be us. What else there is is left to the programs of the user. */
static int delete_ours(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    const char *name = name_in(HELPER_DIR, path);
    const char *log = ((struct confined *)vfs)->log;
    bool ours = name_in(HELPER_TMP, path) || (name && log && strcmp(name, log) == 0);
    return ours ? sqlite3_vfs_find("unix")->xDelete(vfs, path, sync_dir) : SQLITE_OK;
}

/* *c lasts as long as the process. */
static bool confine_sqlite(struct confined *c)
{
    const sqlite3_vfs *usual = sqlite3_vfs_find("unix");
    if (!usual)
        return false;
    *c = (struct confined){.vfs = *usual};
    c->vfs.zName = "confined";
    c->vfs.xDelete = delete_ours;
    return sqlite3_vfs_register(&c->vfs, 1) == SQLITE_OK;
}

/* The copy has a name in tmp/, which SQLite finds by its descriptor. */
static int open_copy(const char *tmp, sqlite3 **db)
{
    char path[NAME_MAX + 32];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", HELPER_TMP, tmp);
    return sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
}

/* A step that finds the database changed since the one before begins at the beginning. Who does that again and again never gets to the
 * end; then it is copied under one lock, unless that would take too long. */
static int step_all(sqlite3_backup *b, int pages, int most)
{
    int left = INT_MAX;
    for (int restarts = 0; ; ) {
        int rc = sqlite3_backup_step(b, pages);
        int now = sqlite3_backup_remaining(b);
        if (rc != SQLITE_OK)
            return rc == SQLITE_DONE ? SQLITE_OK : rc;
        if (now >= left && ++restarts >= RESTARTS) {
            if (sqlite3_backup_pagecount(b) > most || pages < 0)
                return SQLITE_BUSY;
            pages = -1;
        }
        left = now;
    }
}

static int backup(sqlite3 *from, sqlite3 *to, int pages, int most)
{
    int rc = sqlite3_exec(to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL, NULL);
    sqlite3_backup *b = rc == SQLITE_OK ? sqlite3_backup_init(to, "main", from, "main") : NULL;
    if (!b)
        return rc == SQLITE_OK ? sqlite3_errcode(to) : rc;
    rc = step_all(b, pages, most);
    int end = sqlite3_backup_finish(b);
    return rc == SQLITE_OK ? end : rc;
}

/* With a write-ahead log nobody waits for a reader: all in one step. But a program that ends meanwhile is not the last to close it, and
 * leaves its log; so we are one that may fold it in, as SQLite does at the last close. */
static int copy_in_use(const char *name, const char *tmp, bool wal)
{
    char path[NAME_MAX + 8];
    const int how = wal ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    AUTO(close_db) sqlite3 *from = NULL, *to = NULL;
    uint64_t page = bytes_a_page(name);
    int pages = wal ? -1 : (int)(DATABASE_CHUNK / page);
    if (fchdir(HELPER_DIR) < 0)
        return SQLITE_CANTOPEN;
    snprintf(path, sizeof path, "./%s", name);
    int rc = sqlite3_open_v2(path, &from, how | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(from, BUSY_MS);
    if (rc == SQLITE_OK)
        rc = open_copy(tmp, &to);
    return rc == SQLITE_OK ? backup(from, to, pages, (int)(DATABASE_HELD / page)) : rc;
}

/* To read the number of its schema SQLite takes back what an unfinished transaction has written, and reads the log. */
static int make_whole(const char *tmp)
{
    AUTO(close_db) sqlite3 *db = NULL;
    int rc = open_copy(tmp, &db);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "PRAGMA schema_version", NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) : rc;
}

static uint64_t size_of(const char *name, const char *suffix)
{
    char file[NAME_MAX + 1];
    struct stat st;
    return with_suffix(file, name, suffix) && fstatat(HELPER_DIR, file, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

/* A journal says how long the database was before it: up to 2^32 pages, and SQLite makes it so long. One that was being vacuumed may have
 * been longer by its free pages; but not without any measure. */
static bool limit_growth(const char *name)
{
    uint64_t all = size_of(name, "");
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++)
        all += size_of(name, logs[i]);
    const struct rlimit most = {GROWTH_MIN + GROWTH * all, GROWTH_MIN + GROWTH * all};
    return signal(SIGXFSZ, SIG_IGN) != SIG_ERR && setrlimit(RLIMIT_FSIZE, &most) == 0;
}

static int copy_left(const char *name, const char *tmp)
{
    int rc = limit_growth(name) ? copy_file(name, tmp, "") : SQLITE_IOERR;
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof logs / sizeof *logs; i++)
        rc = copy_file(name, tmp, logs[i]);
    return rc == SQLITE_OK ? make_whole(tmp) : rc;
}

/* ---- the process ---- */

/* It does not outlive the node, leaves no dump of what it reads, and gains no rights. */
static bool confine(const char *parent)
{
    const struct rlimit none = {0, 0};
    bool ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && setrlimit(RLIMIT_CORE, &none) == 0;
    sqlite3_hard_heap_limit64(HEAP_MAX);
    return ok && strtoll(parent, NULL, 10) == getppid();
}

static int copy(const char *way, const char *name, const char *tmp, struct confined *c)
{
    char log[NAME_MAX + 1];
    const bool wal = strcmp(way, HELPER_WAL) == 0;
    if (strcmp(way, HELPER_LEFT) == 0)
        return copy_left(name, tmp);
    if (wal && with_suffix(log, name, logs[0]))
        c->log = log;
    int rc = copy_in_use(name, tmp, wal);
    c->log = NULL;
    return rc;
}

int database_helper(int argc, char **argv)
{
    struct confined c;
    if (argc != 6 || !confine(argv[5]) || !confine_sqlite(&c))
        return SQLITE_MISUSE;
    int rc = copy(argv[2], argv[3], argv[4], &c);
    if (rc == SQLITE_OK)
        rc = begin_anew(argv[4]);
    return rc & 0xff;
}

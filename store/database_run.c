/* Running the helper: descriptors, time limit, and what its end means. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/database_priv.h"
#include "store/folder_priv.h"

enum { TICK_MS = 50, LIMIT_MS = 60000, BYTES_A_MS = 4096, HIGH_FD = 16, NAME = 128 };
extern char **environ;

/* ---- one process ---- */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* Nothing of ours is open in it but stderr, where sanitizers and assertions speak. dir and tmp are above HELPER_TMP. */
static int describe(posix_spawn_file_actions_t *fa, posix_spawnattr_t *attr, int dir, int tmp)
{
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGIO);
    int e = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDWR, 0);
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(fa, 0, 1);
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(fa, dir, HELPER_DIR);
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(fa, tmp, HELPER_TMP);
    if (e == 0)
        e = posix_spawn_file_actions_addclosefrom_np(fa, HELPER_TMP + 1);
    if (e == 0)
        e = posix_spawnattr_setsigmask(attr, &none);
    if (e == 0)
        e = posix_spawnattr_setsigdefault(attr, &usual);
    return e ? e : posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int start(char *const *argv, int dir, int tmp, pid_t *pid)
{
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    AUTOCLOSE int d = fcntl(dir, F_DUPFD_CLOEXEC, HIGH_FD), t = fcntl(tmp, F_DUPFD_CLOEXEC, HIGH_FD);
    if (d < 0 || t < 0)
        return err_set(ERR_IO, "database helper: %m");
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    errno = describe(&fa, &attr, d, t);
    if (errno == 0)
        errno = posix_spawn(pid, "/proc/self/exe", &fa, &attr, argv, environ);
    int r = errno ? err_set(ERR_IO, "database helper: %m") : 0;
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    return r;
}

/* Waits for its end, or makes one. *status as of waitpid. */
static int await(pid_t pid, int64_t limit_ms, const _Atomic bool *stop, int *status)
{
    AUTOCLOSE int fd = pidfd_open(pid, 0);
    const int64_t end = now_ms() + limit_ms;
    int r = fd < 0 ? err_set(ERR_IO, "database helper: %m") : 0;
    while (r == 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (stop && *stop)
            r = err_set(ERR_CLOSED, "the node stops");
        else if (poll(&p, 1, TICK_MS) == 1)
            break;
        else if (now_ms() > end)
            r = err_set(ERR_AGAIN, "copying the database took longer than %lld s", (long long)limit_ms / 1000);
    }
    if (r < 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0)
        if (errno != EINTR)
            return r < 0 ? r : err_set(ERR_IO, "database helper: %m");
    return r;
}

/* Its exit code is SQLite's. */
static int meaning(int status)
{
    if (!WIFEXITED(status))
        return err_set(ERR_CORRUPT, "the process that was to copy the database died of signal %d", WTERMSIG(status));
    int rc = WEXITSTATUS(status);
    switch (rc) {
    case SQLITE_OK:
        return 0;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return err_set(ERR_CORRUPT, "SQLite cannot read it (%s): it is taken when no program has it open and no log lies beside it",
                       sqlite3_errstr(rc));
    case SQLITE_FULL:
        return err_set(ERR_FULL, "copying the database: %s", sqlite3_errstr(rc));
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
        return err_set(ERR_IO, "copying the database: %s", sqlite3_errstr(rc));
    default:
        return err_set(ERR_AGAIN, "the database cannot be copied now (%s): it is tried again", sqlite3_errstr(rc));
    }
}

/* ---- a snapshot ---- */

static bool at_rest(const struct database *d) { return !d->open && !d->unsure; }

static int open_parent(const struct folder *f, const char *path, size_t len, struct zpath *z, const char **name, int *dir)
{
    int r = folder_zpath(z, path, len);
    if (r < 0)
        return r;
    size_t n = path_parent(path, len);
    *name = n ? z->s + n + 1 : z->s;
    struct zpath parent = *z;
    parent.s[n] = '\0';
    *dir = folder_beneath(f->root, n ? parent.s : ".", O_RDONLY | O_DIRECTORY, 0);
    return *dir < 0 ? folder_error(f, z->s, "opening its directory") : 0;
}

static int run(const struct folder *f, int dir, const char *name, const struct database *d, const char *tmp, const _Atomic bool *stop)
{
    char parent[24];
    snprintf(parent, sizeof parent, "%lld", (long long)getpid());
    const char *way = at_rest(d) ? HELPER_LEFT : d->wal ? HELPER_WAL : HELPER_JOURNAL;
    const char *argv[] = {"lanyardd", DATABASE_HELPER, way, name, tmp, parent, NULL};
    pid_t pid;
    int status = 0;
    int r = start((char *const *)argv, dir, f->tmp, &pid);
    if (r == 0)
        r = await(pid, LIMIT_MS + (int64_t)(d->whole.size / BYTES_A_MS), stop, &status);
    return r == 0 ? meaning(status) : r;
}

/* Of the copy that SQLite has worked on. */
static void remove_beside(const struct folder *f, const char *tmp)
{
    static const char *const suffix[] = {"-wal", "-journal", "-shm"};
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        char name[NAME];
        snprintf(name, sizeof name, "%s%s", tmp, suffix[i]);
        (void)sys->unlinkat(f->tmp, name, 0);
    }
}

/* While it is copied where it is, it may be written to. A copy of the files themselves is worth something only if nobody did. */
static int still(const struct folder *f, const char *path, size_t len, const struct database *d)
{
    struct database now;
    int r = database_look(f, path, len, &now);
    if (r < 0)
        return r == ERR_NOTFOUND ? err_set(ERR_CHANGED, "no longer a database") : r;
    bool same = now.file.ino == d->file.ino && now.file.dev == d->file.dev;
    if (at_rest(d))
        same = same && !now.open && stamp_same(&now.whole, &d->whole);
    return same ? 0 : err_set(ERR_CHANGED, "changed while it was copied");
}

/* To open one with a write-ahead log makes the log and its index where they are missing: what is not there now is waited for. */
static bool can_be_opened(const struct database *d)
{
    return !d->wal || (d->beside[BESIDE_WAL].kind == STAMP_FILE && d->beside[BESIDE_SHM].kind == STAMP_FILE);
}

int database_snapshot(const struct folder *f, const char *path, size_t len, const struct database *d, const char *tmp,
                      const _Atomic bool *stop)
{
    struct zpath z;
    const char *name;
    AUTOCLOSE int dir = -1, to = -1;
    if (!at_rest(d) && !can_be_opened(d))
        return err_set(ERR_AGAIN, "somebody has the file open for writing");
    int r = open_parent(f, path, len, &z, &name, &dir);
    if (r == 0)
        r = folder_room(f, d->whole.size);
    if (r == 0)
        r = folder_tmp_create(f, tmp, 0, &to);
    if (r < 0)
        return r;
    r = run(f, dir, name, d, tmp, stop);
    remove_beside(f, tmp);
    if (r == 0)
        r = still(f, path, len, d);
    if (r < 0)
        (void)sys->unlinkat(f->tmp, tmp, 0);
    return r;
}

#include "node/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/file.h"
#include "node/log.h"
#include "node/notify.h"
#include "proto/buf.h"

#define OUTPUT_MAX (64u * 1024)               /* bytes of one run; the rest is dropped */
#define LINE_MAX_LEN 1000

static const struct { const char *event, *name; } kinds[] = {
    {"locked", "on-lock"}, {"unlocked", "on-unlock"}, {"conflict", "on-conflict"}, {"device-joined", "on-join"}, {"error", "on-error"},
};
enum { NOTIFY = sizeof kinds / sizeof *kinds, KINDS };   /* behind the hooks: the notifications */

struct hook {
    struct hooks *all;
    const char *name;
    pid_t pid;                                /* 0: none runs */
    int process, output;                      /* pidfd; pipe */
    size_t said;
    struct buf line;
    struct loop_timer limit;
    char **waiting[HOOK_QUEUE]; size_t nwaiting;  /* environments, the oldest first */
};
struct hooks { struct loop *loop; const char *home; uint64_t limit_ms; struct hook hook[KINDS]; };

static void start_next(struct hook *h);

/* ---- environments ---- */

static void free_env(char **env)
{
    for (char **e = env; *e; e++)
        free(*e);
    free(env);
}

/* Ours without what is called LANYARD_, and the facts. */
static char **make_env(const char *const *facts)
{
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    for (const char *const *f = facts; *f; f++)
        n++;
    char **env = xcalloc(n + 1, sizeof *env);
    for (char **e = environ; *e; e++)
        if (strncmp(*e, "LANYARD_", 8) != 0)
            env[k++] = xstrdup(*e);
    for (const char *const *f = facts; *f; f++)
        env[k++] = xstrdup(*f);
    return env;
}

/* ---- output ---- */

static void say(struct hook *h)
{
    if (h->line.len)
        log_info("hook %s: %.*s", h->name, (int)h->line.len, (const char *)h->line.data);
    buf_clear(&h->line);
}

static void take_output(struct hook *h, const char *text, size_t len)
{
    for (size_t i = 0; i < len && h->said < OUTPUT_MAX; i++, h->said++) {
        if (text[i] != '\n')
            buf_add(&h->line, &text[i], 1);
        if (text[i] == '\n' || h->line.len >= LINE_MAX_LEN)
            say(h);
    }
}

static void end_output(struct hook *h)
{
    if (h->output < 0)
        return;
    say(h);
    loop_del_fd(h->all->loop, h->output);
    close(h->output);
    h->output = -1;
}

/* What it has left running may go on writing: one look takes a bounded amount. */
static void on_output(void *arg)
{
    struct hook *h = arg;
    char piece[OUTPUT_MAX];
    ssize_t n = read(h->output, piece, sizeof piece);
    if (n > 0)
        take_output(h, piece, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        end_output(h);
}

/* ---- one run ---- */

static void let_go(struct hook *h)
{
    loop_timer_clear(h->all->loop, &h->limit);
    loop_del_fd(h->all->loop, h->process);
    close(h->process);
    end_output(h);
    h->pid = 0;
}

static void on_end(void *arg)
{
    struct hook *h = arg;
    int status = 0;
    if (waitpid(h->pid, &status, WNOHANG) == 0)
        return;
    if (h->output >= 0)
        on_output(h);
    let_go(h);
    if (WIFSIGNALED(status))
        log_warn("hook %s: killed by signal %d", h->name, WTERMSIG(status));
    else if (WEXITSTATUS(status))
        log_warn("hook %s: exit code %d", h->name, WEXITSTATUS(status));
    start_next(h);
}

static void on_limit(void *arg)
{
    struct hook *h = arg;
    log_warn("hook %s: still running after %llu s, and killed", h->name, (unsigned long long)h->all->limit_ms / 1000);
    kill(-h->pid, SIGKILL);
}

static int describe(posix_spawn_file_actions_t *fa, posix_spawnattr_t *attr, const char *home, int output)
{
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGIO);
    int e = posix_spawn_file_actions_addopen(fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(fa, output, STDOUT_FILENO);
    if (e == 0)
        e = posix_spawn_file_actions_adddup2(fa, STDOUT_FILENO, STDERR_FILENO);
    if (e == 0)
        e = posix_spawn_file_actions_addclosefrom_np(fa, STDERR_FILENO + 1);
    if (e == 0)
        e = posix_spawn_file_actions_addchdir_np(fa, home);
    if (e == 0)
        e = posix_spawnattr_setsigmask(attr, &none);
    if (e == 0)
        e = posix_spawnattr_setsigdefault(attr, &usual);
    if (e == 0)
        e = posix_spawnattr_setpgroup(attr, 0);
    return e ? e : posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

static int spawn(struct hook *h, char *path, char **env, int output)
{
    char *argv[] = {path, NULL, NULL};
    if (h == &h->all->hook[NOTIFY])
        argv[1] = NOTIFY_HELPER;
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&fa);
    posix_spawnattr_init(&attr);
    int e = describe(&fa, &attr, h->all->home, output);
    if (e == 0)
        e = posix_spawn(&h->pid, path, &fa, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    return e;
}

/* The output is above what the new process makes of it, so that no step of describe meets itself. */
static int run(struct hook *h, char *path, char **env)
{
    int end[2];
    if (pipe2(end, O_CLOEXEC | O_NONBLOCK) < 0)
        return errno;
    int output = fcntl(end[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(end[1]);
    if (output >= 0)
        fcntl(output, F_SETFL, 0);            /* the reading end is ours, and does not block */
    int e = output < 0 ? errno : spawn(h, path, env, output);
    if (output >= 0)
        close(output);
    h->process = e ? -1 : pidfd_open(h->pid, 0);
    if (e == 0 && h->process < 0) {
        e = errno;
        kill(-h->pid, SIGKILL);
        waitpid(h->pid, NULL, 0);
    }
    if (e) {
        close(end[0]);
        h->pid = 0;
        return e;
    }
    h->output = end[0];
    h->said = 0;
    loop_add_fd(h->all->loop, h->output, POLLIN, on_output, h);
    loop_add_fd(h->all->loop, h->process, POLLIN, on_end, h);
    loop_timer_set(h->all->loop, &h->limit, h->all->limit_ms, on_limit, h);
    return 0;
}

/* ---- which ones may ---- */

/* What is wrong with it, or NULL. */
static const char *fault(const struct stat *st, mode_t type)
{
    if ((st->st_mode & S_IFMT) != type)
        return type == S_IFDIR ? "no directory" : "no regular file";
    if (st->st_uid != geteuid())
        return "belongs to another user: it must be yours";
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return "others can write to it: chmod go-w";
    return type == S_IFREG && !(st->st_mode & S_IXUSR) ? "not executable: chmod +x" : NULL;
}

/* False: there is none, or it may not be run. */
static bool may_run(const char *dir, const char *path)
{
    struct stat d, f;
    if (lstat(path, &f) < 0 || stat(dir, &d) < 0)
        return false;
    const char *why = fault(&d, S_IFDIR), *what = dir;
    if (!why) {
        why = fault(&f, S_IFREG);
        what = path;
    }
    if (why)
        log_seldom(LOG_WARN, "hook not run: %s: %s", what, why);
    return !why;
}

static void start_next(struct hook *h)
{
    AUTOFREE char *dir = file_in(h->all->home, "hooks");
    bool ours = h == &h->all->hook[NOTIFY];
    AUTOFREE char *path = ours ? xstrdup("/proc/self/exe") : file_in(dir, h->name);
    while (!h->pid && h->nwaiting > 0) {
        char **env = h->waiting[0];
        memmove(h->waiting, h->waiting + 1, --h->nwaiting * sizeof *h->waiting);
        int e = ours || may_run(dir, path) ? run(h, path, env) : 0;
        errno = e;
        if (e)
            log_warn("hook %s: cannot be run: %m", h->name);
        free_env(env);
    }
}

static void add(struct hook *h, const char *const *facts)
{
    if (h->nwaiting == HOOK_QUEUE) {
        log_seldom(LOG_WARN, "hook %s: %d events wait for it already, further ones are dropped", h->name, HOOK_QUEUE);
        return;
    }
    h->waiting[h->nwaiting++] = make_env(facts);
    start_next(h);
}

void hooks_run(struct hooks *hs, const char *event, const char *const *facts)
{
    for (size_t i = 0; i < NOTIFY; i++)
        if (strcmp(kinds[i].event, event) == 0)
            add(&hs->hook[i], facts);
}

void hooks_notify(struct hooks *hs, const char *event, const char *const *facts)
{
    if (strcmp(event, "locked") == 0 || strcmp(event, "unlocked") == 0)
        add(&hs->hook[NOTIFY], facts);
}

struct hooks *hooks_new(struct loop *l, const char *home, uint64_t limit_ms)
{
    struct hooks *hs = xcalloc(1, sizeof *hs);
    *hs = (struct hooks){.loop = l, .home = home, .limit_ms = limit_ms};
    for (size_t i = 0; i < KINDS; i++)
        hs->hook[i] = (struct hook){.all = hs, .name = i == NOTIFY ? NOTIFY_HELPER : kinds[i].name, .process = -1, .output = -1, .line = BUF_INIT(LINE_MAX_LEN)};
    return hs;
}

void hooks_free(struct hooks **phs)
{
    struct hooks *hs = *phs;
    for (size_t i = 0; hs && i < KINDS; i++) {
        struct hook *h = &hs->hook[i];
        if (h->pid) {
            kill(-h->pid, SIGKILL);
            waitpid(h->pid, NULL, 0);
            let_go(h);
        }
        for (size_t k = 0; k < h->nwaiting; k++)
            free_env(h->waiting[k]);
        buf_release(&h->line);
    }
    free(hs);
    *phs = NULL;
}

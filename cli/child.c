#include "cli/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/family.h"

/* ---- the terminal ---- */

static bool we_have_it(const struct child *c) { return c->tty >= 0 && tcgetpgrp(c->tty) == getpgrp(); }

static void set_terminal(struct child *c, pid_t group, const struct termios *modes)
{
    tcsetpgrp(c->tty, group);
    if (modes)
        tcsetattr(c->tty, TCSADRAIN, modes);
}

/* The group that had it may have ended meanwhile. */
static void give_terminal(struct child *c)
{
    if (!we_have_it(c))
        return;
    set_terminal(c, c->pid, c->has_its ? &c->its : NULL);
    if (c->front != c->pid)
        tcsetpgrp(c->tty, c->front);
    c->front = c->pid;
}

static void take_terminal(struct child *c, pid_t from)
{
    if (c->tty < 0 || from == getpgrp() || tcgetpgrp(c->tty) != from)
        return;
    c->front = from;
    c->has_its = tcgetattr(c->tty, &c->its) == 0;
    set_terminal(c, getpgrp(), &c->ours);
}

static void open_terminal(struct child *c)
{
    c->tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (c->tty >= 0 && tcgetattr(c->tty, &c->ours) == 0)
        return;
    if (c->tty >= 0)
        close(c->tty);
    c->tty = -1;
}

/* ---- the guard ---- */

/* What the guard is told: whom it has to continue besides the group, or one of these. */
enum { FORGET_ALL = 0, GO_HOME = -1 };

struct charges { pid_t *v; size_t n; };

static void take_charge(struct charges *of, pid_t pid)
{
    if (pid == GO_HOME)
        _exit(0);
    if (pid == FORGET_ALL) {
        of->n = 0;
        return;
    }
    of->v = xrealloc(of->v, of->n + 1, sizeof *of->v);
    of->v[of->n++] = pid;
}

/* In a session of its own, so that what ends our group or hangs up our terminal does not end it. */
static _Noreturn void guard(const struct child *c, int end)
{
    struct charges of = { 0 };
    pid_t pid;
    ssize_t n;
    setsid();
    dup2(end, STDIN_FILENO);
    close_range(STDIN_FILENO + 1, ~0u, 0);
    while ((n = read(STDIN_FILENO, &pid, sizeof pid)) > 0 || (n < 0 && errno == EINTR))
        if (n == sizeof pid)
            take_charge(&of, pid);
    while (of.n > 0)
        kill(of.v[--of.n], SIGCONT);
    kill(-c->pid, SIGCONT);
    _exit(0);
}

/* Without a guard all works but this. */
static void start_guard(struct child *c)
{
    int end[2];
    if (pipe2(end, O_CLOEXEC) < 0)
        return;
    c->guard = fork();
    if (c->guard == 0) {
        close(end[1]);
        guard(c, end[0]);
    }
    close(end[0]);
    c->guard_pipe = end[1];
}

static void tell_guard(struct child *c, pid_t word)
{
    ssize_t n = c->guard_pipe < 0 ? 0 : write(c->guard_pipe, &word, sizeof word);
    (void)n;                       /* one that has died needs no word */
}

static void end_guard(struct child *c)
{
    if (c->guard_pipe < 0)
        return;
    tell_guard(c, GO_HOME);
    close(c->guard_pipe);
    if (c->guard > 0)
        waitpid(c->guard, NULL, 0);
}

/* ---- the program ---- */

static int spawn(struct child *c, char *const argv[], const sigset_t *mask, bool terminal)
{
    posix_spawnattr_t a;
    posix_spawn_file_actions_t f;
    posix_spawnattr_init(&a);
    posix_spawn_file_actions_init(&f);
    posix_spawnattr_setflags(&a, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&a, 0);
    posix_spawnattr_setsigmask(&a, mask);
    if (terminal)
        posix_spawn_file_actions_addtcsetpgrp_np(&f, c->tty);
    int error = posix_spawnp(&c->pid, argv[0], &f, &a, argv, environ);
    posix_spawn_file_actions_destroy(&f);
    posix_spawnattr_destroy(&a);
    return error;
}

int child_start(struct child *c, char *const argv[], const sigset_t *mask)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L);
    open_terminal(c);
    bool terminal = we_have_it(c) && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    int error = spawn(c, argv, mask, terminal);
    if (error) {
        if (terminal)
            set_terminal(c, getpgrp(), NULL);
        c->pid = 0;
        errno = error;
        err_set(ERR_NOTFOUND, "%s: %m", argv[0]);
        return error == ENOENT ? CHILD_NOT_THERE : CHILD_NO_PROGRAM;
    }
    c->front = c->pid;
    start_guard(c);
    return 0;
}

/* ---- stopping and continuing ---- */

#define ROUNDS 100

static struct family family(const struct child *c) { return family_of(getpid(), c->guard); }

void child_signal(struct child *c, int number)
{
    assert(c->pid > 0 && !c->over);
    kill(-c->pid, number);
}

void child_signal_all(struct child *c, int number)
{
    struct family f = family(c);
    if (!c->over)
        kill(-c->pid, number);
    for (size_t i = 0; i < f.n; i++)
        if (c->over || f.v[i].group != c->pid)
            kill(f.v[i].pid, number);
    family_release(&f);
}

static bool is_stopped(const struct child *c, pid_t pid)
{
    for (size_t i = 0; i < c->nstopped; i++)
        if (c->stopped[i] == pid)
            return true;
    return false;
}

/* Whoever waits for a child hears that it is stopped when it is itself still on its way: wait(2) looks at children before it looks at
 * signals, and a shell would say so and take the terminal. So each is to rest before its children are stopped. Who cannot be interrupted
 * just now is not waited for longer than this, all together. */
#define REST_MS 200

static void await_rest(pid_t pid, unsigned *left_ms)
{
    for (; *left_ms > 0 && !family_rests(pid); --*left_ms)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* False: there was nobody new. The guard knows of each before it is stopped. */
static bool stop_others(struct child *c, unsigned *left_ms)
{
    struct family f = family(c);
    size_t before = c->nstopped;
    for (size_t i = 0; i < f.n; i++) {
        if (f.v[i].group == c->pid || is_stopped(c, f.v[i].pid))
            continue;
        take_terminal(c, f.v[i].group);
        c->stopped = xrealloc(c->stopped, c->nstopped + 1, sizeof *c->stopped);
        c->stopped[c->nstopped++] = f.v[i].pid;
        tell_guard(c, f.v[i].pid);
        kill(f.v[i].pid, SIGSTOP);
        await_rest(f.v[i].pid, left_ms);
    }
    family_release(&f);
    return c->nstopped > before;
}

/* The group is stopped at one blow. Of the others, each one may have started another before it was found; one that is root's goes on. */
void child_hold(struct child *c)
{
    unsigned left_ms = REST_MS;
    c->held = true;
    child_signal(c, SIGSTOP);
    await_rest(c->pid, &left_ms);
    take_terminal(c, c->pid);
    for (int i = 0; i < ROUNDS && stop_others(c, &left_ms); i++)
        ;
}

/* Children first: no shell is to see those stopped that it has started. */
static void continue_all(struct child *c)
{
    while (c->nstopped > 0)
        kill(c->stopped[--c->nstopped], SIGCONT);
    kill(-c->pid, SIGCONT);
    tell_guard(c, FORGET_ALL);
}

void child_release(struct child *c)
{
    c->held = false;
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        give_terminal(c);
    continue_all(c);
}

/* Stops us as the terminal would have: our group is the shell's job. Returns when we are continued, and at once where nobody could
 * do that. */
static void suspend_us(void)
{
    sigset_t one, was;
    sigemptyset(&one);
    sigaddset(&one, SIGTSTP);
    kill(0, SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &one, &was);
    sigprocmask(SIG_SETMASK, &was, NULL);
}

static void on_stopped(struct child *c, int number)
{
    if (c->held || c->tty < 0)    /* without a terminal there are no jobs: who has stopped it continues it */
        return;
    if ((number == SIGTTIN || number == SIGTTOU) && we_have_it(c)) {
        give_terminal(c);
        child_signal(c, SIGCONT);
        return;
    }
    take_terminal(c, c->pid);
    suspend_us();
    child_release(c);
}

/* What it does about that is its own business: on_stopped sees it. */
void child_suspend(struct child *c)
{
    if (c->held)
        suspend_us();
    else
        child_signal(c, SIGTSTP);
}

/* Others that end here have outlived their parents. */
bool child_look(struct child *c, int *code)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        if (pid != c->pid)
            continue;
        if (WIFSTOPPED(status)) {
            on_stopped(c, WSTOPSIG(status));
            continue;
        }
        c->over = true;
        *code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    return c->over;
}

bool child_all_over(const struct child *c)
{
    struct family f = family(c);
    bool none = c->over && f.n == 0;
    family_release(&f);
    return none;
}

void child_end(struct child *c)
{
    if (c->tty >= 0 && (tcgetpgrp(c->tty) == c->pid || tcgetpgrp(c->tty) == c->front))
        set_terminal(c, getpgrp(), NULL);          /* its modes stay: it may be there to set them */
    if (c->held)
        continue_all(c);
    end_guard(c);
    if (c->tty >= 0)
        close(c->tty);
    free(c->stopped);
    *c = (struct child)CHILD_INIT;
}

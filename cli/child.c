#include "cli/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the terminal ---- */

static bool we_have_it(const struct child *c) { return c->tty >= 0 && tcgetpgrp(c->tty) == getpgrp(); }

/* tcsetpgrp and tcsetattr from the background send SIGTTOU, which would stop us. */
static void set_terminal(struct child *c, pid_t group, const struct termios *modes)
{
    sigset_t out, was;
    sigemptyset(&out);
    sigaddset(&out, SIGTTOU);
    sigprocmask(SIG_BLOCK, &out, &was);
    tcsetpgrp(c->tty, group);
    if (modes)
        tcsetattr(c->tty, TCSADRAIN, modes);
    sigprocmask(SIG_SETMASK, &was, NULL);
}

static void give_terminal(struct child *c)
{
    if (we_have_it(c))
        set_terminal(c, c->pid, c->has_its ? &c->its : NULL);
}

static void take_terminal(struct child *c)
{
    if (c->tty < 0 || tcgetpgrp(c->tty) != c->pid)
        return;
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

/* In a session of its own, so that what ends our group or hangs up our terminal does not end it. */
static _Noreturn void guard(const struct child *c, int end)
{
    char byte;
    ssize_t n;
    setsid();
    dup2(end, STDIN_FILENO);
    close_range(STDIN_FILENO + 1, ~0u, 0);
    while ((n = read(STDIN_FILENO, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (n == 0)
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

static void end_guard(struct child *c)
{
    if (c->guard_pipe < 0)
        return;
    ssize_t n = write(c->guard_pipe, "", 1);
    (void)n;                       /* one that has died needs no word */
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
    start_guard(c);
    return 0;
}

void child_signal(struct child *c, int number)
{
    assert(c->pid > 0);
    kill(-c->pid, number);
}

void child_hold(struct child *c)
{
    c->held = true;
    child_signal(c, SIGSTOP);
    take_terminal(c);
}

void child_release(struct child *c)
{
    c->held = false;
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        give_terminal(c);
    child_signal(c, SIGCONT);
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
    take_terminal(c);
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

bool child_look(struct child *c, int *code)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(c->pid, &status, WNOHANG | WUNTRACED)) > 0) {
        if (WIFSTOPPED(status)) {
            on_stopped(c, WSTOPSIG(status));
            continue;
        }
        *code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        return true;
    }
    return false;
}

void child_end(struct child *c)
{
    if (c->tty >= 0 && tcgetpgrp(c->tty) == c->pid)
        set_terminal(c, getpgrp(), NULL);          /* its modes stay: it may be there to set them */
    if (c->held)
        child_signal(c, SIGCONT);
    end_guard(c);
    if (c->tty >= 0)
        close(c->tty);
    *c = (struct child)CHILD_INIT;
}

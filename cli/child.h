/* child: a program that can be stopped and continued with all that it has started, while its user sees what he would see without us: it
 * has our standard input and output, our environment, and the terminal whenever we have it. It is in a process group of its own.
 *
 *   child_start -> [ child_hold <-> child_release ]... -> child_look says that it has ended -> child_end
 *
 * What it has started are its descendants, whatever groups and sessions they have made for themselves: what outlives its parent becomes
 * our child (we are a subreaper from child_start on). Out of reach are those whom somebody else starts for it, as a service manager does.
 *
 * The terminal is the child's while standard input and output are one and our own group is in its foreground; else the child gets it
 * when it asks for it (SIGTTIN, SIGTTOU). While the child is held we have it back, so that ^C reaches us; then the group that had it,
 * which may be one that the child has made, gets it again. Its modes are kept for each of the two. What the user stops (^Z) stops us, and
 * our whole group, as a shell's job; fg and bg continue both.
 *
 * A guard lives beside the child: a process that does nothing but continue what is held when we are gone without child_end. SIGKILL lets
 * us do nothing ourselves, and what was held would be so for ever.
 *
 * The caller has SIGTTOU and SIGPIPE blocked: the first would stop us when we use the terminal from the background, the second end us
 * when the guard has died. */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#include "proto/err.h"

struct child {
    pid_t pid;                     /* also its process group; 0: not started */
    bool held;                     /* stopped by us */
    bool over;                     /* it has ended; what it has started may not */
    pid_t *stopped;                /* outside its group, by us; parents before their children */
    size_t nstopped;
    int tty;                       /* -1: there is none */
    pid_t front;                   /* the group that has the terminal while we have not */
    struct termios ours, its;      /* modes of the terminal */
    bool has_its;
    pid_t guard;
    int guard_pipe;
};
#define CHILD_INIT { .tty = -1, .guard_pipe = -1 }

#define CHILD_NOT_THERE 127        /* exit codes of shells */
#define CHILD_NO_PROGRAM 126

/* argv as execvp wants it; `mask` is the signal mask that the program gets. An exit code: CHILD_NOT_THERE or CHILD_NO_PROGRAM when it
 * cannot be started. */
int  child_start(struct child *c, char *const argv[], const sigset_t *mask) MUST_CHECK;
void child_hold(struct child *c);
void child_release(struct child *c);               /* also when it is not held: whatever stopped it */
void child_signal(struct child *c, int number);    /* to its group, as a terminal would */
void child_signal_all(struct child *c, int number);    /* to all that it has started */
void child_suspend(struct child *c);               /* we were told to stop, as a job: so is it, and we with it */
/* After SIGCHLD. True: it has ended, this time or before; *code is then set once, to its exit code, or 128 + the signal that killed it. */
bool child_look(struct child *c, int *code);
bool child_all_over(const struct child *c);        /* it has ended, and so has all that it has started */
void child_end(struct child *c);                   /* it has ended; what it has started and left goes on */

#endif

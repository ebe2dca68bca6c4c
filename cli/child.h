/* child: a program that runs in a process group of its own, so that all of it can be stopped and continued, while its user sees what
 * he would see without us: it has our standard input and output, our environment, and the terminal whenever we have it.
 *
 *   child_start -> [ child_hold <-> child_release ]... -> child_look says that it has ended -> child_end
 *
 * The terminal is the child's while standard input and output are one and our own group is in its foreground; else the child gets it
 * when it asks for it (SIGTTIN, SIGTTOU). While the child is held we have it back, so that ^C reaches us. Its modes are kept for each
 * of the two. What the user stops (^Z) stops us, and our whole group, as a shell's job; fg and bg continue both.
 *
 * A guard lives beside the child: a process that does nothing but continue the child's group when we are gone without child_end.
 * SIGKILL lets us do nothing ourselves, and a child that was held would be so for ever. */
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
    int tty;                       /* -1: there is none */
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
void child_signal(struct child *c, int number);
void child_suspend(struct child *c);               /* we were told to stop, as a job: so is it, and we with it */
/* After SIGCHLD. True: it has ended, *code is its exit code, or 128 + the signal that killed it. */
bool child_look(struct child *c, int *code);
void child_end(struct child *c);                   /* it has ended; what it has left of its group goes on */

#endif

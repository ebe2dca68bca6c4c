#include "cli/secret.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"

/* Up to the end of the line, or of the input; byte by byte, since what follows is not ours. false: a signal has come, or errno says what. */
static bool read_line(int fd, int signals, char *out, size_t size, size_t *len)
{
    struct pollfd ready[] = { { .fd = fd, .events = POLLIN }, { .fd = signals, .events = POLLIN } };
    for (*len = 0; *len < size; ++*len) {
        if (poll(ready, 2, -1) < 0)
            return false;
        if (ready[1].revents)
            return false;
        ssize_t n = read(fd, out + *len, 1);
        if (n < 0)
            return false;
        if (n == 0 || out[*len] == '\n')
            return true;
    }
    return true;
}

static int finish(bool good, char *out, size_t size, size_t len)
{
    if (!good)
        return failed(err_set(ERR_IO, "standard input: %m"));
    if (len == size)
        return usage_error("standard input: the first line is too long");
    if (memchr(out, '\0', len))
        return usage_error("standard input: the first line is no text");
    out[len] = '\0';
    return 0;
}

static int read_quietly(const char *prompt, const struct termios *before, char *out, size_t size)
{
    static const int ends[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGTSTP };
    struct termios quiet = *before;
    sigset_t held, old;
    size_t len = 0;
    sigemptyset(&held);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        sigaddset(&held, ends[i]);
    sigprocmask(SIG_BLOCK, &held, &old);
    int signals = signalfd(-1, &held, SFD_CLOEXEC);
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ECHONL;
    fputs(prompt, stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    errno = EINTR;
    bool good = read_line(STDIN_FILENO, signals, out, size, &len);
    int why = errno;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, before);
    close(signals);
    sigprocmask(SIG_SETMASK, &old, NULL);              /* what was held back takes effect here */
    errno = why;
    return finish(good, out, size, len);
}

int secret_read(const char *prompt, char *out, size_t size)
{
    struct termios before;
    if (tcgetattr(STDIN_FILENO, &before) == 0)
        return read_quietly(prompt, &before, out, size);
    size_t len;
    bool good = read_line(STDIN_FILENO, -1, out, size, &len);
    return finish(good, out, size, len);
}

#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "lanyardd"
#define LINE_MAX_BYTES 4096u
#define EXEC_FAILED 127       /* as the shell has it */

struct daemon daemon_new(const struct cli *c, const char *command)
{
    struct daemon d = { 0 };
    daemon_add(&d, PROGRAM);
    daemon_option(&d, "--home", c->home_given);
    daemon_add(&d, command);
    return d;
}

void daemon_add(struct daemon *d, const char *word)
{
    d->argv = xrealloc(d->argv, d->argc + 2, sizeof *d->argv);
    d->argv[d->argc++] = xstrdup(word);
    d->argv[d->argc] = NULL;
}

void daemon_option(struct daemon *d, const char *name, const char *value)
{
    if (!value)
        return;
    daemon_add(d, name);
    daemon_add(d, value);
}

void daemon_release(struct daemon *d)
{
    for (size_t i = 0; i < d->argc; i++)
        free(d->argv[i]);
    free(d->argv);
    *d = (struct daemon){ 0 };
}

/* The path of lanyardd beside this program; false when that cannot be told. */
static bool beside(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    if (n <= 0 || (size_t)n >= size - 1)
        return false;
    path[n] = '\0';
    char *name = strrchr(path, '/');
    if (!name || (size_t)(name + 1 - path) + sizeof PROGRAM > size)
        return false;
    memcpy(name + 1, PROGRAM, sizeof PROGRAM);
    return true;
}

int daemon_exec(struct daemon *d)
{
    char path[PATH_MAX];
    fflush(stdout);
    errno = ENOENT;
    if (beside(path, sizeof path))
        execv(path, d->argv);
    if (errno == ENOENT || errno == EACCES)
        execvp(PROGRAM, d->argv);
    if (errno == ENOENT)
        return failed(err_set(ERR_NOTFOUND, PROGRAM " is neither beside lanyard nor in PATH: install both"));
    return failed(err_set(ERR_IO, PROGRAM ": %m"));
}

/* In the child: its own session, nothing to read, stdout to the pipe, stderr to the log. */
static _Noreturn void become(struct daemon *d, int out, int log)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (setsid() < 0 || null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(log, 2) < 0)
        _exit(EXEC_FAILED);
    daemon_exec(d);
    dprintf(2, "lanyard: %s\n", err_text());
    _exit(EXEC_FAILED);
}

/* Reads one whole line. False when the other side closed before it was whole. */
static bool read_line(int fd, char *line, size_t size)
{
    size_t len = 0;
    while (len < size - 1) {
        ssize_t n = read(fd, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        if (line[len] == '\n')
            break;
        len++;
    }
    line[len] = '\0';
    return true;
}

/* The last line "lanyard...: REASON" in the log behind `start`, into err_text. */
static void find_reason(int log, off_t start, const char *name)
{
    char text[16 * LINE_MAX_BYTES];
    off_t end = lseek(log, 0, SEEK_END);
    if (end - start > (off_t)sizeof text - 1)
        start = end - (off_t)sizeof text + 1;
    ssize_t n = pread(log, text, sizeof text - 1, start);
    const char *found = NULL;
    text[n > 0 ? n : 0] = '\0';
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (strncmp(line, "lanyard: ", 9) == 0 || strncmp(line, PROGRAM ": ", sizeof PROGRAM + 1) == 0)
            found = strchr(line, ' ') + 1;
    }
    if (found)
        err_set(ERR_BAD, "%s", found);
    else
        err_set(ERR_BAD, "the node did not start: see %s", name);
}

static int child_code(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != EXEC_FAILED)
        return WEXITSTATUS(status);
    return EXIT_FAILED;
}

static int wait_ready(pid_t child, int out, int log, off_t start, const char *name)
{
    char line[LINE_MAX_BYTES];
    if (read_line(out, line, sizeof line)) {
        puts(line);
        return 0;
    }
    int code = child_code(child);
    find_reason(log, start, name);
    return code;
}

int daemon_detach(struct daemon *d, const char *name)
{
    int pipes[2], log = open(name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0 && errno == ENOENT)
        return failed(err_set(ERR_NOTFOUND, "there is no node in %.*s: make one with lanyard init or lanyard join",
                              (int)(strlen(name) - strlen("/log")), name));
    if (log < 0)
        return failed(err_set(ERR_IO, "%s: %m", name));
    off_t start = lseek(log, 0, SEEK_END);
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        close(log);
        return failed(err_set(ERR_IO, "no pipe: %m"));
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        become(d, pipes[1], log);
    close(pipes[1]);
    int code = child < 0 ? failed(err_set(ERR_IO, "no process: %m")) : wait_ready(child, pipes[0], log, start, name);
    close(pipes[0]);
    close(log);
    return code;
}

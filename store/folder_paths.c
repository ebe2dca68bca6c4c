/* Which paths the files of kept/ had. The index knows that, and is all that is asked as long as it is there; this is for the day on which
 * it is lost: lines that are added to kept/.paths, before the first flush of a batch, so that they are durable before a file is displaced.
 * Not in the names of the files, which are too short for a path, nor in attributes of them, which many file systems, links and files
 * without write permission do not take. A line that cannot be written holds up nothing: the file itself is safe.
 * A line is a newline, the name in kept/, a space, the path in hex, and a dot, without which it was torn. */
#include "store/folder_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define PATHS ".paths"
#define PATHS_NEW ".paths.new"
enum { LINE_MOST = 128 + 2 * LIMIT_PATH };

/* Locked by whoever writes; a descriptor of its own each time, for a lock belongs to that. -1: it cannot be had. */
static int lock(const struct folder *f)
{
    int fd = folder_beneath(f->kept, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0)
        (void)flock(fd, LOCK_EX);
    return fd;
}

static void add_line(struct buf *lines, const char *name, const char *path, size_t len)
{
    buf_addf(lines, "\n%s ", name);
    char *hex = (char *)buf_room(lines, 2 * len + 1);
    if (!hex)
        return;
    hex_encode(hex, path, len);
    hex[2 * len] = '.';
}

static bool append(const struct folder *f, const struct buf *lines, bool flush)
{
    struct stamp is;
    AUTOCLOSE int locked = lock(f);
    AUTOCLOSE int fd = locked < 0 ? -1 : folder_beneath(f->kept, PATHS, O_WRONLY | O_CREAT | O_NONBLOCK, 0600);
    if (fd < 0 || folder_look(fd, "", &is) < 0 || is.kind != STAMP_FILE)
        return false;
    return sys->pwrite(fd, lines->data, lines->len, (off_t)is.size) == (ssize_t)lines->len && (!flush || sys->fsync(fd) == 0);
}

void folder_note_paths(const struct folder *f, const struct change *c, size_t n, bool flush)
{
    AUTO(buf_release) struct buf lines = BUF_INIT(n * LINE_MOST);
    for (size_t i = 0; i < n; i++)
        if (c[i].code == 0 && c[i].kept && !c[i].whole && c[i].op != CHANGE_META && c[i].expected.kind == STAMP_FILE)
            add_line(&lines, c[i].kept, c[i].path, c[i].len);
    if (lines.len && buf_ok(&lines))
        (void)append(f, &lines, flush);
}

void folder_kept_note(const struct folder *f, const char *kept, const char *path, size_t len)
{
    AUTO(buf_release) struct buf line = BUF_INIT(LINE_MOST);
    if (folder_name_check(kept) < 0 || path_check(path, len) < 0)
        return;
    add_line(&line, kept, path, len);
    (void)append(f, &line, true);
}

/* ---- reading ---- */

/* Reads all of it, with a NUL behind: NULL when there is none. */
static char *read_all(const struct folder *f, size_t *len)
{
    struct stamp is;
    AUTOCLOSE int fd = folder_beneath(f->kept, PATHS, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 || folder_look(fd, "", &is) < 0 || is.kind != STAMP_FILE)
        return NULL;
    char *text = xcalloc(is.size + 1, 1);
    for (*len = 0; *len < is.size;) {
        ssize_t n = sys->pread(fd, text + *len, is.size - *len, (off_t)*len);
        if (n <= 0)
            break;
        *len += (size_t)n;
    }
    return text;
}

/* One line, which ends in a NUL. */
static int tell(char *line, int (*each)(void *arg, const char *name, const char *path, size_t len), void *arg)
{
    char path[LIMIT_PATH], *hex = strchr(line, ' ');
    size_t n = hex ? strlen(++hex) : 0;
    if (n % 2 == 0 || n / 2 > sizeof path || hex[n - 1] != '.')
        return 0;
    hex[n - 1] = hex[-1] = '\0';
    if (folder_name_check(line) < 0 || hex_decode(path, n / 2, hex) < 0 || path_check(path, n / 2) < 0)
        return 0;
    return each(arg, line, path, n / 2);
}

int folder_kept_paths(const struct folder *f, int (*each)(void *arg, const char *name, const char *path, size_t len), void *arg)
{
    size_t len;
    AUTOFREE char *text = read_all(f, &len);
    int r = 0;
    for (char *line = text, *next; r == 0 && line; line = next) {
        next = memchr(line, '\n', len - (size_t)(line - text));
        if (next)
            *next++ = '\0';
        r = tell(line, each, arg);
    }
    return r;
}

/* ---- tidying up ---- */

struct tidy { const struct folder *f; struct buf lines; size_t all, there; };

static int keep_line(void *arg, const char *name, const char *path, size_t len)
{
    struct tidy *t = arg;
    struct stamp is;
    t->all++;
    if (folder_look(t->f->kept, name, &is) == 0 && is.kind == STAMP_ABSENT)
        return 0;
    t->there++;
    add_line(&t->lines, name, path, len);
    return 0;
}

static bool write_new(const struct folder *f, const struct buf *lines)
{
    (void)sys->unlinkat(f->kept, PATHS_NEW, 0);
    AUTOCLOSE int fd = folder_beneath(f->kept, PATHS_NEW, O_WRONLY | O_CREAT | O_EXCL, 0600);
    return fd >= 0 && (lines->len == 0 || sys->pwrite(fd, lines->data, lines->len, 0) == (ssize_t)lines->len) && sys->fsync(fd) == 0 &&
           sys->renameat2(f->kept, PATHS_NEW, f->kept, PATHS, 0) == 0;
}

void folder_kept_tidy(const struct folder *f)
{
    struct tidy t = { .f = f, .lines = BUF_INIT(SIZE_MAX) };
    AUTOCLOSE int locked = lock(f);
    int r = locked < 0 ? -1 : folder_kept_paths(f, keep_line, &t);
    if (r == 0 && t.all > 2 * t.there && buf_ok(&t.lines) && !write_new(f, &t.lines))
        (void)sys->unlinkat(f->kept, PATHS_NEW, 0);
    buf_release(&t.lines);
}

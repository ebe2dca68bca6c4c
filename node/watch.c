#include "node/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "node/log.h"
#include "proto/limits.h"
#include "proto/path.h"

#define MASK (IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | \
              IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)

/* Paths by watch descriptor: the kernel counts descriptors up from 1, so an array will do. An event of a descriptor that is not bound
 * yet (its walk has not reported) means: look at everything, once the walk is done. */
struct watch {
    struct loop *loop;
    struct watch_ops ops;
    char *root;
    int fd;
    struct loop_timer pause;
    char **path; size_t n, bound;
};

/* A batch of files that are put in place is an event each, and would wake the loop for each. So what comes within that time after a look is
 * looked at together. */
#define PAUSE_MS 3

static void on_events(void *arg);

static void on_pause_over(void *arg)
{
    struct watch *w = arg;
    loop_add_fd(w->loop, w->fd, POLLIN, on_events, w);
}

static void on_events(void *arg)
{
    struct watch *w = arg;
    watch_drain(w);
    loop_del_fd(w->loop, w->fd);
    loop_timer_set(w->loop, &w->pause, PAUSE_MS, on_pause_over, w);
}

int watch_new(struct loop *l, const char *root, const struct watch_ops *ops, struct watch **out)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return err_set(ERR_IO, "watching the folder: inotify: %m: raise fs.inotify.max_user_instances");
    struct watch *w = xcalloc(1, sizeof *w);
    w->loop = l;
    w->ops = *ops;
    w->root = xstrdup(root);
    w->fd = fd;
    loop_add_fd(l, fd, POLLIN, on_events, w);
    *out = w;
    return 0;
}

void watch_free(struct watch **pw)
{
    struct watch *w = *pw;
    if (!w)
        return;
    loop_timer_clear(w->loop, &w->pause);
    loop_del_fd(w->loop, w->fd);
    close(w->fd);
    for (size_t i = 0; i < w->n; i++)
        free(w->path[i]);
    free(w->path);
    free(w->root);
    free(w);
    *pw = NULL;
}

size_t watch_count(const struct watch *w) { return w->bound; }

int watch_add(struct watch *w, const char *path, size_t len)
{
    char full[2 * LIMIT_PATH + 2];
    int n = snprintf(full, sizeof full, "%s/%.*s", w->root, (int)len, path);
    if (n < 0 || (size_t)n >= sizeof full)
        return err_set(ERR_IO, "watching %s: path too long", path_show(path, len));
    int wd = inotify_add_watch(w->fd, full, MASK);
    if (wd >= 0)
        return wd;
    if (errno == ENOSPC)
        return err_set(ERR_FULL, "watching the folder: the system's limit is reached: raise fs.inotify.max_user_watches");
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
        return err_set(ERR_NOTFOUND, "watching %s: %m", path_show(path, len));
    return err_set(ERR_IO, "watching %s: %m", path_show(path, len));
}

static void unbind(struct watch *w, size_t wd)
{
    if (wd < w->n && w->path[wd]) {
        free(w->path[wd]);
        w->path[wd] = NULL;
        w->bound--;
    }
}

void watch_bind(struct watch *w, int wd, const char *path, size_t len)
{
    size_t i = (size_t)wd;
    if (i >= w->n) {
        size_t n = i + i / 2 + 64;
        w->path = xrealloc(w->path, n, sizeof *w->path);
        memset(w->path + w->n, 0, (n - w->n) * sizeof *w->path);
        w->n = n;
    }
    unbind(w, i);
    w->path[i] = xcalloc(len + 1, 1);
    memcpy(w->path[i], path, len);
    w->bound++;
}

/* A directory has left its place: its watches would report under a wrong name. */
static void forget_beneath(struct watch *w, const char *path, size_t len)
{
    for (size_t i = 0; i < w->n; i++) {
        const char *p = w->path[i];
        if (!p || strncmp(p, path, len) != 0 || (p[len] != '/' && p[len] != 0))
            continue;
        inotify_rm_watch(w->fd, (int)i);
        unbind(w, i);
    }
}

static void handle(struct watch *w, const struct inotify_event *e)
{
    if (e->mask & IN_Q_OVERFLOW) {
        log_info("watch: too many changes at once, looking at everything");
        w->ops.changed(w->ops.arg, "", 0, true);
        return;
    }
    const char *dir = e->wd >= 0 && (size_t)e->wd < w->n ? w->path[e->wd] : NULL;
    if (e->mask & IN_IGNORED) {
        unbind(w, (size_t)e->wd);
        return;
    }
    if (!dir) {
        w->ops.changed(w->ops.arg, "", 0, true);
        return;
    }
    char path[LIMIT_PATH + 300];
    int n = e->len ? snprintf(path, sizeof path, "%s%s%s", dir, *dir ? "/" : "", e->name) : snprintf(path, sizeof path, "%s", dir);
    if (n < 0 || (size_t)n >= sizeof path || (n > 0 && path_check(path, (size_t)n) < 0))
        return;
    bool is_dir = e->mask & IN_ISDIR;
    if (is_dir && (e->mask & IN_MOVED_FROM))
        forget_beneath(w, path, (size_t)n);
    bool came = e->mask & (IN_CREATE | IN_MOVED_TO);
    if (n > 0)
        w->ops.changed(w->ops.arg, path, (size_t)n, is_dir && came);
}

void watch_drain(struct watch *w)
{
    char buf[64 * 1024] __attribute__((aligned(__alignof__(struct inotify_event))));
    for (ssize_t n; (n = read(w->fd, buf, sizeof buf)) > 0; )
        for (char *p = buf; p < buf + n; ) {
            const struct inotify_event *e = (const void *)p;
            p += sizeof *e + e->len;
            handle(w, e);
        }
}

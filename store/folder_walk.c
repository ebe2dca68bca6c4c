/* Walking the folder. Directories that wait are kept as paths, each opened from the root when its turn comes: so the depth of a
 * tree costs memory and never descriptors. */
#include "store/folder_priv.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct waiting { struct waiting *next; size_t len; char path[]; };

static void push(struct waiting **top, const char *path, size_t len)
{
    struct waiting *w = xcalloc(1, sizeof *w + len + 1);
    memcpy(w->path, path, len);
    w->len = len;
    w->next = *top;
    *top = w;
}

static struct waiting *pop(struct waiting **top)
{
    struct waiting *w = *top;
    *top = w->next;
    return w;
}

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* More than any file system allows: longer names are cut off, and refused by path_check all the same. */
#define NAME_ROOM 1024

/* One walk, and the path of the entry at hand. */
struct walker {
    const struct folder *f;
    const struct walk_ops *ops;
    struct waiting *top;
    size_t dirlen;
    char path[LIMIT_PATH + 1 + NAME_ROOM];
};

/* Puts the entry's name behind the directory's path; returns the length of both. */
static size_t set_name(struct walker *w, const char *name)
{
    size_t at = w->dirlen, namelen = strlen(name);
    if (namelen > NAME_ROOM - 1)
        namelen = NAME_ROOM - 1;
    if (at > 0)
        w->path[at++] = '/';
    memcpy(w->path + at, name, namelen);
    w->path[at + namelen] = '\0';
    return at + namelen;
}

static int visit(struct walker *w, int dirfd, const char *name)
{
    if (w->dirlen == 0 && strcmp(name, PATH_OWN) == 0)
        return 0;
    struct stamp st;
    size_t len = set_name(w, name);
    int code = path_check(w->path, len);
    if (code == 0 && folder_look(dirfd, name, &st) < 0)
        code = folder_error(w->f, w->path, "looking at it");
    if (code < 0) {
        w->ops->trouble(w->ops->arg, w->path, len);
        return 0;
    }
    if (st.kind == STAMP_ABSENT)   /* gone since the directory was read */
        return 0;
    int r = w->ops->entry(w->ops->arg, w->path, len, &st);
    if (r == WALK_DESCEND && st.kind == STAMP_DIR)
        push(&w->top, w->path, len);
    return r < 0 ? r : 0;
}

/* All entries of the directory `dir`. *failed: it could not be read (to its end), the text says why. */
static int visit_dir(struct walker *w, const struct waiting *dir, bool *failed)
{
    w->dirlen = dir->len;
    memcpy(w->path, dir->path, dir->len + 1);
    *failed = true;
    int fd = folder_beneath(w->f->root, dir->len ? dir->path : ".", O_RDONLY | O_DIRECTORY, 0);
    AUTO(close_dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        folder_error(w->f, dir->path, "reading the directory");
        folder_close_fd(&fd);
        return 0;
    }
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e)
            break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int r = visit(w, fd, e->d_name);
        if (r < 0)
            return r;
    }
    *failed = errno != 0;
    if (*failed)
        folder_error(w->f, dir->path, "reading the directory");
    return 0;
}

static int walk(struct walker *w)
{
    for (bool first = true; w->top; first = false) {
        AUTOFREE struct waiting *dir = pop(&w->top);
        bool failed;
        int r = visit_dir(w, dir, &failed);
        if (r < 0)
            return r;
        if (failed && first)
            return err_set(ERR_IO, "%s", err_text());
        if (failed)
            w->ops->trouble(w->ops->arg, dir->path, dir->len);
    }
    return 0;
}

int folder_walk(const struct folder *f, const char *dir, size_t dirlen, const struct walk_ops *ops)
{
    int code = dirlen ? path_check(dir, dirlen) : 0;
    if (code < 0)
        return code;
    AUTOFREE struct walker *w = xcalloc(1, sizeof *w);
    w->f = f;
    w->ops = ops;
    push(&w->top, dir, dirlen);
    code = walk(w);
    while (w->top)
        free(pop(&w->top));
    return code;
}

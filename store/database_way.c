/* A database makes way for what comes in its place. */
#include <stdio.h>

#include "store/database_priv.h"

enum { TMP = 80 };

struct way { const struct folder *f; const char *path; size_t len; const char *stem; struct database_moved *moved; };

static const char *kept_name(struct way *w, char letter)
{
    char *name = w->moved->name[w->moved->n];
    snprintf(name, sizeof w->moved->name[0], "%s-%c", w->stem, letter);
    return name;
}

static int apply(struct way *w, struct change *c)
{
    int r = folder_apply(w->f, c, 1);
    w->moved->n += c->was_kept;
    return r == 0 && c->code < 0 ? err_set((enum err)c->code, "%s", c->text) : r;
}

/* A snapshot takes the place of the file. The file, which is half of it, is kept. */
static int put_whole(struct way *w, const struct database *d, struct stamp *now, const _Atomic bool *stop)
{
    char tmp[TMP];
    snprintf(tmp, sizeof tmp, "%s-t", w->stem);
    int r = database_snapshot(w->f, w->path, w->len, d, tmp, stop);
    if (r < 0)
        return r == ERR_AGAIN || r == ERR_CORRUPT ? err_set(ERR_CHANGED, "%s", err_text()) : r;
    struct change c = {.op = CHANGE_FILE, .path = w->path, .len = w->len, .expected = d->file, .tmp = tmp, .whole = true,
                       .kept = kept_name(w, 'm'), .mode = d->file.mode, .mtime_ns = d->whole.mtime_ns};
    r = apply(w, &c);
    if (r < 0)
        (void)!folder_tmp_remove(w->f, tmp);
    *now = c.now;
    return r;
}

static int take_parts(struct way *w, const struct stamp *beside)
{
    int r = 0;
    for (int i = 0; r == 0 && i < BESIDES; i++) {
        struct zpath z;
        size_t n = beside[i].kind == STAMP_FILE ? database_beside_path(&z, w->path, w->len, i) : 0;
        struct change c = {.op = CHANGE_REMOVE, .whole = true, .path = z.s, .len = n, .expected = beside[i], .kept = kept_name(w, "wjs"[i])};
        if (n)
            r = apply(w, &c);
    }
    return r;
}

static bool will_be_one(const struct folder *f, const char *tmp)
{
    int fd;
    if (!tmp || folder_tmp_open(f, tmp, &fd) < 0)
        return false;
    bool is = database_is(fd);
    folder_close_fd(&fd);
    return is;
}

static int of_database(struct way *w, const struct database *d, struct stamp *expected, const _Atomic bool *stop)
{
    if (d->open || (d->unsure && d->logged))
        return err_set(ERR_CHANGED, "a program has the database open: it is left alone");
    if (!stamp_same(&d->whole, expected))
        return err_set(ERR_CHANGED, "the database is not what it was when this change was decided: it is left alone");
    int r = d->logged ? put_whole(w, d, expected, stop) : 0;
    return r == 0 ? take_parts(w, d->beside) : r;
}

int database_make_way(const struct folder *f, const char *path, size_t len, struct stamp *expected, const char *tmp, const char *stem,
                      const _Atomic bool *stop, struct database_moved *moved)
{
    struct way w = {f, path, len, stem, moved};
    struct database d;
    struct stamp beside[BESIDES];
    int r = 0;
    bool any = false;
    moved->n = 0;
    for (int i = 0; r == 0 && i < BESIDES; i++) {
        r = database_look_beside(f, path, len, i, &beside[i]);
        any |= beside[i].kind == STAMP_FILE;
    }
    if (r < 0 || !any)
        return r;
    r = database_look(f, path, len, &d);
    if (r == 0)
        return of_database(&w, &d, expected, stop);
    return r != ERR_NOTFOUND ? r : will_be_one(f, tmp) ? take_parts(&w, beside) : 0;
}

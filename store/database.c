/* What a database is, which files are part of it, and whether it is in use. */
#include "store/database_priv.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "store/folder_priv.h"

enum { MAGIC_LEN = 16, HEADER_LEN = 20, WRITE_VERSION = 18, WAL_VERSION = 2 };
static const char magic[MAGIC_LEN] = "SQLite format 3";      /* with its NUL */
static const char *const suffix[BESIDES] = {"-wal", "-journal", "-shm"};

size_t database_base(const char *path, size_t len)
{
    size_t name = path_parent(path, len);
    name = name ? name + 1 : 0;
    for (int i = 0; i < BESIDES; i++) {
        size_t n = strlen(suffix[i]);
        if (len > name + n && memcmp(path + len - n, suffix[i], n) == 0)
            return len - n;
    }
    return 0;
}

static bool read_header(int fd, uint8_t h[static HEADER_LEN])
{
    return sys->pread(fd, h, HEADER_LEN, 0) == HEADER_LEN && memcmp(h, magic, MAGIC_LEN) == 0;
}

bool database_begins(const void *p, size_t len)
{
    return len >= HEADER_LEN && memcmp(p, magic, MAGIC_LEN) == 0;
}

bool database_is(int fd)
{
    uint8_t h[HEADER_LEN];
    return read_header(fd, h);
}

bool database_part(const struct folder *f, const char *path, size_t len)
{
    size_t n = database_base(path, len);
    int fd;
    if (n == 0 || folder_open_file(f, path, n, &fd) < 0)
        return false;
    bool is = database_is(fd);
    folder_close_fd(&fd);
    return is;
}

/* ---- the files beside ---- */

size_t database_beside_path(struct zpath *z, const char *path, size_t len, int which)
{
    size_t n = strlen(suffix[which]);
    if (len + n > LIMIT_PATH)
        return 0;
    memcpy(z->s, path, len);
    memcpy(z->s + len, suffix[which], n + 1);
    return path_check(z->s, len + n) < 0 ? 0 : len + n;
}

int database_look_beside(const struct folder *f, const char *path, size_t len, int which, struct stamp *out)
{
    struct zpath z;
    size_t n = database_beside_path(&z, path, len, which);
    *out = (struct stamp){.kind = STAMP_ABSENT};
    int r = n ? folder_stat(f, z.s, n, out) : 0;
    if (out->kind != STAMP_FILE)
        *out = (struct stamp){.kind = STAMP_ABSENT};
    return r;
}

/* A journal that begins with a zero is one that has been done with. That of a transaction in progress begins with one too, until it is
 * needed; but then somebody has the file open. */
static bool begins(int fd)
{
    char first = 0;
    return sys->pread(fd, &first, 1, 0) == 1 && first;
}

static bool journal_counts(const struct folder *f, const char *path, size_t len)
{
    struct zpath z;
    size_t n = database_beside_path(&z, path, len, BESIDE_JOURNAL);
    AUTOCLOSE int fd = -1;
    return n && folder_open_file(f, z.s, n, &fd) == 0 && begins(fd);
}

bool database_log_beside(int dir, const char *name)
{
    for (int i = 0; i <= BESIDE_JOURNAL; i++) {
        char beside[NAME_MAX + 1];
        struct stamp st;
        if (snprintf(beside, sizeof beside, "%s%s", name, suffix[i]) >= (int)sizeof beside || folder_look(dir, beside, &st) < 0 ||
            st.kind != STAMP_FILE || st.size == 0)
            continue;
        AUTOCLOSE int fd = folder_beneath(dir, beside, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
        if (i == BESIDE_WAL || (fd >= 0 && begins(fd)))
            return true;
    }
    return false;
}

static void add(struct stamp *whole, const struct stamp *part)
{
    whole->size += part->size;
    whole->mtime_ns = part->mtime_ns > whole->mtime_ns ? part->mtime_ns : whole->mtime_ns;
    whole->ctime_ns = part->ctime_ns > whole->ctime_ns ? part->ctime_ns : whole->ctime_ns;
}

/* d->file is known. */
static int look_log(const struct folder *f, const char *path, size_t len, struct database *d)
{
    d->whole = d->file;
    for (int i = 0; i <= BESIDE_JOURNAL; i++) {
        int r = database_look_beside(f, path, len, i, &d->beside[i]);
        if (r < 0)
            return r;
        if (d->beside[i].size == 0 || (i == BESIDE_JOURNAL && !journal_counts(f, path, len)))
            continue;
        d->logged = true;
        add(&d->whole, &d->beside[i]);
    }
    return 0;
}

int database_whole(const struct folder *f, const char *path, size_t len, struct stamp *file)
{
    struct database d = {.file = *file};
    int r = look_log(f, path, len, &d);
    *file = d.whole;
    return r;
}

/* ---- whether it is in use ---- */

static void note_use(struct database *d, int fd)
{
    int e = folder_lease(fd);
    d->open |= e == EAGAIN;
    d->unsure |= e != 0 && e != EAGAIN;
}

int database_look(const struct folder *f, const char *path, size_t len, struct database *out)
{
    *out = (struct database){0};
    uint8_t h[HEADER_LEN];
    AUTOCLOSE int fd = -1;
    int r = folder_open_file(f, path, len, &fd);
    if (r < 0)
        return r == ERR_CHANGED ? ERR_NOTFOUND : r;
    if (!read_header(fd, h))
        return err_set(ERR_NOTFOUND, "no database");
    out->wal = h[WRITE_VERSION] == WAL_VERSION;
    r = folder_look(fd, "", &out->file) < 0 ? folder_error(f, path_show(path, len), "looking at it") : 0;
    if (r == 0)
        r = look_log(f, path, len, out);
    if (r == 0)
        r = database_look_beside(f, path, len, BESIDE_SHM, &out->beside[BESIDE_SHM]);
    note_use(out, fd);
    for (int i = 0; r == 0 && i < BESIDES; i++) {
        struct zpath z;
        AUTOCLOSE int beside = -1;
        size_t n = out->beside[i].kind == STAMP_FILE ? database_beside_path(&z, path, len, i) : 0;
        if (n && folder_open_file(f, z.s, n, &beside) == 0)
            note_use(out, beside);
    }
    return r;
}

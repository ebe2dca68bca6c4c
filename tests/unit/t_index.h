/* t_index: what the tests of the index share: a folder for their files, and short ways to make rows. */
#ifndef TESTS_UNIT_T_INDEX_H
#define TESTS_UNIT_T_INDEX_H

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/index.h"
#include "tests/unit/t.h"

static char t_dir[256];

static inline void t_dir_make(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(t_dir, sizeof t_dir, "%s/ly.XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(t_dir))
        abort();
}
/* The files in it, not folders. */
static inline void t_dir_remove(void)
{
    DIR *d = opendir(t_dir);
    for (struct dirent *e; d && (e = readdir(d));)
        (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    (void)rmdir(t_dir);
}
/* The path of a file in it; valid for ever. */
static inline const char *t_file(const char *name)
{
    static char path[64][320];
    size_t i = 0, skip = strlen(t_dir) + 1;
    while (i < 64 && path[i][0] && strcmp(path[i] + skip, name) != 0)
        i++;
    CHECK(i < 64);
    snprintf(path[i], sizeof path[i], "%s/%s", t_dir, name);
    return path[i];
}
static inline struct buf t_read(const char *path)
{
    struct buf b = BUF_INIT(64u << 20);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    uint8_t *p = buf_room(&b, (size_t)st.st_size);
    CHECK(st.st_size == 0 || (p && read(fd, p, (size_t)st.st_size) == st.st_size));
    close(fd);
    return b;
}
static inline void t_write(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(len == 0 || write(fd, data, len) == (ssize_t)len);
    close(fd);
}
static inline bool t_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static inline struct id t_root(uint64_t n)
{
    return id_hash(&n, sizeof n);
}
static inline struct index *t_index(const char *path)
{
    struct id group = t_root(0);
    struct index *ix;
    OK(index_open(path, &group, true, &ix));
    return ix;
}
static inline int64_t t_path(struct index *ix, const char *name)
{
    int64_t id;
    OK(index_path_id(ix, name, strlen(name), true, &id));
    return id;
}
static inline struct bytes t_text(const char *s)
{
    return (struct bytes){ (const uint8_t *)s, strlen(s) };
}
/* Puts a live entry; `n` makes its root, size and hlc. */
static inline struct ix_entry t_entry(struct index *ix, int64_t stream, uint64_t seq, int64_t path, enum kind kind, uint64_t n)
{
    struct ix_entry e = { .stream = stream, .seq = seq, .path = path, .live = true, .kind = kind, .hlc = UINT64_MAX - n,
                          .size = n, .root = kind == KIND_FILE ? t_root(n) : ID_NONE, .raw = t_text("the entry") };
    OK(index_entry_put(ix, &e));
    return e;
}
static inline struct ix_want t_want(const struct ix_entry *e, enum want_role role)
{
    return (struct ix_want){ .entry = e->id, .path = e->path, .stream = e->stream, .seq = e->seq, .size = e->size,
                             .role = role, .kind = e->kind, .root = e->root };
}
static inline void t_totals(struct index *ix, uint64_t n, uint64_t bytes)
{
    uint64_t got_n, got_bytes;
    OK(index_want_totals(ix, &got_n, &got_bytes));
    EQ_U(got_n, n);
    EQ_U(got_bytes, bytes);
}

/* What row callbacks collect: a few numbers of each row, and how many rows to take. */
struct seen { uint64_t v[64]; size_t n, limit; char names[512]; };
static inline int t_saw(struct seen *s, uint64_t v)
{
    CHECK(s->n < 64);
    s->v[s->n++] = v;
    return s->n == s->limit ? 77 : 0;
}

#endif

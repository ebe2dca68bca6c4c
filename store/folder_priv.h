/* folder_priv: what the files folder*.c share among themselves. */
#ifndef STORE_FOLDER_PRIV_H
#define STORE_FOLDER_PRIV_H

#include <fcntl.h>
#include <stdbool.h>

#include "proto/limits.h"
#include "proto/path.h"
#include "store/folder.h"
#include "store/sys.h"

struct folder {
    char *path;
    int root, tmp, kept;          /* open directories */
    struct packs *packs;
    struct id group;
    uint64_t dev, ino;            /* of the root */
    int64_t granularity;
    bool flushes_dirs;            /* fsync of a directory makes durable what was done to its names */
    bool folds;                   /* the whole file system takes names for equal that are not the same bytes: case, Unicode normalisation */
};

/* A checked path with its NUL. */
struct zpath { char s[LIMIT_PATH + 1]; };
int folder_zpath(struct zpath *out, const char *path, size_t len) MUST_CHECK;   /* path_check; ERR_BAD */
int folder_name_check(const char *name) MUST_CHECK;                             /* plain name in tmp/ or kept/; ERR_BAD */

/* openat2 that cannot leave dirfd nor follow a link: descriptor, or -1 and errno. O_CLOEXEC is added. */
int folder_beneath(int dirfd, const char *path, uint64_t flags, mode_t mode);
/* What is there, without following: 0 (ABSENT included), or -1 and errno. name "" is dirfd itself. */
int folder_look(int dirfd, const char *name, struct stamp *out);
/* Where names fold, what answers to a name may have another one (folder_names.c). folder_exact: whether what is at `path` beneath dirfd has
 * that very name, and every directory above it; true as well when nothing is there, or it cannot be told. folder_folds: whether names in
 * the directory fold, and so may those of the directories above it. folder_root_folds: of the whole file system, by the marker. */
bool folder_exact(int dirfd, const char *path);
bool folder_folds(const struct folder *f, int dir);
bool folder_root_folds(int root);
/* errno as a code, with the text "path: doing: why"; a link in the middle of the path is named. */
int folder_error(const struct folder *f, const char *path, const char *doing);

/* Whether a lease can be had that nobody may have who writes: 0, or the errno, without a text. See folder_quiet. */
int folder_lease(int fd);

void folder_close_fd(int *fd);                   /* for AUTO; -1 is fine; keeps errno */
#define AUTOCLOSE AUTO(folder_close_fd)

/* folder_paths.c: notes the paths of what the changes that have not failed yet will displace. Before the first flush, or flushed here. */
void folder_note_paths(const struct folder *f, const struct change *c, size_t n, bool flush);

/* folder_flush.c: the flushes of a batch. folder_sync: of all there is. At most FOLDER_FEW changes that are single can be flushed by
 * themselves: then folder_flush_temps is the first flush, of what will be put in place, and folder_flush_placed the second, of what is there
 * now, unless directories were made on the way. 0 or ERR_IO. folder_single: `tmp` is what FILE puts in place, as it was last written. */
enum { FOLDER_FEW = 4 };
bool folder_single(const struct change *c, const struct stamp *tmp);
int folder_sync(const struct folder *f) MUST_CHECK;
int folder_flush_temps(const struct folder *f, const struct change *c, size_t n) MUST_CHECK;
int folder_flush_placed(const struct folder *f, const struct change *c, size_t n) MUST_CHECK;

/* folder_place.c: the renames of one change, once its parent is open. */
struct spot { int dir; const char *name; };      /* an open directory and a name in it */
struct timespec folder_time(int64_t mtime_ns);
/* Sets mode and time of what is at `at`, if that is still `is`, and reads it back. 0, ERR_CHANGED, ERR_IO. */
int folder_set_meta(const struct spot *at, const struct stamp *is, uint32_t mode, int64_t mtime_ns, struct stamp *now) MUST_CHECK;
/* Is `at` as `expected`? 0 or ERR_CHANGED. */
int folder_expect(const struct spot *at, const struct stamp *expected) MUST_CHECK;
/* Moves the file or link at `at` to kept/c->kept, after a check of `expected`, and that nobody writes to it, before and after. */
int folder_take_away(const struct folder *f, struct change *c, const struct spot *at) MUST_CHECK;
int folder_remove_dir(const struct spot *at) MUST_CHECK;
/* Is the file at `file` no database with a log beside `at`, where it is or will be? 0 or ERR_CHANGED. */
int folder_no_log(const struct spot *file, const struct spot *at) MUST_CHECK;
/* Puts the file or link at `src` (`is`, when looked at before) to `at`, where there must be c->expected. */
int folder_place(const struct folder *f, struct change *c, const struct spot *src, const struct stamp *is, const struct spot *at) MUST_CHECK;

#endif

#include "store/stamp.h"

#include <sys/sysmacros.h>

void stamp_from(struct stamp *out, const struct statx *st)
{
    enum stamp_kind kind = S_ISREG(st->stx_mode) ? STAMP_FILE : S_ISDIR(st->stx_mode) ? STAMP_DIR
                         : S_ISLNK(st->stx_mode) ? STAMP_SYMLINK : STAMP_SPECIAL;
    *out = (struct stamp){
        .kind = kind,
        .mode = st->stx_mode & 0777u,
        .dev = makedev(st->stx_dev_major, st->stx_dev_minor),
        .ino = st->stx_ino,
        .size = st->stx_size,
        .mtime_ns = st->stx_mtime.tv_sec * 1000000000 + st->stx_mtime.tv_nsec,
        .ctime_ns = st->stx_ctime.tv_sec * 1000000000 + st->stx_ctime.tv_nsec,
    };
}

bool stamp_same_file(const struct stamp *a, const struct stamp *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == STAMP_ABSENT)
        return true;
    if (a->mode != b->mode || a->dev != b->dev || a->ino != b->ino)
        return false;
    return a->kind == STAMP_DIR || (a->size == b->size && a->mtime_ns == b->mtime_ns);
}

bool stamp_same(const struct stamp *a, const struct stamp *b)
{
    bool has_ctime = a->kind != STAMP_ABSENT && a->kind != STAMP_DIR;
    return stamp_same_file(a, b) && (!has_ctime || a->ctime_ns == b->ctime_ns);
}

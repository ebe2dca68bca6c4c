/* stamp: what the file system says about a file: enough to notice that it is no longer the file we looked at. */
#ifndef STORE_STAMP_H
#define STORE_STAMP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* STAMP_ABSENT: nothing there. STAMP_SPECIAL: fifo, socket, device: skipped and reported. */
enum stamp_kind { STAMP_ABSENT = 0, STAMP_FILE, STAMP_DIR, STAMP_SYMLINK, STAMP_SPECIAL };
struct stamp {
    enum stamp_kind kind;
    uint32_t mode;                /* permission bits 0777 */
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
};

/* What statx has found (STATX_BASIC_STATS). */
void stamp_from(struct stamp *out, const struct statx *st);

/* Unchanged since: every field equal (for directories only kind, mode, dev and ino: their times and sizes follow their children). */
bool stamp_same(const struct stamp *a, const struct stamp *b);
/* The same file, perhaps renamed since: all but ctime, which a rename changes. */
bool stamp_same_file(const struct stamp *a, const struct stamp *b);

#endif

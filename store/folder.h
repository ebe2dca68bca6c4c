/* folder: the user's directory and the node's own corner in it, FOLDER/.lanyard/ (marker, tmp/ for unfinished downloads and
 * files about to be installed, kept/ for replaced versions, packs/ for older ones). Everything here works beneath one descriptor of the root, with
 * openat2 RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS, after path_check; nothing follows a link, nothing leaves the folder.
 *
 * Durability of a batch (two flushes, whatever its size: of all there is, or of what a few small changes touch):
 *   temp files written -> flush -> renames -> flush -> (the caller commits the index)
 * A user's file is only ever replaced by rename of a complete durable temp file, with RENAME_EXCHANGE, and the displaced file is
 * looked at: if it is not the file the decision was based on, or somebody has it open for writing, it is put back (another
 * exchange) and the result is ERR_CHANGED.
 * Nothing of the user's is ever unlinked: a replaced or removed file is renamed into kept/. Empty directories are removed.
 * A database is not replaced, moved or removed while a log lies beside it: SQLite would take that for a log of what comes in its place.
 * Nor is such a log put there, or removed.
 * Nothing of the user's is ever in tmp/ either, which may be cleared at any time: a new file is first renamed into kept/ under
 * the name that the displaced one will have, and it is from there that the two are exchanged.
 *
 * A folder handle may be used by several threads at once: it is immutable after opening. */
#ifndef STORE_FOLDER_H
#define STORE_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/buf.h"
#include "proto/id.h"
#include "proto/limits.h"
#include "proto/mp.h"
#include "store/stamp.h"

struct folder;
struct packs;

/* folder_create makes the directory (with parents), .lanyard/, tmp/, kept/ and the marker that names group and folder id.
 * ERR_EXISTS when it already belongs to another group. folder_open wants all of it to be there:
 * ERR_NOTFOUND "folder PATH: missing, or its marker is gone: mount or restore it" otherwise. */
int  folder_create(const char *path, const struct id *group) MUST_CHECK;
int  folder_open(const char *path, const struct id *group, struct folder **out) MUST_CHECK;
void folder_close(struct folder **f);
const char *folder_path(const struct folder *f);       /* absolute */
/* Still the directory we opened (same st_dev and inode under its path, marker present)? 0 or ERR_NOTFOUND with the reason. */
int  folder_healthy(const struct folder *f) MUST_CHECK;
/* Whether there is room for `bytes` more while keeping 1 % (at most 1 GiB) free. 0, ERR_FULL, ERR_IO. */
int  folder_room(const struct folder *f, uint64_t bytes) MUST_CHECK;

/* ---- looking ---- */
/* *out says ABSENT when there is nothing (ENOENT, ENOTDIR), or only something of another name that the file system takes for the same
 * (case, Unicode normalisation: names are bytes everywhere else); errors that are no evidence of absence (EIO, EACCES, ELOOP for a link in
 * the middle) are ERR_IO. */
int folder_stat(const struct folder *f, const char *path, size_t len, struct stamp *out) MUST_CHECK;
/* The same for many paths in a row, in a third of the system calls: the directory of the last one stays open. They count as one look, made
 * when that directory was opened: whatever was moved away since is still seen there. So it is let go of after some milliseconds. */
struct folder_near { int fd; bool folds; size_t len; char path[LIMIT_PATH + 1]; };
#define FOLDER_NEAR_INIT {.fd = -1}
int  folder_stat_near(const struct folder *f, struct folder_near *near, const char *path, size_t len, struct stamp *out) MUST_CHECK;
void folder_near_release(struct folder_near *near);
/* What has the place of a path that folder_apply refused with ERR_DENIED: *taken is the length of the first part of the path that another
 * file or directory answers to, *other the path of that one. ERR_NOTFOUND: nothing has it any more. */
int folder_taken_by(const struct folder *f, const char *path, size_t len, size_t *taken, struct buf *other) MUST_CHECK;
/* Regular files, read only. ERR_NOTFOUND; ERR_CHANGED when something else is there. */
int folder_open_file(const struct folder *f, const char *path, size_t len, int *fd) MUST_CHECK;
/* The same for the target of a symlink, appended to *target. */
int folder_readlink(const struct folder *f, const char *path, size_t len, struct buf *target) MUST_CHECK;
/* Whether somebody has the file open for writing (fcntl F_SETLEASE F_RDLCK, given back at once): 0 nobody, ERR_AGAIN somebody,
 * ERR_NOTFOUND the file system or our rights cannot tell. fd is read only. The process must ignore or block SIGIO, which the
 * kernel sends when somebody opens the file in the moment between taking the lease and giving it back. */
int folder_quiet(int fd) MUST_CHECK;
/* Makes what is in the file durable, as folder_flush does for all that is in the folder. ERR_IO: it is not. Where files cannot be flushed one
 * by one it is 0. */
int folder_flush_file(int fd) MUST_CHECK;
/* Whether folder_flush makes what looks like this durable: it does not when another file system is mounted there. */
bool folder_flush_covers(const struct folder *f, const struct stamp *st);
/* File systems with coarse timestamps: how old (ns) a timestamp must be before an equal one proves "unchanged". */
int64_t folder_granularity(const struct folder *f);

/* Walks `dir` ("" = root): all entries of a directory, then the subdirectories one after the other. *entry is called for everything beneath except .lanyard, with its canonical path; it says
 * whether to descend into a directory (ignored ones are not). Names that path_check refuses and directories that cannot be read
 * are reported to *trouble (path as far as known, text by err_text()) and skipped: their contents count as neither there nor
 * absent. Returns non-zero at once when *entry does (negative), or ERR_IO when dir itself cannot be read. */
enum walk { WALK_SKIP = 0, WALK_DESCEND = 1 };
struct walk_ops {
    int  (*entry)(void *arg, const char *path, size_t len, const struct stamp *st);
    void (*trouble)(void *arg, const char *path, size_t len);
    void *arg;
};
int folder_walk(const struct folder *f, const char *dir, size_t dirlen, const struct walk_ops *ops) MUST_CHECK;

/* ---- temp files, in .lanyard/tmp/ under plain names given by the caller ([0-9a-z.-]{1,100}, no dot first) ---- */
/* Read-write, empty, space reserved (ERR_FULL) when it is much; one that was there under that name is replaced. */
int folder_tmp_create(const struct folder *f, const char *name, uint64_t size, int *fd) MUST_CHECK;
/* Gives it the mode and time of what it is to become, where that costs least: folder_apply has less to do then. It may fail in silence. */
void folder_tmp_dress(int fd, uint32_t mode, int64_t mtime_ns);
int folder_tmp_open(const struct folder *f, const char *name, int *fd) MUST_CHECK;      /* existing, read-write; ERR_NOTFOUND */
int folder_tmp_remove(const struct folder *f, const char *name) MUST_CHECK;             /* absent is fine */
/* Calls for every plain name; a non-zero result ends the listing and is returned. *each may remove what it is told of. */
int folder_tmp_list(const struct folder *f, int (*each)(void *arg, const char *name), void *arg) MUST_CHECK;
/* ---- kept versions, in .lanyard/kept/ under plain names ---- */
/* To be read; of a link its target, in a file that has no name. */
int folder_kept_open(const struct folder *f, const char *name, int *fd) MUST_CHECK;
int folder_kept_remove(const struct folder *f, const char *name) MUST_CHECK;            /* absent is fine */
/* tmp/ -> kept/, durable; ERR_EXISTS. What cannot be flushed is removed: to flush it again would say nothing of what was not written. */
int folder_kept_adopt(const struct folder *f, const char *tmp, const char *kept) MUST_CHECK;
int folder_kept_list(const struct folder *f, int (*each)(void *arg, const char *name), void *arg) MUST_CHECK;
/* The paths that kept files had, for the day on which the index is lost. folder_apply notes those of what it displaces, and folder_kept_note
 * another one, durably, before the file comes into kept/. It may fail in silence: nothing depends on it but that. Calls *each for every
 * note, also of files that are there no more; a non-zero result ends it and is returned. folder_kept_tidy drops those when they are the most. */
void folder_kept_note(const struct folder *f, const char *kept, const char *path, size_t len);
int  folder_kept_paths(const struct folder *f, int (*each)(void *arg, const char *name, const char *path, size_t len), void *arg) MUST_CHECK;
void folder_kept_tidy(const struct folder *f);

/* ---- packs, in .lanyard/packs/ (store/packs.h): made when the folder is opened, if need be ---- */
const struct packs *folder_packs(const struct folder *f);

/* ---- changing ---- */
enum change_op {
    CHANGE_FILE,      /* tmp -> path, with mode and mtime */
    CHANGE_SYMLINK,   /* link to `target` */
    CHANGE_DIR,       /* mkdir (parents too) or only its mode, which is set at the end of the batch */
    CHANGE_REMOVE,    /* file or link -> kept; empty directory removed, a non-empty one stays: ERR_EXISTS */
    CHANGE_MOVE,      /* path `from` (a file that is as `from_expected`) -> path, then mode and mtime */
    CHANGE_META,      /* only mode and mtime of what is there (of a directory only the mode, of a link only the mtime) */
};
struct change {
    enum change_op op;
    const char *path; size_t len;
    struct stamp expected;        /* what must be at path now: kind ABSENT = nothing (an existing directory is fine for CHANGE_DIR) */
    const char *from; size_t fromlen; struct stamp from_expected;   /* MOVE */
    const char *tmp;              /* FILE */
    bool plain;                   /* FILE: what comes is known to be no database */
    bool whole;                   /* FILE: the database that lies there, with all that the log beside it says; REMOVE: that log (store/database.h) */
    const char *kept;             /* name in kept/ for what is displaced or removed; required when expected is FILE or SYMLINK */
    struct bytes target;               /* SYMLINK */
    uint32_t mode; int64_t mtime_ns;
    /* results */
    /* 0, ERR_CHANGED (something else is there, or somebody is writing to it: nothing was done), ERR_FULL, ERR_IO, ERR_EXISTS (a
     * directory that is not empty, or the name in kept/ is taken), ERR_BAD (path or target break the rules), ERR_DENIED (the file
     * system takes the name for that of another file that is there) */
    int code;
    char text[160];               /* why, when code < 0 */
    /* As read back after the change; if the user was faster, what we had put there, so that the next look sees a difference. It is
     * racily clean: an edit in the very moment in which META or MOVE set the mtime shows only in the contents. */
    struct stamp now;
    bool was_kept;                /* a file is in kept/ under `kept`: the displaced one; when code < 0 one that could not be put back */
};
/* Does all changes in order, with the two flushes; missing parent directories are made (mode 0755). One item's failure does not stop
 * the others. Returns ERR_IO when a flush failed: then nothing of the batch may be committed. A temp file whose change failed is
 * still in tmp/, unless was_kept says that it is in kept/ (or the user has removed it in that moment). */
int folder_apply(const struct folder *f, struct change *c, size_t n) MUST_CHECK;
/* Sets nothing but the mode of a file that is as `is` (else ERR_CHANGED), and reads it back: *now differs in mode and ctime alone. Not
 * flushed: folder_flush does that, for all of them. It does so through a descriptor of its own: the kernel says to each only once that
 * something could not be written, and a batch must hear of that, whoever flushed before. */
int folder_set_mode(const struct folder *f, const char *path, size_t len, const struct stamp *is, uint32_t mode, struct stamp *now) MUST_CHECK;
int folder_flush(const struct folder *f) MUST_CHECK;

#endif

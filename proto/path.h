/* path: the names of things in a folder.
 *
 * A path is canonical, relative, bytes (UTF-8 or not), components of 1..255 bytes joined by '/', none of them "." or "..", no
 * NUL, at most LIMIT_PATH bytes and LIMIT_PATH_DEPTH components; and its first component is not ".lanyard", which is the
 * node's own, nor that name in capital letters (the folder may lie on a file system that ignores case). Paths are bytes with a
 * length, never C strings, until path_check has passed; after that they hold no NUL. */
#ifndef PROTO_PATH_H
#define PROTO_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/limits.h"

#define PATH_OWN ".lanyard"

/* 0, or ERR_BAD with the rule that is broken (the path quoted, control characters escaped). */
int path_check(const void *path, size_t len) MUST_CHECK;

/* Snapshots are entries at paths of their own, beneath the node's folder, where no file's entry can be: PATH_SNAPSHOTS/NAME. A name
 * has 1..64 bytes of UTF-8 without control characters and '/', and is neither "." nor "..". */
#define PATH_SNAPSHOTS PATH_OWN "/snapshots"
#define PATH_SNAPSHOT_MAX (sizeof PATH_SNAPSHOTS + LIMIT_SNAPSHOT_NAME)   /* '/' included, no NUL */
bool path_is_snapshot(const void *path, size_t len);                 /* whether it lies there; nothing more is checked */
int  path_check_snapshot(const void *path, size_t len) MUST_CHECK;   /* 0 or ERR_BAD */
int  snapshot_name_check(const void *name, size_t len) MUST_CHECK;   /* the same */

/* So are notes (proto/note.h): PATH_NOTES/NAME, NAME 32 lowercase hex digits. */
#define PATH_NOTES PATH_OWN "/notes"
#define PATH_NOTE_LEN (sizeof PATH_NOTES + 32u)                       /* '/' included, no NUL */
int  path_check_note(const void *path, size_t len) MUST_CHECK;       /* 0 or ERR_BAD */
bool path_is_own(const void *path, size_t len);                      /* of a checked path: a snapshot's or a note's, and no file's */

/* Length of the parent of a checked path ("a/b/c" -> 3, "a" -> 0). */
size_t path_parent(const char *path, size_t len);

/* Whether `path` lies beneath `dir` (strictly). */
bool path_beneath(const char *path, size_t len, const char *dir, size_t dirlen);

/* For messages and terminals: a path with control characters (also those that turn the direction of writing), backslash and
 * invalid UTF-8 as \xNN. The four latest results of a thread stay valid, in memory that it gets with the first and gives back at its end: the only
 * state that this module has. What follows byte LIMIT_PATH is left out. */
const char *path_show(const void *path, size_t len);

/* Length of the UTF-8 character that begins at p (1..4), its code point in *cp; 0 when it is not well formed (RFC 3629). */
size_t utf8_decode(const uint8_t *p, size_t len, uint32_t *cp);
/* Whether a terminal might obey this character instead of showing it: C0, DEL, C1, line separators, direction marks. */
bool utf8_is_control(uint32_t cp);

#endif

/* where: which file of the folder a path on the command line means.
 *
 * An absolute path inside the folder is made relative to it; a relative one is taken from the current directory when that is inside
 * the folder, and from the folder's root otherwise. "." and ".." are resolved by name, because the file may be deleted. */
#ifndef CLI_WHERE_H
#define CLI_WHERE_H

#include "proto/buf.h"

/* The canonical path, NUL-terminated (the NUL not counted), in *out; "" for the folder itself. `cwd` may be NULL. Only looks at
 * names: call it with a folder and cwd that hold no symbolic links. ERR_USAGE when it is not in the folder. */
int where_path(const char *folder, const char *cwd, const char *typed, struct buf *out) MUST_CHECK;

/* The same, asking the running node where its folder is: an exit code. */
int where_in_folder(const char *home, const char *typed, struct buf *out);

#endif

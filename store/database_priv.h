/* database_priv: what the files database*.c share, and what is said between the node and its helper process:
 *   lanyardd snapshot-database WAY NAME TMP PARENT     descriptors: HELPER_DIR, where NAME is; HELPER_TMP, where TMP is made
 * exits with a code of SQLite. */
#ifndef STORE_DATABASE_PRIV_H
#define STORE_DATABASE_PRIV_H

#include "store/database.h"
#include "store/folder_priv.h"

enum { HELPER_DIR = 3, HELPER_TMP = 4 };
#define HELPER_WAL "wal"              /* in use, with a write-ahead log */
#define HELPER_JOURNAL "journal"      /* in use, with rollback journals */
#define HELPER_LEFT "left"            /* nobody uses it */

/* The path of one of the files beside; 0 when it would be too long to be one. */
size_t database_beside_path(struct zpath *z, const char *path, size_t len, int which);
int database_look_beside(const struct folder *f, const char *path, size_t len, int which, struct stamp *out) MUST_CHECK;

#endif

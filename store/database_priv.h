/* database_priv: between the node and its helper process.
 *   lanyardd snapshot-database WAY NAME TMP PARENT     descriptors: HELPER_DIR, where NAME is; HELPER_TMP, where TMP is made
 * exits with a code of SQLite. */
#ifndef STORE_DATABASE_PRIV_H
#define STORE_DATABASE_PRIV_H

#include "store/database.h"

enum { HELPER_DIR = 3, HELPER_TMP = 4 };
#define HELPER_WAL "wal"              /* in use, with a write-ahead log */
#define HELPER_JOURNAL "journal"      /* in use, with rollback journals */
#define HELPER_LEFT "left"            /* nobody uses it */

#endif

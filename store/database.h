/* database: the users' SQLite databases. One in use is three files at once (NAME, and beside it NAME-wal or NAME-journal, and NAME-shm);
 * copied one by one, at different moments, they are worth nothing. So the files beside are never synced, and a database in use is taken
 * as a snapshot: a copy that SQLite itself makes of one of its transactions. A database at rest is a file like any other.
 *
 * The copy is made by another process, this same program with DATABASE_HELPER as its argument: SQLite's locks are a process's, and closing
 * any descriptor of the file drops them all; and what is in a user's database may be made to do harm. It gets two descriptors, a directory
 * and tmp/, runs for a limited time, deletes nothing but in tmp/ (and that log), and dies with us.
 *   in use     (somebody has it open for writing) opened where it is and copied with sqlite3_backup. A program that uses
 *              rollback journals waits at most for DATABASE_CHUNK, and only when it never pauses long enough for DATABASE_HELD.
 *   left so    (a program died, and its log lies beside) the files are copied, and SQLite makes one of them in the copy.
 * Nothing is written to the user's files. Only when the program closes a database with a write-ahead log while it is copied, we are the
 * last to close it, and SQLite does for us what it would have done for the program: it folds the log in.
 * The same state gives the same bytes, whichever way it was taken.
 *
 * All functions are for workers; database_base and database_whole for the loop, too. */
#ifndef STORE_DATABASE_H
#define STORE_DATABASE_H

#include "store/folder.h"

#define DATABASE_LEAST 512u             /* bytes; whatever is smaller is none */
#define DATABASE_HELPER "snapshot-database"
#define DATABASE_CHUNK (64u << 20)     /* bytes copied under one lock */
#define DATABASE_HELD (512u << 20)     /* the largest that is copied under one lock after all */

enum database_beside { BESIDE_WAL, BESIDE_JOURNAL, BESIDE_SHM, BESIDES };
struct database {
    struct stamp file, beside[BESIDES];    /* ABSENT also for what is no regular file */
    struct stamp whole;                    /* the file and what counts of its log as one: sizes added, the latest times */
    bool wal;                              /* of the kind that uses a write-ahead log */
    bool logged;                           /* the log says something: the file alone is not the database */
    bool open, unsure;                     /* somebody has one of the files open for writing; or that cannot be told */
};

/* The length of NAME if the path is NAME-wal, NAME-journal or NAME-shm; else 0. */
size_t database_base(const char *path, size_t len);
/* Whether that NAME is a database: then what lies at the path (or lay there until now) is a part of it, and no file of its own. */
bool database_part(const struct folder *f, const char *path, size_t len);
bool database_is(int fd);
bool database_begins(const void *p, size_t len);      /* the same, of the first bytes of a file, or all of it */
/* *file: of a file that may be a database; becomes `whole`. */
int  database_whole(const struct folder *f, const char *path, size_t len, struct stamp *file) MUST_CHECK;
/* ERR_NOTFOUND: no database there. */
int  database_look(const struct folder *f, const char *path, size_t len, struct database *out) MUST_CHECK;

/* The same question about a name in an open directory, whatever lies there: is there something that SQLite would take for its log? */
bool database_log_beside(int dir, const char *name);

/* A snapshot into tmp/`tmp`; the caller makes it durable. d: as it was just looked at. ERR_AGAIN: locked for long, or not in a state in
 * which it can be copied without changing it. ERR_CHANGED: it is not as d says any more. ERR_CORRUPT: damaged or encrypted.
 * ERR_CLOSED: *stop was set. ERR_FULL, ERR_IO. */
int  database_snapshot(const struct folder *f, const char *path, size_t len, const struct database *d, const char *tmp,
                       const _Atomic bool *stop) MUST_CHECK;
/* Before what lies at `path` is replaced or removed, or tmp/`tmp` (may be NULL) is put there: afterwards nothing lies beside it that SQLite
 * could take for a part of what comes. *expected: it with its log, as on record; then as it is now.
 *   1. In the place of a database with a log comes a snapshot of the two. The log still lies beside it, and may: it says nothing new.
 *   2. The files beside it go to kept/.
 * A crash in between leaves a database that opens and says what it said before. ERR_CHANGED: a program has it open, or it is not as
 * expected; it is left as it is. What came to kept/ is named in *moved, whatever the result: stem and a letter. */
struct database_moved { char name[BESIDES + 1][80]; unsigned n; };
int  database_make_way(const struct folder *f, const char *path, size_t len, struct stamp *expected, const char *tmp, const char *stem,
                       const _Atomic bool *stop, struct database_moved *moved) MUST_CHECK;
/* What the helper runs instead of main(); its exit code. */
int  database_helper(int argc, char **argv);

#endif
